// What must hold whatever happens: random clusters and jobs, random news from devices, dying nodes. fast-check prints the
// seed and the smallest failing history.
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import fc from "fast-check";
import type { Allocation, Node } from "../../core/types.ts";
import { demandOf } from "../../server/demand.ts";
import { jobEvaluation } from "../../server/evaluations.ts";
import { compileConstraint } from "../../server/constraint.ts";
import { dryRun } from "../../server/dry_run.ts";
import { changesNothing } from "../../server/plan_builder.ts";
import { isActive } from "../../server/reconcile.ts";
import { schedule } from "../../server/schedule.ts";
import { Cluster } from "./cluster.ts";
import { group, job, node, SeededRandom, task } from "./fixtures.ts";

type Event =
  | { kind: "node"; cpu: number; memory: number; rack: number; dc: number }
  | { kind: "job"; id: number; type: "service" | "batch" | "system"; shape: Shape }
  | { kind: "report"; pick: number; status: Allocation["ClientStatus"]; healthy: boolean }
  | { kind: "nodeStatus"; pick: number; status: "down" | "ready" | "disconnected" }
  | { kind: "drain"; pick: number; on: boolean; force: boolean }
  | { kind: "eligible"; pick: number; on: boolean }
  | { kind: "transition"; pick: number; migrate: boolean }
  | { kind: "deployment"; pick: number; what: "promote" | "fail" | "pause" | "resume" }
  | { kind: "stop"; id: number }
  | { kind: "advance"; seconds: number };

interface Shape {
  count: number;
  cpu: number;
  memory: number;
  ports: number;
  staticPort: boolean;
  env: number;
  maxParallel: number;
  canary: number;
  constraint: "none" | "dc" | "hosts" | "rack";
  cores: number;
  gpus: number;
  spread: boolean;
  lostAfter: boolean;
  priority: number;
}

const shape: fc.Arbitrary<Shape> = fc.record({
  count: fc.integer({ min: 0, max: 6 }),
  cpu: fc.constantFrom(100, 500, 1500),
  memory: fc.constantFrom(64, 512, 2000),
  ports: fc.integer({ min: 0, max: 2 }),
  staticPort: fc.boolean(),
  env: fc.integer({ min: 0, max: 2 }),
  maxParallel: fc.integer({ min: 0, max: 3 }),
  canary: fc.integer({ min: 0, max: 2 }),
  constraint: fc.constantFrom("none", "dc", "hosts", "rack"),
  cores: fc.constantFrom(0, 0, 0, 1, 2),
  gpus: fc.constantFrom(0, 0, 0, 1),
  spread: fc.boolean(),
  lostAfter: fc.boolean(),
  priority: fc.constantFrom(20, 50, 80),
});

const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("node" as const),
      cpu: fc.constantFrom(1000, 4000),
      memory: fc.constantFrom(1000, 8000),
      rack: fc.integer({ min: 0, max: 2 }),
      dc: fc.integer({ min: 0, max: 1 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("job" as const),
      id: fc.integer({ min: 0, max: 3 }),
      type: fc.constantFrom("service" as const, "service" as const, "batch" as const, "system" as const),
      shape,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("report" as const),
      pick: fc.nat(),
      status: fc.constantFrom("running" as const, "running" as const, "complete" as const, "failed" as const),
      healthy: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("nodeStatus" as const),
      pick: fc.nat(),
      status: fc.constantFrom("down" as const, "ready" as const, "ready" as const, "disconnected" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("drain" as const),
      pick: fc.nat(),
      on: fc.boolean(),
      force: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("eligible" as const), pick: fc.nat(), on: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("transition" as const), pick: fc.nat(), migrate: fc.boolean() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("deployment" as const),
      pick: fc.nat(),
      what: fc.constantFrom("promote" as const, "fail" as const, "pause" as const, "resume" as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("stop" as const), id: fc.integer({ min: 0, max: 3 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("advance" as const), seconds: fc.constantFrom(1, 30, 120) }),
  },
);

function makeJob(id: number, type: string, s: Shape) {
  const constraints = {
    none: [],
    dc: [{ LTarget: "${node.datacenter}", RTarget: "dc1", Operand: "=" }],
    hosts: [{ LTarget: "", RTarget: "true", Operand: "distinct_hosts" }],
    rack: [{ LTarget: "${meta.rack}", RTarget: "2", Operand: "distinct_property" }],
  }[s.constraint];
  const network = {
    ReservedPorts: s.staticPort ? [{ Label: "static", Value: 9000 + id }] : [],
    DynamicPorts: Array.from({ length: s.ports }, (_, i) => ({ Label: `p${i}` })),
  };
  return job(`job${id}-${type}`, {
    Type: type,
    Priority: s.priority,
    TaskGroups: [group({
      Count: type === "system" ? 1 : s.count,
      Constraints: type === "system" ? [] : constraints,
      ...(s.lostAfter && type !== "system" ? { Disconnect: { LostAfter: 60e9 } } : {}),
      Spreads: s.spread && type !== "system" ? [{ Attribute: "${meta.rack}", Weight: 50 }] : [],
      Networks: s.staticPort || s.ports > 0 ? [network] : [],
      ...(type === "service"
        ? { Update: { MaxParallel: s.maxParallel, Canary: s.maxParallel > 0 ? s.canary : 0 } }
        : {}),
      Tasks: [task({
        Resources: {
          ...(s.cores > 0 ? { Cores: s.cores } : { CPU: s.cpu }),
          MemoryMB: s.memory,
          Devices: s.gpus > 0 ? [{ Name: "gpu", Count: s.gpus }] : null,
        },
        Env: { V: String(s.env) },
      })],
    })],
  });
}

class World {
  readonly cluster = new Cluster();
  #nodes = 0;

  async apply(e: Event): Promise<void> {
    const { cluster } = this;
    switch (e.kind) {
      case "node":
        return await cluster.addNodes(withGpus(node(this.#nodes++, {
          cpu: e.cpu,
          memory: e.memory,
          datacenter: `dc${e.dc}`,
          meta: { rack: `r${e.rack}` },
        })));
      case "job":
        return void await cluster.register(makeJob(e.id, e.type, e.shape));
      case "report": {
        const allocs = [...cluster.state.allocs()].filter((alloc) =>
          !["complete", "failed", "lost"].includes(alloc.ClientStatus)
        );
        if (allocs.length === 0) return;
        const alloc = allocs[e.pick % allocs.length]!;
        return await cluster.report([alloc], e.status, alloc.DeploymentID ? { healthy: e.healthy } : {});
      }
      case "nodeStatus": {
        const nodes = [...cluster.state.nodes()];
        if (nodes.length === 0) return;
        return await cluster.nodeStatus(nodes[e.pick % nodes.length]!.ID, e.status);
      }
      case "drain": {
        const nodes = [...cluster.state.nodes()];
        if (nodes.length === 0) return;
        const { ID } = nodes[e.pick % nodes.length]!;
        return await (e.on ? cluster.drain(ID, e.force ? -1 : 60e9) : cluster.undrain(ID));
      }
      case "eligible": {
        // A draining node cannot be made eligible.
        const nodes = [...cluster.state.nodes()].filter((one) => !one.Drain);
        if (nodes.length === 0) return;
        return await cluster.eligibility(nodes[e.pick % nodes.length]!.ID, e.on ? "eligible" : "ineligible");
      }
      case "transition": {
        const allocs = [...cluster.state.allocs()].filter((alloc) =>
          alloc.DesiredStatus === "run" && alloc.NextAllocation === "" &&
          !cluster.state.job("default", alloc.JobID)?.Stop
        );
        if (allocs.length === 0) return;
        const alloc = allocs[e.pick % allocs.length]!;
        return await cluster.transition([alloc], e.migrate ? { Migrate: true } : { ForceReschedule: true });
      }
      case "deployment":
        return await this.#changeDeployment(e);
      case "stop":
        for (const known of [...cluster.state.jobs()].filter((known) => known.ID.startsWith(`job${e.id}-`))) {
          await cluster.stop(known.ID);
        }
        return;
      case "advance":
        return await cluster.clock.advance(e.seconds * 1000);
    }
  }

  async #changeDeployment({ pick, what }: Extract<Event, { kind: "deployment" }>): Promise<void> {
    const { cluster } = this;
    const active = [...cluster.state.deployments()].filter((deployment) =>
      isActive(deployment) && cluster.state.latestDeployment("default", deployment.JobID) === deployment
    );
    if (active.length === 0) return;
    const deployment = active[pick % active.length]!;
    if (what === "fail") return await cluster.setDeployment(deployment.JobID, "failed");
    if (what === "pause") return await cluster.setDeployment(deployment.JobID, "paused");
    if (what === "resume") return await cluster.setDeployment(deployment.JobID, "running");
    const groups = Object.values(deployment.TaskGroups);
    if (!groups.some((state) => state.DesiredCanaries > 0 && !state.Promoted)) return;
    const ready = groups.every((state) =>
      state.DesiredCanaries === 0 || state.Promoted ||
      (state.PlacedCanaries ?? []).filter((id) => {
          const alloc = cluster.state.alloc(id);
          return alloc?.DesiredStatus === "run" && alloc.DeploymentStatus?.Healthy === true;
        }).length >= state.DesiredCanaries
    );
    if (ready) await cluster.promote(deployment.JobID);
  }

  /** All nodes are well, everything that runs is healthy, canaries are promoted: whatever was begun can end. */
  async heal(): Promise<void> {
    const { cluster } = this;
    for (const found of [...cluster.state.nodes()]) {
      if (found.Status !== "ready") await cluster.nodeStatus(found.ID, "ready");
      if (cluster.state.node(found.ID)!.Drain) await cluster.undrain(found.ID);
      await cluster.eligibility(found.ID, "eligible");
    }
    for (let round = 0; round < 30; round++) {
      for (const deployment of [...cluster.state.deployments()]) {
        if (deployment.Status === "paused") await cluster.setDeployment(deployment.JobID, "running");
      }
      const alive = [...cluster.state.allocs()].filter((alloc) =>
        !["complete", "failed", "lost"].includes(alloc.ClientStatus)
      );
      const leaving = alive.filter((alloc) => alloc.DesiredStatus !== "run");
      if (leaving.length > 0) await cluster.report(leaving, "complete");
      for (const alloc of alive.filter((alloc) => alloc.DesiredStatus === "run")) {
        await cluster.report([alloc], "running", alloc.DeploymentID ? { healthy: true } : {});
      }
      await this.#changeDeployment({ kind: "deployment", pick: round, what: "promote" });
      await cluster.clock.advance(40_000);
    }
  }

  /** Every job is looked at once more: some news (a service that ended by itself) ask for nothing at once. */
  async settle(): Promise<void> {
    const { cluster } = this;
    await cluster.clock.advance(2_000);
    const evals = [...cluster.state.jobs()].map((known) =>
      jobEvaluation(known, "job-register", cluster.stamp)
    );
    cluster.apply({ kind: "eval.upsert", time: cluster.stamp.nowNs, evals });
    await cluster.clock.advance(2_000);
  }

  /** Allocations that the servers want to run. */
  wanted(): Allocation[] {
    return [...this.cluster.state.allocs()].filter((alloc) =>
      alloc.DesiredStatus === "run" && !["complete", "failed", "lost"].includes(alloc.ClientStatus)
    );
  }
}

function checkCapacity(world: World): void {
  const { state } = world.cluster;
  const byNode = Map.groupBy(world.wanted(), (alloc) => alloc.NodeID);
  for (const [id, allocs] of byNode) {
    const { NodeResources: total } = state.node(id)!;
    const demands = allocs.map((alloc) => demandOf(alloc.AllocatedResources));
    const sum = (of: (demand: (typeof demands)[number]) => number) =>
      demands.reduce((n, demand) => n + of(demand), 0);
    assert.ok(sum((demand) => demand.cpuMhz) <= total.Cpu.CpuShares, `cpu of ${id}`);
    assert.ok(sum((demand) => demand.memoryMb) <= total.Memory.MemoryMB, `memory of ${id}`);
    assert.ok(sum((demand) => demand.diskMb) <= total.Disk.DiskMB, `disk of ${id}`);
    const ports = demands.flatMap((demand) => demand.ports);
    assert.equal(new Set(ports).size, ports.length, `ports of ${id}`);
    const tasks = allocs.flatMap((alloc) => Object.values(alloc.AllocatedResources.Tasks));
    const cores = tasks.flatMap((one) => one.Cpu.ReservedCores ?? []);
    assert.equal(new Set(cores).size, cores.length, `cores of ${id}`);
    assert.ok(cores.every((core) => total.Cpu.ReservableCpuCores!.includes(core)), `cores of ${id}`);
    const gpus = tasks.flatMap((one) => one.Devices ?? []).flatMap((device) => device.DeviceIDs);
    assert.equal(new Set(gpus).size, gpus.length, `devices of ${id}`);
  }
}

/** Two devices a node. */
function withGpus(made: Node): Node {
  const Instances = ["a", "b"].map((ID) => ({ ID, Healthy: true, HealthDescription: "" }));
  const Devices = [{ Vendor: "acme", Type: "gpu", Name: "x1", Instances, Attributes: {} }];
  return { ...made, NodeResources: { ...made.NodeResources, Devices } };
}

function checkPlacements(world: World): void {
  const { state } = world.cluster;
  for (const alloc of world.wanted()) {
    const constraints = [...alloc.Job.Constraints ?? [], ...alloc.Job.TaskGroups[0]!.Constraints ?? []];
    for (const constraint of constraints) {
      assert.ok(
        compileConstraint(constraint).holds(state.node(alloc.NodeID)!),
        `${alloc.Name}: ${constraint.Operand}`,
      );
    }
  }
  for (const known of state.jobs()) {
    // What a silent device may still run does not count: it is replaced.
    const live = world.wanted().filter((alloc) =>
      alloc.JobID === known.ID && alloc.ClientStatus !== "unknown"
    );
    if (known.Stop) {
      assert.equal(live.length, 0, `${known.ID} is stopped`);
      continue;
    }
    const [wanted] = known.TaskGroups;
    if (known.Type === "system") {
      assert.equal(new Set(live.map((alloc) => alloc.NodeID)).size, live.length, `${known.ID} once a node`);
      continue;
    }
    const canaries = Math.max(
      0,
      ...[...state.deploymentsByJob("default", known.ID)].map((deployment) =>
        deployment.TaskGroups["g"]?.DesiredCanaries ?? 0
      ),
    );
    assert.ok(live.length <= wanted!.Count + canaries, `${known.ID}: ${live.length} of ${wanted!.Count}`);
    assert.equal(
      new Set(live.filter((alloc) => !alloc.DeploymentStatus?.Canary).map((alloc) => alloc.Name)).size >=
        live.length - canaries,
      true,
      `${known.ID}: names`,
    );
  }
}

/**
 * What a plan placed since the last look: on nodes that take work, and never beside those that its constraints keep
 * apart. (What stood there before may become too close when a new version is pickier: it is not moved for that.)
 */
class PlacementWatch {
  #seen = 0;

  constructor(private readonly world: World) {}

  check(): void {
    const { commands, state } = this.world.cluster;
    for (const command of commands.slice(this.#seen)) {
      if (command.kind !== "plan") continue;
      for (const { id } of command.plan.placements) this.#checkOne(id, state);
    }
    this.#seen = commands.length;
  }

  #checkOne(id: string, state: World["cluster"]["state"]): void {
    const alloc = state.alloc(id);
    // It may have been stopped, or its node have changed, by what came after it in the same event.
    if (!alloc || alloc.DesiredStatus !== "run" || alloc.ClientStatus !== "pending") return;
    const group = alloc.Job.TaskGroups.find((one) => one.Name === alloc.TaskGroup)!;
    const others = [...state.allocsByJob("default", alloc.JobID)].filter((other) =>
      other.ID !== id && other.DesiredStatus === "run" && other.CreateIndex <= alloc.CreateIndex &&
      other.Job.Version === alloc.Job.Version &&
      !["complete", "failed", "lost", "unknown"].includes(other.ClientStatus)
    );
    const rackOf = (other: Allocation) => state.node(other.NodeID)!.Meta["rack"];
    for (const { Operand, RTarget } of group.Constraints ?? []) {
      if (Operand === "distinct_hosts") {
        assert.ok(others.every((other) => other.NodeID !== alloc.NodeID), `${alloc.Name} shares its host`);
      } else if (Operand === "distinct_property") {
        const there = others.filter((other) => rackOf(other) === rackOf(alloc)).length + 1;
        assert.ok(there <= Number(RTarget), `${alloc.Name}: ${there} in its rack`);
      }
    }
  }
}

/** Nobody waits for room that is there. */
function checkNobodyForgotten(world: World): void {
  const { state, context } = world.cluster;
  for (const known of state.jobs()) {
    const evals = world.cluster.evals(known.ID);
    const waits = evals.some((other) => other.Status === "blocked") &&
      !evals.some((other) => other.Status === "pending");
    const ended = [...state.allocsByJob("default", known.ID)].some((alloc) =>
      alloc.ClientStatus === "complete" || alloc.ClientStatus === "failed"
    );
    if (!waits || ended) continue;
    const evaluation = jobEvaluation(known, "job-register", {
      random: new SeededRandom(7),
      nowNs: context.nowNs(),
    });
    const plan = schedule(state, evaluation, new SeededRandom(9), context.nowNs());
    assert.equal(plan.result.placements.length, 0, `${known.ID} waits although there is room`);
  }
}

function checkConverged(world: World): void {
  const { state, context } = world.cluster;
  for (const known of state.jobs()) {
    const evaluation = jobEvaluation(known, "job-register", {
      random: new SeededRandom(7),
      nowNs: context.nowNs(),
    });
    const first = schedule(state, evaluation, new SeededRandom(9), context.nowNs());
    const second = schedule(state, evaluation, new SeededRandom(9), context.nowNs());
    assert.deepEqual(first.result, second.result, "equal input and seed give an equal plan");
    // Most jobs have converged: a changed one gives a plan that says something.
    const [wanted] = known.TaskGroups;
    const larger = { ...known, Stop: false, TaskGroups: [{ ...wanted!, Count: wanted!.Count + 3 }] };
    const dry = () =>
      dryRun(state, larger, { annotate: true, random: new SeededRandom(9), nowNs: context.nowNs() });
    assert.deepEqual(dry(), dry(), "equal input and seed give an equal plan of something new");
    // A follow-up evaluation that is still to come may be nearly due.
    if (world.cluster.evals(known.ID).some((other) => other.Status === "pending")) continue;
    assert.ok(changesNothing(first.result), `${known.ID} has converged: ${JSON.stringify(first.result)}`);
    assert.equal(world.cluster.scheduling.plans.inFlight, 0);
  }
}

test("schedule: counts, capacity, ports and constraints hold through any history, and it converges", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 3, maxLength: 40 }), async (events) => {
      const world = new World();
      const watch = new PlacementWatch(world);
      for (const e of events) {
        await world.apply(e);
        checkCapacity(world);
        checkPlacements(world);
        watch.check();
      }
      await world.cluster.run();
      checkNobodyForgotten(world);
      await world.settle();
      checkCapacity(world);
      checkPlacements(world);
      checkConverged(world);
    }),
    { numRuns: Number(process.env["RUNS"] ?? 50) },
  );
});

test("schedule: when everything is well again every roll-out ends and every count is met", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 3, maxLength: 25 }), async (events) => {
      const world = new World();
      for (const e of events) await world.apply(e);
      await world.heal();
      const { cluster } = world;
      for (const known of cluster.state.jobs()) {
        if (known.Stop || known.Type === "system") continue;
        if (cluster.evals(known.ID).some((evaluation) => evaluation.Status === "blocked")) continue;
        const deployment = cluster.state.latestDeployment("default", known.ID);
        const failed = deployment?.Status === "failed" && deployment.JobVersion === known.Version;
        if (failed) continue;
        assert.ok(!deployment || !isActive(deployment), `${known.ID}: ${JSON.stringify(deployment)}`);
        if (known.Type !== "service") continue;
        const ended = cluster.allocs(known.ID).filter((alloc) =>
          alloc.ClientStatus === "complete" && alloc.DesiredStatus === "run"
        );
        assert.ok(
          cluster.live(known.ID).length + ended.length >= known.TaskGroups[0]!.Count,
          `${known.ID}: ${cluster.live(known.ID).length} of ${known.TaskGroups[0]!.Count}`,
        );
      }
    }),
    { numRuns: Number(process.env["RUNS"] ?? 50) / 5 },
  );
});
