// Jobs, allocations and clients for the tests of the device.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, type ClientConfig, clientConfigDefaults } from "../../client/client.ts";
import { systemClock, systemRandom } from "../../core/env.ts";
import { type Logger, silentLogger } from "../../core/logger.ts";
import type { AllocAssignment, AllocDelta } from "../../core/protocol.ts";
import {
  type AllocatedResources,
  type Job,
  NO_TRANSITION,
  type Task,
  type TaskGroup,
} from "../../core/types.ts";
import type { Driver } from "../../drivers/driver.ts";

export function makeTask(fields: Partial<Task> = {}): Task {
  return {
    Name: "web",
    Driver: "fake",
    User: "",
    Config: {},
    Env: null,
    Meta: null,
    Resources: {
      CPU: 100,
      Cores: 0,
      MemoryMB: 64,
      MemoryMaxMB: 0,
      DiskMB: 0,
      IOPS: 0,
      SecretsMB: 0,
      Networks: null,
      Devices: null,
      NUMA: null,
    },
    RestartPolicy: null,
    Constraints: null,
    Affinities: null,
    Services: null,
    Templates: null,
    Artifacts: null,
    LogConfig: { MaxFiles: 10, MaxFileSizeMB: 10, Disabled: false },
    Lifecycle: null,
    DispatchPayload: null,
    VolumeMounts: null,
    Leader: false,
    KillTimeout: 5e9,
    KillSignal: "",
    ShutdownDelay: 0,
    Kind: "",
    Vault: null,
    Consul: null,
    Identity: null,
    Identities: null,
    Actions: null,
    ScalingPolicies: null,
    CSIPluginConfig: null,
    Schedule: null,
    Secrets: null,
    ...fields,
  };
}

export function makeGroup(tasks: Task[], fields: Partial<TaskGroup> = {}): TaskGroup {
  return {
    Name: "app",
    Count: 1,
    Constraints: null,
    Affinities: null,
    Spreads: null,
    Tasks: tasks,
    Networks: null,
    Services: null,
    Volumes: null,
    EphemeralDisk: { Sticky: false, Migrate: false, SizeMB: 300 },
    RestartPolicy: { Attempts: 2, Interval: 600e9, Delay: 20e6, Mode: "fail", RenderTemplates: false },
    ReschedulePolicy: null,
    Update: null,
    Migrate: null,
    Disconnect: null,
    Scaling: null,
    Meta: null,
    Consul: null,
    ShutdownDelay: null,
    StopAfterClientDisconnect: null,
    MaxClientDisconnect: null,
    MaxRunDuration: null,
    PreventRescheduleOnLost: false,
    ...fields,
  };
}

export function makeJob(group: TaskGroup, fields: Partial<Job> = {}): Job {
  return {
    ID: "web",
    Name: "web",
    Namespace: "default",
    Region: "global",
    Type: "service",
    Priority: 50,
    AllAtOnce: false,
    Datacenters: ["dc1"],
    NodePool: "default",
    Constraints: null,
    Affinities: null,
    Spreads: null,
    TaskGroups: [group],
    Update: null,
    Multiregion: null,
    Periodic: null,
    ParameterizedJob: null,
    Dispatched: false,
    DispatchIdempotencyToken: "",
    Payload: null,
    Meta: null,
    ParentID: "",
    ConsulNamespace: "",
    VaultNamespace: "",
    NomadTokenID: "",
    UI: null,
    VersionTag: null,
    Stop: false,
    Stable: false,
    Status: "running",
    StatusDescription: "",
    Version: 0,
    SubmitTime: 0,
    CreateIndex: 1,
    ModifyIndex: 1,
    JobModifyIndex: 1,
    ...fields,
  };
}

export function makeResources(
  group: TaskGroup,
  ports: { label: string; value: number }[] = [],
): AllocatedResources {
  return {
    Tasks: Object.fromEntries(group.Tasks.map((task) => [task.Name, {
      Cpu: { CpuShares: task.Resources.CPU, ReservedCores: null },
      Memory: { MemoryMB: task.Resources.MemoryMB, MemoryMaxMB: 0 },
      Networks: null,
      Devices: null,
    }])),
    TaskLifecycles: {},
    Shared: {
      DiskMB: 300,
      Networks: null,
      Ports: ports.length === 0 ? null : ports.map((p) => ({
        Label: p.label,
        Value: p.value,
        To: 0,
        HostIP: "127.0.0.1",
        IgnoreCollision: false,
      })),
    },
  };
}

let lastIndex = 10;

/** A message that places, changes or stops one allocation of the job's first group. */
export function place(
  job: Job,
  options: { id?: string; ports?: { label: string; value: number }[] } & Partial<AllocAssignment> = {},
): AllocDelta & { id: string } {
  const { id = systemRandom.uuid(), ports = [], ...fields } = options;
  const group = job.TaskGroups[0]!;
  const index = ++lastIndex;
  const assignment: AllocAssignment = {
    ID: id,
    Namespace: "default",
    Name: `${job.ID}.${group.Name}[0]`,
    EvalID: "00000000-0000-4000-8000-000000000001",
    job: "job",
    JobID: job.ID,
    TaskGroup: group.Name,
    resources: 0,
    DesiredStatus: "run",
    DesiredDescription: "",
    DesiredTransition: NO_TRANSITION,
    ClientStatus: "pending",
    DeploymentID: "",
    PreviousAllocation: "",
    CreateIndex: index,
    AllocModifyIndex: index,
    CreateTime: Date.now() * 1e6,
    ...fields,
  };
  return {
    id,
    index,
    jobs: { job },
    resources: [makeResources(group, ports)],
    upserts: [assignment],
    removed: [],
  };
}

export interface TestDevice {
  client: Client;
  dir: string;
  config: ClientConfig;
  /** Stops the client and removes its directory. */
  end(): Promise<void>;
}

export async function makeDevice(
  options: {
    servers: string[];
    drivers: Driver[];
    config?: Partial<ClientConfig>;
    dir?: string;
    logger?: Logger;
  },
): Promise<TestDevice> {
  const dir = options.dir ?? await mkdtemp(join(tmpdir(), "device-"));
  const config: ClientConfig = {
    ...clientConfigDefaults,
    nodeName: "test-device",
    allocDir: join(dir, "alloc"),
    servers: options.servers,
    networkInterface: "lo",
    ...options.config,
  };
  const client = new Client({
    config,
    drivers: new Map(options.drivers.map((driver) => [driver.name, driver])),
    clock: systemClock,
    random: systemRandom,
    logger: options.logger ?? silentLogger,
  });
  return {
    client,
    dir,
    config,
    async end() {
      await client.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
