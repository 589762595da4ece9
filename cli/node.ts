// `node config`, `node eligibility` and `node meta`.
import { bool, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { quote } from "./format.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { localNodeId, resolveNode } from "./resolve.ts";
import { formatKeyValues } from "./table.ts";

export const nodeConfig = command({
  form: "nomad node config [options]",
  about: `Shows or changes the configuration of the asked node: the servers it talks to.

When ACLs are enabled, this command requires a token with the 'agent:read'
capability for -servers and 'agent:write' for -update-servers.`,
  general: "noNamespace",
  title: "Client Config Options",
  flags: {
    servers: bool("Show the servers that the node knows."),
    "update-servers": bool("Replace them by the addresses that are given as arguments."),
  },
  async run(context) {
    const { flags, args, api, ui } = context;
    if (!flags.servers && !flags["update-servers"]) {
      throw new UsageError("The '-servers' or '-update-servers' flag(s) must be set");
    }
    if (flags["update-servers"]) {
      if (args.length === 0) {
        throw new UsageError("If the '-update-servers' flag is set, at least one server must be given");
      }
      const url = api.url("/v1/agent/servers");
      for (const address of args) url.searchParams.append("address", address);
      await attempt("Error updating server list", api.put(url.pathname + url.search));
      ui.output("Updated server list");
      return 0;
    }
    const { data } = await attempt("Error querying server list", api.get<string[]>("/v1/agent/servers"));
    for (const server of data ?? []) ui.output(server);
    return 0;
  },
});

export const nodeEligibility = command({
  form: "nomad node eligibility [options] <node>",
  about: `Says whether the scheduler may place new work on a node. What runs there goes on.

When ACLs are enabled, this command requires a token with the 'node:write'
capability.`,
  general: "noNamespace",
  title: "Node Eligibility Options",
  flags: {
    disable: bool("Let nothing new be placed on the node."),
    enable: bool("Let new work be placed on the node."),
    self: bool("The node that the asked agent is."),
  },
  async run(context) {
    const { flags, args, api, ui } = context;
    if (flags.enable === flags.disable) {
      throw new UsageError("Either the '-enable' or '-disable' flag must be set");
    }
    const id = await targetNode(context, args, flags.self);
    const eligibility = flags.enable ? "eligible" : "ineligible";
    await attempt(
      "Error updating scheduling eligibility",
      api.put(`/v1/node/${id}/eligibility`, { NodeID: id, Eligibility: eligibility }),
    );
    ui.output(`Node ${quote(id)} scheduling eligibility set: ${eligibility} for scheduling`);
    return 0;
  },
});

/** Whole id of the node that an argument or -self names. */
export async function targetNode(context: Context, args: string[], self: boolean): Promise<string> {
  if (self ? args.length > 0 : args.length !== 1) {
    throw new UsageError("Node ID must be specified if -self isn't being used");
  }
  if (self) return await localNodeId(context, "Error querying agent info: failed querying self endpoint");
  return (await resolveNode(context, args[0]!, { verbose: true, what: "Error toggling node" })).ID;
}

const nodeIdFlag = string("The node; the asked agent's own when it is left out.", "node id");

async function metaNode(context: Context<{ "node-id": string }>): Promise<string | undefined> {
  const typed = context.flags["node-id"];
  if (typed === "") return undefined;
  return (await resolveNode(context, typed, { verbose: true, what: "Error looking up node" })).ID;
}

export const nodeMetaApply = command({
  form: "nomad node meta apply [-node-id ...] [-unset ...] key1=value1 ... kN=vN",
  about: `Changes the metadata of a node while it runs. What is changed stays when the
agent is started again.

When ACLs are enabled, this command requires a token with the 'node:write'
capability.`,
  general: "noNamespace",
  title: "Node Meta Apply Options",
  flags: { "node-id": nodeIdFlag, unset: string("Keys to take away, with commas between.", "key,...") },
  async run(context) {
    const { flags, args, api } = context;
    const meta: Record<string, string | null> = {};
    for (const key of flags.unset.split(",").filter(Boolean)) meta[key] = null;
    for (const pair of args) {
      const equals = pair.indexOf("=");
      if (equals < 1) throw new CommandError(`Error parsing metadata: ${quote(pair)}: expected key=value`);
      meta[pair.slice(0, equals)] = pair.slice(equals + 1);
    }
    if (Object.keys(meta).length === 0) {
      throw new CommandError("Must specify -unset or at least 1 key=value pair");
    }
    const id = await metaNode(context);
    await attempt(
      "Error applying dynamic node metadata",
      api.post("/v1/client/metadata", { NodeID: id ?? "", Meta: meta }, { query: { node_id: id } }),
    );
    return 0;
  },
});

interface NodeMeta {
  Meta: Record<string, string> | null;
  Dynamic: Record<string, string | null> | null;
  Static: Record<string, string> | null;
}

export const nodeMetaRead = command({
  form: "nomad node meta read [-json] [-node-id ...]",
  about: `Shows the metadata of a node: all of it, what was changed while it ran, and what
its configuration says.

When ACLs are enabled, this command requires a token with the 'node:read'
capability.`,
  general: "noNamespace",
  title: "Node Meta Read Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: { ...dataFlags("metadata"), "node-id": nodeIdFlag },
  async run(context) {
    const { flags, api, ui } = context;
    const id = await metaNode(context);
    const answer = await attempt(
      "Error reading dynamic node metadata",
      api.get<NodeMeta>("/v1/client/metadata", { query: { node_id: id } }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.NodeMetaResponse");
    const { c } = ui;
    const section = (title: string, values: Record<string, string | null> | null) => {
      ui.coloured(`${c.bold}${title}${c.reset}`);
      const entries = Object.entries(values ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
      ui.output(formatKeyValues(entries.map(([key, value]) => [key, value === null ? "<unset>" : value])));
    };
    section("All Meta", answer.data.Meta);
    section("\nDynamic Meta", answer.data.Dynamic);
    section("\nStatic Meta", answer.data.Static);
    return 0;
  },
});
