// How many allocations stand on each node slot: sparse, because most jobs are small and most nodes have none of them.
export class SlotCounts {
  #counts = new Map<number, number>();

  get(slot: number): number {
    return this.#counts.get(slot) ?? 0;
  }

  add(slot: number, sign: 1 | -1): void {
    const count = this.get(slot) + sign;
    if (count === 0) this.#counts.delete(slot);
    else this.#counts.set(slot, count);
  }

  /** Slots with how many stand there. */
  entries(): Iterable<[number, number]> {
    return this.#counts;
  }
}
