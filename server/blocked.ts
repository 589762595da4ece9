// Evaluations that found no room, by what they wait for: capacity on nodes of computed classes that suit them, or on any
// node when their constraints look beyond classes. Pure; rebuilt from state at every election.
//
// Invariants: one evaluation a job, the newest; room that appeared after an evaluation looked and before it got here wakes
// it at once (it would otherwise wait for the next).
import type { Evaluation } from "../core/types.ts";
import { jobKeyOf } from "./broker.ts";

export interface Room {
  /** Computed classes of the nodes that got room. */
  classes: ReadonlySet<string>;
  index: number;
  /** The nodes themselves changed: what was known of their classes says nothing. */
  changed: boolean;
  /** Whether something that the evaluation waits for could be in this room, as far as sizes go. */
  fits(evaluation: Evaluation): boolean;
}

export class BlockedEvals {
  #byJob = new Map<string, Evaluation>();
  /** Class → index at which it last got room. */
  #roomAt = new Map<string, number>();
  #anyRoomAt = 0;
  /** Index at which a node last changed what it offers. */
  #changedAt = 0;

  get size(): number {
    return this.#byJob.size;
  }

  /** Those that wait for any node, because their constraints look beyond classes. */
  get escaped(): number {
    let count = 0;
    for (const evaluation of this.#byJob.values()) if (evaluation.EscapedComputedClass) count++;
    return count;
  }

  /**
   * Keeps the evaluation until room appears. `wake`: room appeared since it looked, run it now. `duplicate`: an older
   * one of the same job that is not needed any more.
   */
  block(evaluation: Evaluation): { wake: boolean; duplicate: Evaluation | null } {
    const key = jobKeyOf(evaluation);
    const known = this.#byJob.get(key);
    const duplicate = known && known.ID !== evaluation.ID ? known : null;
    if (this.#missedRoom(evaluation)) {
      this.#byJob.delete(key);
      return { wake: true, duplicate };
    }
    this.#byJob.set(key, evaluation);
    return { wake: false, duplicate };
  }

  /**
   * A new leader has not seen where room appeared before it led: what looked before `index` looks once more when it
   * blocks.
   */
  assumeRoomAt(index: number): void {
    this.#anyRoomAt = this.#changedAt = index;
  }

  #missedRoom(evaluation: Evaluation): boolean {
    if (this.#anyRoomAt <= evaluation.SnapshotIndex) return false;
    if (evaluation.EscapedComputedClass || this.#changedAt > evaluation.SnapshotIndex) return true;
    for (const [nodeClass, index] of this.#roomAt) {
      if (index > evaluation.SnapshotIndex && mayUse(evaluation, nodeClass)) return true;
    }
    return false;
  }

  /**
   * Nodes got room at `index`: the evaluations to run now. Those that the room is too small for stay where they are: a
   * thousand jobs that wait for a large node need not look at every small one that gets free.
   */
  unblock({ classes, index, changed, fits }: Room): Evaluation[] {
    if (classes.size === 0) return [];
    this.#anyRoomAt = index;
    if (changed) this.#changedAt = index;
    for (const nodeClass of classes) this.#roomAt.set(nodeClass, index);
    const woken: Evaluation[] = [];
    for (const [key, evaluation] of this.#byJob) {
      const suits = changed || evaluation.EscapedComputedClass ||
        [...classes].some((name) => mayUse(evaluation, name));
      if (!suits || !fits(evaluation)) continue;
      this.#byJob.delete(key);
      woken.push(evaluation);
    }
    return woken;
  }

  /** The evaluation ended or was deleted. */
  remove(evaluation: { ID: string }): void {
    for (const [key, blocked] of this.#byJob) if (blocked.ID === evaluation.ID) this.#byJob.delete(key);
  }

  /** The job got everything, or nothing is wanted of it any more. */
  untrack(evaluation: Evaluation): void {
    const key = jobKeyOf(evaluation);
    if (this.#byJob.get(key)?.ID === evaluation.ID) this.#byJob.delete(key);
  }

  /** Forgets when classes got room long before anything that may still arrive looked. */
  forgetRoomBefore(index: number): void {
    for (const [nodeClass, at] of this.#roomAt) if (at < index) this.#roomAt.delete(nodeClass);
  }

  *all(): Generator<Evaluation> {
    yield* this.#byJob.values();
  }

  clear(): void {
    this.#byJob.clear();
    this.#roomAt.clear();
    this.#anyRoomAt = 0;
    this.#changedAt = 0;
  }
}

/** A class it has not seen may suit it. */
function mayUse(evaluation: Evaluation, nodeClass: string): boolean {
  return evaluation.ClassEligibility?.[nodeClass] !== false;
}
