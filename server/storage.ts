// What a replica needs of a disk, and the implementation in memory (for `-dev`, for tests, and as the oracle of the
// shared suite). The real one is storage_libsql.ts.
//
// Contract: calls take effect in the order they are made. `write` is all or nothing and durable when it resolves; a
// StorageError means that storage is as it was before the call. Snapshots live beside the log in numbered blocks:
// complete ones, one that is being taken here, and one that is being received (kept over a restart, so that sending
// can resume). Nothing here knows terms' or votes' meaning.
import { assert } from "../core/assert.ts";
import { StorageError } from "../core/errors.ts";
import type { Configuration, Entry, HardState, SnapshotMeta } from "./raft_types.ts";
import { blockChecksum, packBlock, unpackBlock } from "../core/snapshot_codec.ts";

/** The entry before the first stored one. */
export interface LogFloor {
  index: number;
  term: number;
  configIndex: number;
  config: Configuration;
}

export const EMPTY_FLOOR: LogFloor = { index: 0, term: 0, configIndex: 0, config: { servers: [] } };

export interface Stored {
  hard: HardState;
  /** Newest complete snapshot. */
  snapshot: SnapshotMeta | null;
  floor: LogFloor;
  /** Last record that is there and intact. */
  lastIndex: number;
  /**
   * Set when the end of what was durable here is damaged or gone. Nothing is changed by that: the first write() removes
   * what is damaged after `lastIndex`, so whoever opens decides (replica_load.ts) and writes that down first.
   */
  lost?: LostTail;
}

/** The end of the log cannot be read, or the log is an older one than was durable here. */
export interface LostTail {
  /** The entries that may be lost; `to` is 0 when only a vote is. */
  from: number;
  to: number;
  /** Newest term that was durable here: the vote in it may be lost, too. */
  term: number;
  /** What is damaged: "Log entry 16 (term 2) is damaged". */
  what: string;
  /** How an operator says that the loss is accepted: shown when a server stops because of it. */
  override: string;
  /** The operator said so. */
  accepted: boolean;
}

/** What names a snapshot before it is written. */
export type SnapshotBase = Omit<SnapshotMeta, "blocks" | "bytes" | "checksum">;

export interface StorageWrite {
  hard: HardState | null;
  /** Consecutive. Everything stored from the first one's index on is replaced. */
  entries: readonly Entry[];
  /** A received snapshot, complete: becomes the newest one and replaces the whole log. */
  install: SnapshotMeta | null;
}

export interface SnapshotWriter {
  /** Stores some chunks of state as one block, durably. */
  write(chunks: string[]): Promise<void>;
  /** Makes it the newest snapshot. */
  finish(): Promise<SnapshotMeta>;
  abort(): Promise<void>;
}

export interface RaftStorage {
  /** False: nothing outlives the process, so taking snapshots for a restart is pointless. */
  readonly durable: boolean;
  /** Opens and checks everything but the entries, which `read` checks. */
  open(): Promise<Stored>;
  /** Stored entries from `from` on: at least one unless the log ends before, about `charsMax` characters. */
  read(from: number, charsMax: number): Promise<Entry[]>;
  write(batch: StorageWrite): Promise<void>;
  /** Forgets entries up to `floor.index`, and all but the newest snapshot and those in `keep`. */
  compact(floor: LogFloor, keep: readonly SnapshotMeta[]): Promise<void>;
  writeSnapshot(base: SnapshotBase): Promise<SnapshotWriter>;
  /** A block as it is stored and sent, null when that snapshot is gone. */
  readBlock(snapshot: SnapshotMeta, block: number): Promise<Uint8Array | null>;
  /** A block's chunks of state. */
  readChunks(snapshot: SnapshotMeta, block: number): Promise<string[]>;
  /** Stores a received block if it is the next one missing; returns the number of the next one missing. */
  stageBlock(snapshot: SnapshotMeta, block: number, data: Uint8Array): Promise<number>;
  /** Bytes on disk or in memory, roughly. */
  size(): Promise<number>;
  close(): Promise<void>;
}

interface HeldSnapshot {
  meta: SnapshotMeta;
  blocks: Uint8Array[];
}

/** Storage that lives as long as the object: close() and open() keep what was written. */
export function memoryStorage(): RaftStorage {
  return new MemoryStorage();
}

class MemoryStorage implements RaftStorage {
  readonly durable = false;
  #hard: HardState = { term: 0, vote: "", commit: 0 };
  #floor = EMPTY_FLOOR;
  #entries: Entry[] = [];
  #chars = 0;
  #snapshots: HeldSnapshot[] = [];
  #staged: HeldSnapshot | null = null;

  open(): Promise<Stored> {
    return Promise.resolve({
      hard: { ...this.#hard },
      snapshot: this.#snapshots.at(-1)?.meta ?? null,
      floor: this.#floor,
      lastIndex: this.#lastIndex,
    });
  }

  get #lastIndex(): number {
    return this.#floor.index + this.#entries.length;
  }

  read(from: number, charsMax: number): Promise<Entry[]> {
    assert(from > this.#floor.index, `entry ${from} is compacted`);
    const page: Entry[] = [];
    for (let i = from - this.#floor.index - 1, chars = 0; i < this.#entries.length; i++) {
      chars += this.#entries[i]!.data.length;
      if (chars > charsMax && page.length > 0) break;
      page.push(this.#entries[i]!);
    }
    return Promise.resolve(page);
  }

  write(batch: StorageWrite): Promise<void> {
    if (batch.install) this.#installStaged(batch.install);
    const first = batch.entries[0];
    if (first) {
      assert(
        first.index > this.#floor.index && first.index <= this.#lastIndex + 1,
        `write leaves a gap at ${first.index}`,
      );
      this.#drop(this.#entries.splice(first.index - this.#floor.index - 1));
      for (const entry of batch.entries) {
        this.#entries.push(entry);
        this.#chars += entry.data.length;
      }
    }
    if (batch.hard) this.#hard = { ...batch.hard };
    return Promise.resolve();
  }

  #installStaged(meta: SnapshotMeta): void {
    const staged = this.#staged;
    assert(
      staged && isSame(staged.meta, meta) && staged.blocks.length === meta.blocks,
      "snapshot is not complete",
    );
    this.#snapshots = [staged];
    this.#staged = null;
    this.#entries = [];
    this.#chars = 0;
    this.#floor = floorOf(meta);
  }

  #drop(entries: Entry[]): void {
    for (const entry of entries) this.#chars -= entry.data.length;
  }

  compact(floor: LogFloor, keep: readonly SnapshotMeta[]): Promise<void> {
    if (floor.index > this.#floor.index) {
      this.#drop(this.#entries.splice(0, floor.index - this.#floor.index));
      this.#floor = floor;
    }
    const newest = this.#snapshots.at(-1);
    this.#snapshots = this.#snapshots.filter((s) => s === newest || keep.some((k) => isSame(k, s.meta)));
    return Promise.resolve();
  }

  writeSnapshot(base: SnapshotBase): Promise<SnapshotWriter> {
    const blocks: Uint8Array[] = [];
    return Promise.resolve({
      write: (chunks) => {
        blocks.push(packBlock(chunks));
        return Promise.resolve();
      },
      finish: () => {
        const bytes = blocks.reduce((sum, b) => sum + b.length, 0);
        const checksum = blocks.reduce((sum, b) => blockChecksum(b, sum), 0);
        const meta = { ...base, blocks: blocks.length, bytes, checksum };
        this.#snapshots.push({ meta, blocks });
        // The leader's may have been installed while this one was taken.
        this.#snapshots.sort((a, b) => a.meta.index - b.meta.index);
        return Promise.resolve(meta);
      },
      abort: () => Promise.resolve(),
    });
  }

  readBlock(snapshot: SnapshotMeta, block: number): Promise<Uint8Array | null> {
    return Promise.resolve(this.#find(snapshot)?.blocks[block] ?? null);
  }

  readChunks(snapshot: SnapshotMeta, block: number): Promise<string[]> {
    const data = this.#find(snapshot)?.blocks[block];
    if (!data) return Promise.reject(missingBlock(snapshot, block));
    return Promise.resolve(unpackBlock(data));
  }

  #find(snapshot: SnapshotMeta): HeldSnapshot | undefined {
    return this.#snapshots.find((s) => isSame(s.meta, snapshot));
  }

  stageBlock(snapshot: SnapshotMeta, block: number, data: Uint8Array): Promise<number> {
    if (!this.#staged || !isSame(this.#staged.meta, snapshot)) this.#staged = { meta: snapshot, blocks: [] };
    if (block === this.#staged.blocks.length) this.#staged.blocks.push(data);
    return Promise.resolve(this.#staged.blocks.length);
  }

  size(): Promise<number> {
    const blocks = this.#snapshots.reduce((sum, s) => sum + s.meta.bytes, 0);
    return Promise.resolve(this.#chars + blocks);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

export function isSame(a: SnapshotMeta, b: SnapshotMeta): boolean {
  return a.index === b.index && a.term === b.term && a.checksum === b.checksum;
}

export function missingBlock(snapshot: SnapshotMeta, block: number): StorageError {
  return new StorageError(
    "corrupt",
    `Snapshot ${snapshot.index} lacks block ${block} of ${snapshot.blocks}. ${WAY_OUT}`,
  );
}

/** The floor of a log that holds nothing before a snapshot's end. */
export function floorOf({ index, term, configIndex, config }: SnapshotMeta): LogFloor {
  return { index, term, configIndex, config };
}

/** What to do when stored data is damaged. */
export const WAY_OUT =
  "Nothing was changed. In a cluster, remove this server's directory in the data_dir and start it again: it rejoins from " +
  "its peers as a new server; a single server is restored from a backup, or begins empty and takes a saved snapshot " +
  "(`nomad operator snapshot restore`)";
