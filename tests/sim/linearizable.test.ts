// The linearizability checker against histories whose answer is known, and against brute force on small random ones.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom } from "../raft/core_cluster.ts";
import type { Ask } from "./contract.ts";
import { type Call, checkHistory, describeViolation, History, shrink } from "./linearizable.ts";
import { type Answer, type RegisterAsk, registerModel } from "./register_model.ts";

type RegisterCall = Call<RegisterAsk, Answer>;

const KEY = "job/default/a";
const write = (value: string): Ask => ({ kind: "write", key: KEY, value });
const cas = (index: number, value: string): Ask => ({ kind: "cas", key: KEY, index, value });
const remove: Ask = { kind: "delete", key: KEY };
const read: Ask = { kind: "read", key: KEY, consistency: "consistent" };
const ok = (value: string | null, index = 0): Answer => ({ kind: "ok", value, index });
const refused: Answer = { kind: "refused", status: 409, message: "conflict" };

/** `when` is "start-end", or "start-" for a call whose outcome nobody knows. */
function call(when: string, caller: string, ask: RegisterAsk, result: Answer | null = null): RegisterCall {
  const [start, end] = when.split("-");
  return {
    id: Number(start),
    caller,
    ask,
    result,
    start: Number(start),
    end: end ? Number(end) : Infinity,
  };
}

const verdictOf = (...calls: RegisterCall[]) => checkHistory(registerModel, calls).kind;

test("linearizable: one after the other", () => {
  assert.equal(verdictOf(), "ok");
  assert.equal(verdictOf(call("1-2", "a", read, ok(null))), "ok");
  assert.equal(verdictOf(call("1-2", "a", write("x"), ok("x", 5)), call("3-4", "b", read, ok("x"))), "ok");
  assert.equal(verdictOf(call("1-2", "a", write("x"), ok("x")), call("3-4", "b", remove, ok(null))), "ok");
});

test("linearizable: a read of what was overwritten, never written or already deleted is wrong", () => {
  const first = call("1-2", "a", write("x"), ok("x"));
  const second = call("3-4", "a", write("y"), ok("y"));
  assert.equal(verdictOf(first, second, call("5-6", "b", read, ok("x"))), "violation");
  assert.equal(verdictOf(first, call("5-6", "b", read, ok("z"))), "violation");
  assert.equal(verdictOf(first, call("5-6", "b", read, ok(null))), "violation");
  const gone = call("3-4", "a", remove, ok(null));
  assert.equal(verdictOf(first, gone, call("5-6", "b", read, ok("x"))), "violation");
});

test("linearizable: calls that overlap may take effect in either order, but in one order for all", () => {
  const w1 = call("1-10", "a", write("x"), ok("x"));
  const w2 = call("2-11", "b", write("y"), ok("y"));
  assert.equal(verdictOf(w1, w2, call("12-13", "c", read, ok("x"))), "ok");
  assert.equal(verdictOf(w1, w2, call("12-13", "c", read, ok("y"))), "ok");
  const split = [call("12-15", "c", read, ok("x")), call("13-16", "d", read, ok("y"))];
  assert.equal(verdictOf(w1, w2, ...split), "violation");
});

test("linearizable: a value seen once cannot vanish again (reads that do not agree with each other)", () => {
  const slow = call("1-20", "a", write("x"), ok("x"));
  const seen = call("2-3", "b", read, ok("x"));
  assert.equal(verdictOf(slow, seen, call("4-5", "c", read, ok("x"))), "ok");
  assert.equal(verdictOf(slow, seen, call("4-5", "c", read, ok(null))), "violation");
});

test("linearizable: a write of unknown outcome may take effect, late, or never, but not twice and not before its start", () => {
  const lost = call("3-", "a", write("x"));
  const old = call("1-2", "b", write("o"), ok("o"));
  assert.equal(verdictOf(old, lost, call("5-6", "b", read, ok("o"))), "ok");
  assert.equal(verdictOf(old, lost, call("5-6", "b", read, ok("x"))), "ok");
  const late = [call("5-6", "b", read, ok("o")), call("7-8", "b", read, ok("x"))];
  assert.equal(verdictOf(old, lost, ...late), "ok");
  const twice = [
    call("5-6", "b", read, ok("x")),
    call("7-8", "b", write("z"), ok("z")),
    call("9-10", "b", read, ok("x")),
  ];
  assert.equal(verdictOf(old, lost, ...twice), "violation");
  assert.equal(verdictOf(call("1-2", "b", read, ok("x")), lost), "violation");
});

test("linearizable: compare-and-set succeeds on the index it names only", () => {
  const first = call("1-2", "a", write("x"), ok("x", 5));
  assert.equal(verdictOf(first, call("3-4", "b", cas(5, "y"), ok("y", 6))), "ok");
  assert.equal(verdictOf(first, call("3-4", "b", cas(4, "y"), ok("y", 6))), "violation");
  assert.equal(verdictOf(first, call("3-4", "b", cas(0, "y"), ok("y", 6))), "violation");
  assert.equal(verdictOf(call("1-2", "b", cas(0, "y"), ok("y", 6))), "ok");
  const both = [call("3-8", "b", cas(5, "y"), ok("y", 6)), call("4-9", "c", cas(5, "z"), ok("z", 7))];
  assert.equal(verdictOf(first, ...both), "violation");
});

test("linearizable: a refused compare-and-set found something else", () => {
  const first = call("1-2", "a", write("x"), ok("x", 5));
  assert.equal(verdictOf(first, call("3-4", "b", cas(5, "y"), refused)), "violation");
  assert.equal(verdictOf(first, call("3-4", "b", cas(4, "y"), refused)), "ok");
  const meanwhile = call("3-10", "c", write("m"), ok("m", 6));
  assert.equal(verdictOf(first, meanwhile, call("4-5", "b", cas(5, "y"), refused)), "ok");
  const lost = call("3-", "c", write("m"));
  assert.equal(
    verdictOf(first, lost, call("4-5", "b", cas(5, "y"), refused)),
    "ok",
    "the lost one came first",
  );
});

test("linearizable: a compare-and-set knows by its value whether a write of unknown index is the one it means", () => {
  const lost = call("1-", "a", write("x"));
  const seen = call("2-3", "b", read, ok("x", 7));
  const other = call("4-", "a", write("y"));
  const mine: Ask & { expected: string } = { kind: "cas", key: KEY, index: 7, value: "z", expected: "x" };
  const after = call("7-8", "b", read, ok("y"));
  assert.equal(verdictOf(lost, seen, call("5-6", "b", mine, ok("z", 9))), "ok");
  assert.equal(verdictOf(lost, seen, other, call("5-6", "b", mine, ok("z", 9)), after), "ok", "y came last");
  const between = call("5-6", "c", read, ok("y"));
  assert.equal(verdictOf(lost, seen, other, between, call("7-8", "b", mine, ok("z", 9))), "violation");
  assert.equal(verdictOf(lost, seen, call("5-6", "b", mine, refused)), "violation");
});

test("linearizable: writes are ordered as their indexes say", () => {
  const overlapping = [call("1-10", "a", write("x"), ok("x", 8)), call("2-11", "b", write("y"), ok("y", 7))];
  assert.equal(verdictOf(...overlapping, call("12-13", "c", read, ok("x"))), "ok");
  assert.equal(verdictOf(...overlapping, call("12-13", "c", read, ok("y"))), "violation");
});

test("linearizable: many lost writes do not make it slow", () => {
  const calls: RegisterCall[] = [];
  for (let i = 0; i < 300; i++) {
    const at = i * 10;
    calls.push(call(`${at + 1}-`, `l${i}`, write(`lost ${i}`)));
    calls.push(call(`${at + 2}-${at + 3}`, "a", write(`${i}`), ok(`${i}`, i + 1)));
    calls.push(call(`${at + 4}-${at + 5}`, "b", read, ok(i % 3 === 0 ? `lost ${i}` : `${i}`)));
  }
  assert.equal(verdictOf(...calls), "ok");
  assert.equal(verdictOf(...calls, call("9000-9001", "b", read, ok("lost 0"))), "violation");
});

test("linearizable: more configurations than allowed is no verdict", () => {
  const calls = Array.from(
    { length: 8 },
    (_, i) => call(`${i + 1}-${i + 50}`, `c${i}`, write(`${i}`), ok(`${i}`)),
  );
  assert.equal(checkHistory(registerModel, calls, { configurationsMax: 20 }).kind, "limit");
  assert.equal(checkHistory(registerModel, calls).kind, "ok");
});

test("linearizable: a violation is told with the few calls that make it", () => {
  const calls: RegisterCall[] = [];
  for (let i = 0; i < 40; i++) {
    const at = i * 10;
    calls.push(call(`${at + 1}-${at + 3}`, "a", write(`v${i}`), ok(`v${i}`, i + 1)));
    calls.push(call(`${at + 4}-${at + 5}`, "b", read, ok(`v${i}`)));
    calls.push(call(`${at + 6}-`, "c", write(`lost${i}`)));
  }
  calls.push(call("500-501", "d", read, ok("v38")));
  const small = shrink(registerModel, calls);
  assert.ok(small.length <= 3, describeViolation(registerModel, small));
  const text = describeViolation(registerModel, small);
  assert.match(text, /write "v39" → "v39" at 40/);
  assert.match(text, /No order explains the answer at 501: read \(consistent\) → "v38"/);
});

test("linearizable: the same verdict as brute force on 4,000 small random histories", () => {
  const random = new SeededRandom(5);
  const counts = { ok: 0, violation: 0, limit: 0 };
  for (let round = 0; round < 4000; round++) {
    const calls = randomHistory(random);
    const { kind } = checkHistory(registerModel, calls);
    counts[kind]++;
    const expected = bruteForce(calls) ? "ok" : "violation";
    assert.equal(kind, expected, `round ${round}:\n${describeViolation(registerModel, calls)}`);
    if (kind === "violation") {
      const small = shrink(registerModel, calls);
      assert.equal(
        bruteForce(small),
        false,
        `shrinking made something else of round ${round}:\n${describeViolation(registerModel, small)}`,
      );
    }
  }
  assert.ok(counts.ok > 500 && counts.violation > 500, JSON.stringify(counts));
});

test("linearizable: reading call by call stops at the first wrong answer", () => {
  const history = new History(registerModel);
  const first = call("1-2", "a", write("x"), ok("x"));
  const wrong = call("3-4", "b", read, ok("y"));
  const later = call("5-6", "b", read, ok("x"));
  for (const each of [first, wrong, later]) {
    history.start(each);
    history.end(each);
  }
  assert.equal(history.verdict.kind === "violation" && history.verdict.call.id, wrong.id);
});

/** Up to six calls of three callers, partly answered by a real register and partly at random. */
function randomHistory(random: SeededRandom): RegisterCall[] {
  const calls: RegisterCall[] = [];
  const ends = [0, 0, 0];
  let register = registerModel.initial;
  const count = 2 + random.int(5);
  const used = new Set<number>();
  const moment = (from: number) => {
    let at = from + 1 + random.int(6);
    while (used.has(at)) at++;
    used.add(at);
    return at;
  };
  for (let id = 0; id < count; id++) {
    const who = random.int(3);
    const value = `${random.int(3)}`;
    const index = random.int(4);
    const ask = [write(value), cas(index, value), remove, read, read][random.int(5)]!;
    const start = moment(ends[who]!);
    const end = moment(start);
    ends[who] = end;
    let result: Answer | null = null;
    if (ask.kind === "read") result = ok(random.chance(0.7) ? register.value : value);
    else {
      const changed = registerModel.step(register, ask, null);
      const given = random.chance(0.5) ? register.highest + 1 + random.int(2) : 0;
      result = changed === null ? refused : ok(ask.kind === "delete" ? null : value, given);
      if (random.chance(0.1)) result = result.kind === "ok" ? refused : ok(value, given);
      if (ask.kind !== "cas" && result.kind === "refused") result = ok(value, given);
      const next = registerModel.step(register, ask, result);
      if (next !== null && random.chance(0.8)) register = next;
    }
    const lost = ask.kind !== "read" && random.chance(0.2);
    if (lost) ends[who] = start;
    calls.push({
      id,
      caller: `c${who}`,
      ask,
      result: lost ? null : result,
      start,
      end: lost ? Infinity : end,
    });
  }
  return calls;
}

/** Every order that respects real time, with every choice of the unknown calls. */
function bruteForce(calls: readonly RegisterCall[]): boolean {
  const tryFrom = (state: typeof registerModel.initial, left: readonly RegisterCall[]): boolean => {
    if (left.every((c) => c.result === null)) return true;
    const firstEnd = Math.min(...left.map((c) => c.end));
    for (const c of left) {
      if (c.start > firstEnd) continue;
      const next = registerModel.step(state, c.ask, c.result);
      if (next !== null && tryFrom(next, left.filter((other) => other !== c))) return true;
    }
    return false;
  };
  return tryFrom(registerModel.initial, calls);
}
