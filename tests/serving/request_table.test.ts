// Requests with an id in the shared state: applied once, bounded, the same on every server whether it applied the log,
// read it back as JSON, or came from a snapshot in the middle.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Command } from "../../server/commands.ts";
import { State } from "../../server/state.ts";
import { type AnswerPlan, type RequestStamp, RequestTable } from "../../server/state_requests.ts";
import { makeEval, makeJob, T0 } from "../state/fixtures.ts";

const MINUTE_NS = 60e9;
const SAID: AnswerPlan = {
  body: { EvalID: "e1", EvalCreateIndex: 0, JobModifyIndex: 0, Warnings: "" },
  index: ["EvalCreateIndex"],
  value: { JobModifyIndex: ["job", "JobModifyIndex"] },
};

function stamp(key: string, more: Partial<RequestStamp> = {}): RequestStamp {
  return { key, digest: `digest of ${key}`, time: T0, answer: SAID, ...more };
}

function register(
  id: string,
  request?: RequestStamp,
  more: { priority?: number; enforceIndex?: number } = {},
) {
  const command: Command = {
    kind: "job.register",
    time: T0,
    job: makeJob(id, { Priority: more.priority ?? 50 }),
    submission: null,
    evals: [],
    ...(more.enforceIndex === undefined ? {} : { enforceIndex: more.enforceIndex }),
    ...(request ? { request } : {}),
  };
  return command;
}

test("a command whose request was applied before changes nothing and says what came of it", () => {
  const state = new State();
  state.apply(1, register("a", stamp("k")));
  state.apply(2, register("a", undefined, { priority: 60 }));
  const again = state.apply(3, register("a", stamp("k"), { priority: 50 }));
  assert.equal(state.job("default", "a")!.Priority, 60);
  assert.equal(state.index, 3);
  assert.deepEqual(again.repeated?.body, {
    EvalID: "e1",
    EvalCreateIndex: 1,
    JobModifyIndex: 1,
    Warnings: "",
  });
  assert.equal(again.repeated?.index, 1);
  assert.equal(again.value, undefined);
});

test("a refusal is remembered as one, and stays one when the reason is gone", () => {
  const state = new State();
  state.apply(1, register("a"));
  const refused = state.apply(2, register("a", stamp("k"), { enforceIndex: 0 }));
  assert.match(refused.refused!.message, /job already exists/);
  state.apply(3, {
    kind: "job.deregister",
    time: T0,
    namespace: "default",
    id: "a",
    purge: true,
    noShutdownDelay: false,
    evals: [],
  });
  const again = state.apply(4, register("a", stamp("k"), { enforceIndex: 0 }));
  assert.deepEqual(again.repeated?.refused, refused.refused);
  assert.equal(state.job("default", "a"), undefined);
});

test("rows leave by age, in the proposers' time, which never goes back", () => {
  const state = new State();
  state.apply(1, register("a", stamp("old")));
  state.apply(2, register("b", stamp("hop", { hop: true })));
  state.apply(3, register("c", stamp("later", { time: T0 + 2 * MINUTE_NS })));
  assert.ok(state.request("old"), "callers' ids are kept for an hour");
  assert.equal(state.request("hop"), undefined, "servers' ids for a minute");
  // A proposer whose clock is behind does not bring time back.
  state.apply(4, register("d", stamp("behind", { time: T0, hop: true })));
  state.apply(5, register("e", stamp("now", { time: T0 + 61 * MINUTE_NS })));
  assert.equal(state.request("old"), undefined);
  assert.equal(state.request("behind"), undefined);
  assert.ok(state.request("later"));
});

test("the table holds no more than its limits, and lets the oldest go", () => {
  const limits = { ageMaxNs: MINUTE_NS, rowsMax: 3, charsMax: 1000 };
  const table = new RequestTable({ callers: limits, hops: limits });
  const row = (key: string, size = 0) => ({
    key,
    digest: "",
    time: T0,
    index: 1,
    body: size === 0 ? null : { text: "x".repeat(size) },
  });
  for (const key of ["a", "b", "c", "d"]) table.add(row(key));
  assert.deepEqual(table.rows().map(({ key }) => key), ["b", "c", "d"]);
  table.add({ ...row("h"), hop: true });
  assert.equal(table.size, 4, "lanes do not push each other out");
  table.add(row("large", 800));
  assert.ok(table.get("large") && !table.get("b"));
  table.add(row("larger", 2000));
  assert.ok(table.get("larger"), "the newest one stays, however large");
  assert.equal(table.get("large"), undefined);
});

const step = fc.record({
  job: fc.constantFrom("a", "b"),
  priority: fc.integer({ min: 50, max: 52 }),
  key: fc.option(fc.constantFrom("k1", "k2", "k3", "k4", "k5")),
  hop: fc.boolean(),
  minutes: fc.integer({ min: -3, max: 40 }),
  enforceIndex: fc.option(fc.integer({ min: 0, max: 4 })),
});

test("every server has the same table: from the log, from its JSON, from a snapshot in the middle", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), fc.nat(), (steps, at) => {
      const proposer = new State();
      const follower = new State();
      let late = new State();
      let nowNs = T0;
      steps.forEach((s, i) => {
        nowNs += s.minutes * MINUTE_NS;
        const command = register(
          s.job,
          s.key === null ? undefined : stamp(s.key, { time: nowNs, ...(s.hop ? { hop: true } : {}) }),
          { priority: s.priority, ...(s.enforceIndex === null ? {} : { enforceIndex: s.enforceIndex }) },
        );
        const known = s.key === null ? undefined : proposer.request(s.key);
        const before = [...proposer.jobs()];
        const result = proposer.apply(i + 1, command);
        if (result.repeated) {
          assert.deepEqual(result.repeated, known);
          assert.deepEqual([...proposer.jobs()], before);
        } else if (s.key !== null) assert.equal(proposer.request(s.key)?.index, i + 1);
        const asJson = JSON.parse(JSON.stringify(command)) as Command;
        assert.deepEqual(
          JSON.parse(JSON.stringify(follower.apply(i + 1, asJson))),
          JSON.parse(JSON.stringify(result)),
        );
        late.apply(i + 1, asJson);
        if (i === at % steps.length) {
          const restored = new State();
          restored.restore(i + 1, [...late.snapshot()]);
          late = restored;
        }
      });
      const texts = [proposer, follower, late].map((state) => [...state.snapshot()].join("\n"));
      assert.equal(texts[1], texts[0]);
      assert.equal(texts[2], texts[0]);
    }),
    { numRuns: 300 },
  );
});

test("entries and snapshots of servers that knew no ids load", () => {
  const state = new State();
  state.apply(1, { kind: "eval.upsert", time: T0, evals: [makeEval(1, "a")] });
  const chunks = [...state.snapshot()];
  assert.ok(!chunks.some((chunk) => chunk.includes('"requests"')));
  const restored = new State();
  restored.restore(1, chunks);
  restored.apply(2, register("a", stamp("k")));
  assert.ok(restored.request("k"));
});
