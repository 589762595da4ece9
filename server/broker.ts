// Hands evaluations to the scheduler: by priority, one of a job at a time, those with a time not before it. Pure: the
// time comes in, whoever drives it asks when the next delayed one is due. Rebuilt from state at every election.
//
// Invariants: of one job at most one evaluation is ready or handed out; an evaluation handed out comes back by ack or
// nack; after `deliveriesMax` nacks it is given up and goes to `takeFailed`.
import { parseTime } from "../core/time.ts";
import type { Evaluation } from "../core/types.ts";
import { Heap } from "./heap.ts";

export const DELIVERIES_MAX = 3;
/** Before an evaluation that failed is handed out again. */
const NACK_DELAYS_MS = [1_000, 20_000];

interface Delayed {
  evaluation: Evaluation;
  dueMs: number;
}

export class Broker {
  #ready = new Heap<Evaluation>(isMoreUrgent);
  #delayed = new Heap<Delayed>((a, b) => a.dueMs < b.dueMs);
  /** Evaluation id → it, for everything the broker knows of. */
  #known = new Map<string, Evaluation>();
  /** Job → the evaluation that is ready or handed out. */
  #active = new Map<string, string>();
  /** Job → evaluations that wait for the active one. */
  #waiting = new Map<string, Evaluation[]>();
  #handedOut = new Set<string>();
  #nacks = new Map<string, number>();
  /** Came again while they were handed out: they run once more after their ack. */
  #rerun = new Map<string, Evaluation>();
  #cancelable: Evaluation[] = [];
  #failed: Evaluation[] = [];

  /** Takes a pending evaluation in; one it knows already is left where it is. */
  enqueue(evaluation: Evaluation, nowMs: number): void {
    if (this.#known.has(evaluation.ID)) {
      if (this.#handedOut.has(evaluation.ID)) this.#rerun.set(evaluation.ID, evaluation);
      return;
    }
    this.#known.set(evaluation.ID, evaluation);
    const dueMs = dueTimeMs(evaluation);
    if (dueMs > nowMs) this.#delayed.push({ evaluation, dueMs });
    else this.#admit(evaluation);
  }

  #admit(evaluation: Evaluation): void {
    const key = jobKeyOf(evaluation);
    if (!this.#active.has(key)) {
      this.#active.set(key, evaluation.ID);
      this.#ready.push(evaluation);
      return;
    }
    const waiting = this.#waiting.get(key);
    if (waiting) waiting.push(evaluation);
    else this.#waiting.set(key, [evaluation]);
  }

  /** The most urgent one, handed out until ack or nack. */
  dequeue(): Evaluation | null {
    for (;;) {
      const evaluation = this.#ready.pop();
      if (!evaluation) return null;
      if (!this.#known.has(evaluation.ID)) continue;
      this.#handedOut.add(evaluation.ID);
      return evaluation;
    }
  }

  /** Done: the job's newest waiting evaluation is next, older ones have nothing left to add. */
  ack(id: string): void {
    const evaluation = this.#known.get(id);
    if (!evaluation || !this.#handedOut.has(id)) return;
    const rerun = this.#rerun.get(id);
    this.#forget(evaluation);
    if (rerun) {
      this.#known.set(id, rerun);
      const waiting = this.#waiting.get(jobKeyOf(rerun));
      if (waiting) waiting.push(rerun);
      else this.#waiting.set(jobKeyOf(rerun), [rerun]);
    }
    this.#next(jobKeyOf(evaluation));
  }

  #next(key: string): void {
    this.#active.delete(key);
    const waiting = this.#waiting.get(key);
    if (!waiting) return;
    this.#waiting.delete(key);
    let newest = waiting[0]!;
    for (const evaluation of waiting) if (isNewer(evaluation, newest)) newest = evaluation;
    for (const evaluation of waiting) {
      if (evaluation === newest) continue;
      this.#known.delete(evaluation.ID);
      this.#cancelable.push(evaluation);
    }
    this.#admit(newest);
  }

  /** It could not be processed: once more later, or given up. */
  nack(id: string, nowMs: number): void {
    const evaluation = this.#known.get(id);
    if (!evaluation || !this.#handedOut.has(id)) return;
    const nacks = (this.#nacks.get(id) ?? 0) + 1;
    this.#handedOut.delete(id);
    if (nacks >= DELIVERIES_MAX) {
      this.#forget(evaluation);
      this.#failed.push(evaluation);
    } else {
      this.#nacks.set(id, nacks);
      this.#delayed.push({ evaluation, dueMs: nowMs + NACK_DELAYS_MS[nacks - 1]! });
    }
    this.#next(jobKeyOf(evaluation));
  }

  #forget(evaluation: Evaluation): void {
    this.#known.delete(evaluation.ID);
    this.#handedOut.delete(evaluation.ID);
    this.#nacks.delete(evaluation.ID);
    this.#rerun.delete(evaluation.ID);
  }

  /** Drops evaluations that were deleted or canceled elsewhere, unless somebody works on them. */
  remove(id: string): void {
    const evaluation = this.#known.get(id);
    if (!evaluation || this.#handedOut.has(id)) return;
    this.#forget(evaluation);
    const key = jobKeyOf(evaluation);
    const waiting = this.#waiting.get(key)?.filter((other) => other.ID !== id);
    if (waiting && waiting.length > 0) this.#waiting.set(key, waiting);
    else this.#waiting.delete(key);
    if (this.#active.get(key) === id) this.#next(key);
  }

  /** Lets in the delayed ones whose time has come. */
  admitDue(nowMs: number): void {
    for (let top = this.#delayed.peek(); top && top.dueMs <= nowMs; top = this.#delayed.peek()) {
      this.#delayed.pop();
      if (this.#known.has(top.evaluation.ID)) this.#admit(top.evaluation);
    }
  }

  /** When the next delayed one is due; null when none waits for its time. */
  get nextDueMs(): number | null {
    return this.#delayed.peek()?.dueMs ?? null;
  }

  /** Evaluations that a newer one of their job made unnecessary. */
  takeCancelable(): Evaluation[] {
    return this.#cancelable.splice(0);
  }

  /** Evaluations that failed too often. */
  takeFailed(): Evaluation[] {
    return this.#failed.splice(0);
  }

  get hasReady(): boolean {
    return this.#ready.size > 0;
  }

  stats(): { ready: number; unacked: number; waiting: number; delayed: number } {
    let waiting = 0;
    for (const list of this.#waiting.values()) waiting += list.length;
    return { ready: this.#ready.size, unacked: this.#handedOut.size, waiting, delayed: this.#delayed.size };
  }

  clear(): void {
    this.#ready.clear();
    this.#delayed.clear();
    for (
      const table of [this.#known, this.#active, this.#waiting, this.#handedOut, this.#nacks, this.#rerun]
    ) {
      table.clear();
    }
    this.#cancelable = [];
    this.#failed = [];
  }
}

/** When it may run at the earliest, milliseconds since 1970; 0 for at once. */
export function dueTimeMs(evaluation: Evaluation): number {
  const until = evaluation.WaitUntil ? parseTime(evaluation.WaitUntil) ?? 0 : 0;
  if (until > 0) return Math.ceil(until / 1e6);
  return evaluation.Wait > 0 ? Math.ceil((evaluation.CreateTime + evaluation.Wait) / 1e6) : 0;
}

export function jobKeyOf(evaluation: Evaluation): string {
  return `${evaluation.Namespace}\0${evaluation.JobID}`;
}

function isMoreUrgent(a: Evaluation, b: Evaluation): boolean {
  return a.Priority !== b.Priority ? a.Priority > b.Priority : a.CreateIndex < b.CreateIndex;
}

function isNewer(a: Evaluation, b: Evaluation): boolean {
  return a.CreateIndex >= b.CreateIndex;
}
