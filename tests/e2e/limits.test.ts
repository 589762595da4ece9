// What a server does at its limits: bodies that are too large, a disk that takes nothing more. It refuses the write,
// changes nothing, stays up and goes on reading.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { shellJob, TestAgent } from "./harness.ts";

test("a body over 10 MiB is refused with 413, the agent stays up", async () => {
  const agent = new TestAgent({ client: false });
  try {
    await agent.start();
    const response = await fetch(`${agent.address}/v1/jobs`, {
      method: "PUT",
      body: "x".repeat(10 * 2 ** 20 + 1),
    });
    assert.equal(response.status, 413);
    await response.text();
    // Of unknown length: in parts.
    let parts = 12;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (parts-- > 0) controller.enqueue(new Uint8Array(2 ** 20));
        else controller.close();
      },
    });
    const init = { method: "PUT", body, duplex: "half" } as RequestInit;
    const streamed = await fetch(`${agent.address}/v1/jobs`, init);
    assert.equal(streamed.status, 413);
    await streamed.text();
    assert.deepEqual(await agent.get("/v1/jobs"), []);
  } finally {
    await agent.destroy();
  }
});

test("callers that go away in the middle of a body leave no error in the log", async () => {
  const agent = new TestAgent({ client: false });
  try {
    await agent.start();
    const port = Number(new URL(agent.address).port);
    await Promise.all(Array.from({ length: 20 }, () =>
      new Promise<void>((done) => {
        const socket = connect(port, "127.0.0.1", () => {
          socket.write('PUT /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"Job"', () => {
            setTimeout(() => socket.destroy(), 50);
          });
        });
        socket.on("close", () => done());
      })));
    assert.deepEqual(await agent.get("/v1/jobs"), []);
    assert.doesNotMatch(agent.log, /ERROR/);
  } finally {
    await agent.destroy();
  }
});

test("a malformed body is 400 in one line, nothing changed", async () => {
  const agent = new TestAgent({ client: false });
  try {
    await agent.start();
    for (
      const body of [
        "{",
        "[]",
        "null",
        '{"Job": 5}',
        '{"Job": {"ID": "x", "TaskGroups": 7}}',
        '{"Job": null}',
      ]
    ) {
      const response = await fetch(`${agent.address}/v1/jobs`, { method: "PUT", body });
      const text = await response.text();
      assert.equal(response.status, 400, `${body} → ${response.status} ${text}`);
      assert.doesNotMatch(text, /\bat .*\.ts:/, "no stack trace");
    }
    assert.deepEqual(await agent.get("/v1/jobs"), []);
  } finally {
    await agent.destroy();
  }
});

test("another process that locks the database: writes are refused, reads go on, later writes work", async () => {
  const agent = new TestAgent({ durable: true, client: false });
  const { default: Database } = await import("libsql");
  try {
    await agent.start();
    await agent.put("/v1/jobs", shellJob("before", "true"));
    const db = new Database(`${agent.folder}/data/server/raft.db`, { timeout: 5000 } as never);
    db.exec("BEGIN IMMEDIATE");
    const refused = await fetch(`${agent.address}/v1/jobs`, {
      method: "PUT",
      body: JSON.stringify(shellJob("during", "true")),
    });
    const text = await refused.text();
    assert.ok([500, 503].includes(refused.status), `${refused.status} ${text}`);
    assert.match(text, /lock/i);
    const jobs = await agent.get<{ ID: string }[]>("/v1/jobs");
    assert.deepEqual(jobs.map((job) => job.ID), ["before"]);
    db.exec("ROLLBACK");
    db.close();
    await agent.until(
      () => agent.put("/v1/jobs", shellJob("after", "true")).then(() => true),
      "writes to work again",
    );
    const ids = (await agent.get<{ ID: string }[]>("/v1/jobs")).map((job) => job.ID);
    assert.ok(ids.includes("after") && ids.includes("before"));
  } finally {
    await agent.destroy();
  }
});

test("a full disk: writes are refused, reads go on, room makes writes work again", {
  skip: process.getuid?.() === 0 ? false : "only root may mount a small disk",
}, async () => {
  const agent = new TestAgent({ durable: true, client: false });
  const data = join(agent.folder, "data");
  mkdirSync(data);
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=6m", "tmpfs", data], { encoding: "utf8" });
  assert.equal(mounted.status, 0, mounted.stderr);
  try {
    await agent.start();
    await agent.put("/v1/jobs", shellJob("before", "true"));
    const filler = join(data, "filler");
    fill(filler);
    const refused = await agent.until(async () => {
      const body = JSON.stringify(shellJob("during", `echo ${"x".repeat(40_000)}`));
      const response = await fetch(`${agent.address}/v1/jobs`, { method: "PUT", body });
      const text = await response.text();
      return response.ok ? undefined : { status: response.status, text };
    }, "a write to be refused");
    assert.ok([500, 503].includes(refused.status), `${refused.status} ${refused.text}`);
    assert.match(refused.text, /disk is full/i);
    const before = (await agent.get<{ ID: string }[]>("/v1/jobs")).map((job) => job.ID);
    assert.ok(before.includes("before"));
    rmSync(filler);
    await agent.until(
      () => agent.put("/v1/jobs", shellJob("after", "true")).then(() => true),
      "writes to work again",
    );
    await agent.end("SIGKILL");
    await agent.start();
    const after = (await agent.get<{ ID: string }[]>("/v1/jobs")).map((job) => job.ID);
    assert.deepEqual(after.filter((id) => id !== "during"), ["after", "before"]);
  } finally {
    await agent.end("SIGKILL");
    spawnSync("umount", [data]);
    await agent.destroy();
  }
});

/** Writes until the disk takes no more. */
function fill(path: string): void {
  for (let size = 2 ** 20; size >= 512;) {
    try {
      writeFileSync(path, new Uint8Array(size), { flag: "a" });
    } catch (full) {
      assert.equal((full as { code?: string }).code, "ENOSPC");
      size /= 2;
    }
  }
}
