// A cluster whose servers change while it runs: growing from one to five and back, servers that leave, that lose their
// data, that an operator removes, that die for good; leadership handed over.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type ClusterServer, TestCluster } from "./test_cluster.ts";

const SLOW = { timeout: 240_000 };

describe("cluster that grows and shrinks", SLOW, () => {
  const cluster = new TestCluster({ servers: 1 });
  const s1 = cluster.servers[0]!;
  let written = 0;

  before(async () => {
    await s1.start();
    await cluster.leader();
  }, SLOW);
  after(() => cluster.destroy(), SLOW);

  /** A write through every running server, each of which gets all of them. */
  async function writesEverywhere(): Promise<void> {
    const names: string[] = [];
    for (const server of cluster.running) {
      names.push(`n${++written}`);
      await cluster.write(names.at(-1)!, server);
    }
    for (const server of cluster.running) {
      await cluster.until(async () => {
        const have = await cluster.written(server);
        return names.every((name) => have.includes(name));
      }, `writes to arrive at ${server.name}`);
    }
  }

  async function grow(count: number): Promise<void> {
    const fresh = Array.from({ length: count }, () => cluster.add());
    await Promise.all(fresh.map((server) => server.start()));
    await cluster.voters(cluster.servers.map((server) => server.name));
  }

  it("grows from one to three to five", SLOW, async () => {
    await cluster.write("before", s1);
    await grow(2);
    await writesEverywhere();
    await grow(2);
    await writesEverywhere();
    const newest = cluster.servers[4]!;
    assert.ok((await cluster.written(newest)).includes("before"), "a new server has what was before it");
  });

  it("hands leadership over when it is told to", SLOW, async () => {
    const leader = await cluster.leader();
    const target = cluster.servers.find((server) => server !== leader)!;
    const other = cluster.servers.find((server) => server !== leader && server !== target)!;
    const done = await other.nomad("operator", "raft", "transfer-leadership", "-peer-id", await target.id());
    assert.equal(done.code, 0, done.stderr);
    assert.equal(await cluster.leader(), target);
    const back = await other.nomad(
      "operator",
      "raft",
      "transfer-leadership",
      "-peer-address",
      leader.rpcAddress,
    );
    assert.equal(back.code, 0, back.stderr);
    assert.equal(await cluster.leader(), leader);
  });

  it("forgets the dead when that lets it bear one more failure", SLOW, async () => {
    const leader = await cluster.leader();
    const victims = cluster.servers.filter((server) => server !== leader).slice(0, 2);
    await Promise.all(victims.map((server) => server.end("SIGKILL")));
    const stay = cluster.running.map((server) => server.name);
    await cluster.voters(stay);
    await writesEverywhere();
    await Promise.all(victims.map((server) => server.start()));
    await cluster.voters(cluster.servers.map((server) => server.name));
    await writesEverywhere();
  });

  it("shrinks by servers that leave, the leader among them", SLOW, async () => {
    for (let left = 5; left > 1; left--) {
      const leader = await cluster.leader();
      const goes = left % 2 === 1 ? leader : cluster.running.find((server) => server !== leader)!;
      assert.equal(await goes.end("SIGTERM"), 0, "leave_on_terminate ends with 0");
      await cluster.voters(cluster.running.map((server) => server.name));
      await writesEverywhere();
    }
    const [last] = cluster.running as [ClusterServer];
    const members = await last.get<{ Members: { Name: string; Status: string }[] }>("/v1/agent/members");
    assert.equal(members.Members.filter((member) => member.Status === "left").length, 4);
  });

  it("takes a server that left back", SLOW, async () => {
    const gone = cluster.servers.find((server) => !server.running)!;
    const [last] = cluster.running as [ClusterServer];
    await gone.start();
    const joined = await last.nomad("server", "join", gone.serfAddress);
    assert.equal(joined.stdout, "Joined 1 servers successfully\n", joined.stderr);
    await cluster.voters(cluster.running.map((server) => server.name));
    await writesEverywhere();
  });
});

describe("cluster of three that loses servers", SLOW, () => {
  const cluster = new TestCluster();

  before(() => cluster.start(), SLOW);
  after(() => cluster.destroy(), SLOW);

  it("takes a server that lost its data for a new one", SLOW, async () => {
    const leader = await cluster.leader();
    const victim = cluster.servers.find((server) => server !== leader)!;
    await cluster.write("kept", leader);
    const before = await victim.id();
    await victim.end("SIGKILL");
    victim.wipe();
    await victim.start();
    const id = await victim.id();
    assert.notEqual(id, before);
    await cluster.until(
      async () => {
        const peers = await cluster.peers();
        return peers.length === 3 && peers.every((peer) => peer.Voter) &&
          peers.some((peer) => peer.ID === id);
      },
      "the new server to vote in place of the old one",
      60_000,
    );
    await cluster.until(
      async () => (await cluster.written(victim)).includes("kept"),
      "the data to come back",
    );
  });

  it("removes the peer that an operator names, and not another", SLOW, async () => {
    const leader = await cluster.leader();
    const victim = cluster.servers.find((server) => server !== leader)!;
    await victim.end("SIGKILL");
    const unknown = await leader.nomad("operator", "raft", "remove-peer", "-peer-id", "none");
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /id "none" was not found in the Raft configuration/);
    const removed = await leader.nomad("operator", "raft", "remove-peer", "-peer-address", victim.rpcAddress);
    assert.equal(removed.code, 0, removed.stderr);
    const stay = cluster.running.map((server) => server.name);
    await cluster.voters(stay);
    await cluster.until(async () => {
      const { Members } = await leader.get<{ Members: { Name: string; Status: string }[] }>(
        "/v1/agent/members",
      );
      return Members.some((member) => member.Name === `${victim.name}.global` && member.Status === "failed");
    }, "gossip to see that it is gone");
    await victim.start();
    await cluster.voters(["s1", "s2", "s3"]);
  });
});
