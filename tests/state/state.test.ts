import { test } from "node:test";
import assert from "node:assert/strict";
import { Bench, makeEval, makeJob, makeNode, makePlacement, makePlan, makeUpdate, uuid } from "./fixtures.ts";

test("a job goes pending, running, dead as its evaluation and allocation do", () => {
  const b = new Bench();
  b.node(makeNode(0));
  b.register(makeJob("web", { Type: "batch" }), [makeEval(0, "web")]);
  const job = () => b.state.job("default", "web")!;
  assert.equal(job().Status, "pending");
  assert.equal(b.state.eval(uuid(0x30000))!.JobModifyIndex, 2);
  b.plan(
    makePlan("web", { placements: [makePlacement(0)], evals: [makeEval(0, "web", { Status: "complete" })] }),
  );
  assert.equal(job().Status, "running");
  assert.equal(job().ModifyIndex, 3);
  assert.equal(job().JobModifyIndex, 2);
  b.report(makeUpdate(uuid(0x500000), "complete"));
  assert.equal(job().Status, "dead");
  const slot = b.state.nodeTable.slot(uuid(0x1000));
  assert.equal(b.state.nodeTable.allocCount[slot], 0);
});
