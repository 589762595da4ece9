// What the API of an agent shows and does of gossip: members, self, join, force-leave, the keyring's routes.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Agent } from "../../agent.ts";
import { generateGossipKey } from "../../server/gossip_crypto.ts";

const agents: Agent[] = [];
after(() => Promise.all(agents.map((agent) => agent.stop())));

async function startAgent(name: string, server: Record<string, unknown>): Promise<Agent> {
  const agent = new Agent({
    name,
    bind: "127.0.0.1",
    ports: { http: 0, rpc: 0, serf: 0 },
    logLevel: "OFF",
    config: {
      advertise: { http: "127.0.0.1", rpc: "127.0.0.1", serf: "127.0.0.1" },
      server: { enabled: true, storage: { inmem: {} }, ...server },
    },
  });
  agents.push(agent);
  await agent.start();
  return agent;
}

async function ask(agent: Agent, method: string, path: string, body?: unknown) {
  const init: RequestInit = { method };
  if (body !== undefined) init.body = typeof body === "string" ? body : JSON.stringify(body);
  const response = await agent.fetch(new Request(`http://agent${path}`, init));
  const text = await response.text();
  // deno-lint-ignore no-explicit-any -- tests look into answers freely
  return { status: response.status, text, json: /^[[{]/.test(text) ? JSON.parse(text) as any : null };
}

const serfOf = (agent: Agent) => `127.0.0.1:${agent.config.advertise.serf.port}`;

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const end = performance.now() + 30_000; performance.now() < end;) {
    if (condition()) return;
    await new Promise((wake) => setTimeout(wake, 20));
  }
  throw new Error(`Waited for ${what}`);
}

test("members, self and agent-info are gossip's, in Nomad's form", async () => {
  const a = await startAgent("a", { bootstrap_expect: 1 });
  const b = await startAgent("b", {});
  const joined = await ask(b, "PUT", `/v1/agent/join?address=${serfOf(a)}&address=127.0.0.1:1`);
  assert.equal(joined.json.num_joined, 1);
  assert.equal(joined.json.error, "");
  assert.match(
    joined.json.warning,
    /^1 error occurred:\n\t\* failed to join 127\.0\.0\.1:1: dial tcp 127\.0\.0\.1:1: /,
  );
  await until(() => a.membership!.members().length === 2, "both members");
  const { json } = await ask(a, "GET", "/v1/agent/members");
  assert.deepEqual([json.ServerName, json.ServerRegion, json.ServerDC], ["a", "global", "dc1"]);
  const [first, second] = json.Members;
  assert.deepEqual(Object.keys(first).sort(), [
    "Addr",
    "DelegateCur",
    "DelegateMax",
    "DelegateMin",
    "Name",
    "Port",
    "ProtocolCur",
    "ProtocolMax",
    "ProtocolMin",
    "Status",
    "Tags",
  ]);
  assert.equal(first.Name, "a.global");
  assert.equal(first.Tags.bootstrap, "1");
  assert.equal(second.Name, "b.global");
  assert.equal(second.Port, b.config.advertise.serf.port);
  assert.equal(second.Tags.port, String(b.config.advertise.rpc.port));
  assert.ok(!("http_addr" in second.Tags), "a tag of ours");
  const self = (await ask(a, "GET", "/v1/agent/self")).json;
  assert.equal(self.member.Name, "a.global");
  assert.deepEqual([self.stats.serf.members, self.stats.serf.encrypted, self.stats.nomad.known_regions], [
    "2",
    "false",
    "1",
  ]);
});

test("join that nobody answers and force-leave of nobody are as Nomad has them", async () => {
  const a = await startAgent("a", { bootstrap_expect: 1 });
  const failed = await ask(a, "PUT", "/v1/agent/join?address=127.0.0.1:1");
  assert.deepEqual(failed.json, {
    num_joined: 0,
    error:
      "1 error occurred:\n\t* failed to join 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused\n\n",
    warning: "",
  });
  assert.deepEqual((await ask(a, "PUT", `/v1/agent/join?address=${serfOf(a)}`)).json.num_joined, 1);
  assert.deepEqual((await ask(a, "PUT", "/v1/agent/force-leave?node=nobody")).status, 200);
  const self = await ask(a, "PUT", "/v1/agent/force-leave?node=a.global");
  assert.equal(self.status, 400);
  assert.match(self.text, /a\.global is this server/);
});

test("the keyring's routes list and change keys, and say who could not", async () => {
  const [old, fresh] = [generateGossipKey(), generateGossipKey()];
  const a = await startAgent("a", { bootstrap_expect: 1, encrypt: old });
  const b = await startAgent("b", { encrypt: old });
  await b.membership!.join([serfOf(a)]);
  await until(() => a.membership!.members().length === 2, "both members");
  const keyring = (operation: string, body?: unknown) =>
    ask(a, body === undefined ? "GET" : "PUT", `/v1/agent/keyring/${operation}`, body);
  assert.deepEqual((await keyring("list")).json, {
    Keys: { [old]: 2 },
    Messages: {},
    NumNodes: 2,
    PrimaryKeys: { [old]: 2 },
  });
  const early = await keyring("use", { Key: fresh });
  assert.equal(early.status, 500);
  assert.equal(
    early.text,
    "2/2 nodes reported failure: a.global: the key is not installed: install it first; " +
      "b.global: the key is not installed: install it first",
  );
  const done = { Keys: {}, Messages: {}, NumNodes: 2 };
  assert.deepEqual((await keyring("install", { Key: fresh })).json, done);
  assert.deepEqual((await keyring("use", { Key: fresh })).json, done);
  assert.match((await keyring("remove", { Key: fresh })).text, /2\/2 nodes reported failure: .*in use/);
  assert.deepEqual((await keyring("remove", { Key: old })).json, done);
  assert.deepEqual((await keyring("list")).json.Keys, { [fresh]: 2 });
  assert.deepEqual((await ask(a, "GET", "/v1/agent/self")).json.stats.serf.encrypted, "true");

  const bad = await keyring("install", { Key: "YWJj" });
  assert.equal(bad.status, 400);
  assert.match(bad.text, /^The key cannot be used: it has 3 bytes where 32/);
  assert.deepEqual([(await keyring("install", "")).status, (await keyring("install", "{bad")).status], [
    400,
    400,
  ]);
  assert.equal((await keyring("foo")).status, 404);
  assert.ok(!JSON.stringify((await ask(a, "GET", "/v1/agent/self")).json).includes(old), "self shows no key");
});

test("without encryption there is no keyring", async () => {
  const a = await startAgent("a", { bootstrap_expect: 1 });
  const { status, text } = await ask(a, "GET", "/v1/agent/keyring/list");
  assert.deepEqual([status, text], [500, "1/1 nodes reported failure"]);
});
