// Which allocations must give way so that a more important one fits on a node: the least important first, no more than
// needed. Pure.
//
// Invariants: only allocations of jobs at least ten priorities below are ever chosen; what is chosen makes room enough,
// and nothing could be left out of it.
import type { Allocation, Job, SchedulerConfiguration } from "../core/types.ts";
import { demandOf } from "./demand.ts";

/** Jobs closer in priority than this do not push each other out. */
const PRIORITY_DELTA_MIN = 10;
const SCORE_RATE = 0.0048;
const SCORE_ORIGIN = 2048;

export function preemptionEnabled(job: Job, config: SchedulerConfiguration): boolean {
  const { PreemptionConfig: allowed } = config;
  switch (job.Type) {
    case "system":
      return allowed.SystemSchedulerEnabled;
    case "sysbatch":
      return allowed.SysBatchSchedulerEnabled;
    case "batch":
      return allowed.BatchSchedulerEnabled;
    case "service":
      return allowed.ServiceSchedulerEnabled;
  }
}

/** Whether a job of this priority may push the allocation out. */
export function isPreemptible(alloc: Allocation, priority: number): boolean {
  return priority - alloc.Job.Priority >= PRIORITY_DELTA_MIN;
}

/** What a node lacks; numbers at or below zero are no lack. */
export interface Lack {
  cpuMhz: number;
  memoryMb: number;
  diskMb: number;
  /** Host ports (portKey) that are held and needed. */
  ports: readonly number[];
}

/** The allocations to evict, or null when even all that may be evicted would not be enough. */
export function choosePreempted(
  allocs: Iterable<Allocation>,
  priority: number,
  lack: Lack,
): Allocation[] | null {
  const candidates = [...allocs].filter((alloc) => isPreemptible(alloc, priority));
  const chosen = new Set<Allocation>();
  for (const alloc of candidates) {
    if (demandOf(alloc.AllocatedResources).ports.some((port) => lack.ports.includes(port))) chosen.add(alloc);
  }
  const rest = candidates.filter((alloc) => !chosen.has(alloc))
    .sort((a, b) => a.Job.Priority - b.Job.Priority || distance(a, lack) - distance(b, lack));
  for (const alloc of rest) {
    if (isEnough(chosen, lack)) break;
    chosen.add(alloc);
  }
  if (!isEnough(chosen, lack)) return null;
  // The more important ones may turn out not to be needed after all.
  for (const alloc of [...chosen].sort((a, b) => b.Job.Priority - a.Job.Priority)) {
    chosen.delete(alloc);
    if (!isEnough(chosen, lack)) chosen.add(alloc);
  }
  return [...chosen];
}

function isEnough(chosen: ReadonlySet<Allocation>, lack: Lack): boolean {
  let { cpuMhz, memoryMb, diskMb } = lack;
  const ports = new Set(lack.ports);
  for (const alloc of chosen) {
    const demand = demandOf(alloc.AllocatedResources);
    cpuMhz -= demand.cpuMhz;
    memoryMb -= demand.memoryMb;
    diskMb -= demand.diskMb;
    for (const port of demand.ports) ports.delete(port);
  }
  return cpuMhz <= 0 && memoryMb <= 0 && diskMb <= 0 && ports.size === 0;
}

/** How far from the lack the allocation's size is: a close match evicts little that is not needed. */
function distance(alloc: Allocation, lack: Lack): number {
  const demand = demandOf(alloc.AllocatedResources);
  const part = (has: number, needs: number) => needs > 0 ? ((needs - has) / needs) ** 2 : 0;
  return part(demand.cpuMhz, lack.cpuMhz) + part(demand.memoryMb, lack.memoryMb) +
    part(demand.diskMb, lack.diskMb);
}

/**
 * How good it is to make room by these, 0 … 1, on the curve that Nomad's metrics show under "preemption": it falls with
 * their priorities.
 */
export function preemptionScore(evicted: readonly Allocation[]): number {
  const priorities = evicted.map((alloc) => alloc.Job.Priority);
  const highest = Math.max(...priorities);
  const net = highest + priorities.reduce((sum, priority) => sum + priority, 0) / highest;
  return 1 / (1 + Math.exp(SCORE_RATE * (net - SCORE_ORIGIN)));
}

/** Of two ways to make room the one that hurts less: lower priorities, then fewer allocations. */
export function hurtsLess(a: readonly Allocation[], b: readonly Allocation[]): boolean {
  const highest = (allocs: readonly Allocation[]) => Math.max(...allocs.map((alloc) => alloc.Job.Priority));
  const sum = (allocs: readonly Allocation[]) =>
    allocs.reduce((total, alloc) => total + alloc.Job.Priority, 0);
  return highest(a) - highest(b) < 0 || (highest(a) === highest(b) && sum(a) < sum(b));
}
