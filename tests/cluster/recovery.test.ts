// Most servers are gone for good: the last one goes on alone when raft/peers.json says so, and others join it anew.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { leaderOf, membersOf, startServer, stop, stopAll, temporaryFolder, until } from "./agents.ts";

const SLOW = { timeout: 90_000 };

afterEach(stopAll);

/** Writes peers.json; its path. */
function peersFile(folder: string, peers: unknown): string {
  mkdirSync(join(folder, "server", "raft"), { recursive: true });
  const file = join(folder, "server", "raft", "peers.json");
  writeFileSync(file, typeof peers === "string" ? peers : JSON.stringify(peers));
  return file;
}

test("a survivor goes on alone with its data and takes new servers in", SLOW, async () => {
  const folder = temporaryFolder();
  const a = await startServer({ name: "a", expect: 3, dataDir: folder });
  const others = await Promise.all(["b", "c"].map((name) => startServer({ name, expect: 3 })));
  await Promise.all(others.map((server) => server.join(a)));
  await membersOf([a, ...others], "a b c");
  const leader = await leaderOf([a, ...others]);
  await leader.agent.api.put("/v1/namespace/kept", { Name: "kept" });
  await until(() => a.agent.server!.state.namespace("kept") !== undefined, "the write on a");
  await Promise.all(others.map(stop));
  await stop(a);

  const file = peersFile(folder, [{
    id: a.id,
    address: a.agent.config.advertise.rpc.host,
    non_voter: false,
  }]);
  const alone = await startServer({ name: "a", expect: 3, dataDir: folder });
  assert.equal(alone.members, "a");
  assert.ok(alone.leads);
  assert.ok(alone.agent.server!.state.namespace("kept"));
  assert.equal(existsSync(file), false, "it counts once");
  const fresh = await startServer({ name: "d", expect: 0 });
  await fresh.join(alone);
  await membersOf([alone, fresh], "a d");
  await until(() => fresh.agent.server!.state.namespace("kept") !== undefined, "the data on the new server");

  await stop(fresh);
  await stop(alone);
});

test("a server of the old cluster that comes back with its log is not taken in", SLOW, async () => {
  const folders = ["a", "b", "c"].map(() => temporaryFolder());
  const start = (name: string, expect: number, dataDir: string) => startServer({ name, expect, dataDir });
  const servers = await Promise.all(["a", "b", "c"].map((name, i) => start(name, 3, folders[i]!)));
  await Promise.all(servers.slice(1).map((server) => server.join(servers[0]!)));
  await membersOf(servers, "a b c");
  await leaderOf(servers);
  await until(
    () => servers.every((server) => server.agent.server!.state.clusterId !== ""),
    "the cluster's id",
  );
  await stop(servers[0]!);
  // What only these two have.
  const leader = await leaderOf(servers.slice(1));
  for (let i = 0; i < 20; i++) await leader.agent.api.put(`/v1/namespace/lost-${i}`, { Name: `lost-${i}` });
  await Promise.all(servers.slice(1).map(stop));

  peersFile(folders[0]!, [{ id: servers[0]!.id }]);
  const alone = await start("a", 3, folders[0]!);
  assert.ok(alone.leads);
  const forgotten = await start("b", 3, folders[1]!);
  await forgotten.join(alone);
  await until(
    () => alone.logged(/server b\.global is not added: it belongs to another cluster/),
    "the refusal",
  );
  assert.equal(alone.members, "a");
  await alone.agent.api.put("/v1/namespace/after", { Name: "after" });
  assert.ok(alone.leads);
});

test("a server that lost its id, and not its log, says so instead of taking another", SLOW, async () => {
  const folder = temporaryFolder();
  const start = () => startServer({ name: "a", expect: 1, dataDir: folder });
  const first = await start();
  const { id } = first;
  await stop(first);
  const file = join(folder, "server", "node-id");
  writeFileSync(file, "");
  await assert.rejects(start(), /Cannot tell which server this is: .*node-id is missing or empty/);
  writeFileSync(file, `${id}\n`);
  const again = await start();
  assert.deepEqual([again.id, again.leads], [id, true]);
});

test("a file that does not name this server, and it only, is refused with what to write", SLOW, async () => {
  const folder = temporaryFolder();
  const a = await startServer({ name: "a", expect: 1, dataDir: folder });
  await stop(a);
  const start = () => startServer({ name: "a", expect: 1, dataDir: folder });
  const file = peersFile(folder, [{ id: a.id }, { id: "other" }]);
  await assert.rejects(start(), new RegExp(`names 2 servers: write \\[{"id": "${a.id}"}\\]`));
  peersFile(folder, [{ id: "other" }]);
  await assert.rejects(start(), /it names "other", this server is/);
  peersFile(folder, "no json");
  await assert.rejects(start(), /it is no JSON/);
  assert.ok(existsSync(file), "a wrong file stays");
});
