// A server that is behind turns reads away before writes, and never what keeps the cluster alive. Time is the test's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Agent } from "../../agent.ts";
import type { Clock } from "../../core/env.ts";
import { Rig } from "../http/rig.ts";
import { jobBody } from "./servers.ts";

/** A clock whose timers the test fires as late as it likes. */
class LateClock implements Clock {
  now = 0;
  timers: (() => void)[] = [];
  nowMs = () => this.now;
  monotonicMs = () => this.now;
  after = (_delayMs: number, run: () => void) => {
    this.timers.push(run);
    return () => {
      this.timers = this.timers.filter((timer) => timer !== run);
    };
  };

  /** Fires the sampling timer (250 ms) this much too late. */
  sample(lateMs: number): void {
    this.now += 250 + lateMs;
    for (const run of this.timers.splice(0)) run();
  }
}

test("reads are turned away first, then writes; what is served by any server and status never", async () => {
  const clock = new LateClock();
  const rig = new Rig({ clock });
  const ask = async () =>
    (await Promise.all([
      rig.get("/v1/jobs"),
      rig.get("/v1/jobs?stale"),
      rig.put("/v1/jobs", jobBody("web")),
      rig.get("/v1/status/leader"),
      rig.get("/v1/regions"),
      rig.get("/v1/agent/health"),
    ])).map(({ status }) => status);
  assert.deepEqual(await ask(), [200, 200, 200, 200, 200, 200]);
  clock.sample(9000);
  assert.deepEqual(await ask(), [200, 200, 200, 200, 200, 200], "one long moment is no overload");
  for (let i = 0; i < 4; i++) clock.sample(1100);
  assert.deepEqual(await ask(), [503, 503, 200, 200, 200, 200]);
  const refused = await rig.get("/v1/jobs");
  assert.equal(refused.headers.get("retry-after"), "1");
  assert.match(refused.text, /try again in a moment/);
  for (let i = 0; i < 4; i++) {
    clock.sample(4500);
    await rig.get("/v1/jobs");
  }
  assert.deepEqual(await ask(), [503, 503, 503, 200, 200, 200]);
  clock.sample(0);
  assert.deepEqual(await ask(), [200, 200, 200, 200, 200, 200]);
});

test("while nobody asks, nothing is measured", async () => {
  const clock = new LateClock();
  const rig = new Rig({ clock });
  await rig.get("/v1/jobs");
  assert.equal(clock.timers.length, 1);
  for (let i = 0; i < 41; i++) clock.sample(0);
  assert.equal(clock.timers.length, 0);
});

test("what is asked while an agent starts waits for it", { timeout: 60_000 }, async () => {
  const agent = new Agent({
    dev: true,
    bind: "127.0.0.1",
    ports: { http: 0, rpc: 0, serf: 0 },
    log: () => undefined,
    config: { client: { enabled: false } },
  });
  const starting = agent.start();
  const early = await agent.fetch(new Request("http://agent/v1/status/leader"));
  assert.equal(early.status, 200);
  await starting;
  await agent.stop();
  const late = await agent.fetch(new Request("http://agent/v1/status/leader"));
  assert.deepEqual([late.status, late.headers.get("retry-after")], [503, "1"]);
});
