import { test } from "node:test";
import assert from "node:assert/strict";
import { State } from "../../server/state.ts";
import type { JobWritten } from "../../server/state_jobs.ts";
import type { ScalingPolicy } from "../../core/types.ts";
import {
  Bench,
  makeDeployment,
  makeEval,
  makeGroup,
  makeJob,
  makeNode,
  makePlacement,
  makePlan,
  makeResources,
  makeUpdate,
  uuid,
} from "./fixtures.ts";

const NODE = uuid(0x1000);
const ALLOC = uuid(0x500000);

/** A node, a registered job and one allocation of it that waits for its device. */
function placed(): Bench {
  const b = new Bench();
  b.node(makeNode(0));
  b.register(makeJob("web"), [makeEval(0, "web")]);
  b.plan(
    makePlan("web", { placements: [makePlacement(0)], evals: [makeEval(0, "web", { Status: "complete" })] }),
  );
  return b;
}

function used(b: Bench): number[] {
  const table = b.state.nodeTable;
  const slot = table.slot(NODE);
  return [table.cpuUsed[slot]!, table.memoryUsed[slot]!, table.diskUsed[slot]!, table.allocCount[slot]!];
}

test("State holds the built-in namespace, pools and scheduler configuration from the start", () => {
  const state = new State();
  assert.deepEqual([...state.namespaces()].map((n) => [n.Name, n.CreateIndex]), [["default", 1]]);
  assert.deepEqual([...state.nodePools()].map((p) => p.Name), ["all", "default"]);
  assert.equal(state.schedulerConfig().SchedulerAlgorithm, "binpack");
  assert.equal(state.tableIndex("jobs"), 0);
  assert.equal(state.tableIndex("jobs", "namespaces"), 1);
});

test("State derives a job's status from its evaluations and allocations", () => {
  const b = new Bench();
  b.node(makeNode(0));
  b.register(makeJob("web", { Type: "batch" }), [makeEval(0, "web")]);
  const job = () => b.state.job("default", "web")!;
  assert.equal(job().Status, "pending");
  assert.equal(b.state.eval(uuid(0x30000))!.JobModifyIndex, 2, "the evaluation learns the job's index");
  b.plan(
    makePlan("web", { placements: [makePlacement(0)], evals: [makeEval(0, "web", { Status: "complete" })] }),
  );
  assert.equal(job().Status, "running");
  assert.deepEqual([job().CreateIndex, job().ModifyIndex, job().JobModifyIndex], [2, 3, 2]);
  b.report(makeUpdate(ALLOC, "complete"));
  assert.equal(job().Status, "dead");
  assert.equal(b.state.jobVersions("default", "web")[0], job(), "the newest version is the job");
});

test("a job with a deployment that still moves is running, even when nothing could be placed", () => {
  const b = new Bench();
  b.register(makeJob("web"), [makeEval(0, "web")]);
  const status = () => b.state.job("default", "web")!.Status;
  b.plan(
    makePlan("web", {
      deployment: makeDeployment(0, "web"),
      evals: [makeEval(0, "web", { Status: "blocked" })],
    }),
  );
  assert.equal(status(), "running");
  b.must({
    kind: "deployment.status",
    time: b.time,
    id: uuid(0x70000),
    status: "failed",
    description: "",
    evals: [],
  });
  assert.equal(status(), "pending");
});

test("State keeps periodic, parameterized and system jobs running until they are stopped", () => {
  const b = new Bench();
  const periodic = {
    Enabled: true,
    Spec: "",
    Specs: ["* * * * *"],
    SpecType: "cron",
    ProhibitOverlap: false,
    TimeZone: "UTC",
  };
  b.register(makeJob("cron", { Type: "batch", Periodic: periodic }));
  b.register(makeJob("param", {
    Type: "batch",
    ParameterizedJob: { Payload: "optional", MetaRequired: null, MetaOptional: null },
  }));
  b.register(makeJob("sys", { Type: "system" }));
  for (const id of ["cron", "param", "sys"]) assert.equal(b.state.job("default", id)!.Status, "running", id);
  b.must({
    kind: "job.deregister",
    time: b.time,
    namespace: "default",
    id: "cron",
    purge: false,
    noShutdownDelay: false,
    evals: [],
  });
  assert.equal(b.state.job("default", "cron")!.Status, "dead");
  assert.deepEqual([...b.state.systemJobs()].map((job) => job.ID), ["sys"]);
});

test("State counts children in their parent's summary, purged ones as dead", () => {
  const b = new Bench();
  b.node(makeNode(0));
  b.register(makeJob("param", {
    Type: "batch",
    ParameterizedJob: { Payload: "optional", MetaRequired: null, MetaOptional: null },
  }));
  const children = () => b.state.jobSummary("default", "param")!.Children;
  b.register(makeJob("param/1", { Type: "batch", ParentID: "param" }), [makeEval(1, "param/1")]);
  assert.deepEqual(children(), { Pending: 1, Running: 0, Dead: 0 });
  b.plan(makePlan("param/1", {
    placements: [makePlacement(0)],
    evals: [makeEval(1, "param/1", { Status: "complete" })],
  }));
  assert.deepEqual(children(), { Pending: 0, Running: 1, Dead: 0 });
  assert.deepEqual([...b.state.jobChildren("default", "param")].map((job) => job.ID), ["param/1"]);
  b.must({
    kind: "job.deregister",
    time: b.time,
    namespace: "default",
    id: "param/1",
    purge: true,
    noShutdownDelay: false,
    evals: [],
  });
  assert.deepEqual(children(), { Pending: 0, Running: 0, Dead: 1 });
  assert.deepEqual([...b.state.jobChildren("default", "param")], []);
});

test("registering an unchanged job makes no version, a changed one does and keeps the submission", () => {
  const b = new Bench();
  const submission = {
    Source: "job {}",
    Format: "hcl2",
    VariableFlags: null,
    Variables: "",
    Namespace: "",
    JobID: "",
    Version: 9,
    JobModifyIndex: 0,
  };
  b.must({ kind: "job.register", time: b.time, job: makeJob("web"), submission, evals: [] });
  const again = b.must({
    kind: "job.register",
    time: b.time,
    job: makeJob("web"),
    submission: null,
    evals: [makeEval(0, "web")],
  }) as JobWritten;
  assert.equal(again.unchanged, true);
  assert.equal(again.job.Version, 0);
  assert.equal(again.job.JobModifyIndex, 1);
  const changed = b.must({
    kind: "job.register",
    time: b.time,
    job: makeJob("web", { Priority: 70 }),
    submission: null,
    evals: [],
  }) as JobWritten;
  assert.deepEqual([
    changed.unchanged,
    changed.job.Version,
    changed.job.CreateIndex,
    changed.job.JobModifyIndex,
  ], [
    false,
    1,
    1,
    3,
  ]);
  assert.deepEqual(b.state.jobVersions("default", "web").map((job) => job.Version), [1, 0]);
  const carried = b.state.jobSubmission("default", "web", 1)!;
  assert.deepEqual([carried.Source, carried.Version, carried.JobModifyIndex, carried.JobID], [
    "job {}",
    1,
    3,
    "web",
  ]);
});

test("job.register enforces the modify index in the recorded words", () => {
  const b = new Bench();
  const register = (enforceIndex: number, priority = 50) =>
    b.apply({
      kind: "job.register",
      time: b.time,
      job: makeJob("web", { Priority: priority }),
      submission: null,
      evals: [],
      enforceIndex,
    }).refused;
  const refused = (message: string) => ({ status: 500, message });
  assert.deepEqual(register(10), refused("Enforcing job modify index 10: job does not exist"));
  assert.equal(register(0), undefined);
  assert.deepEqual(register(0), refused("Enforcing job modify index 0: job already exists"));
  assert.deepEqual(
    register(1),
    refused("Enforcing job modify index 1: job exists with conflicting job modify index: 2"),
  );
  assert.equal(register(2, 60), undefined);
  assert.equal(b.state.job("default", "web")!.JobModifyIndex, 5);
});

test("job.register refuses unknown places and another kind of job, and changes nothing", () => {
  const b = new Bench();
  const heard: number[] = [];
  b.state.onChanges((changes) => heard.push(changes.index));
  const register = (fields: Parameters<typeof makeJob>[1]) =>
    b.apply({ kind: "job.register", time: b.time, job: makeJob("web", fields), submission: null, evals: [] })
      .refused
      ?.message;
  assert.equal(
    register({ Namespace: "nope", NodePool: "zzz" }),
    '2 errors occurred:\n\t* job "web" is in nonexistent namespace "nope"\n\t* job "web" is in nonexistent node pool "zzz"\n\n',
  );
  assert.equal(register({ Type: "batch" }), undefined);
  assert.equal(register({}), 'cannot update job from type "batch" to "service"');
  assert.deepEqual(heard, [2], "refused commands are told to nobody");
  assert.equal(b.state.index, 3);
});

test("job versions are tracked up to the limit; tagged ones and the only stable one stay", () => {
  const b = new Bench(new State({ jobVersionsTracked: 3 }));
  const register = (priority: number) => b.register(makeJob("web", { Priority: priority }));
  const stability = (version: number) =>
    b.must({ kind: "job.stability", time: b.time, namespace: "default", id: "web", version, stable: true });
  const tag = (name: string, version: number) =>
    b.must({
      kind: "job.tag",
      time: b.time,
      namespace: "default",
      id: "web",
      name,
      version,
      description: "d",
    });
  const versions = () => b.state.jobVersions("default", "web").map((job) => job.Version);
  register(1);
  stability(0);
  register(2);
  tag("keep", 1);
  for (const priority of [3, 4, 5, 6]) register(priority);
  assert.deepEqual(versions(), [5, 4, 1, 0], "0 is the only stable one, 1 is tagged");
  stability(4);
  register(7);
  assert.deepEqual(versions(), [6, 5, 4, 1]);
  assert.equal(b.state.jobVersion("default", "web", 0), undefined);
});

test("job.tag names versions, moves nothing by accident and says why it refuses", () => {
  const b = new Bench();
  b.register(makeJob("web"));
  b.register(makeJob("web", { Priority: 60 }));
  const tag = (name: string, fields: { version?: number; unset?: boolean }) =>
    b.apply({ kind: "job.tag", time: b.time, namespace: "default", id: "web", name, ...fields });
  assert.deepEqual((tag("a", { version: 0 }).value as { Name: string }).Name, "a");
  assert.equal(
    tag("a", { version: 1 }).refused?.message,
    'tag "a" already exists on a different version of job "web"',
  );
  assert.equal(tag("a", { version: 0 }).refused, undefined);
  assert.equal(tag("b", { version: 99 }).refused?.message, 'job "web" version 99 not found');
  assert.equal(tag("zzz", { unset: true }).refused?.message, 'tag "zzz" not found on job "web"');
  assert.equal(tag("a", { unset: true }).refused, undefined);
  assert.equal(b.state.jobVersion("default", "web", 0)!.VersionTag, null);
  assert.equal(tag("b", {}).refused, undefined);
  assert.equal(b.state.job("default", "web")!.VersionTag!.Name, "b", "no version means the newest");
});

test("scaling policies keep their indexes while nobody touches them", () => {
  const b = new Bench();
  const policy = (max: number): ScalingPolicy => ({
    ID: uuid(7),
    Type: "horizontal",
    Target: null,
    Policy: null,
    Min: 1,
    Max: max,
    Enabled: true,
    CreateIndex: 0,
    ModifyIndex: 0,
  });
  const register = (max: number, priority: number) =>
    b.register(
      makeJob("web", { Priority: priority, TaskGroups: [makeGroup("g", { Scaling: policy(max) })] }),
    );
  const indexes = () => {
    const scaling = b.state.job("default", "web")!.TaskGroups[0]!.Scaling!;
    return [scaling.CreateIndex, scaling.ModifyIndex];
  };
  register(5, 50);
  assert.deepEqual(indexes(), [1, 1]);
  register(5, 50);
  assert.equal(b.state.job("default", "web")!.Version, 0, "the same job stays the same version");
  register(5, 60);
  assert.deepEqual(indexes(), [1, 1]);
  register(6, 60);
  assert.deepEqual(indexes(), [1, 4]);
});

test("a purge takes allocations, deployments and services along and leaves evaluations", () => {
  const b = placed();
  b.plan(makePlan("web", { deployment: makeDeployment(0, "web") }));
  b.must({
    kind: "service.upsert",
    services: [{
      ID: "_s",
      ServiceName: "web",
      Namespace: "default",
      NodeID: NODE,
      Datacenter: "dc1",
      JobID: "web",
      AllocID: ALLOC,
      Tags: [],
      Address: "",
      Port: 1,
      CreateIndex: 0,
      ModifyIndex: 0,
    }],
  });
  assert.equal([...b.state.servicesByName("default", "web")].length, 1);
  let removed: string[] = [];
  b.state.onChanges((changes) => removed = changes.removedAllocs.map((alloc) => alloc.ID));
  b.must({
    kind: "job.deregister",
    time: b.time,
    namespace: "default",
    id: "web",
    purge: true,
    noShutdownDelay: false,
    evals: [makeEval(1, "web")],
  });
  assert.deepEqual(removed, [ALLOC]);
  assert.equal(b.state.job("default", "web"), undefined);
  assert.equal(b.state.jobSummary("default", "web"), undefined);
  assert.equal(b.state.alloc(ALLOC), undefined);
  assert.equal(b.state.allocCount, 0);
  assert.equal(b.state.deployment(uuid(0x70000)), undefined);
  assert.deepEqual([...b.state.services()], []);
  assert.deepEqual(used(b), [0, 0, 0, 0]);
  assert.equal([...b.state.evalsByJob("default", "web")].length, 2);
  assert.equal(b.state.eval(uuid(0x30001))!.JobModifyIndex, b.state.index);
});

test("stopping makes a stable stopped version, once", () => {
  const b = placed();
  b.must({ kind: "job.stability", time: b.time, namespace: "default", id: "web", version: 0, stable: true });
  const stop = () =>
    b.must({
      kind: "job.deregister",
      time: b.time,
      namespace: "default",
      id: "web",
      purge: false,
      noShutdownDelay: true,
      evals: [],
    }) as JobWritten;
  const stopped = stop();
  assert.deepEqual([stopped.job.Version, stopped.job.Stop, stopped.job.Stable], [1, true, true]);
  assert.equal(b.state.alloc(ALLOC)!.DesiredTransition.NoShutdownDelay, true);
  assert.equal(stop().unchanged, true);
  b.register(makeJob("web"));
  assert.deepEqual([b.state.job("default", "web")!.Version, b.state.job("default", "web")!.Stop], [2, false]);
});

test("a plan places, stops and replaces allocations with their indexes and times", () => {
  const b = placed();
  const first = b.state.alloc(ALLOC)!;
  assert.deepEqual([first.CreateIndex, first.ModifyIndex, first.AllocModifyIndex], [3, 3, 3]);
  assert.equal(first.NodeName, "node-0");
  assert.equal(first.Job, b.state.jobVersion("default", "web", 0)!.Status === "running" ? first.Job : null);
  assert.deepEqual(used(b), [50, 32, 300, 1]);
  b.plan(makePlan("web", {
    stops: [{ id: ALLOC, status: "stop", description: "alloc is being updated due to job update" }],
    placements: [makePlacement(1, { previous: ALLOC })],
  }));
  const old = b.state.alloc(ALLOC)!;
  assert.deepEqual([old.DesiredStatus, old.NextAllocation, old.AllocModifyIndex], [
    "stop",
    uuid(0x500001),
    4,
  ]);
  assert.equal(b.state.alloc(uuid(0x500001))!.PreviousAllocation, ALLOC);
  assert.deepEqual(used(b), [100, 64, 600, 2], "a stopping allocation holds its room until it has ended");
  b.report(makeUpdate(ALLOC, "complete"));
  assert.deepEqual(used(b), [50, 32, 300, 1]);
  assert.equal(b.state.alloc(ALLOC)!.AllocModifyIndex, 4, "a device's report is no change by the servers");
  assert.equal(b.state.alloc(ALLOC)!.ModifyIndex, 5);
});

test("a plan leaves out placements whose version is gone", () => {
  const b = placed();
  b.plan(makePlan("web", { jobs: [{ version: 7 }], placements: [makePlacement(5)] }));
  b.plan(makePlan("other", { placements: [makePlacement(6)] }));
  assert.equal(b.state.allocCount, 1);
});

test("a plan counts a deployment's placements and canaries and sets its deadline", () => {
  const b = new Bench();
  b.node(makeNode(0));
  b.register(makeJob("web"));
  const deployment = makeDeployment(0, "web");
  deployment.TaskGroups["g"]!.DesiredCanaries = 1;
  b.plan(makePlan("web", {
    deployment,
    placements: [makePlacement(0, { deploymentId: deployment.ID, canary: true })],
  }));
  const group = () => b.state.deployment(deployment.ID)!.TaskGroups["g"]!;
  assert.deepEqual([group().PlacedAllocs, group().PlacedCanaries], [1, [ALLOC]]);
  assert.equal(group().RequireProgressBy, "2026-11-22T04:10:02Z");
  assert.deepEqual(b.state.latestDeployment("default", "web")!.ID, deployment.ID);
  b.report(
    makeUpdate(ALLOC, "running", { DeploymentStatus: { Healthy: true, Timestamp: "2026-11-22T04:00:05Z" } }),
  );
  assert.deepEqual([group().HealthyAllocs, group().UnhealthyAllocs], [1, 0]);
  assert.equal(
    group().RequireProgressBy,
    "2026-11-22T04:10:03Z",
    "counted from the report, by the servers' clock",
  );
  const status = b.state.alloc(ALLOC)!.DeploymentStatus!;
  assert.deepEqual([status.Healthy, status.Canary, status.ModifyIndex], [true, true, 4]);
  b.report(
    makeUpdate(ALLOC, "failed", { DeploymentStatus: { Healthy: false, Timestamp: "2026-11-22T04:00:06Z" } }),
  );
  assert.deepEqual([group().HealthyAllocs, group().UnhealthyAllocs], [0, 1]);
});

test("deployment.promote wants healthy canaries, then makes them ordinary", () => {
  const b = new Bench();
  b.node(makeNode(0));
  b.register(makeJob("web"));
  const deployment = makeDeployment(0, "web");
  deployment.TaskGroups["g"]!.DesiredCanaries = 1;
  b.plan(makePlan("web", {
    deployment,
    placements: [makePlacement(0, { deploymentId: deployment.ID, canary: true })],
  }));
  const promote = () =>
    b.apply({ kind: "deployment.promote", time: b.time, id: deployment.ID, groups: null, evals: [] }).refused;
  assert.deepEqual(promote(), {
    status: 500,
    message: '1 error occurred:\n\t* Task group "g" has 0/1 healthy allocations\n\n',
  });
  b.must({
    kind: "deployment.health",
    time: b.time,
    id: deployment.ID,
    healthy: [ALLOC],
    unhealthy: [],
    evals: [],
  });
  assert.equal(promote(), undefined);
  assert.equal(b.state.deployment(deployment.ID)!.TaskGroups["g"]!.Promoted, true);
  assert.equal(b.state.alloc(ALLOC)!.DeploymentStatus!.Canary, false);
  b.must({
    kind: "deployment.status",
    time: b.time,
    id: deployment.ID,
    status: "successful",
    description: "Deployment completed successfully",
    evals: [],
  });
  assert.equal(b.state.job("default", "web")!.Stable, true, "what was rolled out is stable");
  assert.equal(promote()?.message, "can't promote terminal deployment");
});

test("evaluations: a complete one without failures cancels what is blocked; queued counts reach the summary", () => {
  const b = placed();
  b.must({
    kind: "eval.upsert",
    time: b.time,
    evals: [makeEval(1, "web", { Status: "blocked", QueuedAllocations: { g: 3 } })],
  });
  const queued = () => b.state.jobSummary("default", "web")!.Summary["g"]!.Queued;
  assert.equal(queued(), 3);
  b.must({
    kind: "eval.upsert",
    time: b.time,
    evals: [makeEval(2, "web", { Status: "complete", QueuedAllocations: { g: 0 } })],
  });
  assert.equal(queued(), 0, "cancelling says nothing of what is queued");
  const blocked = b.state.eval(uuid(0x30001))!;
  assert.equal(blocked.Status, "canceled");
  assert.equal(blocked.StatusDescription, `evaluation "${uuid(0x30002)}" successful`);
  assert.deepEqual([blocked.CreateIndex, blocked.ModifyIndex], [4, 5]);
});

test("summaries follow allocations and keep what has ended", () => {
  const b = placed();
  const summary = () => b.state.jobSummary("default", "web")!.Summary["g"]!;
  assert.deepEqual(summary(), {
    Queued: 0,
    Complete: 0,
    Failed: 0,
    Running: 0,
    Starting: 1,
    Lost: 0,
    Unknown: 0,
  });
  b.report(makeUpdate(ALLOC, "running"));
  b.report(makeUpdate(ALLOC, "failed"));
  assert.deepEqual([summary().Starting, summary().Running, summary().Failed], [0, 0, 1]);
  const before = b.state.jobSummary("default", "web")!;
  b.must({ kind: "eval.delete", evals: [uuid(0x30000)], allocs: [ALLOC] });
  assert.equal(summary().Failed, 1, "collecting an allocation is no change of history");
  assert.equal(b.state.jobSummary("default", "web"), before);
  b.must({ kind: "summaries.reconcile" });
  assert.equal(summary().Failed, 0, "counting anew is");
});

test("nodes: registering again keeps what the servers decided; events are the last ten", () => {
  const b = new Bench();
  b.node(makeNode(0));
  assert.equal(b.state.node(NODE)!.Events[0]!.Message, "Node registered");
  const event = { Message: "m", Subsystem: "Cluster", Details: null, Timestamp: "", CreateIndex: 0 };
  b.must({ kind: "node.eligibility", time: b.time, id: NODE, eligibility: "ineligible", event, evals: [] });
  b.node(makeNode(0, { Attributes: { a: "b" }, SchedulingEligibility: "eligible" }));
  const node = b.state.node(NODE)!;
  assert.deepEqual([node.SchedulingEligibility, node.Attributes["a"], node.CreateIndex, node.ModifyIndex], [
    "ineligible",
    "b",
    1,
    3,
  ]);
  for (let i = 0; i < 12; i++) b.must({ kind: "node.events", time: b.time, events: [{ id: NODE, event }] });
  assert.equal(b.state.node(NODE)!.Events.length, 10);
  assert.deepEqual(b.state.readyNodes(["dc1"], "default").nodes, []);
});

test("nodes: drain and eligibility", () => {
  const b = new Bench();
  b.node(makeNode(0));
  const drain = { Deadline: 1e9, IgnoreSystemJobs: false, ForceDeadline: "", StartedAt: "" };
  const apply = (fields: { drain: typeof drain | null; markEligible: boolean; complete?: boolean }) =>
    b.must({
      kind: "node.drain",
      time: b.time,
      id: NODE,
      meta: null,
      accessorId: "me",
      event: null,
      evals: [],
      ...fields,
    });
  const node = () => b.state.node(NODE)!;
  apply({ drain, markEligible: false });
  assert.deepEqual([node().Drain, node().SchedulingEligibility, node().LastDrain!.Status], [
    true,
    "ineligible",
    "draining",
  ]);
  const eligible = b.apply({
    kind: "node.eligibility",
    time: b.time,
    id: NODE,
    eligibility: "eligible",
    event: null,
    evals: [],
  });
  assert.equal(
    eligible.refused?.message,
    "can not set node's scheduling eligibility to eligible while it is draining",
  );
  apply({ drain: null, markEligible: false, complete: true });
  assert.deepEqual([node().Drain, node().SchedulingEligibility, node().LastDrain!.Status], [
    false,
    "ineligible",
    "complete",
  ]);
  apply({ drain, markEligible: false });
  apply({ drain: null, markEligible: true });
  assert.deepEqual([node().SchedulingEligibility, node().LastDrain!.Status], ["eligible", "canceled"]);
});

test("nodes: readyNodes by datacenter glob and pool, renewed when a node changes", () => {
  const b = new Bench();
  b.node(makeNode(0, { Datacenter: "eu-1" }));
  b.node(makeNode(1, { Datacenter: "eu-2", NodePool: "gpu" }));
  b.node(makeNode(2, { Datacenter: "us-1", Status: "down" }));
  const names = (datacenters: string[], pool: string) =>
    b.state.readyNodes(datacenters, pool).nodes.map((node) => node.Name);
  assert.deepEqual(names(["*"], "all"), ["node-0", "node-1"]);
  assert.deepEqual(names(["eu-*"], "default"), ["node-0"]);
  assert.deepEqual(b.state.readyNodes(["*"], "all").byDatacenter, { "eu-1": 1, "eu-2": 1 });
  b.must({
    kind: "node.status",
    time: b.time,
    updates: [{ id: uuid(0x1002), status: "ready", event: null }],
    evals: [],
  });
  assert.deepEqual(names(["us-1"], "default"), ["node-2"]);
  assert.ok(b.state.nodePool("gpu"), "a node brings its pool along");
});

test("nodes: one that went and came back finds its allocations counted", () => {
  const b = placed();
  b.must({ kind: "node.deregister", time: b.time, ids: [NODE], evals: [] });
  assert.equal(b.state.nodeTable.slot(NODE), -1);
  b.node(makeNode(0));
  assert.deepEqual(used(b), [50, 32, 300, 1]);
  const again = b.apply({ kind: "node.deregister", time: b.time, ids: [uuid(1)], evals: [] });
  assert.equal(again.refused?.message, "node not found");
});

test("a device's report leaves the node's ModifyIndex and the nodes' index", () => {
  const b = placed();
  let reported = 0;
  let nodes = 0;
  b.state.onChanges((changes) => {
    reported += changes.reportedNodes.length;
    nodes += changes.nodes.length;
  });
  b.report(makeUpdate(ALLOC, "running"), makeUpdate(uuid(1), "running"));
  const node = b.state.node(NODE)!;
  assert.deepEqual([node.ModifyIndex, node.LastAllocUpdateIndex], [1, 4]);
  assert.equal(b.state.tableIndex("nodes"), 1);
  assert.deepEqual([reported, nodes], [1, 0]);
});

test("services of an allocation that ends go; those of one that ended never come", () => {
  const b = placed();
  const service = (id: string, allocId: string) => ({
    ID: id,
    ServiceName: "web",
    Namespace: "default",
    NodeID: NODE,
    Datacenter: "dc1",
    JobID: "web",
    AllocID: allocId,
    Tags: [],
    Address: "192.0.2.1",
    Port: 80,
    CreateIndex: 0,
    ModifyIndex: 0,
  });
  b.must({ kind: "service.upsert", services: [service("a", ALLOC), service("b", uuid(1))] });
  assert.deepEqual([...b.state.servicesByName("default", "web")].map((s) => s.ID), ["a"]);
  b.report(makeUpdate(ALLOC, "complete"));
  assert.deepEqual([...b.state.servicesByAlloc(ALLOC)], []);
  b.must({ kind: "service.upsert", services: [service("a", ALLOC)] });
  assert.deepEqual([...b.state.services()], []);
  assert.equal(b.must({ kind: "service.delete", ids: ["a"] }), 0);
});

test("namespaces and pools in use cannot go", () => {
  const b = new Bench();
  const space = { ...[...b.state.namespaces()][0]!, Name: "prod" };
  b.must({ kind: "namespace.upsert", time: b.time, namespaces: [space] });
  b.must({
    kind: "pool.upsert",
    time: b.time,
    pools: [{ ...b.state.nodePool("default")!, Name: "gpu" }],
  });
  b.register(makeJob("web", { Namespace: "prod", NodePool: "gpu" }));
  const refused = (command: Parameters<Bench["apply"]>[0]) => b.apply(command).refused?.message;
  assert.equal(
    refused({ kind: "namespace.delete", names: ["prod"] }),
    '1 error occurred:\n\t* namespace "prod" has non-terminal jobs in regions: [global]\n\n',
  );
  assert.equal(refused({ kind: "namespace.delete", names: ["default"] }), "can not delete default namespace");
  assert.equal(refused({ kind: "namespace.delete", names: ["zzz"] }), "namespace not found");
  assert.equal(
    refused({ kind: "pool.delete", names: ["gpu"] }),
    '1 error occurred:\n\t* node pool "gpu" has non-terminal jobs in regions: [global]\n\n',
  );
  assert.equal(refused({ kind: "pool.delete", names: ["dev"] }), "node pool dev not found");
  assert.equal(
    refused({ kind: "pool.upsert", time: b.time, pools: [{ ...b.state.nodePool("all")! }] }),
    'modifying node pool "all" is not allowed',
  );
  b.must({
    kind: "job.deregister",
    time: b.time,
    namespace: "prod",
    id: "web",
    purge: true,
    noShutdownDelay: false,
    evals: [],
  });
  assert.equal(refused({ kind: "namespace.delete", names: ["prod"] }), undefined);
  assert.equal(refused({ kind: "pool.delete", names: ["gpu"] }), undefined);
  assert.equal(b.state.namespace("prod"), undefined);
});

test("scheduler.config compares and sets", () => {
  const b = new Bench();
  const config = { ...b.state.schedulerConfig(), SchedulerAlgorithm: "spread" as const };
  assert.equal(b.must({ kind: "scheduler.config", time: b.time, config, cas: 99 }), false);
  assert.equal(b.state.schedulerConfig().SchedulerAlgorithm, "binpack");
  assert.equal(b.must({ kind: "scheduler.config", time: b.time, config, cas: 1 }), true);
  assert.deepEqual([b.state.schedulerConfig().SchedulerAlgorithm, b.state.schedulerConfig().ModifyIndex], [
    "spread",
    2,
  ]);
});

test("jobs come in the order of namespace and id", () => {
  const b = new Bench();
  const space = [...b.state.namespaces()][0]!;
  b.must({
    kind: "namespace.upsert",
    time: b.time,
    namespaces: [{ ...space, Name: "a" }, { ...space, Name: "a-b" }],
  });
  for (
    const [namespace, id] of [["default", "z"], ["a-b", "x"], ["a", "y"], ["a", "b"], [
      "default",
      "c",
    ]] as const
  ) {
    b.register(makeJob(id, { Namespace: namespace }));
  }
  const order = [...b.state.jobs()].map((job) => `${job.Namespace}/${job.ID}`);
  assert.deepEqual(order, ["a/b", "a/y", "a-b/x", "default/c", "default/z"]);
  assert.deepEqual([...b.state.jobs("a")].map((job) => job.ID), ["b", "y"]);
});

test("an allocation that was unknown tells how it came back", () => {
  const b = placed();
  b.plan(makePlan("web", { updates: [{ id: ALLOC, clientStatus: "unknown", description: "gone" }] }));
  b.report(makeUpdate(ALLOC, "running"));
  const states = b.state.alloc(ALLOC)!.AllocStates!;
  assert.deepEqual(states.map((s) => [s.Field, s.Value]), [[0, "unknown"], [0, "running"]]);
});

test("allocations with dynamic ports hold them on their node until they end", () => {
  const b = new Bench();
  b.node(makeNode(0));
  b.register(makeJob("web"));
  b.plan(makePlan("web", { resources: [makeResources([20001, 20002])], placements: [makePlacement(0)] }));
  const slot = b.state.nodeTable.slot(NODE);
  assert.deepEqual([...b.state.nodeTable.portsInUse(slot)].sort(), [20001, 20002]);
  b.report(makeUpdate(ALLOC, "failed"));
  assert.deepEqual([...b.state.nodeTable.portsInUse(slot)], []);
});
