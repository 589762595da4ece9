// The whole leader's scheduling on a real state: evaluation in, allocations out.
import assert from "node:assert/strict";
import { test } from "node:test";
import { StorageError } from "../../core/errors.ts";
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

test("Scheduling tries again when the disk refuses a plan, and holds nothing meanwhile", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0, { memory: 150 }));
  cluster.failures.push(new StorageError("full", "no space left on device"));
  const evaluation = await cluster.register(job("web", { Type: "batch" }));
  assert.equal(evaluation.Status, "pending");
  assert.equal(cluster.allocs("web").length, 0);
  assert.equal(cluster.scheduling.plans.inFlight, 0);
  assert.equal(cluster.scheduling.plans.overlay.memory[0], 0);
  await cluster.clock.advance(1_500);
  assert.equal(cluster.live("web").length, 1);
  assert.equal(cluster.state.eval(evaluation.ID)!.Status, "complete");
});

test("Scheduling gives an evaluation up that cannot be written, and follows it up", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0));
  for (let i = 0; i < 3; i++) cluster.failures.push(new StorageError("locked", "database is locked"));
  const evaluation = await cluster.register(job("web", { Type: "batch" }));
  await cluster.clock.advance(30_000);
  const failed = cluster.state.eval(evaluation.ID)!;
  assert.equal(failed.Status, "failed");
  assert.equal(failed.StatusDescription, "evaluation reached delivery limit (3)");
  const followUp = cluster.state.eval(failed.NextEval)!;
  assert.equal(followUp.TriggeredBy, "failed-follow-up");
  assert.equal(cluster.live("web").length, 0);
  await cluster.clock.advance(10 * 60_000);
  assert.equal(cluster.live("web").length, 1);
});

test("Scheduling stands still while the broker is paused", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0));
  const config = cluster.state.schedulerConfig();
  cluster.apply({ kind: "scheduler.config", time: 1, config: { ...config, PauseEvalBroker: true } });
  await cluster.register(job("web", { Type: "batch" }));
  assert.equal(cluster.live("web").length, 0);
  cluster.apply({ kind: "scheduler.config", time: 1, config: { ...config, PauseEvalBroker: false } });
  await cluster.run();
  assert.equal(cluster.live("web").length, 1);
});

test("Scheduling never places parents of periodic and parameterized jobs", async () => {
  const cluster = new Cluster();
  await cluster.addNodes(node(0));
  const evaluation = await cluster.register(job("param", { Type: "batch", ParameterizedJob: {} }));
  assert.equal(evaluation.Status, "complete");
  await cluster.register(job("sysparam", { Type: "sysbatch", ParameterizedJob: {} }));
  await cluster.addNodes(node(1));
  assert.equal(cluster.state.allocCount, 0);
});

test("Scheduling gives cores and devices out once", async () => {
  const cluster = new Cluster();
  const gpus = ["a", "b"].map((ID) => ({ ID, Healthy: true, HealthDescription: "" }));
  const made = node(0);
  const NodeResources = {
    ...made.NodeResources,
    Devices: [{
      Vendor: "acme",
      Type: "gpu",
      Name: "x1",
      Instances: gpus,
      Attributes: { memory: { Int: 8, Unit: "GiB" } },
    }],
  };
  await cluster.addNodes({ ...made, NodeResources });
  const asks = (Name: string, more: Record<string, unknown>) =>
    job(Name, {
      Type: "batch",
      TaskGroups: [group({ Count: 3, Tasks: [task({ Resources: { MemoryMB: 10, ...more } })] })],
    });
  await cluster.register(asks("gpu", { CPU: 10, Devices: [{ Name: "acme/gpu", Count: 1 }] }));
  const given = cluster.live("gpu").map((alloc) =>
    alloc.AllocatedResources.Tasks["t"]!.Devices![0]!.DeviceIDs[0]
  );
  assert.deepEqual(given.sort(), ["a", "b"]);
  await cluster.register(asks("cores", { Cores: 1 }));
  const cores = cluster.live("cores").map((alloc) => alloc.AllocatedResources.Tasks["t"]!.Cpu);
  assert.deepEqual(cores.map((cpu) => cpu.ReservedCores![0]).sort(), [0, 1, 2]);
  assert.ok(cores.every((cpu) => cpu.CpuShares === 1000));
  await cluster.report(cluster.live("gpu").slice(0, 1), "complete");
  assert.equal(cluster.live("gpu").length, 2);
});

test("Scheduling gives cores of one NUMA node to who asks for that", async () => {
  const cluster = new Cluster();
  const made = node(0, { cpu: 8000 });
  const ids = [0, 1, 2, 3, 4, 5, 6, 7];
  const NodeResources = {
    ...made.NodeResources,
    Cpu: { CpuShares: 8000, TotalCpuCores: 8, ReservableCpuCores: ids },
    Processors: { Topology: { Cores: ids.map((ID) => ({ ID, NodeID: ID % 2 })) } },
  };
  await cluster.addNodes({ ...made, NodeResources });
  const take = async (name: string, Cores: number, Affinity?: string): Promise<number[] | undefined> => {
    const numa = Affinity ? { NUMA: { Affinity } } : {};
    const Tasks = [task({ Resources: { MemoryMB: 10, Cores, ...numa } })];
    await cluster.register(job(name, { Type: "batch", TaskGroups: [group({ Tasks })] }));
    return cluster.live(name)[0]?.AllocatedResources.Tasks["t"]?.Cpu.ReservedCores ?? undefined;
  };
  assert.deepEqual(await take("any", 1), [0]);
  // Three are free on node 0, four on node 1: the fuller one that has enough.
  assert.deepEqual(await take("near", 3, "require"), [2, 4, 6]);
  assert.deepEqual(await take("two", 2, "require"), [1, 3]);
  assert.deepEqual(await take("more", 3, "require"), undefined);
  assert.deepEqual(await take("preferred", 2, "prefer"), [5, 7]);
});

test("Scheduling follows a pool's own scheduler configuration", async () => {
  const cluster = new Cluster();
  cluster.apply({
    kind: "pool.upsert",
    time: cluster.stamp.nowNs,
    pools: [{
      Name: "wide",
      Description: "",
      Meta: null,
      NodeIdentityTTL: 0,
      SchedulerConfiguration: { SchedulerAlgorithm: "spread", MemoryOversubscriptionEnabled: true },
      CreateIndex: 0,
      ModifyIndex: 0,
    }],
  });
  for (const pool of ["default", "wide"]) {
    await cluster.addNodes(...[0, 1].map((n) => node(pool === "wide" ? n + 2 : n, { pool })));
  }
  const Resources = { CPU: 100, MemoryMB: 100, MemoryMaxMB: 300 };
  for (const NodePool of ["default", "wide"]) {
    for (const name of ["a", "b"]) {
      const TaskGroups = [group({ Tasks: [task({ Resources })] })];
      await cluster.register(job(`${NodePool}-${name}`, { NodePool, TaskGroups }));
    }
  }
  const nodes = (pool: string) =>
    new Set(["a", "b"].map((name) => cluster.live(`${pool}-${name}`)[0]!.NodeID)).size;
  assert.deepEqual([nodes("default"), nodes("wide")], [1, 2]);
  const limit = (name: string) => cluster.live(name)[0]!.AllocatedResources.Tasks["t"]!.Memory.MemoryMaxMB;
  assert.deepEqual([limit("default-a"), limit("wide-a")], [0, 300]);
});

test("Scheduling puts host networks side by side and keeps reserved ports free", async () => {
  const cluster = new Cluster();
  const made = node(0);
  const address = (Alias: string, Address: string, ReservedPorts = "") => ({
    Family: "ipv4",
    Alias,
    Address,
    ReservedPorts,
    Gateway: "",
  });
  const [first] = made.NodeResources.NodeNetworks!;
  await cluster.addNodes({
    ...made,
    NodeResources: {
      ...made.NodeResources,
      MinDynamicPort: 20000,
      MaxDynamicPort: 20003,
      NodeNetworks: [{
        ...first!,
        Addresses: [address("default", "10.0.0.1", "20001"), address("public", "192.0.2.1")],
      }],
    },
    ReservedResources: { ...made.ReservedResources, Networks: { ReservedHostPorts: "22,20000" } },
  });
  const ports = (id: string, network: Record<string, unknown>, Count = 1) =>
    job(id, { Type: "batch", TaskGroups: [group({ Count, Networks: [network] })] });
  await cluster.register(ports("a", { ReservedPorts: [{ Label: "http", Value: 8080 }] }));
  await cluster.register(
    ports("b", { ReservedPorts: [{ Label: "http", Value: 8080, HostNetwork: "public" }] }),
  );
  const [port] = cluster.live("b")[0]!.AllocatedResources.Shared.Ports!;
  assert.equal(port!.HostIP, "192.0.2.1");
  await cluster.register(ports("ssh", { ReservedPorts: [{ Label: "ssh", Value: 22 }] }));
  assert.equal(cluster.live("ssh").length, 0);
  await cluster.register(ports("dynamic", { DynamicPorts: [{ Label: "x", To: -1 }] }, 3));
  const given = cluster.live("dynamic").map((alloc) => alloc.AllocatedResources.Shared.Ports![0]!);
  assert.deepEqual(given.map((one) => one.Value).sort(), [20002, 20003]);
  assert.ok(given.every((one) => one.To === one.Value));
  const failure = cluster.evals("dynamic").find((evaluation) => evaluation.FailedTGAllocs)!
    .FailedTGAllocs!["g"]!;
  assert.deepEqual(failure.DimensionExhausted, { "network: dynamic port selection failed": 1 });
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
  const sizes = () =>
    cluster.commands.flatMap((command) =>
      command.kind === "plan" ? [command.plan.placements.length + command.plan.stops.length] : []
    );
  assert.ok(sizes().length >= 12 && sizes().every((size) => size <= 1000), `portions ${sizes()}`);
  cluster.commands.length = 0;
  await cluster.stop("big");
  assert.equal(cluster.live("big").length, 0);
  assert.ok(sizes().length >= 3 && sizes().every((size) => size <= 4000), `portions ${sizes()}`);
});
