// Values that are of the right type and still impossible: ports outside of their range, lists that name what does not
// exist. Looks at a merged configuration, so that `config validate` says what the start would.
import { ConfigError } from "../core/errors.ts";
import type { RawConfig } from "./config.ts";

const PORT_MAX = 65_535;
const SCHEDULERS = ["service", "batch", "system", "sysbatch"];

/** Throws ConfigError for the first value that cannot be. */
export function checkLimits(raw: RawConfig): void {
  for (const [kind, port] of Object.entries(raw.ports ?? {})) checkPort(`ports.${kind}`, port);
  checkClient(raw.client ?? {});
  // Flags do not pass through the reader of files, which refuses negative numbers.
  if ((raw.server?.bootstrap_expect ?? 0) < 0) throw new ConfigError("bootstrap_expect must not be negative");
  const { raft_multiplier: multiplier = 1, raft_protocol: protocol = 3 } = raw.server ?? {};
  if (multiplier < 1 || multiplier > 10) {
    throw new ConfigError(`raft_multiplier cannot be ${multiplier}. Must be between 1 and 10`);
  }
  if (protocol !== 3) {
    throw new ConfigError(`raft_protocol must be 3 in Nomad v1.4 and later, got ${protocol}`);
  }
  for (const name of raw.server?.enabled_schedulers ?? []) {
    if (SCHEDULERS.includes(name)) continue;
    throw new ConfigError(
      `server.enabled_schedulers: ${JSON.stringify(name)} is unknown: use of ${SCHEDULERS.join(", ")}`,
    );
  }
}

function checkClient(client: NonNullable<RawConfig["client"]>): void {
  const { min_dynamic_port: min = 20_000, max_dynamic_port: max = 32_000 } = client;
  checkPort("client.min_dynamic_port", min);
  checkPort("client.max_dynamic_port", max);
  if (min > max) {
    throw new ConfigError(
      `Invalid dynamic port range: min_dynamic_port=${min} and max_dynamic_port=${max}`,
    );
  }
  checkPortList("client.reserved.reserved_ports", client.reserved?.reserved_ports ?? "");
  for (const [name, network] of Object.entries(client.host_network ?? {})) {
    checkPortList(`client.host_network "${name}" reserved_ports`, network.reserved_ports ?? "");
  }
}

function checkPort(name: string, port: unknown): void {
  if (typeof port === "number" && port <= PORT_MAX) return;
  throw new ConfigError(`${name} must be a port, at most ${PORT_MAX}: got ${port}`);
}

/** "22,80,8500-8600". */
function checkPortList(name: string, list: string): void {
  for (const part of list.split(",").map((text) => text.trim()).filter((text) => text !== "")) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    const from = Number(match?.[1]);
    const to = Number(match?.[2] ?? match?.[1]);
    if (match && from <= to && to <= PORT_MAX) continue;
    throw new ConfigError(
      `${name} ${JSON.stringify(list)} invalid: ${
        JSON.stringify(part)
      } is no port or range of ports up to ${PORT_MAX}`,
    );
  }
}
