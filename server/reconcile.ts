// Compares what a service or batch job wants with what it has, and says what has to change: stops, placements,
// updates in place or by replacement, follow-up evaluations, the deployment. Pure: it chooses no nodes.
//
// Invariants: what it asks for, once done, makes the next comparison ask for nothing; while a deployment is under way
// never more than max_parallel allocations are replaced before their successors are healthy; canaries come on top of
// the count until they are promoted.
import { formatTime } from "../core/time.ts";
import type { Random } from "../core/env.ts";
import {
  type Allocation,
  type Deployment,
  type DeploymentState,
  type DeploymentStatusName,
  type DesiredUpdates,
  type Evaluation,
  type Job,
  type Node,
  type TaskGroup,
  type UpdateStrategy,
  ZERO_TIME,
} from "../core/types.ts";
import {
  type AllocSets,
  isServerTerminal,
  isTerminal,
  lostAfterNs,
  ranSuccessfully,
  replacesWhileUnknown,
  sortByNode,
  unknownSinceNs,
} from "./alloc_sets.ts";
import type { PlannedStop } from "./commands.ts";
import { newEvaluation } from "./evaluations.ts";
import { NameIndex } from "./name_index.ts";
import { pickReconnected } from "./reconnect.ts";
import { judgeReschedule, judgeUnknown } from "./reschedule.ts";

export const STOP_NOT_NEEDED = "alloc not needed due to job update";
export const STOP_UPDATING = "alloc is being updated due to job update";
export const STOP_MIGRATING = "alloc is being migrated";
export const STOP_RECONNECTED = "alloc not needed due to disconnected client reconnect";
export const STOP_LOST = "alloc is lost since its node is down";
/** Nomad 2.0 stops a rescheduled allocation without a word. */
export const STOP_RESCHEDULED = "";
export const ALLOC_UNKNOWN = "alloc is unknown since its node is disconnected";

export const DEPLOYMENT_RUNNING = "Deployment is running";
export const DEPLOYMENT_NEEDS_PROMOTION = "Deployment is running but requires manual promotion";
export const DEPLOYMENT_AUTO_PROMOTION = "Deployment is running pending automatic promotion";

/** Failures whose times are this close share one follow-up evaluation. */
const FOLLOWUP_WINDOW_NS = 5e9;

export type UpdateKind = "ignore" | "inPlace" | "destructive";

export interface ReconcileInput {
  /** Null when it was purged. */
  job: Job | null;
  jobId: string;
  allocs: Iterable<Allocation>;
  /** The job's newest deployment. */
  deployment: Deployment | null;
  evaluation: Evaluation;
  nowNs: number;
  random: Random;
  node(id: string): Node | undefined;
  /** How an allocation of another version gets to the job's version. */
  updateKind(alloc: Allocation, group: TaskGroup): UpdateKind;
}

export interface PlacementWish {
  name: string;
  group: TaskGroup;
  canary: boolean;
  /** The allocation it takes the place of. */
  previous: Allocation | null;
  /** It failed there: avoid that node and carry the history on. */
  rescheduled: boolean;
  /** Stop `previous` when the placement is found. */
  stopPrevious: PlannedStop | null;
  /** Place under the version that ran before (a promotion is pending). */
  version: Job | null;
}

/**
 * Several placements of which only the name differs. Names are drawn as the placements are made: a plan takes a part of a
 * large job, and naming all that is left of it in every part would cost more than placing.
 */
export interface PlacementRun {
  group: TaskGroup;
  version: Job | null;
  count: number;
  names: Iterator<string, undefined>;
}

export interface ReconcileResult {
  placements: (PlacementWish | PlacementRun)[];
  /** Replacements: the old one is stopped only when the new one finds a node. */
  destructive: PlacementWish[];
  inPlace: { alloc: Allocation; group: TaskGroup }[];
  stops: PlannedStop[];
  /** Released capacity: allocations behind `stops`. */
  stopped: Allocation[];
  updates: {
    id: string;
    followupEvalId?: string;
    clientStatus?: Allocation["ClientStatus"];
    description?: string;
  }[];
  followups: Evaluation[];
  deployment: Deployment | null;
  deploymentUpdates: { id: string; status: DeploymentStatusName; description: string }[];
  desired: Record<string, DesiredUpdates>;
}

export function reconcile(input: ReconcileInput): ReconcileResult {
  return new Reconciler(input).run();
}

export function noUpdates(): DesiredUpdates {
  return {
    Ignore: 0,
    Place: 0,
    Migrate: 0,
    Stop: 0,
    InPlaceUpdate: 0,
    DestructiveUpdate: 0,
    Canary: 0,
    Preemptions: 0,
    Disconnect: 0,
    Reconnect: 0,
    RescheduleNow: 0,
    RescheduleLater: 0,
  };
}

/** The update block that rules deployments: services only, and only when something may change at a time. */
function strategyOf(job: Job, group: TaskGroup): UpdateStrategy | null {
  if (job.Type !== "service") return null;
  return group.Update && group.Update.MaxParallel > 0 ? group.Update : null;
}

class Reconciler {
  readonly result: ReconcileResult = {
    placements: [],
    destructive: [],
    inPlace: [],
    stops: [],
    stopped: [],
    updates: [],
    followups: [],
    deployment: null,
    deploymentUpdates: [],
    desired: {},
  };
  /** The deployment of the job's present version, if it has not ended well. */
  #deployment: Deployment | null = null;
  /** The one before, whose unpromoted canaries have to go. */
  #oldDeployment: Deployment | null = null;
  /** When the last allocation of the group that its device stops by itself is over; 0 when there is none. */
  #clientStopAtNs = 0;
  #job: Job | null;

  constructor(readonly input: ReconcileInput) {
    this.#job = input.job && !input.job.Stop ? input.job : null;
  }

  run(): ReconcileResult {
    this.#settleDeployments();
    const byGroup = new Map<string, Allocation[]>();
    for (const alloc of this.input.allocs) {
      const list = byGroup.get(alloc.TaskGroup);
      if (list) list.push(alloc);
      else byGroup.set(alloc.TaskGroup, [alloc]);
    }
    let complete = true;
    for (const group of this.#job?.TaskGroups ?? []) {
      const allocs = byGroup.get(group.Name) ?? [];
      byGroup.delete(group.Name);
      complete = this.#reconcileGroup(group, allocs) && complete;
    }
    for (const [name, allocs] of byGroup) this.#stopGroup(name, allocs);
    this.#finishDeployment(complete);
    return this.result;
  }

  #settleDeployments(): void {
    const latest = this.input.deployment;
    if (!latest) return;
    const active = isActive(latest);
    if (!this.#job) {
      if (active) this.#endDeployment(latest, "cancelled", "Cancelled because job is stopped");
      return;
    }
    const job = this.#job;
    if (latest.JobCreateIndex !== job.CreateIndex || latest.JobVersion !== job.Version) {
      if (active) this.#endDeployment(latest, "cancelled", "Cancelled due to newer version of job");
      this.#oldDeployment = latest;
    } else if (latest.Status === "successful") {
      this.#oldDeployment = latest;
    } else {
      this.#deployment = latest;
    }
  }

  #endDeployment(deployment: Deployment, status: DeploymentStatusName, description: string): void {
    this.result.deploymentUpdates.push({ id: deployment.ID, status, description });
  }

  /** Everything of a group that is not wanted any more. */
  #stopGroup(name: string, allocs: Allocation[]): void {
    const desired = this.result.desired[name] = noUpdates();
    // What was agreed on for a silent device holds for as long as it is silent.
    const group = allocs[0]?.Job.TaskGroups.find((one) => one.Name === name);
    const sets = sortByNode(allocs, { group, nowNs: this.input.nowNs, node: this.input.node });
    for (const alloc of sets.lost) this.#stopLost(alloc, desired);
    for (const set of [sets.untainted, sets.migrate, sets.disconnecting, sets.unknown, sets.reconnecting]) {
      for (const alloc of set) if (!isTerminal(alloc)) this.#stop(alloc, STOP_NOT_NEEDED, desired);
    }
  }

  #stop(alloc: Allocation, description: string, desired: DesiredUpdates): void {
    this.result.stops.push({ id: alloc.ID, status: "stop", description });
    this.result.stopped.push(alloc);
    desired.Stop++;
  }

  #stopLost(alloc: Allocation, desired: DesiredUpdates): void {
    this.result.stops.push({ id: alloc.ID, status: "stop", description: STOP_LOST, clientStatus: "lost" });
    this.result.stopped.push(alloc);
    desired.Stop++;
  }

  /** Returns whether the group asks for nothing more as far as its deployment is concerned. */
  #reconcileGroup(group: TaskGroup, allocs: Allocation[]): boolean {
    const job = this.#job!;
    const strategy = strategyOf(job, group);
    const desired = this.result.desired[group.Name] = noUpdates();
    const known = this.#deployment?.TaskGroups[group.Name];
    const state = known ?? newDeploymentState(strategy);
    const relevant = this.#dropOldTerminal(allocs, desired);
    const { canaries, others } = this.#splitCanaries(group, relevant, desired);
    const sets = sortByNode([...canaries, ...others], {
      group,
      nowNs: this.input.nowNs,
      node: this.input.node,
    });
    this.#reconnect(group, sets, desired);
    const due = this.#disconnect(group, sets, desired);
    const { keep, now, later } = this.#splitFailed(sets.untainted);
    desired.RescheduleNow += now.length;
    desired.RescheduleLater += later.length;
    for (const [id, followupEvalId] of this.#followUp(later)) {
      this.result.updates.push({ id, followupEvalId });
    }
    const live = new Set(canaries.map((alloc) => alloc.ID));
    const work: GroupWork = {
      group,
      strategy,
      state,
      desired,
      canaries: keep.filter((alloc) => live.has(alloc.ID)),
      keep,
      now,
      later: later.length,
      due,
      sets,
      names: new NameIndex(this.input.jobId, group.Name, group.Count, [
        ...keep,
        ...sets.migrate,
        ...now,
        ...sets.lost.filter((alloc) => alloc.NextAllocation === ""),
        // One that was replaced holds no place, so it holds no name either: names would run out and be given twice.
        ...(replacesWhileUnknown(group) ? unreplaced(sets) : sets.unknown),
        ...sets.disconnecting,
      ]),
      canarying: state.DesiredCanaries > 0 && !state.Promoted,
      isNew: known === undefined,
    };
    return this.#settleGroup(work, allocs);
  }

  /** Ended allocations of earlier versions of a batch job have had their say. */
  #dropOldTerminal(allocs: Allocation[], desired: DesiredUpdates): Allocation[] {
    const job = this.#job!;
    if (job.Type !== "batch") return allocs;
    return allocs.filter((alloc) => {
      const old = alloc.Job.Version < job.Version || alloc.Job.CreateIndex < job.CreateIndex;
      if (!old || !isTerminal(alloc)) return true;
      desired.Ignore++;
      return false;
    });
  }

  /** Canaries of failed or overtaken deployments are stopped; those of the present one are told apart. */
  #splitCanaries(group: TaskGroup, allocs: Allocation[], desired: DesiredUpdates): {
    canaries: Allocation[];
    others: Allocation[];
  } {
    const unwanted = new Set<string>();
    const collect = (deployment: Deployment | null) => {
      const state = deployment?.TaskGroups[group.Name];
      if (!state || state.DesiredCanaries === 0 || state.Promoted) return;
      for (const id of state.PlacedCanaries ?? []) unwanted.add(id);
    };
    collect(this.#oldDeployment);
    if (this.#deployment?.Status === "failed") collect(this.#deployment);
    const placed = new Set(this.#deployment?.TaskGroups[group.Name]?.PlacedCanaries ?? []);
    const canaries: Allocation[] = [];
    const others: Allocation[] = [];
    for (const alloc of allocs) {
      if (unwanted.has(alloc.ID)) {
        if (!isTerminal(alloc)) this.#stop(alloc, STOP_NOT_NEEDED, desired);
      } else if (placed.has(alloc.ID)) canaries.push(alloc);
      else others.push(alloc);
    }
    return { canaries, others };
  }

  /** Where the device came back and something else runs in the place, one of the two goes. */
  #reconnect(group: TaskGroup, sets: AllocSets, desired: DesiredUpdates): void {
    for (const returned of sets.reconnecting) {
      const rivals = sets.untainted.filter((alloc) =>
        alloc.Name === returned.Name && alloc.ID !== returned.ID && !isTerminal(alloc)
      );
      const loser = pickReconnected(group, returned, rivals);
      if (loser === null) {
        sets.untainted.push(returned);
        continue;
      }
      desired.Reconnect++;
      if (loser === returned) {
        this.#stop(returned, STOP_NOT_NEEDED, desired);
        continue;
      }
      for (const rival of rivals) this.#stop(rival, STOP_RECONNECTED, desired);
      sets.untainted = sets.untainted.filter((alloc) => !rivals.includes(alloc));
      sets.untainted.push(returned);
    }
  }

  /**
   * Silent devices' allocations become unknown; evaluations come back when a successor is due and when their time is out.
   * Returns those whose successor is due.
   */
  #disconnect(group: TaskGroup, sets: AllocSets, desired: DesiredUpdates): Set<Allocation> {
    const { nowNs } = this.input;
    const due = new Set<Allocation>();
    const later: Later[] = [];
    for (const alloc of replacesWhileUnknown(group) ? [...sets.disconnecting, ...unreplaced(sets)] : []) {
      const isNew = alloc.ClientStatus !== "unknown";
      // The present version has never been tried: nothing to wait for.
      if (this.input.updateKind(alloc, group) === "destructive") {
        due.add(alloc);
        continue;
      }
      const verdict = judgeUnknown(alloc, isNew ? nowNs : unknownSinceNs(alloc), nowNs);
      if (verdict.kind === "now") due.add(alloc);
      // For those that are unknown already it is on its way.
      else if (verdict.kind === "later" && isNew) later.push({ alloc, atNs: verdict.atNs });
    }
    if (sets.disconnecting.length === 0) return due;
    const lostAfter = lostAfterNs(group);
    const timeout = lostAfter > 0
      ? this.#followupEvaluation(nowNs + lostAfter, {
        TriggeredBy: "max-disconnect-timeout",
        StatusDescription: "created for delayed disconnect timeout",
      })
      : null;
    const successors = this.#followUp(later);
    desired.RescheduleLater += later.length;
    for (const alloc of sets.disconnecting) {
      desired.Disconnect++;
      if (!due.has(alloc)) desired.Ignore++;
      const followup = successors.get(alloc.ID) ?? timeout?.ID;
      this.result.updates.push({
        id: alloc.ID,
        clientStatus: "unknown",
        description: ALLOC_UNKNOWN,
        ...(followup ? { followupEvalId: followup } : {}),
      });
    }
    return due;
  }

  /** Which failed or ended allocations are replaced now, later, or never. */
  #splitFailed(untainted: Allocation[]): {
    keep: Allocation[];
    now: Allocation[];
    later: Later[];
  } {
    const keep: Allocation[] = [];
    const now: Allocation[] = [];
    const later: Later[] = [];
    for (const alloc of untainted) {
      if (alloc.ClientStatus === "failed" && alloc.NextAllocation !== "") continue;
      if (this.#isPast(alloc)) continue;
      const asks = !isServerTerminal(alloc) &&
        (alloc.ClientStatus === "failed" || alloc.DesiredTransition.ForceReschedule === true);
      const verdict = asks
        ? judgeReschedule(alloc, {
          nowNs: this.input.nowNs,
          evalId: this.input.evaluation.ID,
          // One that had proven itself is not the deployment's concern any more.
          deploymentActive: this.#deployment !== null && isActive(this.#deployment) &&
            alloc.DeploymentID === this.#deployment.ID && alloc.DeploymentStatus?.Healthy !== true,
        })
        : { kind: "no" as const };
      if (verdict.kind === "now") now.push(alloc);
      else keep.push(alloc);
      if (verdict.kind === "later") later.push({ alloc, atNs: verdict.atNs });
    }
    return { keep, now, later };
  }

  /** Ended in a way that does not hold its place: somebody else may have it. */
  #isPast(alloc: Allocation): boolean {
    if (this.#job!.Type === "batch") {
      // A drain that ended it for good did not free its place.
      if (alloc.DesiredTransition.MigrateDisablePlacement) return false;
      return isServerTerminal(alloc) && !ranSuccessfully(alloc);
    }
    if (isServerTerminal(alloc)) return true;
    return alloc.ClientStatus === "complete" || alloc.ClientStatus === "lost";
  }

  /** Makes evaluations for when the allocations are due; returns which is whose. */
  #followUp(later: Later[]): Map<string, string> {
    const evalOf = new Map<string, string>();
    let batch: Evaluation | null = null;
    let batchNs = 0;
    for (const { alloc, atNs } of later.sort((a, b) => a.atNs - b.atNs)) {
      if (!batch || atNs - batchNs > FOLLOWUP_WINDOW_NS) {
        batchNs = atNs;
        batch = this.#followupEvaluation(atNs, {
          TriggeredBy: "alloc-reschedule",
          StatusDescription: "created for delayed rescheduling",
        });
      }
      evalOf.set(alloc.ID, batch.ID);
    }
    return evalOf;
  }

  #followupEvaluation(
    atNs: number,
    why: Pick<Evaluation, "TriggeredBy" | "StatusDescription">,
  ): Evaluation {
    const { evaluation, nowNs, random } = this.input;
    const followup = newEvaluation({
      ID: random.uuid(),
      Namespace: evaluation.Namespace,
      Priority: evaluation.Priority,
      Type: this.#job!.Type,
      JobID: evaluation.JobID,
      JobModifyIndex: this.#job!.ModifyIndex,
      PreviousEval: evaluation.ID,
      WaitUntil: formatTime(atNs),
      CreateTime: nowNs,
      ...why,
    });
    this.result.followups.push(followup);
    return followup;
  }

  #settleGroup(work: GroupWork, all: Allocation[]): boolean {
    const { desired, state, group } = work;
    this.#stopExcess(work);
    const { ignore, inPlace, destructive } = this.#sortUpdates(work);
    desired.Ignore += ignore.length + work.sets.unknown.length;
    desired.InPlaceUpdate += inPlace.length;
    for (const alloc of inPlace) this.result.inPlace.push({ alloc, group });
    if (work.isNew) state.DesiredTotal += destructive.length + inPlace.length;
    const canariesMissing = this.#placeCanaries(work, destructive);
    let budget = this.#updateBudget(work, destructive.length);
    const { wishes, run } = this.#missing(work);
    const placements = wishes.length + (run?.count ?? 0);
    if (work.isNew) state.DesiredTotal += placements;
    budget = this.#placeMissing(work, wishes, run, budget);
    const replacing = this.#isHeld(work) ? [] : byName(destructive).slice(0, budget);
    desired.DestructiveUpdate += replacing.length;
    desired.Ignore += destructive.length - replacing.length;
    for (const alloc of replacing) this.result.destructive.push(replacement(work, alloc, STOP_UPDATING));
    this.#migrate(work);
    this.#maybeCreateDeployment(work, all, destructive.length + inPlace.length > 0);
    const quiet = destructive.length + inPlace.length + placements + work.sets.migrate.length +
            work.now.length + work.later === 0 && !canariesMissing;
    return quiet && this.#groupIsDone(work);
  }

  /** Paused, failed or waiting for promotion: nothing new is rolled out. */
  #isHeld(work: GroupWork): boolean {
    const status = this.#deployment?.Status;
    return status === "paused" || status === "failed" || status === "pending" || status === "initializing" ||
      work.canarying;
  }

  /** Stops lost allocations' records and whatever is above the count. */
  #stopExcess(work: GroupWork): void {
    const { group, sets, canaries, canarying, names, desired } = work;
    const newest = new Set(canaries.map((alloc) => alloc.ID));
    let candidates = canarying ? work.keep.filter((alloc) => !newest.has(alloc.ID)) : work.keep;
    const held = replacesWhileUnknown(group) ? 0 : sets.unknown.length + sets.disconnecting.length;
    const moving = sets.migrate.filter((alloc) => !canarying || !isCanary(alloc));
    let excess = candidates.length + moving.length + held - group.Count;
    if (excess <= 0) return;
    const gone = new Set<string>();
    const stop = (alloc: Allocation, description = STOP_NOT_NEEDED) => {
      this.#stop(alloc, description, desired);
      gone.add(alloc.ID);
      excess--;
    };
    candidates = candidates.filter((alloc) => !isTerminal(alloc));
    if (!canarying && canaries.length > 0) {
      const replaced = new Set(canaries.map((alloc) => alloc.Name));
      for (const alloc of candidates) {
        if (excess > 0 && !newest.has(alloc.ID) && replaced.has(alloc.Name)) stop(alloc);
      }
    }
    for (const alloc of byName(moving).reverse()) if (excess > 0) stop(alloc);
    const removed = excess > 0 ? names.highest(excess) : new Set<string>();
    for (const alloc of candidates) {
      if (excess > 0 && !gone.has(alloc.ID) && !newest.has(alloc.ID) && removed.has(alloc.Name)) {
        stop(alloc);
      }
    }
    // What is left are names given twice.
    for (const alloc of byName(candidates).reverse()) if (excess > 0 && !gone.has(alloc.ID)) stop(alloc);
    // Ended ones need no stop; they only lose their claim to a successor.
    for (const alloc of byName(work.keep).reverse()) {
      if (excess <= 0 || !isTerminal(alloc)) continue;
      gone.add(alloc.ID);
      desired.Ignore++;
      excess--;
    }
    work.keep = work.keep.filter((alloc) => !gone.has(alloc.ID));
    work.canaries = canaries.filter((alloc) => !gone.has(alloc.ID));
    sets.migrate = sets.migrate.filter((alloc) => !gone.has(alloc.ID));
  }

  #sortUpdates(work: GroupWork): Record<"ignore" | "inPlace" | "destructive", Allocation[]> {
    const sorted = { ignore: [], inPlace: [], destructive: [] } as Record<UpdateKind, Allocation[]>;
    for (const alloc of work.keep) sorted[this.input.updateKind(alloc, work.group)].push(alloc);
    return sorted;
  }

  /** Returns whether canaries are still to come. */
  #placeCanaries(work: GroupWork, destructive: Allocation[]): boolean {
    const { strategy, state, canaries, desired, group, names } = work;
    // Canaries that failed or move are replaced as what they are; those that are lost are placed anew here.
    const standing = canaries.length + [...work.now, ...work.sets.migrate].filter(isCanary).length;
    const wants = destructive.length > 0 || work.canarying;
    if (!strategy || !wants || standing >= strategy.Canary || state.Promoted) return false;
    state.DesiredCanaries = strategy.Canary;
    const held = this.#deployment?.Status === "paused" || this.#deployment?.Status === "failed";
    if (!held) {
      const wanted = strategy.Canary - standing;
      for (const name of names.nextCanaries(wanted, canaries, destructive)) {
        this.result.placements.push({ ...plainPlacement(group, name), canary: true });
        desired.Canary++;
      }
    }
    work.canarying = true;
    return true;
  }

  /** How many allocations may be taken down now. */
  #updateBudget(work: GroupWork, destructive: number): number {
    const { strategy, group, keep } = work;
    if (!strategy || destructive === 0) return group.Count;
    if (this.#isHeld(work)) return 0;
    let budget = strategy.MaxParallel;
    for (const alloc of keep) {
      if (!this.#deployment || alloc.DeploymentID !== this.#deployment.ID) continue;
      const healthy = alloc.DeploymentStatus?.Healthy ?? null;
      if (healthy === false) return 0;
      if (healthy === null) budget--;
    }
    return Math.max(budget, 0);
  }

  /** Placements that bring the group back to its count: those that take another's place, and the rest. */
  #missing(work: GroupWork): { wishes: PlacementWish[]; run: PlacementRun | null } {
    const { group, keep, sets, names, canarying } = work;
    const now = this.#worthReplacing(work);
    this.#clientStopAtNs = 0;
    const version = canarying ? stableVersion([...keep, ...now], sets, this.#job!) : null;
    // While canaries are tried, what breaks of the old version comes back as the old version.
    const versionOf = (alloc: Allocation) =>
      canarying && alloc.Job.Version < this.#job!.Version ? alloc.Job : null;
    const wishes = now.map((alloc): PlacementWish => ({
      ...replacement(work, alloc, STOP_RESCHEDULED),
      rescheduled: true,
      canary: isCanary(alloc) && canarying,
      version: versionOf(alloc),
    }));
    // Canaries come on top of the count.
    const counts = (alloc: Allocation) => !canarying || !isCanary(alloc);
    let existing = [...keep, ...sets.migrate, ...now].filter(counts).length;
    if (replacesWhileUnknown(group)) {
      for (const alloc of [...sets.disconnecting, ...unreplaced(sets)]) {
        if (canarying && isCanary(alloc)) continue;
        if (existing >= group.Count) break;
        existing++;
        // Not yet, or never before it is lost: it holds its place.
        if (!work.due.has(alloc)) continue;
        const wish = { ...replacement(work, alloc, ""), stopPrevious: null, version: versionOf(alloc) };
        wishes.push({ ...wish, rescheduled: true });
      }
    } else existing += sets.disconnecting.length + sets.unknown.length;
    for (const alloc of sets.lost) {
      // Its successor came while it was unknown, and stands for itself.
      if (alloc.NextAllocation !== "") continue;
      if (canarying && isCanary(alloc)) continue;
      if (existing >= group.Count) break;
      existing++;
      if (this.#waitsForClientStop(group, alloc)) continue;
      wishes.push({ ...replacement(work, alloc, ""), stopPrevious: null, version: versionOf(alloc) });
    }
    if (this.#clientStopAtNs > 0) {
      this.#followupEvaluation(this.#clientStopAtNs, {
        TriggeredBy: "alloc-failure",
        StatusDescription: "created for delayed rescheduling",
      });
    }
    if (existing >= group.Count) return { wishes, run: null };
    const count = group.Count - existing;
    return { wishes, run: { group, version, count, names: names.next(count) } };
  }

  /** The device stops it by itself after a while: until then a successor could run beside it. */
  #waitsForClientStop(group: TaskGroup, alloc: Allocation): boolean {
    const afterNs = group.Disconnect?.StopOnClientAfter ?? group.StopAfterClientDisconnect ?? 0;
    if (afterNs <= 0 || alloc.ClientStatus === "pending") return false;
    const { StatusUpdatedAt } = this.input.node(alloc.NodeID) ?? { StatusUpdatedAt: 0 };
    const atNs = StatusUpdatedAt * 1e9 + afterNs;
    if (atNs <= this.input.nowNs) return false;
    this.#clientStopAtNs = Math.max(this.#clientStopAtNs, atNs);
    return true;
  }

  /** Failed ones whose place is still wanted; the count may have shrunk since they failed. */
  #worthReplacing(work: GroupWork): Allocation[] {
    const { group, keep, now, sets, canarying } = work;
    const standing = [...keep, ...sets.migrate].filter((alloc) => !canarying || !isCanary(alloc)).length;
    let room = Math.max(group.Count - standing, 0);
    const wanted: Allocation[] = [];
    for (const alloc of byName(now)) {
      const extra = canarying && isCanary(alloc);
      if (extra || room-- > 0) wanted.push(alloc);
      else this.#stop(alloc, STOP_NOT_NEEDED, work.desired);
    }
    return work.now = wanted;
  }

  /** Returns what is left of the update budget. */
  #placeMissing(work: GroupWork, wishes: PlacementWish[], run: PlacementRun | null, budget: number): number {
    const { desired, sets, now } = work;
    for (const alloc of sets.lost) this.#stopLost(alloc, desired);
    if (!this.#isHeld(work)) {
      const count = wishes.length + (run?.count ?? 0);
      desired.Place += count;
      for (const wish of wishes) this.result.placements.push(wish);
      if (run) this.result.placements.push(run);
      return budget - Math.min(count, budget);
    }
    // While the roll-out stands still, only what broke is mended.
    const failed = this.#deployment?.Status === "failed";
    const rescheduling = new Set(now.map((alloc) => alloc.ID));
    for (const wish of wishes) {
      const mends = wish.previous !== null &&
        (!rescheduling.has(wish.previous.ID) ||
          !(failed && wish.previous.DeploymentID === this.#deployment?.ID));
      if (!mends) continue;
      desired.Place++;
      this.result.placements.push(wish);
    }
    return budget;
  }

  #migrate(work: GroupWork): void {
    for (const alloc of byName(work.sets.migrate)) {
      work.desired.Migrate++;
      // It leaves its node whether or not another one has room.
      this.result.stops.push({ id: alloc.ID, status: "stop", description: STOP_MIGRATING });
      this.result.stopped.push(alloc);
      if (alloc.DesiredTransition.MigrateDisablePlacement) continue;
      this.result.placements.push({
        ...replacement(work, alloc, STOP_MIGRATING),
        stopPrevious: null,
        canary: isCanary(alloc) && work.canarying,
        version: work.canarying && !isCanary(alloc) ? alloc.Job : null,
      });
    }
  }

  #maybeCreateDeployment(work: GroupWork, all: Allocation[], updating: boolean): void {
    const { strategy, state, group } = work;
    const job = this.#job!;
    if (!strategy || this.#deployment || state.DesiredTotal === 0) return;
    const hadRunning = all.some((alloc) =>
      alloc.Job.Version === job.Version && alloc.Job.CreateIndex === job.CreateIndex
    );
    if (hadRunning && !updating) return;
    this.result.deployment ??= newDeployment(job, this.input);
    this.result.deployment.TaskGroups[group.Name] = state;
  }

  #groupIsDone(work: GroupWork): boolean {
    const state = this.#deployment?.TaskGroups[work.group.Name];
    if (!state) return true;
    if (state.HealthyAllocs < Math.max(state.DesiredTotal, state.DesiredCanaries)) return false;
    return state.DesiredCanaries === 0 || state.Promoted;
  }

  #finishDeployment(complete: boolean): void {
    const created = this.result.deployment;
    if (created) created.StatusDescription = promotionText(created);
    const current = this.#deployment;
    if (complete && current && isActive(current) && current.Status !== "paused") {
      this.#endDeployment(current, "successful", "Deployment completed successfully");
    }
  }
}

/** One group under way through the comparison. */
interface GroupWork {
  group: TaskGroup;
  strategy: UpdateStrategy | null;
  state: DeploymentState;
  desired: DesiredUpdates;
  canaries: Allocation[];
  /** Hold their place in the count; canaries among them. */
  keep: Allocation[];
  /** Failed, to be replaced in this plan. */
  now: Allocation[];
  later: number;
  /** Unknown, to be stood in for in this plan. */
  due: ReadonlySet<Allocation>;
  sets: AllocSets;
  names: NameIndex;
  /** Canaries stand beside the old version until they are promoted. */
  canarying: boolean;
  isNew: boolean;
}

/** To be replaced at a later time. */
interface Later {
  alloc: Allocation;
  atNs: number;
}

/** Unknown allocations nobody stands in for yet. */
function unreplaced(sets: AllocSets): Allocation[] {
  return sets.unknown.filter((alloc) => alloc.NextAllocation === "");
}

/** Placed as a canary, and not promoted yet. */
function isCanary(alloc: Allocation): boolean {
  return alloc.DeploymentStatus?.Canary === true;
}

/** The next of a run. */
export function drawPlacement({ group, version, names }: PlacementRun): PlacementWish {
  return { ...plainPlacement(group, names.next().value!), version };
}

function plainPlacement(group: TaskGroup, name: string): PlacementWish {
  return {
    name,
    group,
    canary: false,
    previous: null,
    rescheduled: false,
    stopPrevious: null,
    version: null,
  };
}

function replacement(work: GroupWork, alloc: Allocation, description: string): PlacementWish {
  return {
    ...plainPlacement(work.group, alloc.Name),
    previous: alloc,
    stopPrevious: { id: alloc.ID, status: "stop", description },
  };
}

/** The newest version other than the one being tried that the group still runs. */
function stableVersion(keep: readonly Allocation[], sets: AllocSets, job: Job): Job | null {
  let best: Job | null = null;
  for (const alloc of [...keep, ...sets.lost, ...sets.migrate]) {
    if (alloc.Job.Version >= job.Version) continue;
    if (!best || alloc.Job.Version > best.Version) best = alloc.Job;
  }
  return best;
}

function byName(allocs: readonly Allocation[]): Allocation[] {
  const index = (alloc: Allocation) => Number(alloc.Name.slice(alloc.Name.lastIndexOf("[") + 1, -1));
  return [...allocs].sort((a, b) => index(a) - index(b));
}

function newDeploymentState(strategy: UpdateStrategy | null): DeploymentState {
  return {
    AutoRevert: strategy?.AutoRevert ?? false,
    AutoPromote: strategy?.AutoPromote ?? false,
    ProgressDeadline: strategy?.ProgressDeadline ?? 0,
    RequireProgressBy: ZERO_TIME,
    Promoted: false,
    PlacedCanaries: null,
    DesiredCanaries: 0,
    DesiredTotal: 0,
    PlacedAllocs: 0,
    HealthyAllocs: 0,
    UnhealthyAllocs: 0,
  };
}

export function newDeployment(
  job: Job,
  input: Pick<ReconcileInput, "evaluation" | "nowNs" | "random">,
): Deployment {
  return {
    ID: input.random.uuid(),
    Namespace: job.Namespace,
    JobID: job.ID,
    JobVersion: job.Version,
    JobModifyIndex: job.ModifyIndex,
    JobSpecModifyIndex: job.JobModifyIndex,
    JobCreateIndex: job.CreateIndex,
    IsMultiregion: false,
    TaskGroups: {},
    Status: "running",
    StatusDescription: DEPLOYMENT_RUNNING,
    EvalPriority: input.evaluation.Priority,
    CreateIndex: 0,
    ModifyIndex: 0,
    CreateTime: input.nowNs,
    ModifyTime: input.nowNs,
  };
}

/** What a running deployment says of itself. */
export function promotionText(deployment: Deployment): string {
  const waiting = Object.values(deployment.TaskGroups).filter((state) =>
    state.DesiredCanaries > 0 && !state.Promoted
  );
  if (waiting.length === 0) return DEPLOYMENT_RUNNING;
  return waiting.every((state) => state.AutoPromote) ? DEPLOYMENT_AUTO_PROMOTION : DEPLOYMENT_NEEDS_PROMOTION;
}

export function isActive(deployment: Deployment): boolean {
  const { Status: status } = deployment;
  return status !== "failed" && status !== "successful" && status !== "cancelled";
}
