// Three server processes whose leader is paused (SIGSTOP) and comes back: writes through the others go on and are done
// once, and what was asked of the old leader in the meantime is never answered from its past.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { shellJob } from "./harness.ts";
import { type ClusterServer, TestCluster } from "./test_cluster.ts";

const SLOW = { timeout: 180_000 };

interface Evaluation {
  ID: string;
  PreviousEval?: string;
}

describe("a leader that is paused", SLOW, () => {
  const cluster = new TestCluster();
  let old: ClusterServer;
  let others: ClusterServer[];

  before(async () => {
    await cluster.start();
    await cluster.voters(["s1", "s2", "s3"]);
    old = await cluster.leader();
    others = cluster.servers.filter((server) => server !== old);
  }, SLOW);
  after(() => cluster.destroy(), SLOW);

  it("holds up no write through another server, and answers nothing from its past", SLOW, async () => {
    const [a, b] = others as [ClusterServer, ClusterServer];
    await a.put("/v1/namespace", { Name: "n", Description: "before" });
    // Connections to the leader are open and in use.
    await Promise.all([a.get("/v1/jobs"), b.get("/v1/jobs"), old.get("/v1/namespace/n")]);
    old.pause();
    const written = a.call<{ EvalID: string }>("PUT", "/v1/jobs", shellJob("once", "true"), 60_000);
    const blocked = b.call<{ Name: string }[]>("GET", "/v1/namespaces", undefined, 60_000);
    const late = old.call<{ Description: string }>("GET", "/v1/namespace/n", undefined, 60_000);
    // Whether this one was done is open, and it says so when it does not know.
    const lateWrite = old.call("PUT", "/v1/namespace", { Name: "late" }, 60_000).catch((error) =>
      assert.match(String(error), /not known|No cluster leader/)
    );
    const { EvalID } = await written;
    assert.ok((await blocked).some(({ Name }) => Name === "n"));
    await b.put("/v1/namespace", { Name: "n", Description: "after" });
    old.resume();
    assert.equal((await late).Description, "after", "it was asked before, and answers after the write");
    await lateWrite;
    await cluster.leader();
    for (const server of cluster.servers) {
      const job = await server.get<{ Version: number }>("/v1/job/once");
      assert.equal(job.Version, 0);
      const evals = await server.get<Evaluation[]>("/v1/job/once/evaluations");
      assert.deepEqual(evals.filter((one) => !one.PreviousEval).map((one) => one.ID), [EvalID]);
    }
  });
});
