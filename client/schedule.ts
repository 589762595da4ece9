// Tasks with a schedule block: each runs only between the start and the end of its cron times, decided by the device
// alone, so that it holds without servers too. Keeps one timer an allocation and tells the tasks; an operator may
// override a task's schedule until he hands it back.
//
// Invariants: a task starts held or free before its turn comes, never late; an override survives the agent's restart
// because it stands in the task's state.
import { Cron } from "croner";
import type { Clock } from "../core/env.ts";
import type { Task, TaskSchedule } from "../core/types.ts";
import type { PauseState } from "./task.ts";
import type { TaskRunner } from "./task_runner.ts";

/** Looked at again at least this often: the device's clock may be set. */
const LOOK_MAX_MS = 10 * 60_000;
const DAY_MS = 24 * 3600_000;
/** Days are 23 to 25 hours long. */
const DAY_SLACK_MS = 2 * 3600_000;

/** What an operator may ask for: hold it, run it, or follow the schedule again. */
export type Override = "pause" | "run" | "scheduled";

export function scheduleOf(task: Task): TaskSchedule["Cron"] | null {
  return task.Schedule?.Cron ?? null;
}

/** Whether the task may run at `nowMs`, and when that changes next; null for never. Milliseconds since 1970. */
export function scheduledAt(
  cron: TaskSchedule["Cron"],
  nowMs: number,
): { runs: boolean; nextMs: number | null } {
  const timezone = cron.Timezone === "" || cron.Timezone === "Local" ? {} : { timezone: cron.Timezone };
  const starts = new Cron(`0 ${cron.Start}`, { ...timezone, paused: true });
  const ends = new Cron(`0 ${cron.End} * * *`, { ...timezone, paused: true });
  const after = (of: Cron, ms: number) => of.nextRun(new Date(ms))?.getTime() ?? null;
  const end = after(ends, nowMs);
  if (end === null) return { runs: false, nextMs: null };
  // A start belongs to the first end after it, and a window never lasts over midnight.
  const lastEnd = after(ends, end - DAY_MS - DAY_SLACK_MS) ?? end;
  const start = after(starts, lastEnd < end ? lastEnd : end - DAY_MS);
  if (start === null) return { runs: false, nextMs: null };
  return start <= nowMs ? { runs: true, nextMs: end } : { runs: false, nextMs: start };
}

export class TaskSchedules {
  #cancel: (() => void) | undefined;

  constructor(private readonly runners: () => Iterable<TaskRunner>, private readonly clock: Clock) {}

  /** Tells every task where it stands, and again when that changes. */
  follow(): void {
    this.stop();
    const nowMs = this.clock.nowMs();
    let nextMs = Infinity;
    for (const runner of this.runners()) {
      const cron = scheduleOf(runner.task);
      if (!cron || runner.isDead) continue;
      const at = scheduledAt(cron, nowMs);
      if (!isOverridden(runner)) runner.input({ t: "pause", state: at.runs ? "" : "scheduled_pause" });
      nextMs = Math.min(nextMs, at.nextMs ?? nowMs + LOOK_MAX_MS);
    }
    if (nextMs === Infinity) return;
    const delayMs = Math.min(Math.max(nextMs - nowMs, 1), LOOK_MAX_MS);
    this.#cancel = this.clock.after(delayMs, () => this.follow());
  }

  override(runner: TaskRunner, wanted: Override): void {
    const state: PauseState = wanted === "run" ? "force_run" : wanted === "pause" ? "force_pause" : "";
    if (state !== "") return runner.input({ t: "pause", state });
    const cron = scheduleOf(runner.task)!;
    const { runs } = scheduledAt(cron, this.clock.nowMs());
    runner.input({ t: "pause", state: runs ? "" : "scheduled_pause" });
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}

function isOverridden(runner: TaskRunner): boolean {
  return runner.machine.api.Paused.startsWith("force_");
}
