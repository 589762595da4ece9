// The whole leader's scheduling on a real state: evaluation in, allocations out.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster } from "./cluster.ts";
import { group, job, node, task } from "./fixtures.ts";

const toobig = [group({ Tasks: [task({ Resources: { CPU: 50, MemoryMB: 999999 } })] })];

test("Scheduling places a service job and completes its evaluation", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0), node(1));
  const evaluation = await cluster.register(job("web", { TaskGroups: [group({ Count: 3 })] }));
  assert.equal(evaluation.Status, "complete");
  assert.deepEqual(evaluation.QueuedAllocations, { g: 0 });
  assert.equal(evaluation.PlanAnnotations?.DesiredTGUpdates["g"]?.Place, 3);
  assert.deepEqual(cluster.live("web").map((alloc) => alloc.Name), ["web.g[0]", "web.g[1]", "web.g[2]"]);
  assert.equal(cluster.scheduling.plans.inFlight, 0);
});

test("Scheduling places batch, system and sysbatch jobs", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0), node(1), node(2));
  await cluster.register(job("b", { Type: "batch", TaskGroups: [group({ Count: 4 })] }));
  await cluster.register(job("s", { Type: "system" }));
  await cluster.register(job("sb", { Type: "sysbatch" }));
  assert.equal(cluster.live("b").length, 4);
  assert.equal(new Set(cluster.live("s").map((alloc) => alloc.NodeID)).size, 3);
  assert.equal(cluster.live("sb").length, 3);
  await cluster.addNodes(node(3));
  assert.equal(cluster.live("s").length, 4);
  await cluster.report(cluster.live("sb"), "complete");
  await cluster.nodeStatus(node(0).ID, "ready");
  assert.equal(cluster.live("sb").length, 0);
});

test("Scheduling blocks what finds no room and runs it when a node arrives", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0, { nodeClass: "a" }), node(1, { nodeClass: "b" }));
  const evaluation = await cluster.register(job("toobig", { TaskGroups: toobig }));
  assert.equal(evaluation.Status, "complete");
  const failure = evaluation.FailedTGAllocs!["g"]!;
  assert.deepEqual(failure.DimensionExhausted, { memory: 2 });
  assert.deepEqual(failure.ClassExhausted, { a: 1, b: 1 });
  assert.equal(failure.NodesEvaluated, 2);
  assert.equal(failure.ResourcesExhausted!["t"]!.MemoryMB, 999999);
  const blocked = cluster.state.eval(evaluation.BlockedEval)!;
  assert.equal(blocked.Status, "blocked");
  assert.equal(blocked.StatusDescription, "created to place remaining allocations");
  assert.equal(blocked.TriggeredBy, "queued-allocs");
  await cluster.addNodes(node(2, { memory: 2_000_000, nodeClass: "c" }));
  assert.equal(cluster.live("toobig").length, 1);
  assert.equal(cluster.state.eval(blocked.ID)!.Status, "complete");
});

test("Scheduling wakes blocked evaluations when an allocation ends", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0, { memory: 150 }));
  await cluster.register(job("one", { Type: "batch" }));
  await cluster.register(job("two", { Type: "batch" }));
  assert.equal(cluster.live("two").length, 0);
  await cluster.report(cluster.live("one"), "complete");
  assert.equal(cluster.live("two").length, 1);
  assert.equal(cluster.scheduling.blocked.size, 0);
});

test("Scheduling replaces what a dead node ran", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0), node(1));
  await cluster.register(job("web", { TaskGroups: [group({ Count: 4 })] }));
  await cluster.report(cluster.live("web"), "running");
  await cluster.nodeStatus(node(0).ID, "down");
  assert.equal(cluster.live("web").length, 4);
  assert.ok(cluster.live("web").every((alloc) => alloc.NodeID === node(1).ID));
  const lost = cluster.allocs("web").filter((alloc) => alloc.ClientStatus === "lost");
  assert.ok(lost.length > 0);
  assert.ok(lost.every((alloc) => alloc.DesiredDescription === "alloc is lost since its node is down"));
});

test("Scheduling stops a job's allocations when the job stops", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0));
  await cluster.register(job("web", { TaskGroups: [group({ Count: 2 })] }));
  await cluster.stop("web");
  assert.ok(cluster.allocs("web").every((alloc) => alloc.DesiredStatus === "stop"));
  assert.ok(
    cluster.allocs("web").every((alloc) => alloc.DesiredDescription === "alloc not needed due to job update"),
  );
});

test("Scheduling reschedules a failed allocation after the policy's delay", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0), node(1));
  const reschedule = { Delay: 5e9, DelayFunction: "exponential", MaxDelay: 3600e9, Unlimited: true };
  await cluster.register(
    job("crash", { TaskGroups: [group({ ReschedulePolicy: reschedule, Update: { MaxParallel: 0 } })] }),
  );
  const [first] = cluster.live("crash");
  await cluster.report([first!], "failed");
  assert.equal(cluster.live("crash").length, 0);
  const followup = cluster.state.alloc(first!.ID)!.FollowupEvalID;
  assert.equal(cluster.state.eval(followup)!.StatusDescription, "created for delayed rescheduling");
  await cluster.clock.advance(4_000);
  assert.equal(cluster.live("crash").length, 0);
  await cluster.clock.advance(2_000);
  const [second] = cluster.live("crash");
  assert.equal(second!.PreviousAllocation, first!.ID);
  assert.notEqual(second!.NodeID, first!.NodeID);
  assert.equal(second!.RescheduleTracker!.Events!.length, 1);
  assert.equal(cluster.state.alloc(first!.ID)!.NextAllocation, second!.ID);
  assert.equal(cluster.state.alloc(first!.ID)!.DesiredStatus, "stop");
});

test("Scheduling places a large job in several plans", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(
    ...Array.from({ length: 20 }, (_, i) => node(i, { cpu: 1e6, memory: 1e6, disk: 1e7 })),
  );
  const evaluation = await cluster.register(
    job("big", { Type: "batch", TaskGroups: [group({ Count: 12_000 })] }),
  );
  await cluster.run();
  assert.equal(cluster.live("big").length, 12_000);
  assert.equal(cluster.state.eval(evaluation.ID)!.Status, "complete");
  assert.equal(cluster.commands.filter((command) => command.kind === "plan").length, 6);
});
