// Why the scheduler could not place something, in words: the bulleted lines of plan, run, job status and eval status.
import type { AllocMetric } from "../core/types.ts";

/** One line a reason, each starting with `prefix`. Keys sorted, so that the same cause always reads the same. */
export function explainMetrics(metric: AllocMetric, prefix: string, withScores = false): string[] {
  const lines: string[] = [];
  const add = (text: string) => lines.push(`${prefix}* ${text}`);
  const counts = (record: Record<string, number> | null | undefined): [string, number][] =>
    Object.entries(record ?? {}).sort(([a], [b]) => a < b ? -1 : 1);

  if (!metric.NodesEvaluated) add("No nodes were eligible for evaluation");
  for (const [datacenter, available] of counts(metric.NodesAvailable)) {
    if (available === 0) add(`No nodes are available in datacenter ${JSON.stringify(datacenter)}`);
  }
  for (const [name, count] of counts(metric.ClassFiltered)) {
    add(`Class ${JSON.stringify(name)}: ${count} nodes excluded by filter`);
  }
  for (const [name, count] of counts(metric.ConstraintFiltered)) {
    add(`Constraint ${JSON.stringify(name)}: ${count} nodes excluded by filter`);
  }
  if (metric.NodesExhausted > 0) add(`Resources exhausted on ${metric.NodesExhausted} nodes`);
  for (const [name, count] of counts(metric.ClassExhausted)) {
    add(`Class ${JSON.stringify(name)} exhausted on ${count} nodes`);
  }
  for (const [name, count] of counts(metric.DimensionExhausted)) {
    add(`Dimension ${JSON.stringify(name)} exhausted on ${count} nodes`);
  }
  for (const quota of metric.QuotaExhausted ?? []) add(`Quota limit hit ${JSON.stringify(quota)}`);
  if (withScores) lines.push(...explainScores(metric, prefix));
  return lines;
}

function explainScores(metric: AllocMetric, prefix: string): string[] {
  return (metric.ScoreMetaData ?? []).flatMap((entry) =>
    Object.entries(entry.Scores ?? {}).map(([name, score]) =>
      `${prefix}* Score ${JSON.stringify(name)} of node ${JSON.stringify(entry.NodeID)} = ${score}`
    )
  );
}

/** "failed to place 3 allocations". */
export function failedCountText(metric: AllocMetric): string {
  const count = (metric.CoalescedFailures ?? 0) + 1;
  return `failed to place ${count} ${count === 1 ? "allocation" : "allocations"}`;
}

/** Groups that could not be placed, by name. */
export function failedGroups(
  failed: Record<string, AllocMetric> | null | undefined,
): [string, AllocMetric][] {
  return Object.entries(failed ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
}
