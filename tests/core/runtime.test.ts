// The one adapter: HTTP, WebSocket and errors behave alike on both runtimes.
import assert from "node:assert/strict";
import { request } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";
import { WebSocket } from "ws";
import { listen } from "../../core/runtime.ts";

test("listen: answers HTTP on a port the system chose", async () => {
  const listener = await listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async (request, info) => new Response(`${await request.text()} ${info.remoteAddress}`),
  });
  const response = await fetch(`http://127.0.0.1:${listener.port}/`, { method: "POST", body: "hi" });
  assert.equal(await response.text(), "hi 127.0.0.1");
  await listener.close();
});

test("listen: a handler that throws is a 500 with its message, without a stack", async () => {
  const listener = await listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => {
      throw new Error("broken");
    },
  });
  const response = await fetch(`http://127.0.0.1:${listener.port}/`);
  assert.equal(response.status, 500);
  assert.equal(await response.text(), "broken");
  await listener.close();
});

test("listen: a WebSocket carries text and bytes both ways and tells of its end", async () => {
  let ended: () => void;
  const closed = new Promise<void>((resolve) => ended = resolve);
  const listener = await listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (_request, info) =>
      info.upgrade({
        open: (socket) => socket.send("welcome"),
        message: (socket, data) =>
          socket.send(typeof data === "string" ? data.toUpperCase() : data.map((b) => b + 1)),
        close: () => ended(),
      }),
  });
  const ws = new WebSocket(`ws://127.0.0.1:${listener.port}/v1/device`);
  const got: unknown[] = [];
  const third = new Promise<void>((resolve) => {
    ws.on("message", (data: Buffer, binary: boolean) => {
      got.push(binary ? [...data] : data.toString());
      if (got.length === 3) resolve();
    });
  });
  await new Promise((resolve) => ws.on("open", resolve));
  ws.send("abc");
  ws.send(new Uint8Array([1, 2]));
  await third;
  assert.deepEqual(got, ["welcome", "ABC", [2, 3]]);
  ws.close();
  await closed;
  await listener.close();
});

test("listen: a port in use rejects and names the cause", async () => {
  const options = { hostname: "127.0.0.1", port: 0, fetch: () => new Response("") };
  const first = await listen(options);
  await assert.rejects(
    Promise.resolve().then(() => listen({ ...options, port: first.port })),
    (error: Error) => /in use|EADDRINUSE/i.test(`${error.message} ${(error as { code?: string }).code}`),
  );
  await first.close();
});

test("listen: a request's signal fires when the caller goes away, not after a success", async () => {
  const fired: string[] = [];
  let gone: () => void;
  const goneAway = new Promise<void>((resolve) => gone = resolve);
  const listener = await listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => {
      const path = new URL(request.url).pathname;
      request.signal.addEventListener("abort", () => {
        fired.push(path);
        gone();
      });
      return path === "/quick" ? new Response("done") : new Promise<Response>(() => undefined);
    },
  });
  const base = `http://127.0.0.1:${listener.port}`;
  assert.equal(await (await fetch(`${base}/quick`)).text(), "done");
  const stop = new AbortController();
  const hanging = fetch(`${base}/hanging`, { signal: stop.signal });
  setTimeout(() => stop.abort(), 100);
  await assert.rejects(hanging);
  await goneAway;
  assert.deepEqual(fired, ["/hanging"]);
  await listener.close();
});

test("listen: a caller of HTTP/1.0 that names no host is answered", async () => {
  const listener = await listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request) => new Response(new URL(request.url).pathname),
  });
  const answer = await new Promise<string>((done, fail) => {
    let text = "";
    const socket = connect(listener.port, "127.0.0.1", () => socket.write("GET /v1/x?y=1 HTTP/1.0\r\n\r\n"));
    socket.on("data", (part) => text += part).on("end", () => done(text)).on("error", fail);
  });
  assert.match(answer, /^HTTP\/1\.[01] 200 OK\r\n[^]*\r\n\r\n\/v1\/x$/);
  await listener.close();
});

test("listen: how large a body may be is for its handler to say", async () => {
  const piece = new Uint8Array(1024 * 1024);
  const pieces = 70;
  let received = 0;
  const listener = await listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: async ({ body }) => {
      for await (const part of body!) received += part.length;
      return new Response("taken");
    },
  });
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const headers = { "content-length": pieces * piece.length };
    const upload = request({ host: "127.0.0.1", port: listener.port, method: "PUT", headers }, (answer) => {
      answer.resume().on("end", () => resolve(answer.statusCode));
    });
    upload.on("error", reject);
    for (let i = 0; i < pieces; i++) upload.write(piece);
    upload.end();
  });
  await listener.close();
  assert.deepEqual([status, received], [200, pieces * piece.length]);
});
