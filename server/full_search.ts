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
  /** Equal for nodes that every spread (and distinct_property) treats alike. */
  group: string;
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

export class FullSearch {
  #buckets = new Map<string, Bucket>();
  #stamps = new Map<number, number>();
  #stamp = 0;

  constructor(private readonly input: FullSearchInput) {
    for (const slot of input.slots) this.#insert(slot);
  }

  /** The slot with the highest final score, or -1. It stays in the search. */
  best(): number {
    let best = -1;
    let bestScore = -Infinity;
    for (const { slot, score } of this.tops()) {
      if (score > bestScore) {
        best = slot;
        bestScore = score;
      }
    }
    return best;
  }

  /** The top of every bucket with its final score. */
  *tops(): Generator<{ slot: number; score: number }> {
    for (const [key, bucket] of this.#buckets) {
      const top = this.#top(bucket);
      if (!top) {
        this.#buckets.delete(key);
        continue;
      }
      const spread = this.input.spread(top.slot);
      if (spread === null) continue;
      const terms = bucket.terms + (spread === 0 ? 0 : 1);
      yield { slot: top.slot, score: (top.score + spread) / terms };
    }
  }

  /** Looks at the slot again: the plan changed it. */
  refresh(slot: number): void {
    this.remove(slot);
    this.#insert(slot);
  }

  remove(slot: number): void {
    this.#stamps.delete(slot);
  }

  #insert(slot: number): void {
    const worth = this.input.worth(slot);
    if (!worth) return;
    const stamp = ++this.#stamp;
    this.#stamps.set(slot, stamp);
    const key = `${worth.terms} ${worth.group}`;
    let bucket = this.#buckets.get(key);
    if (!bucket) this.#buckets.set(key, bucket = { heap: [], terms: worth.terms });
    push(bucket.heap, { slot, score: worth.sum, stamp });
  }

  #top(bucket: Bucket): Entry | undefined {
    for (;;) {
      const top = bucket.heap[0];
      if (!top || this.#stamps.get(top.slot) === top.stamp) return top;
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
