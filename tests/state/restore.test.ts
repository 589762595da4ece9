// A saved state that takes the place of another one through the log: the same on every server, at an index above both,
// kept while it is half staged, refused where it cannot be loaded; servers that lag get it as a snapshot.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Command } from "../../server/commands.ts";
import { BLOCK_CHARS, packBlock } from "../../core/snapshot_codec.ts";
import type { Replica } from "../../server/replica.ts";
import { State } from "../../server/state.ts";
import { DEFAULT_AUTOPILOT_CONFIG } from "../../server/state_tables.ts";
import { memoryStorage } from "../../server/storage.ts";
import { Network, SLOW, testReplica, until } from "../raft/helpers.ts";
import { makeJob, makeNode, T0 } from "./fixtures.ts";

/** A state's blocks as `operator snapshot save` writes them. */
function blocksOf(state: State, charsMax = BLOCK_CHARS): string[] {
  const blocks: string[] = [];
  let chunks: string[] = [];
  for (const chunk of state.snapshot()) {
    chunks.push(chunk);
    if (chunks.join("").length < charsMax) continue;
    blocks.push(Buffer.from(packBlock(chunks)).toString("base64"));
    chunks = [];
  }
  if (chunks.length > 0) blocks.push(Buffer.from(packBlock(chunks)).toString("base64"));
  return blocks;
}

function register(id: string): Command {
  return { kind: "job.register", time: T0, job: makeJob(id), submission: null, evals: [] };
}

/** The commands that put `blocks` in the place of the state. */
function restoreOf(blocks: string[], id = "r1"): Command[] {
  const staged = blocks.map((block, first): Command => ({
    kind: "state.stage",
    time: T0,
    id,
    first,
    blocks: [block],
  }));
  return [...staged, { kind: "state.restore", time: T0, id, blocks: blocks.length }];
}

/** Applies at the log's next indexes. */
class Log {
  entry = 0;
  constructor(readonly states: State[]) {}

  run(...commands: Command[]) {
    return commands.map((command) => {
      this.entry++;
      return this.states.map((state) => state.apply(this.entry, command))[0]!;
    });
  }
}

const text = (state: State) => [...state.snapshot()].join("\n");
const jobs = (state: State) => [...state.jobs()].map((job) => job.ID);

test("State.restore: a saved state from a lower index comes back above the present one", () => {
  const [a, b] = [new State(), new State()];
  const log = new Log([a, b]);
  log.run(register("one"), register("two"));
  const saved = blocksOf(a, 1);
  log.run({
    kind: "job.deregister",
    time: T0,
    namespace: "default",
    id: "one",
    purge: true,
    noShutdownDelay: false,
    evals: [],
  });
  log.run(register("three"));
  assert.deepEqual(jobs(a), ["three", "two"]);
  const answers = log.run(...restoreOf(saved));
  assert.ok(answers.every((answer) => !answer.refused));
  assert.deepEqual(jobs(a), ["one", "two"]);
  assert.equal(a.index, log.entry, "nothing to jump over");
  assert.equal(text(a), text(b));
  log.run(register("four"));
  assert.equal(a.job("default", "four")!.CreateIndex, a.index);
});

test("State.restore: a saved state from a higher index lifts this one above it, for ever", () => {
  const old = new State();
  const source = new Log([old]);
  for (let i = 0; i < 40; i++) source.run(register(`old-${i}`));
  const fresh = new State();
  let restored = 0;
  fresh.onRestore(() => restored++);
  const log = new Log([fresh]);
  log.run(register("gone"), ...restoreOf(blocksOf(old)));
  assert.equal(restored, 1);
  assert.equal(fresh.index, 41);
  assert.equal(jobs(fresh).length, 40);
  log.run(register("next"));
  assert.deepEqual([fresh.index, fresh.job("default", "next")!.CreateIndex], [42, 42]);
  // A server that starts from a snapshot of it, or gets it from the leader, goes on in step.
  const copy = new State();
  copy.restore(log.entry, fresh.snapshot());
  assert.deepEqual([copy.index, text(copy)], [42, text(fresh)]);
  const both = new Log([fresh, copy]);
  both.entry = log.entry;
  both.run(register("last"));
  assert.equal(text(copy), text(fresh));
});

test("State.restore: the cluster stays the one it is", () => {
  const init = (id: string): Command => ({
    kind: "cluster.init",
    time: T0,
    id,
    autopilot: DEFAULT_AUTOPILOT_CONFIG,
  });
  const old = new State();
  new Log([old]).run(init("lost"), register("saved"));
  const fresh = new State();
  new Log([fresh]).run(init("new"), ...restoreOf(blocksOf(old)));
  assert.deepEqual([fresh.clusterId, jobs(fresh)], ["new", ["saved"]]);
});

test("State.restore: half staged it changes nothing, and outlives a snapshot and a restart", () => {
  const source = new State();
  new Log([source]).run(register("saved"), { kind: "node.register", time: T0, node: makeNode(1) });
  const commands = restoreOf(blocksOf(source, 1));
  assert.ok(commands.length > 3, "several blocks");
  const state = new State();
  const log = new Log([state]);
  log.run(register("present"), ...commands.slice(0, 2));
  assert.deepEqual(jobs(state), ["present"]);
  const copy = new State();
  copy.restore(log.entry, state.snapshot());
  const both = new Log([state, copy]);
  both.entry = log.entry;
  both.run(...commands.slice(2));
  assert.deepEqual(jobs(copy), ["saved"]);
  assert.equal(text(copy), text(state));
});

test("State.restore: a restore that another one replaced, or that lacks blocks, is refused and changes nothing", () => {
  const source = new State();
  new Log([source]).run(register("saved"));
  const blocks = blocksOf(source, 1);
  const state = new State();
  const log = new Log([state]);
  log.run(register("present"));
  const first = restoreOf(blocks, "first");
  const second = restoreOf(blocks, "second");
  log.run(first[0]!, second[0]!);
  assert.equal(log.run(first[1]!)[0]!.refused?.status, 409);
  assert.equal(log.run(first.at(-1)!)[0]!.refused?.status, 409);
  assert.equal(log.run(second.at(-1)!)[0]!.refused?.status, 409, "not all blocks are there");
  assert.deepEqual(jobs(state), ["present"]);
  log.run({ kind: "state.unstage", time: T0, id: "second" });
  assert.ok(!text(state).includes("staged"));
});

test("State.restore: what cannot be loaded is refused with the reason, and the state stands", () => {
  const garbage: [string, string[]][] = [
    ["not a block", ["AAAA"]],
    ["no JSON", [Buffer.from(packBlock(["{"])).toString("base64")]],
    ["no header", [Buffer.from(packBlock(['{"kind":"evals","rows":[]}'])).toString("base64")]],
    ["rows that are none", [Buffer.from(packBlock(['{"kind":"jobs","rows":[5]}'])).toString("base64")]],
  ];
  for (const [what, blocks] of garbage) {
    const state = new State();
    const log = new Log([state]);
    log.run(register("present"));
    const { refused } = log.run(...restoreOf(blocks)).at(-1)!;
    assert.match(refused?.message ?? "", /^The saved state cannot be loaded: ./, what);
    assert.deepEqual(jobs(state), ["present"], what);
    log.run(register("after"));
    assert.equal(state.index, log.entry, what);
  }
});

test(
  "a restore reaches a follower that was away as a snapshot, and all servers end alike",
  SLOW,
  async () => {
    const network = new Network();
    const ids = ["a", "b", "c"];
    const states = ids.map(() => new State());
    const replicas = ids.map((id) =>
      testReplica({
        id,
        network,
        bootstrap: ids,
        storage: memoryStorage(),
        tuning: { snapshotThreshold: 10, trailingLogs: 2 },
      })
    );
    try {
      await Promise.all(replicas.map((replica, i) => replica.start(states[i]!)));
      await until(() => replicas.some((r) => r.isLeader), "a leader");
      const at = replicas.findIndex((r) => r.isLeader);
      const leader = replicas[at]!;
      const away = (at + 1) % 3;
      for (let i = 0; i < 60; i++) await leader.propose(register(`saved-${i}`));
      const blocks = blocksOf(states[at]!, 2000);
      for (let i = 0; i < 60; i++) await leader.propose(register(`saved-${i}`));
      network.cut(ids[away]!);
      const commands = restoreOf(blocks);
      for (const command of commands.slice(0, 5)) await leader.propose(command);
      network.heal(ids[away]!); // It comes back in the middle, and lags again for the rest.
      await until(() => states[away]!.index === states[at]!.index, "the follower to have the staged blocks");
      network.cut(ids[away]!);
      for (const command of commands.slice(5)) await leader.propose(command);
      const { index } = await leader.propose(register("after"));
      for (let i = 0; i < 40; i++) await leader.propose(register(`more-${i}`));
      network.heal(ids[away]!);
      await until(() => new Set(states.map((s) => s.index)).size === 1, "all servers to be as far");
      assert.equal(states[0]!.job("default", "after")!.CreateIndex, index);
      assert.equal(jobs(states[0]!).length, 101);
      for (const state of states) assert.equal(text(state), text(states[0]!));
      assert.equal(await readIndex(leader), states[at]!.index);
    } finally {
      for (const replica of replicas) await replica.stop();
    }
  },
);

/** What a reader is told: the state's index, not the log's. */
function readIndex(replica: Replica): Promise<number> {
  return replica.barrier();
}
