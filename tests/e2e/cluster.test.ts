// Three server processes and two devices: forming, serving, and losing servers while jobs run and writes go on.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { allocWith, shellJob } from "./harness.ts";
import { type ClusterServer, TestCluster } from "./test_cluster.ts";

const SLOW = { timeout: 180_000 };

describe("cluster of three", SLOW, () => {
  const cluster = new TestCluster();
  const [s1, s2, s3] = cluster.servers as [ClusterServer, ClusterServer, ClusterServer];

  before(async () => {
    // The first looks for the others before they are up.
    await s1.start();
    assert.equal(await s1.get("/v1/status/leader?stale"), "");
    await assert.rejects(s1.get("/v1/agent/health?type=server"), /500.*No cluster leader/);
    await Promise.all([s2.start(), s3.start()]);
    await cluster.leader();
  }, SLOW);
  after(() => cluster.destroy(), SLOW);

  it("forms with one membership on every server", SLOW, async () => {
    await cluster.voters(["s1", "s2", "s3"]);
    const memberships = await Promise.all(cluster.servers.map((server) => cluster.peers(server)));
    assert.deepEqual(memberships[1], memberships[0]);
    assert.deepEqual(memberships[2], memberships[0]);
    assert.equal(memberships[0]!.filter((peer) => peer.Leader).length, 1);
    const addresses = await s2.get<string[]>("/v1/status/peers");
    assert.deepEqual(addresses.sort(), cluster.servers.map((server) => server.rpcAddress).sort());
    for (const server of cluster.servers) {
      assert.deepEqual(await server.get("/v1/agent/health?type=server"), {
        server: { ok: true, message: "ok" },
      });
    }
  });

  it("shows its servers on the command line", SLOW, async () => {
    const leader = await cluster.leader();
    const listed = await s3.nomad("operator", "raft", "list-peers");
    assert.equal(listed.code, 0, listed.stderr);
    const rows = listed.stdout.trim().split("\n").map((line) => line.split(/\s{2,}/));
    assert.deepEqual(rows[0], ["Node", "ID", "Address", "State", "Voter", "RaftProtocol"]);
    assert.equal(rows.length, 4);
    const leading = rows.filter((row) => row[3] === "leader");
    assert.deepEqual(leading.map((row) => row[0]), [`${leader.name}.global`]);
    await cluster.until(
      async () =>
        (await s3.nomad("operator", "autopilot", "health")).stdout.startsWith(
          "Healthy: true\nFailureTolerance: 1\n",
        ),
      "a healthy cluster",
    );
    for (const server of cluster.servers) {
      // 200 or 429: a busy machine may be late with heartbeats.
      const response = await fetch(`${server.address}/v1/operator/autopilot/health?stale`);
      const { Servers } = await response.json() as { Servers: unknown[] };
      assert.equal(Servers.length, 3, "the leader's answer, whoever is asked");
    }
    interface Metrics {
      Gauges: { Name: string; Value: number }[];
    }
    await cluster.until(async () => {
      const { Gauges } = await leader.get<Metrics>("/v1/metrics");
      const gauge = (name: string) => Gauges.find((each) => each.Name === `nomad.${name}`)?.Value;
      return gauge("nomad.autopilot.healthy") === 1 && gauge("nomad.autopilot.failure_tolerance") === 1 &&
        gauge("raft.peers") === 3;
    }, "metrics of a healthy cluster");
    const info = await leader.nomad("agent-info");
    assert.match(info.stdout, /\n {2}num_peers = 2\n/);
    assert.match(info.stdout, /latest_configuration = \[\{Suffrage:Voter ID:\S+ Address:\S+\} /);
  });

  it("runs a job on devices that know all servers, through the death of the leader", SLOW, async () => {
    const [device] = await Promise.all([cluster.device("d1"), cluster.device("d2")]);
    await s1.put("/v1/jobs", shellJob("steady", "sleep 3600", { group: { Count: 2 } }));
    const alloc = await allocWith(device!, "steady", "running");
    const leader = await cluster.leader();
    await leader.end("SIGKILL");
    const next = await cluster.leader();
    assert.notEqual(next, leader);
    await cluster.write("after-death", next);
    await next.put("/v1/jobs", shellJob("later", "sleep 3600"));
    await allocWith(device!, "later", "running");
    const same = await next.get<{ ClientStatus: string }>(`/v1/allocation/${alloc.ID}`);
    assert.equal(same.ClientStatus, "running");
    await leader.start();
    await cluster.until(
      async () => (await cluster.written(leader)).includes("after-death"),
      "the old leader to catch up",
    );
  });

  it("replaces a leader that stands still, which gives way when it wakes", SLOW, async () => {
    const leader = await cluster.leader();
    const others = cluster.servers.filter((server) => server !== leader);
    leader.pause();
    try {
      const next = await cluster.leader(others);
      await cluster.write("while-asleep", next);
    } finally {
      leader.resume();
    }
    await cluster.leader();
    await cluster.until(
      async () => (await cluster.written(leader)).includes("while-asleep"),
      "the old leader to have what it missed",
    );
    await cluster.write("awake", leader);
  });

  it("loses nothing acknowledged while servers die in turns", SLOW, async () => {
    const acknowledged: string[] = [];
    let writing = true;
    const writer = (async () => {
      for (let i = 0; writing; i++) {
        const at = cluster.servers[i % 3]!;
        if (!at.running) continue;
        const name = `w${i}`;
        await cluster.write(name, at, 3000).then(() => acknowledged.push(name), () => undefined);
      }
    })();
    const killInTurns = async (victim: ClusterServer) => {
      const before = acknowledged.length;
      await cluster.until(() => Promise.resolve(acknowledged.length > before + 5), "writes before");
      await victim.end("SIGKILL");
      const during = acknowledged.length;
      await cluster.until(() => Promise.resolve(acknowledged.length > during + 5), "writes with two servers");
      await victim.start();
      await cluster.leader();
    };
    try {
      for (const victim of [await cluster.leader(), s1, s2, s3]) await killInTurns(victim);
    } finally {
      writing = false;
      await writer;
    }
    for (const server of cluster.servers) {
      await cluster.until(async () => {
        const have = new Set(await cluster.written(server));
        return acknowledged.every((name) => have.has(name));
      }, `all ${acknowledged.length} acknowledged writes on ${server.name}`);
    }
  });

  it("comes back with everything when all servers died at once", SLOW, async () => {
    await cluster.write("before-the-end", await cluster.leader());
    await Promise.all(cluster.servers.map((server) => server.end("SIGKILL")));
    await Promise.all(cluster.servers.map((server) => server.start()));
    const leader = await cluster.leader();
    await cluster.voters(["s1", "s2", "s3"]);
    assert.ok((await cluster.written(leader)).includes("before-the-end"));
    await cluster.write("after-the-end", leader);
  });
});
