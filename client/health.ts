// Decides once whether an allocation is healthy for its deployment (or migration): its tasks, and its checks if the
// update block says so, were good without a break for min_healthy_time before healthy_deadline. Holds two timers at
// most and none after the decision. Knows nothing of servers.
import { formatDuration } from "../core/duration.ts";
import type { Clock } from "../core/env.ts";
import type { Job, TaskGroup } from "../core/types.ts";

export interface HealthRules {
  mode: "checks" | "task_states" | "manual";
  minHealthyMs: number;
  deadlineMs: number;
}

/** The rules for an allocation: the update block in a deployment, else the migrate block; null when nobody asks. */
export function healthRules(job: Job, group: TaskGroup, deploymentId: string): HealthRules | null {
  const strategy = deploymentId !== "" ? group.Update : job.Type === "service" ? group.Migrate : null;
  if (!strategy) return null;
  const mode = strategy.HealthCheck === "task_states" || strategy.HealthCheck === "manual"
    ? strategy.HealthCheck
    : "checks";
  return {
    mode,
    minHealthyMs: strategy.MinHealthyTime / 1e6,
    deadlineMs: strategy.HealthyDeadline / 1e6,
  };
}

export type Observation = {
  /** Every task is where it should be. */
  up: boolean;
  failed: boolean;
  /** True when every check passes, or there is none. */
  checksPass: boolean;
  /** Restarts of all tasks together: one more breaks the healthy stretch. */
  restarts: number;
};

/** Why an allocation is not healthy: a task failed, or the deadline came first. */
export type UnhealthyReason = "failed" | "deadline";

/** What a task's history says of it, as the reference does. */
export function unhealthyText(reason: UnhealthyReason, isRunning: boolean, rules: HealthRules): string {
  if (reason === "failed") return "Unhealthy because of failed task";
  const deadline = `by healthy_deadline of ${formatDuration(rules.deadlineMs * 1e6)}`;
  if (!isRunning) return `Task not running ${deadline}`;
  return `Task not running for min_healthy_time of ${formatDuration(rules.minHealthyMs * 1e6)} ${deadline}`;
}

export class HealthTracker {
  #stretch: (() => void) | undefined;
  #deadline: (() => void) | undefined;
  #last: Observation = { up: false, failed: false, checksPass: false, restarts: 0 };
  #done = false;

  constructor(
    private readonly options: {
      rules: HealthRules;
      clock: Clock;
      /** Called once. */
      decide(healthy: boolean, reason: UnhealthyReason): void;
    },
  ) {
    if (options.rules.mode === "manual") return;
    this.#deadline = options.clock.after(options.rules.deadlineMs, () => this.#finish(false, "deadline"));
  }

  observe(now: Observation): void {
    if (this.#done || this.options.rules.mode === "manual") return;
    const before = this.#last;
    this.#last = now;
    if (now.failed) return this.#finish(false, "failed");
    const good = this.#isGood(now);
    if (!good || now.restarts !== before.restarts) {
      this.#stretch?.();
      this.#stretch = undefined;
    }
    if (good && !this.#stretch) {
      this.#stretch = this.options.clock.after(
        this.options.rules.minHealthyMs,
        () => this.#finish(true, "deadline"),
      );
    }
  }

  /** Forgets everything: the allocation ends or its deployment changed. */
  stop(): void {
    this.#done = true;
    this.#stretch?.();
    this.#deadline?.();
  }

  #isGood(now: Observation): boolean {
    return now.up && (this.options.rules.mode === "task_states" || now.checksPass);
  }

  #finish(healthy: boolean, reason: UnhealthyReason): void {
    if (this.#done) return;
    this.stop();
    this.options.decide(healthy, reason);
  }
}
