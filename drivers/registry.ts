// Makes the drivers of this program from the agent's `plugin "name" { config { … } }` blocks. The only place that knows
// all of them. A driver that does not exist here is refused by name, never ignored.
import { ConfigError } from "../core/errors.ts";
import { type Logger, silentLogger } from "../core/logger.ts";
import { checkConfig, ConfigReader, field, type Schema } from "./config_check.ts";
import type { Driver } from "./driver.ts";
import { MockDriver } from "./mock.ts";
import { PodmanDriver } from "./podman.ts";
import { PODMAN_LOGGING_SCHEMA } from "./podman_config.ts";
import { RawExecDriver } from "./raw_exec.ts";
import { parseIdRanges } from "./users.ts";

/** `plugin` blocks by name: the content of their `config` block, as parsed. */
export type PluginConfig = Record<string, Record<string, unknown>>;

export interface DriverOptions {
  /** True in -dev: raw_exec is on without being configured. */
  rawExecEnabled?: boolean;
  /** Parent of the tasks' cgroups, relative to the hierarchy's root; default "nomad". */
  cgroupParent?: string;
  log?: Logger;
}

const RAW_EXEC_SCHEMA: Schema = {
  enabled: field.bool,
  denied_host_uids: field.string,
  denied_host_gids: field.string,
  denied_envvars: field.strings,
};

const PODMAN_SCHEMA: Schema = {
  socket_path: field.string,
  volumes: field.block({ enabled: field.bool, selinuxlabel: field.string }),
  gc: field.block({ container: field.bool }),
  recover_stopped: field.bool,
  disable_log_collection: field.bool,
  extra_labels: field.strings,
  dns_servers: field.strings,
  client_http_timeout: field.duration,
  logging: field.block(PODMAN_LOGGING_SCHEMA),
};

const BUILDERS: Record<string, (config: Record<string, unknown>, options: DriverOptions) => Driver> = {
  raw_exec: makeRawExec,
  podman: makePodman,
  mock_driver: makeMock,
};

/** All drivers by name. Throws ConfigError when a plugin block is wrong or names a driver that is not built. */
export function createDrivers(pluginConfig: PluginConfig, options: DriverOptions = {}): Map<string, Driver> {
  const configs: PluginConfig = {};
  for (const [given, config] of Object.entries(pluginConfig)) {
    const name = given === "nomad-driver-podman" ? "podman" : given;
    configs[name] = config;
    if (Object.hasOwn(BUILDERS, name)) continue;
    throw new ConfigError(
      `plugin "${name}": this program has no such driver; it has ${Object.keys(BUILDERS).sort().join(", ")}`,
    );
  }
  const drivers = new Map<string, Driver>();
  for (const [name, build] of Object.entries(BUILDERS)) {
    const driver = build(configs[name] ?? {}, options);
    drivers.set(driver.name, driver);
  }
  return drivers;
}

/** Throws ConfigError with all problems of a plugin's config. */
function requireGood(name: string, config: Record<string, unknown>, schema: Schema): ConfigReader {
  const errors = checkConfig(config, schema, `plugin "${name}" config`);
  if (errors.length > 0) throw new ConfigError(errors.join("\n"));
  return new ConfigReader(config);
}

function makeRawExec(config: Record<string, unknown>, options: DriverOptions): Driver {
  const read = requireGood("raw_exec", config, RAW_EXEC_SCHEMA);
  const ranges = (key: string) => {
    try {
      return parseIdRanges(read.text(key));
    } catch (error) {
      if (error instanceof SyntaxError) {
        throw new ConfigError(`plugin "raw_exec" config.${key}: ${error.message}`);
      }
      throw error;
    }
  };
  return new RawExecDriver({
    enabled: read.bool("enabled", options.rawExecEnabled ?? false),
    deniedUid: ranges("denied_host_uids"),
    deniedGid: ranges("denied_host_gids"),
    deniedEnv: read.strings("denied_envvars"),
    cgroupParent: options.cgroupParent ?? "nomad",
    log: options.log ?? silentLogger,
  });
}

function makeMock(config: Record<string, unknown>): Driver {
  requireGood("mock_driver", config, {});
  return new MockDriver();
}

function makePodman(config: Record<string, unknown>, options: DriverOptions): Driver {
  const read = requireGood("podman", config, PODMAN_SCHEMA);
  const uid = process.getuid?.() ?? 0;
  const socket = uid === 0 ? "/run/podman/podman.sock" : `/run/user/${uid}/podman/podman.sock`;
  const volumes = read.block("volumes");
  const logging = read.block("logging");
  return new PodmanDriver({
    socketPath: read.text("socket_path", `unix://${socket}`),
    volumesEnabled: volumes.bool("enabled", true),
    selinuxLabel: volumes.text("selinuxlabel"),
    removesContainers: read.block("gc").bool("container", true),
    recoversStopped: read.bool("recover_stopped", true),
    disableLogCollection: read.bool("disable_log_collection"),
    extraLabels: read.strings("extra_labels"),
    dnsServers: read.strings("dns_servers"),
    loggingDriver: logging.text("driver"),
    loggingOptions: logging.map("options"),
    httpTimeoutMs: read.durationMs("client_http_timeout", 60_000),
    log: options.log ?? silentLogger,
  });
}
