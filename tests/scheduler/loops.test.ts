// The leader's loops on a clock that the test moves: heartbeats, periodic launches, garbage collection, plans that lose
// their room on the way, a new leader taking over.
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "../../core/logger.ts";
import type { Job } from "../../core/types.ts";
import { dryRun } from "../../server/dry_run.ts";
import { jobEvaluation } from "../../server/evaluations.ts";
import { LeaderLoops } from "../../server/leader_loops.ts";
import { nextLaunchMs } from "../../server/cron_schedule.ts";
import { PlanQueue } from "../../server/plan.ts";
import { schedule } from "../../server/schedule.ts";
import { State } from "../../server/state.ts";
import { Cluster } from "./cluster.ts";
import { group, job, node, SeededRandom, task } from "./fixtures.ts";

const gc = {
  intervalMs: 1e12,
  jobMs: 1e12,
  evalMs: 1e12,
  batchEvalMs: 1e12,
  deploymentMs: 1e12,
  nodeMs: 1e12,
};
const beating = {
  heartbeatTtlMinMs: 10_000,
  heartbeatGraceMs: 10_000,
  heartbeatsPerSecondMax: 50,
  heartbeatTtlFailoverMs: 300_000,
  gc,
};

test("Heartbeats: a silent node goes down and what it ran is replaced; a beat brings it back", async () => {
  const cluster = new Cluster(1, beating);
  await cluster.addNodes(node(0), node(1));
  await cluster.register(job("web", { TaskGroups: [group({ Count: 2 })] }));
  for (let i = 0; i < 5; i++) {
    cluster.loops.beat(node(0).ID);
    if (i === 0) assert.ok(cluster.loops.beat(node(1).ID) >= 10_000);
    await cluster.clock.advance(10_000);
  }
  assert.equal(cluster.state.node(node(1).ID)!.Status, "down");
  assert.equal(cluster.state.node(node(0).ID)!.Status, "ready");
  assert.equal(cluster.state.node(node(1).ID)!.Events.at(-1)!.Message, "Node heartbeat missed");
  assert.ok(cluster.live("web").every((alloc) => alloc.NodeID === node(0).ID));
  assert.equal(cluster.live("web").length, 2);
  cluster.loops.beat(node(1).ID);
  await cluster.run();
  assert.equal(cluster.state.node(node(1).ID)!.Status, "ready");
});

test("Heartbeats: time in which the server itself stood still is nobody's fault", async () => {
  const cluster = new Cluster(1, beating);
  await cluster.addNodes(node(0));
  cluster.loops.beat(node(0).ID);
  cluster.clock.jump(120_000);
  await cluster.clock.advance(1_000);
  assert.equal(cluster.state.node(node(0).ID)!.Status, "ready");
  await cluster.clock.advance(60_000);
  assert.equal(cluster.state.node(node(0).ID)!.Status, "down");
});

test("Heartbeats: a node is disconnected while something on it may outlive the silence, then down", async () => {
  const cluster = new Cluster(1, beating);
  await cluster.addNodes(node(0));
  await cluster.register(job("web", { TaskGroups: [group({ Disconnect: { LostAfter: 60e9 } })] }));
  await cluster.report(cluster.live("web"), "running");
  cluster.loops.beat(node(0).ID);
  await cluster.clock.advance(40_000);
  assert.equal(cluster.state.node(node(0).ID)!.Status, "disconnected");
  assert.equal(cluster.allocs("web")[0]!.ClientStatus, "unknown");
  await cluster.clock.advance(70_000);
  assert.equal(cluster.allocs("web")[0]!.ClientStatus, "lost");
  assert.equal(cluster.state.node(node(0).ID)!.Status, "down");
});

function cron(fields: Record<string, unknown> = {}): Job {
  return job("cron", {
    Type: "batch",
    Periodic: {
      Enabled: true,
      Spec: "*/10 * * * *",
      SpecType: "cron",
      ProhibitOverlap: false,
      TimeZone: "UTC",
      ...fields,
    },
  });
}

function children(cluster: Cluster): string[] {
  return [...cluster.state.jobChildren("default", "cron")].map((child) => child.ID).sort();
}

async function registerPeriodic(cluster: Cluster, made: Job): Promise<void> {
  cluster.apply({
    kind: "job.register",
    time: cluster.context.nowNs(),
    job: made,
    submission: null,
    evals: [],
  });
  await cluster.run();
}

test("Periodic: launches a child when it is due, named after the second", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0));
  await registerPeriodic(cluster, cron());
  assert.deepEqual(children(cluster), []);
  await cluster.clock.advance(25 * 60_000);
  assert.deepEqual(children(cluster), ["cron/periodic-1795320600", "cron/periodic-1795321200"]);
  assert.equal(cluster.live("cron/periodic-1795320600").length, 1);
  assert.equal(cluster.evals("cron/periodic-1795320600")[0]!.TriggeredBy, "periodic-job");
});

test("Periodic: prohibit_overlap leaves a launch out while a child runs", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0));
  await registerPeriodic(cluster, cron({ ProhibitOverlap: true }));
  await cluster.clock.advance(25 * 60_000);
  assert.equal(children(cluster).length, 1);
  await cluster.report(cluster.live(children(cluster)[0]!), "complete");
  await cluster.clock.advance(10 * 60_000);
  assert.equal(children(cluster).length, 2);
});

test("Periodic: a new leader makes up for a missed launch once and repeats none", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0));
  await registerPeriodic(cluster, cron());
  await cluster.clock.advance(11 * 60_000);
  assert.equal(children(cluster).length, 1);
  cluster.loops.stop();
  await cluster.clock.advance(35 * 60_000);
  assert.equal(children(cluster).length, 1);
  cluster.loops.start();
  await cluster.run();
  assert.equal(children(cluster).length, 2);
  cluster.loops.stop();
  cluster.loops.start();
  await cluster.clock.advance(60_000);
  assert.equal(children(cluster).length, 2);
  await cluster.clock.advance(4 * 60_000);
  assert.equal(children(cluster).length, 3);
});

test("nextLaunchMs: time zones, several expressions, years, names", () => {
  const periodic = (Specs: string[], TimeZone = "UTC") => ({
    Enabled: true,
    Spec: "",
    Specs,
    SpecType: "cron",
    ProhibitOverlap: false,
    TimeZone,
  });
  const at = Date.parse("2026-11-22T12:00:30Z");
  const next = (specs: string[], zone?: string) =>
    new Date(nextLaunchMs(periodic(specs, zone), at)!).toISOString();
  assert.equal(next(["0 8 * * *"], "Europe/Berlin"), "2026-11-23T07:00:00.000Z");
  assert.equal(next(["0 8 * * *", "15 12 * * *"]), "2026-11-22T12:15:00.000Z");
  assert.equal(next(["@hourly"]), "2026-11-22T13:00:00.000Z");
  assert.equal(next(["0 0 1 1 * 2030"]), "2030-01-01T00:00:00.000Z");
  assert.equal(next(["45 * * * * * *"]), "2026-11-22T12:00:45.000Z");
  assert.equal(nextLaunchMs(periodic(["0 0 1 1 * 2020"]), at), null);
  assert.throws(() => nextLaunchMs(periodic(["61 * * * *"]), at));
});

test("nextLaunchMs: a time that a day does not have is left out, one that it has twice comes once", () => {
  const launches = (Spec: string, TimeZone: string, from: string, count: number) => {
    const times: string[] = [];
    for (let at = Date.parse(from); times.length < count;) {
      const next = nextLaunchMs({ ...periodicDefaults, Spec, TimeZone }, at)!;
      times.push(new Date(next).toISOString().slice(0, 16));
      at = next;
    }
    return times;
  };
  assert.deepEqual(launches("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z", 2), [
    "2027-03-29T00:30",
    "2027-03-30T00:30",
  ]);
  assert.deepEqual(launches("30 1 * * *", "America/New_York", "2027-11-06T12:00:00Z", 2), [
    "2027-11-07T05:30",
    "2027-11-08T06:30",
  ]);
});

const periodicDefaults = {
  Enabled: true,
  SpecType: "cron",
  Spec: "",
  Specs: null,
  ProhibitOverlap: false,
  TimeZone: "",
};

test("GarbageCollector: forgets what is over, keeps what may still matter", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0), node(1));
  await cluster.register(job("done", { Type: "batch" }));
  await cluster.report(cluster.live("done"), "complete");
  await cluster.register(job("stopped"));
  await cluster.stop("stopped");
  await cluster.report(cluster.allocs("stopped"), "complete");
  await cluster.register(job("runs"));
  await cluster.report(cluster.live("runs"), "running", { healthy: true });
  await registerPeriodic(cluster, cron());
  await cluster.nodeStatus(node(1).ID, "down");
  await cluster.loops.collectGarbage();
  assert.deepEqual([...cluster.state.jobs()].map((known) => known.ID).sort(), ["cron", "runs"]);
  assert.equal(cluster.live("runs").length, 1);
  assert.equal(cluster.state.allocCount, cluster.allocs("runs").length);
  assert.equal(cluster.state.node(node(1).ID), undefined);
});

test("GarbageCollector: what is young stays", async () => {
  const cluster = new Cluster(1, {
    ...beating,
    heartbeatTtlFailoverMs: 1e12,
    heartbeatTtlMinMs: 1e12,
    gc: { ...gc, intervalMs: 60_000, jobMs: 3_600_000, evalMs: 3_600_000 },
  });
  await cluster.addNodes(node(0));
  await cluster.register(job("done", { Type: "batch" }));
  await cluster.report(cluster.live("done"), "complete");
  await cluster.clock.advance(30 * 60_000);
  assert.ok(cluster.state.job("default", "done"));
  await cluster.clock.advance(40 * 60_000);
  assert.equal(cluster.state.job("default", "done"), undefined);
  assert.equal(cluster.state.allocCount, 0);
});

test("PlanQueue: leaves out what no longer fits and keeps the evaluation open", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0, { memory: 250 }), node(1, { memory: 250 }));
  cluster.loops.stop();
  const made = job("web", { Type: "batch", TaskGroups: [group({ Count: 4 })] });
  const evaluation = jobEvaluation(made, "job-register", cluster.stamp);
  cluster.apply({ kind: "job.register", time: 1, job: made, submission: null, evals: [evaluation] });
  const plan = schedule(cluster.state, evaluation, cluster.random, 1);
  assert.equal(plan.result.placements.length, 4);
  await cluster.nodeStatus(node(1).ID, "down");
  const queue = new PlanQueue(cluster.context);
  const { rejected } = await queue.submit(plan);
  assert.equal(rejected, 2);
  assert.equal(queue.inFlight, 0);
  assert.equal(cluster.live("web").length, 2);
  assert.equal(cluster.state.eval(evaluation.ID)!.Status, "pending");
});

test("PlanQueue: plans in flight cannot count on the same room", () => {
  const state = new State();
  state.apply(1, { kind: "node.register", time: 1, node: node(0, { memory: 250 }) });
  const stamp = { random: new SeededRandom(3), nowNs: 1 };
  const evals = ["a", "b"].map((id, i) => {
    const made = job(id, { Type: "batch", TaskGroups: [group({ Count: 2 })] });
    const evaluation = jobEvaluation(made, "job-register", stamp);
    state.apply(2 + i, { kind: "job.register", time: 1, job: made, submission: null, evals: [evaluation] });
    return evaluation;
  });
  const queue = new PlanQueue({ state, nowNs: () => 1, propose: () => new Promise(() => undefined) });
  const first = schedule(state, evals[0]!, stamp.random, 1, { overlay: queue.overlay });
  void queue.submit(first);
  const second = schedule(state, evals[1]!, stamp.random, 1, { overlay: queue.overlay });
  assert.equal(first.result.placements.length, 2);
  assert.equal(second.result.placements.length, 0);
  assert.deepEqual(second.failed["g"]!.DimensionExhausted, { memory: 1 });
});

test("LeaderLoops: a new leader goes on with what the old one left", async () => {
  const cluster = new Cluster();
  cluster.loops.stop();
  await cluster.addNodes(node(0, { memory: 150 }));
  await cluster.register(job("one", { Type: "batch" }));
  await cluster.register(job("two", { Type: "batch" }));
  assert.equal(cluster.state.allocCount, 0);
  const next = new LeaderLoops({ ...cluster.context, logger: silentLogger }, beating);
  cluster.state.onChanges((changes) => next.onChanges(changes));
  next.start();
  await cluster.run();
  assert.equal(cluster.state.allocCount, 1);
  assert.equal(next.scheduling.blocked.size, 1);
  const [running] = [...cluster.state.allocs()];
  await cluster.report([running!], "complete");
  assert.equal(cluster.state.allocCount, 2);
  next.stop();
});

test("dryRun: says what registering would do and changes nothing", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0));
  const options = { annotate: true, random: cluster.random, nowNs: cluster.context.nowNs() };
  const fresh = dryRun(cluster.state, job("web", { TaskGroups: [group({ Count: 2 })] }), options);
  assert.equal(fresh.evaluation.PlanAnnotations!.DesiredTGUpdates["g"]!.Place, 2);
  assert.equal(cluster.state.allocCount, 0);
  await cluster.register(job("web", { TaskGroups: [group({ Count: 2 })] }));
  const same = dryRun(cluster.state, job("web", { TaskGroups: [group({ Count: 2 })] }), options);
  assert.equal(same.evaluation.PlanAnnotations!.DesiredTGUpdates["g"]!.Ignore, 2);
  const tooBig = job("web", {
    TaskGroups: [group({ Count: 3, Tasks: [task({ Resources: { CPU: 9e6, MemoryMB: 10 } })] })],
  });
  const failing = dryRun(cluster.state, tooBig, options);
  assert.deepEqual(failing.failed["g"]!.DimensionExhausted, { cpu: 1 });
  assert.equal(failing.createdEvals[0]!.Status, "blocked");
  assert.equal(cluster.live("web").length, 2);
});
