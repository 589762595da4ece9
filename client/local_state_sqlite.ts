// Local state in one libsql database in the state directory, written by a worker thread so that nobody here waits for
// a disk. Changes of one turn of the event loop go as one transaction, only the newest of each record; a second batch
// waits until the first is written, so a slow disk makes batches larger, not the queue longer.
//
// Invariant: `flush` resolves only after everything put before it is in the database (WAL, synchronous=NORMAL: safe
// against the death of the agent; a power cut may lose the last moments, but then the tasks are gone too).
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { readProc } from "../core/proc_fs.ts";
import { workerUrl } from "../core/worker_url.ts";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { ConfigError, StorageError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Job } from "../core/types.ts";
import type {
  DeviceAllocation,
  LocalState,
  StoredAllocation,
  StoredState,
  StoredTask,
} from "./local_state.ts";

/** One record to write. */
export type StateWrite =
  | { kind: "alloc"; id: string; json: string }
  | { kind: "task"; id: string; task: string; json: string }
  | { kind: "remove"; id: string }
  | { kind: "meta"; json: string }
  | { kind: "servers"; json: string };

export type StateCall = { op: "open"; path: string } | { op: "write"; writes: StateWrite[] } | {
  op: "close";
};

const HOLDER_ENDS_MS = 1000;

export interface StateRows {
  allocs: { id: string; json: string }[];
  tasks: { id: string; task: string; json: string }[];
  meta: string | null;
  servers: string | null;
}

export type StateReply = { id: number; value?: unknown; error?: string };

type AllocJson = { alloc: DeviceAllocation; health: StoredAllocation["health"] };

export async function openSqliteState(stateDir: string, logger: Logger): Promise<LocalState> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  await lockDirectory(stateDir);
  return new SqliteState(join(stateDir, "client.db"), logger);
}

/**
 * Two agents on one state directory would both run its tasks. The owner is named by pid and start time, so a killed
 * agent leaves nothing that must be cleaned up. (libsql's own exclusive lock outlives `close`.)
 */
async function lockDirectory(stateDir: string): Promise<void> {
  const path = join(stateDir, "client.lock");
  const own = `${process.pid} ${await startTicks(process.pid)}`;
  const holder = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const [pid = "", ticks = ""] = holder.split(" ");
  const isHeld = async () =>
    holder !== own && /^\d+$/.test(pid) && ticks !== "" && await startTicks(Number(pid)) === ticks;
  // Who kills an agent and starts the next at once meets the first while it still dies.
  const deadline = performance.now() + HOLDER_ENDS_MS;
  while (await isHeld() && performance.now() < deadline) await new Promise((wake) => setTimeout(wake, 50));
  if (await isHeld()) {
    throw new ConfigError(
      `Cannot use state directory ${stateDir}: the agent with pid ${pid} uses it; stop it or set another data_dir`,
    );
  }
  await writeFile(path, own, { mode: 0o600 });
}

/** When a process started, in the kernel's ticks; "" when it runs no more (zombies too) or the host has no /proc. */
async function startTicks(pid: number): Promise<string> {
  try {
    const stat = await readProc(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A killed agent whose parent does not reap it (as the first process of some containers) stays a zombie for good.
    return fields[0] === "Z" || fields[0] === "X" ? "" : fields[19] ?? "";
  } catch (gone) {
    void gone;
    return "";
  }
}

class SqliteState implements LocalState {
  #worker: Worker;
  #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #lastId = 0;
  /** Not yet sent, by record: only the newest counts. */
  #pending = new Map<string, () => StateWrite>();
  #planned = false;
  /** Ends with the batch that takes what is pending now; never rejects. */
  #tail: Promise<void> = Promise.resolve();
  #dead: Error | undefined;
  #failure: Error | undefined;

  constructor(private readonly path: string, private readonly logger: Logger) {
    this.#worker = new Worker(workerUrl("local_state_worker", import.meta.url));
    this.#worker.on("message", (reply: StateReply) => this.#onReply(reply));
    this.#worker.on("error", (error) => this.#onDeath(error.message));
    this.#worker.on("exit", (code) => this.#onDeath(`exit ${code}`));
  }

  async load(): Promise<StoredState> {
    const rows = await this.#call({ op: "open", path: this.path }) as StateRows;
    const allocations = new Map<string, StoredAllocation>();
    // Allocations of one version of a job share it in memory, as they did when they were assigned.
    const jobs = new Map<string, Job>();
    for (const { id, json } of rows.allocs) {
      const { alloc, health } = JSON.parse(json) as AllocJson;
      const { Namespace, ID, Version, JobModifyIndex } = alloc.Job;
      const key = `${Namespace}/${ID}/${Version}/${JobModifyIndex}`;
      const Job = jobs.get(key) ?? alloc.Job;
      jobs.set(key, Job);
      allocations.set(id, { alloc: { ...alloc, Job }, health, tasks: {} });
    }
    for (const { id, task, json } of rows.tasks) {
      const allocation = allocations.get(id);
      if (allocation) allocation.tasks[task] = JSON.parse(json) as StoredTask;
    }
    return {
      allocations: [...allocations.values()],
      meta: rows.meta === null ? {} : JSON.parse(rows.meta),
      servers: rows.servers === null ? [] : JSON.parse(rows.servers),
    };
  }

  putAllocation(alloc: DeviceAllocation, health: StoredAllocation["health"]): void {
    this.#put(
      `a ${alloc.ID}`,
      () => ({ kind: "alloc", id: alloc.ID, json: JSON.stringify({ alloc, health }) }),
    );
  }

  putTask(allocId: string, task: string, stored: StoredTask): void {
    this.#put(
      `t ${allocId} ${task}`,
      () => ({ kind: "task", id: allocId, task, json: JSON.stringify(stored) }),
    );
  }

  removeAllocation(allocId: string): void {
    for (const key of [...this.#pending.keys()]) {
      if (key === `a ${allocId}` || key.startsWith(`t ${allocId} `)) this.#pending.delete(key);
    }
    this.#put(`r ${allocId}`, () => ({ kind: "remove", id: allocId }));
  }

  putMeta(meta: Record<string, string | null>): void {
    this.#put("m", () => ({ kind: "meta", json: JSON.stringify(meta) }));
  }

  putServers(servers: string[]): void {
    this.#put("s", () => ({ kind: "servers", json: JSON.stringify(servers) }));
  }

  async flush(): Promise<void> {
    await this.#tail;
    if (this.#failure) throw this.#failure;
  }

  async close(): Promise<void> {
    if (this.#dead) return;
    await this.#tail;
    await this.#call({ op: "close" });
    this.#dead = new StorageError("io", "The client's state is closed");
    await this.#worker.terminate();
  }

  #put(key: string, write: () => StateWrite): void {
    this.#pending.set(key, write);
    if (this.#planned) return;
    this.#planned = true;
    this.#tail = this.#tail.then(() => this.#writePending());
  }

  async #writePending(): Promise<void> {
    this.#planned = false;
    const writes = [...this.#pending.values()].map((write) => write());
    this.#pending.clear();
    try {
      await this.#call({ op: "write", writes });
      this.#failure = undefined;
    } catch (error) {
      // Tasks go on; what is lost is their recovery should the agent die now. Flush tells who asks.
      this.#failure = error as Error;
      this.logger.error("cannot write the client's state", { error: String(error) });
    }
  }

  #call(call: StateCall): Promise<unknown> {
    if (this.#dead) return Promise.reject(this.#dead);
    const id = ++this.#lastId;
    // The worker keeps the process alive only while somebody waits for it.
    if (this.#waiting.size === 0) this.#worker.ref();
    this.#worker.postMessage({ id, call });
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #onReply({ id, value, error }: StateReply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new StorageError("io", error));
  }

  #onDeath(why: string): void {
    this.#dead ??= new StorageError(
      "io",
      `The worker of the client's state stopped (${why}): restart the agent`,
    );
    for (const { reject } of this.#waiting.values()) reject(this.#dead);
    this.#waiting.clear();
  }
}
