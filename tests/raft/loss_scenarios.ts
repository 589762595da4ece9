// What a server does after its disk lost entries that it acknowledged, step by step on one core: the cases that chance finds
// too rarely. Each throws when a rule is broken; raft_loss.test.ts runs them, mutants.test.ts on broken cores.
import assert from "node:assert/strict";
import { Raft } from "../../server/raft.ts";
import { type Entry, type HardState, LOST_VOTE, type Message } from "../../server/raft_types.ts";

const ids = ["a", "b", "c"];
const servers = ids.map((id) => ({ id, rpcAddress: `${id}:1`, httpAddress: `${id}:2`, voter: true }));

function entry(index: number, term: number): Entry {
  return { index, term, kind: "command", data: `${index}/${term}` };
}

/** Server a with this log after the membership in entry 1. */
function core(entries: Entry[], hard: HardState): Raft {
  return new Raft({
    id: "a",
    random: { int: () => 0 },
    electionTicks: 10,
    heartbeatTicks: 2,
    hard,
    snapshot: null,
    floor: { index: 0, term: 0, config: { index: 0, config: { servers: [] } } },
    entries: [{ index: 1, term: 1, kind: "config", data: JSON.stringify({ servers }) }, ...entries],
  });
}

/** Everything that it has to send, after its writes are done. */
function settle(raft: Raft): Message[] {
  const sent: Message[] = [];
  for (let more = true; more;) {
    const ready = raft.ready(true);
    sent.push(...ready.messages);
    for (const { index } of ready.committed) raft.advance({ applied: index });
    if (ready.persist) raft.advance({ persisted: true });
    more = ready.persist !== null || ready.messages.length > 0;
  }
  return sent;
}

const from = (id: string, term: number) => ({ from: id, to: "a", term });
const afterLoss = (term: number, index: number): HardState => ({
  term,
  vote: LOST_VOTE,
  commit: 0,
  abstain: { index, term },
});

/** It had 2/2 and 3/2 from leader b of term 2, and now has the 2/1 and 3/1 again that stood there before. */
export function heartbeatAfterLoss(): void {
  const raft = core([entry(2, 1), entry(3, 1)], afterLoss(2, 3));
  raft.step({ type: "heartbeat", commit: 3, read: 0, ...from("b", 2) });
  const answers = settle(raft);
  assert.equal(raft.log.commit, 0, "it commits what it does not have");
  const lost = answers.find((m) => m.type === "append.response" && m.lost);
  assert.ok(lost, "the leader is not asked for what is lost");
  // From what is certain on, the leader's own entries replace the old ones.
  const append = { prevIndex: 1, prevTerm: 1, entries: [entry(2, 2), entry(3, 2)], commit: 3 };
  raft.step({ type: "append", ...append, ...from("b", 2) });
  settle(raft);
  assert.deepEqual([raft.log.commit, raft.log.termAt(3), raft.abstain], [3, 2, null]);
}

export function votesOnlyWhenWhole(): void {
  const raft = core([entry(2, 2)], afterLoss(2, 4));
  const granted = (term: number, index: number) => {
    for (const type of ["prevote", "vote"] as const) {
      const ask = { lastIndex: index, lastTerm: 2, ...(type === "vote" ? { force: true } : {}) };
      raft.step({ type, ...ask, ...from("c", term) } as Message);
    }
    const answers = settle(raft).filter((m) => m.type === "vote.response" || m.type === "prevote.response");
    assert.ok(answers.length > 0, "it answers");
    return answers.some((m) => m.granted);
  };
  assert.equal(granted(3, 4), false, "it votes although entries are missing");
  for (let i = 0; i < 40; i++) raft.tick();
  raft.step({ type: "timeout.now", ...from("c", 3) });
  assert.deepEqual([settle(raft).length, raft.role], [0, "follower"], "it campaigns");
  // Entries up to the mark from a leader of the mark's term or a later one; not less.
  const append = (prevIndex: number, entries: Entry[]) =>
    raft.step({ type: "append", prevIndex, prevTerm: 2, entries, commit: 0, ...from("b", 3) });
  append(2, [entry(3, 2)]);
  settle(raft);
  assert.ok(raft.abstain, "it is not whole yet");
  append(3, [entry(4, 2)]);
  assert.ok(raft.abstain, "what is missing is not durable yet");
  settle(raft);
  assert.equal(raft.abstain, null);
  assert.equal(granted(4, 4), true, "it votes again");
}

/** An entry of a later term ends it, too: that leader was elected without this server. */
export function laterTermEndsIt(): void {
  const raft = core([entry(2, 1)], afterLoss(2, 50));
  raft.step({
    type: "append",
    prevIndex: 2,
    prevTerm: 1,
    entries: [entry(3, 3)],
    commit: 0,
    ...from("b", 3),
  });
  settle(raft);
  assert.equal(raft.abstain, null);
}
