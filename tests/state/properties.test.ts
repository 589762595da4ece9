import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Command } from "../../server/commands.ts";
import { demandOf } from "../../server/demand.ts";
import { State } from "../../server/state.ts";
import type { Allocation, Job, JobSummary } from "../../core/types.ts";
import {
  makeDeployment,
  makeEval,
  makeJob,
  makeNode,
  makePlacement,
  makePlan,
  makeResources,
  makeUpdate,
  T0,
  uuid,
} from "./fixtures.ts";

// Small numbers of everything, so that random commands meet each other's records often.
const node = fc.integer({ min: 0, max: 3 });
const alloc = fc.integer({ min: 0, max: 15 });
const job = fc.constantFrom("a", "b", "c");
const evaluation = fc.integer({ min: 0, max: 8 });
const deployment = fc.integer({ min: 0, max: 2 });
const status = fc.constantFrom("pending", "running", "complete", "failed", "unknown") as fc.Arbitrary<
  Allocation["ClientStatus"]
>;
const health = fc.constantFrom(null, true, false);

const evalRecord = fc.record({
  n: evaluation,
  job,
  status: fc.constantFrom("pending", "complete", "blocked", "canceled") as fc.Arbitrary<"pending">,
  queued: fc.integer({ min: 0, max: 3 }),
}).map(({ n, job, status, queued }) =>
  // An evaluation belongs to one job for ever.
  makeEval(n * 3 + "abc".indexOf(job), job, { Status: status, QueuedAllocations: { g: queued } })
);

const plan = fc.record({
  job,
  first: alloc,
  count: fc.integer({ min: 0, max: 4 }),
  node,
  version: fc.integer({ min: 0, max: 2 }),
  port: fc.constantFrom(0, 20001, 20002),
  stops: fc.array(fc.record({ n: alloc, lost: fc.boolean() }), { maxLength: 3 }),
  inPlace: fc.array(alloc, { maxLength: 2 }),
  deployment: fc.option(deployment),
  canary: fc.boolean(),
  evals: fc.array(evalRecord, { maxLength: 2 }),
}).map((p) => ({ kind: "plan" as const, p }));

const simple = fc.oneof(
  fc.record({ kind: fc.constant("register" as const), job, priority: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ kind: fc.constant("node" as const), node, ready: fc.boolean() }),
  fc.record({ kind: fc.constant("evals" as const), evals: fc.array(evalRecord, { maxLength: 3 }) }),
  fc.record({
    kind: fc.constant("collect" as const),
    evals: fc.array(evaluation, { maxLength: 3 }),
    allocs: fc.array(alloc, { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant("report" as const),
    updates: fc.array(fc.record({ n: alloc, status, health }), { maxLength: 4 }),
  }),
  fc.record({ kind: fc.constant("deploymentGone" as const), n: deployment }),
);
/** Rare, because after one there is less to meet. */
const rare = fc.oneof(
  fc.record({ kind: fc.constant("deregister" as const), job, purge: fc.boolean() }),
  fc.record({ kind: fc.constant("nodeGone" as const), node }),
);
const commands = fc.array(
  fc.oneof({ arbitrary: plan, weight: 6 }, { arbitrary: simple, weight: 8 }, { arbitrary: rare, weight: 1 }),
  { minLength: 1, maxLength: 60, size: "max" },
);
type Step = typeof commands extends fc.Arbitrary<(infer T)[]> ? T : never;

/** The command of a step in this state: ids that must be new are, jobs and evaluations that must exist do. */
function commandOf(step: Step, state: State, time: number): Command {
  switch (step.kind) {
    case "register":
      return {
        kind: "job.register",
        time,
        job: makeJob(step.job, { Priority: step.priority }),
        submission: null,
        evals: [],
      };
    case "deregister":
      return {
        kind: "job.deregister",
        time,
        namespace: "default",
        id: step.job,
        purge: step.purge,
        noShutdownDelay: false,
        evals: [],
      };
    case "node":
      return {
        kind: "node.register",
        time,
        node: makeNode(step.node, { Status: step.ready ? "ready" : "down" }),
      };
    case "nodeGone":
      return { kind: "node.deregister", time, ids: [makeNode(step.node).ID], evals: [] };
    case "evals":
      return { kind: "eval.upsert", time, evals: step.evals };
    case "collect":
      return {
        kind: "eval.delete",
        evals: step.evals.map((n) => uuid(0x30000 + n)),
        allocs: step.allocs.map((n) => uuid(0x500000 + n)),
      };
    case "report":
      return {
        kind: "alloc.client",
        time,
        evals: [],
        updates: step.updates.map(({ n, status, health }) =>
          makeUpdate(uuid(0x500000 + n), status, {
            DeploymentStatus: health === null ? null : { Healthy: health, Timestamp: "2026-11-22T04:00:00Z" },
          })
        ),
      };
    case "deploymentGone":
      return { kind: "deployment.delete", ids: [uuid(0x70000 + step.n)] };
    case "plan":
      return { kind: "plan", time, plan: planOf(step.p, state) };
  }
}

function planOf(p: Extract<Step, { kind: "plan" }>["p"], state: State) {
  const known = p.deployment === null ? undefined : state.deployment(uuid(0x70000 + p.deployment));
  const fresh = p.deployment !== null && !known ? makeDeployment(p.deployment, p.job) : null;
  const deploymentId = fresh?.ID ?? (known?.JobID === p.job ? known.ID : "");
  const ids = Array.from({ length: p.count }, (_, i) => (p.first + i) % 16);
  const current = state.job("default", p.job)?.Version ?? 0;
  return makePlan(p.job, {
    // Mostly the newest version, sometimes the one before it.
    jobs: [{ version: p.version === 0 ? current - 1 : current }],
    resources: [makeResources(p.port ? [p.port] : [])],
    deployment: fresh,
    evals: p.evals,
    stops: p.stops.map(({ n, lost }) => ({
      id: uuid(0x500000 + n),
      status: "stop" as const,
      description: "",
      ...(lost ? { clientStatus: "lost" as const } : {}),
    })),
    inPlace: p.inPlace.filter((n) => state.alloc(uuid(0x500000 + n))?.JobID === p.job).map((n) => ({
      id: uuid(0x500000 + n),
      job: 0,
      resources: 0,
      deploymentId,
    })),
    placements: ids.filter((n) => !state.alloc(uuid(0x500000 + n))).map((n) =>
      makePlacement(n, { nodeId: makeNode(p.node).ID, deploymentId, canary: p.canary && deploymentId !== "" })
    ),
  });
}

function run(
  steps: readonly Step[],
  each: (state: State) => void = () => {},
): { state: State; log: Command[] } {
  const state = new State({ jobVersionsTracked: 2 });
  const log: Command[] = [];
  for (const [i, step] of [...PREAMBLE, ...steps].entries()) {
    const command = commandOf(step, state, T0 + i * 1e9);
    log.push(command);
    state.apply(i + 1, command);
    if (i >= PREAMBLE.length) each(state);
  }
  return { state, log };
}

/** Something to plan for and to place on. */
const PREAMBLE: Step[] = [
  ...[0, 1, 2, 3].map((node) => ({ kind: "node" as const, node, ready: true })),
  ...["a", "b", "c"].map((job) => ({ kind: "register" as const, job: job as "a", priority: 1 })),
];

/** A state as comparable JSON: order of tables aside. */
function contents(state: State): unknown {
  const sorted = <T>(rows: Iterable<T>) => [...rows].map((row) => JSON.stringify(row)).sort();
  return {
    index: state.index,
    jobs: [...state.jobs()].map((row) => ({
      versions: state.jobVersions(row.Namespace, row.ID),
      summary: state.jobSummary(row.Namespace, row.ID),
      allocs: sorted(state.allocsByJob(row.Namespace, row.ID)),
      evals: sorted(state.evalsByJob(row.Namespace, row.ID)),
      deployments: state.deploymentsByJob(row.Namespace, row.ID),
    })),
    nodes: sorted(state.nodes()),
    allocs: sorted(state.allocs()),
    evals: sorted(state.evals()),
    deployments: sorted(state.deployments()),
    usage: usage(state),
    tables: (["jobs", "allocs", "evals", "nodes", "deployment", "job_summary"] as const).map((t) =>
      state.tableIndex(t)
    ),
  };
}

/** Usage of every node as the columns have it. */
function usage(state: State): unknown {
  const table = state.nodeTable;
  return [...state.nodes()].map(({ ID }) => {
    const slot = table.slot(ID);
    return [
      ID,
      table.cpuUsed[slot],
      table.memoryUsed[slot],
      table.diskUsed[slot],
      table.allocCount[slot],
      [...table.portsInUse(slot)].map((port) => [port, table.portUsers(slot, port)]).sort(),
    ];
  }).sort();
}

function isOver(alloc: Allocation): boolean {
  return ["complete", "failed", "lost"].includes(alloc.ClientStatus);
}

/** Usage of every node, counted from its allocations. */
function countedUsage(state: State): unknown {
  return [...state.nodes()].map(({ ID }) => {
    const sums = [0, 0, 0, 0] as [number, number, number, number];
    const ports = new Map<number, number>();
    for (const alloc of state.allocs()) {
      if (alloc.NodeID !== ID || isOver(alloc)) continue;
      const demand = demandOf(alloc.AllocatedResources);
      sums[0] += demand.cpuMhz;
      sums[1] += demand.memoryMb;
      sums[2] += demand.diskMb;
      sums[3]++;
      for (const port of demand.ports) ports.set(port, (ports.get(port) ?? 0) + 1);
    }
    return [ID, ...sums, [...ports].sort()];
  }).sort();
}

test("NodeTable always equals a count of the allocations that have not ended", () => {
  fc.assert(
    fc.property(commands, (steps) => {
      run(steps, (state) => assert.deepEqual(usage(state), countedUsage(state)));
    }),
    { numRuns: 150 },
  );
});

test("every index finds exactly the records it should", () => {
  fc.assert(
    fc.property(commands, (steps) => {
      const { state } = run(steps);
      const all = [...state.allocs()];
      assert.equal(state.allocCount, all.length);
      const ids = (rows: Iterable<{ ID: string }>) => [...rows].map((row) => row.ID).sort();
      for (const name of ["a", "b", "c"]) {
        assert.deepEqual(ids(state.allocsByJob("default", name)), ids(all.filter((a) => a.JobID === name)));
        assert.deepEqual(
          ids(state.evalsByJob("default", name)),
          ids([...state.evals()].filter((e) => e.JobID === name)),
        );
      }
      for (let n = 0; n < 4; n++) {
        const { ID } = makeNode(n);
        assert.deepEqual(ids(state.allocsByNode(ID)), ids(all.filter((a) => a.NodeID === ID)));
      }
      for (let n = 0; n < 3; n++) {
        const id = uuid(0x70000 + n);
        assert.deepEqual(ids(state.allocsByDeployment(id)), ids(all.filter((a) => a.DeploymentID === id)));
      }
      for (const evalId of new Set(all.map((a) => a.EvalID))) {
        assert.deepEqual(ids(state.allocsByEval(evalId)), ids(all.filter((a) => a.EvalID === evalId)));
      }
    }),
    { numRuns: 150 },
  );
});

test("summaries equal a count of live allocations after every command", () => {
  fc.assert(
    fc.property(commands, (steps) => {
      run(steps.filter((step) => step.kind !== "collect"), (state) => {
        for (const { ID } of state.jobs()) {
          const summary = state.jobSummary("default", ID)!.Summary["g"]!;
          const counted = { Starting: 0, Running: 0, Lost: 0, Unknown: 0 };
          for (const alloc of state.allocsByJob("default", ID)) {
            if (alloc.ClientStatus === "pending") counted.Starting++;
            if (alloc.ClientStatus === "running") counted.Running++;
            if (alloc.ClientStatus === "lost") counted.Lost++;
            if (alloc.ClientStatus === "unknown") counted.Unknown++;
          }
          const { Starting, Running, Lost, Unknown } = summary;
          assert.deepEqual({ Starting, Running, Lost, Unknown }, counted);
        }
      });
    }),
    { numRuns: 150 },
  );
});

test("a job's status follows from what is there, after every command", () => {
  fc.assert(
    fc.property(commands, (steps) => {
      run(steps, (state) => {
        for (const job of state.jobs()) {
          const allocs = [...state.allocsByJob("default", job.ID)];
          const evals = [...state.evalsByJob("default", job.ID)];
          if (allocs.some((a) => a.DesiredStatus === "run" && !isOver(a))) {
            assert.equal(job.Status, "running");
          } else if (state.latestDeployment("default", job.ID)?.Status === "running") {
            assert.equal(job.Status, "running");
          } else if (evals.some((e) => e.Status === "pending" || e.Status === "blocked")) {
            assert.equal(job.Status, "pending");
          } else if (allocs.length > 0 || evals.length > 0) assert.equal(job.Status, "dead");
          assert.equal(state.jobVersions("default", job.ID)[0], job);
        }
      });
    }),
    { numRuns: 150 },
  );
});

test("deployments count no less than their allocations that are there", () => {
  fc.assert(
    fc.property(commands, (steps) => {
      // A deployment's id is never used again; here it would be, so none goes.
      const { state } = run(
        steps.filter((step) => step.kind !== "collect" && step.kind !== "deploymentGone"),
      );
      for (const deployment of state.deployments()) {
        const group = deployment.TaskGroups["g"]!;
        const allocs = state.allocsByDeployment(deployment.ID);
        const judged = (healthy: boolean) =>
          allocs.filter((a) => a.DeploymentStatus?.Healthy === healthy).length;
        assert.ok(group.PlacedAllocs >= allocs.length);
        assert.ok(group.HealthyAllocs >= judged(true) && group.UnhealthyAllocs >= judged(false));
      }
    }),
    { numRuns: 100 },
  );
});

test("a snapshot restores to an equal state that goes on equally", () => {
  fc.assert(
    fc.property(commands, commands, (first, more) => {
      const { state } = run(first);
      const copy = new State({ jobVersionsTracked: 2 });
      copy.restore(state.index, [...state.snapshot()]);
      assert.deepEqual(contents(copy), contents(state));
      for (const step of more) {
        const command = commandOf(step, state, T0);
        const index = state.index + 1;
        assert.deepEqual(copy.apply(index, command), state.apply(index, command));
      }
      assert.deepEqual(contents(copy), contents(state));
    }),
    { numRuns: 100 },
  );
});

test("a snapshot is of the moment it was taken", () => {
  fc.assert(
    fc.property(commands, commands, (first, more) => {
      const { state } = run(first);
      const index = state.index;
      const before = contents(state);
      const chunks = state.snapshot();
      for (const step of more) state.apply(state.index + 1, commandOf(step, state, T0));
      const copy = new State({ jobVersionsTracked: 2 });
      copy.restore(index, chunks);
      assert.deepEqual(contents(copy), before);
    }),
    { numRuns: 60 },
  );
});

test("applying is deterministic, and commands and records handed out never change", () => {
  fc.assert(
    fc.property(commands, (steps) => {
      const seen: [Job | JobSummary | Allocation, string][] = [];
      const { state, log } = run(steps, (state) => {
        for (const alloc of state.allocs()) seen.push([alloc, JSON.stringify(alloc)]);
        for (const job of state.jobs()) {
          seen.push([job, JSON.stringify(job)]);
          const summary = state.jobSummary("default", job.ID)!;
          seen.push([summary, JSON.stringify(summary)]);
        }
      });
      const texts = log.map((command) => JSON.stringify(command));
      const other = new State({ jobVersionsTracked: 2 });
      log.forEach((command, i) => other.apply(i + 1, command));
      assert.deepEqual(contents(other), contents(state));
      assert.deepEqual(log.map((command) => JSON.stringify(command)), texts);
      for (const [record, text] of seen) assert.equal(JSON.stringify(record), text);
    }),
    { numRuns: 60 },
  );
});
