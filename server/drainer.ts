// Empties draining nodes on the leader: marks service allocations for migration as many at a time as their group's
// migrate block allows, leaves batch ones until the deadline and then ends them for good, takes system ones last, and ends
// the drain when nothing is left.
//
// Invariant: before the deadline never more allocations of a group are under way than migrate.max_parallel.
import { errorText, NotLeaderError } from "../core/errors.ts";
import { formatTime, parseTime } from "../core/time.ts";
import type { Allocation, DesiredTransition, Job, Node } from "../core/types.ts";
import { isTerminal } from "./alloc_sets.ts";
import type { Command } from "./commands.ts";
import { jobEvaluation } from "./evaluations.ts";
import type { LeaderContext } from "./scheduling.ts";
import type { Changes } from "./state_reader.ts";

interface Draining {
  cancelDeadline: (() => void) | null;
  deadlineMs: number;
  completing: boolean;
  /** Jobs with allocations on the node: their health elsewhere decides when the next may go. */
  jobs: Set<string>;
}

export class Drainer {
  #nodes = new Map<string, Draining>();
  #dirty = new Set<string>();
  #planned = false;
  #running = false;

  constructor(private readonly context: LeaderContext) {}

  start(): void {
    this.#running = true;
    for (const node of this.context.state.nodes()) this.#follow(node);
  }

  stop(): void {
    this.#running = false;
    for (const draining of this.#nodes.values()) draining.cancelDeadline?.();
    this.#nodes.clear();
    this.#dirty.clear();
  }

  onChanges(changes: Changes): void {
    if (!this.#running) return;
    for (const node of changes.removedNodes) this.#forget(node.ID);
    for (const node of changes.nodes) this.#follow(node);
    if (this.#nodes.size === 0) return;
    for (const alloc of changes.allocs) this.#note(alloc);
    for (const alloc of changes.clientAllocs) this.#note(alloc);
    for (const alloc of changes.removedAllocs) this.#note(alloc);
  }

  #follow(node: Node): void {
    if (!node.DrainStrategy) return this.#forget(node.ID);
    const deadlineMs = deadlineOf(node);
    const known = this.#nodes.get(node.ID);
    if (known?.deadlineMs !== deadlineMs) {
      known?.cancelDeadline?.();
      const draining: Draining = { cancelDeadline: null, deadlineMs, completing: false, jobs: new Set() };
      this.#nodes.set(node.ID, draining);
      if (deadlineMs > this.context.clock.nowMs()) this.#armDeadline(node.ID, draining);
    }
    this.#mark(node.ID);
  }

  /** Timers fire a little early, and cannot be longer than some weeks: whether it is time is looked at again. */
  #armDeadline(id: string, draining: Draining): void {
    const { clock } = this.context;
    const waitMs = Math.min(draining.deadlineMs - clock.nowMs(), 0x7fffffff);
    draining.cancelDeadline = clock.after(waitMs, () => {
      if (draining.deadlineMs > clock.nowMs()) this.#armDeadline(id, draining);
      else this.#mark(id);
    });
  }

  #forget(id: string): void {
    this.#nodes.get(id)?.cancelDeadline?.();
    this.#nodes.delete(id);
    this.#dirty.delete(id);
  }

  #note(alloc: Allocation): void {
    if (this.#nodes.has(alloc.NodeID)) this.#mark(alloc.NodeID);
    const key = jobKey(alloc);
    for (const [id, draining] of this.#nodes) if (draining.jobs.has(key)) this.#mark(id);
  }

  #mark(id: string): void {
    this.#dirty.add(id);
    if (this.#planned) return;
    this.#planned = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#planned = false;
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    if (!this.#running) return;
    const chosen = new Map<string, Allocation>();
    for (const id of dirty) {
      const node = this.context.state.node(id);
      const draining = this.#nodes.get(id);
      if (node?.DrainStrategy && draining) this.#drain(node, draining, chosen);
    }
    if (chosen.size > 0) this.#migrate([...chosen.values()]);
  }

  #drain(node: Node, draining: Draining, chosen: Map<string, Allocation>): void {
    const remaining: Allocation[] = [];
    const system: Allocation[] = [];
    for (const alloc of this.context.state.allocsByNode(node.ID)) {
      if (isTerminal(alloc)) continue;
      if (alloc.Job.Type !== "system" && alloc.Job.Type !== "sysbatch") remaining.push(alloc);
      else if (!node.DrainStrategy!.IgnoreSystemJobs) system.push(alloc);
    }
    draining.jobs = new Set(remaining.map(jobKey));
    if (remaining.length + system.length === 0) return this.#complete(node, draining);
    const late = draining.deadlineMs !== 0 && this.context.clock.nowMs() >= draining.deadlineMs;
    if (late) { for (const alloc of [...remaining, ...system]) choose(chosen, alloc); }
    else if (remaining.length === 0) { for (const alloc of system) choose(chosen, alloc); }
    else this.#drainInTurn(remaining, chosen);
  }

  /** Services by their migrate block; batch work may end by itself. */
  #drainInTurn(remaining: readonly Allocation[], chosen: Map<string, Allocation>): void {
    const groups = Map.groupBy(
      remaining.filter((alloc) => alloc.Job.Type === "service"),
      (alloc) => `${jobKey(alloc)}\0${alloc.TaskGroup}`,
    );
    for (const allocs of groups.values()) {
      const room = this.#room(allocs[0]!, chosen);
      const waiting = allocs.filter((alloc) => !alloc.DesiredTransition.Migrate && !chosen.has(alloc.ID));
      for (const alloc of waiting.slice(0, room)) choose(chosen, alloc);
    }
  }

  /** How many more of the group may go now. */
  #room(sample: Allocation, chosen: Map<string, Allocation>): number {
    const job = this.context.state.job(sample.Namespace, sample.JobID) ?? sample.Job;
    const group = job.TaskGroups.find((candidate) => candidate.Name === sample.TaskGroup);
    // A group that is gone from its job is stopped by the scheduler anyway.
    if (!group) return Infinity;
    const parallel = group.Migrate?.MaxParallel ?? 1;
    let healthy = 0;
    for (const alloc of this.context.state.allocsByJob(sample.Namespace, sample.JobID)) {
      if (alloc.TaskGroup === sample.TaskGroup && isHealthy(alloc) && !chosen.has(alloc.ID)) healthy++;
    }
    return Math.max(healthy - (group.Count - parallel), 0);
  }

  #migrate(allocs: Allocation[]): void {
    const { state, random } = this.context;
    const transitions: Record<string, Partial<DesiredTransition>> = {};
    const jobs = new Map<string, { job: Job; nodeId: string }>();
    for (const alloc of allocs) {
      // Batch work is not begun anew elsewhere: it was given its time.
      transitions[alloc.ID] = alloc.Job.Type === "batch"
        ? { Migrate: true, MigrateDisablePlacement: true }
        : { Migrate: true };
      const job = state.job(alloc.Namespace, alloc.JobID) ?? alloc.Job;
      jobs.set(jobKey(alloc), { job, nodeId: alloc.NodeID });
    }
    const nowNs = this.context.nowNs();
    const evals = [...jobs.values()].map(({ job, nodeId }) =>
      jobEvaluation(job, "node-drain", { random, nowNs }, { NodeID: nodeId })
    );
    const nodes = new Set(allocs.map((alloc) => alloc.NodeID));
    this.#write({ kind: "alloc.transition", time: nowNs, transitions, evals }, nodes);
  }

  #complete(node: Node, draining: Draining): void {
    if (draining.completing) return;
    draining.completing = true;
    const nowNs = this.context.nowNs();
    const late = draining.deadlineMs > 0 && this.context.clock.nowMs() >= draining.deadlineMs;
    this.#write({
      kind: "node.drain",
      time: nowNs,
      id: node.ID,
      drain: null,
      markEligible: false,
      meta: null,
      accessorId: node.LastDrain?.AccessorID ?? "",
      event: {
        Message: "Node drain complete",
        Subsystem: "Drain",
        Details: late ? { deadline_reached: "true" } : null,
        Timestamp: formatTime(nowNs),
        CreateIndex: 0,
      },
      evals: [],
      complete: true,
    }, new Set([node.ID]));
  }

  #write(command: Command, nodes: Set<string>): void {
    this.context.propose(command).catch((error) => {
      if (error instanceof NotLeaderError) return;
      this.context.logger.warn(`Cannot go on draining: ${errorText(error)}`);
      this.context.clock.after(1000, () => {
        for (const id of nodes) {
          const draining = this.#nodes.get(id);
          if (!draining) continue;
          draining.completing = false;
          this.#mark(id);
        }
      });
    });
  }
}

function choose(chosen: Map<string, Allocation>, alloc: Allocation): void {
  if (!alloc.DesiredTransition.Migrate) chosen.set(alloc.ID, alloc);
}

/** Milliseconds since 1970; 0 for never, 1 for at once (`-force`). */
function deadlineOf(node: Node): number {
  const strategy = node.DrainStrategy!;
  if (strategy.Deadline < 0) return 1;
  const ns = strategy.Deadline === 0 ? 0 : parseTime(strategy.ForceDeadline) ?? 0;
  return Math.ceil(ns / 1e6);
}

function isHealthy(alloc: Allocation): boolean {
  if (isTerminal(alloc) || alloc.DesiredTransition.Migrate || alloc.ClientStatus !== "running") return false;
  return alloc.DeploymentStatus?.Healthy ?? alloc.DeploymentID === "";
}

function jobKey(alloc: Allocation): string {
  return `${alloc.Namespace}\0${alloc.JobID}`;
}
