// A server whose files were damaged, as a process: a write that kill -9 tore is nothing, everything else ends the start
// with exit code 1 and one line that names the record and what to do; nothing is changed by a refused start.
import assert from "node:assert/strict";
import { appendFileSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Output, program, run, shellJob, TestAgent } from "./harness.ts";
import { TestCluster } from "./test_cluster.ts";

const JOBS = 20;

function file(agent: TestAgent, name: string): string {
  return join(agent.folder, "data", "server", name);
}

/** An agent that was killed with all its writes in the WAL, or ended in order with all of them in the database. */
async function written(agent: TestAgent, signal: NodeJS.Signals): Promise<void> {
  await agent.start();
  for (let n = 0; n < JOBS; n++) {
    const body = shellJob(`job-${n}`, "true");
    body.Job["Meta"] = { marker: `<<${n}>>` };
    await agent.put("/v1/jobs", body);
  }
  await agent.end(signal);
}

/** A start that must not succeed. */
function refusedStart(agent: TestAgent): Promise<Output> {
  return run([...program, "agent", "-config", join(agent.folder, "agent.hcl")], { cwd: agent.folder });
}

async function withAgent(work: (agent: TestAgent) => Promise<void>): Promise<void> {
  const agent = new TestAgent({ durable: true, client: false });
  try {
    await work(agent);
  } finally {
    await agent.end("SIGKILL");
    rmSync(agent.folder, { recursive: true, force: true });
  }
}

function flip(path: string, text: string): void {
  const bytes = readFileSync(path);
  const at = bytes.indexOf(text);
  assert.ok(at >= 0, `${text} does not stand in ${path}`);
  bytes[at + 2]! ^= 0x01;
  writeFileSync(path, bytes);
}

function assertRefused({ code, stdout, stderr }: Output, ...texts: RegExp[]): void {
  assert.equal(code, 1, stderr);
  const lines = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("==> WARNING"));
  assert.equal(lines.length, 1, stderr);
  for (const text of texts) assert.match(lines[0]!, text);
  assert.ok(!stdout.includes("agent started"), stdout);
}

test("a write that kill -9 tore is cut without a word, and all that was acknowledged is there", async () => {
  await withAgent(async (agent) => {
    await written(agent, "SIGKILL");
    // Half a frame, as a write leaves it that the kill interrupted.
    appendFileSync(file(agent, "raft.db-wal"), new Uint8Array(3000).fill(7));
    await agent.start();
    const jobs = await agent.get<unknown[]>("/v1/jobs");
    assert.equal(jobs.length, JOBS);
    assert.ok(!/\[(WARN|ERROR)\].*(damaged|lost)/.test(agent.log), agent.log);
  });
});

test("a WAL cut short ends the start: the record, the way out, and how to accept the loss", async () => {
  await withAgent(async (agent) => {
    await written(agent, "SIGKILL");
    const wal = file(agent, "raft.db-wal");
    truncateSync(wal, Math.floor(statSync(wal).size / 2));
    const refused = await refusedStart(agent);
    assertRefused(
      refused,
      /ends at entry \d+, but entry \d+ was durable/,
      /operator snapshot restore/,
      /accept-loss/,
    );
    assertRefused(await refusedStart(agent), /ends at entry/);
    const [, last, path] = /write (\d+) into the file (\S+)/.exec(refused.stderr)!;
    writeFileSync(path!, last!);
    await agent.start();
    const jobs = await agent.get<unknown[]>("/v1/jobs");
    assert.ok(jobs.length < JOBS, "something was given up");
    assert.match(agent.log, /as the operator accepted/);
    await agent.put("/v1/jobs", shellJob("after", "true"));
  });
});

test("a byte flipped in the middle of the log ends the start with the entry's number", async () => {
  await withAgent(async (agent) => {
    await written(agent, "SIGTERM");
    flip(file(agent, "raft.db"), `<<${JOBS / 2}>>`);
    for (let i = 0; i < 2; i++) {
      assertRefused(
        await refusedStart(agent),
        /Log entry \d+ \(term \d+\) is damaged/,
        /rejoins from its peers/,
      );
    }
  });
});

test("a byte flipped in a snapshot ends the start with the block's number", async () => {
  await withAgent(async (agent) => {
    Object.assign(agent.options, {
      config: `server {
  raft_snapshot_threshold = 20
  raft_snapshot_interval  = "100ms"
}`,
    });
    await agent.start();
    for (let n = 0; n < JOBS; n++) await agent.put("/v1/jobs", shellJob(`job-${n}`, "true"));
    type Self = { stats: { raft: Record<string, string> } };
    await agent.until(
      async () => Number((await agent.get<Self>("/v1/agent/self")).stats.raft["last_snapshot_index"]) > 20,
      "a snapshot",
    );
    await agent.end("SIGTERM");
    const bytes = readFileSync(file(agent, "raft.db"));
    // Blocks are zstd: their magic number begins each one. Flipped behind it, in every copy that the file still holds.
    const magic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
    for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) bytes[at + 20]! ^= 0x10;
    writeFileSync(file(agent, "raft.db"), bytes);
    assertRefused(
      await refusedStart(agent),
      /Block 0 of snapshot \d+ is damaged/,
      /operator snapshot restore/,
    );
  });
});

test("a server whose directory was removed comes back as another one", async () => {
  await withAgent(async (agent) => {
    const id = async () =>
      (await agent.get<{ stats: { nomad: { known_regions: string } }; member: { Tags: { id: string } } }>(
        "/v1/agent/self",
      )).member.Tags.id;
    await agent.start();
    const first = await id();
    await agent.end("SIGTERM");
    await agent.start();
    assert.equal(await id(), first);
    await agent.end("SIGTERM");
    for (const end of ["", "-wal", "-shm", ".mark", ".lock"]) {
      rmSync(file(agent, `raft.db${end}`), { force: true });
    }
    await agent.start();
    assert.notEqual(await id(), first);
  });
});

test("three servers: one whose WAL was cut short gets everything again, and only then counts", async () => {
  const cluster = new TestCluster();
  try {
    await cluster.start();
    await cluster.voters(["s1", "s2", "s3"]);
    const leader = await cluster.leader();
    const [damaged, third] = cluster.servers.filter((server) => server !== leader) as [
      typeof leader,
      typeof leader,
    ];
    for (let i = 0; i < 30; i++) await cluster.write(`before-${i}`, leader);
    await cluster.until(
      async () => (await cluster.written(damaged)).length === 30,
      "the follower to have it all",
    );
    await damaged.end("SIGKILL");
    const wal = join(damaged.folder, "data", "server", "raft.db-wal");
    truncateSync(wal, Math.floor(statSync(wal).size * 0.6));
    await damaged.start();
    await cluster.until(
      async () => (await cluster.written(damaged)).length === 30,
      "what was lost to come back",
    );
    assert.match(damaged.log, /\[WARN\].*but entry \d+ was durable: .* does not vote until/);
    await cluster.until(() => Promise.resolve(/it votes again/.test(damaged.log)), "it to be whole");
    // It counts: with the third one gone, two of three go on, and elect when the leader goes, too.
    await third.end("SIGKILL");
    await cluster.write("after", leader);
    await third.start();
    await leader.end("SIGKILL");
    await cluster.leader();
    await cluster.until(
      async () => (await cluster.written(damaged)).length === 31,
      "the last write to be there",
    );
  } finally {
    await cluster.destroy();
  }
});
