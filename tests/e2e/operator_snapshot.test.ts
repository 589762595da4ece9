// `operator snapshot`: a file of the whole state, saved, inspected and restored, against real agents: one server with a
// device, and three servers of which one is away.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { shellJob, TestAgent } from "./harness.ts";
import { TestCluster } from "./test_cluster.ts";

type Jobs = { ID: string; Status: string; ModifyIndex: number }[];

const ids = (jobs: Jobs) => jobs.map((job) => job.ID);

test("save, inspect and restore: the state is as it was, the device goes on with it, damaged files change nothing", async () => {
  const agent = new TestAgent({ durable: true });
  try {
    await agent.start();
    const file = join(agent.folder, "state.snap");
    await agent.put("/v1/jobs", shellJob("kept", "sleep 600"));
    await agent.put("/v1/jobs", shellJob("purged", "sleep 600"));
    const running = (job: string) =>
      agent.until(async () => {
        const allocs = await agent.get<{ ClientStatus: string }[]>(`/v1/job/${job}/allocations`);
        return allocs.some((alloc) => alloc.ClientStatus === "running");
      }, `${job} to run`);
    await running("kept");
    await running("purged");

    const saved = await agent.nomad("operator", "snapshot", "save", file);
    assert.deepEqual([saved.code, saved.stdout], [0, `State file written to ${file}\n`]);
    assert.equal(statSync(file).mode & 0o777, 0o600, "for this user only");
    assert.ok(!existsSync(`${file}.tmp`));
    const again = await agent.nomad("operator", "snapshot", "save", file);
    assert.deepEqual([again.code, again.stderr.split("\n")[0]], [
      1,
      `Destination file already exists: "${file}"`,
    ]);
    await inspects(agent, file);

    await agent.call("DELETE", "/v1/job/purged?purge=true");
    await agent.put("/v1/jobs", shellJob("younger", "sleep 600"));
    await running("younger");
    await refusesDamaged(agent, file);
    assert.deepEqual(ids(await agent.get<Jobs>("/v1/jobs")), ["kept", "younger"], "nothing changed");

    const { Index: before } = await agent.put<{ Index: number }>("/v1/namespace/later", { Name: "later" })
      .then(
        async () => ({ Index: Number((await raft(agent))["applied_index"]) }),
      );
    const restored = await agent.nomad("operator", "snapshot", "restore", file);
    assert.deepEqual([restored.code, restored.stdout], [0, "Snapshot Restored\n"]);
    assert.deepEqual(ids(await agent.get<Jobs>("/v1/jobs")), ["kept", "purged"]);
    // The device comes back, stops what is not in the state and runs what is.
    await running("purged");
    const evaluation = await agent.put<{ JobModifyIndex: number }>(
      "/v1/jobs",
      shellJob("after", "sleep 600"),
    );
    assert.ok(evaluation.JobModifyIndex > before, "indexes go on");
    await running("after");

    await agent.end("SIGKILL");
    await agent.start();
    assert.deepEqual(ids(await agent.get<Jobs>("/v1/jobs")), ["after", "kept", "purged"]);
  } finally {
    await agent.destroy();
  }
});

function raft(agent: TestAgent): Promise<Record<string, string>> {
  return agent.get<{ stats: { raft: Record<string, string> } }>("/v1/agent/self").then((self) =>
    self.stats.raft
  );
}

async function inspects(agent: TestAgent, file: string): Promise<void> {
  const { code, stdout } = await agent.nomad("operator", "snapshot", "inspect", file);
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^Created = \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\nID {6}= \d+-\d+-\d+\nSize {4}= [\d.]+ KiB\nIndex {3}= \d+\n/,
  );
  assert.match(stdout, /\nVersion = 1\n\nType +Count +Size\n/);
  for (
    const row of [
      /\nJob +2 +/,
      /\nNode +1 +/,
      /\nAlloc +2 +/,
      /\nNamespace +1 +/,
      /\nTotal +\d+ +[\d.]+ KiB\n$/,
    ]
  ) {
    assert.match(stdout, row);
  }
  const json = await agent.nomad("operator", "snapshot", "inspect", "-json", file);
  const { Meta, Stats } = JSON.parse(json.stdout);
  assert.deepEqual(Object.keys(Meta), [
    "Configuration",
    "ConfigurationIndex",
    "ID",
    "Index",
    "Peers",
    "Size",
    "Term",
    "Version",
  ]);
  assert.ok(Stats.some((row: { Name: string; Count: number }) => row.Name === "Alloc" && row.Count === 2));
}

async function refusesDamaged(agent: TestAgent, file: string): Promise<void> {
  const good = readFileSync(file);
  const flipped = Buffer.from(good);
  flipped[good.length >> 1]! ^= 0x10;
  const damaged: [string, Buffer, RegExp][] = [
    ["flipped", flipped, /failed to read snapshot file/],
    ["cut", good.subarray(0, good.length - 300), /unexpected EOF/],
    ["text", Buffer.from("not a snapshot"), /failed to decompress snapshot: gzip: invalid header/],
    ["empty", Buffer.alloc(0), /failed to decompress snapshot: EOF/],
    ["newer", edited(good, (state) => state[7] = 9), /state\.bin has format 9, this program reads 1/],
    [
      "foreign",
      edited(good, (state) => state.fill(0x82, 0, 8)),
      /not written by this program: .*HashiCorp Nomad/,
    ],
  ];
  for (const [name, bytes, text] of damaged) {
    const path = join(agent.folder, `${name}.snap`);
    writeFileSync(path, bytes);
    const restored = await agent.nomad("operator", "snapshot", "restore", path);
    assert.equal(restored.code, 1, name);
    assert.match(
      restored.stderr,
      /^Failed to get restore snapshot: Unexpected response code: 500 \(failed to restore/,
    );
    assert.match(restored.stderr, text, name);
    const inspected = await agent.nomad("operator", "snapshot", "inspect", path);
    assert.equal(inspected.code, 1, name);
    assert.match(inspected.stderr, /^Error inspecting snapshot: ./, name);
  }
  const missing = await agent.nomad("operator", "snapshot", "restore", join(agent.folder, "none"));
  assert.match(missing.stderr, /^Error opening snapshot file: "open .*none: no such file or directory"/);
}

/** The same archive with another state.bin and the sums that fit it: only its content is wrong. */
function edited(archive: Buffer, change: (state: Buffer) => void): Buffer {
  const tar = Buffer.from(gunzipSync(archive));
  const sizeAt = (at: number) => parseInt(tar.subarray(at + 124, at + 135).toString("latin1"), 8);
  for (let at = 0; tar[at] !== 0;) {
    const name = tar.subarray(at, at + 100).toString("latin1").replace(/\0.*$/s, "");
    const content = tar.subarray(at + 512, at + 512 + sizeAt(at));
    if (name === "state.bin") {
      const before = createHash("sha256").update(content).digest("hex");
      change(content);
      const after = createHash("sha256").update(content).digest("hex");
      tar.write(after, tar.indexOf(before), "latin1");
    }
    at += 512 + Math.ceil(sizeAt(at) / 512) * 512;
  }
  return gzipSync(tar);
}

test("three servers: saved and restored through a follower, and the one that was away has it, too", async () => {
  const cluster = new TestCluster({
    server: `raft_snapshot_threshold = 20
  raft_snapshot_interval = "200ms"
  raft_trailing_logs = 5`,
  });
  try {
    await cluster.start();
    const leader = await cluster.leader();
    const [follower, away] = cluster.servers.filter((server) => server !== leader) as [
      typeof leader,
      typeof leader,
    ];
    await cluster.voters(["s1", "s2", "s3"]);
    for (let i = 0; i < 5; i++) await cluster.write(`saved-${i}`, leader);
    const file = join(follower.folder, "state.snap");
    assert.equal((await follower.nomad("operator", "snapshot", "save", file)).code, 0);
    await away.end("SIGKILL");
    for (let i = 0; i < 3; i++) await cluster.write(`lost-${i}`, leader);
    const restored = await follower.nomad("operator", "snapshot", "restore", file);
    assert.deepEqual([restored.code, restored.stdout], [0, "Snapshot Restored\n"], restored.stderr);
    for (let i = 0; i < 30; i++) await cluster.write(`after-${i}`, follower);
    await away.start();
    const expected = [
      ...Array.from({ length: 30 }, (_, i) => `after-${i}`),
      ...Array.from({ length: 5 }, (_, i) => `saved-${i}`),
    ].sort();
    for (const server of cluster.servers) {
      await cluster.until(
        async () => JSON.stringify((await cluster.written(server)).sort()) === JSON.stringify(expected),
        `${server.name} to have the restored state and what came after`,
      );
    }
  } finally {
    await cluster.destroy();
  }
});
