// The session against real sockets, and against a dialled line of the test where moments matter.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Session, type SessionOptions } from "../../client/session.ts";
import type { SocketEvents } from "../../client/session_socket.ts";
import { dialer } from "../../client/session_socket.ts";
import { type Clock, systemClock } from "../../core/env.ts";
import { silentLogger } from "../../core/logger.ts";
import type { AllocUpdate, DeviceMessage, ServerMessage } from "../../core/protocol.ts";
import type { Node } from "../../core/types.ts";
import { FakeServer } from "./fake_server.ts";

/** Time that the test moves. */
class TestClock implements Clock {
  #now = 0;
  #timers: { at: number; run: () => void }[] = [];

  nowMs(): number {
    return this.#now;
  }

  monotonicMs(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((t) => t !== timer);
    };
  }

  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await Promise.resolve();
      const next = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((t) => t !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
    await Promise.resolve();
  }
}

/** A line to servers that only the test moves. */
class Line {
  clock = new TestClock();
  dialled: string[] = [];
  sent: DeviceMessage[] = [];
  events: SocketEvents | undefined;
  states = new Map<string, AllocUpdate>();
  connections: boolean[] = [];
  told: string[][] = [];
  session: Session;

  constructor(servers: string[]) {
    const options: SessionOptions = {
      servers,
      clock: this.clock,
      random: { float: () => 0.5, int: () => 0, uuid: () => "" },
      logger: silentLogger,
      dial: (server, events) => {
        this.dialled.push(server);
        this.events = events;
        return {
          send: (data) => {
            if (typeof data === "string") this.sent.push(JSON.parse(data));
          },
          close: () => undefined,
        };
      },
      node: () => ({ ID: "n" }) as Node,
      known: () => ({}),
      update: (id) => this.states.get(id),
      onAllocs: () => undefined,
      onConnection: (connected) => this.connections.push(connected),
      onServers: (servers) => this.told.push(servers),
      onConfirmed: () => undefined,
      serve: () => new Response("served"),
    };
    this.session = new Session(options);
  }

  receive(message: ServerMessage): void {
    this.events!.text(JSON.stringify(message));
  }

  /** Opens the line and welcomes the device. */
  welcome(servers: string[] = []): void {
    this.events!.open();
    this.receive({ t: "welcome", heartbeatTtlMs: 10_000, nodeStatus: "ready", servers });
  }

  set(id: string, status: AllocUpdate["ClientStatus"]): void {
    this.states.set(id, {
      ID: id,
      ClientStatus: status,
      ClientDescription: "",
      TaskStates: null,
      DeploymentStatus: null,
      NetworkStatus: null,
    });
    this.session.changed(id);
  }

  /** Batches sent since the last look, as "id:status". */
  batches(): string[] {
    return this.sent.splice(0).flatMap((m) =>
      m.t === "updates" ? [`${m.seq} ${m.updates.map((u) => `${u.ID}:${u.ClientStatus}`).join(",")}`] : []
    );
  }
}

test("Session sends a changed status at once when idle and gathers what follows", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.welcome();
  await line.clock.advance(1000);
  line.sent.length = 0;
  line.set("x", "running");
  line.set("y", "running");
  await line.clock.advance(0);
  assert.deepEqual(line.batches(), ["1 x:running,y:running"]);
  line.set("x", "failed");
  line.set("y", "pending");
  line.set("y", "complete");
  await line.clock.advance(9);
  assert.deepEqual(line.batches(), []);
  await line.clock.advance(1);
  assert.deepEqual(line.batches(), ["2 x:failed,y:complete"]);
});

test("Session lets news that no server acts on wait a little", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.welcome();
  await line.clock.advance(1000);
  line.sent.length = 0;
  line.set("x", "pending");
  await line.clock.advance(100);
  assert.deepEqual(line.batches(), []);
  line.set("x", "running");
  await line.clock.advance(0);
  assert.deepEqual(line.batches(), ["1 x:running"]);
  line.set("x", "running");
  await line.clock.advance(199);
  assert.deepEqual(line.batches(), []);
  await line.clock.advance(1);
  assert.deepEqual(line.batches(), ["2 x:running"]);
});

test("Session sends again what was not acknowledged, in its latest state", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.welcome();
  line.set("x", "running");
  line.set("y", "running");
  await line.clock.advance(20);
  line.set("z", "running");
  await line.clock.advance(20);
  assert.deepEqual(line.batches(), ["1 x:running,y:running", "2 z:running"]);
  line.receive({ t: "ack", seq: 2 });
  line.events!.close("gone");
  line.set("x", "failed");
  await line.clock.advance(1000);
  line.welcome();
  await line.clock.advance(20);
  assert.deepEqual(line.batches(), ["3 x:failed,y:running"]);
  assert.deepEqual(line.connections, [true, false, true]);
});

test("Session keeps a bounded number of batches unacknowledged", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.welcome();
  for (let i = 0; i < 20; i++) {
    line.set(`a${i}`, "running");
    await line.clock.advance(20);
  }
  assert.equal(line.batches().length, 8);
  line.receive({ t: "ack", seq: 1 });
  await line.clock.advance(20);
  const [batch] = line.batches();
  assert.equal(batch!.split(",").length, 12);
});

test("Session tries every server in turn, then backs off with jitter", async () => {
  const line = new Line(["a:1", "b:1"]);
  line.session.start();
  const times: number[] = [];
  for (let i = 0; i < 8; i++) {
    times.push(line.clock.nowMs());
    line.events!.close("refused");
    const before = line.dialled.length;
    while (line.dialled.length === before) await line.clock.advance(50);
  }
  assert.deepEqual(line.dialled.slice(0, 4), ["a:1", "b:1", "a:1", "b:1"]);
  const gaps = times.slice(1).map((at, i) => at - times[i]!);
  assert.deepEqual(gaps, [150, 150, 300, 300, 600, 600, 1200]);
});

test("Session follows a redirect at once and does not spin between servers that redirect", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.events!.open();
  line.receive({ t: "redirect", leader: "b:1" });
  await line.clock.advance(0);
  assert.deepEqual(line.dialled, ["a:1", "b:1"]);
  for (let i = 0; i < 10; i++) {
    line.events!.open();
    line.receive({ t: "redirect", leader: "b:1" });
    await line.clock.advance(0);
  }
  assert.ok(line.dialled.length <= 5, `dialled ${line.dialled.length} times`);
});

test("Session asks for a relay where the leader cannot be dialled, and remembers that", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.events!.open();
  line.receive({ t: "redirect", leader: "b:1" });
  await line.clock.advance(0);
  await line.clock.advance(3000);
  assert.deepEqual(line.dialled, ["a:1", "b:1", "a:1"]);
  line.sent.length = 0;
  line.welcome();
  assert.equal((line.sent[0] as { relay?: boolean }).relay, true);
  assert.equal(line.session.connected, true);
  // Lost again: the leader is not tried a second time so soon.
  line.events!.close("lost");
  await line.clock.advance(100);
  line.events!.open();
  line.receive({ t: "redirect", leader: "b:1" });
  await line.clock.advance(0);
  assert.deepEqual(line.dialled.slice(3), ["a:1", "a:1"]);
  line.welcome();
  for (let ms = 0; ms < 300_000; ms += 5000) {
    await line.clock.advance(5000);
    line.receive({ t: "heartbeatAck", heartbeatTtlMs: 10_000 });
  }
  line.events!.close("lost");
  await line.clock.advance(100);
  line.events!.open();
  line.receive({ t: "redirect", leader: "b:1" });
  await line.clock.advance(0);
  assert.deepEqual(line.dialled.slice(5), ["a:1", "b:1"]);
});

test("Session tries the next server within 100 ms after a good connection is lost", async () => {
  const line = new Line(["a:1", "b:1"]);
  line.session.start();
  line.welcome();
  line.events!.close("the server was killed");
  await line.clock.advance(100);
  assert.deepEqual(line.dialled, ["a:1", "b:1"]);
});

test("Session hears of other servers with its heartbeats and has them remembered once", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.welcome(["a:1", "b:1"]);
  line.receive({ t: "heartbeatAck", heartbeatTtlMs: 10_000 });
  line.receive({ t: "heartbeatAck", heartbeatTtlMs: 10_000, servers: ["b:1", "c:1"] });
  line.receive({ t: "heartbeatAck", heartbeatTtlMs: 10_000, servers: ["b:1", "c:1"] });
  assert.deepEqual(line.session.servers, ["b:1", "c:1", "a:1"]);
  assert.deepEqual(line.told, [["a:1", "b:1"], ["b:1", "c:1"]]);
  await line.clock.advance(0);
});

test("Session waits for minutes when a server refuses its identity", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.events!.open();
  line.receive({ t: "refused", reason: "wrong secret", fatal: true });
  await line.clock.advance(299_000);
  assert.deepEqual(line.dialled, ["a:1"]);
  await line.clock.advance(2000);
  assert.deepEqual(line.dialled, ["a:1", "a:1"]);
});

test("Session says again what servers contradict", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.welcome();
  line.set("x", "running");
  await line.clock.advance(20);
  line.receive({ t: "ack", seq: 1 });
  assert.equal(line.session.isConfirmed("x"), true);
  assert.deepEqual(line.batches(), ["1 x:running"]);
  line.session.repeat("x");
  assert.equal(line.session.isConfirmed("x"), false);
  await line.clock.advance(20);
  assert.deepEqual(line.batches(), ["2 x:running"]);
});

test("Session beats within the TTL and leaves a silent server", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.welcome();
  await line.clock.advance(4000);
  assert.equal(line.sent.filter((m) => m.t === "heartbeat").length, 1);
  await line.clock.advance(30_000);
  assert.equal(line.connections.at(-1), false);
  assert.ok(line.dialled.length > 1);
});

test("Session gives up on a server that never welcomes it", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.events!.open();
  await line.clock.advance(11_000);
  assert.equal(line.dialled.length, 2);
});

test("Session learns the servers and keeps the configured ones", async () => {
  const line = new Line(["a:1"]);
  line.session.start();
  line.welcome(["b:1", "c:1"]);
  assert.deepEqual(line.session.servers, ["b:1", "c:1", "a:1"]);
  await line.clock.advance(0);
});

test("Session survives the death and return of a real server", async () => {
  const server = new FakeServer();
  await server.start();
  const { port } = server;
  const states = new Map<string, AllocUpdate>();
  const session = new Session({
    servers: [server.address],
    dial: await dialer({ handshakeTimeoutMs: 2000 }),
    clock: systemClock,
    random: { float: () => 0, int: () => 0, uuid: () => "" },
    logger: silentLogger,
    node: () => ({ ID: "n" }) as Node,
    known: () => ({ x: 7 }),
    update: (id) => states.get(id),
    onAllocs: () => undefined,
    onConnection: () => undefined,
    onConfirmed: () => undefined,
    serve: (request) => new Response(`you asked ${new URL(request.url).pathname}`),
  });
  session.start();
  await server.until(() => session.connected, "connect");
  assert.deepEqual(server.hellos[0]!.allocs, { x: 7 });
  await server.stop();
  const second = new FakeServer();
  await second.start(port);
  try {
    states.set("x", {
      ID: "x",
      ClientStatus: "complete",
      ClientDescription: "",
      TaskStates: null,
      DeploymentStatus: null,
      NetworkStatus: null,
    });
    session.changed("x");
    await second.status("x", "complete");
    const answer = await second.mux!.fetch(new Request("http://device/v1/client/stats"));
    assert.equal(await answer.text(), "you asked /v1/client/stats");
  } finally {
    session.stop();
    await second.stop();
  }
});
