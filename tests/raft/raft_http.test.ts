// The wire: the codec against damage, and replicas that speak over real sockets with libsql under them.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock, systemRandom } from "../../core/env.ts";
import { decodeBody, encodeHeader, encodeMessage, WireError } from "../../server/raft_codec.ts";
import { configChangeProblem } from "../../server/raft_config.ts";
import { httpTransport, RAFT_PATH } from "../../server/raft_http.ts";
import type { Message, MessageBody, RaftServer, RaftTransport } from "../../server/raft_types.ts";
import { createReplica, type Replica } from "../../server/replica.ts";
import { libsqlStorage } from "../../server/storage_libsql.ts";
import { server, until } from "./helpers.ts";
import { MapMachine, put } from "./machine.ts";

const header = { from: "a", to: "b", address: "127.0.0.1:4647" };
const snapshot = {
  index: 9,
  term: 2,
  configIndex: 1,
  config: { servers: [server("a"), server("ü")] },
  blocks: 2,
  bytes: 7,
  checksum: 0xffff_ffff,
};
const bodies: MessageBody[] = [
  { type: "prevote", lastIndex: 5, lastTerm: 1 },
  { type: "prevote.response", granted: true },
  { type: "vote", lastIndex: 5, lastTerm: 1, force: true },
  { type: "vote.response", granted: false },
  {
    type: "append",
    prevIndex: 2 ** 40,
    prevTerm: 3,
    commit: 4,
    entries: [
      { index: 2 ** 40 + 1, term: 3, kind: "command", data: '{"text":"\\u0000 ü \u{1F680}"}' },
      { index: 2 ** 40 + 2, term: 4, kind: "noop", data: "" },
    ],
  },
  { type: "append", prevIndex: 0, prevTerm: 0, commit: 0, entries: [] },
  { type: "append.response", ok: true, prevIndex: 3, match: 5, hintTerm: 0 },
  { type: "append.response", ok: false, prevIndex: 0, match: 5, hintTerm: 0, lost: true },
  { type: "heartbeat", commit: 7, read: 12 },
  { type: "heartbeat.response", read: 12 },
  { type: "snapshot", snapshot, block: 1, data: new Uint8Array([0, 1, 2, 255]) },
  { type: "snapshot.response", index: 9, snapshotTerm: 2, next: 1 },
  { type: "timeout.now" },
];
const messages: Message[] = bodies.map((body) => ({ ...body, from: "a", to: "b", term: 7 }));

function encodeBody(list: Message[]): Uint8Array {
  return new Uint8Array(Buffer.concat([encodeHeader(header), ...list.map(encodeMessage)]));
}

test("codec: every message comes back as it was", () => {
  assert.deepEqual(decodeBody(encodeBody(messages)), { header, messages });
  assert.deepEqual(decodeBody(encodeBody([])), { header, messages: [] });
});

test("codec: a body with any byte changed is refused or yields the same shapes, never anything else", () => {
  const body = encodeBody(messages);
  const headerLength = encodeHeader(header).length;
  for (let at = 0; at < body.length; at++) {
    const damaged = body.slice();
    damaged[at]! ^= 0x41;
    if (at >= headerLength) assert.throws(() => decodeBody(damaged), WireError, `byte ${at}`);
    else assertWireErrorOrBatch(damaged);
  }
});

test("codec: a body cut anywhere within a message is refused", () => {
  const body = encodeBody([messages[4]!]);
  for (let length = encodeHeader(header).length + 1; length < body.length; length++) {
    assert.throws(() => decodeBody(body.slice(0, length)), WireError, `cut at ${length}`);
  }
});

function assertWireErrorOrBatch(bytes: Uint8Array): void {
  try {
    decodeBody(bytes);
  } catch (error) {
    assert.ok(error instanceof WireError, String(error));
  }
}

test("codec: messages of wrong shape are refused, though their checksum is right", () => {
  const wrong = [
    { type: "unknown", term: 1 },
    { type: "vote", term: 1, lastIndex: "5", lastTerm: 1, force: true },
    { type: "vote", term: -1, lastIndex: 5, lastTerm: 1, force: true },
    { type: "heartbeat", term: 1, commit: 1.5, read: 0 },
    { type: "append.response", term: 1, ok: false, prevIndex: 0, match: 0, hintTerm: 0, lost: "yes" },
    { type: "snapshot", term: 1, snapshot: null, block: 0, data: new Uint8Array() },
    { type: "snapshot", term: 1, snapshot: { ...snapshot, config: 4 }, block: 0, data: new Uint8Array() },
    {
      type: "append",
      term: 1,
      prevIndex: 1,
      prevTerm: 1,
      commit: 0,
      entries: [{ term: 1, kind: "x", data: "" }],
    },
    null,
    4,
  ];
  for (const message of wrong) {
    const bytes = message !== null && typeof message === "object"
      ? encodeMessage({ ...message, from: "a", to: "b" } as unknown as Message)
      : rawFrame(JSON.stringify(message));
    const body = new Uint8Array(Buffer.concat([encodeHeader(header), bytes]));
    assert.throws(() => decodeBody(body), WireError, JSON.stringify(message));
  }
});

/** A frame whose head is any JSON: made from a right one by exchanging its payload. */
function rawFrame(text: string): Uint8Array {
  const payload = new Uint8Array(4 + text.length);
  new DataView(payload.buffer).setUint32(0, text.length, true);
  payload.set(new TextEncoder().encode(text), 4);
  const out = new Uint8Array(8 + payload.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, crcOf(payload), true);
  out.set(payload, 8);
  return out;
}

function crcOf(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

test("handle: answers what is wrong with a request", async () => {
  const transport = httpTransport({ id: "b", rpcAddress: "b:1", clock: systemClock });
  const url = `http://b:1${RAFT_PATH}`;
  const body = new Uint8Array(encodeBody(messages));
  const post = (to: string, data: Uint8Array<ArrayBuffer>, headers = {}) =>
    transport.handle(new Request(to, { method: "POST", body: data, headers }));
  assert.equal((await post(url, body)).status, 503, "not started yet");
  const received: Message[] = [];
  transport.start((m) => received.push(m));
  assert.equal((await post(url, body)).status, 204);
  assert.deepEqual(received, messages);
  assert.equal((await post(url, new TextEncoder().encode("nonsense"))).status, 400);
  assert.equal((await post(url, new Uint8Array())).status, 400);
  assert.equal((await post("http://b:1/v1/raft/other", body)).status, 404);
  assert.equal((await transport.handle(new Request(url))).status, 405);
  const huge = await post(url, body, { "content-length": String(1e12) });
  assert.equal(huge.status, 413);
  const other = httpTransport({ id: "c", rpcAddress: "c:1", clock: systemClock });
  other.start(() => assert.fail("not for us"));
  const answer = await other.handle(new Request(url, { method: "POST", body }));
  assert.deepEqual([answer.status, await answer.text()], [409, "This is server c, not b"]);
  await transport.stop();
});

test("membership changes: one voter at a time, learners freely, never the last voter", () => {
  const config = (...servers: RaftServer[]) => ({ servers });
  const [a, b, c] = [server("a"), server("b"), server("c")];
  assert.equal(configChangeProblem(config(a), config(a, b)), "");
  assert.equal(configChangeProblem(config(a, b), config(a)), "");
  assert.equal(configChangeProblem(config(a), config(a, server("b", false), server("c", false))), "");
  assert.equal(configChangeProblem(config(a, b), config(a, { ...b, rpcAddress: "else:1" })), "");
  assert.match(configChangeProblem(config(a), config(a, b, c)), /one voter can be changed at a time/);
  assert.match(configChangeProblem(config(a, b), config(a, c)), /one voter/);
  assert.match(configChangeProblem(config(a), config()), /last voter/);
  assert.match(configChangeProblem(config(a), config(a, a)), /twice/);
});

interface HttpMember {
  id: string;
  replica: Replica;
  machine: MapMachine;
  listener: Server;
  address: string;
}

/** A listener whose handler can be set later: the port must be known before the replica is made. */
async function listen(): Promise<
  { listener: Server; address: string; serve: (transport: RaftTransport) => void }
> {
  let transport: RaftTransport | null = null;
  const listener = createServer((req, res) => {
    const parts: Buffer[] = [];
    req.on("data", (part: Buffer) => parts.push(part));
    req.on("end", async () => {
      const request = new Request(`http://${req.headers.host}${req.url}`, {
        method: req.method!,
        body: new Uint8Array(Buffer.concat(parts)),
      });
      const response = await transport?.handle(request) ?? new Response(null, { status: 503 });
      res.writeHead(response.status);
      res.end(await response.text());
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  return { listener, address, serve: (t) => transport = t };
}

async function close({ replica, listener }: HttpMember): Promise<void> {
  await replica.stop();
  listener.closeAllConnections();
  await new Promise((resolve) => listener.close(resolve));
}

test("http: three servers on sockets and libsql, the leader is lost, nothing acknowledged is", {
  timeout: 60_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), "nomad-raft-http-"));
  const members: HttpMember[] = [];
  try {
    const ids = ["a", "b", "c"];
    const listeners = await Promise.all(ids.map(() => listen()));
    const servers = ids.map((id, i): RaftServer => {
      const { address } = listeners[i]!;
      return { id, rpcAddress: address, httpAddress: address, voter: true };
    });
    for (const [i, id] of ids.entries()) {
      const { listener, address, serve } = listeners[i]!;
      const transport = httpTransport({ id, rpcAddress: address, clock: systemClock });
      serve(transport);
      const replica = createReplica({
        id,
        rpcAddress: address,
        httpAddress: address,
        bootstrap: servers,
        storage: libsqlStorage({ path: join(dir, `${id}.db`) }),
        transport,
        clock: systemClock,
        random: systemRandom,
        tuning: { tickMs: 20 },
      });
      const machine = new MapMachine();
      members.push({ id, replica, machine, listener, address });
      await replica.start(machine);
    }
    const leading = () => members.find((m) => m.replica.isLeader);
    await until(() => leading() !== undefined, "a leader");
    const first = leading()!;
    await Promise.all(Array.from({ length: 200 }, (_, i) => first.replica.propose(put(`k${i}`, i))));
    await first.replica.propose(put("last", 1));
    await first.replica.barrier();
    await close(first);
    members.splice(members.indexOf(first), 1);
    await until(() => leading() !== undefined, "the next leader");
    const second = leading()!;
    assert.equal(second.machine.values.size, 201);
    assert.equal(second.machine.values.get("last"), 1);
    await second.replica.propose(put("after", 2));
    const third = members.find((m) => m !== second)!;
    await until(() => third.machine.values.get("after") === 2, "the follower has it, too");
  } finally {
    for (const member of members) await close(member);
    rmSync(dir, { recursive: true });
  }
});
