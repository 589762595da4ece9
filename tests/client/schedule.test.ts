// Schedule blocks: when a task may run (time zones, days without a window, clocks that jump), what the task does when its
// time is over or comes, and an agent whose operator sets the schedule aside.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { scheduledAt } from "../../client/schedule.ts";
import { createTask, step, type TaskInput, type TaskMachine } from "../../client/task.ts";
import type { Job } from "../../core/types.ts";
import { scheduleErrors } from "../../server/schedule_check.ts";
import { TestAgent } from "../e2e/harness.ts";

const at = (text: string) => Date.parse(text);
const OFFICE = { Start: "30 9 * * MON-FRI *", End: "0 17", Timezone: "America/New_York" };

function told(cron: typeof OFFICE, now: string): string {
  const { runs, nextMs } = scheduledAt(cron, at(now));
  return `${runs ? "runs until" : "held until"} ${nextMs === null ? "ever" : new Date(nextMs).toISOString()}`;
}

test("scheduledAt: inside, before, after, over a weekend", () => {
  // A Friday; New York is five hours behind.
  assert.equal(told(OFFICE, "2026-11-20T14:29:59Z"), "held until 2026-11-20T14:30:00.000Z");
  assert.equal(told(OFFICE, "2026-11-20T14:30:00Z"), "runs until 2026-11-20T22:00:00.000Z");
  assert.equal(told(OFFICE, "2026-11-20T21:59:59Z"), "runs until 2026-11-20T22:00:00.000Z");
  assert.equal(told(OFFICE, "2026-11-20T22:00:00Z"), "held until 2026-11-23T14:30:00.000Z");
  assert.equal(told(OFFICE, "2026-11-22T16:00:00Z"), "held until 2026-11-23T14:30:00.000Z");
});

test("scheduledAt: the days on which clocks are set, and a year that is over", () => {
  const early = { Start: "30 1 * * * *", End: "30 3", Timezone: "Europe/Berlin" };
  // On 29 March 2026 there is no 2:30: the window lasts one hour.
  assert.equal(told(early, "2026-03-29T00:15:00Z"), "held until 2026-03-29T00:30:00.000Z");
  assert.equal(told(early, "2026-03-29T01:15:00Z"), "runs until 2026-03-29T01:30:00.000Z");
  assert.equal(told(early, "2026-03-29T01:30:00Z"), "held until 2026-03-29T23:30:00.000Z");
  // On 25 October 2026 there are two: it lasts three.
  assert.equal(told(early, "2026-10-25T00:15:00Z"), "runs until 2026-10-25T02:30:00.000Z");
  assert.equal(told({ ...early, Start: "30 1 * * * 2025" }, "2026-05-01T00:00:00Z"), "held until ever");
});

test("scheduleErrors: what cannot be carried out is refused with a reason", () => {
  const errors = (fields: Partial<typeof OFFICE>) =>
    scheduleErrors({ Cron: { ...OFFICE, ...fields } }, (name) => name === "America/New_York").join("\n");
  assert.equal(errors({}), "");
  assert.equal(errors({ Timezone: "Local" }), "");
  assert.match(errors({ Start: "30 9 * * *" }), /six fields/);
  assert.match(errors({ Start: "0,30 9 * * * *" }), /without "," and "\/"/);
  assert.match(errors({ Start: "61 9 * * * *" }), /syntax error in minute field/);
  assert.match(errors({ End: "17" }), /a minute and an hour/);
  assert.match(errors({ End: "0 9" }), /later in the day/);
  assert.match(errors({ Timezone: "Mars/Base" }), /timezone "Mars\/Base" is unknown/);
});

const POLICY = { Attempts: 2, Interval: 60e9, Delay: 15e9, Mode: "fail", RenderTemplates: false } as const;
const EXIT = { exitCode: 130, signal: 2, oomKilled: false };

function play(inputs: TaskInput[]): { state: TaskMachine; effects: string[]; phases: string[] } {
  const rules = { policy: { ...POLICY }, restartOnSuccess: true, killTimeoutNs: 5e9, shutdownDelayNs: 0 };
  let state = createTask(rules, 0);
  const effects: string[] = [];
  const phases: string[] = [];
  for (const input of inputs) {
    const next = step(state, input, { nowMs: 1000, random: 0 });
    state = next.state;
    effects.push(...next.effects.map((effect) => effect.e));
    phases.push(state.phase);
  }
  return { state, effects, phases };
}

const HOLD: TaskInput = { t: "pause", state: "scheduled_pause" };
const FREE: TaskInput = { t: "pause", state: "" };
const START: TaskInput[] = [{ t: "open" }, { t: "prepared" }, { t: "started" }];

test("a task outside of its times is not begun, and is begun when they come", () => {
  const { phases, effects, state } = play([HOLD, { t: "open" }, FREE, { t: "prepared" }, { t: "started" }]);
  assert.deepEqual(phases, ["waiting", "held", "preparing", "starting", "running"]);
  assert.deepEqual(effects, ["prepare", "start"]);
  assert.equal(state.api.Paused, "");
});

test("a running task is stopped at the end of its times, counts no restart, and comes back", () => {
  const { phases, effects, state } = play([...START, HOLD, { t: "exited", result: EXIT }, FREE, {
    t: "started",
  }]);
  assert.deepEqual(phases.slice(3), ["stopping", "held", "starting", "running"]);
  assert.deepEqual(effects.slice(2), ["stop", "destroy", "start"]);
  assert.deepEqual([state.api.Restarts, state.attempts, state.api.State], [0, 0, "running"]);
});

test("times that end while a task prepares, starts or backs off hold it as soon as that is over", () => {
  assert.equal(play([{ t: "open" }, HOLD, { t: "prepared" }]).state.phase, "held");
  assert.deepEqual(
    play([{ t: "open" }, { t: "prepared" }, HOLD, { t: "started" }, { t: "exited", result: EXIT }]).phases
      .slice(2),
    ["starting", "stopping", "held"],
  );
  const backoff = play([...START, { t: "exited", result: EXIT }, HOLD]);
  assert.deepEqual([backoff.state.phase, backoff.effects.at(-1)], ["held", "cancelTimer"]);
  // The time comes again before the task has ended: it starts at once.
  assert.equal(play([...START, HOLD, FREE, { t: "exited", result: EXIT }]).state.phase, "starting");
});

test("a held task can be killed, and survives the agent", () => {
  const kill: TaskInput = { t: "kill", draft: null, failed: false, noShutdownDelay: true };
  assert.deepEqual(play([HOLD, { t: "open" }, kill]).state.api.State, "dead");
  assert.equal(play([...START, HOLD, { t: "exited", result: EXIT }, { t: "recovered" }]).state.phase, "held");
  assert.equal(play([...START, HOLD, { t: "lost" }]).state.phase, "held");
});

test("an agent holds a task outside of its times, and its operator may set the schedule aside", async () => {
  const agent = new TestAgent();
  try {
    await agent.start();
    const [start, end] = new Date().getUTCHours() < 12 ? ["0 22", "0 23"] : ["0 1", "0 2"];
    const file = join(agent.folder, "shift.nomad.hcl");
    writeFileSync(
      file,
      `job "shift" {
  group "g" {
    task "t" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
        args    = ["1000"]
      }
      schedule {
        cron {
          start    = "${start} * * * *"
          end      = "${end}"
          timezone = "UTC"
        }
      }
    }
  }
}`,
    );
    const submitted = await agent.nomad("job", "run", "-detach", file);
    assert.equal(submitted.code, 0, submitted.stderr);
    type State = { ID: string; TaskStates: Record<string, { State: string; Paused: string }> | null };
    const until = (state: string, paused: string) =>
      agent.until(async () => {
        const [alloc] = await agent.get<State[]>("/v1/job/shift/allocations");
        const task = alloc?.TaskStates?.["t"];
        return task?.State === state && task.Paused === paused ? alloc : undefined;
      }, `the task to be ${state} ${paused}`);
    const { ID } = (await until("pending", "scheduled_pause"))!;
    assert.equal((await agent.nomad("alloc", "pause", "-state=run", ID)).code, 0);
    await until("running", "force_run");
    assert.equal((await agent.nomad("alloc", "pause", "-status", ID)).stdout, "force_run\n");
    assert.equal((await agent.nomad("alloc", "pause", "-state=scheduled", ID)).code, 0);
    await until("pending", "scheduled_pause");
    const job = await agent.get<Job>("/v1/job/shift");
    assert.equal(job.TaskGroups[0]!.Tasks[0]!.Schedule?.Cron.Timezone, "UTC");
  } finally {
    await agent.destroy();
  }
});
