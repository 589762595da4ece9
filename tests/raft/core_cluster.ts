// Some Raft cores joined by hand: every message, write and restart happens when the test says so. The scripts
// (raft_script.test.ts) and the fuzz (raft_fuzz.test.ts) both drive it. No clock, no promise, no real disk.
import type { Random } from "../../core/env.ts";
import { Raft } from "../../server/raft.ts";
import type {
  Configuration,
  Entry,
  HardState,
  Message,
  MessageOf,
  Persist,
  SnapshotMeta,
} from "../../server/raft_types.ts";
import { LOST_VOTE } from "../../server/raft_types.ts";
import { floorOf, isSame, type LogFloor } from "../../server/storage.ts";

export interface CoreOptions {
  electionTicks: number;
  heartbeatTicks: number;
  appendChars?: number;
  random: Pick<Random, "int">;
}

interface HeldSnapshot {
  meta: SnapshotMeta;
  /** The state, cut into blocks. */
  blocks: string[];
}

/** What survives a crash. */
export interface CoreDisk {
  hard: HardState;
  floor: LogFloor;
  entries: Entry[];
  snapshots: HeldSnapshot[];
  staged: HeldSnapshot | null;
}

const BLOCKS = 3;

/** One server: a core, its disk, its state (the texts of all commands applied, in order). */
export class CoreNode {
  readonly id: string;
  disk: CoreDisk;
  raft: Raft;
  /** Text of the entry applied at each index; what a snapshot carries. */
  state: string[] = [];
  write: Persist | null = null;
  reads: { context: number; index: number }[] = [];
  readonly #options: CoreOptions;
  readonly #bootstrap: Configuration | null;

  constructor(id: string, config: Configuration | null, options: CoreOptions, disk?: Partial<CoreDisk>) {
    this.id = id;
    this.#options = options;
    this.disk = {
      hard: { term: 0, vote: "", commit: 0 },
      floor: { index: 0, term: 0, configIndex: 0, config: { servers: [] } },
      entries: [],
      snapshots: [],
      staged: null,
      ...disk,
    };
    this.#bootstrap = config;
    this.raft = this.#boot();
  }

  #boot(): Raft {
    const { entries, snapshots } = this.disk;
    const { hard } = this.disk;
    const held = snapshots.at(-1);
    this.state = held ? JSON.parse(held.blocks.join("")) as string[] : [];
    const { index, term, configIndex, config } = this.disk.floor;
    const floor = { index, term, config: { index: configIndex, config } };
    const snapshot = held?.meta ?? null;
    const raft = new Raft({ id: this.id, ...this.#options, hard, snapshot, floor, entries: [...entries] });
    if (this.#bootstrap && raft.term === 0 && raft.log.lastIndex === 0) raft.bootstrap(this.#bootstrap);
    return raft;
  }

  /** Loses everything that is not on disk. */
  restart(): void {
    this.write = null;
    this.reads = [];
    this.raft = this.#boot();
  }

  /**
   * The disk lost the end of the log, or is as it was when `older` was copied from it; like storage_db.ts it knows by its
   * mark what was durable. The server starts again on what is left (replica_load.ts).
   */
  lose({ after, older }: { after?: number; older?: CoreDisk }): void {
    const { hard, floor, entries } = this.disk;
    const last = floor.index + entries.length;
    if (older) this.disk = structuredClone(older);
    const left = this.disk;
    if (after !== undefined) left.entries.length = Math.max(0, after - left.floor.index);
    const index = Math.max(last, hard.abstain?.index ?? 0);
    const commit = Math.min(left.hard.commit, left.floor.index + left.entries.length);
    left.hard = { term: hard.term, vote: LOST_VOTE, commit, abstain: { index, term: hard.term } };
    this.restart();
  }

  /** Takes what the core has ready; returns what it sends. */
  pump(): Message[] {
    const sent: Message[] = [];
    const ready = this.raft.ready(this.write === null);
    if (ready.persist) this.write = ready.persist;
    for (const m of ready.messages) {
      const filled = m.type === "snapshot" ? this.#fillBlock(m) : m;
      if (filled) sent.push(filled);
    }
    if (ready.restore) {
      this.state = JSON.parse(this.disk.snapshots.at(-1)!.blocks.join("")) as string[];
      this.raft.advance({ applied: ready.restore.index });
    }
    for (const block of ready.blocks) this.#stage(block);
    for (const entry of ready.committed) {
      this.state[entry.index - 1] = `${entry.term}:${entry.kind}:${entry.data}`;
      this.raft.advance({ applied: entry.index });
    }
    this.reads.push(...ready.reads);
    if (ready.snapshotWanted !== null) this.snapshot(this.raft.log.applied);
    return sent;
  }

  #fillBlock(m: MessageOf<"snapshot">): Message | null {
    const held = this.disk.snapshots.find((s) => isSame(s.meta, m.snapshot));
    if (held) return { ...m, data: new TextEncoder().encode(held.blocks[m.block]!) };
    this.raft.snapshotGone(m.to);
    return null;
  }

  #stage({ snapshot, block, data, from }: MessageOf<"snapshot">): void {
    const { disk } = this;
    if (!disk.staged || !isSame(disk.staged.meta, snapshot)) disk.staged = { meta: snapshot, blocks: [] };
    if (disk.staged.blocks.length === block) disk.staged.blocks.push(new TextDecoder().decode(data!));
    this.raft.blockStored(snapshot, from, disk.staged.blocks.length);
  }

  /** The write under way became durable (or failed as a whole). */
  finishWrite(ok: boolean): void {
    const write = this.write;
    if (!write) return;
    this.write = null;
    if (!ok) {
      this.raft.persistFailed();
      return;
    }
    this.applyWrite(write);
    this.raft.advance({ persisted: true });
    this.raft.storageRecovered();
  }

  /** What a write does to the disk: by itself it is what a crash right after it leaves. */
  applyWrite(write: Persist): void {
    const { disk } = this;
    if (write.install) {
      disk.snapshots = [disk.staged!];
      disk.staged = null;
      disk.entries = [];
      disk.floor = floorOf(write.install);
    }
    const first = write.entries[0];
    if (first) {
      disk.entries.length = first.index - disk.floor.index - 1;
      disk.entries.push(...write.entries);
    }
    if (write.hard) disk.hard = { ...write.hard };
  }

  /** Takes a snapshot of what is applied, durable at once. */
  snapshot(index: number): void {
    const { log } = this.raft;
    if (index !== log.applied || log.termAt(index) === undefined) return;
    const text = JSON.stringify(this.state);
    const step = Math.ceil(text.length / BLOCKS);
    const blocks = Array.from({ length: BLOCKS }, (_, i) => text.slice(i * step, (i + 1) * step));
    const { index: configIndex, config } = log.configAt(index);
    const meta = {
      index,
      term: log.termAt(index)!,
      configIndex,
      config,
      blocks: BLOCKS,
      bytes: text.length,
      checksum: index,
    };
    this.disk.snapshots.push({ meta, blocks });
    this.raft.snapshotStored(meta);
  }

  /** Cuts the log in memory and on disk, keeping `trailing` entries behind the newest snapshot. */
  compact(trailing: number): void {
    const held = this.disk.snapshots.at(-1);
    const { log } = this.raft;
    if (!held || log.floorIndex > held.meta.index) return; // None, or the leader's is about to replace it.
    const index = Math.max(Math.min(held.meta.index, log.applied) - trailing, log.floorIndex);
    if (index > this.disk.floor.index) {
      const { index: configIndex, config } = log.configAt(index);
      const term = log.termAt(index)!;
      this.disk.entries.splice(0, index - this.disk.floor.index);
      this.disk.floor = { index, term, configIndex, config };
    }
    log.compact(index);
    this.disk.snapshots = [held];
  }
}

/** A small deterministic generator (mulberry32). */
export class SeededRandom implements Pick<Random, "int" | "float"> {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  float(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  int(below: number): number {
    return Math.floor(this.float() * below);
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }
}
