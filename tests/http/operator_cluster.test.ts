// /v1/operator/raft/… and /v1/operator/autopilot/…: what is refused and how, on a server that leads alone. Texts as the
// reference binary gives them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Rig } from "./rig.ts";

const RAFT = "/v1/operator/raft";
const AUTOPILOT = "/v1/operator/autopilot";

async function refused(method: string, path: string, body?: unknown): Promise<string> {
  const { status, text } = await new Rig().request(method, path, body === undefined ? {} : { body });
  return `${status} ${text}`;
}

test("transfer-leadership says what is wrong with its target", async () => {
  const to = (query: string) => refused("PUT", `${RAFT}/transfer-leadership${query}`);
  assert.equal(await to(""), "400 must specify id or address");
  assert.equal(
    await to("?id=5a1e7c1e-0000-4000-8000-000000000001&address=127.0.0.1:4647"),
    "400 must specify either id or address",
  );
  assert.equal(await to("?id=nope"), "400 id must be a uuid: uuid string is wrong length");
  assert.equal(await to("?address=zzz"), "400 address must be in IP:port format: not an ip:port");
  assert.equal(
    await to("?address=127.0.0.1:99"),
    `400 address "127.0.0.1:99" was not found in the Raft configuration`,
  );
  assert.equal(
    await to("?id=6ec1e3a0-0000-0000-0000-000000000000"),
    `400 id "6ec1e3a0-0000-0000-0000-000000000000" was not found in the Raft configuration`,
  );
});

test("transfer-leadership to the leader itself is done already", async () => {
  const rig = new Rig();
  const { id, rpcAddress } = rig.log.peer;
  const { status, json } = await rig.request("PUT", `${RAFT}/transfer-leadership?id=${id}`);
  assert.equal(status, 200);
  const self = { Address: rpcAddress, ID: id };
  assert.deepEqual(json, { Err: null, From: self, Noop: true, To: self });
});

test("Autopilot's configuration: other methods are unknown, mistakes are named", async () => {
  const put = (body: unknown, query = "") => refused("PUT", `${AUTOPILOT}/configuration${query}`, body);
  assert.equal(await refused("DELETE", `${AUTOPILOT}/configuration`), "404 Invalid method");
  assert.equal(await refused("PUT", `${AUTOPILOT}/health`), "404 Invalid method");
  assert.equal(
    await put({}, "?cas=zz"),
    `400 Error parsing cas value: strconv.ParseUint: parsing "zz": invalid syntax`,
  );
  assert.equal(
    await put({ LastContactThreshold: "x" }),
    `400 Error parsing autopilot config: time: invalid duration "x"`,
  );
  assert.match(
    await put({ MinQuorum: "x" }),
    /^400 Error parsing autopilot config: json: cannot unmarshal string/,
  );
});

test("Autopilot's configuration is replaced as a whole", async () => {
  const rig = new Rig();
  const body = { MinQuorum: 3, ServerStabilizationTime: "1m" };
  assert.equal((await rig.request("PUT", `${AUTOPILOT}/configuration`, { body })).text, "true");
  const { json } = await rig.request("GET", `${AUTOPILOT}/configuration`);
  assert.deepEqual(json, {
    LastContactThreshold: "0s",
    ServerStabilizationTime: "1m0s",
    CleanupDeadServers: false,
    MaxTrailingLogs: 0,
    MinQuorum: 3,
    EnableRedundancyZones: false,
    DisableUpgradeMigration: false,
    EnableCustomUpgrades: false,
    CreateIndex: 1,
    ModifyIndex: 1,
  });
});

test("a server alone is healthy since it leads, and stays so", async () => {
  const rig = new Rig();
  const first = await rig.request("GET", `${AUTOPILOT}/health`);
  const second = await rig.request("GET", `${AUTOPILOT}/health`);
  assert.equal(first.status, 200);
  assert.equal(first.json.Servers.length, 1);
  assert.match(first.json.Servers[0].StableSince, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.equal(second.json.Servers[0].StableSince, first.json.Servers[0].StableSince);
});
