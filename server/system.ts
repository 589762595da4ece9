// The scheduler of system and sysbatch jobs: one allocation of every group on every node that can run it. Synchronous and
// pure, like generic.ts.
//
// Invariants: a node never runs two of one group; nodes that constraints leave out are no failure unless they are all
// there is; while a deployment is under way at most max_parallel nodes are updated ahead of their health.
import { formatTime } from "../core/time.ts";
import {
  type Allocation,
  type AllocMetric,
  type Deployment,
  type DeploymentState,
  type DesiredUpdates,
  type Evaluation,
  type Job,
  type TaskGroup,
  type UpdateStrategy,
  ZERO_TIME,
} from "../core/types.ts";
import { fateOf, isClientTerminal, isServerTerminal, isTerminal, lostAfterNs } from "./alloc_sets.ts";
import { type Candidates, candidatesFor } from "./candidates.ts";
import { newEvaluation } from "./evaluations.ts";
import { finish } from "./finish.ts";
import { coalesce } from "./metrics.ts";
import { allocName } from "./name_index.ts";
import { type Plan, PlanBuilder, portionOf } from "./plan_builder.ts";
import { Ranker } from "./rank.ts";
import {
  ALLOC_UNKNOWN,
  isActive,
  newDeployment,
  noUpdates,
  promotionText,
  STOP_LOST,
  STOP_NOT_NEEDED,
  STOP_UPDATING,
} from "./reconcile.ts";
import type { ScheduleInput } from "./schedule.ts";
import { tasksUpdated } from "./tasks_updated.ts";

export const STOP_TAINTED = "alloc not needed as node is tainted";

export function scheduleSystem(input: ScheduleInput): Plan {
  const run = new SystemRun(input);
  try {
    return run.run();
  } finally {
    run.end();
  }
}

/** One group on its way over the nodes. */
interface GroupWork {
  group: TaskGroup;
  strategy: UpdateStrategy | null;
  desired: DesiredUpdates;
  /** Nodes without an allocation of the group, by slot; the ended one that was there before. */
  missing: { slot: number; previous: Allocation | null }[];
  destructive: Allocation[];
  inPlace: number;
  hadRunning: boolean;
  filtered: AllocMetric | null;
  placed: number;
}

class SystemRun {
  #job: Job | null;
  #allocs: Allocation[];
  #candidates: Candidates;
  #ranker: Ranker;
  #builder: PlanBuilder;
  #failed: Record<string, AllocMetric> = {};
  #queued: Record<string, number> = {};
  #desired: Record<string, DesiredUpdates> = {};
  #deployment: Deployment | null = null;
  #created: Deployment | null = null;
  #inPlace: { alloc: Allocation; slot: number; granted: NonNullable<ReturnType<Ranker["updateInPlace"]>> }[] =
    [];
  /** Comes when silent devices' allocations have to be given up. */
  #timeout: Evaluation | null = null;
  #placed = 0;
  #more = false;
  /** The first node that had no room: the blocked evaluation names it. */
  #exhausted: string | null = null;

  constructor(private readonly input: ScheduleInput) {
    const { state, evaluation } = input;
    const job = state.job(evaluation.Namespace, evaluation.JobID) ?? null;
    this.#job = job && !job.Stop ? job : null;
    this.#allocs = [...state.allocsByJob(evaluation.Namespace, evaluation.JobID)];
    this.#builder = new PlanBuilder(evaluation);
    this.#candidates = this.#job
      ? candidatesFor(state, this.#job.Datacenters, this.#job.NodePool)
      : { slots: new Int32Array(0), byDatacenter: {} };
    this.#ranker = new Ranker({
      state,
      overlay: input.overlay,
      job: job ?? GONE,
      candidates: this.#candidates,
      algorithm: input.algorithm,
      random: input.random,
      ...(input.stopwatchNs ? { stopwatchNs: input.stopwatchNs } : {}),
    });
    for (const alloc of this.#allocs) if (!isTerminal(alloc)) this.#ranker.addLive(alloc);
  }

  end(): void {
    this.#ranker.journal.rollback();
  }

  run(): Plan {
    this.#settleDeployment();
    const byGroup = Map.groupBy(this.#allocs, (alloc) => alloc.TaskGroup);
    const works: GroupWork[] = [];
    for (const group of this.#job?.TaskGroups ?? []) {
      works.push(this.#sortGroup(group, byGroup.get(group.Name) ?? []));
      byGroup.delete(group.Name);
    }
    for (const [name, allocs] of byGroup) this.#stopGroup(name, allocs);
    this.#maybeCreateDeployment(works);
    let quiet = true;
    for (const work of works) {
      this.#update(work);
      this.#placeMissing(work);
      quiet &&= work.missing.length + work.destructive.length + work.inPlace === 0;
    }
    this.#finishDeployment(works, quiet);
    return this.#finish();
  }

  #finish(): Plan {
    const { state, evaluation, nowNs, random } = this.input;
    const classes = new Map<string, boolean>();
    let escaped = false;
    for (const group of this.#job?.TaskGroups ?? []) {
      if (!this.#failed[group.Name]) continue;
      const found = this.#ranker.eligibility(group);
      escaped ||= found.escaped;
      for (const [name, eligible] of found.classes) {
        classes.set(name, (classes.get(name) ?? false) || eligible);
      }
    }
    return finish(this.#builder, {
      evaluation,
      job: this.#job,
      nowNs,
      random,
      snapshotIndex: state.index,
      failed: this.#failed,
      queued: this.#queued,
      desired: this.#desired,
      deploymentId: this.#deploymentId(),
      more: this.#more,
      classes,
      escaped,
      followups: this.#timeout ? [this.#timeout] : [],
      blocks: this.#exhausted !== null,
      blockedNodeId: this.#exhausted ?? "",
    });
  }

  #deploymentId(): string {
    return this.#created?.ID ?? this.#deployment?.ID ?? "";
  }

  #settleDeployment(): void {
    const { state, evaluation } = this.input;
    const latest = state.latestDeployment(evaluation.Namespace, evaluation.JobID);
    if (!latest || !isActive(latest)) return;
    const job = this.#job;
    if (!job) this.#endDeployment(latest, "cancelled", "Cancelled because job is stopped");
    else if (latest.JobVersion !== job.Version || latest.JobCreateIndex !== job.CreateIndex) {
      this.#endDeployment(latest, "cancelled", "Cancelled due to newer version of job");
    } else this.#deployment = latest;
  }

  #endDeployment(deployment: Deployment, status: "cancelled" | "successful", description: string): void {
    this.#builder.result.deploymentUpdates.push({ id: deployment.ID, status, description });
  }

  #stopGroup(name: string, allocs: Allocation[]): void {
    const desired = this.#desired[name] = noUpdates();
    for (const alloc of allocs) {
      if (isTerminal(alloc)) continue;
      const gone = this.#nodeIsDown(alloc);
      this.#stop(alloc, gone ? STOP_LOST : STOP_NOT_NEEDED, desired, gone);
    }
  }

  #nodeIsDown(alloc: Allocation): boolean {
    const status = this.input.state.node(alloc.NodeID)?.Status;
    return status === undefined || status === "down" || status === "disconnected";
  }

  #stop(alloc: Allocation, description: string, desired: DesiredUpdates, lost = false): void {
    this.#builder.stop({
      id: alloc.ID,
      status: "stop",
      description,
      ...(lost ? { clientStatus: "lost" as const } : {}),
    });
    this.#ranker.release(alloc, true);
    desired.Stop++;
  }

  /** What stands, what is out of date, and which nodes have nothing yet. */
  #sortGroup(group: TaskGroup, allocs: Allocation[]): GroupWork {
    const job = this.#job!;
    const desired = this.#desired[group.Name] = noUpdates();
    const work: GroupWork = {
      group,
      strategy: job.Type === "system" && group.Update && group.Update.MaxParallel > 0 ? group.Update : null,
      desired,
      missing: [],
      destructive: [],
      inPlace: 0,
      hadRunning: allocs.some((alloc) => this.#isPresent(alloc)),
      filtered: null,
      placed: 0,
    };
    this.#queued[group.Name] = 0;
    const held = new Set<number>();
    const ended = new Map<number, Allocation>();
    // What runs comes first: an ended one only stands for its node where nothing does.
    for (const alloc of [...allocs.filter((one) => !isTerminal(one)), ...allocs.filter(isTerminal)]) {
      const slot = this.input.state.nodeTable.slot(alloc.NodeID);
      if (this.#sortAlloc(work, alloc, held.has(slot))) held.add(slot);
      else if (isTerminal(alloc)) rememberNewest(ended, slot, alloc);
    }
    for (const slot of this.#candidates.slots) {
      if (!held.has(slot)) work.missing.push({ slot, previous: ended.get(slot) ?? null });
    }
    return work;
  }

  #isPresent(alloc: Allocation): boolean {
    const job = this.#job!;
    return alloc.Job.Version === job.Version && alloc.Job.CreateIndex === job.CreateIndex;
  }

  /** Decides about one allocation; true when its node needs no other. */
  #sortAlloc(work: GroupWork, alloc: Allocation, isTaken: boolean): boolean {
    const { desired, group } = work;
    const job = this.#job!;
    if (isTerminal(alloc)) return this.#endedHoldsPlace(alloc);
    const { state, nowNs } = this.input;
    switch (fateOf(alloc, { group, nowNs, node: (id) => state.node(id) })) {
      case "lost":
        this.#stop(alloc, STOP_LOST, desired, true);
        return false;
      case "migrate":
        this.#stop(alloc, STOP_TAINTED, desired);
        return false;
      case "disconnecting":
        this.#disconnect(alloc, group, desired);
        return true;
      case "unknown":
        desired.Ignore++;
        return true;
      case "reconnecting":
      case "untainted":
    }
    if (isTaken) {
      this.#stop(alloc, STOP_NOT_NEEDED, desired);
      return false;
    }
    if (alloc.Job.JobModifyIndex === job.JobModifyIndex && alloc.Job.CreateIndex === job.CreateIndex) {
      desired.Ignore++;
      return true;
    }
    return this.#sortOutdated(work, alloc, group);
  }

  /** Its device went silent and may come back: unknown until its time is out. Nobody can stand in for it elsewhere. */
  #disconnect(alloc: Allocation, group: TaskGroup, desired: DesiredUpdates): void {
    const { evaluation, nowNs, random } = this.input;
    desired.Disconnect++;
    const lostAfter = lostAfterNs(group);
    if (lostAfter > 0) {
      this.#timeout ??= newEvaluation({
        ID: random.uuid(),
        Namespace: evaluation.Namespace,
        Priority: evaluation.Priority,
        Type: this.#job!.Type,
        TriggeredBy: "max-disconnect-timeout",
        StatusDescription: "created for delayed disconnect timeout",
        JobID: evaluation.JobID,
        JobModifyIndex: this.#job!.ModifyIndex,
        PreviousEval: evaluation.ID,
        WaitUntil: formatTime(nowNs + lostAfter),
        CreateTime: nowNs,
      });
    }
    this.#builder.result.updates = [...this.#builder.result.updates ?? [], {
      id: alloc.ID,
      clientStatus: "unknown",
      description: ALLOC_UNKNOWN,
      ...(this.#timeout ? { followupEvalId: this.#timeout.ID } : {}),
    }];
  }

  #sortOutdated(work: GroupWork, alloc: Allocation, group: TaskGroup): boolean {
    const { desired } = work;
    const job = this.#job!;
    const slot = this.input.state.nodeTable.slot(alloc.NodeID);
    if (this.input.state.nodeTable.ready[slot] === 0) {
      // An ineligible node keeps what it runs; nothing new is sent there.
      desired.Ignore++;
      return true;
    }
    if (!this.#ranker.accepts(group, slot)) {
      this.#stop(alloc, STOP_NOT_NEEDED, desired);
      return false;
    }
    const replaced = alloc.Job.CreateIndex !== job.CreateIndex || tasksUpdated(alloc.Job, job, group.Name);
    const granted = replaced ? null : this.#ranker.updateInPlace(alloc, group);
    if (!granted) {
      work.destructive.push(alloc);
      return true;
    }
    desired.InPlaceUpdate++;
    work.inPlace++;
    this.#inPlace.push({ alloc, slot, granted });
    return true;
  }

  /**
   * A sysbatch allocation that ended stands for its node until the job changes. A failed system allocation is placed
   * again when something else happens, but not because it failed: it would fail for ever.
   */
  #endedHoldsPlace(alloc: Allocation): boolean {
    if (!this.#isPresent(alloc) || !isClientTerminal(alloc) || isServerTerminal(alloc)) return false;
    if (alloc.ClientStatus === "lost") return false;
    if (this.#job!.Type === "sysbatch") return true;
    const trigger = this.input.evaluation.TriggeredBy;
    return alloc.ClientStatus === "failed" &&
      (trigger === "alloc-failure" || trigger === "deployment-watcher" || trigger === "queued-allocs");
  }

  #maybeCreateDeployment(works: GroupWork[]): void {
    if (this.#deployment) return;
    for (const work of works) {
      const { strategy, group } = work;
      const changes = work.destructive.length + work.inPlace;
      const total = changes + work.missing.filter(({ slot }) => this.#ranker.accepts(group, slot)).length;
      if (!strategy || total === 0 || (work.hadRunning && changes === 0)) continue;
      this.#created ??= newDeployment(this.#job!, this.input);
      this.#created.TaskGroups[group.Name] = newState(strategy, total, work.destructive.length);
    }
    if (!this.#created) return;
    this.#created.StatusDescription = promotionText(this.#created);
    this.#builder.setDeployment(this.#created);
  }

  /** In-place updates now, replacements as many as the update block allows. */
  #update(work: GroupWork): void {
    const { group, desired } = work;
    const deploymentId = this.#deploymentId();
    for (const { alloc, slot, granted } of this.#inPlace) {
      if (alloc.TaskGroup !== group.Name) continue;
      this.#builder.updateInPlace({ id: alloc.ID, slot, job: this.#job!, ...granted, deploymentId });
    }
    const state = (this.#created ?? this.#deployment)?.TaskGroups[group.Name];
    const canarying = state !== undefined && state.DesiredCanaries > 0 && !state.Promoted;
    const budget = this.#budget(work, state, canarying);
    for (const [i, alloc] of work.destructive.entries()) {
      if (i >= budget || this.#isFull()) {
        desired.Ignore++;
        if (canarying) this.#queued[group.Name]!++;
        continue;
      }
      const slot = this.input.state.nodeTable.slot(alloc.NodeID);
      this.#ranker.release(alloc, true);
      if (this.#place(work, slot, alloc, canarying)) {
        if (canarying) desired.Canary++;
        else desired.DestructiveUpdate++;
      } else this.#ranker.retain(alloc);
    }
  }

  #isFull(): boolean {
    if (this.#placed < portionOf(this.#allocs.length, this.input.placementsMax)) return false;
    return this.#more = true;
  }

  #budget(work: GroupWork, state: DeploymentState | undefined, canarying: boolean): number {
    const { strategy, group } = work;
    if (!strategy || !state) return Infinity;
    if (this.#deployment?.Status === "paused") return 0;
    if (canarying) return Math.max(state.DesiredCanaries - (state.PlacedCanaries?.length ?? 0), 0);
    let budget = strategy.MaxParallel;
    for (const alloc of this.#allocs) {
      if (
        alloc.TaskGroup !== group.Name || alloc.DeploymentID !== this.#deploymentId() || isTerminal(alloc)
      ) continue;
      const healthy = alloc.DeploymentStatus?.Healthy ?? null;
      if (healthy === false) return 0;
      if (healthy === null) budget--;
    }
    return Math.max(budget, 0);
  }

  #placeMissing(work: GroupWork): void {
    const { group, desired } = work;
    const held = this.#deployment?.Status === "paused";
    for (const { slot, previous } of work.missing) {
      if (held || this.#isFull()) break;
      this.#queued[group.Name]!++;
      if (this.#place(work, slot, previous, false)) desired.Place++;
    }
    // Nothing but filtered nodes: that is worth telling.
    if (work.filtered && work.placed === 0 && !this.#failed[group.Name] && desired.Ignore === 0) {
      this.#failed[group.Name] = work.filtered;
    }
  }

  #place(work: GroupWork, slot: number, previous: Allocation | null, canary: boolean): boolean {
    const { group } = work;
    const found = this.#ranker.choose(group, {
      index: 0,
      only: slot,
      metrics: this.#builder.wantsMetrics(group.Name),
    });
    if (!found.choice) {
      this.#fail(work, slot, found.failure);
      return false;
    }
    const { choice } = found;
    const live = previous !== null && !isTerminal(previous);
    // What an earlier version of a sysbatch job did on the node is history.
    const isOutdated = previous !== null && this.#job!.Type === "sysbatch" && !isServerTerminal(previous) &&
      !this.#isPresent(previous);
    if (live || isOutdated) {
      this.#builder.stop({ id: previous.ID, status: "stop", description: STOP_UPDATING });
    }
    const id = this.input.random.uuid();
    this.#builder.place({
      id,
      name: allocName(this.#job!.ID, group.Name, 0),
      group: group.Name,
      nodeId: choice.node.ID,
      slot,
      job: this.#job!,
      resources: choice.resources,
      demand: choice.demand,
      metrics: choice.metrics,
      deploymentId: this.#deploymentId(),
      canary,
      previous: previous?.ID ?? "",
      rescheduleTracker: null,
      preempted: choice.preempted.map((alloc) => alloc.ID),
    });
    this.#builder.preempt(choice.preempted, id, this.input);
    work.desired.Preemptions += choice.preempted.length;
    work.placed++;
    this.#placed++;
    if (!live) this.#queued[group.Name]!--;
    return true;
  }

  #fail(work: GroupWork, slot: number, failure: AllocMetric): void {
    const name = work.group.Name;
    if (failure.NodesFiltered > 0) {
      this.#queued[name]!--;
      const told = { ...failure, NodesInPool: 0, NodesAvailable: null };
      work.filtered = work.filtered ? mergeFiltered(work.filtered, told) : told;
      return;
    }
    const known = this.#failed[name];
    if (known) coalesce(known, work.group);
    else {
      this.#failed[name] = { ...failure, NodePool: this.#job!.NodePool };
      this.#exhausted ??= this.input.state.nodeTable.nodes[slot]!.ID;
    }
  }

  #finishDeployment(works: GroupWork[], quiet: boolean): void {
    const current = this.#deployment;
    if (!current || !quiet || current.Status === "paused") return;
    const done = works.every(({ group }) => {
      const state = current.TaskGroups[group.Name];
      return !state || (state.HealthyAllocs >= Math.max(state.DesiredTotal, state.DesiredCanaries) &&
        (state.DesiredCanaries === 0 || state.Promoted));
    });
    if (done) this.#endDeployment(current, "successful", "Deployment completed successfully");
  }
}

/** Canaries of a system job are a percentage of the nodes that get the new version, never more than go at once. */
function newState(strategy: UpdateStrategy, total: number, replaced: number): DeploymentState {
  return {
    AutoRevert: strategy.AutoRevert,
    AutoPromote: strategy.AutoPromote,
    ProgressDeadline: strategy.ProgressDeadline,
    RequireProgressBy: ZERO_TIME,
    Promoted: false,
    PlacedCanaries: null,
    DesiredCanaries: Math.min(
      Math.ceil(replaced * Math.min(strategy.Canary, 100) / 100),
      strategy.MaxParallel,
    ),
    DesiredTotal: total,
    PlacedAllocs: 0,
    HealthyAllocs: 0,
    UnhealthyAllocs: 0,
  };
}

function rememberNewest(ended: Map<number, Allocation>, slot: number, alloc: Allocation): void {
  const known = ended.get(slot);
  if (!known || known.CreateIndex < alloc.CreateIndex) ended.set(slot, alloc);
}

function mergeFiltered(a: AllocMetric, b: AllocMetric): AllocMetric {
  return {
    ...a,
    NodesEvaluated: a.NodesEvaluated + b.NodesEvaluated,
    NodesFiltered: a.NodesFiltered + b.NodesFiltered,
    ClassFiltered: addCounts(a.ClassFiltered, b.ClassFiltered),
    ConstraintFiltered: addCounts(a.ConstraintFiltered, b.ConstraintFiltered),
  };
}

function addCounts(
  a: Record<string, number> | null,
  b: Record<string, number> | null,
): Record<string, number> | null {
  if (!a || !b) return a ?? b;
  const sum = { ...a };
  for (const key in b) sum[key] = (sum[key] ?? 0) + b[key]!;
  return sum;
}

/** Stands in for a purged job: only its stops are planned. */
const GONE = { Type: "system", NodePool: "", TaskGroups: [] } as unknown as Job;
