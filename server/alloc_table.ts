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

export class AllocTable {
  #slots = new Map<string, number>();
  #records: (Allocation | undefined)[] = [];
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
