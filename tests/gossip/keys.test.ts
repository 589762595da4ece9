// Encrypted gossip between real listeners: rotation without losing anybody, what a server without the right key and the
// others say, what is kept on disk.
import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { ApiError, ConfigError } from "../../core/errors.ts";
import { generateGossipKey } from "../../server/gossip_crypto.ts";
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

async function encrypted(count: number, key: string): Promise<TestServer[]> {
  const servers: TestServer[] = [];
  for (let i = 0; i < count; i++) {
    servers.push(await startServer(`s${i}`, { encrypt: key, dataDir: temporaryFolder() }));
  }
  for (const server of servers.slice(1)) await server.node.join([servers[0]!.address]);
  await untilWhole(servers);
  return servers;
}

const noKeyIn = (servers: TestServer[], keys: string[]) => {
  for (const server of servers) {
    for (const key of keys) assert.ok(!server.lines.some((line) => line.includes(key)), "a key is in a log");
  }
};

test("a key is changed on all servers while they run, and nobody is lost", async () => {
  const [old, fresh] = [generateGossipKey(), generateGossipKey()];
  const servers = await encrypted(3, old);
  const changes: string[] = [];
  for (const { node } of servers) node.onMember(({ name, status }) => changes.push(`${name} ${status}`));
  const { keyring } = servers[1]!.node;
  assert.deepEqual(await keyring.list(), {
    keys: { [old]: 3 },
    primaryKeys: { [old]: 3 },
    members: 3,
    messages: {},
  });
  assert.deepEqual(
    (await keyring.use(fresh)).messages["s0.global"],
    "the key is not installed: install it first",
  );
  assert.deepEqual((await keyring.install(fresh)).messages, {});
  assert.deepEqual((await keyring.list()).keys, { [old]: 3, [fresh]: 3 });
  assert.deepEqual((await keyring.use(fresh)).primaryKeys, { [fresh]: 3 });
  assert.deepEqual(Object.keys((await keyring.remove(fresh)).messages).length, 3);
  assert.deepEqual((await keyring.remove(old)).messages, {});
  assert.deepEqual((await servers[2]!.node.keyring.list()).keys, { [fresh]: 3 });
  await untilWhole(servers);
  const late = await startServer("late", { encrypt: fresh });
  assert.equal((await late.node.join([servers[0]!.address])).joined, 1);
  await untilWhole([...servers, late]);
  assert.deepEqual(changes.filter((change) => !change.startsWith("late")), []);
  noKeyIn(servers, [old, fresh]);
});

test("servers under load of a rotation that goes round and round keep each other alive", async () => {
  let current = generateGossipKey();
  const servers = await encrypted(3, current);
  for (let round = 0; round < 5; round++) {
    const next = generateGossipKey();
    const { keyring } = servers[round % 3]!.node;
    for (
      const answer of [await keyring.install(next), await keyring.use(next), await keyring.remove(current)]
    ) {
      assert.deepEqual(answer.messages, {});
    }
    current = next;
  }
  await untilWhole(servers);
  assert.ok(servers.every((server) => !server.logged(/server failed/)));
});

test("the keyring file holds the keys over a restart, for this user only; encrypt seeds it and no more", async () => {
  const [old, fresh] = [generateGossipKey(), generateGossipKey()];
  const dataDir = temporaryFolder();
  const file = join(dataDir, "serf.keyring");
  const first = await startServer("a", { encrypt: old, dataDir });
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await first.node.keyring.install(fresh);
  await first.node.keyring.use(fresh);
  await first.node.keyring.remove(old);
  await killServer(first);
  assert.deepEqual(JSON.parse(readFileSync(file, "utf8")), [fresh]);
  const again = await startServer("a", { encrypt: old, dataDir });
  assert.deepEqual((await again.node.keyring.list()).primaryKeys, { [fresh]: 1 });
  assert.ok(again.logged(/warn server.encrypt is not among the keys/));
  await killServer(again);
  const bare = await startServer("a", { dataDir });
  assert.ok(bare.node.keyring.encrypted, "the file turns encryption on by itself");
  noKeyIn([first, again, bare], [old, fresh]);
  writeFileSync(file, '["half a ke');
  await assert.rejects(
    startServer("b", { dataDir }),
    (error) =>
      error instanceof ConfigError &&
      /serf\.keyring cannot be used: .*: restore it, or remove it/.test(error.message),
  );
});

test("a server that missed the end of a rotation, but has the new key, finds its way by itself", async () => {
  const [old, fresh] = [generateGossipKey(), generateGossipKey()];
  const [a, b] = await encrypted(2, old) as [TestServer, TestServer];
  const dataDir = temporaryFolder();
  const late = await startServer("late", { encrypt: old, dataDir });
  await late.node.join([a.address]);
  await untilWhole([a, b, late]);
  await a.node.keyring.install(fresh);
  await killServer(late);
  await until(() => [a, b].every((server) => server.view.includes("late.global=failed")), "its failure");
  for (const answer of [await a.node.keyring.use(fresh), await a.node.keyring.remove(old)]) {
    assert.deepEqual(answer.messages, {});
  }
  const again = await startServer("late", { dataDir, port: late.listener.port });
  await untilWhole([a, b, again]);
  await until(() => again.logged(/gossip is encrypted with another key from now on/), "the new key");
  assert.deepEqual((await again.node.keyring.list()).primaryKeys, { [fresh]: 3 });
  noKeyIn([a, b, again], [old, fresh]);
});

const CASES: [string, string, string, RegExp, RegExp][] = [
  [
    "with another key",
    generateGossipKey(),
    generateGossipKey(),
    /has none of the keys that this server encrypts with: set server\.encrypt/,
    /warn refused gossip from 127\.0\.0\.1: it encrypts with a key that this server does not have: set server\.encrypt/,
  ],
  [
    "without a key",
    generateGossipKey(),
    "",
    /its gossip is encrypted and this server has no key: set server\.encrypt/,
    /warn refused gossip from 127\.0\.0\.1: its gossip is not encrypted and this server's is: set server\.encrypt/,
  ],
  [
    "with a key where there is none",
    "",
    generateGossipKey(),
    /its gossip is not encrypted and this server's is: set the same server\.encrypt/,
    /warn refused gossip from 127\.0\.0\.1: its gossip is encrypted and this server has no key/,
  ],
];
for (const [what, ours, theirs, told, logged] of CASES) {
  test(`a server ${what} cannot join; both logs say why, once a while, and show no key`, async () => {
    const a = await startServer("a", { encrypt: ours });
    const b = await startServer("b", { encrypt: theirs });
    for (let i = 0; i < 3; i++) {
      const { joined, errors } = await b.node.join([a.address]);
      assert.equal(joined, 0);
      assert.match(errors[0]!.message, told);
      assert.match(errors[0]!.message, new RegExp(`^failed to join ${a.address}: `));
    }
    assert.equal(a.lines.filter((line) => logged.test(line)).length, 1, a.lines.join("\n"));
    assert.equal(a.node.members().length, 1);
    assert.equal(b.node.members().length, 1);
    noKeyIn([a, b], [ours, theirs].filter(Boolean));
  });
}

test("a change of the keyring is refused where gossip is plain, and for what is no key", async () => {
  const plain = await startServer("a");
  await assert.rejects(
    plain.node.keyring.list(),
    (error) =>
      error instanceof ApiError &&
      /Gossip is not encrypted: set server\.encrypt on all servers/.test(error.message),
  );
  const sealed = await startServer("b", { encrypt: generateGossipKey() });
  for (const key of ["", "abc", "cg8StVXbQJ0gPvMd9o7yrgAB"]) {
    await assert.rejects(
      sealed.node.keyring.install(key),
      (error) =>
        error instanceof ApiError && error.status === 400 && (key === "" || !error.message.includes(key)),
    );
  }
});

test("a member that cannot be asked stands in the answer with its name", async () => {
  const servers = await encrypted(2, generateGossipKey());
  const [a, b] = servers as [TestServer, TestServer];
  await killServer(b);
  const answer = await a.node.keyring.list();
  // It may just have been found out to have failed: then it is not asked at all.
  if (answer.members === 2) assert.match(answer.messages["s1.global"] ?? "", /connection|answer/);
  await until(() => a.view === "s1.global=failed", "the failure");
  assert.deepEqual((await a.node.keyring.list()).messages, {});
});
