// What the device must know after its agent was killed: its allocations, each task's state and driver handle, and
// metadata set at run time. One contract, two homes: memory (`-dev`) and a libsql database written by a worker
// (local_state_sqlite.ts, loaded only when there is a state directory). Writes are gathered per turn of the event
// loop and never waited for by the caller; `flush` waits.
import type { AllocAssignment } from "../core/protocol.ts";
import type { AllocatedResources, Job } from "../core/types.ts";
import type { TaskHandle } from "../drivers/driver.ts";
import type { TaskMachine } from "./task.ts";

/** An assignment with its job and resources in place. */
export interface DeviceAllocation extends Omit<AllocAssignment, "job" | "resources"> {
  Job: Job;
  AllocatedResources: AllocatedResources;
}

export interface StoredTask {
  machine: TaskMachine;
  /** Null before the first start. While `starting`, `state` is empty: the driver may know the task by its id. */
  handle: TaskHandle | null;
  /** Variables of templates with `env = true`. */
  templateEnv: Record<string, string>;
}

export interface StoredAllocation {
  alloc: DeviceAllocation;
  tasks: Record<string, StoredTask>;
  health: { Healthy: boolean; Timestamp: string } | null;
}

export interface StoredState {
  allocations: StoredAllocation[];
  meta: Record<string, string | null>;
  /** rpc addresses of the cluster's servers, as the device was told last. */
  servers: string[];
}

export interface LocalState {
  load(): Promise<StoredState>;
  putAllocation(alloc: DeviceAllocation, health: StoredAllocation["health"]): void;
  putTask(allocId: string, task: string, stored: StoredTask): void;
  removeAllocation(allocId: string): void;
  putMeta(meta: Record<string, string | null>): void;
  putServers(servers: string[]): void;
  /** Resolves when everything put before is written. Rejects when a write failed. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Keeps nothing: for `-dev` without a data directory. */
export class MemoryState implements LocalState {
  load(): Promise<StoredState> {
    return Promise.resolve({ allocations: [], meta: {}, servers: [] });
  }
  putAllocation(): void {}
  putTask(): void {}
  removeAllocation(): void {}
  putMeta(): void {}
  putServers(): void {}
  flush(): Promise<void> {
    return Promise.resolve();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}
