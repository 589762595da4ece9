// A server's way into its cluster: start_join, which the start fails without, and retry_join, in the background.
import { ConfigError, errorText } from "../core/errors.ts";
import { formatHostPort } from "../core/resolve.ts";
import { SERF_PORT } from "../server/gossip_node.ts";
import type { Membership } from "../server/membership.ts";
import type { JoinSettings } from "./join_settings.ts";
import { type Attempt, discover, Joiner, type JoinerOptions } from "./joiner.ts";

export type JoinServersOptions =
  & JoinSettings
  & Pick<JoinerOptions, "clock" | "logger" | "lookup" | "providers" | "onExhausted">;

/**
 * Joins what start_join names, then begins with retry_join; the returned function ends that. Throws ConfigError when
 * none of start_join answers.
 */
export async function joinServers(membership: Membership, options: JoinServersOptions): Promise<() => void> {
  if (options.startJoin.length > 0) await startJoin(membership, options);
  if (options.retryJoin.length === 0) return () => undefined;
  const joiner = new Joiner({
    ...options,
    entries: options.retryJoin,
    defaultPort: SERF_PORT,
    attempt: (addresses) => attempt(membership, addresses),
  });
  joiner.start();
  return () => joiner.stop();
}

async function startJoin(membership: Membership, options: JoinServersOptions): Promise<void> {
  let why: string;
  try {
    const { addresses, errors } = await discover(options.startJoin, { ...options, defaultPort: SERF_PORT });
    const { joined, errors: failures } = await membership.join(addresses);
    if (joined > 0) return options.logger.info("joined the servers of start_join", { servers: joined });
    why = [...errors, ...failures.map(({ message }) => message)].join("; ");
  } catch (error) {
    why = errorText(error);
  }
  throw new ConfigError(
    `Cannot join any server of start_join: ${why}: start one of them first, or use retry_join`,
  );
}

/** It worked when there is somebody else. */
async function attempt(membership: Membership, addresses: string[]): Promise<Attempt> {
  const own = formatHostPort(membership.self);
  const others = addresses.filter((address) => address !== own);
  if (others.length === 0) return hasCompany(membership) ? "joined" : "alone";
  const { joined, errors } = await membership.join(others);
  if (hasCompany(membership)) return "joined";
  // Whoever answered was this server itself, under another of its addresses.
  if (joined > 0 && errors.length === 0) return "alone";
  return { failed: errors.map(({ message }) => message).join("; ") || "nobody answered" };
}

const hasCompany = (membership: Membership) =>
  membership.members().slice(1).some(({ status }) => status === "alive");
