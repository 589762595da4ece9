// Launches periodic jobs on the leader: a timer a job, a child job a launch, named after the second it was due.
//
// Invariant: a launch happens once whatever leaders come and go: the child's name is its time, registering it demands
// that it does not exist, and the time is noted in the log. A launch missed between leaders is made up for once.
import { ApiError, errorText, NotLeaderError } from "../core/errors.ts";
import type { Job } from "../core/types.ts";
import { nextLaunchMs } from "./cron_schedule.ts";
import { jobEvaluation } from "./evaluations.ts";
import { childOf } from "./job_children.ts";
import type { LeaderContext } from "./scheduling.ts";
import type { Changes } from "./state_reader.ts";
import { isParameterized } from "./state_status.ts";

const RETRY_MS = 5_000;
/** Timers cannot be longer; a later launch is planned again on the way. */
const TIMER_MAX_MS = 0x7fffffff;

interface Tracked {
  job: Job;
  dueMs: number;
  cancel: () => void;
}

export class Periodic {
  #tracked = new Map<string, Tracked>();
  #running = false;

  constructor(private readonly context: LeaderContext) {}

  start(): void {
    this.#running = true;
    const { state } = this.context;
    for (const job of state.jobs()) {
      if (!isTracked(job)) continue;
      const last = state.periodicLaunchMs(job.Namespace, job.ID) ?? Math.floor(job.SubmitTime / 1e6);
      this.#plan(job, last);
    }
  }

  stop(): void {
    this.#running = false;
    for (const tracked of this.#tracked.values()) tracked.cancel();
    this.#tracked.clear();
  }

  onChanges(changes: Changes): void {
    if (!this.#running) return;
    for (const job of changes.removedJobs) this.#forget(job);
    for (const job of changes.jobs) {
      if (!isTracked(job)) this.#forget(job);
      else if (this.#tracked.get(keyOf(job))?.job.JobModifyIndex !== job.JobModifyIndex) {
        this.#plan(job, this.context.clock.nowMs());
      }
    }
  }

  #forget(job: Job): void {
    this.#tracked.get(keyOf(job))?.cancel();
    this.#tracked.delete(keyOf(job));
  }

  #plan(job: Job, afterMs: number): void {
    this.#forget(job);
    let dueMs: number | null;
    try {
      dueMs = nextLaunchMs(job.Periodic!, afterMs);
    } catch (error) {
      this.context.logger.error(`Periodic job ${job.ID} cannot be launched: ${errorText(error)}`);
      return;
    }
    if (dueMs === null) return;
    const tracked: Tracked = { job, dueMs, cancel: () => undefined };
    this.#tracked.set(keyOf(job), tracked);
    this.#arm(tracked);
  }

  #arm(tracked: Tracked): void {
    const { clock } = this.context;
    const waitMs = Math.min(Math.max(tracked.dueMs - clock.nowMs(), 0), TIMER_MAX_MS);
    tracked.cancel = clock.after(waitMs, () => {
      if (tracked.dueMs > clock.nowMs()) this.#arm(tracked);
      else void this.#launch(tracked);
    });
  }

  async #launch(tracked: Tracked): Promise<void> {
    const { clock, logger, state } = this.context;
    const { job, dueMs } = tracked;
    let coveredMs = dueMs;
    try {
      if (job.Periodic!.ProhibitOverlap && this.#isRunning(job)) {
        logger.info("periodic launch was left out, the job prohibits overlap", { job: job.ID });
      } else coveredMs = await this.#register(job, dueMs);
    } catch (error) {
      if (error instanceof NotLeaderError) return;
      logger.warn(`Cannot launch periodic job ${job.ID}, trying again: ${errorText(error)}`);
      tracked.cancel = clock.after(RETRY_MS, () => void this.#launch(tracked));
      return;
    }
    if (!this.#running || this.#tracked.get(keyOf(job)) !== tracked) return;
    const current = state.job(job.Namespace, job.ID);
    if (current && isTracked(current)) this.#plan(current, coveredMs);
  }

  /** Makes one launch; returns until when launches are made up for by it: a late one stands for all that were missed. */
  async #register(job: Job, launchMs: number): Promise<number> {
    const { random, state } = this.context;
    const nowNs = this.context.nowNs();
    const child = { ...periodicChild(job, launchMs), SubmitTime: nowNs };
    if (!state.job(child.Namespace, child.ID)) {
      await this.context.propose({
        kind: "job.register",
        time: nowNs,
        job: child,
        submission: null,
        evals: [jobEvaluation(child, "periodic-job", { random, nowNs })],
        enforceIndex: 0,
      }).catch((error) => {
        // Refused because it exists: another leader was faster, which is as good.
        if (!(error instanceof ApiError) || !state.job(child.Namespace, child.ID)) throw error;
      });
    }
    const launched = state.job(child.Namespace, child.ID) ?? child;
    const coveredMs = Math.max(launchMs, Math.floor(launched.SubmitTime / 1e6));
    await this.context.propose({
      kind: "job.periodicLaunch",
      time: nowNs,
      namespace: job.Namespace,
      id: job.ID,
      launchMs: coveredMs,
    });
    return coveredMs;
  }

  #isRunning(job: Job): boolean {
    for (const child of this.context.state.jobChildren(job.Namespace, job.ID)) {
      if (child.Status !== "dead") return true;
    }
    return false;
  }
}

/** The job that runs for one launch. */
export function periodicChild(parent: Job, launchMs: number): Job {
  return { ...childOf(parent, `${parent.ID}/periodic-${Math.floor(launchMs / 1000)}`), Periodic: null };
}

/** Whether the job is launched: what is parameterized waits to be dispatched, and then its instances are launched. */
export function isTracked(job: Job): boolean {
  return job.Periodic !== null && job.Periodic.Enabled && !job.Stop && !isParameterized(job);
}

function keyOf(job: Job): string {
  return `${job.Namespace}\0${job.ID}`;
}
