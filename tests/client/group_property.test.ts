// Random groups under random fates: what must hold of tasks and their order, whatever happens. The driver is a model:
// a started task runs until it exits by itself or is stopped. Prints the seed of a failure (fast-check).
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decideGroup, groupStatus, type Member } from "../../client/lifecycle.ts";
import { createTask, step, type TaskEffect, type TaskInput, type TaskMachine } from "../../client/task.ts";
import * as events from "../../client/task_events.ts";
import type { Task } from "../../core/types.ts";
import { makeTask } from "./fixtures.ts";

/** One task of the model: its machine, what is under way for it, and whether its process exists. */
class Actor {
  machine: TaskMachine;
  process = false;
  under: "prepare" | "start" | null = null;
  timer = false;
  stopAsked = false;
  starts = 0;

  constructor(readonly task: Task, batch: boolean, attempts: number) {
    const hook = task.Lifecycle?.Hook ?? "";
    this.machine = createTask({
      policy: { Attempts: attempts, Interval: 60e9, Delay: 1e9, Mode: "fail", RenderTemplates: false },
      restartOnSuccess: hook === "" ? !batch : task.Lifecycle!.Sidecar,
      killTimeoutNs: 1e9,
      shutdownDelayNs: task.ShutdownDelay,
    }, 0);
  }
}

class Model {
  stopping = false;
  nowMs = 0;
  readonly actors: Actor[];

  constructor(tasks: Task[], batch: boolean, attempts: number) {
    this.actors = tasks.map((task) => new Actor(task, batch, attempts));
  }

  get members(): Member[] {
    return this.actors.map((a) => ({ name: a.task.Name, task: a.task, machine: a.machine }));
  }

  input(actor: Actor, input: TaskInput): void {
    const before = actor.machine;
    const { state, effects } = step(before, input, { nowMs: this.nowMs, random: 0.5 });
    actor.machine = state;
    for (const effect of effects) this.#carryOut(actor, effect);
    checkTask(actor, before);
  }

  decide(): void {
    for (let round = 0; round < 100; round++) {
      const actions = decideGroup(this.members, this.stopping);
      if (actions.length === 0) return;
      for (const action of actions) {
        const actor = this.actors.find((a) => a.task.Name === action.task)!;
        if (action.a === "kill") this.#checkKillOrder(actor);
        this.input(
          actor,
          action.a === "open"
            ? { t: "open" }
            : { t: "kill", draft: action.draft, failed: false, noShutdownDelay: false },
        );
      }
      this.checkGroup();
    }
    assert.fail("decisions do not come to an end");
  }

  /** What others lean on ends last: the leader goes first, sidecars and hooks after the main tasks. */
  #checkKillOrder(actor: Actor): void {
    if (actor.machine.phase === "waiting") return;
    const alive = this.actors.filter((a) => a.machine.phase !== "dead" && a.machine.phase !== "waiting");
    const isMain = (a: Actor) => a.task.Lifecycle === null;
    if (!actor.task.Leader) assert.ok(!alive.some((a) => a.task.Leader), "the leader ends first");
    if (!isMain(actor)) assert.ok(!alive.some(isMain), "hooks and sidecars end after the main tasks");
  }

  #carryOut(actor: Actor, effect: TaskEffect): void {
    switch (effect.e) {
      case "prepare":
      case "start":
        assert.equal(actor.under, null, "one thing at a time");
        assert.equal(actor.process, false, "nothing is prepared or started while a process runs");
        actor.under = effect.e;
        return;
      case "abortPrepare":
        assert.equal(actor.under, "prepare");
        actor.under = null;
        return;
      case "timer":
        assert.equal(actor.timer, false, "one timer at a time");
        actor.timer = true;
        return;
      case "cancelTimer":
        assert.equal(actor.timer, true, "only a running timer is cancelled");
        actor.timer = false;
        return;
      case "stop":
        assert.equal(actor.process, true, "only what runs is stopped");
        actor.stopAsked = true;
        return;
      case "destroy":
        assert.equal(actor.process, false, "only what ended is destroyed");
        return;
    }
  }

  /** Lets something happen to the actor, chosen by `fate`; false when nothing could. */
  happen(actor: Actor, fate: number): boolean {
    this.nowMs += 500;
    if (actor.under) {
      const { under } = actor;
      actor.under = null;
      if (under === "prepare") {
        const outcome = (["retry", "unrecoverable", "fatal"] as const)[fate % 7];
        this.input(
          actor,
          outcome ? { t: "prepareFailed", draft: events.setupFailure("x"), outcome } : { t: "prepared" },
        );
      } else if (fate % 5 === 0) {
        this.input(actor, {
          t: "startFailed",
          draft: events.driverFailure("x"),
          recoverable: fate % 2 === 0,
        });
      } else {
        actor.process = true;
        actor.starts++;
        actor.stopAsked = false;
        this.input(actor, { t: "started" });
      }
      return true;
    }
    if (actor.process && (actor.stopAsked || fate % 3 === 0)) {
      actor.process = false;
      this.input(actor, { t: "exited", result: { exitCode: fate % 2, signal: 0, oomKilled: false } });
      return true;
    }
    if (actor.timer) {
      actor.timer = false;
      this.input(actor, { t: "timer" });
      return true;
    }
    return false;
  }

  checkGroup(): void {
    const hook = (a: Actor) => a.task.Lifecycle?.Hook ?? "";
    const begun = (a: Actor) => a.machine.phase !== "waiting" && a.starts + (a.under ? 1 : 0) > 0;
    const init = this.actors.filter((a) => hook(a) === "prestart" && !a.task.Lifecycle!.Sidecar);
    const after = this.actors.filter((a) => hook(a) === "poststop");
    for (const main of this.actors.filter((a) => hook(a) === "")) {
      if (begun(main)) {
        for (const a of init) assert.equal(a.machine.phase, "dead", "main begins after prestart ended");
      }
    }
    if (after.some(begun)) {
      for (const a of this.actors.filter((other) => hook(other) !== "poststop")) {
        assert.equal(a.machine.phase, "dead", "poststop begins when all else ended");
      }
    }
    const { status } = groupStatus(this.members);
    const allDead = this.actors.every((a) => a.machine.phase === "dead");
    if (allDead) assert.ok(status === "complete" || status === "failed");
    if (status === "complete") assert.ok(allDead);
  }
}

function checkTask(actor: Actor, before: TaskMachine): void {
  const { machine } = actor;
  const state = machine.phase === "dead"
    ? "dead"
    : ["running", "delaying", "stopping"].includes(machine.phase)
    ? "running"
    : "pending";
  assert.equal(machine.api.State, state);
  assert.ok(machine.api.Events.length <= 10);
  assert.equal(machine.api.FinishedAt !== null, machine.phase === "dead");
  if (before.phase === "dead") assert.equal(machine.phase, "dead", "a dead task stays dead");
  if (machine.phase === "dead") {
    assert.equal(actor.process, false, "a task with a process is not dead");
    assert.equal(actor.under, null, "nothing is under way for a dead task");
  }
  const waits = machine.phase === "backoff" || machine.phase === "delaying";
  assert.equal(actor.timer, waits, `timer in phase ${machine.phase}`);
}

const lifecycles: (Task["Lifecycle"])[] = [
  null,
  { Hook: "prestart", Sidecar: false },
  { Hook: "prestart", Sidecar: true },
  { Hook: "poststart", Sidecar: false },
  { Hook: "poststart", Sidecar: true },
  { Hook: "poststop", Sidecar: false },
];

const groups = fc.record({
  batch: fc.boolean(),
  attempts: fc.integer({ min: 0, max: 2 }),
  kinds: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 5 }),
  leader: fc.integer({ min: -1, max: 4 }),
  delayed: fc.boolean(),
  fates: fc.array(fc.tuple(fc.nat(4), fc.nat(1000)), { maxLength: 80 }),
  /** When the servers want it stopped. */
  stopAt: fc.nat(80),
});

test("a group keeps its order, ends when it is stopped, and never has two of a task", () => {
  fc.assert(
    fc.property(groups, ({ batch, attempts, kinds, leader, delayed, fates, stopAt }) => {
      const tasks = kinds.map((kind, i) => {
        const isMain = i === 0 || kind === 0;
        return makeTask({
          Name: `t${i}`,
          Lifecycle: isMain ? null : lifecycles[kind]!,
          Leader: isMain && i === leader,
          ShutdownDelay: delayed && isMain ? 1e9 : 0,
        });
      });
      const model = new Model(tasks, batch, attempts);
      model.decide();
      fates.forEach(([who, fate], i) => {
        if (i === stopAt) {
          model.stopping = true;
          model.decide();
        }
        if (model.happen(model.actors[who % model.actors.length]!, fate)) model.decide();
        model.checkGroup();
      });
      // From here on everything goes well: after a stop the group must end.
      model.stopping = true;
      model.decide();
      for (let round = 0; round < 200; round++) {
        for (const actor of model.actors) {
          // Poststop hooks are let run to their end.
          const fate = actor.process && actor.task.Lifecycle?.Hook === "poststop" ? 6 : 8;
          if (model.happen(actor, fate)) model.decide();
        }
        if (model.actors.every((a) => a.machine.phase === "dead")) break;
      }
      assert.deepEqual(
        model.actors.filter((a) => a.machine.phase !== "dead").map((a) => a.machine.phase),
        [],
      );
    }),
    { numRuns: 1500 },
  );
});
