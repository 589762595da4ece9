// Servers in this process that form clusters over real sockets: founding, learners, leaving, foreign clusters, servers
// that come back elsewhere, Autopilot's configuration.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import {
  leaderOf,
  leave,
  membersOf,
  startServer,
  stop,
  stopAll,
  temporaryFolder,
  type TestServer,
  until,
} from "./agents.ts";

const SLOW = { timeout: 90_000 };

afterEach(stopAll);

async function three(): Promise<[TestServer, TestServer, TestServer]> {
  const servers = await Promise.all(["a", "b", "c"].map((name) => startServer({ name, expect: 3 })));
  await Promise.all(servers.slice(1).map((server) => server.join(servers[0]!)));
  await membersOf(servers, "a b c");
  await leaderOf(servers);
  return servers as [TestServer, TestServer, TestServer];
}

/** A write on the leader, and that `server` applies it. */
async function writeReaches(leader: TestServer, server: TestServer, name: string): Promise<void> {
  await leader.agent.api.put(`/v1/namespace/${name}`, { Name: name });
  await until(() => server.agent.server!.state.namespace(name) !== undefined, `${name} on ${server.name}`);
}

test("servers that expect three found a cluster with one id", SLOW, async () => {
  const servers = await three();
  const leader = await leaderOf(servers);
  await until(
    () => servers.every((s) => s.agent.server!.state.clusterId !== ""),
    "the cluster's id everywhere",
  );
  assert.equal(new Set(servers.map((server) => server.agent.server!.state.clusterId)).size, 1);
  for (const server of servers) await writeReaches(leader, server, `n-${server.name}`);
});

test("a server that does not vote stays a learner and has all data", SLOW, async () => {
  const a = await startServer({ name: "a", expect: 1 });
  const quiet = await startServer({ name: "quiet", expect: 0, server: { non_voting_server: true } });
  const b = await startServer({ name: "b", expect: 0 });
  await quiet.join(a);
  await membersOf([a, quiet], "(quiet) a");
  await b.join(a);
  await membersOf([a, quiet, b], "(quiet) a b");
  await writeReaches(a, quiet, "told");
});

test(
  "a leader that leaves hands over and is known to have left",
  SLOW,
  async () => {
    const servers = await three();
    const leader = await leaderOf(servers);
    const others = servers.filter((server) => server !== leader);
    await leave(leader);
    await membersOf(others, others.map((server) => server.name).join(" "));
    const next = await leaderOf(others);
    await writeReaches(next, others.find((server) => server !== next)!, "after");
    const status =
      next.agent.membership!.members().find((member) => member.name === `${leader.name}.global`)!.status;
    assert.equal(status, "left");
  },
);

test("a leader that only stops hands over too, and stays a member", SLOW, async () => {
  const servers = await three();
  const leader = await leaderOf(servers);
  const others = servers.filter((server) => server !== leader);
  await stop(leader);
  assert.ok(leader.logged(/handed leadership over/));
  const next = await leaderOf(others);
  await writeReaches(next, others.find((server) => server !== next)!, "after");
  assert.equal(next.members, "a b c");
});

test(
  "a leader that an operator removes gives way first",
  SLOW,
  async () => {
    const servers = await three();
    const leader = await leaderOf(servers);
    const others = servers.filter((server) => server !== leader);
    // Asked through another server, which sees that the leader changes and asks the next one.
    await others[0]!.agent.api.delete(`/v1/operator/raft/peer?id=${leader.id}`);
    const next = await leaderOf(others);
    await writeReaches(next, others.find((server) => server !== next)!, "after");
    assert.equal(next.members, others.map((server) => server.name).sort().join(" "));
  },
);

test("a dead server that is forced to leave is out at once, also when it is forgotten", SLOW, async () => {
  const servers = await three();
  const leader = await leaderOf(servers);
  const [victim, other] = servers.filter((server) => server !== leader) as [TestServer, TestServer];
  await stop(victim);
  const name = `${victim.name}.global`;
  await leader.agent.membership!.forceLeave(name, { prune: true });
  await membersOf([leader, other], [leader.name, other.name].sort().join(" "));
  assert.ok(!leader.agent.membership!.members().some((member) => member.name === name));
});

test("two clusters that meet stay two, and the log says why", SLOW, async () => {
  const a = await startServer({ name: "a", expect: 1 });
  const b = await startServer({ name: "b", expect: 1 });
  await until(() => [a, b].every((server) => server.agent.server!.state.clusterId !== ""), "two clusters");
  await writeReaches(b, b, "of-b");
  await b.join(a);
  await until(
    () => a.logged(/server b\.global is not added: it belongs to another cluster/),
    "the error in the log",
  );
  assert.equal(a.members, "a");
  assert.equal(b.members, "b");
  assert.ok(b.agent.server!.state.namespace("of-b"), "b keeps its data");
});

test("a server that comes back under other ports is found, and still votes", SLOW, async () => {
  const folder = temporaryFolder();
  const a = await startServer({ name: "a", expect: 2 });
  const b = await startServer({ name: "b", expect: 2, dataDir: folder });
  await b.join(a);
  await membersOf([a, b], "a b");
  const address = b.agent.config.advertise.rpc.port;
  await stop(b);
  const again = await startServer({ name: "b", expect: 2, dataDir: folder });
  assert.notEqual(again.agent.config.advertise.rpc.port, address);
  // Neither has a leader now: they find each other by gossip, although the log knows the old address only.
  await again.join(a).catch(() => a.join(again));
  const leader = await leaderOf([a, again]);
  await writeReaches(leader, leader === a ? again : a, "moved");
  const { rpcAddress } = again.agent.server!.config;
  await until(
    () => [a, again].every((s) => s.agent.server!.log.peers().some((peer) => peer.rpcAddress === rpcAddress)),
    "the new address in the log",
  );
});

test(
  "Autopilot's configuration starts as the file says and is changed by compare-and-set",
  SLOW,
  async () => {
    const a = await startServer({ name: "a", expect: 1 });
    await until(() => a.agent.server!.state.clusterId !== "", "the first leader's work");
    const path = "/v1/operator/autopilot/configuration";
    const config = await a.agent.api.get<Record<string, unknown>>(path);
    assert.equal(config["ServerStabilizationTime"], "200ms");
    assert.equal(config["CleanupDeadServers"], true);
    assert.equal(await a.agent.api.put(`${path}?cas=1`, { ...config, MinQuorum: 3 }), false);
    assert.equal(
      await a.agent.api.put(`${path}?cas=${config["ModifyIndex"]}`, { ...config, MinQuorum: 3 }),
      true,
    );
    const changed = await a.agent.api.get<Record<string, number>>(path);
    assert.equal(changed["MinQuorum"], 3);
    assert.equal(changed["CreateIndex"], config["CreateIndex"]);
    assert.ok(changed["ModifyIndex"]! > Number(config["ModifyIndex"]));
  },
);

test("health names who is silent and what the cluster can bear", SLOW, async () => {
  const servers = await three();
  const leader = await leaderOf(servers);
  const health = async () => {
    const response = await leader.agent.fetch(new Request("http://agent/v1/operator/autopilot/health"));
    return { status: response.status, report: await response.json() as Record<string, unknown> };
  };
  let well: Record<string, unknown> = {};
  await until(async () => {
    const { status, report } = await health();
    well = report;
    return status === 200;
  }, "health");
  assert.equal(well["FailureTolerance"], 1);
  assert.equal((well["Voters"] as string[])[0], leader.id);
  const victim = servers.find((server) => server !== leader)!;
  await stop(victim);
  await until(async () => (await health()).status === 429, "the silence to be seen");
  const ill = (await health()).report;
  assert.equal(ill["Healthy"], false);
  assert.equal(ill["FailureTolerance"], 0);
  const entry = (ill["Servers"] as Record<string, unknown>[]).find((server) => server["ID"] === victim.id)!;
  assert.equal(entry["Healthy"], false);
  assert.equal(entry["Name"], `${victim.name}.global`);
});
