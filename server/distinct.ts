// distinct_hosts and distinct_property: constraints between the allocations of one job. They look at the plan as it
// grows, so their answers change with every placement. Pure.
import type { Constraint, Job, TaskGroup } from "../core/types.ts";
import type { AttributeColumn } from "./candidates.ts";
import type { Reason } from "./feasible.ts";
import type { SlotCounts } from "./slot_counts.ts";

export interface DistinctInput {
  job: Job;
  group: TaskGroup;
  /** Live and planned allocations of the whole job by slot. */
  jobPerSlot: SlotCounts;
  /** Those of the group. */
  groupPerSlot: SlotCounts;
  column(target: string): AttributeColumn;
}

interface Property {
  target: string;
  column: AttributeColumn;
  limit: number;
  ofJob: boolean;
  used: Int32Array;
}

const DISTINCT_HOSTS: Reason = { text: "distinct_hosts", ofClass: false, oncePerClass: false };

export class Distinct {
  readonly properties: Property[];
  #hosts: SlotCounts | null;
  #input: DistinctInput;

  constructor(input: DistinctInput) {
    this.#input = input;
    const ofGroup = [
      ...input.group.Constraints ?? [],
      ...input.group.Tasks.flatMap((task) => task.Constraints ?? []),
    ];
    const ofJob = input.job.Constraints ?? [];
    this.#hosts = ofJob.some(isDistinctHosts)
      ? input.jobPerSlot
      : ofGroup.some(isDistinctHosts)
      ? input.groupPerSlot
      : null;
    this.properties = [
      ...ofJob.filter(isDistinctProperty).map((constraint) => this.#property(constraint, true)),
      ...ofGroup.filter(isDistinctProperty).map((constraint) => this.#property(constraint, false)),
    ];
  }

  #property(constraint: Constraint, ofJob: boolean): Property {
    const column = this.#input.column(constraint.LTarget);
    return {
      target: constraint.LTarget,
      column,
      limit: constraint.RTarget === "" ? 1 : Number(constraint.RTarget),
      ofJob,
      used: new Int32Array(column.values.length),
    };
  }

  /** Allocations of the group came (1 and more) or went (-1). Properties of the whole job are counted when asked. */
  count(slot: number, change: number): void {
    for (const property of this.properties) {
      const value = property.column.ids[slot]!;
      if (!property.ofJob && value >= 0) property.used[value]! += change;
    }
  }

  reason(slot: number): Reason | null {
    if (this.hostTaken(slot)) return DISTINCT_HOSTS;
    for (const property of this.properties) {
      const text = this.#taken(property, slot);
      if (text) return { text, ofClass: false, oncePerClass: false };
    }
    return null;
  }

  hostTaken(slot: number): boolean {
    return this.#hosts !== null && this.#hosts.get(slot) > 0;
  }

  propertyTaken(slot: number): boolean {
    return this.properties.some((property) => this.#taken(property, slot) !== null);
  }

  #taken(property: Property, slot: number): string | null {
    const value = property.column.ids[slot]!;
    if (value < 0) return `missing property ${JSON.stringify(property.target)}`;
    const used = property.ofJob ? this.#usedByJob(property, value) : property.used[value]!;
    if (used < property.limit) return null;
    return `distinct_property: ${property.target}=${property.column.values[value]} used by ${used} allocs`;
  }

  #usedByJob(property: Property, value: number): number {
    let used = 0;
    for (const [slot, count] of this.#input.jobPerSlot.entries()) {
      if (property.column.ids[slot] === value) used += count;
    }
    return used;
  }
}

/** `distinct_hosts = false` switches it off again. */
function isDistinctHosts(constraint: Constraint): boolean {
  return constraint.Operand === "distinct_hosts" && constraint.RTarget !== "false";
}

function isDistinctProperty(constraint: Constraint): boolean {
  return constraint.Operand === "distinct_property";
}
