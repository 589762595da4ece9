// The best of all nodes, again and again, without looking at all of them each time. Nodes that any spread rates alike
// stand in one bucket, ordered by what does not depend on the spread; a placement changes one node and the rating of
// one value, so the next best is found by looking at the top of every bucket.
//
// Invariant: an entry is valid while its stamp is the slot's newest; older ones are dropped when they come up.
interface Entry {
  slot: number;
  score: number;
  stamp: number;
}

/** What a node is worth without the spread terms; null when it cannot take the allocation. */
export interface Worth {
  sum: number;
  terms: number;
  /** Equal for nodes that every spread (and distinct_property) treats alike; a whole number from 0. */
  group: number;
}

export interface FullSearchInput {
  slots: Int32Array;
  worth(slot: number): Worth | null;
  /** The spread terms of any slot of the group; null when the group is closed (distinct_property). */
  spread(slot: number): number | null;
}

interface Bucket {
  heap: Entry[];
  terms: number;
}

/** Terms a score can have besides spread, at most, and one. */
const TERMS_MAX = 8;

export class FullSearch {
  #buckets = new Map<number, Bucket>();
  /** The same buckets as a list, to walk quickly. */
  #list: Bucket[] = [];
  #stamps: Float64Array;
  #stamp = 0;

  constructor(private readonly input: FullSearchInput) {
    let highest = 0;
    for (const slot of input.slots) if (slot > highest) highest = slot;
    this.#stamps = new Float64Array(highest + 1);
    for (const slot of input.slots) this.#insert(slot);
  }

  /** The slot with the highest final score, or -1. It stays in the search. */
  best(): number {
    let best = -1;
    let bestScore = -Infinity;
    for (const bucket of this.#list) {
      const top = this.#top(bucket);
      if (!top) continue;
      const spread = this.input.spread(top.slot);
      if (spread === null) continue;
      const score = (top.score + spread) / (spread === 0 ? bucket.terms : bucket.terms + 1);
      if (score > bestScore) {
        best = top.slot;
        bestScore = score;
      }
    }
    return best;
  }

  /** The top of every bucket. */
  tops(): number[] {
    return this.#list.flatMap((bucket) => this.#top(bucket)?.slot ?? []);
  }

  /** Looks at the slot again: the plan changed it. */
  refresh(slot: number): void {
    this.remove(slot);
    this.#insert(slot);
  }

  remove(slot: number): void {
    if (slot < this.#stamps.length) this.#stamps[slot] = 0;
  }

  #insert(slot: number): void {
    if (slot >= this.#stamps.length) return;
    const worth = this.input.worth(slot);
    if (!worth) return;
    const stamp = ++this.#stamp;
    this.#stamps[slot] = stamp;
    const key = worth.group * TERMS_MAX + worth.terms;
    let bucket = this.#buckets.get(key);
    if (!bucket) {
      this.#buckets.set(key, bucket = { heap: [], terms: worth.terms });
      this.#list.push(bucket);
    }
    push(bucket.heap, { slot, score: worth.sum, stamp });
  }

  #top(bucket: Bucket): Entry | undefined {
    for (;;) {
      const top = bucket.heap[0];
      if (!top || this.#stamps[top.slot] === top.stamp) return top;
      pop(bucket.heap);
    }
  }
}

/** Binary heap, greatest score first. */
function push(heap: Entry[], entry: Entry): void {
  let i = heap.push(entry) - 1;
  while (i > 0) {
    const parent = (i - 1) >> 1;
    if (heap[parent]!.score >= entry.score) break;
    heap[i] = heap[parent]!;
    i = parent;
  }
  heap[i] = entry;
}

function pop(heap: Entry[]): void {
  const last = heap.pop();
  if (!last || heap.length === 0) return;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]!.score > heap[child]!.score) child++;
    if (heap[child]!.score <= last.score) break;
    heap[i] = heap[child]!;
    i = child;
  }
  heap[i] = last;
}
