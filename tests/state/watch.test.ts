import { test } from "node:test";
import assert from "node:assert/strict";
import type { Clock } from "../../core/env.ts";
import { Watch } from "../../server/watch.ts";
import { Bench, makeEval, makeJob, makeNode, makePlacement, makePlan, makeUpdate, uuid } from "./fixtures.ts";

/** A clock that moves when it is told. */
class ManualClock implements Clock {
  #now = 0;
  #timers: { at: number; run: () => void }[] = [];

  nowMs = () => this.#now;
  monotonicMs = () => this.#now;

  after(delayMs: number, run: () => void): () => void {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  get pending(): number {
    return this.#timers.length;
  }

  advance(ms: number): void {
    this.#now += ms;
    const due = this.#timers.filter((timer) => timer.at <= this.#now);
    this.#timers = this.#timers.filter((timer) => timer.at > this.#now);
    for (const timer of due) timer.run();
  }
}

function rig(): { b: Bench; watch: Watch; clock: ManualClock } {
  const clock = new ManualClock();
  const watch = new Watch(clock);
  const b = new Bench();
  b.state.onChanges(watch.notify);
  return { b, watch, clock };
}

test("Watch wakes those who wait for a table, and only them", async () => {
  const { b, watch, clock } = rig();
  const jobs = watch.wait({ tables: ["jobs"], minIndex: 0, timeoutMs: 1000 });
  const nodes = watch.wait({ tables: ["nodes"], minIndex: 0, timeoutMs: 1000 });
  b.register(makeJob("web"));
  assert.equal(await jobs, "changed");
  assert.equal(watch.waiting, 1);
  clock.advance(1000);
  assert.equal(await nodes, "timeout");
  assert.deepEqual([watch.waiting, clock.pending], [0, 0], "nothing is left behind");
});

test("Watch waits for an index that is still to come", async () => {
  const { b, watch } = rig();
  const future = watch.wait({ tables: ["jobs"], minIndex: 2, timeoutMs: 1000 });
  b.register(makeJob("a"));
  b.register(makeJob("b"));
  assert.equal(watch.waiting, 1);
  b.register(makeJob("c"));
  assert.equal(await future, "changed");
});

test("Watch wakes a single object by its key, before it exists and when it goes", async () => {
  const { b, watch } = rig();
  const wait = (key: string) => watch.wait({ keys: [key], minIndex: 0, timeoutMs: 1000 });
  const born = wait("job:default/web");
  const other = wait("job:default/other");
  b.register(makeJob("web"));
  assert.equal(await born, "changed");
  assert.equal(watch.waiting, 1);
  const gone = wait("job:default/web");
  b.must({
    kind: "job.deregister",
    time: b.time,
    namespace: "default",
    id: "web",
    purge: true,
    noShutdownDelay: false,
    evals: [],
  });
  assert.equal(await gone, "changed");
  watch.wakeAll();
  assert.equal(await other, "changed");
});

test("Watch wakes what a plan and a device's report touch", async () => {
  const { b, watch } = rig();
  b.node(makeNode(0));
  b.register(makeJob("web"), [makeEval(0, "web")]);
  const alloc = uuid(0x500000);
  const keys = [
    `alloc:${alloc}`,
    `node-allocs:${uuid(0x1000)}`,
    "job-allocs:default/web",
    `eval-allocs:${uuid(0x30000)}`,
    "summary:default/web",
    "job:default/web",
  ];
  const waits = keys.map((key) => watch.wait({ keys: [key], minIndex: 0, timeoutMs: 1000 }));
  const idle = watch.wait({ keys: [`node:${uuid(0x1000)}`], minIndex: 0, timeoutMs: 1000 });
  b.plan(
    makePlan("web", { placements: [makePlacement(0)], evals: [makeEval(0, "web", { Status: "complete" })] }),
  );
  assert.deepEqual(await Promise.all(waits), keys.map(() => "changed"));
  const again = watch.wait({ keys: [`alloc:${alloc}`], minIndex: 0, timeoutMs: 1000 });
  b.report(makeUpdate(alloc, "running"));
  assert.equal(await again, "changed");
  assert.equal(watch.waiting, 1, "a report is no change of the node");
  watch.wakeAll();
  assert.equal(await idle, "changed");
});

test("Watch gives up when its signal fires", async () => {
  const { watch, clock } = rig();
  const abort = new AbortController();
  const waiting = watch.wait({ tables: ["jobs"], minIndex: 0, timeoutMs: 1000, signal: abort.signal });
  abort.abort();
  assert.equal(await waiting, "aborted");
  assert.deepEqual([watch.waiting, clock.pending], [0, 0]);
  assert.equal(await watch.wait({ minIndex: 0, timeoutMs: 1000, signal: abort.signal }), "aborted");
});

test("Watch wakes thousands in one pass", async () => {
  const { b, watch } = rig();
  const waits = Array.from(
    { length: 5000 },
    () => watch.wait({ tables: ["jobs", "job_summary"], minIndex: 0, timeoutMs: 1000 }),
  );
  b.register(makeJob("web"));
  assert.equal(watch.waiting, 0);
  assert.equal((await Promise.all(waits)).filter((result) => result === "changed").length, 5000);
});
