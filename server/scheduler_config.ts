// What the scheduler is told to do for the nodes of one pool: the pool's own settings where it has some, else the cluster's.
// Pure.
import type { StateReader } from "./state_reader.ts";

export function algorithmOf(state: StateReader, pool: string): "binpack" | "spread" {
  const own = state.nodePool(pool)?.SchedulerConfiguration?.SchedulerAlgorithm;
  return (own || state.schedulerConfig().SchedulerAlgorithm) === "spread" ? "spread" : "binpack";
}

/** Whether memory_max counts for jobs of the pool. */
export function memoryOversubscription(state: StateReader, pool: string): boolean {
  return state.nodePool(pool)?.SchedulerConfiguration?.MemoryOversubscriptionEnabled ??
    state.schedulerConfig().MemoryOversubscriptionEnabled;
}
