// Devices of a cluster: their API through every server, and what they do when their leader dies, when they start without
// the server they were told of, and when the leader is out of their reach. Real sockets, a real device, a real task.
import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { WebSocket } from "ws";
import type { Agent } from "../../agent.ts";
import { forwarder } from "../../agent/forward.ts";
import { Client, type ClientConfig } from "../../client/client.ts";
import type { Dial } from "../../client/session_socket.ts";
import { dialer } from "../../client/session_socket.ts";
import { systemClock, systemRandom } from "../../core/env.ts";
import { silentLogger } from "../../core/logger.ts";
import { createDrivers } from "../../drivers/registry.ts";
import { makeDevice, type TestDevice } from "../client/fixtures.ts";
import { shellJob } from "../e2e/harness.ts";
import { Servers, SLOW, type TestServer, until } from "./servers.ts";

const drivers = () => [...createDrivers({}, { rawExecEnabled: true }).values()];

async function startDevice(
  servers: string[],
  more: { dir?: string; config?: Partial<ClientConfig> } = {},
): Promise<TestDevice> {
  const device = await makeDevice({ servers, drivers: drivers(), ...more });
  await device.client.start();
  return device;
}

/** Runs a job on the only device; the id of its running allocation. */
async function runJob(servers: Servers, id: string, script: string): Promise<string> {
  const [any] = servers.running;
  const written = await any!.put("/v1/jobs", shellJob(id, script));
  assert.equal(written.status, 200, written.text);
  let alloc = "";
  await until(async () => {
    const { json } = await any!.get(`/v1/job/${id}/allocations`);
    alloc = json?.find((one: { ClientStatus: string }) => one.ClientStatus === "running")?.ID ?? "";
    return alloc !== "";
  }, `${id} runs`);
  return alloc;
}

async function nodeStatus(server: TestServer, id: string): Promise<string> {
  return (await server.get(`/v1/node/${id}`)).json.Status;
}

/** Reads a body until `done` says so, then goes away. */
async function readUntil(url: string, done: (text: string) => boolean): Promise<string> {
  const abort = new AbortController();
  const response = await fetch(url, { signal: abort.signal });
  assert.equal(response.status, 200);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!done(text)) {
    const { value, done: over } = await reader.read();
    assert.ok(!over, `the body ended: ${text}`);
    text += value;
  }
  abort.abort();
  return text;
}

/** Runs a command in the task over the WebSocket of `server`; what it prints. */
function exec(server: TestServer, alloc: string, command: string[], input: string): Promise<string> {
  const query = new URLSearchParams({ task: "t", tty: "false", command: JSON.stringify(command) });
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${server.httpAddress}/v1/client/allocation/${alloc}/exec?${query}`);
    let output = "";
    socket.on("open", () => {
      socket.send(JSON.stringify({ stdin: { data: Buffer.from(input).toString("base64") } }));
      socket.send(JSON.stringify({ stdin: { close: true } }));
    });
    socket.on("message", (data) => {
      const frame = JSON.parse(String(data)) as { stdout?: { data?: string } };
      output += Buffer.from(frame.stdout?.data ?? "", "base64").toString();
    });
    socket.on(
      "close",
      (code, reason) => code === 1000 ? resolve(output) : reject(new Error(`${code} ${reason}`)),
    );
    socket.on("error", reject);
  });
}

test("a device's API is answered through every server: stats, files, followed logs, exec", SLOW, async () => {
  const servers = await Servers.start();
  const device = await startDevice(servers.all.map((one) => one.rpcAddress));
  const alloc = await runJob(
    servers,
    "talks",
    "n=0; while true; do echo line $n; n=$((n+1)); sleep 0.1; done",
  );
  const leader = await servers.leader();
  for (const server of [leader, ...await servers.followers()]) {
    const stats = await server.get(`/v1/client/stats?node_id=${device.client.node.ID}`);
    assert.equal(stats.status, 200, stats.text);
    assert.ok(stats.json.Memory.Total > 0);
    const listed = await server.get(`/v1/client/fs/ls/${alloc}?path=alloc/logs`);
    assert.ok(listed.json.some((file: { Name: string }) => file.Name === "t.stdout.0"), listed.text);
    const logs =
      `${server.url}/v1/client/fs/logs/${alloc}?task=t&type=stdout&follow=true&plain=true&origin=start`;
    const text = await readUntil(logs, (text) => /line 0\n[^]*line 2\n/.test(text));
    assert.match(text, /^line 0\nline 1\n/);
    assert.equal(await exec(server, alloc, ["/bin/cat"], "through and back\n"), "through and back\n");
    const restart = await server.put(`/v1/client/allocation/${alloc}/signal`, {
      Task: "t",
      Signal: "SIGCONT",
    });
    assert.equal(restart.status, 200, restart.text);
  }
  await device.client.killAll();
  await device.end();
  await servers.stop();
});

test(
  "the leader dies: the device goes to the next one, its node stays ready, its task runs on",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const first = await servers.leader();
    // It is told of one server only, and learns the others from it.
    const device = await startDevice([(await servers.followers())[0]!.rpcAddress]);
    const { client } = device;
    const alloc = await runJob(servers, "steady", "echo pid $$; exec sleep 1000");
    assert.equal(client.session.server, first.rpcAddress, "it was sent to the leader");
    assert.deepEqual([...client.session.servers].sort(), servers.all.map((one) => one.rpcAddress).sort());
    const seen = new Set<string>();
    await first.kill();
    const next = await servers.leader();
    await until(async () => {
      seen.add(await nodeStatus(next, client.node.ID));
      return client.session.server === next.rpcAddress && client.session.connected;
    }, "the device is at the next leader");
    const [follower] = await servers.followers();
    const logs = await follower!.get(
      `/v1/client/fs/logs/${alloc}?task=t&type=stdout&plain=true&origin=start`,
    );
    assert.match(logs.text, /^pid \d+\n$/, "started once");
    const { json } = await follower!.get(`/v1/allocation/${alloc}`);
    assert.equal(json.ClientStatus, "running");
    assert.equal(json.TaskStates.t.Restarts, 0);
    assert.deepEqual([...seen], ["ready"]);
    const events = (await next.get(`/v1/node/${client.node.ID}`)).json.Events as { Message: string }[];
    assert.deepEqual(events.filter(({ Message }) => /heartbeat missed|reregistered/.test(Message)), []);
    await client.killAll();
    await device.end();
    await servers.stop();
  },
);

test("an agent that is only a device goes on asking over the death of the leader", SLOW, async () => {
  const servers = await Servers.start();
  const device = await startDevice(servers.all.map((one) => one.rpcAddress));
  await until(() => device.client.session.connected, "it is connected");
  const forward = forwarder({ server: null, client: device.client } as unknown as Agent);
  const write = async (name: string) => {
    const init = { method: "PUT", body: JSON.stringify({ Name: name }) };
    const response = await forward(new Request("http://agent/v1/namespace", init), null);
    assert.equal(response.status, 200, await response.text());
  };
  await write("before");
  const leader = await servers.leader();
  leader.holdAnswers();
  const during = write("during");
  const [follower] = await servers.followers();
  await until(() => follower!.server.state.namespace("during") !== undefined, "it was done");
  await leader.kill();
  await during;
  await write("after");
  const listed = await forward(new Request("http://agent/v1/namespaces"), null);
  const names = (await listed.json() as { Name: string }[]).map(({ Name }) => Name);
  assert.deepEqual(names, ["after", "before", "default", "during"]);
  await device.end();
  await servers.stop();
});

test("the log of a device's agent is watched through any server", SLOW, async () => {
  const servers = await Servers.start();
  const made = await makeDevice({ servers: servers.all.map((one) => one.rpcAddress), drivers: drivers() });
  const client = new Client({
    config: made.config,
    drivers: new Map(),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    serveAgent: (request) => new Response(`log of ${new URL(request.url).search}`),
  });
  await client.start();
  await until(() => client.session.connected, "it is connected");
  for (const server of servers.all) {
    const answer = await server.get(`/v1/agent/monitor?plain=true&node_id=${client.node.ID}`);
    assert.deepEqual([answer.status, answer.text], [200, "log of ?plain=true"]);
    const unknown = await server.get("/v1/agent/monitor?node_id=6ec1e3a0-0000-0000-0000-000000000000");
    assert.equal(unknown.status, 404);
  }
  await client.stop();
  await made.end();
  await servers.stop();
});

test(
  "a device that starts again finds the cluster without the server that it was told of",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const leader = await servers.leader();
    const dir = await mkdtemp(join(tmpdir(), "device-"));
    const config = { stateDir: join(dir, "client") };
    const first = await startDevice([leader.rpcAddress], { dir, config });
    await until(() => first.client.session.connected, "it is connected");
    await first.client.stop();
    await leader.kill();
    const again = await startDevice([leader.rpcAddress], { dir, config });
    await until(() => again.client.session.connected, "it is connected again");
    assert.equal(again.client.session.server, (await servers.leader()).rpcAddress);
    await again.end();
    await servers.stop();
  },
);

test(
  "a device that reaches one follower only is passed on to the leader, whoever that is",
  SLOW,
  async () => {
    const servers = await Servers.start();
    const [published] = await servers.followers();
    const real = await dialer({ handshakeTimeoutMs: 5000 });
    const dial: Dial = (server, events) => {
      if (server === published!.rpcAddress) return real(server, events);
      queueMicrotask(() => events.close("no route to host"));
      return { send: () => undefined, close: () => undefined };
    };
    const made = await makeDevice({ servers: [published!.rpcAddress], drivers: drivers() });
    const client = new Client({
      config: made.config,
      drivers: new Map(drivers().map((driver) => [driver.name, driver])),
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      dial,
    });
    await client.start();
    const alloc = await runJob(servers, "hidden", "echo here; exec sleep 1000");
    for (const server of servers.all) {
      await until(
        async () =>
          (await server.get(`/v1/client/fs/logs/${alloc}?task=t&type=stdout&plain=true`)).text === "here\n",
        `its log through ${server.name}`,
      );
    }
    const leader = await servers.leader();
    await leader.kill();
    await servers.leader();
    await until(() => client.session.connected, "it is connected again");
    const logs = () => published!.get(`/v1/client/fs/logs/${alloc}?task=t&type=stdout&plain=true`);
    await until(async () => (await logs()).text === "here\n", "its log after the failover");
    await client.killAll();
    await client.stop();
    await made.end();
    await servers.stop();
  },
);
