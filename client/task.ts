// The life of one task as a pure step function: `step(state, input, now) → { state, effects }`. It decides restarts,
// kills and history and does nothing itself; task_runner.ts carries the effects out and feeds back what happened.
// No clock, random, driver or disk in here.
//
// Invariants: at most one of prepare, start, stop and timer is under way; a dead task stays dead unless `revive`;
// every exit of a started task leads to exactly one of dead, backoff; `api` is what the servers see and changes only
// together with an event of the history.
import { assertNever } from "../core/assert.ts";
import { formatDuration } from "../core/duration.ts";
import type { RestartPolicy, TaskEvent, TaskState } from "../core/types.ts";
import type { ExitResult } from "../drivers/driver.ts";
import * as events from "./task_events.ts";
import type { Draft } from "./task_events.ts";

/**
 * waiting: for its turn in the group · preparing: directory, artifacts, templates · starting: the driver is asked ·
 * running · delaying: runs on for shutdown_delay, then is stopped · stopping: told to end · backoff: ended, will be
 * started again · held: outside of its schedule or paused by hand, nothing runs · dead.
 */
export type Phase =
  | "waiting"
  | "preparing"
  | "starting"
  | "running"
  | "delaying"
  | "stopping"
  | "backoff"
  | "held"
  | "dead";

/** Whether a task may run, by its schedule or by hand: as TaskState.Paused shows it. */
export type PauseState = "" | "scheduled_pause" | "force_pause" | "force_run";

/** What of the job file decides about restarts and stops; fixed for one version of the job. */
export interface TaskRules {
  policy: RestartPolicy;
  /** Services and sidecars: an exit with 0 is a reason to start again. */
  restartOnSuccess: boolean;
  killTimeoutNs: number;
  shutdownDelayNs: number;
}

/** Why a stop is under way. */
type Intent =
  | { kind: "kill"; failed: boolean }
  | { kind: "hold" }
  | { kind: "restart"; reason: string; countsAsFailure: boolean };

/** Plain JSON: stored as it is and read back after the agent's restart. */
export interface TaskMachine {
  phase: Phase;
  api: TaskState;
  rules: TaskRules;
  intent: Intent | null;
  /** Directory, artifacts and templates are done: a restart does not do them again (templates if it asks for it). */
  prepared: boolean;
  /** Restarts that the policy counted in its current interval. */
  attempts: number;
  windowStartMs: number;
  /** When the backoff is over, ms since 1970; 0 without one. */
  resumeAtMs: number;
}

/** Again under the policy; for good, with Nomad's line that says so; for good, and the draft says it all. */
export type FailureOutcome = "retry" | "unrecoverable" | "fatal";

export type TaskInput =
  /** Its turn in the group has come. */
  | { t: "open" }
  | { t: "prepared" }
  | { t: "prepareFailed"; draft: Draft; outcome: FailureOutcome }
  | { t: "started" }
  | { t: "startFailed"; draft: Draft; recoverable: boolean }
  | { t: "exited"; result: ExitResult }
  | { t: "timer" }
  | { t: "kill"; draft: Draft | null; failed: boolean; noShutdownDelay: boolean }
  | { t: "restart"; reason: string; countsAsFailure: boolean }
  | { t: "stopFailed"; message: string }
  /** Its time has come, or is over. */
  | { t: "pause"; state: PauseState }
  /** A line for the history that changes nothing else. */
  | { t: "note"; draft: Draft }
  /** Another version of the job with the same task. */
  | { t: "rules"; rules: TaskRules }
  /** After the agent's restart: the task still runs, or its exit is still known. */
  | { t: "recovered" }
  /** After the agent's restart: nothing is known of it (the device was restarted). */
  | { t: "lost" }
  /** Runs again from the start although it was dead; `reason` as for `restart`. */
  | { t: "revive"; reason: string };

export type TaskEffect =
  | { e: "prepare" }
  | { e: "abortPrepare" }
  | { e: "start" }
  | { e: "stop"; timeoutNs: number }
  /** Comes back as `timer`. One at a time. */
  | { e: "timer"; delayNs: number }
  | { e: "cancelTimer" }
  /** The driver may forget the last run. */
  | { e: "destroy" };

/** Time and chance, drawn by the caller for this step. */
export interface StepContext {
  nowMs: number;
  /** Uniform in [0, 1): jitter of a restart delay. */
  random: number;
}

export interface TaskStep {
  state: TaskMachine;
  effects: TaskEffect[];
}

/** A task that was received and waits for its turn. */
export function createTask(rules: TaskRules, nowMs: number): TaskMachine {
  return {
    phase: "waiting",
    api: {
      State: "pending",
      Failed: false,
      Restarts: 0,
      LastRestart: null,
      StartedAt: null,
      FinishedAt: null,
      Paused: "",
      Events: [events.at(events.received(), nowMs)],
    },
    rules,
    intent: null,
    prepared: false,
    attempts: 0,
    windowStartMs: nowMs,
    resumeAtMs: 0,
  };
}

export function step(state: TaskMachine, input: TaskInput, context: StepContext): TaskStep {
  switch (input.t) {
    case "open":
      if (state.phase !== "waiting") return same(state);
      if (isHeld(state)) return to(state, "held", []);
      return to(log(state, events.taskSetup("Building Task Directory"), context), "preparing", [{
        e: "prepare",
      }]);
    case "prepared":
      if (state.phase !== "preparing") return same(state);
      return isHeld(state)
        ? to({ ...state, prepared: true }, "held", [])
        : to({ ...state, prepared: true }, "starting", [{ e: "start" }]);
    case "prepareFailed":
      return onPrepareFailed(state, input, context);
    case "started":
      return onStarted(state, context);
    case "startFailed":
      return onStartFailed(state, input, context);
    case "exited":
      return onExited(state, input.result, context);
    case "timer":
      return onTimer(state);
    case "kill":
      return onKill(state, input, context);
    case "restart":
      return onRestart(state, input, context);
    case "stopFailed":
      // The exit is still waited for: a task that runs is never called dead.
      return { state: log(state, events.driverFailure(input.message), context), effects: [] };
    case "pause":
      return onPause(state, input.state, context);
    case "note":
      return { state: log(state, input.draft, context), effects: [] };
    case "rules":
      return { state: { ...state, rules: input.rules }, effects: [] };
    case "recovered":
      return onRecovered(state, context);
    case "lost":
      return onLost(state, context);
    case "revive":
      return onRevive(state, input.reason, context);
    default:
      return assertNever(input, "task input");
  }
}

// --- What happened ---------------------------------------------------------------------------------------------

function onStarted(state: TaskMachine, context: StepContext): TaskStep {
  if (state.phase !== "starting") return same(state);
  const running = log(state, events.started(), context);
  const next: TaskMachine = {
    ...running,
    phase: "running",
    api: { ...running.api, State: "running", StartedAt: timestamp(context.nowMs) },
  };
  // Killed or restarted while the driver was still starting it.
  if (next.intent === null) return same(next);
  return to(next, "stopping", [stopEffect(next)]);
}

function onPrepareFailed(
  state: TaskMachine,
  input: { draft: Draft; outcome: FailureOutcome },
  context: StepContext,
): TaskStep {
  if (state.phase !== "preparing") return same(state);
  const logged = log(state, input.draft, context);
  if (input.outcome === "fatal") return die(logged, true, null, context);
  return ended(logged, { success: false, recoverable: input.outcome === "retry" }, context);
}

function onStartFailed(
  state: TaskMachine,
  input: { draft: Draft; recoverable: boolean },
  context: StepContext,
): TaskStep {
  if (state.phase !== "starting") return same(state);
  const logged = log(state, input.draft, context);
  if (logged.intent?.kind === "kill") return die(logged, logged.intent.failed, null, context);
  return ended({ ...logged, intent: null }, { success: false, recoverable: input.recoverable }, context);
}

function onExited(state: TaskMachine, result: ExitResult, context: StepContext): TaskStep {
  if (state.phase !== "running" && state.phase !== "delaying" && state.phase !== "stopping") {
    return same(state);
  }
  const cleanup: TaskEffect[] = state.phase === "delaying"
    ? [{ e: "cancelTimer" }, { e: "destroy" }]
    : [{ e: "destroy" }];
  const logged = log(state, events.terminated(result), context);
  const { intent } = logged;
  const next = { ...logged, intent: null };
  if (intent?.kind === "kill") return prepend(cleanup, die(next, intent.failed, events.killed(), context));
  if (intent?.kind === "restart") {
    if (intent.countsAsFailure) {
      return prepend(cleanup, ended(next, { success: false, recoverable: true }, context));
    }
    return prepend(cleanup, backoff(next, { delayNs: 0, reason: "" }, context));
  }
  if (intent?.kind === "hold") return prepend(cleanup, hold(next));
  const success = result.exitCode === 0 && result.signal === 0 && result.error === undefined;
  return prepend(cleanup, ended(next, { success, recoverable: true }, context));
}

function onTimer(state: TaskMachine): TaskStep {
  if (state.phase === "backoff") return resume(state);
  if (state.phase === "delaying") return to(state, "stopping", [stopEffect(state)]);
  return same(state);
}

function onKill(
  state: TaskMachine,
  input: { draft: Draft | null; failed: boolean; noShutdownDelay: boolean },
  context: StepContext,
): TaskStep {
  const intent: Intent = { kind: "kill", failed: input.failed };
  const note = (from: TaskMachine) => input.draft ? log(from, input.draft, context) : from;
  // A reason that is a "Killing" itself is not said twice.
  const logKilling = (from: TaskMachine) => input.draft?.Type === "Killing" ? from : logKill(from, context);
  switch (state.phase) {
    case "dead":
      return same(state);
    case "waiting":
      return die(logKilling(note(state)), input.failed, null, context);
    case "preparing": {
      const dead = die(logKilling(note(state)), input.failed, null, context);
      return prepend([{ e: "abortPrepare" }], dead);
    }
    case "backoff": {
      const dead = die(logKilling(note(state)), input.failed, null, context);
      return prepend([{ e: "cancelTimer" }], dead);
    }
    case "held":
      return die(logKilling(note(state)), input.failed, null, context);
    case "starting":
      return same({ ...logKilling(note(state)), intent });
    case "running": {
      const noted = { ...logKilling(note(state)), intent };
      if (state.rules.shutdownDelayNs > 0 && !input.noShutdownDelay) {
        const waiting = log(noted, events.waitingForShutdownDelay(state.rules.shutdownDelayNs), context);
        return to(waiting, "delaying", [{ e: "timer", delayNs: state.rules.shutdownDelayNs }]);
      }
      return to(noted, "stopping", [stopEffect(state)]);
    }
    case "delaying":
      if (!input.noShutdownDelay) return same(state);
      return to({ ...state, intent }, "stopping", [{ e: "cancelTimer" }, stopEffect(state)]);
    case "stopping":
      if (state.intent?.kind === "kill") return same(state);
      return same({ ...logKilling(note(state)), intent });
    default:
      return assertNever(state.phase, "phase");
  }
}

/** What runs is stopped and waits; what waits is started. The rest looks at it when its turn comes. */
function onPause(state: TaskMachine, pause: PauseState, context: StepContext): TaskStep {
  const wasHeld = isHeld(state);
  const next = { ...state, api: { ...state.api, Paused: pause } };
  if (state.phase === "dead" || isHeld(next) === wasHeld) return same(next);
  if (wasHeld) return state.phase === "held" ? resume(log(next, events.resuming(), context)) : same(next);
  switch (state.phase) {
    case "running":
      return to({ ...log(next, events.pausing(), context), intent: { kind: "hold" } }, "stopping", [
        stopEffect(next),
      ]);
    case "starting":
      return same(next.intent === null ? { ...next, intent: { kind: "hold" } } : next);
    case "backoff":
      return prepend([{ e: "cancelTimer" }], hold(log(next, events.pausing(), context)));
    default:
      return same(next);
  }
}

function onRestart(
  state: TaskMachine,
  input: { reason: string; countsAsFailure: boolean },
  context: StepContext,
): TaskStep {
  const intent: Intent = { kind: "restart", reason: input.reason, countsAsFailure: input.countsAsFailure };
  const noted = log(state, events.restartSignaled(input.reason), context);
  if (state.phase === "running") return to({ ...noted, intent }, "stopping", [stopEffect(state)]);
  if (state.phase === "starting" && state.intent === null) return same({ ...noted, intent });
  if (state.phase === "backoff") {
    return prepend([{ e: "cancelTimer" }], resume(noted));
  }
  return same(state);
}

/** A dead task waits for its turn again; its directory is still there. */
function onRevive(state: TaskMachine, reason: string, context: StepContext): TaskStep {
  if (state.phase !== "dead") return same(state);
  const signaled = log(state, events.restartSignaled(reason), context);
  const logged = log(signaled, events.restarting(0, ""), context);
  return same({
    ...logged,
    phase: "waiting",
    intent: null,
    api: {
      ...logged.api,
      State: "pending",
      Failed: false,
      FinishedAt: null,
      Restarts: logged.api.Restarts + 1,
      LastRestart: timestamp(context.nowMs),
    },
  });
}

function onRecovered(state: TaskMachine, context: StepContext): TaskStep {
  switch (state.phase) {
    case "starting":
      return onStarted(state, context);
    case "delaying":
    case "stopping":
      return to(state, "stopping", [stopEffect(state)]);
    case "preparing":
      return { state, effects: [{ e: "prepare" }] };
    case "backoff":
      return {
        state,
        effects: [{ e: "timer", delayNs: Math.max(0, state.resumeAtMs - context.nowMs) * 1e6 }],
      };
    case "waiting":
    case "running":
    case "held":
    case "dead":
      return same(state);
    default:
      return assertNever(state.phase, "phase");
  }
}

function onLost(state: TaskMachine, context: StepContext): TaskStep {
  if (state.phase === "starting" && state.intent?.kind !== "kill") {
    return to({ ...state, intent: null, prepared: false }, "preparing", [{ e: "prepare" }]);
  }
  const gone = log(
    state,
    events.terminated({
      exitCode: -1,
      signal: 0,
      oomKilled: false,
      error: "the task was gone after a restart of the device",
    }),
    context,
  );
  if (state.intent?.kind === "kill") {
    return die({ ...gone, intent: null }, state.intent.failed, events.killed(), context);
  }
  if (state.intent?.kind === "hold") return hold({ ...gone, intent: null, prepared: false });
  // Not the task's fault: it does not count against its restart policy. Its directory may be gone as well.
  return backoff(
    { ...gone, intent: null, prepared: false },
    { delayNs: 0, reason: "Device was restarted" },
    context,
  );
}

// --- Decisions -------------------------------------------------------------------------------------------------

/** The task is not running any more: again under the policy, or dead. */
function ended(
  state: TaskMachine,
  outcome: { success: boolean; recoverable: boolean },
  context: StepContext,
): TaskStep {
  const { policy, restartOnSuccess } = state.rules;
  if (outcome.success && !restartOnSuccess) return die(state, false, null, context);
  if (!outcome.recoverable) {
    return die(state, true, events.notRestarting(events.REASON_UNRECOVERABLE), context);
  }
  if (policy.Attempts === 0 && policy.Mode === "fail") {
    return die(state, true, events.notRestarting(events.REASON_NO_RESTARTS), context);
  }
  const intervalMs = policy.Interval / 1e6;
  const expired = context.nowMs - state.windowStartMs > intervalMs;
  const windowStartMs = expired ? context.nowMs : state.windowStartMs;
  const attempts = (expired ? 0 : state.attempts) + 1;
  const counted = { ...state, attempts, windowStartMs };
  if (attempts <= policy.Attempts) {
    // Up to a quarter more: many tasks that fail together do not come back together.
    const delayNs = Math.round(policy.Delay * (1 + context.random * 0.25));
    return backoff(counted, { delayNs, reason: events.REASON_WITHIN_POLICY }, context);
  }
  if (policy.Mode === "delay") {
    const delayNs = Math.max(0, windowStartMs + intervalMs - context.nowMs) * 1e6;
    return backoff(counted, { delayNs, reason: events.REASON_DELAY }, context);
  }
  const reason = `Exceeded allowed attempts ${policy.Attempts} in interval ` +
    `${formatDuration(policy.Interval)} and mode is "fail"`;
  return die(counted, true, events.notRestarting(reason), context);
}

function backoff(
  state: TaskMachine,
  restart: { delayNs: number; reason: string },
  context: StepContext,
): TaskStep {
  const logged = log(state, events.restarting(restart.delayNs, restart.reason), context);
  const next: TaskMachine = {
    ...logged,
    resumeAtMs: context.nowMs + restart.delayNs / 1e6,
    api: {
      ...logged.api,
      State: "pending",
      Restarts: logged.api.Restarts + 1,
      LastRestart: timestamp(context.nowMs),
    },
  };
  return to(next, "backoff", [{ e: "timer", delayNs: restart.delayNs }]);
}

function isHeld(state: TaskMachine): boolean {
  return state.api.Paused === "scheduled_pause" || state.api.Paused === "force_pause";
}

/** Ended because its time was over; it may have come again meanwhile. */
function hold(state: TaskMachine): TaskStep {
  const next: TaskMachine = { ...state, resumeAtMs: 0, api: { ...state.api, State: "pending" } };
  return isHeld(next) ? to(next, "held", []) : resume(next);
}

function resume(state: TaskMachine): TaskStep {
  if (isHeld(state)) return to({ ...state, resumeAtMs: 0 }, "held", []);
  const next = { ...state, resumeAtMs: 0 };
  // restart.render_templates: prepared once, but templates are written anew before every start.
  return state.prepared && !state.rules.policy.RenderTemplates
    ? to(next, "starting", [{ e: "start" }])
    : to(next, "preparing", [{ e: "prepare" }]);
}

function die(state: TaskMachine, failed: boolean, draft: Draft | null, context: StepContext): TaskStep {
  const logged = draft ? log(state, draft, context) : state;
  return to(
    {
      ...logged,
      intent: null,
      resumeAtMs: 0,
      api: {
        ...logged.api,
        State: "dead",
        Failed: failed,
        FinishedAt: timestamp(context.nowMs),
      },
    },
    "dead",
    [],
  );
}

// --- Small helpers ---------------------------------------------------------------------------------------------

const same = (state: TaskMachine): TaskStep => ({ state, effects: [] });
const to = (state: TaskMachine, phase: Phase, effects: TaskEffect[]): TaskStep => ({
  state: { ...state, phase },
  effects,
});
const prepend = (first: TaskEffect[], next: TaskStep): TaskStep => ({
  state: next.state,
  effects: [...first, ...next.effects],
});
const stopEffect = (state: TaskMachine): TaskEffect => ({ e: "stop", timeoutNs: state.rules.killTimeoutNs });
const logKill = (state: TaskMachine, context: StepContext): TaskMachine =>
  log(state, events.killing(state.rules.killTimeoutNs), context);
const timestamp = (nowMs: number): string => new Date(nowMs).toISOString();

function log(state: TaskMachine, draft: Draft, context: StepContext): TaskMachine {
  const event = events.at(draft, context.nowMs);
  const history: TaskEvent[] = [...state.api.Events, event].slice(-events.EVENTS_MAX);
  return { ...state, api: { ...state.api, Events: history } };
}
