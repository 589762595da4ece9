// The log is cut behind snapshots, and a restart from snapshot and tail gives the same state.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import Database from "libsql";
import { shellJob, TestAgent } from "./harness.ts";

test("a busy server snapshots and cuts its log; after kill -9 everything is there", async () => {
  const agent = new TestAgent({
    durable: true,
    client: false,
    config: `server {
  raft_snapshot_threshold = 50
  raft_snapshot_interval  = "200ms"
  raft_trailing_logs      = 10
}`,
  });
  try {
    await agent.start();
    for (let n = 0; n < 120; n++) await agent.put("/v1/jobs", shellJob(`job-${n}`, "true"));
    await agent.call("DELETE", "/v1/job/job-7?purge=true");
    const stats = () =>
      agent.get<{ stats: { raft: Record<string, string> } }>("/v1/agent/self").then((self) =>
        self.stats.raft
      );
    await agent.until(async () => Number((await stats())["last_snapshot_index"]) > 100, "a snapshot");
    const before = await agent.get<{ ID: string; ModifyIndex: number }[]>("/v1/jobs");
    await agent.end("SIGKILL");

    const db = new Database(join(agent.folder, "data", "server", "raft.db"), { readonly: true } as never);
    const [row] = db.prepare("SELECT MIN(idx) AS first, MAX(idx) AS last FROM log").all() as [
      { first: number; last: number },
    ];
    db.close();
    assert.ok(row.first > 50, `the log begins at ${row.first}: it was not cut`);
    assert.ok(row.last > row.first);

    await agent.start();
    const after = await agent.get<{ ID: string; ModifyIndex: number }[]>("/v1/jobs");
    assert.deepEqual(
      after.map((job) => [job.ID, job.ModifyIndex]),
      before.map((job) => [job.ID, job.ModifyIndex]),
    );
    assert.equal(after.length, 119);
  } finally {
    await agent.destroy();
  }
});
