// Gossip between real listeners: joining, failing, coming back, leaving, being made to leave.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  killServer,
  startServer,
  stopAll,
  temporaryFolder,
  type TestServer,
  until,
  untilWhole,
} from "./rig.ts";

after(stopAll);

test("three servers that join one of them know each other, with their tags", async () => {
  const [a, b, c] = [await startServer("a"), await startServer("b"), await startServer("c")];
  assert.deepEqual(await b.node.join([a.address]), { joined: 1, errors: [] });
  assert.deepEqual(await c.node.join([a.address]), { joined: 1, errors: [] });
  await untilWhole([a, b, c]);
  a.node.setTags({ role: "nomad", id: "a", expect: "3" });
  await until(
    () =>
      [b, c].every(({ node }) =>
        node.members().find(({ name }) => name === "a.global")?.tags["expect"] === "3"
      ),
    "the new tags of a",
  );
});

test("a server that is killed fails, and is back under the same name after a restart", async () => {
  const servers = [await startServer("a"), await startServer("b"), await startServer("c")];
  const [a, b, c] = servers as [typeof servers[0], typeof servers[0], typeof servers[0]];
  const seen: string[] = [];
  a.node.onMember((member) => seen.push(`${member.name} ${member.status}`));
  for (const other of [b, c]) await other.node.join([a.address]);
  await untilWhole(servers);
  await killServer(c);
  await until(() => a.view.includes("c.global=failed") && b.view.includes("c.global=failed"), "c failed");
  const again = await startServer("c", { port: c.listener.port });
  await until(() => a.view.includes("c.global=alive") && b.view.includes("c.global=alive"), "c back");
  await untilWhole([a, b, again]);
  assert.deepEqual(seen.filter((line) => line.startsWith("c")), [
    "c.global alive",
    "c.global failed",
    "c.global alive",
  ]);
});

test("a server that leaves has left for the others, joins nobody afterwards by itself, and comes back when it is told to", async () => {
  const dataDir = temporaryFolder();
  const servers = [await startServer("a"), await startServer("b"), await startServer("c", { dataDir })];
  const [a, b, c] = servers as [TestServer, TestServer, TestServer];
  for (const other of [b, c]) await other.node.join([a.address]);
  await untilWhole(servers);
  await c.node.leave();
  assert.equal(c.node.self.status, "left");
  await killServer(c);
  await until(() => [a, b].every((server) => server.view.includes("c.global=left")), "c left");
  assert.ok(![a, b].some((server) => server.logged(/server failed/)));
  await assert.rejects(c.node.join([a.address]), /has left the cluster/);
  const port = c.listener.port;
  const again = await startServer("c", { dataDir, port });
  assert.ok(!again.logged(/joining the servers known before/), "it left: it asks nobody");
  await killServer(again);
  const rejoined = await startServer("c", { dataDir, port, rejoinAfterLeave: true });
  await untilWhole([a, b, rejoined]);
});

test("a server finds its cluster again after a restart without a join address", async () => {
  const folders = [temporaryFolder(), temporaryFolder(), temporaryFolder()];
  const start = (i: number, port = 0) => startServer(`s${i}`, { dataDir: folders[i]!, port });
  const servers = [await start(0), await start(1), await start(2)];
  for (const other of servers.slice(1)) await other.node.join([servers[0]!.address]);
  await untilWhole(servers);
  for (const server of servers) await killServer(server);
  const again: TestServer[] = [];
  for (const [i, server] of servers.entries()) again.push(await start(i, server.listener.port));
  await untilWhole(again);
});

test("join takes names with several addresses, counts those that answer, and names those that do not", async () => {
  const [a, b] = [await startServer("a"), await startServer("b")];
  const lookup = (name: string) => {
    if (name === "servers.example") return Promise.resolve(["127.0.0.1", "127.0.0.2"]);
    return Promise.reject(new Error("no such host"));
  };
  const c = await startServer("c", { lookup });
  const port = a.listener.port;
  // Nobody listens on 127.0.0.2.
  const { joined, errors } = await c.node.join([
    `servers.example:${port}`,
    "nowhere.example",
    b.address,
    "a b",
  ]);
  assert.equal(joined, 2);
  assert.deepEqual(errors.map(({ message }) => message.replace(/: (dial tcp|no answer).*/, "")).sort(), [
    `failed to join 127.0.0.2:${port}`,
    `failed to resolve a b: "a b" is no address: expected host, host:port or [ipv6]:port`,
    "failed to resolve nowhere.example: lookup nowhere.example: no such host",
  ]);
  await untilWhole([a, b, c]);
  assert.deepEqual(await c.node.join([c.address]), { joined: 1, errors: [] }, "itself counts, as in Nomad");
});

test("a failed server is made to leave, is forgotten by prune, and an unknown one is refused", async () => {
  const servers = [await startServer("a"), await startServer("b"), await startServer("c")];
  const [a, b, c] = servers as [TestServer, TestServer, TestServer];
  for (const other of [b, c]) await other.node.join([a.address]);
  await untilWhole(servers);
  await killServer(c);
  await until(() => b.view.includes("c.global=failed"), "c failed");
  await b.node.forceLeave("c.global", { prune: false });
  await until(() => [a, b].every((server) => server.view.includes("c.global=left")), "c left");
  await a.node.forceLeave("c.global", { prune: true });
  await until(() => [a, b].every((server) => !server.view.includes("c.global")), "c forgotten");
  await assert.rejects(a.node.forceLeave("c.global", { prune: false }), /No server named c\.global is known/);
  await assert.rejects(a.node.forceLeave("a.global", { prune: false }), /is this server/);
});

test("a second server of one name is refused with the reason, and both logs name both addresses", async () => {
  const [a, b] = [await startServer("a"), await startServer("b")];
  await b.node.join([a.address]);
  await untilWhole([a, b]);
  const twin = await startServer("b", { tags: { role: "nomad", id: "another" } });
  const { joined, errors } = await twin.node.join([a.address]);
  assert.equal(joined, 0);
  assert.match(
    errors[0]!.message,
    new RegExp(`a server named b.global is there already, at ${b.address}: give this`),
  );
  await until(
    () => b.logged(new RegExp(`error another server at ${twin.address} has this server's name`)),
    "b's log",
  );
  await until(
    () => twin.logged(new RegExp(`error another server at ${b.address} has this server's name`)),
    "its log",
  );
  assert.ok(
    a.logged(
      new RegExp(`error the server at ${twin.address} has the name b.global of the one at ${b.address}`),
    ),
  );
  assert.equal(a.node.members().length, 2);
});

test("five servers with real timings: one that dies is failed in a few seconds, and nobody else", async () => {
  const servers: TestServer[] = [];
  for (let i = 0; i < 5; i++) servers.push(await startServer(`s${i}`, { tuning: {} }));
  for (const other of servers.slice(1)) await other.node.join([servers[0]!.address]);
  await untilWhole(servers);
  const [dead, ...others] = servers as [TestServer, ...TestServer[]];
  await killServer(dead);
  await until(() => others.every((server) => server.view.includes("s0.global=failed")), "the failure");
  for (const server of others) {
    const failed = server.node.members().filter(({ status }) => status === "failed");
    assert.deepEqual(failed.map(({ name }) => name), ["s0.global"]);
  }
});

test("a server that comes up before all others finds them when they come", async () => {
  const folders = [temporaryFolder(), temporaryFolder()];
  const first = await startServer("a", { dataDir: folders[0]! });
  const second = await startServer("b", { dataDir: folders[1]! });
  await first.node.join([second.address]);
  await untilWhole([first, second]);
  await killServer(first);
  await killServer(second);
  const early = await startServer("a", { dataDir: folders[0]!, port: first.listener.port });
  await until(
    () => early.logged(/warn none of the servers known before the restart answers yet/),
    "its word",
  );
  // Without its file: it asks nobody.
  const later = await startServer("b", { port: second.listener.port });
  await untilWhole([early, later]);
});

test("servers gossip over IPv6", async () => {
  const servers = [await startServer("a", { hostname: "::1" }), await startServer("b", { hostname: "::1" })];
  const [a, b] = servers as [TestServer, TestServer];
  assert.deepEqual(await b.node.join([a.address]), { joined: 1, errors: [] });
  await untilWhole(servers);
});

test("stats are what agent-info shows", async () => {
  const [a, b] = [await startServer("a"), await startServer("b")];
  await b.node.join([a.address]);
  await untilWhole([a, b]);
  const { members, failed, left, encrypted } = a.node.stats();
  assert.deepEqual({ members, failed, left, encrypted }, {
    members: "2",
    failed: "0",
    left: "0",
    encrypted: "false",
  });
});
