// Watches roll-outs on the leader: asks for the next step when allocations turn healthy, lets failed ones be
// rescheduled, promotes canaries that may promote themselves, fails deployments that make no progress in time and
// rolls back. Works from the changes of each command, never by walking over a deployment's allocations.
//
// Invariant: whatever it does is a command; being asked twice does no harm.
import { errorText, NotLeaderError } from "../core/errors.ts";
import { parseTime } from "../core/time.ts";
import type {
  Allocation,
  Deployment,
  DeploymentState,
  DesiredTransition,
  Evaluation,
} from "../core/types.ts";
import type { Command } from "./commands.ts";
import { jobEvaluation } from "./evaluations.ts";
import { isActive } from "./reconcile.ts";
import { mayBeReplaced, policyOf } from "./reschedule.ts";
import { FAILED_BY_ALLOCATIONS, FAILED_BY_DEADLINE, failureOf } from "./rollback.ts";
import type { LeaderContext } from "./scheduling.ts";
import type { Changes } from "./state_reader.ts";

const TRIGGER = "deployment-watcher";
/** After a step was asked for, further good news of the same deployment is gathered this long. */
const STEP_INTERVAL_MS = 250;
/** Looking at a large job costs more, so it is looked at less often. */
const STEP_INTERVAL_MS_PER_ALLOC = 0.01;
/** A deployment that could not be failed is tried again. */
const RETRY_MS = 2000;

interface Watched {
  cancelDeadline: (() => void) | null;
  deadlineMs: number;
  /** When the last step was asked for (monotonic). */
  askedAtMs: number;
  stepPlanned: boolean;
  promoting: boolean;
  failing: boolean;
}

export class DeploymentWatcher {
  #watched = new Map<string, Watched>();
  /** Counters for which a step was asked: without news there is nothing to ask for. */
  #stepped = new Map<string, string>();
  #running = false;

  constructor(private readonly context: LeaderContext) {}

  start(): void {
    this.#running = true;
    for (const deployment of this.context.state.deployments()) {
      if (!isActive(deployment)) continue;
      this.#watch(deployment);
      const unhealthy = [...this.context.state.allocsByDeployment(deployment.ID)].filter(isUnhealthy);
      this.#onUnhealthy(unhealthy);
      this.#maybeStep(deployment);
      this.#maybePromote(deployment);
    }
  }

  stop(): void {
    this.#running = false;
    for (const watched of this.#watched.values()) watched.cancelDeadline?.();
    this.#watched.clear();
  }

  onChanges(changes: Changes): void {
    if (!this.#running) return;
    for (const id of changes.removedDeployments) this.#unwatch(id);
    for (const deployment of changes.deployments) {
      if (isActive(deployment)) this.#watch(deployment);
      else this.#unwatch(deployment.ID);
    }
    const unhealthy = [...changes.clientAllocs, ...changes.allocs].filter(isUnhealthy);
    if (unhealthy.length > 0) this.#onUnhealthy(unhealthy);
    for (const deployment of changes.deployments) {
      if (!isActive(deployment)) continue;
      this.#maybeStep(deployment);
      this.#maybePromote(deployment);
    }
  }

  #watch(deployment: Deployment): void {
    let watched = this.#watched.get(deployment.ID);
    if (!watched) {
      watched = {
        cancelDeadline: null,
        deadlineMs: 0,
        askedAtMs: -Infinity,
        stepPlanned: false,
        promoting: false,
        failing: false,
      };
      this.#watched.set(deployment.ID, watched);
    }
    const deadlineMs = nextDeadlineMs(deployment);
    if (deadlineMs === watched.deadlineMs) return;
    watched.cancelDeadline?.();
    watched.cancelDeadline = null;
    watched.deadlineMs = deadlineMs;
    if (deadlineMs > 0) this.#armDeadline(deployment.ID, watched);
  }

  #armDeadline(id: string, watched: Watched): void {
    const { clock } = this.context;
    const delayMs = Math.min(Math.max(watched.deadlineMs - clock.nowMs(), 0), 0x7fffffff);
    watched.cancelDeadline = clock.after(delayMs, () => this.#onDeadline(id));
  }

  #unwatch(id: string): void {
    this.#watched.get(id)?.cancelDeadline?.();
    this.#watched.delete(id);
    this.#stepped.delete(id);
  }

  #onDeadline(id: string): void {
    const watched = this.#watched.get(id);
    const deployment = this.context.state.deployment(id);
    if (!watched || !deployment || !isActive(deployment)) return;
    if (watched.deadlineMs > this.context.clock.nowMs()) return this.#armDeadline(id, watched);
    this.#fail(deployment, FAILED_BY_DEADLINE);
  }

  #fail(deployment: Deployment, reason: string): void {
    const watched = this.#watched.get(deployment.ID);
    if (!watched || watched.failing) return;
    watched.failing = true;
    const { description, job } = failureOf(this.context.state, deployment, reason);
    this.#write({
      kind: "deployment.status",
      time: this.context.nowNs(),
      id: deployment.ID,
      status: "failed",
      description,
      evals: this.#evaluation(deployment),
      ...(job ? { job } : {}),
    }, () => {
      watched.failing = false;
      watched.cancelDeadline = this.context.clock.after(RETRY_MS, () => this.#onDeadline(deployment.ID));
    });
  }

  #evaluation(deployment: Deployment): Evaluation[] {
    const { state, random } = this.context;
    const job = state.job(deployment.Namespace, deployment.JobID);
    if (!job) return [];
    return [
      jobEvaluation(job, TRIGGER, { random, nowNs: this.context.nowNs() }, {
        DeploymentID: deployment.ID,
        Priority: deployment.EvalPriority || job.Priority,
      }),
    ];
  }

  /**
   * Failed ones may be replaced; without a deadline the first failure ends the deployment, and so does one that the
   * reschedule policy lets nobody replace. System jobs have no such policy: their first failure is final.
   */
  #onUnhealthy(allocs: readonly Allocation[]): void {
    const transitions: Record<string, Partial<DesiredTransition>> = {};
    const deployments = new Map<string, Deployment>();
    for (const alloc of allocs) {
      const deployment = this.context.state.deployment(alloc.DeploymentID);
      if (!deployment || !isActive(deployment)) continue;
      const isFinal = alloc.Job.Type === "system" ||
        policyOf(alloc) !== null && !mayBeReplaced(alloc, this.context.nowNs());
      if (isFinal || deployment.TaskGroups[alloc.TaskGroup]?.ProgressDeadline === 0) {
        this.#fail(deployment, FAILED_BY_ALLOCATIONS);
      } else if (!alloc.DesiredTransition.Reschedule) {
        transitions[alloc.ID] = { Reschedule: true };
        deployments.set(deployment.ID, deployment);
      }
    }
    if (deployments.size === 0) return;
    const evals = [...deployments.values()].flatMap((deployment) => this.#evaluation(deployment));
    this.#write({ kind: "alloc.transition", time: this.context.nowNs(), transitions, evals });
  }

  /** Good news: the scheduler goes on with the roll-out, or declares it done. */
  #maybeStep(deployment: Deployment): void {
    const watched = this.#watched.get(deployment.ID);
    if (!watched || watched.stepPlanned || deployment.Status === "paused" || !wantsStep(deployment)) return;
    watched.stepPlanned = true;
    const { clock } = this.context;
    const delayMs = Math.max(watched.askedAtMs + stepIntervalMs(deployment) - clock.monotonicMs(), 0);
    clock.after(delayMs, () => this.#step(deployment.ID, watched));
  }

  #step(id: string, watched: Watched): void {
    watched.stepPlanned = false;
    const deployment = this.context.state.deployment(id);
    if (!this.#running || !deployment || !isActive(deployment) || !wantsStep(deployment)) return;
    const signature = stepSignature(deployment);
    if (this.#stepped.get(id) === signature) return;
    this.#stepped.set(id, signature);
    watched.askedAtMs = this.context.clock.monotonicMs();
    const evals = this.#evaluation(deployment);
    this.#write({ kind: "eval.upsert", time: this.context.nowNs(), evals }, () => this.#stepped.delete(id));
  }

  #maybePromote(deployment: Deployment): void {
    const watched = this.#watched.get(deployment.ID);
    if (!watched || watched.promoting || !this.#mayPromoteItself(deployment)) return;
    watched.promoting = true;
    this.#write({
      kind: "deployment.promote",
      time: this.context.nowNs(),
      id: deployment.ID,
      groups: null,
      evals: this.#evaluation(deployment),
    }, () => watched.promoting = false);
  }

  #mayPromoteItself(deployment: Deployment): boolean {
    const waiting = Object.values(deployment.TaskGroups).filter((state) =>
      state.DesiredCanaries > 0 && !state.Promoted
    );
    return deployment.Status === "running" && waiting.length > 0 &&
      waiting.every((state) => state.AutoPromote && this.#healthyCanaries(state) >= state.DesiredCanaries);
  }

  #healthyCanaries(state: DeploymentState): number {
    return (state.PlacedCanaries ?? []).filter((id) => {
      const alloc = this.context.state.alloc(id);
      return alloc?.DesiredStatus === "run" && alloc.DeploymentStatus?.Healthy === true;
    }).length;
  }

  #write(command: Command, onFailure: () => void = () => undefined): void {
    this.context.propose(command).catch((error) => {
      onFailure();
      if (error instanceof NotLeaderError) return;
      this.context.logger.warn(`Cannot write a deployment's progress: ${errorText(error)}`);
    });
  }
}

function isUnhealthy(alloc: Allocation): boolean {
  return alloc.DeploymentID !== "" && alloc.DeploymentStatus?.Healthy === false;
}

function stepIntervalMs(deployment: Deployment): number {
  const total = Object.values(deployment.TaskGroups).reduce((sum, state) => sum + state.DesiredTotal, 0);
  return Math.max(STEP_INTERVAL_MS, total * STEP_INTERVAL_MS_PER_ALLOC);
}

/**
 * Whether a healthier deployment gives the scheduler something to do: there is an older version to replace, or something
 * is still to be placed, or it is done. A first version that is all placed only waits.
 */
function wantsStep(deployment: Deployment): boolean {
  const states = Object.values(deployment.TaskGroups);
  if (states.length === 0 || states.every((state) => state.HealthyAllocs === 0)) return false;
  const done = states.every((state) =>
    state.HealthyAllocs >= Math.max(state.DesiredTotal, state.DesiredCanaries)
  );
  return done || deployment.JobVersion > 0 ||
    states.some((state) => state.PlacedAllocs < state.DesiredTotal && state.HealthyAllocs > 0);
}

function stepSignature(deployment: Deployment): string {
  return Object.values(deployment.TaskGroups).map((state) =>
    `${state.HealthyAllocs}/${state.PlacedAllocs}/${state.Promoted}`
  ).join(" ");
}

/** The earliest time by which some group must have moved on, milliseconds since 1970; 0 for never. */
function nextDeadlineMs(deployment: Deployment): number {
  if (deployment.Status === "paused") return 0;
  let earliest = 0;
  for (const state of Object.values(deployment.TaskGroups)) {
    if (state.ProgressDeadline === 0 || !isBehind(state)) continue;
    const ns = parseTime(state.RequireProgressBy) ?? 0;
    if (ns <= 0) continue;
    const ms = Math.ceil(ns / 1e6);
    if (earliest === 0 || ms < earliest) earliest = ms;
  }
  return earliest;
}

/** Canaries that are all healthy may wait for their promotion as long as they like. */
function isBehind(state: DeploymentState): boolean {
  if (state.DesiredCanaries > 0 && !state.Promoted) return state.HealthyAllocs < state.DesiredCanaries;
  return state.HealthyAllocs < state.DesiredTotal;
}
