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

  exhaust(node: Node, dimension: string): void {
    this.exhausted++;
    this.#classesExhausted = count(this.#classesExhausted, node.NodeClass);
    this.#dimensions = count(this.#dimensions, dimension);
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

/** What each task asked of the dimensions that ran out. */
function exhaustedResources(
  dimensions: Record<string, number> | null,
  group: TaskGroup,
): Record<string, Resources> | null {
  if (!dimensions) return null;
  const found: Record<string, Resources> = {};
  for (const task of group.Tasks) {
    const { CPU, Cores, MemoryMB, DiskMB } = task.Resources;
    const lacking: Resources = {
      CPU: dimensions["cpu"] ? CPU : 0,
      Cores: dimensions["cores"] ? Cores : 0,
      MemoryMB: dimensions["memory"] ? MemoryMB : 0,
      MemoryMaxMB: 0,
      DiskMB: dimensions["disk"] ? DiskMB : 0,
      IOPS: 0,
      SecretsMB: 0,
      Networks: null,
      Devices: null,
      NUMA: null,
    };
    if (lacking.CPU || lacking.Cores || lacking.MemoryMB || lacking.DiskMB) found[task.Name] = lacking;
  }
  return Object.keys(found).length > 0 ? found : null;
}
