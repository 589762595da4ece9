// How agents find the servers: entries of retry_join, providers, attempts that come to an end, and whole agents that
// join by them.
import assert from "node:assert/strict";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { Agent, type AgentOptions } from "../../agent.ts";
import { DeviceJoin } from "../../agent/join_devices.ts";
import { entryName, findProvider, parseProviderEntry } from "../../agent/join_provider.ts";
import { joinSettings } from "../../agent/join_settings.ts";
import { discover, Joiner, type JoinerOptions } from "../../agent/joiner.ts";
import { systemClock } from "../../core/env.ts";
import { ConfigError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";

const agents: Agent[] = [];
const httpServers: Server[] = [];
after(async () => {
  await Promise.all(agents.map((agent) => agent.stop()));
  await Promise.all(httpServers.map((server) => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  }));
});

async function until(condition: () => boolean, what: string, timeoutMs = 30_000): Promise<void> {
  for (const end = performance.now() + timeoutMs; performance.now() < end;) {
    if (condition()) return;
    await new Promise((wake) => setTimeout(wake, 20));
  }
  throw new Error(`Waited ${timeoutMs} ms for ${what}`);
}

function collector(): { lines: string[]; logger: Logger } {
  const lines: string[] = [];
  const at = (level: string) => (message: string, fields?: Record<string, unknown>) =>
    void lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
  return { lines, logger: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") } };
}

/** An HTTP server; its URL. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  httpServers.push(server);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

// --- Entries -----------------------------------------------------------------------------------------------------

test("addresses of every form are found, each once, and what cannot be is named", async () => {
  const lookup = (name: string) =>
    name === "many.example"
      ? Promise.resolve(["10.0.0.1", "10.0.0.2", "fe80::7"])
      : Promise.reject(new Error("no such host"));
  const entries = [
    "10.0.0.1",
    "10.0.0.9:5000",
    "many.example",
    "many.example:1",
    "::1",
    "[::2]:99",
    "gone.example",
  ];
  const { addresses, errors } = await discover(entries, { defaultPort: 4648, lookup });
  assert.deepEqual(addresses, [
    "10.0.0.1:4648",
    "10.0.0.9:5000",
    "10.0.0.2:4648",
    "[fe80::7]:4648",
    "10.0.0.1:1",
    "10.0.0.2:1",
    "[fe80::7]:1",
    "[::1]:4648",
    "[::2]:99",
  ]);
  assert.deepEqual(errors, ["gone.example: lookup gone.example: no such host"]);
});

test("the cloud form is read with quotes; what is no form is a clear error", () => {
  assert.deepEqual(parseProviderEntry('provider=http url=http://x/a?b=c&d=e header_X="a \\"b\\" c" path='), {
    provider: "http",
    url: "http://x/a?b=c&d=e",
    header_X: 'a "b" c',
    path: "",
  });
  assert.throws(() => parseProviderEntry("provider=http url"), /cannot read "url": expected key=value/);
  assert.equal(
    entryName('provider=http header_Auth="s e" url=u'),
    "provider=http header_Auth=<hidden> url=u",
  );
  assert.equal(
    entryName('provider=http url="http://me:pw@x:8/a?token=t&b=c" path=a.b'),
    'provider=http url="http://<hidden>@x:8/a?<hidden>" path=a.b',
  );
  assert.equal(
    entryName(
      'provider=aws tag_key=a tag_value=b access_key_id=K secret_access_key="S s" region=r api_token=T',
    ),
    "provider=aws tag_key=a tag_value=b access_key_id=<hidden> secret_access_key=<hidden> region=r api_token=<hidden>",
  );
  assert.throws(
    () => parseProviderEntry("provider=x oops token=T"),
    ({ message }: Error) => message.includes("oops") && !message.includes("T,") && !message.includes("=T"),
  );
  assert.throws(
    () => findProvider("provider=aws tag_key=a"),
    /unknown provider "aws" in "provider=aws tag_key=a": known are http/,
  );
});

const answers: [string, string, string[] | RegExp][] = [
  ["a JSON list", '["10.0.0.1","10.0.0.2:9"]', ["10.0.0.1:4648", "10.0.0.2:9"]],
  ["lines", "10.0.0.1\n# a comment\n\n 10.0.0.2:9 # another\n", ["10.0.0.1:4648", "10.0.0.2:9"]],
  ["one line", "10.0.0.1", ["10.0.0.1:4648"]],
  ["a list of another kind", "[1]", /has no list of addresses/],
  ["a document without a path", '{"a":[]}', /set path=/],
  ["nothing", "", /the provider knows no address/],
];
for (const [what, text, wanted] of answers) {
  test(`provider=http reads ${what}`, async () => {
    const url = await serve((_, response) => response.end(text));
    const { addresses, errors } = await discover([`provider=http url=${url}/servers`], { defaultPort: 4648 });
    if (wanted instanceof RegExp) assert.match(errors.join(), wanted);
    else assert.deepEqual([addresses, errors], [wanted, []]);
  });
}

test("provider=http follows a path, sends headers, shows none of them, and refuses what it does not know", async () => {
  const url = await serve((request, response) => {
    if (request.headers["x-token"] !== "s3cret") response.statusCode = 401;
    response.end(JSON.stringify({ cluster: [{ hosts: ["10.1.1.1"] }] }));
  });
  const entry = `provider=http url=${url}/x path=cluster.0.hosts header_X-Token=s3cret`;
  assert.deepEqual((await discover([entry], { defaultPort: 1 })).addresses, ["10.1.1.1:1"]);
  const { errors } = await discover([entry.replace("s3cret", "wr0ng")], { defaultPort: 1 });
  assert.match(errors[0]!, /it answers 401/);
  assert.ok(!errors[0]!.includes("wr0ng"));
  assert.match(
    (await discover([`provider=http url=${url} pth=x`], { defaultPort: 1 })).errors[0]!,
    /does not know pth: it takes url, path and header_NAME/,
  );
  assert.match(
    (await discover(["provider=http url=ftp://x"], { defaultPort: 1 })).errors[0]!,
    /is no http or https URL/,
  );
});

test("provider=http takes no more than it can use", async () => {
  const url = await serve((request, response) => {
    if (request.url === "/long") return void response.end("x".repeat(300_000));
    response.end(JSON.stringify(Array.from({ length: 300 }, (_, i) => `10.0.0.${i}`)));
  });
  const ask = async (path: string) =>
    (await discover([`provider=http url=${url}${path}`], { defaultPort: 1 })).errors[0]!;
  assert.match(await ask("/long"), /larger than 262144 bytes/);
  assert.match(await ask("/many"), /names 300 addresses, more than 256/);
});

// --- Attempts ----------------------------------------------------------------------------------------------------

function joiner(options: Partial<JoinerOptions>): { lines: string[]; ended: string[]; joiner: Joiner } {
  const { lines, logger } = collector();
  const ended: string[] = [];
  const made = new Joiner({
    entries: ["10.0.0.1"],
    defaultPort: 4648,
    retryIntervalMs: 10,
    retryMax: 0,
    clock: systemClock,
    logger,
    attempt: () => Promise.resolve({ failed: "nobody there" }),
    onExhausted: (message) => void ended.push(message),
    ...options,
  });
  return { lines, ended, joiner: made };
}

test("a joiner tries until it works, with all addresses each time", async () => {
  const tried: string[][] = [];
  const { lines, joiner: it } = joiner({
    entries: ["10.0.0.1", "10.0.0.2:1"],
    attempt: (addresses) =>
      Promise.resolve(tried.push(addresses) < 3 ? { failed: "nobody there" } : "joined"),
  });
  it.start();
  await until(() => lines.some((line) => line.includes("retry join completed")), "the end");
  assert.deepEqual(tried, Array.from({ length: 3 }, () => ["10.0.0.1:4648", "10.0.0.2:1"]));
  assert.equal(lines.filter((line) => /warn join failed .*nobody there/.test(line)).length, 2);
});

test("retry_max more attempts after the first, then it ends with the reason", async () => {
  let attempts = 0;
  const { lines, ended, joiner: it } = joiner({
    retryMax: 2,
    attempt: () => Promise.resolve({ failed: `nobody there ${++attempts}` }),
  });
  it.start();
  await until(() => ended.length > 0, "the end");
  assert.equal(attempts, 3);
  assert.match(ended[0]!, /Joining failed 3 times \(retry_max = 2\): nobody there 3/);
  assert.ok(lines.some((line) => /error max join retry exhausted, exiting/.test(line)));
});

test("a name that only stands for this server so far is looked up again, without a word and without end", async () => {
  const tried: string[][] = [];
  let hosts = ["10.0.0.1"];
  const { lines, ended, joiner: it } = joiner({
    entries: ["servers.example"],
    retryMax: 1,
    lookup: () => Promise.resolve(hosts),
    attempt(addresses) {
      if (tried.push(addresses) === 4) hosts = ["10.0.0.1", "10.0.0.2"];
      return Promise.resolve(addresses.length === 1 ? "alone" : "joined");
    },
  });
  it.start();
  await until(() => lines.some((line) => line.includes("retry join completed")), "the end");
  assert.deepEqual(tried.at(-1), ["10.0.0.1:4648", "10.0.0.2:4648"]);
  assert.deepEqual([lines.filter((line) => line.startsWith("warn")), ended], [[], []]);
});

test("an unknown provider is one ERROR line, and the other entries go on without it", async () => {
  const tried: string[][] = [];
  const { lines, joiner: it } = joiner({
    entries: ["provider=aws tag_key=a tag_value=b", "10.0.0.1"],
    attempt: (addresses) => Promise.resolve(tried.push(addresses) < 3 ? { failed: "not yet" } : "joined"),
  });
  it.start();
  await until(() => tried.length === 3, "three attempts");
  assert.deepEqual(tried[0], ["10.0.0.1:4648"]);
  const errors = lines.filter((line) => line.startsWith("error"));
  assert.equal(errors.length, 1, errors.join("\n"));
  assert.match(errors[0]!, /provider=aws tag_key=a tag_value=b.*known are http/);
});

test("a joiner that is stopped tries no more", async () => {
  let attempts = 0;
  const { joiner: it } = joiner({
    attempt: () => Promise.resolve({ failed: `${++attempts}` }),
    retryIntervalMs: 1,
  });
  it.start();
  await until(() => attempts > 2, "attempts");
  it.stop();
  const before = attempts;
  await new Promise((wake) => setTimeout(wake, 50));
  assert.ok(attempts <= before + 1);
});

test("a device looks again when its connection has been gone, even after retry_max was used up once", async () => {
  const offered: string[][] = [];
  const session = {
    connected: false,
    offerServers(addresses: readonly string[]) {
      offered.push([...addresses]);
      this.connected = offered.length !== 2;
    },
  };
  const { logger } = collector();
  const join = new DeviceJoin(session, {
    startJoin: [],
    retryJoin: ["10.0.0.1"],
    retryIntervalMs: 20,
    retryMax: 1,
    clock: { ...systemClock, monotonicMs: () => performance.now() * 500 },
    logger,
    onExhausted: (reason) => assert.fail(reason),
  });
  join.start();
  await until(() => offered.length === 1, "the first offer");
  join.onConnection(true);
  session.connected = false;
  join.onConnection(false);
  await until(() => offered.length >= 3, "more offers");
  assert.deepEqual(offered[0], ["10.0.0.1:4647"]);
  join.stop();
});

// --- Settings ----------------------------------------------------------------------------------------------------

test("server_join and its older form are read; both at once, and start_join on a device, are refused", () => {
  assert.deepEqual(joinSettings("server", { retry_join: ["a"], retry_max: 3, retry_interval: "15s" }), {
    startJoin: [],
    retryJoin: ["a"],
    retryIntervalMs: 15_000,
    retryMax: 3,
  });
  assert.deepEqual(joinSettings("client", { server_join: { retry_join: ["a"] } }).retryIntervalMs, 30_000);
  assert.throws(
    () => joinSettings("server", { retry_join: ["a"], server_join: { start_join: ["b"] } }),
    /server_join and retry_join cannot both be defined; prefer setting the server_join block/,
  );
  assert.throws(() => joinSettings("client", { server_join: { start_join: ["b"] } }), /is for servers/);
});

// --- Whole agents ------------------------------------------------------------------------------------------------

function make(
  name: string,
  config: Record<string, unknown>,
  more: Partial<AgentOptions> = {},
): { agent: Agent; log: string[] } {
  const log: string[] = [];
  const agent = new Agent({
    name,
    bind: "127.0.0.1",
    ports: { http: 0, rpc: 0, serf: 0 },
    logLevel: "DEBUG",
    log: (line) => void log.push(line),
    ...more,
    config: { advertise: { http: "127.0.0.1", rpc: "127.0.0.1", serf: "127.0.0.1" }, ...config },
  });
  agents.push(agent);
  return { agent, log };
}

const SERVER = { enabled: true, storage: { inmem: {} } };

test("two servers join by retry_join, and the second is started before the first one listens", async () => {
  const { agent: first } = make("first", { server: { ...SERVER, bootstrap_expect: 1 } });
  await first.start();
  const port = first.config.advertise.serf.port;
  const { agent: second, log } = make("second", {
    server: {
      ...SERVER,
      server_join: { retry_join: [`localhost:${port}`, "provider=aws a=b"], retry_interval: "100ms" },
    },
  });
  await second.start();
  await until(() => first.membership!.members().length === 2, "two members");
  assert.ok(log.some((line) => /\[ERROR\].*unknown provider "aws"/.test(line)), log.join(""));
  const members = await first.api.get<{ Members: { Name: string; Status: string }[] }>("/v1/agent/members");
  assert.deepEqual(members.Members.map(({ Name, Status }) => `${Name} ${Status}`), [
    "first.global alive",
    "second.global alive",
  ]);
});

test("start_join that nobody answers is a start error with the reason", async () => {
  const { agent } = make("alone", {
    server: { ...SERVER, bootstrap_expect: 1, server_join: { start_join: ["127.0.0.1:1"] } },
  });
  await assert.rejects(
    agent.start(),
    (error) =>
      error instanceof ConfigError &&
      /start_join: failed to join 127\.0\.0\.1:1: .*connection refused/.test(error.message),
  );
});

test("an agent whose retry_max is used up says so to whoever runs it", async () => {
  const { agent } = make("alone", {
    server: {
      ...SERVER,
      bootstrap_expect: 1,
      server_join: { retry_join: ["127.0.0.1:1"], retry_max: 1, retry_interval: "10ms" },
    },
  });
  await agent.start();
  assert.match(await agent.failure, /retry_max = 1\): failed to join 127\.0\.0\.1:1/);
});

test("a device finds its server through a provider, and starts in spite of one that does not exist", async () => {
  const { agent: server } = make("server", { server: { ...SERVER, bootstrap_expect: 1 } });
  await server.start();
  const url = await serve((_, response) =>
    response.end(JSON.stringify([`127.0.0.1:${server.config.advertise.rpc.port}`]))
  );
  const { agent: device, log } = make("device", {
    server: { enabled: false },
    client: {
      enabled: true,
      server_join: {
        retry_join: ["provider=aws tag_key=nomad", `provider=http url=${url}`],
        retry_interval: "100ms",
      },
    },
  }, { dev: true });
  await device.start();
  await until(() => device.client!.session.connected, "the connection");
  assert.ok(
    log.some((line) =>
      /\[ERROR\].*unknown provider "aws" in "provider=aws tag_key=nomad": known are http/.test(line)
    ),
  );
  assert.ok(device.client!.session.servers.includes(`127.0.0.1:${server.config.advertise.rpc.port}`));
  const members = await device.api.get<{ ServerName: string; Members: { Name: string }[] }>(
    "/v1/agent/members",
  );
  assert.deepEqual([members.ServerName, members.Members.map(({ Name }) => Name)], ["server", [
    "server.global",
  ]]);
});

test("a gossip key that is none is refused without being shown", () => {
  for (const encrypt of ["abc", "cg8StVXbQJ0gPvMd9o7yrgAB"]) {
    assert.throws(
      () => make("x", { server: { ...SERVER, bootstrap_expect: 1, encrypt } }),
      (error) =>
        error instanceof ConfigError && /server\.encrypt must be 32 bytes in base64/.test(error.message) &&
        !error.message.includes(encrypt),
    );
  }
});
