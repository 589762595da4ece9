// `server members`, `join`, `force-leave`, and `agent-info`.
import { bool } from "./args.ts";
import { command } from "./command.ts";
import { attempt, CommandError } from "./errors.ts";
import { parseExact } from "./json_text.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { formatTable } from "./table.ts";

interface Member {
  Name: string;
  Addr: string;
  Port: number;
  Status: string;
  ProtocolCur: number;
  Tags: Record<string, string>;
}

export const serverMembers = command({
  form: "nomad server members [options]",
  about: `Lists the servers that are known, with their state.

When ACLs are enabled, this command requires a token with the 'node:read'
capability.`,
  general: "noNamespace",
  title: "Server Members Options",
  hints: true,
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: {
    ...dataFlags("members"),
    detailed: bool("Old name of -verbose."),
    ui: bool("Open the servers page in the browser."),
    verbose: bool("Show the tags and the protocol of each server too."),
  },
  async run(context) {
    const { flags, api, ui } = context;
    const answer = await attempt(
      "Error querying servers",
      api.get<{ Members: Member[] | null } | null>("/v1/agent/members"),
    );
    if (wantsData(flags)) {
      const value = (parseExact(answer.text) as { Members: unknown } | null)?.Members ?? null;
      return await outputData(context, flags, { value }, "*api.AgentMember");
    }
    const members = [...answer.data?.Members ?? []].sort((a, b) => a.Name < b.Name ? -1 : 1);
    if (members.length === 0) throw new CommandError("Agent doesn't know about server members");
    const { leaders, failures } = await findLeaders(context, members);
    ui.output(formatMembers(members, leaders, flags.verbose || flags.detailed));
    for (const failure of failures) ui.warn(`\nError determining leaders: ${failure}`);
    await context.hint("View and manage Nomad servers in the Web UI", "/ui/servers", { open: flags.ui });
    return failures.length > 0 ? 1 : 0;
  },
});

/** Address of each region's leader, as "host:port" of its rpc. */
async function findLeaders(
  context: { api: { get<T>(path: string, options: object): Promise<{ data: T }> } },
  members: Member[],
): Promise<{ leaders: Map<string, string>; failures: string[] }> {
  const leaders = new Map<string, string>();
  const failures: string[] = [];
  const regions = [...new Set(members.map((member) => member.Tags["region"] ?? ""))];
  await Promise.all(regions.map(async (region) => {
    try {
      const { data } = await context.api.get<string>("/v1/status/leader", {
        query: { region: region || undefined },
      });
      leaders.set(region, data);
    } catch (error) {
      failures.push(`Region ${JSON.stringify(region)}: ${(error as Error).message}`);
    }
  }));
  return { leaders, failures };
}

function formatMembers(members: Member[], leaders: Map<string, string>, verbose: boolean): string {
  return formatTable([
    [
      "Name",
      "Address",
      "Port",
      "Status",
      "Leader",
      ...(verbose ? ["Protocol"] : []),
      "Raft Version",
      "Build",
      "Datacenter",
      "Region",
      ...(verbose ? ["Tags"] : []),
    ],
    ...members.map((member) => {
      const tags = member.Tags;
      const rpc = `${tags["rpc_addr"] ?? member.Addr}:${tags["port"] ?? ""}`;
      const leader = leaders.get(tags["region"] ?? "");
      const isLeader = leader === rpc || leader === `${member.Addr}:${tags["port"] ?? ""}`;
      return [
        member.Name,
        member.Addr,
        member.Port,
        member.Status,
        isLeader,
        ...(verbose ? [member.ProtocolCur] : []),
        tags["raft_vsn"] ?? "",
        tags["build"] ?? "",
        tags["dc"] ?? "",
        tags["region"] ?? "",
        ...(verbose
          ? [Object.entries(tags).sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) => `${k}=${v}`).join(",")]
          : []),
      ];
    }),
  ]);
}

export const serverJoin = command({
  form: "nomad server join [options] <addr> [<addr>...]",
  about: `Joins the asked server to others. One address that can be reached is enough.

When ACLs are enabled, this command requires a token with the 'agent:write'
capability.`,
  general: "noNamespace",
  title: "Server Join Options",
  args: { min: 1, max: Infinity, complaint: "One or more node addresses must be given as arguments" },
  flags: {},
  async run(context) {
    const { api, ui, args } = context;
    const url = api.url("/v1/agent/join");
    for (const address of args) url.searchParams.append("address", address);
    const { data } = await attempt(
      "Error joining: failed joining",
      api.put<{ num_joined: number; error: string; warning?: string }>(url.pathname + url.search),
    );
    if (data.error) throw new CommandError(`Error joining: failed joining: ${data.error}`);
    if (data.warning) ui.warn(data.warning);
    ui.output(`Joined ${data.num_joined} servers successfully`);
    return 0;
  },
});

export const serverForceLeave = command({
  form: "nomad server force-leave [options] <node>",
  about: `Makes the servers take one of them, that is gone, for having left.

When ACLs are enabled, this command requires a token with the 'agent:write'
capability.`,
  general: "noNamespace",
  title: "Force-Leave Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <node>" },
  flags: { prune: bool("Forget the server at once.") },
  async run(context) {
    const node = context.args[0]!;
    await attempt(
      `Error force-leaving server ${node}`,
      context.api.put("/v1/agent/force-leave", undefined, {
        query: { node, prune: context.flags.prune ? 1 : undefined },
      }),
    );
    return 0;
  },
});

interface AgentSelf {
  stats: Record<string, Record<string, string>> | null;
}

export const agentInfo = command({
  form: "nomad agent-info [options]",
  about: `Shows what the asked agent says of itself, for finding faults.

When ACLs are enabled, this command requires a token with the 'agent:read'
capability.`,
  general: "noNamespace",
  title: "Agent Info Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: { ...dataFlags("information") },
  async run(context) {
    const { flags, api, ui } = context;
    const answer = await attempt(
      "Error querying agent info: failed querying self endpoint",
      api.get<AgentSelf>("/v1/agent/self"),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.AgentSelf");
    for (const [section, values] of entries(answer.data.stats)) {
      ui.output(section);
      for (const [key, value] of entries(values)) ui.output(`  ${key} = ${value}`);
    }
    return 0;
  },
});

function entries<T>(record: Record<string, T> | null): [string, T][] {
  return Object.entries(record ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
}
