// A device came back and its allocation runs, but a replacement runs too: which of them goes, by the group's
// disconnect.reconcile strategy. Pure.
import { parseTime } from "../core/time.ts";
import type { Allocation, TaskGroup } from "../core/types.ts";

/** The allocation to stop: `returned`, or a rival (then all rivals go); null when it has no rival. */
export function pickReconnected(
  group: TaskGroup,
  returned: Allocation,
  rivals: readonly Allocation[],
): Allocation | null {
  const rival = rivals[0];
  if (!rival) return null;
  // An older version never wins over the present one.
  if (rival.Job.Version !== returned.Job.Version || rival.Job.CreateIndex !== returned.Job.CreateIndex) {
    return rival.Job.Version > returned.Job.Version ? returned : rival;
  }
  switch (group.Disconnect?.Reconcile) {
    case "keep_original":
      return rival;
    case "keep_replacement":
      return returned;
    case "longest_running":
      return startedNs(returned) <= startedNs(rival) ? rival : returned;
    default:
      return bestScore(returned) >= bestScore(rival) ? rival : returned;
  }
}

/** When its tasks have been running since; never is last. */
function startedNs(alloc: Allocation): number {
  let earliest = Infinity;
  for (const state of Object.values(alloc.TaskStates ?? {})) {
    const started = state.State === "running" && state.StartedAt ? parseTime(state.StartedAt) : null;
    if (started) earliest = Math.min(earliest, started);
  }
  return earliest;
}

/** The score with which its own node was chosen. */
function bestScore(alloc: Allocation): number {
  const row = alloc.Metrics?.ScoreMetaData?.find((row) => row.NodeID === alloc.NodeID);
  return row?.NormScore ?? 0;
}
