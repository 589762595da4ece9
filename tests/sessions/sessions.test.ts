// The servers' end of a device's connection, on the real state with a pretended socket: who is let in, what a device is
// told, what its reports become, and what is refused.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Dial, SocketEvents } from "../../core/dial.ts";
import { NotLeaderError } from "../../core/errors.ts";
import { silentLogger } from "../../core/logger.ts";
import type { DeviceMessage } from "../../core/protocol.ts";
import type { RequestInfo, ServerSocket, SocketHandlers } from "../../core/runtime.ts";
import type { Node } from "../../core/types.ts";
import type { Command } from "../../server/commands.ts";
import { failureEvaluations } from "../../server/reports.ts";
import { Sessions } from "../../server/sessions.ts";
import { ManualClock, settle } from "../scheduler/cluster.ts";
import { SeededRandom } from "../scheduler/fixtures.ts";
import {
  Bench,
  makeGroup,
  makeJob,
  makeNode,
  makePlacement,
  makePlan,
  makeUpdate,
  uuid,
} from "../state/fixtures.ts";

// deno-lint-ignore no-explicit-any -- messages are looked at field by field
type Message = any;

/** A device's socket as the server sees it. */
class FakeSocket implements ServerSocket {
  sent: Message[] = [];
  closed: { code: number; reason: string } | undefined;
  bufferedBytes = 0;
  handlers!: SocketHandlers;

  send(data: string | Uint8Array): void {
    if (typeof data === "string") this.sent.push(JSON.parse(data));
  }

  close(code: number, reason: string): void {
    if (this.closed) return;
    this.closed = { code, reason };
    this.handlers.close(this);
  }

  say(message: DeviceMessage | string): void {
    this.handlers.message(this, typeof message === "string" ? message : JSON.stringify(message));
  }

  last(kind: string): Message {
    return this.sent.findLast((message) => message.t === kind);
  }
}

/** What a relay dials: the test plays the leader. */
class LeaderLine {
  dialled: string[] = [];
  sent: Message[] = [];
  closed = "";
  events!: SocketEvents;

  readonly dial: Dial = (server, events) => {
    this.dialled.push(server);
    this.events = events;
    return {
      send: (data) => void this.sent.push(typeof data === "string" ? JSON.parse(data) : data),
      close: (reason) => void (this.closed ||= reason),
    };
  };
}

function stage() {
  const bench = new Bench();
  const clock = new ManualClock();
  const proposed: Command[] = [];
  const status = {
    leading: true,
    leader: "10.0.0.9:4647",
    servers: ["10.0.0.1:4647"],
    failing: undefined as Error | undefined,
    /** Commands are written, and those who proposed them hear of it with `proposals`. */
    held: false,
  };
  const proposals: (() => void)[] = [];
  /** Those who wait for an election. */
  const waiting: (() => void)[] = [];
  /** Where a relay dials the leader. */
  const line = new LeaderLine();
  const sessions = new Sessions({
    state: bench.state,
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    propose: (command) => {
      if (status.failing) return Promise.reject(status.failing);
      proposed.push(command);
      bench.must(command);
      return status.held ? new Promise<void>((go) => proposals.push(go)) : Promise.resolve();
    },
    isLeader: () => status.leading,
    leaderAddress: () => status.leader,
    servers: () => status.servers,
    leaderChange: () => new Promise<void>((wake) => waiting.push(wake)),
    dial: () => Promise.resolve(line.dial),
    beat: () => 12_000,
    serveApi: () => new Response("api"),
  });
  bench.state.onChanges((changes) => sessions.onChanges(changes));
  const connect = (): FakeSocket => {
    const socket = new FakeSocket();
    const info: RequestInfo = {
      remoteAddress: "",
      upgrade(handlers) {
        socket.handlers = handlers;
        return new Response(null);
      },
    };
    sessions.accept(info);
    socket.handlers.open(socket);
    return socket;
  };
  const hello = async (node: Node, allocs: Record<string, number> = {}): Promise<FakeSocket> => {
    const socket = connect();
    socket.say({ t: "hello", version: 1, node, allocs });
    await settle();
    return socket;
  };
  return { bench, clock, sessions, proposed, proposals, status, connect, hello, waiting, line };
}

const device = (fields: Partial<Node> = {}) =>
  makeNode(0, { SecretID: uuid(0x99), Status: "initializing", ...fields });
const ID = device().ID;

test("hello: the node is registered ready, welcomed, and told that it has nothing to run", async () => {
  const { bench, hello, proposed, sessions } = stage();
  const socket = await hello(device());
  assert.equal(bench.state.node(ID)?.Status, "ready");
  assert.deepEqual(proposed.map((command) => command.kind), ["node.register"]);
  assert.equal(socket.last("welcome").heartbeatTtlMs, 12_000);
  assert.deepEqual(socket.last("allocs").upserts, []);
  assert.ok(sessions.connected(ID));
});

test("hello: the same registration again writes nothing; a newer connection ends the older", async () => {
  const { hello, proposed } = stage();
  const first = await hello(device());
  await hello(device());
  assert.equal(proposed.length, 1);
  assert.match(first.closed!.reason, /another connection/);
});

test("hello: a device that goes while it is registered is not connected, and ends no newer connection", async () => {
  const { hello, connect, sessions, proposals, status } = stage();
  const early = connect();
  early.say({ t: "hello", version: 1, node: device(), allocs: {} });
  early.close(1001, "gone");
  await settle();
  assert.equal(sessions.connected(ID), false);
  status.held = true;
  const late = connect();
  late.say({ t: "hello", version: 1, node: device(), allocs: {} });
  await settle();
  late.close(1001, "gone");
  status.held = false;
  const newer = await hello(device());
  for (const go of proposals.splice(0)) go();
  await settle();
  assert.equal(newer.closed, undefined);
  assert.ok(sessions.connected(ID));
  newer.close(1001, "gone");
  assert.equal(sessions.connected(ID), false);
});

test("hello: it is said once in a connection", async () => {
  const { hello, sessions } = stage();
  const socket = await hello(device());
  socket.say({ t: "hello", version: 1, node: device({ ID: uuid(0x77) }), allocs: {} });
  await settle();
  assert.match(socket.last("refused").reason, /hello once/);
  assert.deepEqual([sessions.connected(ID), sessions.connected(uuid(0x77))], [false, false]);
});

test("hello: another secret for a known node is refused for good, the first session stays", async () => {
  const { hello, sessions } = stage();
  const first = await hello(device());
  const thief = await hello(device({ SecretID: uuid(0x666) }));
  assert.match(thief.last("refused").reason, /another secret/);
  assert.equal(thief.last("refused").fatal, true);
  assert.ok(thief.closed);
  assert.equal(first.closed, undefined);
  assert.ok(sessions.connected(ID));
});

test("hello: during an election the device waits for its end, and is sent to who leads then", async () => {
  const { status, hello, waiting } = stage();
  status.leading = false;
  status.leader = "";
  const socket = await hello(device());
  assert.deepEqual([socket.sent, socket.closed], [[], undefined]);
  status.leader = "10.0.0.2:4647";
  for (const wake of waiting.splice(0)) wake();
  await settle();
  assert.deepEqual(socket.last("redirect"), { t: "redirect", leader: "10.0.0.2:4647" });
  assert.equal(socket.closed?.code, 1013);
});

test("hello: devices that wait for an election hold up nobody", async () => {
  const { status, hello, waiting, sessions } = stage();
  status.leading = false;
  status.leader = "";
  const early = await Promise.all([1, 2, 3].map((n) => hello(device({ ID: uuid(n), SecretID: uuid(n) }))));
  assert.deepEqual(early.map(({ sent }) => sent), [[], [], []]);
  // One that comes when this server leads already is taken at once, though the others have not been woken yet.
  status.leading = true;
  await hello(device());
  assert.ok(sessions.connected(ID));
  for (const wake of waiting.splice(0)) wake();
  await settle();
  assert.equal(sessions.count, 4);
});

test("hello: an election that this server wins makes it take the device", async () => {
  const { status, hello, waiting, sessions } = stage();
  status.leading = false;
  status.leader = "";
  const socket = await hello(device());
  status.leading = true;
  for (const wake of waiting.splice(0)) wake();
  await settle();
  assert.ok(socket.last("welcome"));
  assert.ok(sessions.connected(ID));
});

test("hello: a device that cannot dial the leader is passed on, both ways, until one side ends", async () => {
  const { status, connect, line, proposed, sessions } = stage();
  status.leading = false;
  const socket = connect();
  socket.say({ t: "hello", version: 1, node: device(), allocs: {}, relay: true });
  await settle();
  assert.deepEqual(line.dialled, ["10.0.0.9:4647"]);
  socket.say({ t: "heartbeat" });
  assert.equal(line.sent.length, 0, "nothing is said before the leader's side is open");
  line.events.open();
  assert.deepEqual(line.sent.map((message) => message.t), ["hello", "heartbeat"]);
  assert.equal("relay" in line.sent[0], false, "the leader is not asked to pass it on");
  line.events.text(JSON.stringify({ t: "welcome", heartbeatTtlMs: 1, nodeStatus: "ready", servers: [] }));
  assert.equal(socket.last("welcome").heartbeatTtlMs, 1);
  assert.deepEqual([proposed, sessions.connected(ID)], [[], false], "this server keeps nothing of it");
  line.events.close("killed");
  assert.match(socket.closed!.reason, /leader's side ended: killed/);
  line.closed = "";
  const other = connect();
  other.say({ t: "hello", version: 1, node: device(), allocs: {}, relay: true });
  await settle();
  other.close(1001, "gone");
  assert.match(line.closed, /connection was lost/);
});

test("a device that was here before the election is waited for, another is not", async () => {
  const { hello, sessions, clock, bench } = stage();
  const socket = await hello(device());
  socket.close(1001, "restarted");
  assert.equal(await sessions.expected(ID), false, "nothing says that it comes back");
  sessions.expectAll();
  const found = sessions.expected(ID);
  assert.equal(await sessions.expected(uuid(0x77)), false, "nobody knows it");
  await hello(device());
  await clock.advance(25);
  assert.equal(await found, true);
  sessions.closeAll("over");
  const lost = sessions.expected(ID);
  await clock.advance(6000);
  assert.equal(await lost, false);
  assert.equal(bench.state.node(ID)?.Status, "ready");
});

test("heartbeats name the servers when they are others than before", async () => {
  const { status, hello } = stage();
  const socket = await hello(device());
  const beat = async () => {
    socket.say({ t: "heartbeat" });
    await settle();
    return socket.last("heartbeatAck").servers;
  };
  assert.equal(await beat(), undefined);
  status.servers = ["10.0.0.1:4647", "10.0.0.2:4647"];
  assert.deepEqual(await beat(), status.servers);
  assert.equal(await beat(), undefined);
});

test("hello: fields that belong to the servers are not taken from a device", async () => {
  const { bench, hello } = stage();
  await hello(device());
  bench.must({
    kind: "node.eligibility",
    time: bench.time,
    id: ID,
    eligibility: "ineligible",
    event: null,
    evals: [],
  });
  await hello(device({ SchedulingEligibility: "eligible", Meta: { rack: "new" } }));
  const node = bench.state.node(ID)!;
  assert.equal(node.SchedulingEligibility, "ineligible");
  assert.equal(node.Meta["rack"], "new");
});

test("hello: a server that does not lead names the leader and closes", async () => {
  const { hello, status, proposed } = stage();
  status.leading = false;
  const socket = await hello(device());
  assert.equal(socket.last("redirect").leader, "10.0.0.9:4647");
  assert.ok(socket.closed);
  assert.deepEqual(proposed, []);
});

test("hello: a passing error of the server is not fatal for the device", async () => {
  const { hello, status } = stage();
  status.failing = new NotLeaderError("");
  const socket = await hello(device());
  assert.equal(socket.last("refused").fatal, false);
});

test("messages of a wrong shape close the connection and change nothing", async () => {
  for (
    const bad of [
      "{",
      "null",
      "5",
      '{"t":"hello"}',
      '{"t":"hello","version":1,"node":{"ID":"x"},"allocs":{}}',
      '{"t":"updates"}',
    ]
  ) {
    const { connect, proposed } = stage();
    const socket = connect();
    socket.say(bad);
    await settle();
    assert.ok(socket.closed, bad);
    assert.ok(socket.last("refused").reason, bad);
    assert.deepEqual(proposed, []);
  }
});

test("a plan reaches each device once: job and shared resources stand once in its message", async () => {
  const { bench, hello } = stage();
  const socket = await hello(device());
  bench.register(makeJob("web"));
  const placements = [0, 1, 2].map((n) => makePlacement(n, { nodeId: ID }));
  bench.plan(makePlan("web", { placements }));
  await settle();
  const delta = socket.last("allocs");
  assert.equal(delta.upserts.length, 3);
  assert.equal(Object.keys(delta.jobs).length, 1);
  assert.equal(delta.resources.length, 1);
  assert.deepEqual(delta.upserts.map((alloc: Message) => alloc.resources), [0, 0, 0]);
  assert.equal(delta.jobs[delta.upserts[0].job].ID, "web");
  assert.equal("DesiredTransition" in delta.upserts[0], false);
});

test("a device that comes back hears only what it does not know, and what is gone", async () => {
  const { bench, hello } = stage();
  await hello(device());
  bench.register(makeJob("web"));
  bench.plan(makePlan("web", { placements: [0, 1].map((n) => makePlacement(n, { nodeId: ID })) }));
  const [known, news] = bench.state.allocsByNode(ID);
  const socket = await hello(device(), { [known!.ID]: known!.AllocModifyIndex, [uuid(0xdead)]: 3 });
  const delta = socket.last("allocs");
  assert.deepEqual(delta.upserts.map((alloc: Message) => alloc.ID), [news!.ID]);
  assert.deepEqual(delta.removed, [uuid(0xdead)]);
});

test("reports are written in one entry and acknowledged after it", async () => {
  const { bench, clock, hello, proposed } = stage();
  const socket = await hello(device());
  bench.register(makeJob("web"));
  bench.plan(makePlan("web", { placements: [0, 1].map((n) => makePlacement(n, { nodeId: ID })) }));
  const ids = [...bench.state.allocsByNode(ID)].map((alloc) => alloc.ID);
  socket.say({ t: "updates", seq: 1, updates: [makeUpdate(ids[0]!, "running")] });
  socket.say({ t: "updates", seq: 2, updates: [makeUpdate(ids[1]!, "running")] });
  await settle();
  assert.equal(socket.last("ack"), undefined, "not before it is durable");
  await clock.advance(1);
  assert.deepEqual(socket.sent.filter((message) => message.t === "ack").map((ack) => ack.seq), [1, 2]);
  assert.equal(proposed.filter((command) => command.kind === "alloc.client").length, 1);
  assert.ok([...bench.state.allocsByNode(ID)].every((alloc) => alloc.ClientStatus === "running"));
});

test("reports on another device's allocations are left out", async () => {
  const { bench, clock, hello, proposed } = stage();
  const socket = await hello(device());
  bench.node(makeNode(1));
  bench.register(makeJob("web"));
  bench.plan(makePlan("web", { placements: [makePlacement(0, { nodeId: makeNode(1).ID })] }));
  const [other] = bench.state.allocsByNode(makeNode(1).ID);
  socket.say({ t: "updates", seq: 1, updates: [makeUpdate(other!.ID, "failed")] });
  await clock.advance(1);
  assert.equal(bench.state.alloc(other!.ID)!.ClientStatus, "pending");
  assert.equal(proposed.filter((command) => command.kind === "alloc.client").length, 0);
  assert.equal(socket.last("ack").seq, 1);
});

test("a report that cannot be written is tried again, and acknowledged once it is", async () => {
  const { bench, clock, hello, status } = stage();
  const socket = await hello(device());
  bench.register(makeJob("web"));
  bench.plan(makePlan("web", { placements: [makePlacement(0, { nodeId: ID })] }));
  const [alloc] = bench.state.allocsByNode(ID);
  status.failing = new Error("disk is full");
  socket.say({ t: "updates", seq: 5, updates: [makeUpdate(alloc!.ID, "running")] });
  await clock.advance(2000);
  assert.equal(socket.last("ack"), undefined);
  status.failing = undefined;
  await clock.advance(2000);
  assert.equal(socket.last("ack").seq, 5);
  assert.equal(bench.state.alloc(alloc!.ID)!.ClientStatus, "running");
});

test("a device that does not take its data is disconnected", async () => {
  const { bench, hello } = stage();
  const socket = await hello(device());
  socket.bufferedBytes = 64 * 1024 * 1024;
  bench.register(makeJob("web"));
  bench.plan(makePlan("web", { placements: [makePlacement(0, { nodeId: ID })] }));
  await settle();
  assert.match(socket.closed!.reason, /too far behind/);
});

test("failureEvaluations: one evaluation a job for new failures, none for what the servers stopped", () => {
  const bench = new Bench();
  const stamp = { random: new SeededRandom(2), nowNs: 1 };
  bench.node(makeNode(0));
  const policy = {
    Unlimited: true,
    Delay: 30e9,
    DelayFunction: "constant",
    MaxDelay: 0,
    Attempts: 0,
    Interval: 0,
  } as const;
  bench.register(makeJob("web", { TaskGroups: [makeGroup("g", { ReschedulePolicy: policy })] }));
  bench.plan(makePlan("web", { placements: [0, 1].map((n) => makePlacement(n, { nodeId: ID })) }));
  const ids = [...bench.state.allocsByNode(ID)].map((alloc) => alloc.ID);
  const evals = failureEvaluations(bench.state, ids.map((id) => makeUpdate(id, "failed")), stamp);
  assert.deepEqual(evals.map((each) => [each.JobID, each.TriggeredBy, each.Status]), [[
    "web",
    "alloc-failure",
    "pending",
  ]]);
  bench.report(...ids.map((id) => makeUpdate(id, "failed")));
  assert.deepEqual(failureEvaluations(bench.state, ids.map((id) => makeUpdate(id, "failed")), stamp), []);
  assert.deepEqual(failureEvaluations(bench.state, [makeUpdate(uuid(0xabc), "failed")], stamp), []);
});
