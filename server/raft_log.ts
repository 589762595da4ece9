// The part of the log that is in memory: entries after the floor, and the marks that move over them. Owns no disk.
// The stored log reaches further back than the floor: a peer that needs older entries gets a snapshot instead.
//
// Invariants: floor ≤ applied ≤ handed ≤ commit, handed ≤ stable ≤ offered ≤ last. Committed entries are
// never truncated. Memberships count from the moment they are appended, and are undone with their entry.
import { assert } from "../core/assert.ts";
import type { Configuration, Entry } from "./raft_types.ts";

export interface ConfigAt {
  index: number;
  config: Configuration;
}

/** Two logs contradict each other: no fault of the network and no crash leads there. */
export const OTHER_TIME = "one of the two has a disk from another time or cluster (docs/raft.md, Damage)";

export class RaftLog {
  /** Index and term of the last entry that is gone from memory. */
  floorIndex: number;
  floorTerm: number;
  /** Known to be committed. */
  commit: number;
  /** Last index given out by takeCommitted(), and last index the state machine has finished. */
  handed: number;
  applied: number;
  /** Everything up to `stable` is durable here; up to `offered` it was given to storage. */
  stable: number;
  offered: number;
  /** Size of the entries in memory, in characters. */
  bytes = 0;
  #entries: Entry[] = [];
  #configs: ConfigAt[];

  constructor(floor: { index: number; term: number; config: ConfigAt }) {
    this.floorIndex = floor.index;
    this.floorTerm = floor.term;
    this.commit =
      this.handed =
      this.applied =
      this.stable =
      this.offered =
        floor.index;
    this.#configs = [floor.config];
  }

  get lastIndex(): number {
    return this.floorIndex + this.#entries.length;
  }

  get lastTerm(): number {
    return this.#entries.at(-1)?.term ?? this.floorTerm;
  }

  /** The membership in force: the newest one in the log. */
  get config(): ConfigAt {
    return this.#configs.at(-1)!;
  }

  /** The membership that held after `index` was appended. */
  configAt(index: number): ConfigAt {
    return this.#configs.findLast((c) => c.index <= index) ?? this.#configs[0]!;
  }

  /** Undefined when the entry is older than memory or does not exist. */
  termAt(index: number): number | undefined {
    if (index === this.floorIndex) return this.floorTerm;
    return this.#entries[index - this.floorIndex - 1]?.term;
  }

  entryAt(index: number): Entry | undefined {
    return this.#entries[index - this.floorIndex - 1];
  }

  matches(index: number, term: number): boolean {
    return this.termAt(index) === term;
  }

  /** Whether a log that ends in (index, term) is at least as complete as this one (§5.4.1). */
  isUpToDate(index: number, term: number): boolean {
    return term > this.lastTerm || (term === this.lastTerm && index >= this.lastIndex);
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, `log gap: appending ${entry.index} after ${this.lastIndex}`);
    assert(entry.term >= this.lastTerm, `log term went back at ${entry.index}`);
    this.#entries.push(entry);
    this.bytes += entry.data.length;
    if (entry.kind === "config") {
      this.#configs.push({ index: entry.index, config: JSON.parse(entry.data) as Configuration });
    }
  }

  /** Drops everything after `index`. */
  truncateAfter(index: number): void {
    assert(
      index >= this.commit,
      `the leader's log differs after ${index}, this one is committed up to ${this.commit}: ${OTHER_TIME}`,
    );
    for (const dropped of this.#entries.splice(index - this.floorIndex)) this.bytes -= dropped.data.length;
    this.stable = Math.min(this.stable, index);
    this.offered = Math.min(this.offered, index);
    while (this.#configs.length > 1 && this.#configs.at(-1)!.index > index) this.#configs.pop();
  }

  /** The first of `entries` that is not in the log yet or contradicts it; undefined when all are there. */
  firstNew(entries: Entry[]): Entry | undefined {
    return entries.find((e) => !this.matches(e.index, e.term));
  }

  /** Entries from `from` on, at least one, until `charsMax` is exceeded. */
  slice(from: number, charsMax: number, to = this.lastIndex): Entry[] {
    assert(from > this.floorIndex, `entry ${from} is compacted, floor ${this.floorIndex}`);
    const start = from - this.floorIndex - 1;
    const end = to - this.floorIndex;
    let chars = 0;
    let stop = start;
    while (stop < end) {
      chars += this.#entries[stop]!.data.length + 32;
      if (chars > charsMax && stop > start) break;
      stop++;
    }
    return this.#entries.slice(start, stop);
  }

  commitTo(index: number): boolean {
    if (index <= this.commit) return false;
    assert(index <= this.lastIndex, `commit ${index} beyond the log's end ${this.lastIndex}`);
    this.commit = index;
    return true;
  }

  /** Entries that became ready to be applied: committed, durable here, not handed out before. */
  takeCommitted(): Entry[] {
    const to = Math.min(this.commit, this.stable);
    if (to <= this.handed) return [];
    const entries = this.slice(this.handed + 1, Infinity, to);
    this.handed = to;
    return entries;
  }

  appliedTo(index: number): void {
    assert(
      index >= this.applied && index <= this.handed,
      `applied ${index} outside ${this.applied}..${this.handed}`,
    );
    this.applied = index;
  }

  /** Forgets entries up to `index`, which must be applied. */
  compact(index: number): void {
    if (index <= this.floorIndex) return;
    assert(index <= this.applied, `compacting ${index}, applied only ${this.applied}`);
    const term = this.termAt(index)!;
    for (const dropped of this.#entries.splice(0, index - this.floorIndex)) this.bytes -= dropped.data.length;
    this.floorIndex = index;
    this.floorTerm = term;
    while (this.#configs.length > 1 && this.#configs[1]!.index <= index) this.#configs.shift();
  }

  /** Replaces everything by the state after a snapshot. */
  reset(floor: { index: number; term: number; config: ConfigAt }): void {
    assert(floor.index > this.commit, `snapshot ${floor.index} does not go beyond commit ${this.commit}`);
    this.#entries = [];
    this.bytes = 0;
    this.floorIndex = floor.index;
    this.floorTerm = floor.term;
    this.commit =
      this.stable =
      this.offered =
      this.handed =
        floor.index;
    this.#configs = [floor.config];
  }
}
