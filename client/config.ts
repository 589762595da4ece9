// What the device side is configured with: resolved values in one unit each (milliseconds, bytes, MB, MHz), made by
// the agent from its configuration files and flags. Reads no file itself. Defaults are Nomad's where it has one.

export interface ClientConfig {
  nodeName: string;
  region: string;
  datacenter: string;
  nodeClass: string;
  nodePool: string;
  /** Static metadata of the node, as configured. */
  meta: Record<string, string>;
  /** Where identity, allocations and task handles are kept; null keeps them in memory (`-dev` without data dir). */
  stateDir: string | null;
  /** Parent of every allocation's directory. */
  allocDir: string;
  /** `host:port` of the servers' rpc listeners, tried in turn. */
  servers: string[];
  /** `host:port` under which this agent's HTTP API can be reached; goes into the node record. */
  httpAddress: string;
  /** Kept free for the host: not offered to the scheduler. */
  reserved: { cpuMhz: number; memoryMb: number; diskMb: number; reservedPorts: string; cores: string };
  hostVolumes: Record<string, { path: string; readOnly: boolean }>;
  hostNetworks: Record<string, { cidr: string; interface: string; reservedPorts: string }>;
  /** `client { options { … } }`: "driver.allowlist" and "driver.denylist" count here. */
  options: Record<string, string>;
  /** Interface whose address tasks bind; "" takes the one with the default route. */
  networkInterface: string;
  /** Replace what was measured; 0 measures. `diskFreeMb` is an attribute only. */
  overrides: { cpuTotalCompute: number; memoryTotalMb: number; diskTotalMb: number; diskFreeMb: number };
  gc: {
    intervalMs: number;
    /** Terminal allocations beyond this many are removed. */
    maxAllocs: number;
    diskUsagePercent: number;
    inodeUsagePercent: number;
    parallelDestroys: number;
  };
  /** Upper bound of any task's kill_timeout. */
  maxKillTimeoutMs: number;
  minDynamicPort: number;
  maxDynamicPort: number;
  /** 0 for no limit. */
  nodeMaxAllocs: number;
  /** True: the node's id is random, not derived from the machine. */
  noHostUuid: boolean;
  /** Environment names of the agent that tasks without a file system of their own must not see. */
  envDenylist: string[];
  /** Fingerprints of drivers and network are taken again this often. */
  fingerprintIntervalMs: number;
  /** True: local files may be artifact sources and templates may read outside the task (dangerous). */
  disableFileSandbox: boolean;
}

/** Nomad's own default list: credentials that belong to the agent and not to its tasks. */
const ENV_DENYLIST = [
  "CONSUL_TOKEN",
  "CONSUL_HTTP_TOKEN",
  "CONSUL_HTTP_TOKEN_FILE",
  "NOMAD_TOKEN",
  "VAULT_TOKEN",
  "NOMAD_LICENSE",
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "GOOGLE_APPLICATION_CREDENTIALS",
];

/** Every value that has a default; the agent spreads its own over it. */
export const clientConfigDefaults: ClientConfig = {
  nodeName: "",
  region: "global",
  datacenter: "dc1",
  nodeClass: "",
  nodePool: "default",
  meta: {},
  stateDir: null,
  allocDir: "",
  servers: [],
  httpAddress: "127.0.0.1:4646",
  reserved: { cpuMhz: 0, memoryMb: 0, diskMb: 0, reservedPorts: "", cores: "" },
  hostVolumes: {},
  hostNetworks: {},
  options: {},
  networkInterface: "",
  overrides: { cpuTotalCompute: 0, memoryTotalMb: 0, diskTotalMb: 0, diskFreeMb: 0 },
  gc: {
    intervalMs: 60_000,
    maxAllocs: 50,
    diskUsagePercent: 80,
    inodeUsagePercent: 70,
    parallelDestroys: 2,
  },
  maxKillTimeoutMs: 30_000,
  minDynamicPort: 20000,
  maxDynamicPort: 32000,
  nodeMaxAllocs: 0,
  noHostUuid: true,
  envDenylist: ENV_DENYLIST,
  fingerprintIntervalMs: 30_000,
  disableFileSandbox: false,
};
