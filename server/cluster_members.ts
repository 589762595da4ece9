// Gossip's members as the servers they are: what the tags say, read once and in one place, and the tags that a server
// gives itself. A member of another role or without an id is no server and does not exist here.
import { NOMAD_VERSION } from "../core/version.ts";
import type { ServerConfig } from "./context.ts";
import type { Member, MemberStatus, MemberTags } from "./membership.ts";
import type { RaftServer } from "./raft_types.ts";

/** A server as gossip knows it. */
export interface ServerMember {
  id: string;
  /** `<agent name>.<region>`. */
  name: string;
  region: string;
  status: MemberStatus;
  /** host:port of its listeners, as it advertises them. */
  rpcAddress: string;
  httpAddress: string;
  /** Its bootstrap_expect; 0: it waits to be added. */
  expect: number;
  /** It is to stay a learner. */
  nonVoter: boolean;
  build: string;
}

/** Null for a member that is no server of ours. */
export function serverMember({ name, host, status, tags }: Member): ServerMember | null {
  const id = tags["id"];
  const port = Number(tags["port"]);
  if (tags["role"] !== "nomad" || !id || !Number.isInteger(port)) return null;
  return {
    id,
    name,
    region: tags["region"] ?? "global",
    status,
    rpcAddress: joinHostPort(tags["rpc_addr"] || host, port),
    httpAddress: tags["http_addr"] ?? "",
    expect: tags["bootstrap"] === "1" ? 1 : Number(tags["expect"] ?? 0),
    nonVoter: tags["nonvoter"] === "1",
    build: tags["build"] ?? "",
  };
}

/** What this server tells of itself: Nomad's tags, `http_addr` and, for one that is not to vote, `nonvoter`. */
export function serverTags(config: ServerConfig): MemberTags {
  const at = config.rpcAddress.lastIndexOf(":");
  const tags: Record<string, string> = {
    build: NOMAD_VERSION,
    dc: config.datacenter,
    expect: String(config.bootstrapExpect),
    http_addr: config.httpAddress,
    id: config.id,
    port: config.rpcAddress.slice(at + 1),
    raft_vsn: "3",
    region: config.region,
    revision: "",
    role: "nomad",
    rpc_addr: config.rpcAddress.slice(0, at).replace(/^\[|\]$/g, ""),
    vsn: "1",
  };
  if (config.bootstrapExpect === 1) tags["bootstrap"] = "1";
  if (config.nonVoter) tags["nonvoter"] = "1";
  return tags;
}

/** Its place in the membership of the log. */
export function raftServer(member: ServerMember, voter: boolean): RaftServer {
  const { id, rpcAddress, httpAddress } = member;
  return { id, rpcAddress, httpAddress, voter };
}

function joinHostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
