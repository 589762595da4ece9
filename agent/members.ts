// Gossip as the API's /v1/agent/… routes show it: members in Nomad's form, joining, making a member leave.
import type { Agent } from "../agent.ts";
import { ApiError, errorText } from "../core/errors.ts";
import { formatMultiError } from "../server/multi_error.ts";
import type { Member } from "../server/membership.ts";

/** What serf says of its protocols; tools print it. */
const PROTOCOLS = {
  DelegateCur: 4,
  DelegateMax: 5,
  DelegateMin: 2,
  ProtocolCur: 2,
  ProtocolMax: 5,
  ProtocolMin: 1,
};

/** Tags of ours that Nomad's members do not have. */
const OWN_TAGS = new Set(["http_addr"]);

/** A member in Nomad's form. */
export function memberView({ name, host, port, status, tags }: Member): Record<string, unknown> {
  return {
    Addr: host,
    ...PROTOCOLS,
    Name: name,
    Port: port,
    Status: status,
    Tags: Object.fromEntries(Object.entries(tags).filter(([tag]) => !OWN_TAGS.has(tag))),
  };
}

/** This agent's server; for an agent that is only a client all is empty. */
export function selfMember({ membership }: Agent): Record<string, unknown> {
  if (membership) return memberView(membership.self);
  return {
    Addr: null,
    ...Object.fromEntries(Object.keys(PROTOCOLS).map((name) => [name, 0])),
    Name: "",
    Port: 0,
    Status: "none",
    Tags: null,
  };
}

export async function joinMembers(
  { membership }: Agent,
  addresses: readonly string[],
): Promise<{ num_joined: number; error: string; warning: string } | null> {
  if (!membership) return null;
  const { joined, errors } = await membership.join(addresses);
  const texts = errors.map(({ message }) => message);
  if (joined === 0) return { num_joined: 0, error: formatMultiError(texts), warning: "" };
  return { num_joined: joined, error: "", warning: texts.length > 0 ? formatMultiError(texts) : "" };
}

/** `node`: a member's name, the region of this agent may be left away. A name that nobody has is no error in Nomad. */
export async function forceLeave(agent: Agent, node: string, prune: boolean): Promise<void> {
  const { membership, config, setup } = agent;
  if (!membership) throw new ApiError(501, "This agent is not a server");
  const known = membership.members().some(({ name }) => name === node);
  const name = known ? node : `${node}.${config.region}`;
  try {
    await membership.forceLeave(name, { prune });
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    setup.log.module("agent").warn("nobody was made to leave", { node, reason: errorText(error) });
  }
}
