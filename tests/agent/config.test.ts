// Configuration of the agent: files of both syntaxes, merging, datacenter blocks, what is refused and how.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { resolveConfig } from "../../agent/config.ts";
import { loadConfig, mergeConfig } from "../../agent/config_files.ts";
import { flagsToConfig } from "../../agent/flags.ts";

const examples = resolve(dirname(fileURLToPath(import.meta.url)), "../../../shared/examples/agent");

/** Writes files into a folder of their own and loads them in the order given. */
async function load(files: Record<string, string>, datacenter?: string) {
  const folder = mkdtempSync(join(tmpdir(), "config-test-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    return await loadConfig(Object.keys(files).map((name) => join(folder, name)), datacenter);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("loadConfig: the operators' examples are read", async () => {
  const client = await loadConfig([join(examples, "client.hcl")], undefined);
  assert.deepEqual(client.warnings, []);
  assert.deepEqual(client.raw.client?.meta, { site: "plant-7", rack: "r2" });
  assert.deepEqual(client.raw.client?.servers, ["10.0.0.11:4647", "10.0.0.12"]);
  assert.deepEqual(client.raw.plugin?.["podman"], {
    config: { socket_path: "unix:///run/podman/podman.sock", volumes: { enabled: true } },
  });
  const dev = await loadConfig([join(examples, "dev.json")], undefined);
  assert.equal(dev.raw.client?.options?.["driver.raw_exec.enable"], "1");
});

test("loadConfig: a key that many copied files hold by mistake is one warning with file and line", async () => {
  const { warnings, raw } = await loadConfig([join(examples, "server.hcl")], undefined);
  const mistake = warnings.filter((line) => line.includes("verify_server_hostname"));
  assert.equal(mistake.length, 1);
  assert.match(mistake[0]!, /server\.hcl:66: consul\.verify_server_hostname/);
  assert.equal(raw.server?.server_join?.retry_join?.length, 3);
});

test("loadConfig: what would be unsafe to pass over is named with its line", async () => {
  const { refusals } = await load({ "a.hcl": `tls {\n  http = true\n}\nacl { enabled = true }` });
  assert.equal(refusals.length, 2);
  assert.match(refusals[0]!, /a\.hcl:2: tls\.http: TLS is not built/);
  const off = await load({ "a.hcl": `tls { http = false }\nacl { enabled = false }` });
  assert.deepEqual(off.refusals, []);
});

test("loadConfig: a gossip key that is none is named with file, line and key, and never shown", async () => {
  const wrong = "cg8StVXbQJ0gPvMd9o7yrgAB";
  const lines: [string, string, RegExp][] = [
    [
      "a.hcl",
      `server {\n\n  encrypt = "${wrong}"\n}`,
      /a\.hcl:3: server\.encrypt must be 32 bytes in base64, but it has 18/,
    ],
    [
      "a.json",
      `{\n "server": { "encrypt":\n "${wrong}!" } }`,
      /a\.json:2: server\.encrypt .* it is not base64: make one/,
    ],
    [
      "a.hcl",
      `server {\n  encrypt = trimspace("${wrong}")\n}`,
      /a\.hcl:2: .*plain values.*: encrypt = <hidden>/,
    ],
    ["a.hcl", `server {\n  encrypt = ["${wrong}"]\n}`, /a\.hcl:2: server\.encrypt .* it is no string/],
  ];
  for (const [name, text, told] of lines) {
    await assert.rejects(load({ [name]: text }), (error) => {
      assert.match((error as Error).message, told);
      return !(error as Error).message.includes(wrong);
    });
  }
  const good = "Do7GerAsNtzK527dxRZJwpJANdS2NTFbKJIxIod84u0=";
  assert.equal((await load({ "a.hcl": `server { encrypt = "${good}" }` })).raw.server?.encrypt, good);
});

test("flags: those that join, and the gossip key, stand for their keys", () => {
  const raw = flagsToConfig({
    "join": ["10.0.0.1"],
    "retry-join": ["10.0.0.2", "provider=http url=http://x"],
    "retry-max": 3,
    "retry-interval": 15e9,
    "rejoin": true,
    "bootstrap-expect": 3,
    "encrypt": "Do7GerAsNtzK527dxRZJwpJANdS2NTFbKJIxIod84u0=",
    "server": true,
  }, [
    "join",
    "retry-join",
    "retry-max",
    "retry-interval",
    "rejoin",
    "bootstrap-expect",
    "encrypt",
    "server",
  ]);
  const { server } = resolveConfig({ ...raw, data_dir: "/x" }, { dev: false });
  assert.deepEqual(server!.join, {
    startJoin: ["10.0.0.1"],
    retryJoin: ["10.0.0.2", "provider=http url=http://x"],
    retryIntervalMs: 15_000,
    retryMax: 3,
  });
  assert.deepEqual([server!.rejoinAfterLeave, server!.bootstrapExpect, server!.encrypt.length], [
    true,
    3,
    44,
  ]);
});

test("loadConfig: an unknown key is an error with file, line and a suggestion", async () => {
  await assert.rejects(
    load({ "a.hcl": `server {\n  bootsrap_expect = 3\n}\n` }),
    /a\.hcl:2: unexpected keys bootsrap_expect in server: did you mean bootstrap_expect\?/,
  );
  await assert.rejects(
    load({ "a.json": `{\n  "client": {\n    "enabld": true\n  }\n}` }),
    /a\.json:3: unexpected keys enabld in client: did you mean enabled\?/,
  );
});

test("loadConfig: a wrong type is an error with file, line, key and what was expected", async () => {
  const cases: [string, RegExp][] = [
    [`log_json = "perhaps"`, /a\.hcl:1: log_json must be true or false, got "perhaps"/],
    [`ports {\n  http = "x"\n}`, /a\.hcl:2: ports\.http must be a whole number, got "x"/],
    [`server {\n  heartbeat_grace = "10"\n}`, /a\.hcl:2: server\.heartbeat_grace must be a duration/],
    [`server = 5`, /a\.hcl:1: server must be a block, got 5/],
    [`client { servers = { a = 1 } }`, /client\.servers must be a list of strings/],
    [`region = var.x`, /a\.hcl:1: agent configuration takes plain values/],
    [`region = `, /a\.hcl:1: /],
  ];
  for (const [text, message] of cases) await assert.rejects(load({ "a.hcl": text }), message);
});

test("loadConfig: later files win, maps and blocks are merged, lists are replaced", async () => {
  const { raw } = await load({
    "1.hcl":
      `region = "a"\nclient {\n meta { x = "1" }\n servers = ["s1"]\n}\nhttp_api_response_headers { A = "1" }`,
    "2.json":
      `{"region": "b", "client": {"meta": {"y": "2"}, "servers": ["s2"]}, "http_api_response_headers": {"B": "2"}}`,
  });
  assert.equal(raw.region, "b");
  assert.deepEqual(raw.client, { meta: { x: "1", y: "2" }, servers: ["s2"] });
  assert.deepEqual(raw.http_api_response_headers, { A: "1", B: "2" });
});

test("loadConfig: a folder is read in the order of names, backups and other files are left out", async () => {
  const folder = mkdtempSync(join(tmpdir(), "config-test-"));
  writeFileSync(join(folder, "b.hcl"), `region = "b"`);
  writeFileSync(join(folder, "a.json"), `{"region": "a", "name": "n"}`);
  writeFileSync(join(folder, "c.hcl~"), `nonsense`);
  writeFileSync(join(folder, "notes.txt"), `nonsense`);
  const { raw, files } = await loadConfig([folder], undefined);
  rmSync(folder, { recursive: true });
  assert.deepEqual(raw, { region: "b", name: "n" });
  assert.equal(files.length, 2);
});

test("loadConfig: the block of this agent's datacenter is merged, the others are only checked", async () => {
  const file = `datacenter = "dc1"
datacenter "dc1" { client { node_class = "one" } }
datacenter "dc2" { client { node_class = "two" } }
client { node_class = "any" }`;
  assert.equal((await load({ "a.hcl": file })).raw.client?.node_class, "one");
  assert.equal((await load({ "a.hcl": file }, "dc2")).raw.client?.node_class, "two");
  assert.equal((await load({ "a.hcl": file }, "dc3")).raw.client?.node_class, "any");
  const json = `{"datacenter": {"dc7": {"client": {"node_class": "seven"}}}}`;
  assert.equal((await load({ "a.json": json }, "dc7")).raw.client?.node_class, "seven");
  await assert.rejects(load({ "a.hcl": `datacenter "dc9" { clint { } }` }), /did you mean client/);
});

test("resolveConfig: what cannot run is refused in Nomad's words", () => {
  const bad = (raw: Parameters<typeof resolveConfig>[0], message: RegExp) =>
    assert.throws(() => resolveConfig(raw, { dev: false }), message);
  bad({}, /Must specify either server, client or dev mode/);
  bad({ server: { enabled: true } }, /Must specify "data_dir" config option or "data-dir" CLI flag/);
  bad({ server: { enabled: true }, data_dir: "rel" }, /data-dir must be given as an absolute path: got rel/);
  bad(
    { server: { enabled: true }, data_dir: "/x", bind_addr: "127.0.0.1" },
    /Failed to parse HTTP advertise address .*localhost is unsafe/,
  );
  bad(
    { server: { enabled: true }, log_level: "zzz", data_dir: "/x" },
    /Invalid log level: ZZZ. Valid log levels are: \[DEBUG INFO/,
  );
  bad({ client: { enabled: true }, data_dir: "/x" }, /client\.servers is empty/);
  bad(
    { server: { enabled: true, storage: { etcd: {} } }, data_dir: "/x" },
    /server\.storage "etcd" is unknown/,
  );
});

test("resolveConfig: -dev is a server and a device in memory on loopback", () => {
  const config = resolveConfig({}, { dev: true });
  assert.equal(config.server?.storage, "inmem");
  assert.equal(config.client?.stateDir, null);
  assert.equal(config.bind.http.host, "127.0.0.1");
  assert.equal(config.log.level, "DEBUG");
  assert.deepEqual(config.plugins["raw_exec"], { enabled: true });
  const kept = resolveConfig({ data_dir: "/var/x" }, { dev: true });
  assert.equal(kept.server?.storage, "libsql");
  assert.equal(kept.client?.stateDir, "/var/x/client");
});

test("flagsToConfig: flags set the keys they stand for and win over files", () => {
  const values = {
    dc: "dc5",
    meta: ["a=1", "b=x=y"],
    servers: "s1, s2:4000",
    "bootstrap-expect": 1,
    server: true,
    dev: true,
    config: ["x"],
  };
  const raw = flagsToConfig(values, Object.keys(values));
  assert.deepEqual(raw, {
    datacenter: "dc5",
    client: { meta: { a: "1", b: "x=y" }, servers: ["s1", "s2:4000"] },
    server: { bootstrap_expect: 1, enabled: true },
  });
  assert.equal(mergeConfig({ datacenter: "dc1", client: { node_class: "n" } }, raw).client?.node_class, "n");
  assert.throws(() => flagsToConfig({ meta: ["novalue"] }, ["meta"]), /expected key=value/);
  assert.throws(() => flagsToConfig({ "dev-vault": true }, ["dev-vault"]), /Vault is not built yet/);
});

test("loadConfig: labels, lists and signs that a key does not take are errors with their line", async () => {
  const cases: [text: string, message: RegExp][] = [
    [`server "x" {\n}`, /a\.hcl:1: server has a label that it does not take: remove "x"/],
    [`datacenter "a" "b" {\n}`, /a\.hcl:1: datacenter .*"b"/],
    [`client {\n  meta {\n    c = [1]\n  }\n}`, /a\.hcl:3: client\.meta\.c must be a string, got a list/],
    [`ports {\n  http = -1\n}`, /a\.hcl:2: ports\.http must not be negative/],
    [`server {\n  heartbeat_grace = "-5s"\n}`, /a\.hcl:2: server\.heartbeat_grace must not be negative/],
  ];
  for (const [text, message] of cases) await assert.rejects(load({ "a.hcl": text }), message);
});

test("loadConfig: a list of objects in JSON is the block written several times", async () => {
  const { raw } = await load({
    "a.json": `{"server": [{"enabled": true}, {"server_join": {"retry_max": 3}, "num_schedulers": 2}]}`,
  });
  assert.deepEqual(raw.server, { enabled: true, server_join: { retry_max: 3 }, num_schedulers: 2 });
});

test("resolveConfig: values of the right type that cannot be are refused", () => {
  const refused = (raw: Parameters<typeof resolveConfig>[0], message: RegExp) =>
    assert.throws(() => resolveConfig(raw, { dev: true }), message);
  refused({ ports: { http: 99999 } }, /ports\.http must be a port, at most 65535: got 99999/);
  refused({ client: { min_dynamic_port: 40000, max_dynamic_port: 30000 } }, /Invalid dynamic port range/);
  refused({ client: { reserved: { reserved_ports: "1-99999" } } }, /reserved_ports "1-99999" invalid/);
  refused({ client: { reserved: { reserved_ports: "22,x" } } }, /"x" is no port/);
  refused({ server: { enabled_schedulers: ["nope"] } }, /enabled_schedulers: "nope" is unknown/);
});

test("resolveConfig: the keys of a cluster", () => {
  const { server } = resolveConfig({
    data_dir: "/var/x",
    autopilot: { cleanup_dead_servers: false, server_stabilization_time: "3s", max_trailing_logs: 10 },
    server: {
      enabled: true,
      bootstrap_expect: 3,
      non_voting_server: true,
      raft_multiplier: 5,
      rejoin_after_leave: true,
      server_join: {
        retry_join: ["10.0.0.2"],
        start_join: ["10.0.0.3"],
        retry_max: 4,
        retry_interval: "15s",
      },
    },
  }, { dev: false });
  assert.deepEqual(server!.join, {
    retryJoin: ["10.0.0.2"],
    startJoin: ["10.0.0.3"],
    retryMax: 4,
    retryIntervalMs: 15_000,
  });
  const { bootstrapExpect, nonVoter, raftMultiplier, rejoinAfterLeave, autopilot } = server!;
  assert.deepEqual({ bootstrapExpect, nonVoter, raftMultiplier, rejoinAfterLeave, autopilot }, {
    bootstrapExpect: 3,
    nonVoter: true,
    raftMultiplier: 5,
    rejoinAfterLeave: true,
    autopilot: { CleanupDeadServers: false, ServerStabilizationTime: 3e9, MaxTrailingLogs: 10 },
  });
});

test("resolveConfig: a raft_multiplier or raft_protocol that cannot be is refused", () => {
  const withServer = (server: Record<string, unknown>) => () =>
    resolveConfig({ data_dir: "/var/x", server: { enabled: true, ...server } }, { dev: false });
  assert.throws(
    withServer({ raft_multiplier: 11 }),
    /raft_multiplier cannot be 11\. Must be between 1 and 10/,
  );
  assert.throws(withServer({ raft_multiplier: -1 }), /raft_multiplier cannot be -1/);
  assert.throws(withServer({ raft_protocol: 2 }), /raft_protocol must be 3 in Nomad v1\.4 and later, got 2/);
  assert.equal(withServer({ raft_protocol: 3 })().server!.raftMultiplier, 1);
});
