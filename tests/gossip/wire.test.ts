// The bytes of gossip: what is written is read, and nothing else is; hostile bytes are refused and never crash.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, test } from "node:test";
import fc from "fast-check";
import {
  decodeMessage,
  encodeMessage,
  GossipFormatError,
  type WireMessage,
} from "../../server/gossip_codec.ts";
import { generateGossipKey, gossipKeyError, KeyRing } from "../../server/gossip_crypto.ts";
import { frame, unframe } from "../../server/gossip_http.ts";
import { startServer, stopAll, until } from "./rig.ts";

after(stopAll);

const NONCE = "00112233445566778899aabbccddeeff";
const text = fc.string({ maxLength: 40 }).map((value) => value.replace(/[\p{Cc}\u2028\u2029]/gu, ""));
const name = text.map((value) => value || "x");
const record = fc.record({
  name,
  host: fc.constantFrom("10.0.0.1", "fe80::1%eth0", "server.example"),
  port: fc.integer({ min: 1, max: 65_535 }),
  tags: fc.dictionary(text.filter((key) => key !== "__proto__"), text, { maxKeys: 8 }).map((tags) => ({
    ...tags,
  })),
  incarnation: fc.nat(),
  status: fc.constantFrom("alive" as const, "suspect" as const, "failed" as const, "left" as const),
  by: text,
  pruned: fc.boolean(),
  ageMs: fc.nat(),
});
const records = fc.array(record, { maxLength: 5 });
const message: fc.Arbitrary<WireMessage> = fc.oneof(
  fc.record({ t: fc.constant("ping" as const), from: name, seq: fc.nat(), target: name, updates: records }),
  fc.record({
    t: fc.constant("ack" as const),
    from: name,
    seq: fc.nat(),
    ok: fc.boolean(),
    updates: records,
  }),
  fc.record({ t: fc.constant("sync" as const), from: name, join: fc.boolean(), members: records }),
  fc.record({
    t: fc.constant("keyring" as const),
    from: name,
    challenge: text,
    operation: fc.constantFrom("list" as const, "install" as const, "use" as const, "remove" as const),
    key: text,
  }),
);

test("every message survives the codec unchanged", () => {
  fc.assert(fc.property(message, (sent) => {
    // fast-check makes objects without a prototype, which are never deeply equal to others.
    assert.deepEqual(decodeMessage(encodeMessage(sent)), JSON.parse(JSON.stringify(sent)));
  }));
});

test("any other bytes are a GossipFormatError and nothing else", () => {
  const only = (bytes: Uint8Array) => {
    try {
      decodeMessage(bytes);
    } catch (error) {
      assert.ok(error instanceof GossipFormatError, String(error));
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), only));
  fc.assert(fc.property(fc.json(), (json) => only(new TextEncoder().encode(json))));
  // One byte of a good message changed, or its end cut off.
  fc.assert(fc.property(message, fc.nat(), fc.integer({ min: 0, max: 255 }), (sent, at, byte) => {
    const bytes = encodeMessage(sent);
    bytes[at % bytes.length] = byte;
    only(bytes);
    only(bytes.subarray(0, at % bytes.length));
  }));
});

test("limits: what is too large, too many or of another type is refused", () => {
  const good = {
    name: "a",
    host: "h",
    port: 1,
    tags: {},
    incarnation: 1,
    status: "alive",
    by: "",
    pruned: false,
    ageMs: 0,
  };
  const sync = (member: Record<string, unknown>) =>
    JSON.stringify({ t: "sync", from: "b", join: true, members: [member] });
  decodeMessage(new TextEncoder().encode(sync(good)));
  for (
    const wrong of [
      { name: "" },
      { name: "x".repeat(300) },
      { name: "a\nERROR forged" },
      { host: "a b" },
      { host: "" },
      { port: 0 },
      { port: 70_000 },
      { port: "1" },
      { incarnation: -1 },
      { incarnation: 2 ** 51 },
      { incarnation: 1.5 },
      { status: "dead" },
      { tags: { a: 1 } },
      { tags: [] },
      { tags: { a: "x".repeat(2000) } },
      { tags: Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`t${i}`, ""])) },
      { pruned: "no" },
      { ageMs: -1 },
      { ageMs: null },
    ]
  ) {
    assert.throws(
      () => decodeMessage(new TextEncoder().encode(sync({ ...good, ...wrong }))),
      GossipFormatError,
    );
  }
  const crowd = { t: "sync", from: "b", join: true, members: Array.from({ length: 5000 }, () => good) };
  assert.throws(() => decodeMessage(new TextEncoder().encode(JSON.stringify(crowd))), GossipFormatError);
});

test("a sealed frame opens under any key of the ring, and not when a bit, the nonce or the direction is another", () => {
  const [one, two] = [generateGossipKey(), generateGossipKey()];
  const plain = new TextEncoder().encode("a message");
  const sealed = frame(plain, new KeyRing([two]), 0, NONCE);
  assert.deepEqual(unframe(sealed, new KeyRing([one, two]), 0, NONCE), plain);
  assert.equal(unframe(sealed, new KeyRing([one]), 0, NONCE), "key");
  assert.equal(unframe(sealed, null, 0, NONCE), "sealed");
  assert.equal(unframe(sealed, new KeyRing([two]), 0, NONCE.replace("0", "1")), "key", "of another request");
  assert.equal(unframe(sealed, new KeyRing([two]), 1, NONCE), "malformed", "a question is no answer");
  const turned = sealed.slice();
  turned[3] = 1;
  assert.equal(unframe(turned, new KeyRing([two]), 1, NONCE), "key", "not even with its header changed");
  fc.assert(fc.property(fc.nat(sealed.length * 8 - 1), (bit) => {
    const bent = sealed.slice();
    bent[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(typeof unframe(bent, new KeyRing([two]), 0, NONCE), "string");
  }));
  assert.equal(unframe(frame(plain, null, 0, NONCE), new KeyRing([one]), 0, NONCE), "plain");
  const later = frame(plain, null, 0, NONCE);
  later[1] = 2;
  assert.equal(unframe(later, null, 0, NONCE), "version");
});

test("keys of 16 bytes seal as those of 32 do, and cannot stand for each other", () => {
  const plain = new TextEncoder().encode("a message");
  const rings = [16, 32].map((length) => new KeyRing([Buffer.alloc(length, 7).toString("base64")]));
  for (const ring of rings) {
    const sealed = frame(plain, ring, 0, NONCE);
    for (const other of rings) {
      assert.deepEqual(unframe(sealed, other, 0, NONCE), ring === other ? plain : "key");
    }
  }
});

test("no two sealed frames are alike, and none is short enough to be guessed", () => {
  const ring = new KeyRing([generateGossipKey()]);
  const frames = Array.from(
    { length: 100 },
    () => Buffer.from(frame(new Uint8Array(8), ring, 0, NONCE)).toString("hex"),
  );
  assert.equal(new Set(frames).size, 100);
});

test("gossipKeyError knows what a key is and never shows one", () => {
  assert.equal(gossipKeyError(generateGossipKey()), null);
  assert.match(gossipKeyError("not base64!")!, /not base64/);
  assert.equal(gossipKeyError("cg8StVXbQJ0gPvMd9o7yrg=="), null, "16 bytes, as old documents have them");
  assert.match(gossipKeyError("cg8StVXbQJ0gPvMd9o7yrgAB")!, /18 bytes where 32/);
  assert.match(gossipKeyError("")!, /0 bytes/);
  assert.throws(() => new KeyRing(["cg8StVXbQJ0gPvMd9o7yrgAB"]), (error) => !String(error).includes("cg8S"));
});

test("a listener refuses whatever is no gossip, says so once, and goes on", async () => {
  const a = await startServer("a");
  const url = `http://${a.address}/v1/gossip`;
  const post = async (body: Uint8Array, headers: Record<string, string> = { "x-gossip-nonce": NONCE }) => {
    const response = await fetch(url, { method: "POST", body: body as Uint8Array<ArrayBuffer>, headers });
    return `${response.status} ${await response.text()}`;
  };
  assert.equal(await post(new Uint8Array(0)), "403 malformed");
  assert.equal(await post(Uint8Array.of(0x67, 9, 0, 0, 1)), "403 version");
  assert.equal(await post(new TextEncoder().encode("GET / HTTP/1.1")), "403 malformed");
  assert.equal(
    await post(frame(encodeMessage({ t: "challenge", from: "x" }), null, 0, NONCE), {}),
    "403 malformed",
  );
  assert.equal((await fetch(url)).status, 405);
  assert.equal((await fetch(`http://${a.address}/v1/jobs`)).status, 404);
  for (const t of ["ack", "synced", "challenged", "keys"] as const) {
    const answer = {
      t,
      from: "x",
      seq: 1,
      ok: true,
      updates: [],
      members: [],
      challenge: "",
      keys: [],
      primary: "",
      error: "",
    };
    assert.equal(
      await post(frame(encodeMessage(answer as unknown as WireMessage), null, 0, NONCE)),
      "403 malformed",
    );
  }
  const large = await post(new Uint8Array(3 * 1024 * 1024)).catch((error: Error) => error.message);
  assert.ok(/403|connection|reset|closed|fetch/i.test(large), large);
  for (let i = 0; i < 200; i++) {
    const bytes = new Uint8Array(Math.floor(i * 3)).map((_, at) => (at * 31 + i * 7) & 255);
    bytes.set([0x67, 1, i % 3, i % 2].slice(0, bytes.length));
    assert.match(await post(bytes), /^403 (malformed|sealed)$/);
  }
  assert.equal(a.lines.filter((line) => /refused gossip/.test(line)).length, 3, a.lines.join("\n"));
  const b = await startServer("b");
  assert.equal((await b.node.join([a.address])).joined, 1);
});

test("a recorded change of the keyring does nothing when it is played again", async () => {
  const [old, fresh] = [generateGossipKey(), generateGossipKey()];
  const a = await startServer("a", { encrypt: old });
  const ring = new KeyRing([old]);
  const send = async (sent: WireMessage): Promise<WireMessage> => {
    const body = frame(encodeMessage(sent), ring, 0, NONCE) as Uint8Array<ArrayBuffer>;
    const response = await fetch(`http://${a.address}/v1/gossip`, {
      method: "POST",
      body,
      headers: { "x-gossip-nonce": NONCE },
    });
    const bytes = unframe(new Uint8Array(await response.arrayBuffer()), ring, 1, NONCE);
    assert.ok(typeof bytes !== "string", `${bytes}`);
    return decodeMessage(bytes);
  };
  const first = await send({ t: "challenge", from: "x" });
  assert.ok(first.t === "challenged");
  const change: WireMessage = {
    t: "keyring",
    from: "x",
    challenge: first.challenge,
    operation: "install",
    key: fresh,
  };
  const done = await send(change);
  assert.ok(done.t === "keys" && done.error === "" && done.keys.length === 2);
  await a.node.keyring.remove(fresh);
  const again = await send(change);
  assert.ok(again.t === "keys" && again.error !== "");
  assert.deepEqual((await a.node.keyring.list()).keys, { [old]: 1 });
});

test("a peer that takes connections and says nothing holds nobody up", async () => {
  const servers = [await startServer("a"), await startServer("b")];
  const [a, b] = servers as [typeof servers[0], typeof servers[0]];
  // Half a request, and then silence, thirty times.
  const silent = Array.from({ length: 30 }, () => {
    const socket = connect(a.listener.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write("POST /v1/gossip HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n");
    return socket;
  });
  assert.equal((await b.node.join([a.address])).joined, 1);
  await until(() => a.view === "b.global=alive", "b");
  for (const socket of silent) socket.destroy();
});
