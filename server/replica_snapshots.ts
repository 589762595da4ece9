// When a replica takes a snapshot, how it writes one without holding the server up, and what of the log may go.
// Owns the thresholds; never decides about terms or votes. A snapshot is the state after exactly `applied`; its text is
// produced in slices while the server works on, because records are immutable and the state hands out a frozen view.
import type { Clock } from "../core/env.ts";
import { StorageError } from "../core/errors.ts";
import type { StateMachine } from "./log.ts";
import type { Raft } from "./raft.ts";
import type { SnapshotMeta } from "./raft_types.ts";
import { BLOCK_CHARS } from "../core/snapshot_codec.ts";
import { floorOf, type LogFloor, type RaftStorage } from "./storage.ts";

export interface SnapshotTuning {
  /** Entries applied since the last snapshot that make a new one due. */
  snapshotThreshold: number;
  /** Shortest time between two snapshots. */
  snapshotIntervalMs: number;
  /** Entries kept behind a snapshot for followers that are a little late. */
  trailingLogs: number;
}

/** So much applied log makes a snapshot due whatever the interval says: it must be read again at the next start. */
const DUE_CHARS = 128 * 1024 * 1024;
/** Log since the newest snapshot, as a share of it, below which no other one is taken. */
const WORTH_MIN = 0.25;
/** The log in memory is cut to this even when followers then need a snapshot. */
const MEMORY_CHARS = 64 * 1024 * 1024;
/** Cutting the log moves what remains: done for many entries at once. */
const CUT_ENTRIES = 512;
const CUT_CHARS = 8 * 1024 * 1024;

export interface SnapshotterOptions {
  raft: Raft;
  machine: StateMachine;
  storage: RaftStorage;
  clock: Clock;
  tuning: SnapshotTuning;
  /** Called when a snapshot is durable, or could not be taken. */
  onDone: (error: unknown) => void;
}

export class Snapshotter {
  readonly #o: SnapshotterOptions;
  #takenMs: number;
  /** Entries and characters applied since the newest snapshot. */
  #entries = 0;
  #chars = 0;
  /** Characters of the newest snapshot that was taken here: what writing the next one costs, about. */
  #snapshotChars = 0;
  /** The snapshot being taken. */
  #current: Promise<void> | null = null;
  #stopped = false;
  #cancelTimer: (() => void) | null = null;

  constructor(options: SnapshotterOptions) {
    this.#o = options;
    this.#takenMs = options.clock.monotonicMs();
  }

  applied(entries: number, chars: number): void {
    this.#entries += entries;
    this.#chars += chars;
    this.#trimMemory();
    this.#maybeTake();
  }

  /** A snapshot came from the leader. */
  restored(): void {
    this.#entries = this.#chars = 0;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
  }

  #maybeTake(): void {
    const { tuning, clock, storage, raft } = this.#o;
    if (this.#current || this.#stopped) return;
    // Alone and in memory nobody will ever read the log again: it is cut as often as that is cheap.
    if (!storage.durable && raft.isSoleMember) {
      const due = this.#entries >= Math.min(CUT_ENTRIES, tuning.snapshotThreshold) ||
        this.#chars >= CUT_CHARS;
      if (due) void this.#run(() => this.#compact(raft.log.applied, null));
      return;
    }
    // A log that is short beside the state is read again sooner than the state is written again.
    if (this.#chars < this.#snapshotChars * WORTH_MIN) return;
    if (this.#chars < DUE_CHARS) {
      if (this.#entries < tuning.snapshotThreshold) return;
      const waitMs = this.#takenMs + tuning.snapshotIntervalMs - clock.monotonicMs();
      if (waitMs > 0) {
        this.#cancelTimer ??= clock.after(waitMs, () => {
          this.#cancelTimer = null;
          this.#maybeTake();
        });
        return;
      }
    }
    // Where no restart will ever read a snapshot, only the log must not grow for ever.
    const { log } = raft;
    void this.#run(
      storage.durable ? () => this.#take() : () => this.#compact(this.#trailing(log.applied), null),
    );
  }

  /** Resolves when there is a snapshot that holds at least all that is applied now. */
  async take(): Promise<void> {
    const { raft } = this.#o;
    const { applied } = raft.log;
    while (this.#current) await this.#current;
    if (this.#stopped || (raft.snapshot?.index ?? 0) >= applied) return;
    await this.#run(() => this.#take());
  }

  async #take(): Promise<void> {
    const { raft } = this.#o;
    const meta = await this.#write();
    if (!meta || this.#stopped) return;
    raft.snapshotStored(meta);
    await this.#compact(raft.isSoleMember ? meta.index : this.#trailing(meta.index), meta);
  }

  #run(work: () => Promise<void>): Promise<void> {
    this.#takenMs = this.#o.clock.monotonicMs();
    this.#entries = this.#chars = 0;
    this.#current = work().then(() => null, (error) => error).then((failure: unknown) => {
      this.#current = null;
      if (this.#stopped) return;
      this.#o.onDone(failure);
      if (failure === null) this.#maybeTake();
    });
    return this.#current;
  }

  async #write(): Promise<SnapshotMeta | null> {
    const { raft, machine, storage } = this.#o;
    const index = raft.log.applied;
    const term = raft.log.termAt(index);
    if (term === undefined) return null; // The leader's snapshot is about to replace this state.
    const config = raft.log.configAt(index);
    // The view of the state is taken here, before anything can be applied on top of it.
    const chunks = machine.snapshot()[Symbol.iterator]();
    let chunk = chunks.next();
    const base = { index, term, configIndex: config.index, config: config.config };
    const writer = await storage.writeSnapshot(base);
    let written = 0;
    try {
      do {
        const block: string[] = [];
        let chars = 0;
        for (; !chunk.done && chars < BLOCK_CHARS; chunk = chunks.next()) {
          block.push(chunk.value);
          chars += chunk.value.length;
        }
        written += chars;
        await writer.write(block); // Other work gets its turn between two blocks.
        if (this.#stopped) return null;
      } while (!chunk.done);
      const meta = await writer.finish();
      this.#snapshotChars = written;
      return meta;
    } catch (error) {
      await writer.abort().catch((second) => {
        // On a full disk even removing may fail: the next snapshot or start removes what is left.
        if (!(second instanceof StorageError)) throw second;
      });
      throw error;
    }
  }

  #trailing(index: number): number {
    return Math.max(0, index - this.#o.tuning.trailingLogs);
  }

  /** Drops old snapshots and stored entries up to `index`, never beyond what `snapshot` holds. */
  async #compact(index: number, snapshot: SnapshotMeta | null): Promise<void> {
    const { raft, storage } = this.#o;
    const sending = [...raft.progress.values()].flatMap((p) => p.snapshot ? [p.snapshot] : []);
    await storage.compact(this.#floorAt(Math.max(index, raft.log.floorIndex), snapshot), sending);
  }

  /** Memory may have moved on beyond the snapshot while it was written. */
  #floorAt(index: number, snapshot: SnapshotMeta | null): LogFloor {
    if (snapshot && index >= snapshot.index) return floorOf(snapshot);
    const { log } = this.#o.raft;
    const { index: configIndex, config } = log.configAt(index);
    return { index, term: log.termAt(index)!, configIndex, config };
  }

  #trimMemory(): void {
    const { raft, tuning } = this.#o;
    const { log } = raft;
    let index = log.applied;
    if (!raft.isSoleMember) {
      index = Math.max(0, log.applied - tuning.trailingLogs);
      // Who is being sent a snapshot goes on after its end: cutting further would make it begin again.
      for (const p of raft.progress.values()) {
        if (p.state === "snapshot") index = Math.min(index, p.snapshot?.index ?? log.floorIndex);
      }
      if (log.bytes > MEMORY_CHARS) {
        index = Math.max(index, log.applied - Math.floor((log.applied - log.floorIndex) / 2));
      }
    }
    if (index - log.floorIndex >= CUT_ENTRIES || log.bytes >= CUT_CHARS) log.compact(index);
  }
}
