// What /v1/agent/self and `agent-info` say: the configuration in Nomad's names and the counters of server, log,
// gossip, runtime and client. Values that are not configurable here stand with their defaults, because tools read
// the whole shape. Secrets are never in it.
import { arch, cpus, platform } from "node:os";
import { runtime } from "../core/runtime.ts";
import { NOMAD_VERSION } from "../core/version.ts";
import { type AgentConfig, joinAddress } from "./config.ts";
import { entryName } from "./join_provider.ts";
import type { JoinSettings } from "./join_settings.ts";

const S = 1e9;
const hidden = (value: unknown) => value ? "<redacted>" : "";

/** `config` of /v1/agent/self. `files` are the configuration files read, in order. */
export function selfConfig(config: AgentConfig, files: readonly string[]): Record<string, unknown> {
  const { raw } = config;
  return {
    ACL: {
      Enabled: false,
      PolicyTTL: 30 * S,
      ReplicationToken: "",
      RoleTTL: 30 * S,
      TokenMaxExpirationTTL: 0,
      TokenMinExpirationTTL: 0,
      TokenTTL: 30 * S,
    },
    Addresses: { HTTP: config.bind.http.host, RPC: config.bind.rpc.host, Serf: config.bind.serf.host },
    AdvertiseAddrs: {
      HTTP: joinAddress(config.advertise.http),
      RPC: joinAddress(config.advertise.rpc),
      Serf: joinAddress(config.advertise.serf),
    },
    Audit: { Enabled: null, Filters: null, Sinks: null },
    Autopilot: {
      CleanupDeadServers: raw.autopilot?.cleanup_dead_servers ?? null,
      DisableUpgradeMigration: raw.autopilot?.disable_upgrade_migration ?? null,
      EnableCustomUpgrades: raw.autopilot?.enable_custom_upgrades ?? null,
      EnableRedundancyZones: raw.autopilot?.enable_redundancy_zones ?? null,
      LastContactThreshold: config.server?.autopilot?.LastContactThreshold ?? 0.2 * S,
      MaxTrailingLogs: raw.autopilot?.max_trailing_logs ?? 250,
      MinQuorum: raw.autopilot?.min_quorum ?? 0,
      ServerStabilizationTime: config.server?.autopilot?.ServerStabilizationTime ?? 10 * S,
    },
    BindAddr: raw.bind_addr ?? config.bind.http.host,
    Client: clientSelf(config),
    ConfigPaths: files,
    Consuls: [],
    DataDir: config.dataDir ?? "",
    Datacenter: config.datacenter,
    DevMode: config.dev,
    DisableAnonymousSignature: true,
    DisableUpdateCheck: true,
    EnableDebug: config.enableDebug,
    EnableSyslog: false,
    Eventlog: { Enabled: false, Level: "error" },
    Files: files,
    HTTPAPIResponseHeaders: config.responseHeaders,
    KEKProviders: null,
    LeaveOnInt: config.leaveOnInterrupt,
    LeaveOnTerm: config.leaveOnTerminate,
    Limits: {
      HTTPMaxConnsPerClient: 100,
      HTTPSHandshakeTimeout: "5s",
      RPCHandshakeTimeout: "5s",
      RPCMaxConnsPerClient: 100,
    },
    LogFile: config.log.file,
    LogIncludeLocation: false,
    LogJson: config.log.json,
    LogLevel: config.log.level,
    LogRotateBytes: 0,
    LogRotateDuration: "",
    LogRotateMaxFiles: 0,
    NodeName: config.name,
    PluginDir: raw["plugin_dir"] ?? (config.dataDir ? `${config.dataDir}/plugins` : ""),
    Plugins: Object.entries(config.plugins).map(([Name, Config]) => ({
      Args: null,
      Config: withoutSecrets(Config),
      Name,
    })),
    Ports: { HTTP: config.bind.http.port, RPC: config.bind.rpc.port, Serf: config.bind.serf.port },
    RPC: RPC_DEFAULTS,
    Region: config.region,
    Reporting: {
      DisableUsageReporting: null,
      ExportInterval: 0,
      License: { Enabled: null },
      NonProduction: false,
      SnapshotRetentionTime: 0,
      SnapshotRetentionTimeHCL: "",
    },
    Sentinel: { AdditionalEnabledModules: null, Imports: null },
    Server: serverSelf(config),
    SyslogFacility: "LOCAL0",
    TLSConfig: {
      CAFile: "",
      CertFile: "",
      Checksum: "",
      EnableHTTP: false,
      EnableRPC: false,
      KeyFile: "",
      KeyLoader: {},
      RPCUpgradeMode: false,
      TLSCipherSuites: "",
      TLSMinVersion: "",
      VerifyHTTPSClient: false,
      VerifyServerHostname: false,
    },
    Telemetry: { ...TELEMETRY_DEFAULTS, PrometheusMetrics: config.prometheus },
    UI: {
      Consul: { BaseUIURL: "" },
      ContentSecurityPolicy: {
        ConnectSrc: ["*"],
        DefaultSrc: ["'none'"],
        FormAction: ["'none'"],
        FrameAncestors: ["'none'"],
        ImgSrc: ["'self'", "data:"],
        ScriptSrc: ["'self'"],
        StyleSrc: ["'self'", "'unsafe-inline'"],
      },
      Enabled: true,
      Label: { BackgroundColor: "", Text: "", TextColor: "" },
      ShowCLIHints: config.cliHints,
      Vault: { BaseUIURL: "" },
    },
    Vaults: [],
    Version: {
      BuildDate: null,
      Revision: "",
      Version: NOMAD_VERSION,
      VersionMetadata: "",
      VersionPrerelease: "",
    },
  };
}

const SECRET = /token|password|secret|auth|key$/i;

/** A driver's configuration with what looks like a credential blanked. */
function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      SECRET.test(key) && typeof inner === "string" ? hidden(inner) : withoutSecrets(inner),
    ]),
  );
}

const RPC_DEFAULTS = {
  AcceptBacklog: 256,
  ConnectionWriteTimeout: 10 * S,
  ConnectionWriteTimeoutHCL: "10s",
  DialTimeout: 10 * S,
  DialTimeoutHCL: "10s",
  KeepAliveInterval: 30 * S,
  KeepAliveIntervalHCL: "30s",
  StreamCloseTimeout: 300 * S,
  StreamCloseTimeoutHCL: "5m",
  StreamOpenTimeout: 75 * S,
  StreamOpenTimeoutHCL: "75s",
};

const TELEMETRY_DEFAULTS = {
  AllowedMetadataKeysInMetrics: null,
  CirconusAPIApp: "",
  CirconusAPIToken: "",
  CirconusAPIURL: "",
  CirconusBrokerID: "",
  CirconusBrokerSelectTag: "",
  CirconusCheckDisplayName: "",
  CirconusCheckForceMetricActivation: "",
  CirconusCheckID: "",
  CirconusCheckInstanceID: "",
  CirconusCheckSearchTag: "",
  CirconusCheckSubmissionURL: "",
  CirconusCheckTags: "",
  CirconusSubmissionInterval: "",
  CollectionInterval: "1s",
  DataDogAddr: "",
  DataDogTags: null,
  DisableAllocationHookMetrics: false,
  DisableDispatchedJobSummaryMetrics: false,
  DisableHostname: false,
  DisableQuotaUtilizationMetrics: false,
  DisableRPCRateMetricsLabels: false,
  FilterDefault: null,
  InMemoryCollectionInterval: "10s",
  InMemoryRetentionPeriod: "1m",
  IncludeAllocMetadataInMetrics: false,
  PrefixFilter: null,
  PrometheusMetrics: false,
  PublishAllocationMetrics: false,
  PublishNodeMetrics: false,
  StatsdAddr: "",
  StatsiteAddr: "",
  UseNodeName: false,
};

const JOIN_DEFAULTS = { RetryInterval: 30 * S, RetryJoin: [], RetryMaxAttempts: 0, StartJoin: null };

function serverSelf(config: AgentConfig): Record<string, unknown> {
  const server = config.raw.server ?? {};
  return {
    ACLTokenGCThreshold: "",
    AuthoritativeRegion: server["authoritative_region"] ?? "",
    BatchEvalGCThreshold: server.batch_eval_gc_threshold ?? "",
    BootstrapExpect: config.server?.bootstrapExpect ?? 0,
    CSIPluginGCThreshold: "",
    CSIVolumeClaimGCInterval: "",
    CSIVolumeClaimGCThreshold: "",
    ClientIntroduction: { DefaultIdentityTTL: 0, Enforcement: "", MaxIdentityTTL: 0 },
    DataDir: server.data_dir ?? "",
    DefaultSchedulerConfig: server.default_scheduler_config ? config.server?.schedulerConfig ?? null : null,
    DeploymentGCThreshold: server.deployment_gc_threshold ?? "",
    DeploymentQueryRateLimit: 0,
    EnableEventBroker: true,
    Enabled: config.server !== null,
    EnabledSchedulers: server.enabled_schedulers ?? null,
    EvalGCThreshold: server.eval_gc_threshold ?? "",
    EventBufferSize: server.event_buffer_size ?? 100,
    FailoverHeartbeatTTL: 0,
    HeartbeatGrace: (config.server?.heartbeatGraceMs ?? 0) * 1e6,
    JobDefaultPriority: server.job_default_priority ?? null,
    JobGCInterval: server.job_gc_interval ?? "",
    JobGCThreshold: server.job_gc_threshold ?? "",
    JobMaxCount: server.job_max_count ?? null,
    JobMaxPriority: server.job_max_priority ?? null,
    JobMaxSourceSize: server.job_max_source_size ?? "1M",
    JobTrackedVersions: server.job_tracked_versions ?? 6,
    LicenseEnv: "",
    LicensePath: "",
    LogFile: "",
    MaxHeartbeatsPerSecond: server.max_heartbeats_per_second ?? 0,
    MinHeartbeatTTL: 0,
    NodeGCThreshold: server.node_gc_threshold ?? "",
    NonProduction: false,
    NonVotingServer: config.server?.nonVoter ?? false,
    NumSchedulers: server.num_schedulers ?? null,
    OIDCIssuer: "",
    PlanApplyPipeline: 1,
    PlanRejectionTracker: { Enabled: false, NodeThreshold: 100, NodeWindow: 300 * S },
    RaftBoltConfig: null,
    RaftLogStoreConfig: null,
    RaftMultiplier: server.raft_multiplier ?? null,
    RaftProtocol: 3,
    RaftSnapshotInterval: server.raft_snapshot_interval ?? null,
    RaftSnapshotThreshold: server.raft_snapshot_threshold ?? null,
    RaftTrailingLogs: server.raft_trailing_logs ?? null,
    RedundancyZone: "",
    RejoinAfterLeave: config.server?.rejoinAfterLeave ?? false,
    RetryInterval: 0,
    RetryJoin: [],
    RetryMaxAttempts: 0,
    RootKeyGCInterval: "",
    RootKeyGCThreshold: "",
    RootKeyRotationThreshold: "",
    Search: { FuzzyEnabled: true, LimitQuery: 20, LimitResults: 100, MinTermLength: 2 },
    ServerJoin: joinSelf(config.server?.join),
    StartJoin: [],
    StartTimeout: "",
    UpgradeVersion: "",
  };
}

function joinSelf(join: JoinSettings | null | undefined): Record<string, unknown> {
  if (!join) return JOIN_DEFAULTS;
  return {
    RetryInterval: join.retryIntervalMs * 1e6,
    RetryJoin: join.retryJoin.map(entryName),
    RetryMaxAttempts: join.retryMax,
    StartJoin: join.startJoin.length > 0 ? join.startJoin : null,
  };
}

function clientSelf(config: AgentConfig): Record<string, unknown> {
  const client = config.raw.client ?? {};
  return {
    AllocDir: client.alloc_dir ?? "",
    AllocMountsDir: "",
    Artifact: {
      DecompressionFileCountLimit: 4096,
      DecompressionSizeLimit: "100GB",
      DisableArtifactInspection: false,
      DisableFilesystemIsolation: false,
      FilesystemIsolationExtraPaths: null,
      GCSTimeout: "30m",
      GitTimeout: "30m",
      HTTPMaxSize: "100GB",
      HTTPReadTimeout: "30m",
      HgTimeout: "30m",
      S3Timeout: "30m",
      SetEnvironmentVariables: "",
    },
    BindWildcardDefaultHostNetwork: true,
    BridgeNetworkHairpinMode: false,
    BridgeNetworkName: "",
    BridgeNetworkSubnet: "",
    BridgeNetworkSubnetIPv6: "",
    CNIConfigDir: "/opt/cni/config",
    CNIPath: "/opt/cni/bin:/usr/libexec/cni",
    CgroupParent: "",
    ChrootEnv: {},
    ClientMaxPort: 14512,
    ClientMinPort: 14000,
    CommonPluginDir: "",
    CpuCompute: client.cpu_total_compute ?? 0,
    CpuDisableDmidecode: false,
    DefaultIneligible: false,
    DisableRemoteExec: false,
    DiskFreeMB: 0,
    DiskTotalMB: client.disk_total_mb ?? 0,
    Drain: null,
    Enabled: config.client !== null,
    Fingerprinters: [],
    GCDiskUsageThreshold: config.client?.gc.diskUsagePercent ?? 80,
    GCInodeUsageThreshold: config.client?.gc.inodeUsagePercent ?? 70,
    GCInterval: (config.client?.gc.intervalMs ?? 60_000) * 1e6,
    GCMaxAllocs: config.client?.gc.maxAllocs ?? 50,
    GCParallelDestroys: config.client?.gc.parallelDestroys ?? 2,
    GCVolumesOnNodeGC: false,
    HostNetworks: null,
    HostVolumePluginDir: "",
    HostVolumes: volumesSelf(config),
    HostVolumesDir: "",
    IntroToken: "",
    LogFile: "",
    MaxDynamicPort: config.client?.maxDynamicPort ?? 32000,
    MaxKillTimeout: client.max_kill_timeout ?? "30s",
    MemoryMB: client.memory_total_mb ?? 0,
    Meta: client.meta ?? {},
    MinDynamicPort: config.client?.minDynamicPort ?? 20000,
    NetworkInterface: client.network_interface ?? "",
    NetworkSpeed: 0,
    NoHostUUID: client.no_host_uuid ?? true,
    NodeClass: client.node_class ?? "",
    NodeMaxAllocs: client.node_max_allocs ?? 0,
    NodePool: client.node_pool ?? "default",
    NomadServiceDiscovery: true,
    Options: client.options ?? {},
    PreferredAddressFamily: "",
    ReservableCores: "",
    Reserved: {
      CPU: client.reserved?.cpu ?? 0,
      Cores: client.reserved?.cores ?? "",
      DiskMB: client.reserved?.disk ?? 0,
      MemoryMB: client.reserved?.memory ?? 0,
      ReservedPorts: client.reserved?.reserved_ports ?? "",
    },
    ServerJoin: joinSelf(config.clientJoin),
    Servers: client.servers ?? null,
    StateDir: client.state_dir ?? "",
    TemplateConfig: TEMPLATE_DEFAULTS,
    Users: { MaxDynamicUser: 89999, MinDynamicUser: 80000 },
  };
}

function volumesSelf(config: AgentConfig): unknown[] | null {
  const volumes = Object.entries(config.client?.hostVolumes ?? {});
  if (volumes.length === 0) return null;
  return volumes.map(([Name, { path, readOnly }]) => ({ ID: "", Name, Path: path, ReadOnly: readOnly }));
}

const RETRY_DEFAULTS = {
  Attempts: 12,
  Backoff: 0.25 * S,
  BackoffHCL: "",
  MaxBackoff: 60 * S,
  MaxBackoffHCL: "",
};
const TEMPLATE_DEFAULTS = {
  BlockQueryWaitTime: 300 * S,
  BlockQueryWaitTimeHCL: "",
  ConsulRetry: RETRY_DEFAULTS,
  DisableSandbox: false,
  FunctionBlacklist: null,
  FunctionDenylist: ["executeTemplate", "plugin", "writeToFile"],
  MaxStale: 87600 * 3600 * S,
  MaxStaleHCL: "",
  NomadRetry: RETRY_DEFAULTS,
  UseClientConsulToken: false,
  VaultDefaultLeaseDuration: 300 * S,
  VaultDefaultLeaseDurationHCL: "",
  VaultRetry: RETRY_DEFAULTS,
  Wait: { Max: 240 * S, MaxHCL: "", Min: 5 * S, MinHCL: "" },
  WaitBounds: null,
};

/** Go's names of what node calls x64 and so on. */
export function goArch(): string {
  return ({ x64: "amd64", ia32: "386" } as Record<string, string>)[arch()] ?? arch();
}

/** `stats.runtime` of /v1/agent/self. */
export function runtimeStats(): Record<string, string> {
  return {
    arch: goArch(),
    cpu_count: String(cpus().length),
    goroutines: "1",
    "kernel.name": platform(),
    max_procs: String(cpus().length),
    version: `${runtime.name}${runtime.version}`,
  };
}
