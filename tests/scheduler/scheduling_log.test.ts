// Scheduling between proposing and applying: what commands that were in the log at the same time did not know of each
// other, and what the log's disk refused. Both were found by the cluster simulation.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NotLeaderError, StorageError } from "../../core/errors.ts";
import { silentLogger } from "../../core/logger.ts";
import type { Command } from "../../server/commands.ts";
import { jobEvaluation } from "../../server/evaluations.ts";
import { Scheduling } from "../../server/scheduling.ts";
import { Bench } from "../state/fixtures.ts";
import { ManualClock } from "./cluster.ts";
import { job, node, SeededRandom } from "./fixtures.ts";

function stage() {
  const bench = new Bench();
  const clock = new ManualClock();
  const random = new SeededRandom(7);
  const log = { refusal: null as Error | null, refused: 0 };
  const context = {
    state: bench.state,
    clock,
    random,
    logger: silentLogger,
    nowNs: () => clock.nowMs() * 1e6,
    propose: (command: Command) => {
      if (log.refusal) {
        log.refused++;
        return Promise.reject(log.refusal);
      }
      bench.must(command);
      return Promise.resolve({ index: bench.state.index });
    },
  };
  const scheduling = new Scheduling(context);
  bench.state.onChanges((changes) => scheduling.onChanges(changes));
  scheduling.start();
  const evaluate = (id: string) =>
    jobEvaluation(bench.state.job("default", id)!, "job-register", { random, nowNs: context.nowNs() });
  return { bench, clock, log, scheduling, evaluate };
}

const running = (bench: Bench, id: string) =>
  [...bench.state.allocsByJob("default", id)].filter((alloc) => alloc.DesiredStatus === "run").length;

test("Scheduling: a node whose registration did not know a system job gets it all the same", async () => {
  const { bench, clock, evaluate } = stage();
  bench.register(job("agent", { Type: "system" }));
  bench.must({ kind: "eval.upsert", time: bench.time, evals: [evaluate("agent")] });
  await clock.advance(10);
  assert.equal(running(bench, "agent"), 0, "there is no node yet");
  // Proposed before the job was applied: its evaluations name no job.
  bench.must({ kind: "node.register", time: bench.time, node: node(1), evals: [] });
  await clock.advance(10);
  assert.equal(running(bench, "agent"), 1);
});

test("Scheduling: room that appeared before this server led wakes what looked before it", async () => {
  const { bench, clock, scheduling, evaluate } = stage();
  bench.register(job("web"));
  const evaluation = evaluate("web");
  scheduling.stop();
  const looked = bench.state.index;
  bench.must({ kind: "node.register", time: bench.time, node: node(1), evals: [] });
  bench.must({
    kind: "eval.upsert",
    time: bench.time,
    evals: [{ ...evaluation, Status: "blocked", SnapshotIndex: looked }],
  });
  scheduling.start();
  await clock.advance(10);
  assert.equal(running(bench, "web"), 1);
});

test("Scheduling: a node that was open before is not evaluated anew by what changes of it", async () => {
  const { bench, clock } = stage();
  bench.register(job("agent", { Type: "system" }));
  bench.must({ kind: "node.register", time: bench.time, node: node(1), evals: [] });
  await clock.advance(10);
  const before = [...bench.state.evals()].length;
  bench.must({ kind: "node.register", time: bench.time, node: node(1, { meta: { rack: "r2" } }), evals: [] });
  await clock.advance(10);
  assert.equal([...bench.state.evals()].length, before);
});

test("Scheduling: superseded evaluations are canceled also when the disk refused that at first", async () => {
  const { bench, clock, log, evaluate, scheduling } = stage();
  bench.register(job("web"));
  scheduling.workers.pause(true);
  bench.must({
    kind: "eval.upsert",
    time: bench.time,
    evals: [evaluate("web"), evaluate("web"), evaluate("web")],
  });
  scheduling.workers.pause(false);
  log.refusal = new StorageError("full", "no space left");
  await clock.advance(2000);
  log.refusal = null;
  await clock.advance(60_000);
  assert.ok(log.refused > 0);
  const open = [...bench.state.evals()].filter((each) => each.Status === "pending");
  assert.deepEqual(open.map((each) => each.ID), []);
});

test("Scheduling: what a lost leader could not write is left to the next one", async () => {
  const { bench, clock, log, evaluate, scheduling } = stage();
  bench.register(job("web"));
  bench.must({
    kind: "eval.upsert",
    time: bench.time,
    evals: [evaluate("web"), evaluate("web"), evaluate("web")],
  });
  log.refusal = new NotLeaderError("");
  await clock.advance(500);
  scheduling.stop();
  log.refusal = null;
  const { index } = bench.state;
  await clock.advance(60_000);
  assert.equal(bench.state.index, index, "nothing is written by one that does not lead");
});
