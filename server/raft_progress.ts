// The leader's view of one follower, with flow control (etcd's model): `probe` sends one append and waits for its
// answer, `replicate` streams optimistically within a window, `snapshot` sends blocks and no entries.
//
// Invariant: match < next. `match` only grows within a term, unless the follower says that its disk lost entries; what was
// sent beyond it may be lost.
import { assert } from "../core/assert.ts";
import type { SnapshotMeta } from "./raft_types.ts";

export type ProgressState = "probe" | "replicate" | "snapshot";

/** Appends in flight to one follower, and snapshot blocks. */
export const WINDOW_MESSAGES = 64;
export const WINDOW_CHARS = 16 * 1024 * 1024;
export const WINDOW_BLOCKS = 4;

export class Progress {
  match = 0;
  next: number;
  state: ProgressState = "probe";
  /** Heard since the last quorum check. */
  recentActive = false;
  /** Highest commit index it was told. */
  commitTold = 0;
  /** Highest round of ReadIndex answered. */
  read = 0;
  /** In `probe`: one append is out. */
  probing = false;
  snapshot: SnapshotMeta | null = null;
  /** First block the follower lacks, and the next one to send. */
  blockAcked = 0;
  blockNext = 0;
  ticksSinceBlock = 0;
  #inflight: { last: number; chars: number }[] = [];
  #inflightChars = 0;

  constructor(next: number) {
    this.next = next;
  }

  get paused(): boolean {
    if (this.state === "probe") return this.probing;
    if (this.state === "snapshot") return true;
    return this.#inflight.length >= WINDOW_MESSAGES || this.#inflightChars >= WINDOW_CHARS;
  }

  sent(last: number, chars: number): void {
    if (this.state === "replicate") {
      this.next = last + 1;
      this.#inflight.push({ last, chars });
      this.#inflightChars += chars;
    } else {
      this.probing = true;
    }
  }

  /** Returns whether `match` grew. */
  acknowledge(match: number): boolean {
    while (this.#inflight.length > 0 && this.#inflight[0]!.last <= match) {
      this.#inflightChars -= this.#inflight.shift()!.chars;
    }
    if (match <= this.match) return false;
    this.match = match;
    this.next = Math.max(this.next, match + 1);
    return true;
  }

  /** An answer came although the window is full: something was lost, so let one more through to find out. */
  freeOne(): void {
    const first = this.#inflight.shift();
    if (first) this.#inflightChars -= first.chars;
  }

  becomeProbe(next = this.match + 1): void {
    this.state = "probe";
    this.probing = false;
    this.snapshot = null;
    this.next = Math.max(next, this.match + 1);
    this.#clearWindow();
  }

  becomeReplicate(): void {
    this.state = "replicate";
    this.snapshot = null;
    this.next = this.match + 1;
    this.#clearWindow();
  }

  becomeSnapshot(snapshot: SnapshotMeta | null): void {
    this.state = "snapshot";
    this.snapshot = snapshot;
    this.blockAcked = this.blockNext = this.ticksSinceBlock = 0;
    this.#clearWindow();
  }

  /** Blocks that may be sent now. */
  takeBlocks(): number[] {
    assert(this.snapshot, "no snapshot to send");
    const blocks: number[] = [];
    while (this.blockNext < this.snapshot.blocks && this.blockNext < this.blockAcked + WINDOW_BLOCKS) {
      blocks.push(this.blockNext++);
    }
    return blocks;
  }

  #clearWindow(): void {
    this.#inflight = [];
    this.#inflightChars = 0;
  }
}
