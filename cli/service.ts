// `service list`, `info` and `delete`.
import type { ServiceRegistration } from "../core/types.ts";
import { bool, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError } from "./errors.ts";
import { shortId } from "./format.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { pageFlags, pageQuery, showNextPage } from "./pages.ts";
import { byText } from "./records.ts";
import { formatKeyValues, formatTable } from "./table.ts";

interface ServiceNames {
  Namespace: string;
  Services: { ServiceName: string; Tags: string[] | null }[] | null;
}

const tagText = (tags: string[] | null) => `[${[...tags ?? []].sort().join(",")}]`;

function formatServices(namespaces: ServiceNames[], withNamespace: boolean): string {
  const rows = namespaces.flatMap((entry) =>
    (entry.Services ?? []).map((service) => ({ ...service, Namespace: entry.Namespace }))
  );
  return formatTable([
    ["Service Name", ...(withNamespace ? ["Namespace"] : []), "Tags"],
    ...byText(rows, (row) => `${row.ServiceName}\0${row.Namespace}`).map((row) => [
      row.ServiceName,
      ...(withNamespace ? [row.Namespace] : []),
      tagText(row.Tags),
    ]),
  ]);
}

export const serviceList = command({
  form: "nomad service list [options]",
  about: `Lists the services that jobs registered.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the namespace.`,
  general: "all",
  title: "Service List Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: { ...dataFlags("services"), name: string("Only services with this name.") },
  async run(context) {
    const { flags, api, ui } = context;
    const answer = await attempt(
      "Error listing service registrations",
      api.get<ServiceNames[] | null>("/v1/services"),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.ServiceRegistrationListStub");
    const wanted = (answer.data ?? []).map((entry) => ({
      ...entry,
      Services: (entry.Services ?? []).filter((service) =>
        flags.name === "" || service.ServiceName === flags.name
      ),
    })).filter((entry) => entry.Services.length > 0);
    ui.output(
      wanted.length === 0 ? "No service registrations found" : formatServices(wanted, api.namespace === "*"),
    );
    return 0;
  },
});

export const serviceInfo = command({
  form: "nomad service info [options] <service_name>",
  about: `Shows the instances of a service.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the namespace.`,
  general: "all",
  title: "Service Info Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <service_name>" },
  flags: { ...dataFlags("the service"), ...pageFlags, verbose: bool("Show full information.") },
  async run(context) {
    const { flags, api, ui } = context;
    const name = await resolveService(context, context.args[0]!);
    const answer = await attempt(
      "Error listing service registrations",
      api.get<ServiceRegistration[] | null>(`/v1/service/${encodeURIComponent(name)}`, {
        query: pageQuery(flags),
      }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.ServiceRegistration");
    const instances = byText(answer.data ?? [], (instance) => instance.JobID);
    if (instances.length === 0) {
      ui.output("No service registrations found");
      return 0;
    }
    if (flags.verbose) { for (const instance of instances) ui.output(`${formatInstance(instance)}\n`); }
    else ui.output(formatInstances(instances));
    showNextPage(context, "nomad service info", answer.nextToken);
    return 0;
  },
});

/** The service that a name or the beginning of one means. */
async function resolveService(context: Context, typed: string): Promise<string> {
  const { data } = await attempt(
    "Error listing service registrations",
    context.api.get<ServiceNames[] | null>("/v1/services", { query: { prefix: typed } }),
  );
  const found = data ?? [];
  const names = [
    ...new Set(found.flatMap((entry) => (entry.Services ?? []).map((service) => service.ServiceName))),
  ];
  if (names.includes(typed)) return typed;
  const matching = names.filter((name) => name.startsWith(typed));
  if (matching.length === 1) return matching[0]!;
  if (names.length > 1) {
    throw new CommandError(
      `Prefix matched multiple services\n\n${formatServices(found, context.api.namespace === "*")}`,
    );
  }
  if (matching.length === 0) {
    const why = `No service registrations with prefix ${JSON.stringify(typed)} found`;
    throw new CommandError(`Error listing service registrations: ${why}`);
  }
  return typed;
}

function addressText(instance: ServiceRegistration): string {
  if (!instance.Port) return instance.Address;
  return instance.Address.includes(":")
    ? `[${instance.Address}]:${instance.Port}`
    : `${instance.Address}:${instance.Port}`;
}

function formatInstances(instances: ServiceRegistration[]): string {
  return formatTable([
    ["Job ID", "Address", "Tags", "Node ID", "Alloc ID"],
    ...instances.map((instance) => [
      instance.JobID,
      addressText(instance),
      `[${(instance.Tags ?? []).join(",")}]`,
      shortId(instance.NodeID),
      shortId(instance.AllocID),
    ]),
  ]);
}

function formatInstance(instance: ServiceRegistration): string {
  return formatKeyValues([
    ["ID", instance.ID],
    ["Service Name", instance.ServiceName],
    ["Namespace", instance.Namespace],
    ["Job ID", instance.JobID],
    ["Alloc ID", instance.AllocID],
    ["Node ID", instance.NodeID],
    ["Datacenter", instance.Datacenter],
    ["Address", addressText(instance)],
    ["Tags", `[${(instance.Tags ?? []).join(",")}]`],
  ]);
}

export const serviceDelete = command({
  form: "nomad service delete [options] <service_name> <service_id>",
  about: `Takes one instance of a service out of the registry.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'delete-service-registration' capability for the namespace.`,
  general: "all",
  title: "Service Delete Options",
  args: { min: 2, max: 2, complaint: "This command takes two arguments: <service_name> and <service_id>" },
  flags: {},
  async run(context) {
    const [name, id] = context.args as [string, string];
    await attempt(
      "Error deleting service registration",
      context.api.delete(`/v1/service/${encodeURIComponent(name)}/${encodeURIComponent(id)}`),
    );
    context.ui.output("Successfully deleted service registration");
    return 0;
  },
});
