// A roll-out never takes more away than its update block allows: random groups, versions, healths and orders. What devices
// report as failed is not the roll-out's doing; what the scheduler stops for the new version is.
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import fc from "fast-check";
import type { Allocation } from "../../core/types.ts";
import { Cluster } from "./cluster.ts";
import { group, job, node, task } from "./fixtures.ts";

interface Rollout {
  count: number;
  maxParallel: number;
  canary: number;
  nodes: number;
  /** Which of the new allocations reports next, and how well it is. */
  reports: { pick: number; healthy: boolean }[];
}

const rollout: fc.Arbitrary<Rollout> = fc.record({
  count: fc.integer({ min: 1, max: 8 }),
  maxParallel: fc.integer({ min: 1, max: 4 }),
  canary: fc.integer({ min: 0, max: 3 }),
  nodes: fc.integer({ min: 1, max: 4 }),
  reports: fc.array(
    fc.record({
      pick: fc.nat(),
      // Mostly well: one that is not holds the rest up.
      healthy: fc.constantFrom(true, true, true, true, true, true, true, false),
    }),
    { maxLength: 16 },
  ),
});

/** What the scheduler does at most: the deliberately broken variants show that the check can fail. */
async function play(plan: Rollout, allowed: { maxParallel: number }): Promise<void> {
  const cluster = new Cluster();
  await cluster.addNodes(...Array.from({ length: plan.nodes }, (_, n) => node(n)));
  const version = (v: number) =>
    job("web", {
      TaskGroups: [group({
        Count: plan.count,
        Update: { MaxParallel: plan.maxParallel, Canary: plan.canary },
        Tasks: [task({ Env: { V: String(v) } })],
      })],
    });
  await cluster.register(version(0));
  await cluster.report(cluster.live("web"), "running", { healthy: true });
  await cluster.clock.advance(1000);

  await cluster.register(version(1));
  check(cluster, plan, allowed);
  for (const { pick, healthy } of plan.reports) {
    const waiting = cluster.live("web").filter((alloc) =>
      alloc.Job.Version === 1 && alloc.DeploymentStatus?.Healthy == null
    );
    if (waiting.length > 0) {
      await cluster.report([waiting[pick % waiting.length]!], "running", { healthy });
    } else if (canPromote(cluster)) await cluster.promote("web");
    check(cluster, plan, allowed);
    await cluster.clock.advance(1000);
    check(cluster, plan, allowed);
  }
}

function canPromote(cluster: Cluster): boolean {
  const deployment = cluster.state.latestDeployment("default", "web");
  const state = deployment?.Status === "running" ? deployment.TaskGroups["g"] : undefined;
  if (!state || state.DesiredCanaries === 0 || state.Promoted) return false;
  return (state.PlacedCanaries ?? []).every((id) =>
    cluster.state.alloc(id)?.DeploymentStatus?.Healthy === true
  );
}

function check(cluster: Cluster, plan: Rollout, allowed: { maxParallel: number }): void {
  const of = (version: number, wanted: (alloc: Allocation) => boolean) =>
    cluster.allocs("web").filter((alloc) => alloc.Job.Version === version && wanted(alloc)).length;
  const stopped = of(0, (alloc) => alloc.DesiredStatus !== "run");
  const successors = of(1, (alloc) => alloc.DeploymentStatus?.Healthy === true);
  assert.ok(
    stopped <= successors + allowed.maxParallel,
    `${stopped} of ${plan.count} were stopped for ${successors} healthy successors`,
  );
  const state = cluster.state.latestDeployment("default", "web")?.TaskGroups["g"];
  if (state && state.DesiredCanaries > 0 && !state.Promoted) {
    assert.equal(stopped, 0, "nothing of the old version goes before the canaries are promoted");
  }
  assert.ok(cluster.live("web").length <= plan.count + plan.canary, "canaries come on top, nothing else");
}

test("a roll-out never has fewer healthy allocations than max_parallel allows", async () => {
  await fc.assert(
    fc.asyncProperty(rollout, (plan) => play(plan, plan)),
    { numRuns: Number(process.env["RUNS"] ?? 100) },
  );
});

test("the check of roll-outs sees one that takes more than it may", async () => {
  const plan = { count: 4, maxParallel: 2, canary: 0, nodes: 2, reports: [] };
  await assert.rejects(play(plan, { maxParallel: 1 }), /2 of 4 were stopped for 0 healthy successors/);
});
