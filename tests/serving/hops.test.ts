// The connection between two servers alone: what is known of a request's fate when it breaks, silence, bounds in time.
import assert from "node:assert/strict";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import { test } from "node:test";
import type { Dial, SocketEvents } from "../../core/dial.ts";
import { dialer } from "../../core/dial.ts";
import { type Clock, systemClock } from "../../core/env.ts";
import { silentLogger } from "../../core/logger.ts";
import { SERVER_PATH } from "../../core/protocol.ts";
import { listen } from "../../core/runtime.ts";
import { HopError, Hops } from "../../server/hops.ts";
import { until } from "./servers.ts";

type Serve = (request: Request) => Response | Promise<Response>;

function hops(
  serve: Serve = () => new Response("nobody asks"),
  clock: Clock = systemClock,
  dial?: Dial,
): Hops {
  return new Hops({
    dial: () => dial ? Promise.resolve(dial) : dialer({ path: SERVER_PATH, handshakeTimeoutMs: 2000 }),
    clock,
    logger: silentLogger,
    serve,
  });
}

async function peers<T>(
  serve: Serve,
  use: (ours: Hops, address: string, theirs: Hops) => Promise<T>,
): Promise<T> {
  const theirs = hops(serve);
  const ours = hops();
  const listener = await listen({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (_request, info) => theirs.accept(info),
  });
  try {
    return await use(ours, `127.0.0.1:${listener.port}`, theirs);
  } finally {
    ours.close();
    theirs.close();
    await listener.close();
  }
}

const get = (path = "/v1/jobs", init: RequestInit = {}) => new Request(`http://api${path}`, init);
const fate = (executed: "no" | "maybe") => (error: unknown) =>
  error instanceof HopError && error.executed === executed;

test("requests share one connection, and stream both ways side by side", () =>
  peers(async (request) => {
    const path = new URL(request.url).pathname;
    return new Response(request.body ? `${path} ${await request.text()}` : path, { status: 201 });
  }, async (ours, address) => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const body = "x".repeat(i * 100);
        const response = await ours.fetch(address, get(`/${i}`, { method: "PUT", body }));
        return response.status === 201 && await response.text() === `/${i} ${body}`;
      }),
    );
    assert.ok(answers.every(Boolean));
  }));

test("a server where nobody listens got nothing", async () => {
  const listener = await listen({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  await listener.close();
  const ours = hops();
  await assert.rejects(ours.fetch(`127.0.0.1:${listener.port}`, get()), fate("no"));
  ours.close();
});

test("a connection that breaks in the middle leaves it open what was done; the next request dials anew", () =>
  peers(
    (request) => request.method === "PUT" ? new Promise<never>(() => undefined) : new Response("again"),
    async (ours, address, theirs) => {
      const lost = ours.fetch(address, get("/v1/jobs", { method: "PUT", body: "{}" }));
      lost.catch((seenBelow) => void seenBelow);
      await (await ours.fetch(address, get())).text();
      theirs.close();
      await assert.rejects(lost, fate("maybe"));
      assert.equal(await (await ours.fetch(address, get())).text(), "again");
    },
  ));

test("a server that accepts connections and says nothing is given up", async () => {
  const sockets: Socket[] = [];
  const mute: NetServer = createServer((socket) => void sockets.push(socket));
  await new Promise<void>((ready) => mute.listen(0, "127.0.0.1", ready));
  const ours = hops();
  const address = `127.0.0.1:${(mute.address() as { port: number }).port}`;
  await assert.rejects(ours.fetch(address, get()), fate("no"));
  ours.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((closed) => mute.close(closed));
});

test("a connection that falls silent while somebody waits is ended", async () => {
  let now = 0;
  const timers: { at: number; run: () => void }[] = [];
  const clock: Clock = {
    nowMs: () => now,
    monotonicMs: () => now,
    after: (delayMs, run) => {
      const timer = { at: now + delayMs, run };
      timers.push(timer);
      return () => void (timers.includes(timer) && timers.splice(timers.indexOf(timer), 1));
    },
  };
  const sent: Uint8Array[] = [];
  let events: SocketEvents | undefined;
  const ours = hops(undefined, clock, (_server, given) => {
    events = given;
    queueMicrotask(() => given.open());
    return { send: (data) => void sent.push(data as Uint8Array), close: () => undefined };
  });
  const waiting = ours.fetch("peer:1", get());
  waiting.catch((seenBelow) => void seenBelow);
  await until(() => sent.length > 0, "the request is on its way");
  for (const end = 14_000; now < end;) {
    now += 1000;
    for (const timer of timers.filter(({ at }) => at <= now)) {
      timers.splice(timers.indexOf(timer), 1);
      timer.run();
    }
  }
  assert.ok(events);
  await assert.rejects(waiting, (error: HopError) => fate("maybe")(error) && /silent/.test(error.message));
});

test("a caller who goes away ends his exchange at the other side, and no other", () =>
  peers((request) =>
    new Promise<Response>((answer) => {
      if (new URL(request.url).pathname === "/quick") return answer(new Response("quick"));
      request.signal.addEventListener("abort", () => {
        aborted++;
        answer(new Response("late"));
      });
    }), async (ours, address) => {
    const abort = new AbortController();
    const slow = ours.fetch(address, get("/slow", { signal: abort.signal }));
    slow.catch((seenBelow) => void seenBelow);
    assert.equal(await (await ours.fetch(address, get("/quick"))).text(), "quick");
    abort.abort();
    await assert.rejects(slow, HopError);
    await until(() => aborted === 1, "the other side heard of it");
    assert.equal(await (await ours.fetch(address, get("/quick"))).text(), "quick");
  }));
let aborted = 0;

test("a message that is cut off ends the connection, and nothing else", () =>
  peers(() => new Response("fine"), async (ours, address) => {
    const dial = await dialer({ path: SERVER_PATH, handshakeTimeoutMs: 2000 });
    const closed = await new Promise<string>((resolve) => {
      const socket = dial(address, {
        open: () => socket.send(new Uint8Array([0, 0, 1, 0, 7])),
        text: () => undefined,
        bytes: () => undefined,
        close: resolve,
      });
    });
    assert.match(closed, /refused/);
    assert.equal(await (await ours.fetch(address, get())).text(), "fine");
  }));
