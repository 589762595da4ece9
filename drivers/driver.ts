// The contract between the client and what runs tasks. A driver turns a TaskSpec into something running and hands
// back a TaskHandle: plain JSON that the client stores, so that after its own restart (or kill -9) `recover` finds
// the same task again. Drivers keep no other durable state and never touch allocations, restarts or the network of
// servers. Every method may reject with DriverError only.

/** Where a task's output goes: `<dir>/<task>.stdout.<n>` and `.stderr.<n>`, n counting up from 0. */
export interface LogSpec {
  dir: string;
  /** Oldest files are removed beyond this many, for each stream. */
  filesMax: number;
  /** A file is closed at exactly this size and the next one begun. */
  fileSizeMaxBytes: number;
  /** True: output is thrown away. */
  disabled: boolean;
}

export interface TaskPort {
  label: string;
  hostIp: string;
  /** Host port. */
  value: number;
  /** Port inside the task's network, 0 for the same. */
  to: number;
}

export interface TaskMount {
  hostPath: string;
  taskPath: string;
  readOnly: boolean;
  /** "private", "host-to-task" or "bidirectional". */
  propagation: string;
}

/** Everything a driver may know of a task. Config and env arrive interpolated. */
export interface TaskSpec {
  /** `<allocation id>/<task>/<8 hex>`: another for every start of the task. */
  id: string;
  allocId: string;
  jobId: string;
  namespace: string;
  group: string;
  task: string;
  /** The job file's `config` block (nested blocks are lists of objects, as the API has them). */
  config: Record<string, unknown>;
  env: Record<string, string>;
  /** "" for the driver's default; a name or `uid[:gid]`. */
  user: string;
  /** The allocation's root; shared dir `alloc/` and one directory a task stand in it. */
  allocDir: string;
  /** `<allocDir>/<task>`: local/, secrets/, tmp/ stand in it. */
  taskDir: string;
  logs: LogSpec;
  resources: {
    /** MHz; also the relative weight. */
    cpuMhz: number;
    memoryMb: number;
    /** 0 when there is no higher limit. */
    memoryMaxMb: number;
    /** Exclusive cores, empty for none. */
    cores: number[];
  };
  /** Mode of the group's network: "host", "bridge", "none" or "". */
  networkMode: string;
  ports: TaskPort[];
  mounts: TaskMount[];
  dns: { servers: string[]; searches: string[]; options: string[] } | null;
}

/** What the client stores of a started task: JSON, understood by the driver that made it. */
export interface TaskHandle {
  driver: string;
  id: string;
  /** The driver's own words (pid, start time, container id …). */
  state: Record<string, unknown>;
}

export interface ExitResult {
  exitCode: number;
  /** Number of the signal that ended it, 0 for none. */
  signal: number;
  oomKilled: boolean;
  /** Set when the driver lost the task and cannot know how it ended. */
  error?: string;
}

/** Counters of one running task; what cannot be measured is left out. */
export interface TaskUsage {
  memoryRssBytes: number;
  memoryCacheBytes?: number;
  memorySwapBytes?: number;
  memoryUsageBytes?: number;
  memoryMaxUsageBytes?: number;
  /** Nanoseconds of CPU since the start of the task. */
  cpuUserNs: number;
  cpuSystemNs: number;
  throttledPeriods?: number;
  throttledNs?: number;
  /** Process ids of the task. */
  pids: number[];
  /** When it was read, ms since 1970. */
  timestampMs: number;
}

export interface DriverFingerprint {
  detected: boolean;
  healthy: boolean;
  /** Nomad's HealthDescription: "Healthy", or what is missing and what to do. */
  description: string;
  /** Without the `driver.<name>.` prefix added by nobody: full attribute names, e.g. "driver.podman.version". */
  attributes: Record<string, string>;
}

export interface DriverCapabilities {
  sendSignals: boolean;
  exec: boolean;
  /** "none": the task sees the host's files at their real paths. "image": paths of its own, NOMAD_ALLOC_DIR=/alloc … */
  filesystem: "none" | "image";
}

/** A running `alloc exec`: bytes in, bytes out, one exit code. */
export interface ExecSession {
  stdin: WritableStream<Uint8Array>;
  stdout: ReadableStream<Uint8Array>;
  stderr: ReadableStream<Uint8Array>;
  exitCode: Promise<number>;
  resize(columns: number, rows: number): Promise<void>;
  kill(): Promise<void>;
}

export interface Driver {
  readonly name: string;
  readonly capabilities: DriverCapabilities;
  /** Cheap enough to be asked every 30 s. Never rejects. */
  fingerprint(): Promise<DriverFingerprint>;
  /** Checks a job's `config` without starting anything: one line an error, empty when it is good. */
  validate(config: Record<string, unknown>): string[];
  /** `onEvent` brings progress that belongs into the task's history ("Downloading image"). */
  start(spec: TaskSpec, onEvent: (message: string) => void): Promise<TaskHandle>;
  /**
   * True when the task of this handle runs, or ended and its exit is still known: `wait` then works on it. A handle
   * stored before `start` returned has only the state `{ starting: true, logsDir, taskDir }` (of the TaskSpec): the
   * agent died in between. A driver that finds the task by its id fills in `handle.state` and says true.
   */
  recover(handle: TaskHandle): Promise<boolean>;
  /** Resolves when the task ended; may be called any number of times, before and after. Rejects if aborted. */
  wait(handle: TaskHandle, signal: AbortSignal): Promise<ExitResult>;
  /** Sends `killSignal`, waits `timeoutMs`, then kills the whole tree. Resolves when nothing of it runs. */
  stop(handle: TaskHandle, options: { killSignal: string; timeoutMs: number }): Promise<void>;
  /** Removes what `start` made besides the logs (container, cgroup, exit file). The task is no longer running. */
  destroy(handle: TaskHandle): Promise<void>;
  /** `name` as "SIGHUP". */
  signal(handle: TaskHandle, name: string): Promise<void>;
  usage(handle: TaskHandle): Promise<TaskUsage>;
  exec(
    handle: TaskHandle,
    options: { command: string[]; tty: boolean; env: Record<string, string> },
  ): Promise<ExecSession>;
}
