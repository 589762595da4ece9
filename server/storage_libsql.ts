// Storage in a libsql database, seen from the main thread: every call is a message to the worker that owns it
// (storage_worker.ts, storage_db.ts). Never blocks, never loads libsql itself.
import { Worker } from "node:worker_threads";
import { AssertionError, StorageError } from "../core/errors.ts";
import { workerUrl } from "../core/worker_url.ts";
import type { SnapshotMeta } from "./raft_types.ts";
import type { LogFloor, RaftStorage, SnapshotBase, SnapshotWriter, StorageWrite, Stored } from "./storage.ts";
import type { Entry } from "./raft_types.ts";
import type { DbOptions } from "./storage_db.ts";

export type StorageCall =
  | { op: "open" }
  | { op: "read"; from: number; charsMax: number }
  | { op: "write"; batch: StorageWrite }
  | { op: "compact"; floor: LogFloor; keep: readonly SnapshotMeta[] }
  | { op: "snapshot.begin"; base: SnapshotBase }
  | { op: "snapshot.block"; snapshot: number; chunks: string[] }
  | { op: "snapshot.finish"; snapshot: number }
  | { op: "snapshot.abort"; snapshot: number }
  | { op: "block.read"; snapshot: SnapshotMeta; block: number }
  | { op: "block.chunks"; snapshot: SnapshotMeta; block: number }
  | { op: "block.stage"; snapshot: SnapshotMeta; block: number; data: Uint8Array }
  | { op: "size" }
  | { op: "close" };

export type StorageReply =
  | { id: number; value: unknown; error?: never }
  | { id: number; error: { kind: StorageError["kind"] | "assertion"; message: string } };

export interface LibsqlStorageOptions {
  /** The database file; its directory must exist. */
  path: string;
  /** Encrypts the whole file, "" or absent for none. */
  encryptionKey?: string;
  /** How long a write waits for another process's lock before it is refused; 2,000 by default. */
  lockTimeoutMs?: number;
  /** Refuses writes as "full" beyond this size; absent or 0 for no limit but the disk's. */
  maxBytes?: number;
}

export function libsqlStorage(options: LibsqlStorageOptions): RaftStorage {
  return new LibsqlStorage({
    path: options.path,
    encryptionKey: options.encryptionKey ?? "",
    lockTimeoutMs: options.lockTimeoutMs ?? 2000,
    maxBytes: options.maxBytes ?? 0,
  });
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

class LibsqlStorage implements RaftStorage {
  readonly durable = true;
  readonly #options: DbOptions;
  #worker: Worker | null = null;
  #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #dead: StorageError | null = null;

  constructor(options: DbOptions) {
    this.#options = options;
  }

  open(): Promise<Stored> {
    this.#dead = null;
    const worker = new Worker(workerUrl("storage_worker", import.meta.url), { workerData: this.#options });
    this.#worker = worker;
    worker.on("message", (reply: StorageReply) => this.#onReply(reply));
    worker.on("error", (error) => this.#onDeath(worker, error.message));
    worker.on("exit", () => this.#onDeath(worker, "it ended"));
    return this.#call<Stored>({ op: "open" }).catch(async (error) => {
      await this.close();
      throw error;
    });
  }

  #onReply(reply: StorageReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (!reply.error) waiting?.resolve(reply.value);
    else if (reply.error.kind === "assertion") waiting?.reject(new AssertionError(reply.error.message));
    else waiting?.reject(new StorageError(reply.error.kind, reply.error.message));
  }

  #onDeath(worker: Worker, why: string): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    this.#dead = new StorageError("io", `The storage worker stopped (${why}): restart the agent`);
    for (const waiting of this.#waiting.values()) waiting.reject(this.#dead);
    this.#waiting.clear();
  }

  #call<T>(call: StorageCall): Promise<T> {
    if (!this.#worker) return Promise.reject(this.#dead ?? new StorageError("io", "The storage is not open"));
    const id = ++this.#lastId;
    this.#worker.postMessage({ id, call });
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: (value) => resolve(value as T), reject });
    });
  }

  read(from: number, charsMax: number): Promise<Entry[]> {
    return this.#call({ op: "read", from, charsMax });
  }

  write(batch: StorageWrite): Promise<void> {
    return this.#call({ op: "write", batch });
  }

  compact(floor: LogFloor, keep: readonly SnapshotMeta[]): Promise<void> {
    return this.#call({ op: "compact", floor, keep });
  }

  async writeSnapshot(base: SnapshotBase): Promise<SnapshotWriter> {
    const snapshot = await this.#call<number>({ op: "snapshot.begin", base });
    return {
      write: (chunks) => this.#call({ op: "snapshot.block", snapshot, chunks }),
      finish: () => this.#call({ op: "snapshot.finish", snapshot }),
      abort: () => this.#call({ op: "snapshot.abort", snapshot }),
    };
  }

  readBlock(snapshot: SnapshotMeta, block: number): Promise<Uint8Array | null> {
    return this.#call({ op: "block.read", snapshot, block });
  }

  readChunks(snapshot: SnapshotMeta, block: number): Promise<string[]> {
    return this.#call({ op: "block.chunks", snapshot, block });
  }

  stageBlock(snapshot: SnapshotMeta, block: number, data: Uint8Array): Promise<number> {
    return this.#call({ op: "block.stage", snapshot, block, data });
  }

  size(): Promise<number> {
    return this.#call({ op: "size" });
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    if (!worker) return;
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    try {
      await this.#call({ op: "close" });
    } finally {
      this.#worker = null;
      await worker.terminate();
      await ended;
    }
  }
}
