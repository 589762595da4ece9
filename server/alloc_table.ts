// The allocation table: a record a slot, found by id, job, node, evaluation and deployment. Made for a million rows:
// an index entry is one small integer in a list plus its position in an Int32Array, so adding, replacing and removing
// are O(1) and walking a job's or a node's allocations touches no hash.
//
// Invariants: a slot stays an allocation's own until it is removed; records are replaced whole; every record is in
// exactly one list of each index (none where the key is ""). Job, node and evaluation of an allocation never change.
import { assert } from "../core/assert.ts";
import type { Allocation } from "../core/types.ts";
import { jobKey } from "./state_keys.ts";

/** Lists of slots by key, with removal in O(1). */
class SlotIndex {
  #lists = new Map<string, number[]>();
  /** Where in its list each slot stands. */
  #positions = new Int32Array(1024);

  list(key: string): readonly number[] {
    return this.#lists.get(key) ?? NONE;
  }

  add(key: string, slot: number): void {
    if (key === "") return;
    let list = this.#lists.get(key);
    if (list === undefined) this.#lists.set(key, list = []);
    if (slot >= this.#positions.length) this.#grow(slot);
    this.#positions[slot] = list.length;
    list.push(slot);
  }

  remove(key: string, slot: number): void {
    if (key === "") return;
    const list = this.#lists.get(key);
    const position = this.#positions[slot]!;
    assert(
      list !== undefined && list[position] === slot,
      `allocation slot ${slot} is not indexed under ${key}`,
    );
    const last = list.pop()!;
    if (last !== slot) {
      list[position] = last;
      this.#positions[last] = position;
    }
    if (list.length === 0) this.#lists.delete(key);
  }

  #grow(slot: number): void {
    const wider = new Int32Array(Math.max(slot + 1, this.#positions.length * 2));
    wider.set(this.#positions);
    this.#positions = wider;
  }
}

const NONE: readonly number[] = [];
/** Records that a walk in order picks first; every later pick takes twice as many. */
const PICK_MIN = 512;

export class AllocTable {
  #slots = new Map<string, number>();
  #records: (Allocation | undefined)[] = [];
  /** CreateIndex by slot, so that a walk in order looks at numbers and not at a million records. */
  #createIndexes = new Float64Array(1024);
  #free: number[] = [];
  #byJob = new SlotIndex();
  #byNode = new SlotIndex();
  #byEval = new SlotIndex();
  #byDeployment = new SlotIndex();

  get size(): number {
    return this.#slots.size;
  }

  get(id: string): Allocation | undefined {
    const slot = this.#slots.get(id);
    return slot === undefined ? undefined : this.#records[slot];
  }

  insert(alloc: Allocation): void {
    assert(!this.#slots.has(alloc.ID), `allocation ${alloc.ID} exists`);
    const slot = this.#free.pop() ?? this.#records.length;
    this.#slots.set(alloc.ID, slot);
    this.#records[slot] = alloc;
    if (slot >= this.#createIndexes.length) this.#grow(slot);
    this.#createIndexes[slot] = alloc.CreateIndex;
    this.#byJob.add(jobKey(alloc.Namespace, alloc.JobID), slot);
    this.#byNode.add(alloc.NodeID, slot);
    this.#byEval.add(alloc.EvalID, slot);
    this.#byDeployment.add(alloc.DeploymentID, slot);
  }

  /** A new record of an allocation that is there. */
  replace(alloc: Allocation): void {
    const slot = this.#slots.get(alloc.ID);
    assert(slot !== undefined, `allocation ${alloc.ID} does not exist`);
    const old = this.#records[slot]!;
    this.#records[slot] = alloc;
    if (old.EvalID !== alloc.EvalID) {
      this.#byEval.remove(old.EvalID, slot);
      this.#byEval.add(alloc.EvalID, slot);
    }
    if (old.DeploymentID === alloc.DeploymentID) return;
    this.#byDeployment.remove(old.DeploymentID, slot);
    this.#byDeployment.add(alloc.DeploymentID, slot);
  }

  remove(id: string): Allocation | undefined {
    const slot = this.#slots.get(id);
    if (slot === undefined) return undefined;
    const alloc = this.#records[slot]!;
    this.#byJob.remove(jobKey(alloc.Namespace, alloc.JobID), slot);
    this.#byNode.remove(alloc.NodeID, slot);
    this.#byEval.remove(alloc.EvalID, slot);
    this.#byDeployment.remove(alloc.DeploymentID, slot);
    this.#slots.delete(id);
    this.#records[slot] = undefined;
    this.#free.push(slot);
    return alloc;
  }

  /** Every record, in no order that means anything. */
  *all(): Iterable<Allocation> {
    for (const record of this.#records) if (record !== undefined) yield record;
  }

  /**
   * Records by (CreateIndex, ID), from `start` on, or from the end backwards. Finds them piece by piece, so that whoever
   * wants the first hundred of a million pays one pass over numbers. The table must not change meanwhile.
   */
  *inOrder(start: { index: number; id: string } | null, descending = false): Iterable<Allocation> {
    const sign = descending ? -1 : 1;
    let after = start ? sign * start.index : -Infinity;
    let inclusive = true;
    for (let size = PICK_MIN;; size *= 2) {
      const { slots, last } = this.#pick({ after, inclusive, size, sign });
      const records = this.#collect(slots).sort((a, b) =>
        sign * (a.CreateIndex - b.CreateIndex || (a.ID < b.ID ? -1 : a.ID > b.ID ? 1 : 0))
      );
      for (const record of records) {
        const before = start !== null && record.CreateIndex === start.index &&
          (descending ? record.ID > start.id : record.ID < start.id);
        if (!before) yield record;
      }
      if (slots.length < size) return;
      after = last;
      inclusive = false;
    }
  }

  /** The slots of the `size` lowest indexes after `after`, and all that share the last one. Times `sign`. */
  #pick(from: { after: number; inclusive: boolean; size: number; sign: 1 | -1 }): {
    slots: number[];
    last: number;
  } {
    const { after, inclusive, size, sign } = from;
    const indexes = this.#createIndexes;
    let slots: number[] = [];
    let last = Infinity;
    const trim = () => {
      if (slots.length <= size) return;
      last = sign * indexes[slots.sort((a, b) => sign * (indexes[a]! - indexes[b]!))[size - 1]!]!;
      slots = slots.filter((slot) => sign * indexes[slot]! <= last);
    };
    for (let slot = 0, trimAt = 4 * size; slot < this.#records.length; slot++) {
      const index = sign * indexes[slot]!;
      if (index > last || index < after || (index === after && !inclusive)) continue;
      if (this.#records[slot] === undefined) continue;
      if (slots.push(slot) < trimAt) continue;
      trim();
      trimAt = Math.max(4 * size, 2 * slots.length);
    }
    trim();
    return { slots, last };
  }

  #grow(slot: number): void {
    const wider = new Float64Array(Math.max(slot + 1, this.#createIndexes.length * 2));
    wider.set(this.#createIndexes);
    this.#createIndexes = wider;
  }

  /** A copy of the table's references, for a snapshot. */
  toArray(): Allocation[] {
    return this.#records.filter((record) => record !== undefined);
  }

  byJob(key: string): Allocation[] {
    return this.#collect(this.#byJob.list(key));
  }

  byNode(nodeId: string): Allocation[] {
    return this.#collect(this.#byNode.list(nodeId));
  }

  byEval(evalId: string): Allocation[] {
    return this.#collect(this.#byEval.list(evalId));
  }

  byDeployment(deploymentId: string): Allocation[] {
    return this.#collect(this.#byDeployment.list(deploymentId));
  }

  hasJob(key: string): boolean {
    return this.#byJob.list(key).length > 0;
  }

  #collect(slots: readonly number[]): Allocation[] {
    const records = new Array<Allocation>(slots.length);
    for (let i = 0; i < slots.length; i++) records[i] = this.#records[slots[i]!]!;
    return records;
  }
}
