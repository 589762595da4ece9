// `namespace list`, `apply`, `status`, `inspect` and `delete`.
import { resolve } from "node:path";
import type { Namespace } from "../core/types.ts";
import { bool, optionalString, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, failure, RequestError } from "./errors.ts";
import { exists } from "./files.ts";
import { quote } from "./format.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { byText } from "./records.ts";
import { decodeSpec, readSpec } from "./spec_file.ts";
import { formatKeyValues, formatTable } from "./table.ts";

const ONE = { min: 1, max: 1, complaint: "This command takes one argument: <namespace>" };

export const namespaceList = command({
  form: "nomad namespace list [options]",
  about: `Lists the namespaces.

When ACLs are enabled, this command requires a management token to see all of
them; others see those that their token lets them do something in.`,
  general: "noNamespace",
  title: "List Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: { ...dataFlags("namespaces") },
  async run(context) {
    const { flags, ui } = context;
    const answer = await attempt(
      "Error retrieving namespaces",
      context.api.get<Namespace[] | null>("/v1/namespaces"),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.Namespace");
    const names = answer.data ?? [];
    ui.output(names.length === 0 ? "No namespaces found" : formatNamespaces(names));
    return 0;
  },
});

function formatNamespaces(namespaces: Namespace[]): string {
  return formatTable([
    ["Name", "Description"],
    ...byText(namespaces, (entry) => entry.Name).map((entry) => [entry.Name, entry.Description]),
  ]);
}

/** The namespace with this name, or the only one whose name starts with it. */
async function resolveNamespace(context: Context, typed: string): Promise<Namespace> {
  const { data } = await attempt(
    "Error retrieving namespaces",
    context.api.get<Namespace[] | null>("/v1/namespaces", { query: { prefix: typed } }),
  );
  const found = data ?? [];
  const exact = found.find((entry) => entry.Name === typed);
  if (exact) return exact;
  if (found.length === 0) {
    throw new CommandError(`Error retrieving namespaces: Namespace ${quote(typed)} matched no namespaces`);
  }
  if (found.length > 1) {
    throw new CommandError(`Prefix matched multiple namespaces\n\n${formatNamespaces(found)}`);
  }
  return found[0]!;
}

interface Rules {
  EnabledTaskDrivers?: string[] | null;
  DisabledTaskDrivers?: string[] | null;
  EnabledNetworkModes?: string[] | null;
  DisabledNetworkModes?: string[] | null;
}

export const namespaceStatus = command({
  form: "nomad namespace status [options] <namespace>",
  about: `Shows a namespace.

When ACLs are enabled, this command requires a management token or a token with
any capability in the namespace.`,
  general: "noNamespace",
  title: "Status Options",
  args: ONE,
  flags: { ...dataFlags("the namespace") },
  async run(context) {
    const { flags, ui } = context;
    const namespace = await resolveNamespace(context, context.args[0]!);
    if (wantsData(flags)) return await outputNamespace(context, namespace.Name, flags);
    const rules = (namespace.Capabilities ?? {}) as Rules;
    const listed = (names: string[] | null | undefined, none: string) =>
      names?.length ? names.join(",") : none;
    ui.output(formatKeyValues([
      ["Name", namespace.Name],
      ["Description", namespace.Description],
      ["Quota", namespace.Quota],
      ["Enabled Drivers", listed(rules.EnabledTaskDrivers, "*")],
      ["Disabled Drivers", listed(rules.DisabledTaskDrivers, "")],
      ["Enabled Network Modes", listed(rules.EnabledNetworkModes, "*")],
      ["Disabled Network Modes", listed(rules.DisabledNetworkModes, "")],
    ]));
    const meta = Object.entries(namespace.Meta ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
    if (meta.length > 0) {
      ui.heading("Metadata");
      ui.output(formatKeyValues(meta));
    }
    showPoolRules(context, namespace.NodePoolConfiguration as PoolRules | null);
    return 0;
  },
});

interface PoolRules {
  Default?: string;
  Allowed?: string[] | null;
  Denied?: string[] | null;
}

function showPoolRules(context: Context, rules: PoolRules | null): void {
  if (!rules) return;
  context.ui.heading("Node Pool Configuration");
  context.ui.output(formatKeyValues([
    ["Default", rules.Default],
    ["Allowed", rules.Allowed?.join(", ")],
    ["Denied", rules.Denied?.join(", ")],
  ]));
}

async function outputNamespace(
  context: Context,
  name: string,
  flags: { json: boolean; t: string },
): Promise<number> {
  const read = context.api.get<Namespace>(`/v1/namespace/${encodeURIComponent(name)}`);
  return await outputData(
    context,
    flags,
    await attempt("Error retrieving namespace", read),
    "*api.Namespace",
  );
}

export const namespaceInspect = command({
  form: "nomad namespace inspect [options] <namespace>",
  about: `Shows a namespace as JSON.

When ACLs are enabled, this command requires a management token or a token with
any capability in the namespace.`,
  general: "noNamespace",
  title: "Inspect Options",
  args: ONE,
  flags: { t: string("Format and display the namespace using a Go template.") },
  async run(context) {
    const namespace = await resolveNamespace(context, context.args[0]!);
    return await outputNamespace(context, namespace.Name, { json: false, t: context.flags.t });
  },
});

export const namespaceApply = command({
  form: "nomad namespace apply [options] <input>",
  about: `Creates or updates a namespace, by its name and flags or from a specification
file; "-" reads one from the standard input.

When ACLs are enabled, this command requires a management token.`,
  general: "noNamespace",
  title: "Apply Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <input>" },
  flags: {
    description: optionalString("What the namespace is for.", "text"),
    json: bool("Read the specification as JSON."),
    quota: optionalString("Quota of the namespace's jobs.", "name"),
  },
  async run(context) {
    const { api, ui } = context;
    const input = context.args[0]!;
    const namespace = input === "-" || await exists(resolve(context.io.cwd, input))
      ? await readNamespace(context, input)
      : await namedNamespace(context, input);
    if (!namespace["Name"]) throw new CommandError("Namespace name required");
    await attempt("Error applying namespace", api.put("/v1/namespace", namespace));
    ui.output(`Successfully applied namespace ${quote(String(namespace["Name"]))}!`);
    return 0;
  },
});

interface ApplyFlags {
  description: string | undefined;
  json: boolean;
  quota: string | undefined;
}

async function readNamespace(context: Context<ApplyFlags>, path: string): Promise<Record<string, unknown>> {
  const { flags } = context;
  if (flags.description !== undefined || flags.quota !== undefined) {
    context.ui.warn("Flags are ignored when a file is specified!");
  }
  const text = await readSpec(context, path, "Error reading input");
  const { namespaceTable } = await import("../jobspec/jobspec.ts");
  return decodeSpec(text, namespaceTable, { path, json: flags.json, what: "Error parsing specification" });
}

/** The namespace as it is, with what the flags change; a new one when there is none. */
async function namedNamespace(context: Context<ApplyFlags>, name: string): Promise<Record<string, unknown>> {
  const { description, quota } = context.flags;
  let current: Record<string, unknown> = { Name: name };
  try {
    current =
      (await context.api.get<Record<string, unknown>>(`/v1/namespace/${encodeURIComponent(name)}`)).data;
  } catch (error) {
    if (!(error instanceof RequestError) || error.status !== 404) {
      throw failure("Error looking up namespace", error);
    }
  }
  return {
    ...current,
    ...(description === undefined ? {} : { Description: description }),
    ...(quota === undefined ? {} : { Quota: quota }),
  };
}

export const namespaceDelete = command({
  form: "nomad namespace delete [options] <namespace>",
  about: `Deletes a namespace that has no jobs and no variables.

When ACLs are enabled, this command requires a management token.`,
  general: "noNamespace",
  title: "Delete Options",
  args: ONE,
  flags: {},
  async run(context) {
    const name = context.args[0]!;
    await attempt(
      "Error deleting namespace",
      context.api.delete(`/v1/namespace/${encodeURIComponent(name)}`),
    );
    context.ui.output(`Successfully deleted namespace ${quote(name)}!`);
    return 0;
  },
});
