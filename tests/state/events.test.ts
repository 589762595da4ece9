import { test } from "node:test";
import assert from "node:assert/strict";
import {
  EventBuffer,
  type EventRequest,
  type EventSubscription,
  SlowReaderError,
} from "../../server/events.ts";
import {
  Bench,
  makeDeployment,
  makeEval,
  makeJob,
  makeNode,
  makePlacement,
  makePlan,
  makeUpdate,
  uuid,
} from "./fixtures.ts";

const EVERYTHING: EventRequest = { index: 0, topics: new Map(), namespace: "*" };

function rig(
  size = 100,
  views?: ConstructorParameters<typeof EventBuffer>[1],
): { b: Bench; buffer: EventBuffer } {
  const buffer = new EventBuffer(size, views);
  const b = new Bench();
  b.state.onChanges(buffer.add);
  return { b, buffer };
}

/** What is there to read without waiting: "index: topic type key". */
async function drain(subscription: EventSubscription): Promise<string[]> {
  const lines: string[] = [];
  const nothing = Symbol();
  while (true) {
    const batch = await Promise.race([subscription.next(), Promise.resolve(nothing)]);
    if (batch === nothing || batch === null || typeof batch === "symbol") return lines;
    for (const event of batch.events) lines.push(`${batch.index}: ${event.topic} ${event.type} ${event.key}`);
  }
}

test("EventBuffer tells a job's life in Nomad's events", async () => {
  const { b, buffer } = rig();
  const deployment = makeDeployment(0, "web");
  const alloc = uuid(0x500000);
  b.node(makeNode(0));
  b.register(makeJob("web"), [makeEval(0, "web")]);
  b.plan(makePlan("web", {
    deployment,
    placements: [makePlacement(0, { deploymentId: deployment.ID })],
    evals: [makeEval(0, "web", { Status: "complete" })],
  }));
  b.report(makeUpdate(alloc, "running"));
  b.must({
    kind: "job.deregister",
    time: b.time,
    namespace: "default",
    id: "web",
    purge: true,
    noShutdownDelay: false,
    evals: [makeEval(1, "web")],
  });
  assert.deepEqual(await drain(buffer.subscribe(EVERYTHING)), [
    `1: Node NodeRegistration ${uuid(0x1000)}`,
    "2: Job JobRegistered web",
    `2: Evaluation JobRegistered ${uuid(0x30000)}`,
    `3: Evaluation PlanResult ${uuid(0x30000)}`,
    `3: Deployment PlanResult ${deployment.ID}`,
    `3: Allocation PlanResult ${alloc}`,
    "3: Job PlanResult web",
    `4: Allocation AllocationUpdated ${alloc}`,
    `4: Node AllocationUpdated ${uuid(0x1000)}`,
    "5: Job JobDeregistered web",
    `5: Evaluation JobDeregistered ${uuid(0x30001)}`,
  ]);
});

test("EventBuffer's events carry keys to filter by and their payload as text", async () => {
  const { b, buffer } = rig();
  b.node(makeNode(0));
  b.register(makeJob("web"), [makeEval(0, "web")]);
  const subscription = buffer.subscribe({ ...EVERYTHING, topics: new Map([["Evaluation", ["web"]]]) });
  const batch = (await subscription.next())!;
  const event = JSON.parse(batch.events[0]!.text) as Record<string, unknown>;
  assert.deepEqual(Object.keys(event).sort(), [
    "FilterKeys",
    "Index",
    "Key",
    "Namespace",
    "Payload",
    "Topic",
    "Type",
  ]);
  assert.deepEqual(event["FilterKeys"], ["web", ""]);
  assert.equal((event["Payload"] as { Evaluation: { JobID: string } }).Evaluation.JobID, "web");
});

test("EventBuffer shows no node's secret and makes no payload that nobody reads", async () => {
  let made = 0;
  const plain = <T extends object>(record: T) => {
    made++;
    return record;
  };
  const { b, buffer } = rig(100, {
    job: plain,
    evaluation: plain,
    deployment: plain,
    allocation: plain,
    node: plain,
  });
  for (let i = 0; i < 10; i++) b.node(makeNode(i));
  const first = (await buffer.subscribe(EVERYTHING).next())!;
  assert.equal(made, 0);
  const text = first.events[0]!.text;
  assert.equal(made, 1);
  assert.equal((await buffer.subscribe(EVERYTHING).next())!.events[0]!.text, text);
  assert.equal(made, 1, "all readers share one text");
  const own = rig();
  own.b.node(makeNode(0));
  assert.ok(!(await own.buffer.subscribe(EVERYTHING).next())!.events[0]!.text.includes("SecretID"));
});

test("EventBuffer filters by topic, key and namespace", async () => {
  const { b, buffer } = rig();
  const space = [...b.state.namespaces()][0]!;
  b.must({ kind: "namespace.upsert", time: b.time, namespaces: [{ ...space, Name: "prod" }] });
  b.node(makeNode(0));
  b.register(makeJob("a"));
  b.register(makeJob("b", { Namespace: "prod" }));
  const read = (topics: [string, string[]][], namespace = "*") =>
    drain(buffer.subscribe({ index: 0, topics: new Map(topics), namespace }));
  assert.deepEqual(await read([["Job", ["b"]]]), ["4: Job JobRegistered b"]);
  assert.deepEqual(await read([["Job", ["*"]]], "prod"), ["4: Job JobRegistered b"]);
  assert.deepEqual(await read([["*", ["a"]]]), ["3: Job JobRegistered a"]);
  assert.deepEqual(await read([["Nope", ["*"]]]), []);
  assert.deepEqual(await read([["Node", ["*"]]], "prod"), [`2: Node NodeRegistration ${uuid(0x1000)}`]);
});

test("EventBuffer begins at an index, or with the oldest it keeps", async () => {
  const { b, buffer } = rig(3);
  for (const id of ["a", "b", "c", "d", "e"]) b.register(makeJob(id));
  const from = (index: number) => drain(buffer.subscribe({ ...EVERYTHING, index }));
  assert.deepEqual(await from(0), [
    "3: Job JobRegistered c",
    "4: Job JobRegistered d",
    "5: Job JobRegistered e",
  ]);
  assert.deepEqual(await from(1), await from(0));
  assert.deepEqual(await from(5), ["5: Job JobRegistered e"]);
  const late = buffer.subscribe({ ...EVERYTHING, index: 9 });
  const next = late.next();
  b.register(makeJob("f"));
  assert.equal((await next)!.index, 6, "what comes after is told, even below a future index");
});

test("EventBuffer drops a reader that falls too far behind, and nobody else", async () => {
  const { b, buffer } = rig(10);
  const slow = buffer.subscribe(EVERYTHING);
  for (let i = 0; i < 9000; i++) b.register(makeJob("web", { Priority: 1 + i % 2 }));
  assert.equal(buffer.readers, 0);
  await assert.rejects(() => slow.next(), SlowReaderError);
  assert.equal((await drain(buffer.subscribe(EVERYTHING))).length, 10);
});

test("EventSubscription ends its iteration when it is closed or the state is replaced", async () => {
  const { b, buffer } = rig();
  b.register(makeJob("a"));
  const subscription = buffer.subscribe(EVERYTHING);
  const seen: number[] = [];
  const done = (async () => {
    for await (const batch of subscription) seen.push(batch.index);
  })();
  await Promise.resolve();
  b.register(makeJob("b"));
  await new Promise((resolve) => setTimeout(resolve, 5));
  subscription.close();
  await done;
  assert.deepEqual(seen, [1, 2]);
  const other = buffer.subscribe({ ...EVERYTHING, index: 100 });
  const next = other.next();
  buffer.reset();
  await assert.rejects(() => next, SlowReaderError);
  assert.equal(buffer.readers, 0);
});
