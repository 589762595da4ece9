// A large job is placed, updated and stopped by several plans. How many there are must not show in what comes out of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Allocation, Job } from "../../core/types.ts";
import { jobEvaluation } from "../../server/evaluations.ts";
import { changesNothing } from "../../server/plan_builder.ts";
import { schedule } from "../../server/schedule.ts";
import { State } from "../../server/state.ts";
import { makeUpdate } from "../state/fixtures.ts";
import { group, job, node, SeededRandom, task } from "./fixtures.ts";

interface Step {
  counts: [number, number];
  env: number;
  /** Changes nothing but the job's meta: updated in place. */
  meta: number;
  maxParallel: number;
  stop: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  counts: fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 25 })),
  env: fc.integer({ min: 0, max: 1 }),
  meta: fc.integer({ min: 0, max: 2 }),
  maxParallel: fc.constantFrom(0, 3, 50),
  stop: fc.boolean(),
});

function jobOf({ counts, env, meta, maxParallel }: Step): Job {
  const groups = counts.map((Count, i) =>
    group({
      Name: `g${i}`,
      Count,
      Meta: { meta: String(meta) },
      Tasks: [task({ Env: { env: String(env) } })],
    })
  );
  return job("large", {
    Update: maxParallel > 0
      ? { MaxParallel: maxParallel, HealthCheck: "task_states", MinHealthyTime: 0, HealthyDeadline: 1e9 }
      : { MaxParallel: 0 },
    TaskGroups: groups,
  });
}

/** The job's life with plans of at most `portion` placements; what stands after each step. */
function play(steps: readonly Step[], portion: number): unknown[] {
  const state = new State();
  const random = new SeededRandom(7);
  let now = 1e18;
  const apply = (command: Parameters<State["apply"]>[1]) => {
    const result = state.apply(state.index + 1, JSON.parse(JSON.stringify(command)));
    assert.equal(result.refused, undefined);
  };
  for (let i = 0; i < 8; i++) {
    apply({ kind: "node.register", time: now, node: node(i, { cpu: 100_000, memory: 100_000, disk: 1e7 }) });
  }
  /** Devices run what they are told to, in health, and end what they are told to end. */
  const devices = () => {
    const updates = state.allocsByJob("default", "large").flatMap((alloc) => {
      const report = reportOf(alloc);
      if (!report) return [];
      const healthy = alloc.DeploymentID !== "" && report === "running";
      return [makeUpdate(alloc.ID, report, {
        DeploymentStatus: healthy ? { Healthy: true, Timestamp: "2026-11-22T00:00:00Z" } : null,
      })];
    });
    if (updates.length > 0) apply({ kind: "alloc.client", time: now, updates, evals: [] });
  };
  /** Runs an evaluation to its end, in as many plans as it takes. */
  const evaluate = (trigger: string): boolean => {
    const evaluation = jobEvaluation(state.job("default", "large")!, trigger, { random, nowNs: now });
    apply({ kind: "eval.upsert", time: now, evals: [evaluation] });
    let changed = false;
    for (let plans = 0;; plans++) {
      assert.ok(plans < 500, "an evaluation comes to its end");
      const plan = schedule(state, state.eval(evaluation.ID)!, random, now, { placementsMax: portion });
      assert.ok(plan.result.placements.length <= portion, "a plan keeps to its portion");
      changed ||= !changesNothing(plan.result);
      apply({ kind: "plan", time: now, plan: plan.result });
      if (!plan.more) return changed;
    }
  };
  return steps.map((step) => {
    now += 60e9;
    const wanted = { ...jobOf(step), Stop: step.stop };
    apply({ kind: "job.register", time: now, job: wanted, submission: null, evals: [] });
    evaluate("job-register");
    for (let round = 0; round < 60; round++) {
      now += 1e9;
      devices();
      if (!evaluate("deployment-watcher")) break;
    }
    return standing(state);
  });
}

function reportOf(alloc: Allocation): "running" | "complete" | null {
  if (alloc.DesiredStatus === "run") return alloc.ClientStatus === "pending" ? "running" : null;
  return alloc.ClientStatus === "complete" ? null : "complete";
}

/** Names, versions and states; not ids and nodes, which are drawn. */
function standing(state: State): unknown {
  const allocs = state.allocsByJob("default", "large").map((alloc) =>
    `${alloc.Name} v${alloc.Job.Version} ${alloc.DesiredStatus} ${alloc.ClientStatus}`
  );
  const deployments = state.deploymentsByJob("default", "large").map((
    { Status, JobVersion, TaskGroups },
  ) => ({
    Status,
    JobVersion,
    groups: Object.entries(TaskGroups).map(([name, { DesiredTotal, HealthyAllocs, PlacedAllocs }]) =>
      `${name} ${DesiredTotal} ${PlacedAllocs} ${HealthyAllocs}`
    ),
  }));
  return { allocs: allocs.sort(), deployments, summary: state.jobSummary("default", "large")!.Summary };
}

test("in how many plans a job is placed, updated and stopped changes nothing in what comes out", () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 12 }),
      (steps, portion) => {
        assert.deepEqual(play(steps, portion), play(steps, Infinity));
      },
    ),
    { numRuns: 60 },
  );
});
