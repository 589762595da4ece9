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
import * as records from "../records.ts";

export function makeTask(fields: Partial<Task> = {}): Task {
  return records.makeTask({ Driver: "fake", ...fields });
}

/** Restarts twice, at once. */
export function makeGroup(tasks: Task[], fields: Partial<TaskGroup> = {}): TaskGroup {
  return records.makeGroup("app", {
    Tasks: tasks,
    RestartPolicy: { Attempts: 2, Interval: 600e9, Delay: 20e6, Mode: "fail", RenderTemplates: false },
    ...fields,
  });
}

export function makeJob(group: TaskGroup, fields: Partial<Job> = {}): Job {
  return records.makeJob("web", {
    TaskGroups: [group],
    Status: "running",
    CreateIndex: 1,
    ModifyIndex: 1,
    JobModifyIndex: 1,
    ...fields,
  });
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
