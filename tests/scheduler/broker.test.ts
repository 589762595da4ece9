// The broker's promises: priority, one of a job at a time, delays, giving up; and what blocked evaluations wait for.
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatTime } from "../../core/time.ts";
import type { Evaluation } from "../../core/types.ts";
import { BlockedEvals, type Room } from "../../server/blocked.ts";
import { Broker, DELIVERIES_MAX } from "../../server/broker.ts";
import { makeEval, T0 } from "../state/fixtures.ts";

const NOW = T0 / 1e6;

function fresh(evals: Evaluation[]): Broker {
  const broker = new Broker();
  for (const evaluation of evals) broker.enqueue(evaluation, NOW);
  return broker;
}

test("Broker: the highest priority first, then the oldest", () => {
  const broker = fresh([
    makeEval(1, "a", { Priority: 50, CreateIndex: 1 }),
    makeEval(2, "b", { Priority: 90, CreateIndex: 3 }),
    makeEval(3, "c", { Priority: 50, CreateIndex: 0 }),
    makeEval(4, "d", { Priority: 90, CreateIndex: 2 }),
  ]);
  const order = [broker.dequeue(), broker.dequeue(), broker.dequeue(), broker.dequeue()];
  assert.deepEqual(order.map((evaluation) => evaluation!.JobID), ["d", "b", "c", "a"]);
  assert.equal(broker.dequeue(), null);
});

test("Broker: one evaluation of a job at a time, the newest of those that waited, the others canceled", () => {
  const broker = fresh([1, 2, 3, 4].map((n) => makeEval(n, "a", { CreateIndex: n })));
  const first = broker.dequeue()!;
  assert.equal(first.CreateIndex, 1);
  assert.equal(broker.dequeue(), null);
  broker.ack(first.ID);
  assert.equal(broker.dequeue()!.CreateIndex, 4);
  assert.deepEqual(broker.takeCancelable().map((evaluation) => evaluation.CreateIndex), [2, 3]);
  assert.deepEqual(broker.takeCancelable(), []);
});

test("Broker: equal job ids of two namespaces do not wait for each other", () => {
  const broker = fresh([makeEval(1, "a"), makeEval(2, "a", { Namespace: "other" })]);
  assert.ok(broker.dequeue());
  assert.ok(broker.dequeue());
});

test("Broker: delayed evaluations come when they are due, not before", () => {
  const broker = fresh([
    makeEval(1, "a", { WaitUntil: formatTime(T0 + 5e9) }),
    makeEval(2, "b", { Wait: 3e9, CreateTime: T0 }),
  ]);
  assert.equal(broker.dequeue(), null);
  assert.equal(broker.nextDueMs, NOW + 3000);
  broker.admitDue(NOW + 3000);
  assert.equal(broker.dequeue()!.JobID, "b");
  assert.equal(broker.nextDueMs, NOW + 5000);
  broker.admitDue(NOW + 5000);
  assert.equal(broker.dequeue()!.JobID, "a");
});

test("Broker: an evaluation that fails comes back later and is given up in the end", () => {
  const broker = fresh([makeEval(1, "a")]);
  let now = NOW;
  for (let delivery = 1; delivery <= DELIVERIES_MAX; delivery++) {
    const evaluation = broker.dequeue();
    assert.ok(evaluation, `delivery ${delivery}`);
    broker.nack(evaluation.ID, now);
    assert.equal(broker.dequeue(), null);
    now = broker.nextDueMs ?? now;
    broker.admitDue(now);
  }
  assert.deepEqual(broker.takeFailed().map((evaluation) => evaluation.JobID), ["a"]);
  assert.equal(broker.nextDueMs, null);
});

test("Broker: what comes again while it is handed out runs once more", () => {
  const evaluation = makeEval(1, "a", { Status: "blocked" });
  const broker = fresh([evaluation]);
  broker.dequeue();
  broker.enqueue(evaluation, NOW);
  assert.equal(broker.dequeue(), null);
  broker.ack(evaluation.ID);
  assert.equal(broker.dequeue()!.ID, evaluation.ID);
});

test("Broker: a removed evaluation is not handed out, the next of its job is", () => {
  const broker = fresh([makeEval(1, "a", { CreateIndex: 1 }), makeEval(2, "a", { CreateIndex: 2 })]);
  broker.remove(makeEval(1, "a").ID);
  assert.equal(broker.dequeue()!.CreateIndex, 2);
});

function blocked(
  n: number,
  job: string,
  classes: Record<string, boolean>,
  more: Partial<Evaluation> = {},
): Evaluation {
  return makeEval(n, job, { Status: "blocked", ClassEligibility: classes, SnapshotIndex: 10, ...more });
}

function room(classes: string[], index: number, more: Partial<Room> = {}): Room {
  return { classes: new Set(classes), index, changed: false, fits: () => true, ...more };
}

test("BlockedEvals: room wakes those whom its class suits, those who never saw it, and the escaped", () => {
  const waiting = new BlockedEvals();
  waiting.block(blocked(1, "suits", { x: true }));
  waiting.block(blocked(2, "not", { x: false }));
  waiting.block(blocked(3, "unseen", { y: false }));
  waiting.block(blocked(4, "escaped", { x: false }, { EscapedComputedClass: true }));
  const woken = waiting.unblock(room(["x"], 20)).map((evaluation) => evaluation.JobID);
  assert.deepEqual(woken.sort(), ["escaped", "suits", "unseen"]);
  assert.equal(waiting.size, 1);
});

test("BlockedEvals: a changed node wakes everybody", () => {
  const waiting = new BlockedEvals();
  waiting.block(blocked(1, "not", { x: false }));
  assert.equal(waiting.unblock(room(["x"], 20, { changed: true })).length, 1);
});

test("BlockedEvals: room that is too small wakes nobody", () => {
  const waiting = new BlockedEvals();
  waiting.block(blocked(1, "big", { x: true }));
  assert.equal(waiting.unblock(room(["x"], 20, { fits: () => false })).length, 0);
  assert.equal(waiting.size, 1);
});

test("BlockedEvals: room that appeared after an evaluation looked is not missed", () => {
  const waiting = new BlockedEvals();
  waiting.unblock(room(["x"], 20));
  assert.equal(waiting.block(blocked(1, "late", { x: true })).wake, true);
  assert.equal(waiting.block(blocked(2, "other", { x: false })).wake, false);
  assert.equal(waiting.block(blocked(3, "new", { x: true }, { SnapshotIndex: 20 })).wake, false);
});

test("BlockedEvals: one of a job, the older is a duplicate", () => {
  const waiting = new BlockedEvals();
  const older = blocked(1, "a", { x: true });
  waiting.block(older);
  assert.equal(waiting.block(blocked(2, "a", { x: true })).duplicate, older);
  assert.equal(waiting.size, 1);
});
