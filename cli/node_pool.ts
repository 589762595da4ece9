// `node pool apply`, `delete`, `info`, `init`, `jobs`, `list` and `nodes`.
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { formatDuration } from "../core/duration.ts";
import type { NodePool } from "../core/types.ts";
import { bool, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError } from "./errors.ts";
import { exists } from "./files.ts";
import { quote, shortId } from "./format.ts";
import { formatJobs } from "./lists.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { pageFlags, pageQuery, showNextPage } from "./pages.ts";
import type { JobStub, NodeStub } from "./records.ts";
import { byText } from "./records.ts";
import { decodeSpec, readSpec } from "./spec_file.ts";
import { formatKeyValues, formatTable } from "./table.ts";

const ONE_POOL = { min: 1, max: 1, complaint: "This command takes one argument: <node-pool>" };

export const nodePoolApply = command({
  form: "nomad node pool apply [options] <input>",
  about: `Creates or updates node pools from a specification file, or with "-" from the
standard input.

When ACLs are enabled, this command requires a token with the 'write' capability
in a 'node_pool' policy for the pool.`,
  general: "all",
  title: "Apply Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <input>" },
  flags: { json: bool("Read the specification as JSON.") },
  async run(context) {
    const path = context.args[0]!;
    const text = await readSpec(context, path, "Failed to read node pool specification file");
    const { nodePoolTable } = await import("../jobspec/jobspec.ts");
    const what = "Failed to parse input content";
    const decoded = decodeSpec(text, nodePoolTable, { path, json: context.flags.json, what });
    const pools = context.flags.json
      ? [decoded]
      : (decoded["NodePools"] as Record<string, unknown>[] | null) ?? [];
    if (pools.length === 0) throw new CommandError(`${what}: the file has no node_pool block`);
    for (const pool of pools) {
      const name = pool["Name"];
      if (typeof name !== "string" || name === "") {
        throw new CommandError("Error applying node pool: missing node pool name");
      }
      await attempt("Error applying node pool", context.api.put("/v1/node/pools", pool));
      context.ui.output(`Successfully applied node pool ${quote(name)}!`);
    }
    return 0;
  },
});

export const nodePoolDelete = command({
  form: "nomad node pool delete [options] <node-pool>",
  about: `Deletes a node pool that has no nodes and no jobs.

When ACLs are enabled, this command requires a token with the 'delete'
capability in a 'node_pool' policy for the pool.`,
  general: "all",
  title: "Delete Options",
  args: ONE_POOL,
  flags: {},
  async run(context) {
    const name = context.args[0]!;
    await attempt(
      "Error deleting node pool",
      context.api.delete(`/v1/node/pool/${encodeURIComponent(name)}`),
    );
    context.ui.output(`Successfully deleted node pool ${quote(name)}!`);
    return 0;
  },
});

/** The pool with this name, or the only one whose name starts with it. */
async function resolvePool(context: Context, typed: string): Promise<NodePool> {
  const { data } = await attempt(
    "Error retrieving node pool",
    context.api.get<NodePool[] | null>("/v1/node/pools", { query: { prefix: typed } }),
  );
  const pools = data ?? [];
  const exact = pools.find((pool) => pool.Name === typed);
  if (exact) return exact;
  if (pools.length === 0) {
    throw new CommandError(`Error retrieving node pool: No node pool with prefix ${quote(typed)} found`);
  }
  if (pools.length > 1) throw new CommandError(`Prefix matched multiple node pools\n\n${formatPools(pools)}`);
  return pools[0]!;
}

function formatPools(pools: NodePool[]): string {
  return formatTable([
    ["Name", "Description"],
    ...byText(pools, (pool) => pool.Name).map((pool) => [pool.Name, pool.Description]),
  ]);
}

export const nodePoolInfo = command({
  form: "nomad node pool info <node-pool>",
  about: `Shows a node pool.

When ACLs are enabled, this command requires a token with the 'read' capability
in a 'node_pool' policy for the pool.`,
  general: "all",
  title: "Info Options",
  args: ONE_POOL,
  flags: { ...dataFlags("the node pool") },
  async run(context) {
    const { flags, ui } = context;
    const pool = await resolvePool(context, context.args[0]!);
    if (wantsData(flags)) {
      const read = context.api.get<NodePool>(`/v1/node/pool/${encodeURIComponent(pool.Name)}`);
      return await outputData(
        context,
        flags,
        await attempt("Error retrieving node pool", read),
        "*api.NodePool",
      );
    }
    const pairs: [string, unknown][] = [["Name", pool.Name], ["Description", pool.Description]];
    if (pool.NodeIdentityTTL) pairs.push(["Node Identity TTL", formatDuration(pool.NodeIdentityTTL)]);
    ui.output(formatKeyValues(pairs));
    ui.heading("Metadata");
    const meta = Object.entries(pool.Meta ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
    ui.output(meta.length > 0 ? formatKeyValues(meta) : "No metadata");
    ui.heading("Scheduler Configuration");
    ui.output(formatScheduler(pool));
    return 0;
  },
});

function formatScheduler(pool: NodePool): string {
  const config = pool.SchedulerConfiguration;
  if (!config) return "No scheduler configuration";
  const pairs: [string, unknown][] = [];
  if (config.SchedulerAlgorithm) pairs.push(["Scheduler Algorithm", config.SchedulerAlgorithm]);
  if (config.MemoryOversubscriptionEnabled !== null && config.MemoryOversubscriptionEnabled !== undefined) {
    pairs.push(["Memory Oversubscription Enabled", config.MemoryOversubscriptionEnabled]);
  }
  return formatKeyValues(pairs);
}

export const nodePoolInit = command({
  form: "nomad node pool init <filename>",
  about: `Writes an example of a node pool specification, to pool.nomad.hcl or
pool.nomad.json unless another name is given.`,
  general: "none",
  title: "Init Options",
  args: { min: 0, max: 1, complaint: "This command takes no arguments or one: <filename>" },
  flags: {
    out: string('Form of the file: "hcl" or "json". Defaults to "hcl".', "form", "hcl"),
    quiet: bool("Say nothing on success."),
  },
  async run(context) {
    const { flags, io, ui } = context;
    if (flags.out !== "hcl" && flags.out !== "json") {
      throw new CommandError(`Invalid value for "-out"; valid values are [hcl, json]`);
    }
    const name = context.args[0] ?? `pool.nomad.${flags.out}`;
    const path = resolve(io.cwd, name);
    if (await exists(path)) throw new CommandError(`File ${quote(name)} already exists`);
    await writeFile(path, flags.out === "json" ? EXAMPLE_JSON : EXAMPLE_HCL);
    if (!flags.quiet) ui.output(`Example node pool specification written to ${name}`);
    return 0;
  },
});

const EXAMPLE_HCL = `node_pool "example" {
  description = "Machines at the edge"

  # Metadata is free: keep here what tools of yours need.
  meta {
    team = "edge"
  }
}
`;

const EXAMPLE_JSON = `{
  "Name": "example",
  "Description": "Machines at the edge",
  "Meta": {
    "team": "edge"
  }
}
`;

export const nodePoolList = command({
  form: "nomad node pool list [options]",
  about: `Lists the node pools.

When ACLs are enabled, this command requires a token with the 'read' capability
in a 'node_pool' policy; pools that the token may not read are left out.`,
  general: "all",
  title: "List Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: { ...dataFlags("node pools"), ...pageFlags },
  async run(context) {
    const { flags, ui } = context;
    const answer = await attempt(
      "Error querying node pools",
      context.api.get<NodePool[] | null>("/v1/node/pools", { query: pageQuery(flags) }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.NodePool");
    ui.output(formatPools(answer.data ?? []));
    showNextPage(context, "nomad node pool list", answer.nextToken);
    return 0;
  },
});

export const nodePoolNodes = command({
  form: "nomad node pool nodes <node-pool>",
  about: `Lists the nodes of a node pool.

When ACLs are enabled, this command requires a token with the 'read' capability
in a 'node_pool' policy for the pool, and 'node:read'.`,
  general: "noNamespace",
  title: "Nodes Options",
  args: ONE_POOL,
  flags: { ...dataFlags("nodes"), ...pageFlags, verbose: bool("Display full information.") },
  async run(context) {
    const { flags, ui } = context;
    const pool = await resolvePool(context, context.args[0]!);
    const answer = await attempt(
      "Error querying nodes",
      context.api.get<NodeStub[] | null>(`/v1/node/pool/${encodeURIComponent(pool.Name)}/nodes`, {
        query: pageQuery(flags),
      }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.NodeListStub");
    const nodes = answer.data ?? [];
    ui.output(
      nodes.length === 0 ? "No nodes" : formatTable([
        [
          "ID",
          "DC",
          "Name",
          "Class",
          ...(flags.verbose ? ["Address", "Version"] : []),
          "Drain",
          "Eligibility",
          "Status",
        ],
        ...nodes.map((node) => [
          shortId(node.ID, flags.verbose),
          node.Datacenter,
          node.Name,
          node.NodeClass,
          ...(flags.verbose ? [node.Address, node.Version] : []),
          node.Drain,
          node.SchedulingEligibility,
          node.Status,
        ]),
      ]),
    );
    showNextPage(context, "nomad node pool nodes", answer.nextToken);
    return 0;
  },
});

export const nodePoolJobs = command({
  form: "nomad node pool jobs <node-pool>",
  about: `Lists the jobs that are placed in a node pool.

When ACLs are enabled, this command requires a token with the 'read' capability
in a 'node_pool' policy for the pool, and 'list-jobs'.`,
  general: "all",
  title: "Jobs Options",
  args: ONE_POOL,
  flags: { ...dataFlags("jobs"), ...pageFlags },
  async run(context) {
    const { flags, ui, api } = context;
    const pool = await resolvePool(context, context.args[0]!);
    const answer = await attempt(
      "Error querying jobs",
      api.get<JobStub[] | null>(`/v1/node/pool/${encodeURIComponent(pool.Name)}/jobs`, {
        query: pageQuery(flags),
      }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.JobListStub");
    const jobs = answer.data ?? [];
    ui.output(jobs.length === 0 ? "No jobs" : formatJobs(jobs, api.namespace === "*"));
    showNextPage(context, "nomad node pool jobs", answer.nextToken);
    return 0;
  },
});
