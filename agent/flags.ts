// The flags of `nomad agent` as a configuration: each sets the key that it stands for and wins over every file.
import { ConfigError } from "../core/errors.ts";
import type { RawConfig } from "./config.ts";

/** Flag → path of the key it sets. List flags set lists; the others set one value. */
const KEY_OF_FLAG: Record<string, string> = {
  "server": "server.enabled",
  "client": "client.enabled",
  "bootstrap-expect": "server.bootstrap_expect",
  "encrypt": "server.encrypt",
  "raft-protocol": "server.raft_protocol",
  "rejoin": "server.rejoin_after_leave",
  "join": "server.server_join.start_join",
  "retry-join": "server.server_join.retry_join",
  "retry-max": "server.server_join.retry_max",
  "retry-interval": "server.server_join.retry_interval",
  "state-dir": "client.state_dir",
  "alloc-dir": "client.alloc_dir",
  "alloc-mounts-dir": "client.alloc_mounts_dir",
  "host-volumes-dir": "client.host_volumes_dir",
  "host-volume-plugin-dir": "client.host_volume_plugin_dir",
  "node-class": "client.node_class",
  "node-pool": "client.node_pool",
  "servers": "client.servers",
  "meta": "client.meta",
  "network-interface": "client.network_interface",
  "preferred-address-family": "client.preferred_address_family",
  "network-speed": "client.network_speed",
  "bind": "bind_addr",
  "region": "region",
  "data-dir": "data_dir",
  "plugin-dir": "plugin_dir",
  "dc": "datacenter",
  "log-level": "log_level",
  "log-json": "log_json",
  "log-include-location": "log_include_location",
  "node": "name",
  "eventlog": "eventlog.enabled",
  "eventlog-level": "eventlog.level",
  "acl-enabled": "acl.enabled",
  "acl-replication-token": "acl.replication_token",
};

/** Flags that are not keys: read by agent/run.ts. */
const OWN_FLAGS = new Set(["config", "dev"]);
const REFUSED: Record<string, string> = {
  "dev-connect": "Consul Connect is not built yet",
  "dev-consul": "Consul is not built yet",
  "dev-vault": "Vault is not built yet",
  "client-intro-token": "client introduction tokens are not built yet",
};

/**
 * The keys that `given` flags set. `values` are as the command line read them: strings, numbers, booleans, lists.
 * Throws ConfigError for a flag that this version cannot honour.
 */
export function flagsToConfig(values: Readonly<Record<string, unknown>>, given: Iterable<string>): RawConfig {
  const raw: RawConfig = {};
  for (const flag of new Set(given)) {
    if (OWN_FLAGS.has(flag)) continue;
    if (REFUSED[flag]) throw new ConfigError(`-${flag}: ${REFUSED[flag]}: leave the flag away`);
    const path = KEY_OF_FLAG[flag] ?? consulOrVault(flag);
    if (!path) throw new ConfigError(`-${flag} has no meaning for this agent`);
    setPath(raw, path.split("."), valueOf(flag, values[flag]));
  }
  return raw;
}

function consulOrVault(flag: string): string | undefined {
  const match = /^(consul|vault)-(.+)$/.exec(flag);
  return match ? `${match[1]}.${match[2]!.replaceAll("-", "_")}` : undefined;
}

function valueOf(flag: string, value: unknown): unknown {
  if (flag === "servers") return String(value).split(",").map((server) => server.trim()).filter(Boolean);
  if (flag === "retry-interval") return typeof value === "number" ? `${value / 1e9}s` : value;
  if (flag !== "meta") return value;
  return Object.fromEntries((value as string[]).map((pair) => {
    const at = pair.indexOf("=");
    if (at < 1) throw new ConfigError(`Error parsing Client.Meta value: ${pair}: expected key=value`);
    return [pair.slice(0, at), pair.slice(at + 1)];
  }));
}

function setPath(target: Record<string, unknown>, path: string[], value: unknown): void {
  const [key, ...rest] = path as [string, ...string[]];
  if (rest.length === 0) {
    target[key] = value;
    return;
  }
  setPath((target[key] ??= {}) as Record<string, unknown>, rest, value);
}
