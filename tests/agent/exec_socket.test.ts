// The WebSocket side of exec alone: handshake, close codes, what is held and for whom, and the hop to another server.
import assert from "node:assert/strict";
import { Socket } from "node:net";
import { test } from "node:test";
import { WebSocket } from "ws";
import type { Agent } from "../../agent.ts";
import { maybeExecSocket } from "../../agent/exec_socket.ts";
import { forwarder } from "../../agent/forward.ts";
import { dialer } from "../../core/dial.ts";
import { systemClock } from "../../core/env.ts";
import { silentLogger } from "../../core/logger.ts";
import { NDJSON, readLines } from "../../core/ndjson.ts";
import { SERVER_PATH } from "../../core/protocol.ts";
import { listen } from "../../core/runtime.ts";
import { Hops } from "../../server/hops.ts";

const PATH = "/v1/client/allocation/a/exec?task=t&command=%5B%22x%22%5D";
const SHAKEN = `${PATH}&ws_handshake=true`;
type Handle = (request: Request) => Response | Promise<Response>;

/** An agent's listener whose API is `handle`. */
async function served<T>(handle: Handle, use: (address: string) => Promise<T>, hops?: Hops): Promise<T> {
  const listener = await listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, info) =>
      new URL(request.url).pathname === SERVER_PATH && hops
        ? hops.accept(info)
        : maybeExecSocket(request, info, handle) ?? handle(request),
  });
  try {
    return await use(`127.0.0.1:${listener.port}`);
  } finally {
    await listener.close();
  }
}

interface Session {
  socket: WebSocket;
  messages: string[];
  /** "code reason" */
  closed: Promise<string>;
}

function open(address: string, path: string, headers: Record<string, string> = {}): Promise<Session> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${address}${path}`, { headers });
    const messages: string[] = [];
    const closed = new Promise<string>((done) => {
      // A close that never comes fails the comparison instead of holding up the whole run.
      const timer = setTimeout(() => done("still open after 20 s"), 20_000);
      socket.on("close", (code, reason) => {
        clearTimeout(timer);
        done(`${code} ${String(reason)}`.trim());
      });
    });
    socket.on("message", (data) => messages.push(String(data)));
    socket.on("open", () => resolve({ socket, messages, closed }));
    socket.on("error", reject);
  });
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    assert.ok(tries < 1000, `waited in vain until ${what}`);
    await new Promise((wake) => setTimeout(wake, 10));
  }
}

const lineOf = (frame: object) => new TextEncoder().encode(`${JSON.stringify(frame)}\n`);

/** Answers every line with itself, and the end with "end". */
function echo(request: Request): Response {
  const lines = readLines(request.body!.getReader());
  return new Response(
    new ReadableStream<Uint8Array>({
      async pull(controller) {
        const { done, value } = await lines.next();
        if (!done) controller.enqueue(lineOf({ got: JSON.parse(value) }));
        if (done || value.includes('"close"')) controller.close();
      },
    }, { highWaterMark: 0 }),
  );
}

test("an exec WebSocket becomes a POST of lines, frame by frame", async () => {
  const asked: string[] = [];
  await served((request) => {
    asked.push(`${request.method} ${request.headers.get("content-type")} ${new URL(request.url).pathname}`);
    return echo(request);
  }, async (address) => {
    const { socket, messages, closed } = await open(address, PATH);
    socket.send('{\n "stdin":\n {"data": "aGk="}}');
    await until(() => messages.length === 1, "the first frame came back");
    socket.send('{"close":true}');
    assert.equal(await closed, "1000");
    assert.deepEqual(messages, ['{"got":{"stdin":{"data":"aGk="}}}', '{"got":{"close":true}}']);
    assert.deepEqual(asked, [`POST ${NDJSON} /v1/client/allocation/a/exec`]);
    assert.equal(await (await open(address, "/v1/job/a/b/action?task=t")).socket.readyState, 1);
    assert.equal(asked.length, 2);
  });
});

test("other requests are left to the API", async () => {
  await served(() => new Response("api"), async (address) => {
    assert.equal(await (await fetch(`http://${address}${PATH}`)).text(), "api");
    await assert.rejects(open(address, "/v1/jobs/exec"));
  });
});

test("the handshake's token becomes the request's", async () => {
  const tokens: (string | null)[] = [];
  await served((request) => {
    tokens.push(request.headers.get("x-nomad-token"));
    return new Response("{}\n");
  }, async (address) => {
    const shaken = await open(address, SHAKEN, { "X-Nomad-Token": "header" });
    shaken.socket.send('{"version":1,"auth_token":"frame"}');
    await shaken.closed;
    await (await open(address, PATH, { "X-Nomad-Token": "header" })).closed;
    assert.deepEqual(tokens, ["frame", "header"]);
  });
});

test("a wrong handshake or frame ends the session before anything runs", async () => {
  let calls = 0;
  await served(() => new Response(String(calls++)), async (address) => {
    const answer = async (text: string) => {
      const { socket, closed } = await open(address, SHAKEN);
      socket.send(text);
      return await closed;
    };
    assert.equal(await answer('{"version":2,"auth_token":""}'), "1008 unexpected handshake value: 2");
    assert.equal(await answer('{"stdin":{"close":true}}'), "1008 unexpected handshake value: 0");
    assert.equal(await answer("null"), "1008 unexpected handshake value: 0");
    assert.match(await answer("zzz"), /^1008 not a JSON frame: /);
    assert.equal(await answer('{"version":1,"auth_token":"a\\nb"}'), "1008 auth_token is not a token");
    assert.equal(calls, 0);
  });
});

test("refusals are close codes: the caller's 1008, all others 1011, and long ones are cut", async () => {
  let answer = new Response("");
  await served(() => answer, async (address) => {
    const refused = async (status: number, text: string) => {
      answer = new Response(text, { status });
      return await (await open(address, PATH)).closed;
    };
    assert.equal(await refused(404, "Unknown\n"), "1008 Unknown");
    assert.equal(await refused(500, "broken"), "1011 broken");
    assert.equal(await refused(500, "é".repeat(100)), `1011 ${"é".repeat(61)}`);
  });
});

test("a session that breaks off says why", async () => {
  const handle = () =>
    new Response(
      new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(lineOf({ stdout: {} })),
        pull: (controller) => controller.error(new Error("the device's connection was lost")),
      }, { highWaterMark: 0 }),
    );
  await served(handle, async (address) => {
    const { messages, closed } = await open(address, PATH);
    assert.equal(await closed, "1011 the device's connection was lost");
    assert.deepEqual(messages, ['{"stdout":{}}']);
  });
});

test("pages of other origins may not run commands", async () => {
  await served(echo, async (address) => {
    await (await open(address, PATH, { Origin: `http://${address}` })).socket.close();
    for (const origin of ["http://evil.example", "null", "http://127.0.0.1:1"]) {
      await assert.rejects(open(address, PATH, { Origin: origin }), origin);
    }
  });
});

test("when the user goes away the exchange is aborted and its body cancelled", async () => {
  const ends: string[] = [];
  const handle = (request: Request) => {
    request.signal.addEventListener("abort", () => ends.push("aborted"));
    return new Response(
      new ReadableStream<Uint8Array>({ cancel: () => void ends.push("cancelled") }, { highWaterMark: 0 }),
    );
  };
  await served(handle, async (address) => {
    const { socket } = await open(address, PATH);
    socket.send("{}");
    socket.terminate();
    await until(() => ends.length === 2, "both ends were told");
    assert.deepEqual(ends.sort(), ["aborted", "cancelled"]);
  });
});

test("input that nobody takes is bounded, and who counts is told what was taken", async () => {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  const ends: string[] = [];
  const handle = (request: Request) => {
    request.signal.addEventListener("abort", () => ends.push("aborted"));
    reader = request.body!.getReader();
    return new Response(new ReadableStream<Uint8Array>({}, { highWaterMark: 0 }));
  };
  const frame = JSON.stringify({ stdin: { data: "x".repeat(1024 * 1024) } });
  await served(handle, async (address) => {
    const counted = await open(address, SHAKEN);
    counted.socket.send('{"version":1,"auth_token":"","input_count":true}');
    await until(() => counted.messages.length === 1, "counting begins");
    counted.socket.send(frame);
    for (let bytes = 0; bytes < frame.length + 1;) bytes += (await reader!.read()).value!.length;
    await until(() => counted.messages.length === 2, "the taking was told");
    assert.deepEqual(counted.messages, ['{"input_taken":0}', `{"input_taken":${frame.length + 1}}`]);
    counted.socket.close();
    await until(() => ends.length === 1, "the first session ended");

    const aborted = ends.length;
    const { socket } = await open(address, PATH);
    let reason = "";
    socket.on("close", (code, why) => reason = `${code} ${String(why)}`.trim());
    for (let sent = 0; sent < 40 && ends.length === aborted; sent++) {
      socket.send(frame);
      await new Promise((wake) => setTimeout(wake, 5));
    }
    await until(() => ends.length > aborted, "the session is cut off");
    // Bytes still under way may tear the connection down before the close frame is read: 1006, or no word at all.
    await new Promise((wake) => setTimeout(wake, 100));
    assert.match(reason, /^(1009 input came faster than the task reads it.*|1006)?$/);
    socket.terminate();
  });
});

test("output waits for a user who does not read", async () => {
  const chunk = lineOf({ stdout: { data: "y".repeat(64 * 1024) } });
  let produced = 0;
  const handle = () =>
    new Response(
      new ReadableStream<Uint8Array>({
        pull(controller) {
          produced += chunk.length;
          controller.enqueue(chunk);
        },
      }, { highWaterMark: 0 }),
    );
  await served(handle, async (address) => {
    const socket = new Socket();
    socket.on("error", () => undefined);
    const [host, port] = address.split(":");
    await new Promise<void>((done) => socket.connect(Number(port), host!, done));
    socket.pause();
    const key = "dGhlIHNhbXBsZSBub25jZQ==";
    socket.write(
      `GET ${PATH} HTTP/1.1\r\nHost: ${address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    );
    await until(() => produced > 0, "output began");
    let before = -1;
    // Until nothing moves any more: what is produced then stands in the kernel's buffers and in ours.
    for (let still = 0; still < 5; still = produced === before ? still + 1 : 0) {
      before = produced;
      await new Promise((wake) => setTimeout(wake, 50));
      assert.ok(produced < 64 * 1024 * 1024, "output runs away");
    }
    const stalled = produced;
    socket.resume();
    await until(() => produced > stalled, "output goes on when it is read");
    socket.destroy();
  });
});

test("an exchange goes on through another server's API, both ways at once", async () => {
  const serve = (request: Request) => {
    assert.equal(request.headers.get("x-nomad-token"), "secret");
    return echo(request);
  };
  const parts = { clock: systemClock, logger: silentLogger };
  const dial = () => dialer({ path: SERVER_PATH, handshakeTimeoutMs: 5000 });
  const theirs = new Hops({ ...parts, dial, serve });
  const ours = new Hops({ ...parts, dial, serve: () => new Response("nobody asks") });
  await served(serve, async (leader) => {
    const forward = forwarder({ server: { hops: ours }, client: null } as unknown as Agent);
    await served((request) => forward(request, leader), async (address) => {
      const { socket, messages, closed } = await open(address, PATH, { "X-Nomad-Token": "secret" });
      for (let turn = 1; turn <= 3; turn++) {
        socket.send(JSON.stringify({ turn }));
        await until(() => messages.length === turn, `turn ${turn} came back`);
      }
      socket.send('{"close":true}');
      assert.equal(await closed, "1000");
    });
    ours.close();
  }, theirs);
});
