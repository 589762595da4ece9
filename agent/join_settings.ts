// server_join { } of the server and client blocks, and its older form directly in the server block → JoinSettings.
import { parseDuration } from "../core/duration.ts";
import { ConfigError } from "../core/errors.ts";
import type { RawJoin } from "./config.ts";

/** Which servers to join, and how long to try. */
export interface JoinSettings {
  /** The start fails when none of these answers. */
  startJoin: string[];
  /** Tried until one answers. */
  retryJoin: string[];
  retryIntervalMs: number;
  /** More attempts after the first; 0: for ever. */
  retryMax: number;
}

const RETRY_INTERVAL_MS = 30_000;
const KEYS = ["start_join", "retry_join", "retry_max", "retry_interval"] as const;

/** Throws ConfigError for both forms at once, and for what a device cannot do. */
export function joinSettings(
  block: "server" | "client",
  raw: RawJoin & { server_join?: RawJoin },
): JoinSettings {
  const nested = raw.server_join;
  const both = block === "server" && nested ? KEYS.find((key) => isSet(raw[key])) : undefined;
  if (both) {
    throw new ConfigError(
      `server_join and ${both} cannot both be defined; prefer setting the server_join block`,
    );
  }
  const join = nested ?? (block === "server" ? raw : {});
  if (block === "client" && isSet(join.start_join)) {
    throw new ConfigError(
      "client.server_join.start_join is for servers: a device starts without them and goes on looking: use retry_join",
    );
  }
  return {
    startJoin: [...join.start_join ?? []],
    retryJoin: [...join.retry_join ?? []],
    retryIntervalMs: intervalMs(`${block}.server_join.retry_interval`, join.retry_interval),
    retryMax: join.retry_max ?? 0,
  };
}

const isSet = (value: unknown) =>
  Array.isArray(value) ? value.length > 0 : value !== undefined && value !== 0 && value !== "";

function intervalMs(name: string, text: string | undefined): number {
  if (text === undefined) return RETRY_INTERVAL_MS;
  try {
    return parseDuration(String(text)) / 1e6 || RETRY_INTERVAL_MS;
  } catch (error) {
    throw new ConfigError(`${name}: ${(error as Error).message}`);
  }
}
