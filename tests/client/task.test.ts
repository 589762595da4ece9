import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createTask,
  step,
  type TaskEffect,
  type TaskInput,
  type TaskMachine,
  type TaskRules,
} from "../../client/task.ts";
import * as events from "../../client/task_events.ts";
import type { ExitResult } from "../../drivers/driver.ts";

const RULES: TaskRules = {
  policy: { Attempts: 2, Interval: 60e9, Delay: 15e9, Mode: "fail", RenderTemplates: false },
  restartOnSuccess: true,
  killTimeoutNs: 5e9,
  shutdownDelayNs: 0,
};

/** Plays inputs; one second passes before each. */
class Play {
  state: TaskMachine;
  effects: TaskEffect[] = [];
  nowMs = 1_000_000;
  random = 0;

  constructor(rules: Partial<TaskRules> = {}) {
    this.state = createTask({ ...RULES, ...rules }, this.nowMs);
  }

  do(...inputs: TaskInput[]): this {
    for (const input of inputs) {
      this.nowMs += 1000;
      const next = step(this.state, input, { nowMs: this.nowMs, random: this.random });
      this.state = next.state;
      this.effects = next.effects;
    }
    return this;
  }

  running(): this {
    return this.do({ t: "open" }, { t: "prepared" }, { t: "started" });
  }

  exit(result: Partial<ExitResult> = {}): this {
    return this.do({ t: "exited", result: { exitCode: 0, signal: 0, oomKilled: false, ...result } });
  }

  get lines(): string[] {
    return this.state.api.Events.map((event) => `${event.Type}: ${event.DisplayMessage}`);
  }

  get last(): string {
    return this.lines.at(-1)!;
  }
}

const kill = (fields: Partial<Extract<TaskInput, { t: "kill" }>> = {}): TaskInput => ({
  t: "kill",
  draft: null,
  failed: false,
  noShutdownDelay: false,
  ...fields,
});

test("step takes a task from received to running with Nomad's texts", () => {
  const play = new Play().do({ t: "open" });
  assert.deepEqual(play.effects, [{ e: "prepare" }]);
  play.do({ t: "prepared" });
  assert.deepEqual(play.effects, [{ e: "start" }]);
  assert.equal(play.state.api.State, "pending");
  play.do({ t: "started" });
  assert.equal(play.state.api.State, "running");
  assert.notEqual(play.state.api.StartedAt, null);
  assert.deepEqual(play.lines, [
    "Received: Task received by client",
    "Task Setup: Building Task Directory",
    "Started: Task started by client",
  ]);
  assert.deepEqual(play.state.api.Events[1]!.Details, { message: "Building Task Directory" });
});

test("step restarts a service also after exit 0, a batch task only after failure", () => {
  const service = new Play().running().exit();
  assert.equal(service.state.phase, "backoff");
  assert.equal(service.last, "Restarting: Task restarting in 15s");
  assert.deepEqual(service.effects, [{ e: "destroy" }, { e: "timer", delayNs: 15e9 }]);
  assert.equal(service.state.api.State, "pending");
  assert.equal(service.state.api.Restarts, 1);
  const batch = new Play({ restartOnSuccess: false }).running().exit();
  assert.equal(batch.state.phase, "dead");
  assert.equal(batch.state.api.Failed, false);
  assert.equal(batch.last, "Terminated: Exit Code: 0");
  assert.equal(new Play({ restartOnSuccess: false }).running().exit({ exitCode: 1 }).state.phase, "backoff");
});

test("step adds up to a quarter of jitter to the restart delay", () => {
  const play = new Play();
  play.random = 0.0533333;
  play.running().exit({ exitCode: 1 });
  assert.match(play.last, /^Restarting: Task restarting in 15\.19/);
  const { Details } = play.state.api.Events.at(-1)!;
  assert.equal(Details.restart_reason, "Restart within policy");
  assert.equal(Details.start_delay, String(play.state.api.Events.at(-1)!.StartDelay));
});

test("step gives up after the policy's attempts in mode fail", () => {
  const play = new Play().running();
  for (let i = 0; i < 2; i++) play.exit({ exitCode: 3 }).do({ t: "timer" }, { t: "started" });
  play.exit({ exitCode: 3 });
  assert.equal(play.state.phase, "dead");
  assert.equal(play.state.api.Failed, true);
  assert.equal(play.last, 'Not Restarting: Exceeded allowed attempts 2 in interval 1m0s and mode is "fail"');
  assert.equal(play.state.api.Events.at(-1)!.FailsTask, true);
});

test("step counts attempts anew when the interval is over", () => {
  const play = new Play().running();
  for (let i = 0; i < 5; i++) {
    play.nowMs += 40_000;
    play.exit({ exitCode: 3 }).do({ t: "timer" }, { t: "started" });
    assert.equal(play.state.phase, "running", `round ${i}`);
  }
});

test("step waits for the end of the interval in mode delay", () => {
  const play = new Play({ policy: { ...RULES.policy, Attempts: 0, Mode: "delay" } }).running().exit({
    exitCode: 1,
  });
  assert.equal(play.state.phase, "backoff");
  // Received at 1,000 s, now four seconds later: 56 of the 60 seconds are left.
  assert.equal(
    play.last,
    "Restarting: Exceeded allowed attempts, applying a delay - Task restarting in 56s",
  );
});

test("step does not restart where the policy allows none", () => {
  const play = new Play({ policy: { ...RULES.policy, Attempts: 0 } }).running().exit({ exitCode: 1 });
  assert.equal(play.last, "Not Restarting: Policy allows no restarts");
  assert.equal(play.state.api.Failed, true);
});

test("step kills a running task and ignores what comes later", () => {
  const play = new Play().running().do(kill());
  assert.deepEqual(play.effects, [{ e: "stop", timeoutNs: 5e9 }]);
  assert.equal(play.last, "Killing: Sent interrupt. Waiting 5s before force killing");
  play.exit({ exitCode: 130, signal: 2 });
  assert.deepEqual(play.lines.slice(-2), [
    "Terminated: Exit Code: 130, Signal: 2",
    "Killed: Task successfully killed",
  ]);
  assert.equal(play.state.phase, "dead");
  assert.equal(play.state.api.Failed, false);
  const before = play.state;
  play.do(kill(), { t: "timer" }, { t: "started" }, { t: "restart", reason: "x", countsAsFailure: false });
  assert.equal(play.state, before);
});

test("step waits for shutdown_delay before it kills, unless told not to", () => {
  const play = new Play({ shutdownDelayNs: 3e9 }).running().do(kill());
  assert.equal(play.state.phase, "delaying");
  assert.deepEqual(play.effects, [{ e: "timer", delayNs: 3e9 }]);
  assert.equal(
    play.last,
    "Waiting for shutdown delay: Waiting for shutdown_delay of 3s before killing the task.",
  );
  assert.equal(play.lines.at(-2), "Killing: Sent interrupt. Waiting 5s before force killing");
  play.do({ t: "timer" });
  assert.deepEqual(play.effects, [{ e: "stop", timeoutNs: 5e9 }]);
  const atOnce = new Play({ shutdownDelayNs: 3e9 }).running().do(kill({ noShutdownDelay: true }));
  assert.equal(atOnce.state.phase, "stopping");
  const impatient = new Play({ shutdownDelayNs: 3e9 }).running().do(kill(), kill({ noShutdownDelay: true }));
  assert.deepEqual(impatient.effects, [{ e: "cancelTimer" }, { e: "stop", timeoutNs: 5e9 }]);
});

test("step kills a task wherever it is", () => {
  assert.equal(new Play().do(kill()).last, "Killing: Sent interrupt. Waiting 5s before force killing");
  assert.deepEqual(new Play().do({ t: "open" }, kill()).effects, [{ e: "abortPrepare" }]);
  assert.deepEqual(new Play().running().exit({ exitCode: 1 }).do(kill()).effects, [{ e: "cancelTimer" }]);
  const starting = new Play().do({ t: "open" }, { t: "prepared" }, kill());
  assert.equal(starting.state.phase, "starting");
  assert.deepEqual(starting.do({ t: "started" }).effects, [{ e: "stop", timeoutNs: 5e9 }]);
  const failing = new Play().do({ t: "open" }, { t: "prepared" }, kill(), {
    t: "startFailed",
    draft: events.driverFailure("no"),
    recoverable: true,
  });
  assert.equal(failing.state.phase, "dead");
  assert.equal(failing.state.api.Failed, false);
});

test("step restarts on request without counting it against the policy", () => {
  const play = new Play({ policy: { ...RULES.policy, Attempts: 0 } }).running()
    .do({ t: "restart", reason: "User requested task to restart", countsAsFailure: false });
  assert.deepEqual(play.effects, [{ e: "stop", timeoutNs: 5e9 }]);
  play.exit({ exitCode: 130, signal: 2 });
  assert.deepEqual(play.lines.slice(-3), [
    "Restart Signaled: User requested task to restart",
    "Terminated: Exit Code: 130, Signal: 2",
    "Restarting: Task restarting in 0s",
  ]);
  assert.deepEqual(play.state.api.Events.at(-1)!.Details, { restart_reason: "", start_delay: "0" });
  assert.equal(play.state.api.Restarts, 1);
});

test("step counts a restart by check_restart as a failure", () => {
  const play = new Play({ policy: { ...RULES.policy, Attempts: 0 } }).running()
    .do({ t: "restart", reason: "unhealthy", countsAsFailure: true }).exit({ exitCode: 130, signal: 2 });
  assert.equal(play.state.api.Failed, true);
  assert.deepEqual(play.lines.slice(-3), [
    "Restart Signaled: unhealthy",
    "Terminated: Exit Code: 130, Signal: 2",
    "Not Restarting: Policy allows no restarts",
  ]);
});

test("step makes a kill out of a restart when both are wanted", () => {
  const play = new Play().running()
    .do({ t: "restart", reason: "r", countsAsFailure: false }, kill()).exit({ exitCode: 0 });
  assert.equal(play.state.phase, "dead");
  assert.equal(play.last, "Killed: Task successfully killed");
});

test("step tries a recoverable start again and gives up on others", () => {
  const draft = events.driverFailure("boom");
  const failed = (recoverable: boolean): TaskInput => ({ t: "startFailed", draft, recoverable });
  const again = new Play().do({ t: "open" }, { t: "prepared" }, failed(true));
  assert.deepEqual(again.lines.slice(-2), ["Driver Failure: boom", "Restarting: Task restarting in 15s"]);
  assert.deepEqual(again.do({ t: "timer" }).effects, [{ e: "start" }]);
  const never = new Play().do({ t: "open" }, { t: "prepared" }, failed(false));
  assert.equal(never.last, "Not Restarting: Error was unrecoverable");
  assert.equal(never.state.api.Failed, true);
});

test("step prepares again when preparing failed", () => {
  const play = new Play().do({ t: "open" }, {
    t: "prepareFailed",
    draft: events.artifactFailed("404"),
    outcome: "retry",
  });
  assert.equal(play.state.phase, "backoff");
  assert.deepEqual(play.do({ t: "timer" }).effects, [{ e: "prepare" }]);
  const fatal = new Play().do({ t: "open" }, {
    t: "prepareFailed",
    draft: events.templateFailed("no such function"),
    outcome: "fatal",
  });
  assert.equal(fatal.last, "Killing: Template failed: no such function");
  assert.deepEqual([fatal.state.phase, fatal.state.api.Failed], ["dead", true]);
});

test("step keeps the ten newest events", () => {
  const play = new Play();
  for (let i = 0; i < 14; i++) play.do({ t: "note", draft: { Type: "Driver", DisplayMessage: String(i) } });
  assert.equal(play.lines.length, 10);
  assert.equal(play.last, "Driver: 13");
});

test("step goes on after the agent's restart from every phase", () => {
  const stored = (play: Play): Play => {
    const next = new Play();
    next.state = JSON.parse(JSON.stringify(play.state));
    next.nowMs = play.nowMs;
    return next;
  };
  const running = stored(new Play().running()).do({ t: "recovered" });
  assert.deepEqual([running.state.phase, running.effects], ["running", []]);
  const stopping = stored(new Play().running().do(kill())).do({ t: "recovered" });
  assert.deepEqual(stopping.effects, [{ e: "stop", timeoutNs: 5e9 }]);
  const backoff = stored(new Play().running().exit({ exitCode: 1 })).do({ t: "recovered" });
  assert.deepEqual(backoff.effects, [{ e: "timer", delayNs: 14e9 }]);
  const preparing = stored(new Play().do({ t: "open" })).do({ t: "recovered" });
  assert.deepEqual(preparing.effects, [{ e: "prepare" }]);
  const starting = stored(new Play().do({ t: "open" }, { t: "prepared" })).do({ t: "recovered" });
  assert.equal(starting.state.phase, "running");
  const lost = stored(new Play({ policy: { ...RULES.policy, Attempts: 0 } }).running()).do({ t: "lost" });
  assert.equal(lost.state.phase, "backoff");
  assert.equal(lost.state.attempts, 0);
  const neverStarted = stored(new Play().do({ t: "open" }, { t: "prepared" })).do({ t: "lost" });
  assert.deepEqual(neverStarted.effects, [{ e: "prepare" }]);
  assert.deepEqual(lost.do({ t: "timer" }).effects, [{ e: "prepare" }]);
});

test("step revives a dead task", () => {
  const play = new Play().do(kill(), { t: "revive", reason: "User requested all tasks to restart" });
  assert.equal(play.state.phase, "waiting");
  assert.equal(play.state.api.State, "pending");
});

test("step prepares again before a restart that is to render templates", () => {
  const policy = { ...RULES.policy, RenderTemplates: true };
  const play = new Play({ policy }).running().exit({ exitCode: 1 }).do({ t: "timer" });
  assert.deepEqual(play.effects, [{ e: "prepare" }]);
  assert.equal(play.state.prepared, true);
  assert.deepEqual(play.do({ t: "prepared" }).effects, [{ e: "start" }]);
});
