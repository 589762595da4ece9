// Why nodes were or were not chosen, in the shape in which allocations and failed placements show it (AllocMetric).
// A tally collects one search; whoever places a thousand allocations keeps only some of them.
import type { AllocMetric, Node, Resources, TaskGroup } from "../core/types.ts";
import type { Reason } from "./feasible.ts";

/** Score rows that are kept. */
const ROWS_MAX = 5;
const CLASS_INELIGIBLE = "computed class ineligible";

export type ScoreRow = NonNullable<AllocMetric["ScoreMetaData"]>[number];

/** What a search knows before it begins. */
export interface SearchScope {
  pool: string;
  nodesInPool: number;
  byDatacenter: Record<string, number>;
}

export class MetricTally {
  evaluated = 0;
  filtered = 0;
  exhausted = 0;
  rows: ScoreRow[] = [];
  #constraints: Record<string, number> | null = null;
  #classesFiltered: Record<string, number> | null = null;
  #classesExhausted: Record<string, number> | null = null;
  #dimensions: Record<string, number> | null = null;
  #ineligible = new Set<string>();

  filter(node: Node, reason: Reason): void {
    this.filtered++;
    this.#classesFiltered = count(this.#classesFiltered, node.NodeClass);
    let text = reason.text;
    if (reason.oncePerClass) {
      if (this.#ineligible.has(node.ComputedClass)) text = CLASS_INELIGIBLE;
      else this.#ineligible.add(node.ComputedClass);
    }
    this.#constraints = count(this.#constraints, text);
  }

  /** `scored`: its row was noted before it turned out that it cannot take the allocation. */
  exhaust(node: Node, dimension: string, scored = false): void {
    if (scored) this.rows = this.rows.filter((row) => row.NodeID !== node.ID);
    this.exhausted++;
    this.#classesExhausted = count(this.#classesExhausted, node.NodeClass);
    this.#dimensions = count(this.#dimensions, dimension);
  }

  /** Forgets everything: the search begins once more. */
  clear(): void {
    this.evaluated = this.filtered = this.exhausted = 0;
    this.rows = [];
    this.#constraints =
      this.#classesFiltered =
      this.#classesExhausted =
      this.#dimensions =
        null;
    this.#ineligible.clear();
  }

  row(row: ScoreRow): void {
    this.rows.push(row);
  }

  build(scope: SearchScope, group: TaskGroup, allocationTimeNs: number): AllocMetric {
    const rows = this.rows.sort((a, b) => b.NormScore - a.NormScore).slice(0, ROWS_MAX);
    return {
      NodesEvaluated: this.evaluated,
      NodesFiltered: this.filtered,
      NodesInPool: scope.nodesInPool,
      NodePool: scope.pool,
      NodesAvailable: scope.byDatacenter,
      ClassFiltered: this.#classesFiltered,
      ConstraintFiltered: this.#constraints,
      NodesExhausted: this.exhausted,
      ClassExhausted: this.#classesExhausted,
      DimensionExhausted: this.#dimensions,
      QuotaExhausted: null,
      ResourcesExhausted: exhaustedResources(this.#dimensions, group),
      Scores: null,
      ScoreMetaData: rows.length > 0 ? rows : null,
      AllocationTime: allocationTimeNs,
      CoalescedFailures: 0,
    };
  }
}

function count(counts: Record<string, number> | null, key: string): Record<string, number> | null {
  if (key === "") return counts;
  const next = counts ?? {};
  next[key] = (next[key] ?? 0) + 1;
  return next;
}

/** What the tasks asked of cpu and memory where those ran out, times the allocations that found nothing. */
export function exhaustedResources(
  dimensions: Record<string, number> | null,
  group: TaskGroup,
  times = 1,
): Record<string, Resources> | null {
  const { cpu, memory, disk, cores } = dimensions ?? {};
  if (!cpu && !memory && !disk && !cores) return null;
  return Object.fromEntries(group.Tasks.map((task): [string, Resources] => [task.Name, {
    CPU: cpu ? task.Resources.CPU * times : 0,
    Cores: 0,
    MemoryMB: memory ? task.Resources.MemoryMB * times : 0,
    MemoryMaxMB: 0,
    DiskMB: 0,
    IOPS: 0,
    SecretsMB: 0,
    Networks: null,
    Devices: null,
    NUMA: null,
  }]));
}

/** `times` more allocations of the group would find no node for the same reasons. */
export function coalesce(failure: AllocMetric, group: TaskGroup, times = 1): void {
  failure.CoalescedFailures += times;
  failure.ResourcesExhausted = exhaustedResources(
    failure.DimensionExhausted,
    group,
    failure.CoalescedFailures + 1,
  );
}
