// Which indexes of `job.group[index]` a group has in use, so that names stay stable: a new allocation gets the lowest
// free one, the highest ones go first when the count shrinks. Pure.
import type { Allocation } from "../core/types.ts";

/** Joined, not put together by a template: what a template makes is a rope in V8 (see formatUuid in core/env.ts). */
export function allocName(jobId: string, group: string, index: number): string {
  return [jobId, ".", group, "[", index, "]"].join("");
}

const ZERO = "0".charCodeAt(0);

/** The number in the brackets at the end, -1 when there is none. */
export function indexOfName(name: string): number {
  const end = name.length - 1;
  if (end < 0 || name[end] !== "]") return -1;
  let index = 0;
  let at = end - 1;
  for (let scale = 1; at >= 0; at--, scale *= 10) {
    const digit = name.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) break;
    index += digit * scale;
  }
  return at >= 0 && at < end - 1 && name[at] === "[" ? index : -1;
}

export class NameIndex {
  /** 1 for every index in use below its length; those beyond are few and in the set. */
  #used: Uint8Array;
  #beyond = new Set<number>();
  #lowest = 0;

  constructor(
    private readonly jobId: string,
    private readonly group: string,
    private readonly count: number,
    allocs: Iterable<Allocation>,
  ) {
    this.#used = new Uint8Array(count);
    for (const alloc of allocs) this.#set(indexOfName(alloc.Name));
  }

  #set(index: number): void {
    if (index >= 0 && index < this.#used.length) this.#used[index] = 1;
    else this.#beyond.add(index);
  }

  /**
   * `n` names nobody has, lowest first; when all of 0…count-1 are taken they are given out a second time. A name is
   * taken when it is drawn: nothing else may be drawn meanwhile.
   */
  *next(n: number): Generator<string, undefined> {
    let given = 0;
    for (; given < n && this.#lowest < this.count; this.#lowest++) {
      if (this.#used[this.#lowest] === 1) continue;
      given++;
      yield this.#take(this.#lowest);
    }
    for (let index = 0; given < n; index++, given++) yield this.#take(index);
  }

  /** The `n` highest names in use, as a set; they are free afterwards. */
  highest(n: number): Set<string> {
    const indexes = [...this.#beyond].filter((index) => index >= 0).sort((a, b) => b - a).slice(0, n);
    for (let index = this.#used.length - 1; index >= 0 && indexes.length < n; index--) {
      if (this.#used[index] === 1) indexes.push(index);
    }
    for (const index of indexes) this.unset(index);
    return new Set(indexes.map((index) => allocName(this.jobId, this.group, index)));
  }

  unset(index: number): void {
    if (index >= 0 && index < this.#used.length) this.#used[index] = 0;
    else this.#beyond.delete(index);
    if (index < this.#lowest) this.#lowest = Math.max(index, 0);
  }

  /** Names for `n` canaries: those that will be replaced first, then free ones, then beyond the count. */
  nextCanaries(n: number, canaries: readonly Allocation[], destructive: readonly Allocation[]): string[] {
    const taken = new Set(canaries.map((alloc) => indexOfName(alloc.Name)));
    const names: string[] = [];
    const offer = (index: number) => {
      if (names.length >= n || index < 0 || taken.has(index)) return;
      taken.add(index);
      names.push(this.#take(index));
    };
    for (const index of destructive.map((alloc) => indexOfName(alloc.Name)).sort((a, b) => a - b)) {
      if (index < this.count) offer(index);
    }
    for (let index = 0; index < this.count; index++) if (this.#used[index] === 0) offer(index);
    for (let index = this.count; names.length < n; index++) offer(index);
    return names;
  }

  #take(index: number): string {
    this.#set(index);
    return allocName(this.jobId, this.group, index);
  }
}
