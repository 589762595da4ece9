// An agent without a server asks through its device's connection: it waits for the next connection, sends again what is
// safe to send again, with one id, and nothing else.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Agent } from "../../agent.ts";
import { forwarder } from "../../agent/forward.ts";
import { ApiError } from "../../core/errors.ts";
import { NDJSON } from "../../core/ndjson.ts";
import { HopError } from "../../server/hops.ts";

/** A device's session of the test: each entry of `turns` is one connection. */
class Line {
  connected = true;
  readonly asked: { method: string; id: string | null; body: string }[] = [];

  constructor(readonly turns: ("lost" | "answers")[]) {}

  async fetch(request: Request): Promise<Response> {
    const turn = this.turns.shift();
    this.asked.push({
      method: request.method,
      id: request.headers.get("idempotency-key"),
      body: await request.text(),
    });
    if (turn === "answers") return new Response("done");
    this.connected = false;
    setTimeout(() => this.connected = true, 30);
    throw new Error("the connection to the server was lost");
  }
}

function ask(line: Line, path: string, init: RequestInit = {}): Promise<Response> {
  const forward = forwarder({ server: null, client: { session: line } } as unknown as Agent);
  return forward(new Request(`http://agent${path}`, init), null);
}

test("a read is asked again over the next connection", async () => {
  const line = new Line(["lost", "lost", "answers"]);
  assert.equal(await (await ask(line, "/v1/jobs?index=3")).text(), "done");
  assert.deepEqual(line.asked.map(({ method, id }) => [method, id]), [["GET", null], ["GET", null], [
    "GET",
    null,
  ]]);
});

test("a write is sent again whole and with one id; the caller's own is kept", async () => {
  const line = new Line(["lost", "answers"]);
  await ask(line, "/v1/jobs", { method: "PUT", body: '{"Job":{}}' });
  assert.match(line.asked[0]!.id!, /^[0-9a-f-]{36}$/);
  assert.deepEqual(line.asked[1], line.asked[0]);
  assert.equal(line.asked[0]!.body, '{"Job":{}}');
  const own = new Line(["lost", "answers"]);
  await ask(own, "/v1/jobs", { method: "PUT", body: "{}", headers: { "Idempotency-Key": "mine" } });
  assert.deepEqual(own.asked.map(({ id }) => id), ["mine", "mine"]);
});

test("what streams, and what a device does, is sent once", async () => {
  for (
    const [path, headers] of [
      ["/v1/client/allocation/a/restart", {}],
      ["/v1/client/allocation/a/exec", { "content-type": NDJSON }],
    ] as const
  ) {
    const line = new Line(["lost", "answers"]);
    await assert.rejects(
      ask(line, path, { method: "POST", body: "{}", headers }),
      (error) =>
        error instanceof ApiError && error.status === 500 && /rpc error.*was lost/.test(error.message),
    );
    assert.equal(line.asked.length, 1);
  }
});

test("without any connection it says so after a while, and at once when the caller is gone", async () => {
  const line = new Line([]);
  line.connected = false;
  const abort = new AbortController();
  const asked = ask(line, "/v1/jobs", { signal: abort.signal });
  abort.abort();
  await assert.rejects(asked, /not connected to any/);
  assert.deepEqual(line.asked, []);
});

test("an agent without server and device has nobody to ask", async () => {
  const forward = forwarder({ server: null, client: null } as unknown as Agent);
  await assert.rejects(forward(new Request("http://agent/v1/jobs"), null), /No cluster leader/);
  await assert.rejects(forward(new Request("http://agent/v1/jobs"), "127.0.0.1:1"), HopError);
});
