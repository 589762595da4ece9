// The scheduler of service and batch jobs: reconcile says what has to change, the ranker finds nodes, the plan builder
// writes it down. Synchronous and pure: equal state, evaluation, random numbers and time give an equal plan.
import type { Allocation, AllocMetric, Job, TaskGroup } from "../core/types.ts";
import { isTerminal } from "./alloc_sets.ts";
import { candidatesFor } from "./candidates.ts";
import { finish } from "./finish.ts";
import { coalesce } from "./metrics.ts";
import { indexOfName } from "./name_index.ts";
import { type Plan, PlanBuilder, portionOf, stopsPortionOf } from "./plan_builder.ts";
import { Ranker } from "./rank.ts";
import {
  drawPlacement,
  isActive,
  type PlacementRun,
  type PlacementWish,
  reconcile,
  type ReconcileResult,
  type UpdateKind,
} from "./reconcile.ts";
import { failedNodes, trackerAfter } from "./reschedule.ts";
import type { ScheduleInput } from "./schedule.ts";
import { tasksUpdated } from "./tasks_updated.ts";

export function scheduleGeneric(input: ScheduleInput): Plan {
  const run = new GenericRun(input);
  try {
    return run.run();
  } finally {
    run.end();
  }
}

class GenericRun {
  #job: Job | null;
  #allocs: Allocation[];
  #ranker: Ranker;
  #builder: PlanBuilder;
  #failed: Record<string, AllocMetric> = {};
  /** Groups, each version by itself, of which no more can be placed. */
  #full = new Set<TaskGroup>();
  #queued: Record<string, number> = {};
  #inPlace = new Map<string, { slot: number; granted: NonNullable<ReturnType<Ranker["updateInPlace"]>> }>();
  /** What placements belong to. */
  /** How many placements and updates in place one plan takes. */
  #portion: number;
  #deploymentId = "";
  /** What the evaluation names. */
  #namedDeploymentId = "";

  constructor(private readonly input: ScheduleInput) {
    const { state, evaluation } = input;
    const { Namespace, JobID } = evaluation;
    this.#job = state.job(Namespace, JobID) ?? null;
    this.#allocs = [...state.allocsByJob(Namespace, JobID)];
    this.#builder = new PlanBuilder(evaluation);
    this.#portion = portionOf(this.#allocs.length, input.placementsMax);
    const job = this.#job;
    this.#ranker = new Ranker({
      state,
      overlay: input.overlay,
      job: job ?? GONE,
      candidates: job && !job.Stop ? candidatesFor(state, job.Datacenters, job.NodePool) : NO_CANDIDATES,
      algorithm: input.algorithm,
      random: input.random,
      ...(input.stopwatchNs ? { stopwatchNs: input.stopwatchNs } : {}),
    });
    if (job) { for (const alloc of this.#allocs) if (!isTerminal(alloc)) this.#ranker.addLive(alloc); }
  }

  end(): void {
    this.#ranker.journal.rollback();
  }

  run(): Plan {
    const { state, evaluation, nowNs, random } = this.input;
    const changes = reconcile({
      job: this.#job,
      jobId: evaluation.JobID,
      allocs: this.#allocs,
      deployment: state.latestDeployment(evaluation.Namespace, evaluation.JobID) ?? null,
      evaluation,
      nowNs,
      random,
      node: (id) => state.node(id),
      updateKind: (alloc, group) => this.#updateKind(alloc, group),
    });
    this.#chooseDeployment(changes);
    const more = this.#writeChanges(changes) || this.#placeAll(changes);
    const eligibility = this.#eligibility();
    return finish(this.#builder, {
      evaluation,
      job: this.#job,
      nowNs,
      random,
      snapshotIndex: state.index,
      failed: this.#failed,
      queued: this.#queued,
      desired: changes.desired,
      deploymentId: this.#namedDeploymentId,
      more,
      ...eligibility,
      followups: changes.followups,
      blocks: true,
      blockedNodeId: "",
    });
  }

  /** How a running allocation gets to the present version. What fits in place is taken at once. */
  #updateKind(alloc: Allocation, group: TaskGroup): UpdateKind {
    const job = this.#job!;
    if (alloc.Job.JobModifyIndex === job.JobModifyIndex && alloc.Job.CreateIndex === job.CreateIndex) {
      return "ignore";
    }
    if (alloc.Job.CreateIndex !== job.CreateIndex || tasksUpdated(alloc.Job, job, group.Name)) {
      return "destructive";
    }
    if (isTerminal(alloc) || alloc.ClientStatus === "unknown") return "ignore";
    // What is beyond the portion is tried by the plan that takes it.
    if (this.#inPlace.size >= this.#portion) return "inPlace";
    const granted = this.#ranker.updateInPlace(alloc, group);
    if (!granted) return "destructive";
    this.#inPlace.set(alloc.ID, { slot: this.input.state.nodeTable.slot(alloc.NodeID), granted });
    return "inPlace";
  }

  #chooseDeployment(changes: ReconcileResult): void {
    const { state, evaluation } = this.input;
    const latest = state.latestDeployment(evaluation.Namespace, evaluation.JobID);
    const job = this.#job;
    const isOfJob = latest && job && latest.JobCreateIndex === job.CreateIndex;
    // One that has ended is named too where nothing new begins, as in Nomad: after a stop, for an unchanged job.
    const current = isOfJob && (job.Stop || latest.JobVersion === job.Version) ? latest.ID : "";
    this.#deploymentId = changes.deployment?.ID ?? (latest && isActive(latest) ? current : "");
    this.#namedDeploymentId = this.#deploymentId || current;
    this.#builder.setDeployment(changes.deployment);
    this.#builder.result.deploymentUpdates = changes.deploymentUpdates;
  }

  /** Returns whether the plan is full of them: what is placed then belongs to the next. */
  #writeChanges(changes: ReconcileResult): boolean {
    const more = this.#writeStops(changes);
    if (changes.updates.length > 0) this.#builder.result.updates = changes.updates;
    for (const { alloc } of changes.inPlace) {
      const known = this.#inPlace.get(alloc.ID);
      if (!known) return true;
      this.#builder.updateInPlace({
        id: alloc.ID,
        slot: known.slot,
        job: this.#job!,
        ...known.granted,
        deploymentId: this.#deploymentId,
      });
    }
    return more;
  }

  /** Only stops that nothing is placed for may wait for the next plan: a successor goes with what it succeeds. */
  #writeStops({ stops, stopped, placements, destructive }: ReconcileResult): boolean {
    const portion = stopsPortionOf(this.#allocs.length, this.input.placementsMax);
    const cut = stops.length > portion && placements.length === 0 && destructive.length === 0;
    const count = cut ? portion : stops.length;
    for (let i = 0; i < count; i++) {
      this.#builder.stop(stops[i]!);
      this.#ranker.release(stopped[i]!, !isTerminal(stopped[i]!));
    }
    return cut;
  }

  /** Replacements first, then what is missing. Returns whether the plan was full before the end. */
  #placeAll(changes: ReconcileResult): boolean {
    if (!this.#job) return false;
    for (const group of this.#job.TaskGroups) this.#queued[group.Name] = 0;
    if (this.#job.Stop) return false;
    const parts = [...changes.destructive, ...changes.placements];
    for (const part of parts) this.#queued[part.group.Name]! += countOf(part);
    let placed = 0;
    for (const part of parts) {
      for (let left = countOf(part); left > 0; left--) {
        const failure = this.#failed[part.group.Name];
        if (failure && this.#full.has(groupOf(part))) {
          // The next ones of the same group would find nothing either.
          coalesce(failure, part.group, left);
          break;
        }
        if (placed >= this.#portion) return true;
        if (!this.#place("names" in part ? drawPlacement(part) : part, changes.desired)) continue;
        placed++;
        this.#queued[part.group.Name]!--;
      }
    }
    return false;
  }

  #place(wish: PlacementWish, desired: ReconcileResult["desired"]): boolean {
    const { random, nowNs } = this.input;
    const { group, previous } = wish;
    const job = wish.version ?? this.#job!;
    const placedGroup = groupOf(wish);
    const releases = previous !== null && wish.stopPrevious !== null && !isTerminal(previous);
    if (releases) this.#ranker.release(previous, true);
    const found = this.#ranker.choose(placedGroup, {
      index: indexOfName(wish.name),
      metrics: this.#builder.wantsMetrics(group.Name),
      ...this.#preference(wish),
    });
    if (!found.choice) {
      if (releases) this.#ranker.retain(previous);
      this.#full.add(placedGroup);
      const failure = this.#failed[group.Name];
      if (failure) coalesce(failure, placedGroup);
      else this.#failed[group.Name] = found.failure;
      if (wish.rescheduled && previous) this.#noteNoPlacement(previous);
      return false;
    }
    const { choice } = found;
    if (wish.stopPrevious) this.#builder.stop(wish.stopPrevious);
    const id = random.uuid();
    this.#builder.place({
      id,
      name: wish.name,
      group: group.Name,
      nodeId: choice.node.ID,
      slot: choice.slot,
      job,
      resources: choice.resources,
      demand: choice.demand,
      metrics: choice.metrics,
      deploymentId: wish.version ? previous?.DeploymentID ?? "" : this.#deploymentId,
      canary: wish.canary,
      previous: previous?.ID ?? "",
      rescheduleTracker: previous === null
        ? null
        : wish.rescheduled
        ? trackerAfter(previous, nowNs)
        : previous.RescheduleTracker,
      preempted: choice.preempted.map((alloc) => alloc.ID),
    });
    this.#builder.preempt(choice.preempted, id, { random, nowNs });
    desired[group.Name]!.Preemptions += choice.preempted.length;
    return true;
  }

  #preference({ previous, rescheduled, group }: PlacementWish): {
    preferred?: number;
    penalty?: ReadonlySet<number>;
  } {
    if (!previous) return {};
    const table = this.input.state.nodeTable;
    if (rescheduled) return { penalty: new Set([...failedNodes(previous)].map((id) => table.slot(id))) };
    if (!group.EphemeralDisk.Sticky) return {};
    const slot = table.slot(previous.NodeID);
    return slot >= 0 && table.ready[slot] === 1 ? { preferred: slot } : {};
  }

  /** The failed allocation keeps the news that nobody could take its place. */
  #noteNoPlacement(previous: Allocation): void {
    const tracker = previous.RescheduleTracker;
    if (!tracker || tracker.LastReschedule === "no placement") return;
    this.#builder.result.updates = [...this.#builder.result.updates ?? [], {
      id: previous.ID,
      rescheduleTracker: { ...tracker, LastReschedule: "no placement" },
    }];
  }

  #eligibility(): { classes: Map<string, boolean>; escaped: boolean } {
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
    return { classes, escaped };
  }
}

function countOf(part: PlacementWish | PlacementRun): number {
  return "names" in part ? part.count : 1;
}

/** The group as the wished version has it. */
function groupOf({ version, group }: Pick<PlacementWish, "version" | "group">): TaskGroup {
  return version?.TaskGroups.find((candidate) => candidate.Name === group.Name) ?? group;
}

const NO_CANDIDATES = { slots: new Int32Array(0), byDatacenter: {} };
/** Stands in for a purged job: only its stops are planned. */
const GONE = { Type: "service", NodePool: "", TaskGroups: [] } as unknown as Job;
