// Moments between two things that Raft does, found by reading the core against the paper: each test holds one of them
// still. The cores are driven by hand, because their usual drivers never stop there.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Raft } from "../../server/raft.ts";
import type { Configuration, Entry, Message, MessageBody, SnapshotMeta } from "../../server/raft_types.ts";
import { memoryStorage } from "../../server/storage.ts";

const ids = ["a", "b", "c"];
const config: Configuration = {
  servers: ids.map((id) => ({ id, rpcAddress: `${id}:1`, httpAddress: `${id}:2`, voter: true })),
};
const entry = (index: number, data = `e${index}`): Entry => ({ index, term: 1, kind: "command", data });
const entries = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => entry(from + i));

function snapshotAt(index: number): SnapshotMeta {
  return { index, term: 1, config, configIndex: 0, blocks: 1, bytes: 10, checksum: index };
}

function core(options: { last: number; commit: number; floor?: number; snapshot?: SnapshotMeta }): Raft {
  const floor = options.floor ?? 0;
  return new Raft({
    id: "a",
    random: { int: () => 0 },
    electionTicks: 10,
    heartbeatTicks: 2,
    hard: { term: 1, vote: "", commit: options.commit },
    snapshot: options.snapshot ?? null,
    floor: { index: floor, term: floor > 0 ? 1 : 0, config: { index: 0, config } },
    entries: entries(floor + 1, options.last),
  });
}

/** Everything that is ready is done at once; what it sends comes back. */
function settle(raft: Raft): Message[] {
  const sent: Message[] = [];
  for (let round = 0; round < 5; round++) {
    const ready = raft.ready(true);
    sent.push(...ready.messages);
    if (ready.restore) raft.advance({ applied: ready.restore.index });
    for (const e of ready.committed) raft.advance({ applied: e.index });
    if (ready.persist) raft.advance({ persisted: true });
  }
  return sent;
}

function from(sender: string, term: number, body: MessageBody): Message {
  return { ...body, from: sender, to: "a", term };
}

test("raft: entries acknowledged while a snapshot's last block is being stored are kept", () => {
  const raft = core({ last: 4, commit: 2 });
  const block = { type: "snapshot" as const, snapshot: snapshotAt(6), block: 0, data: new Uint8Array(1) };
  raft.step(from("b", 1, block));
  assert.equal(raft.ready(true).blocks.length, 1);
  // A late append brings more than the snapshot holds, and is acknowledged.
  const late = { type: "append" as const, prevIndex: 4, prevTerm: 1, entries: entries(5, 9), commit: 2 };
  raft.step(from("b", 1, late));
  const answers = settle(raft);
  assert.ok(answers.some((m) => m.type === "append.response" && m.ok && m.match === 9));
  raft.blockStored(snapshotAt(6), "b", 1);
  settle(raft);
  assert.equal(raft.log.lastIndex, 9, "what the leader counts as stored here is gone");
  assert.equal(raft.log.commit, 6);
});

test("raft: a snapshot that arrives while another is being loaded does not replace it under the reader", () => {
  const raft = core({ last: 2, commit: 2 });
  const block = (index: number) => ({
    type: "snapshot" as const,
    snapshot: snapshotAt(index),
    block: 0,
    data: new Uint8Array(1),
  });
  raft.step(from("b", 1, block(6)));
  raft.ready(true);
  raft.blockStored(snapshotAt(6), "b", 1);
  assert.equal(raft.ready(true).persist?.install?.index, 6);
  raft.advance({ persisted: true });
  assert.equal(raft.ready(true).restore?.index, 6);
  raft.step(from("b", 1, block(9)));
  assert.equal(raft.ready(true).blocks.length, 0, "it would drop the blocks that are being read");
  raft.advance({ applied: 6 });
  raft.step(from("b", 1, block(9)));
  assert.equal(raft.ready(true).blocks.length, 1, "afterwards it is welcome");
});

/** A leader of term 2 whose log starts after `floor`, with a snapshot of `floor` that is being sent to c. */
function leaderSending(): Raft {
  const raft = core({ last: 20, commit: 20, floor: 10, snapshot: snapshotAt(10) });
  settle(raft);
  raft.campaign();
  settle(raft);
  raft.step(from("b", 2, { type: "prevote.response", granted: true }));
  settle(raft);
  raft.step(from("b", 2, { type: "vote.response", granted: true }));
  settle(raft);
  assert.equal(raft.role, "leader");
  raft.step(from("b", 2, { type: "append.response", ok: true, prevIndex: 20, match: 21, hintTerm: 0 }));
  raft.step(from("c", 2, { type: "append.response", ok: false, prevIndex: 20, match: 0, hintTerm: 0 }));
  const sent = settle(raft);
  assert.ok(sent.some((m) => m.type === "snapshot" && m.to === "c" && m.snapshot.index === 10));
  return raft;
}

test("raft: a follower that loaded a snapshot which the log has left behind is sent a newer one", () => {
  const raft = leaderSending();
  raft.log.compact(15);
  raft.step(from("c", 2, { type: "append.response", ok: true, prevIndex: 10, match: 10, hintTerm: 0 }));
  assert.equal(raft.ready(true).snapshotWanted, 15);
  raft.snapshotStored(snapshotAt(18));
  const sent = settle(raft);
  assert.ok(sent.some((m) => m.type === "snapshot" && m.to === "c" && m.snapshot.index === 18));
});

test("raft: the stored commit index never goes beyond the entries stored with it", () => {
  const raft = core({ last: 0, commit: 0 });
  const big = "x".repeat(9 * 1024 * 1024);
  const many = [1, 2, 3].map((index) => entry(index, big));
  raft.step(from("b", 1, { type: "append", prevIndex: 0, prevTerm: 0, entries: many, commit: 3 }));
  let stored = 0;
  for (let round = 0; round < 3; round++) {
    const { persist } = raft.ready(true);
    assert.ok(persist, "there is more to write");
    stored = persist.entries.at(-1)!.index;
    assert.ok(persist.hard!.commit <= stored, `commit ${persist.hard!.commit} with entries to ${stored}`);
    raft.advance({ persisted: true });
  }
  assert.equal(stored, 3);
});

test("memory storage: the newest snapshot is the one of the highest index, whichever was finished last", async () => {
  const storage = memoryStorage();
  const base = { term: 1, config, configIndex: 0 };
  const own = await storage.writeSnapshot({ ...base, index: 5 });
  await own.write(["own"]);
  const other = await storage.writeSnapshot({ ...base, index: 9 });
  await other.write(["other"]);
  await other.finish();
  await own.finish();
  assert.equal((await storage.open()).snapshot?.index, 9);
});

test("raft: who began another cluster gets no vote while its first entry is all there is", () => {
  const founded = (index: number) => {
    const first: Entry = { index: 1, term: 1, kind: "config", data: JSON.stringify(config) };
    return new Raft({
      id: "a",
      random: { int: () => 0 },
      electionTicks: 10,
      heartbeatTicks: 2,
      hard: { term: 1, vote: "", commit: 0 },
      snapshot: null,
      floor: { index: 0, term: 0, config: { index: 0, config: { servers: [] } } },
      entries: [first, ...entries(2, index)],
    });
  };
  const granted = (raft: Raft, sender: string, lastIndex: number) => {
    raft.step(from(sender, 2, { type: "vote", lastIndex, lastTerm: 1, force: false }));
    return settle(raft).some((m) => m.type === "vote.response" && m.granted);
  };
  assert.equal(granted(founded(1), "d", 1), false);
  assert.equal(granted(founded(1), "b", 1), true);
  // Beyond it the logs tell, and a server may be newer than this one knows.
  assert.equal(granted(founded(1), "d", 2), true);
});
