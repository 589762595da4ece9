// What an agent runs with: the raw form (keys exactly as files write them) and the resolved form (defaults filled in,
// one unit each, addresses decided). `resolveConfig` is pure; reading files is read.ts, flags are flags.ts.
//
// Invariants of the resolved form: at least one of server and client is there; without `dev` the data dir is
// absolute; every address has a port (0: the system chooses, the agent fills in what it got).
import { join as joinPath } from "node:path";
import { hostname, networkInterfaces } from "node:os";
import { parseDuration } from "../core/duration.ts";
import { ConfigError } from "../core/errors.ts";
import type { AutopilotConfiguration, SchedulerConfiguration } from "../core/types.ts";
import { type ClientConfig, clientConfigDefaults } from "../client/config.ts";
import type { ServerConfig } from "../server/context.ts";
import { gossipKeyError } from "../server/gossip_crypto.ts";
import { checkLimits } from "./config_limits.ts";
import { isProviderEntry } from "./join_provider.ts";
import { type JoinSettings, joinSettings } from "./join_settings.ts";

type Duration = string;
export interface RawJoin {
  retry_join?: string[];
  start_join?: string[];
  retry_max?: number;
  retry_interval?: Duration;
}

/** One configuration as files and flags give it; every key optional, names as in config/schema.ts. */
export interface RawConfig {
  region?: string;
  datacenter?: string;
  name?: string;
  data_dir?: string;
  log_level?: string;
  log_json?: boolean;
  log_file?: string;
  bind_addr?: string;
  enable_debug?: boolean;
  leave_on_interrupt?: boolean;
  leave_on_terminate?: boolean;
  http_api_response_headers?: Record<string, string>;
  ports?: { http?: number; rpc?: number; serf?: number };
  addresses?: { http?: string; rpc?: string; serf?: string };
  advertise?: { http?: string; rpc?: string; serf?: string };
  server?: RawServer;
  client?: RawClient;
  telemetry?: { prometheus_metrics?: boolean };
  autopilot?: RawAutopilot;
  ui?: { show_cli_hints?: boolean };
  plugin?: Record<string, { config?: unknown }>;
  [other: string]: unknown;
}

export interface RawAutopilot {
  cleanup_dead_servers?: boolean;
  last_contact_threshold?: Duration;
  max_trailing_logs?: number;
  min_quorum?: number;
  server_stabilization_time?: Duration;
  enable_redundancy_zones?: boolean;
  disable_upgrade_migration?: boolean;
  enable_custom_upgrades?: boolean;
}

export interface RawServer extends RawJoin {
  enabled?: boolean;
  bootstrap_expect?: number;
  data_dir?: string;
  storage?: Record<string, unknown>;
  num_schedulers?: number;
  enabled_schedulers?: string[];
  server_join?: RawJoin;
  heartbeat_grace?: Duration;
  min_heartbeat_ttl?: Duration;
  max_heartbeats_per_second?: number;
  failover_heartbeat_ttl?: Duration;
  node_gc_threshold?: Duration;
  job_gc_interval?: Duration;
  job_gc_threshold?: Duration;
  eval_gc_threshold?: Duration;
  batch_eval_gc_threshold?: Duration;
  deployment_gc_threshold?: Duration;
  event_buffer_size?: number;
  job_default_priority?: number;
  job_max_priority?: number;
  job_max_count?: number;
  job_max_source_size?: string;
  job_tracked_versions?: number;
  raft_snapshot_threshold?: number;
  raft_snapshot_interval?: Duration;
  raft_trailing_logs?: number;
  raft_multiplier?: number;
  raft_protocol?: number;
  non_voting_server?: boolean;
  rejoin_after_leave?: boolean;
  /** Base64 key of 32 bytes. */
  encrypt?: string;
  default_scheduler_config?: {
    scheduler_algorithm?: string;
    memory_oversubscription_enabled?: boolean;
    reject_job_registration?: boolean;
    pause_eval_broker?: boolean;
    node_limit_for_feasibility_checks?: number;
    preemption_config?: Record<string, boolean>;
  };
  [other: string]: unknown;
}

export interface RawClient {
  enabled?: boolean;
  state_dir?: string;
  alloc_dir?: string;
  servers?: string[];
  server_join?: RawJoin;
  node_class?: string;
  node_pool?: string;
  options?: Record<string, string>;
  meta?: Record<string, string>;
  network_interface?: string;
  cpu_total_compute?: number;
  memory_total_mb?: number;
  disk_total_mb?: number;
  max_kill_timeout?: Duration;
  min_dynamic_port?: number;
  max_dynamic_port?: number;
  reserved?: { cpu?: number; cores?: string; memory?: number; disk?: number; reserved_ports?: string };
  gc_interval?: Duration;
  gc_disk_usage_threshold?: number;
  gc_inode_usage_threshold?: number;
  gc_max_allocs?: number;
  gc_parallel_destroys?: number;
  no_host_uuid?: boolean;
  node_max_allocs?: number;
  host_volume?: Record<string, { path?: string; read_only?: boolean }>;
  host_network?: Record<string, { cidr?: string; interface?: string; reserved_ports?: string }>;
  [other: string]: unknown;
}

export const LOG_LEVELS = ["DEBUG", "INFO", "WARN", "ERROR", "OFF", "TRACE"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Endpoint {
  host: string;
  port: number;
}

/** The three listeners of an agent. */
export interface Endpoints {
  http: Endpoint;
  rpc: Endpoint;
  serf: Endpoint;
}

/** Settings of the server block that need no address yet. */
export type ServerSettings =
  & Omit<ServerConfig, "id" | "name" | "httpAddress" | "rpcAddress" | "serfAddress">
  & {
    storage: "libsql" | "inmem";
    join: JoinSettings;
    rejoinAfterLeave: boolean;
    /** Base64 key that seeds gossip's keyring, "" for plain gossip. Never shown. */
    encrypt: string;
  };

export interface AgentConfig {
  dev: boolean;
  name: string;
  region: string;
  datacenter: string;
  /** Null only in -dev without -data-dir. */
  dataDir: string | null;
  log: { level: LogLevel; json: boolean; file: string };
  leaveOnInterrupt: boolean;
  leaveOnTerminate: boolean;
  enableDebug: boolean;
  responseHeaders: Record<string, string>;
  bind: Endpoints;
  advertise: Endpoints;
  prometheus: boolean;
  cliHints: boolean;
  /** Driver configuration by name. */
  plugins: Record<string, unknown>;
  server: ServerSettings | null;
  /** allocDir is "" in -dev without a data dir: the agent makes a temporary one. */
  client: ClientConfig | null;
  /** How the device finds servers besides those that client.servers names by address. */
  clientJoin: JoinSettings | null;
  /** The merged files and flags: what /v1/agent/self shows. */
  raw: RawConfig;
}

const NO_MODE = "Must specify either server, client or dev mode for the agent.";
const NO_DATA_DIR = 'Must specify "data_dir" config option or "data-dir" CLI flag';

/** Fills in defaults and checks what depends on more than one key. Throws ConfigError. */
export function resolveConfig(raw: RawConfig, options: { dev: boolean }): AgentConfig {
  const { dev } = options;
  const isServer = raw.server?.enabled ?? dev;
  const isClient = raw.client?.enabled ?? dev;
  if (!isServer && !isClient) throw new ConfigError(NO_MODE);
  const level = (raw.log_level ?? (dev ? "DEBUG" : "INFO")).toUpperCase() as LogLevel;
  if (!LOG_LEVELS.includes(level)) {
    throw new ConfigError(`Invalid log level: ${level}. Valid log levels are: [${LOG_LEVELS.join(" ")}]`);
  }
  const dataDir = raw.data_dir || null;
  if (dataDir && !dataDir.startsWith("/")) {
    throw new ConfigError(`data-dir must be given as an absolute path: got ${dataDir}`);
  }
  checkLimits(raw);
  const inMemory = isServer && storageOf(raw, dev, dataDir) === "inmem";
  if (!dataDir && !dev && !(inMemory && !isClient)) throw new ConfigError(NO_DATA_DIR);
  const bind = bindAddresses(raw, dev);
  const config: AgentConfig = {
    dev,
    name: raw.name || hostname(),
    region: raw.region || "global",
    datacenter: raw.datacenter || "dc1",
    dataDir,
    log: { level, json: raw.log_json ?? false, file: raw.log_file ?? "" },
    leaveOnInterrupt: raw.leave_on_interrupt ?? false,
    leaveOnTerminate: raw.leave_on_terminate ?? false,
    enableDebug: raw.enable_debug ?? dev,
    responseHeaders: raw.http_api_response_headers ?? {},
    bind,
    advertise: advertiseAddresses(raw, bind, dev),
    prometheus: raw.telemetry?.prometheus_metrics ?? false,
    cliHints: raw.ui?.show_cli_hints ?? true,
    plugins: pluginConfigs(raw, dev),
    server: null,
    client: null,
    clientJoin: null,
    raw,
  };
  if (isServer) config.server = serverSettings(raw, config);
  if (isClient) {
    config.clientJoin = joinSettings("client", raw.client ?? {});
    config.client = clientConfig(raw, config, config.clientJoin);
  }
  return config;
}

function storageOf(raw: RawConfig, dev: boolean, dataDir: string | null): "libsql" | "inmem" {
  const named = Object.keys(raw.server?.storage ?? {});
  if (named.length > 1) {
    throw new ConfigError(`server.storage names ${named.length} engines: choose one of libsql, inmem`);
  }
  const engine = named[0] ?? (dev && !dataDir ? "inmem" : "libsql");
  if (engine !== "libsql" && engine !== "inmem") {
    throw new ConfigError(`server.storage "${engine}" is unknown: use "libsql" or "inmem"`);
  }
  if (engine === "libsql" && !dataDir) {
    throw new ConfigError(named.length > 0 ? `server.storage "libsql" needs a data_dir` : NO_DATA_DIR);
  }
  return engine;
}

function bindAddresses(raw: RawConfig, dev: boolean): Endpoints {
  const fallback = raw.bind_addr || (dev ? "127.0.0.1" : "0.0.0.0");
  const endpoint = (kind: "http" | "rpc" | "serf", port: number): Endpoint => {
    const host = raw.addresses?.[kind] || fallback;
    if (host.includes("{{")) {
      throw new ConfigError(
        `addresses.${kind}: address templates are not built yet: write the address itself`,
      );
    }
    if (/\s/.test(host)) {
      throw new ConfigError(`addresses.${kind}: several addresses are not built yet: write one`);
    }
    return { host, port: raw.ports?.[kind] ?? port };
  };
  return { http: endpoint("http", 4646), rpc: endpoint("rpc", 4647), serf: endpoint("serf", 4648) };
}

function advertiseAddresses(raw: RawConfig, bind: Endpoints, dev: boolean): Endpoints {
  const endpoint = (kind: "http" | "rpc" | "serf"): Endpoint => {
    const given = raw.advertise?.[kind];
    if (given) return splitAddress(given, bind[kind].port);
    const host = bind[kind].host;
    if (isLoopback(host) && !dev) {
      const label = kind === "http" ? "HTTP" : kind === "rpc" ? "RPC" : "Serf";
      throw new ConfigError(
        `Failed to parse ${label} advertise address (, ${host}, ${
          bind[kind].port
        }, false): Defaulting advertise to ` +
          `localhost is unsafe, please set advertise manually`,
      );
    }
    const any = host === "0.0.0.0" || host === "::";
    return { host: any ? (dev ? "127.0.0.1" : privateAddress()) : host, port: bind[kind].port };
  };
  return { http: endpoint("http"), rpc: endpoint("rpc"), serf: endpoint("serf") };
}

const isLoopback = (host: string) => host.startsWith("127.") || host === "::1" || host === "localhost";

/** The first address of this machine that is not loopback: what others can reach it under. */
function privateAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const address of addresses ?? []) {
      if (!address.internal && address.family === "IPv4") return address.address;
    }
  }
  return "127.0.0.1";
}

/** `host`, `host:port`, `[v6]:port` → parts. */
export function splitAddress(text: string, defaultPort: number): Endpoint {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  if (!match) return { host: text, port: defaultPort };
  return { host: (match[1] ?? match[2])!, port: match[3] ? Number(match[3]) : defaultPort };
}

/** Parts → `host:port`, with brackets around IPv6. */
export function joinAddress({ host, port }: Endpoint): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function milliseconds(
  raw: Record<string, unknown> | undefined,
  path: string,
  key: string,
  fallbackMs: number,
): number {
  const text = raw?.[key];
  if (text === undefined) return fallbackMs;
  try {
    return parseDuration(String(text)) / 1e6;
  } catch (error) {
    throw new ConfigError(`${path}.${key}: ${(error as Error).message}`);
  }
}

/** "1M", "512K", "100GB" → bytes. */
export function parseSize(text: string, path: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*$/i.exec(text);
  if (!match) {
    throw new ConfigError(`${path}: cannot read size ${JSON.stringify(text)}: expected for example "1M"`);
  }
  return Number(match[1]) * 1000 ** ["", "k", "m", "g", "t"].indexOf(match[2]!.toLowerCase());
}

function serverSettings(raw: RawConfig, config: AgentConfig): ServerSettings {
  const server = raw.server ?? {};
  const ms = (key: string, fallback: number) => milliseconds(server, "server", key, fallback);
  const wrongKey = server.encrypt ? gossipKeyError(server.encrypt) : null;
  if (wrongKey) {
    throw new ConfigError(
      `Invalid encryption key: server.encrypt must be 32 bytes in base64, but ${wrongKey}: ` +
        "make one with `nomad operator gossip keyring generate`",
    );
  }
  const priorityMax = server.job_max_priority ?? 100;
  if (priorityMax < 100 || priorityMax > 32766) {
    throw new ConfigError(`server.job_max_priority must be between 100 and 32766: got ${priorityMax}`);
  }
  return {
    region: config.region,
    datacenter: config.datacenter,
    dataDir: server.data_dir ?? (config.dataDir ? joinPath(config.dataDir, "server") : null),
    storage: storageOf(raw, config.dev, config.dataDir),
    join: joinSettings("server", server),
    rejoinAfterLeave: server.rejoin_after_leave ?? false,
    encrypt: server.encrypt ?? "",
    bootstrapExpect: server.bootstrap_expect ?? (config.dev ? 1 : 0),
    nonVoter: server.non_voting_server ?? false,
    raftMultiplier: server.raft_multiplier ?? 1,
    autopilot: autopilotSettings(raw.autopilot ?? {}),
    schedulers: server.num_schedulers ?? 1,
    enabledSchedulers: server.enabled_schedulers ?? ["service", "batch", "system", "sysbatch"],
    heartbeatTtlMinMs: ms("min_heartbeat_ttl", 10_000),
    heartbeatGraceMs: ms("heartbeat_grace", 10_000),
    heartbeatsPerSecondMax: server.max_heartbeats_per_second ?? 50,
    heartbeatTtlFailoverMs: ms("failover_heartbeat_ttl", 300_000),
    jobPriorityDefault: server.job_default_priority ?? 50,
    jobPriorityMax: priorityMax,
    jobCountMax: server.job_max_count ?? 50_000,
    jobSourceMaxBytes: parseSize(server.job_max_source_size ?? "1M", "server.job_max_source_size"),
    jobVersionsTracked: server.job_tracked_versions ?? 6,
    gc: {
      intervalMs: ms("job_gc_interval", 300_000),
      jobMs: ms("job_gc_threshold", 4 * 3600_000),
      evalMs: ms("eval_gc_threshold", 3600_000),
      batchEvalMs: ms("batch_eval_gc_threshold", 24 * 3600_000),
      deploymentMs: ms("deployment_gc_threshold", 3600_000),
      nodeMs: ms("node_gc_threshold", 24 * 3600_000),
    },
    eventBufferSize: server.event_buffer_size ?? 100,
    snapshotThreshold: server.raft_snapshot_threshold ?? 8192,
    snapshotIntervalMs: ms("raft_snapshot_interval", 120_000),
    trailingLogs: server.raft_trailing_logs ?? 10_240,
    schedulerConfig: schedulerConfig(server),
  };
}

/** What a file says of Autopilot; the rest is as Nomad has it. It counts for a new cluster only. */
function autopilotSettings(raw: RawAutopilot): Partial<AutopilotConfiguration> {
  const settings: Partial<AutopilotConfiguration> = {};
  const durationNs = (key: "last_contact_threshold" | "server_stabilization_time") =>
    milliseconds({ ...raw }, "autopilot", key, 0) * 1e6;
  if (raw.last_contact_threshold) settings.LastContactThreshold = durationNs("last_contact_threshold");
  if (raw.server_stabilization_time) {
    settings.ServerStabilizationTime = durationNs("server_stabilization_time");
  }
  if (raw.cleanup_dead_servers !== undefined) settings.CleanupDeadServers = raw.cleanup_dead_servers;
  if (raw.max_trailing_logs !== undefined) settings.MaxTrailingLogs = raw.max_trailing_logs;
  if (raw.min_quorum !== undefined) settings.MinQuorum = raw.min_quorum;
  if (raw.enable_redundancy_zones !== undefined) settings.EnableRedundancyZones = raw.enable_redundancy_zones;
  if (raw.disable_upgrade_migration !== undefined) {
    settings.DisableUpgradeMigration = raw.disable_upgrade_migration;
  }
  if (raw.enable_custom_upgrades !== undefined) settings.EnableCustomUpgrades = raw.enable_custom_upgrades;
  return settings;
}

function schedulerConfig(server: RawServer): Partial<SchedulerConfiguration> {
  const given = server.default_scheduler_config ?? {};
  const algorithm = given.scheduler_algorithm ?? "binpack";
  if (algorithm !== "binpack" && algorithm !== "spread") {
    throw new ConfigError(
      `server.default_scheduler_config.scheduler_algorithm: invalid scheduler algorithm ${
        JSON.stringify(algorithm)
      }: ` +
        `use "binpack" or "spread"`,
    );
  }
  const preemption = given.preemption_config ?? {};
  return {
    SchedulerAlgorithm: algorithm,
    MemoryOversubscriptionEnabled: given.memory_oversubscription_enabled ?? false,
    RejectJobRegistration: given.reject_job_registration ?? false,
    PauseEvalBroker: given.pause_eval_broker ?? false,
    NodeLimitForFeasibilityChecks: given.node_limit_for_feasibility_checks ?? 0,
    PreemptionConfig: {
      SystemSchedulerEnabled: preemption["system_scheduler_enabled"] ?? true,
      SysBatchSchedulerEnabled: preemption["sysbatch_scheduler_enabled"] ?? false,
      BatchSchedulerEnabled: preemption["batch_scheduler_enabled"] ?? false,
      ServiceSchedulerEnabled: preemption["service_scheduler_enabled"] ?? false,
    },
  };
}

function clientConfig(raw: RawConfig, config: AgentConfig, join: JoinSettings): ClientConfig {
  const client = raw.client ?? {};
  const ms = (key: string, fallback: number) => milliseconds(client, "client", key, fallback);
  const { dev, dataDir } = config;
  // A provider's addresses are not known yet: it belongs to what is tried again and again.
  const servers = (client.servers ?? []).filter((server) => !isProviderEntry(server));
  join.retryJoin.push(...(client.servers ?? []).filter(isProviderEntry));
  if (servers.length + join.retryJoin.length === 0 && !(raw.server?.enabled ?? dev)) {
    throw new ConfigError(
      'client.servers is empty: name at least one server, for example servers = ["10.0.0.11:4647"]',
    );
  }
  return {
    ...clientConfigDefaults,
    nodeName: config.name,
    region: config.region,
    datacenter: config.datacenter,
    nodeClass: client.node_class ?? "",
    nodePool: client.node_pool || "default",
    meta: client.meta ?? {},
    stateDir: client.state_dir ?? (dataDir ? joinPath(dataDir, "client") : null),
    allocDir: client.alloc_dir ?? (dataDir ? joinPath(dataDir, "alloc") : ""),
    servers: servers.map((server) => joinAddress(splitAddress(server, 4647))),
    httpAddress: joinAddress(config.advertise.http),
    reserved: {
      cpuMhz: client.reserved?.cpu ?? 0,
      cores: client.reserved?.cores ?? "",
      memoryMb: client.reserved?.memory ?? 0,
      diskMb: client.reserved?.disk ?? 0,
      reservedPorts: client.reserved?.reserved_ports ?? "",
    },
    hostVolumes: mapValues(client.host_volume, (volume, name) => {
      if (!volume.path) throw new ConfigError(`client.host_volume "${name}" has no path`);
      return { path: volume.path, readOnly: volume.read_only ?? false };
    }),
    hostNetworks: mapValues(client.host_network, (network) => ({
      cidr: network.cidr ?? "",
      interface: network.interface ?? "",
      reservedPorts: network.reserved_ports ?? "",
    })),
    options: client.options ?? {},
    // -dev stays on this machine, as its listeners do.
    networkInterface: client.network_interface ?? (dev ? "lo" : ""),
    overrides: {
      cpuTotalCompute: client.cpu_total_compute ?? 0,
      memoryTotalMb: client.memory_total_mb ?? 0,
      diskTotalMb: client.disk_total_mb ?? 0,
      diskFreeMb: 0,
    },
    gc: {
      intervalMs: ms("gc_interval", dev ? 600_000 : 60_000),
      maxAllocs: client.gc_max_allocs ?? 50,
      diskUsagePercent: client.gc_disk_usage_threshold ?? (dev ? 99 : 80),
      inodeUsagePercent: client.gc_inode_usage_threshold ?? (dev ? 99 : 70),
      parallelDestroys: client.gc_parallel_destroys ?? 2,
    },
    maxKillTimeoutMs: ms("max_kill_timeout", 30_000),
    minDynamicPort: client.min_dynamic_port ?? 20_000,
    maxDynamicPort: client.max_dynamic_port ?? 32_000,
    nodeMaxAllocs: client.node_max_allocs ?? 0,
    noHostUuid: client.no_host_uuid ?? true,
  };
}

function mapValues<A, B>(
  record: Record<string, A> | undefined,
  map: (value: A, key: string) => B,
): Record<string, B> {
  return Object.fromEntries(Object.entries(record ?? {}).map(([key, value]) => [key, map(value, key)]));
}

/** Driver settings: `plugin "x" { config { } }`, the old `driver.raw_exec.enable` option, and what -dev turns on. */
function pluginConfigs(raw: RawConfig, dev: boolean): Record<string, unknown> {
  const plugins: Record<string, unknown> = mapValues(raw.plugin, (plugin) => plugin.config ?? {});
  const option = raw.client?.options?.["driver.raw_exec.enable"];
  const optionOn = option === "1" || option === "true";
  if ((dev || optionOn) && plugins["raw_exec"] === undefined) plugins["raw_exec"] = { enabled: true };
  if (dev) plugins["mock_driver"] ??= {};
  return plugins;
}
