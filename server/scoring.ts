// How good a node is for one more allocation of a group: binpack or spread fit, job anti-affinity, reschedule penalty,
// affinities, spread blocks. The final score is the mean of the terms that apply, as Nomad's.
//
// Per-node values are kept in columns and thrown away per slot when the plan touches it, so that scoring a thousand
// candidates a second time costs a thousand array reads.
import type { Affinity, Job, Spread, TaskGroup } from "../core/types.ts";
import { type AttributeColumn, attributeColumn } from "./candidates.ts";
import { compileConstraint, type CompiledConstraint } from "./constraint.ts";
import type { ScoreRow } from "./metrics.ts";
import type { SlotCounts } from "./slot_counts.ts";
import type { StateReader } from "./state_reader.ts";
import type { UsageOverlay } from "./usage.ts";

const FIT_SCORE_MAX = 18;

export interface ScoringInput {
  state: StateReader;
  overlay: UsageOverlay;
  algorithm: "binpack" | "spread";
  job: Job;
  group: TaskGroup;
  ask: { cpuMhz: number; memoryMb: number };
  /** Allocations of this job and group by slot, the plan's included. */
  perSlot: SlotCounts;
}

/** One spread block over the nodes, with what it has used so far. */
export interface SpreadTerm {
  column: AttributeColumn;
  /** Share of all spread weights. */
  weight: number;
  /** By value id; NaN where neither a target nor the rest covers it. Null for an even spread. */
  desired: Float64Array | null;
  used: Int32Array;
  /** Least and most use of a value that is used at all, 0 when none is; null when counts moved since. */
  range: { min: number; max: number } | null;
}

export class Scoring {
  readonly spreads: SpreadTerm[];
  /** Only kept where every node is looked at again and again. */
  #fit: Float64Array | null = null;
  #affinity: Float64Array | null;
  #affinities: { constraint: CompiledConstraint; weight: number }[];
  #affinityWeight: number;

  constructor(private readonly input: ScoringInput) {
    const { state, job, group } = input;
    const length = state.nodeTable.length;
    const affinities = [
      ...job.Affinities ?? [],
      ...group.Affinities ?? [],
      ...group.Tasks.flatMap((task) => task.Affinities ?? []),
    ];
    this.#affinities = affinities.map(compileAffinity);
    this.#affinityWeight = affinities.reduce((sum, affinity) => sum + Math.abs(affinity.Weight), 0);
    this.#affinity = affinities.length > 0 ? new Float64Array(length).fill(NaN) : null;
    this.spreads = spreadTerms(state, [...group.Spreads ?? [], ...job.Spreads ?? []], group.Count);
    if (this.wide) this.#fit = new Float64Array(length).fill(NaN);
  }

  /** Affinities count in the mean also where none of them holds. */
  get hasAffinities(): boolean {
    return this.#affinity !== null;
  }

  /** True when the choice should look at every node, not at a sample. */
  get wide(): boolean {
    return this.spreads.length > 0 || this.#affinities.length > 0;
  }

  /** The plan changed what the slot has in use. */
  touch(slot: number): void {
    if (this.#fit) this.#fit[slot] = NaN;
  }

  /** Allocations of the group came (1 and more) or went (-1): spread counts follow. */
  count(slot: number, change: number): void {
    for (const spread of this.spreads) {
      const value = spread.column.ids[slot]!;
      if (value >= 0) spread.used[value]! += change;
      spread.range = null;
    }
  }

  fit(slot: number): number {
    if (!this.#fit) return this.#computeFit(slot);
    const known = this.#fit[slot]!;
    return Number.isNaN(known) ? (this.#fit[slot] = this.#computeFit(slot)) : known;
  }

  #computeFit(slot: number): number {
    const { state: { nodeTable: table }, overlay, ask, algorithm } = this.input;
    const cpu = table.cpuUsed[slot]! + overlay.cpu[slot]! + ask.cpuMhz;
    const memory = table.memoryUsed[slot]! + overlay.memory[slot]! + ask.memoryMb;
    const freeCpu = 10 ** (1 - cpu / table.cpuTotal[slot]!);
    const freeMemory = 10 ** (1 - memory / table.memoryTotal[slot]!);
    const score = algorithm === "binpack" ? 20 - (freeCpu + freeMemory) : freeCpu + freeMemory - 2;
    return Math.min(Math.max(score, 0), FIT_SCORE_MAX) / FIT_SCORE_MAX;
  }

  /** 0 when no other allocation of the group is there. */
  antiAffinity(slot: number): number {
    const others = this.input.perSlot.get(slot);
    return others === 0 ? 0 : -(others + 1) / this.input.group.Count;
  }

  affinity(slot: number): number {
    if (!this.#affinity) return 0;
    const known = this.#affinity[slot]!;
    return Number.isNaN(known) ? (this.#affinity[slot] = this.#computeAffinity(slot)) : known;
  }

  #computeAffinity(slot: number): number {
    const node = this.input.state.nodeTable.nodes[slot]!;
    let sum = 0;
    for (const { constraint, weight } of this.#affinities) if (constraint.holds(node)) sum += weight;
    return this.#affinityWeight > 0 ? sum / this.#affinityWeight : 0;
  }

  /** Depends on the slot only through its values of the spread attributes. */
  spread(slot: number): number {
    let sum = 0;
    for (const spread of this.spreads) sum += spreadScore(spread, spread.column.ids[slot]!);
    return sum;
  }

  /** The final score: the mean of the terms that apply. */
  total(slot: number, penalty: boolean, preemption = 0): number {
    let sum = this.fit(slot);
    let terms = 1;
    const anti = this.antiAffinity(slot);
    if (anti !== 0) sum += anti, terms++;
    if (penalty) sum -= 1, terms++;
    if (this.#affinity) sum += this.affinity(slot), terms++;
    if (this.spreads.length > 0) {
      const spread = this.spread(slot);
      if (spread !== 0) sum += spread, terms++;
    }
    if (preemption !== 0) sum += preemption, terms++;
    return sum / terms;
  }

  /** The terms by their public names. */
  row(slot: number, penalty: boolean, preemption = 0): ScoreRow {
    const scores: Record<string, number> = {
      "binpack": this.fit(slot),
      "job-anti-affinity": this.antiAffinity(slot),
      "node-reschedule-penalty": penalty ? -1 : 0,
      "node-affinity": this.affinity(slot),
    };
    const spread = this.spread(slot);
    if (spread !== 0) scores["allocation-spread"] = spread;
    if (preemption !== 0) scores["preemption"] = preemption;
    return {
      NodeID: this.input.state.nodeTable.nodes[slot]!.ID,
      Scores: scores,
      NormScore: this.total(slot, penalty, preemption),
    };
  }
}

function compileAffinity(affinity: Affinity): { constraint: CompiledConstraint; weight: number } {
  return { constraint: compileConstraint(affinity), weight: affinity.Weight };
}

function spreadTerms(state: StateReader, spreads: Spread[], count: number): SpreadTerm[] {
  const weights = spreads.reduce((sum, spread) => sum + spread.Weight, 0);
  return spreads.map((spread) => {
    const column = attributeColumn(state, spread.Attribute);
    return {
      column,
      weight: weights > 0 ? spread.Weight / weights : 0,
      desired: desiredCounts(spread, column, count),
      used: new Int32Array(column.values.length),
      range: null,
    };
  });
}

/** Percentages as counts; what the targets leave over is shared by all other values. */
function desiredCounts(spread: Spread, column: AttributeColumn, count: number): Float64Array | null {
  const targets = spread.SpreadTarget ?? [];
  if (targets.length === 0) return null;
  const named = new Map(targets.map((target) => [target.Value, (target.Percent / 100) * count]));
  const sum = [...named.values()].reduce((total, desired) => total + desired, 0);
  const rest = sum > 0 && sum < count ? count - sum : NaN;
  return Float64Array.from(column.values, (value) => named.get(value) ?? named.get("*") ?? rest);
}

function spreadScore(spread: SpreadTerm, value: number): number {
  if (value < 0) return -1;
  if (!spread.desired) return evenScore(spread, value);
  const desired = spread.desired[value]!;
  if (Number.isNaN(desired)) return -1;
  if (desired === 0) return -1;
  return ((desired - (spread.used[value]! + 1)) / desired) * spread.weight;
}

/** Values used less than the others are preferred; -1 … 1 and beyond when far apart. */
function evenScore(spread: SpreadTerm, value: number): number {
  const { min, max } = spread.range ??= rangeOf(spread.used);
  if (max === 0) return 0;
  const current = spread.used[value]!;
  if (current !== min) return (min - current) / min;
  return min === max ? -1 : (max - min) / min;
}

function rangeOf(used: Int32Array): { min: number; max: number } {
  let min = Infinity;
  let max = 0;
  for (let i = 0; i < used.length; i++) {
    const count = used[i]!;
    if (count === 0) continue;
    if (count < min) min = count;
    if (count > max) max = count;
  }
  return { min, max };
}
