// Several replicas on a network inside this process, real time, memory storage: what a caller of the contract sees while
// leaders come and go. Consensus itself is tested in raft_script and raft_fuzz.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, NotLeaderError, StorageError } from "../../core/errors.ts";
import type { Replica } from "../../server/replica.ts";
import { memoryStorage, type RaftStorage } from "../../server/storage.ts";
import { Network, server, SLOW, testReplica, type TestReplicaOptions, until } from "./helpers.ts";
import { MapMachine, put } from "./machine.ts";

interface Member {
  id: string;
  replica: Replica;
  machine: MapMachine;
  storage: RaftStorage;
}

class Cluster {
  readonly network = new Network();
  readonly members = new Map<string, Member>();
  readonly #options: Partial<TestReplicaOptions>;

  constructor(options: Partial<TestReplicaOptions> = {}) {
    this.#options = options;
  }

  async start(id: string, bootstrap: string[] | null, storage = memoryStorage()): Promise<Member> {
    const machine = new MapMachine();
    const replica = testReplica({ id, bootstrap, storage, network: this.network, ...this.#options });
    const member = { id, replica, machine, storage };
    this.members.set(id, member);
    await replica.start(machine);
    return member;
  }

  async startAll(ids: string[]): Promise<void> {
    for (const id of ids) await this.start(id, ids);
  }

  /** Waits for one leader that all of `among` know. */
  async leader(among = [...this.members.keys()]): Promise<Member> {
    const members = among.map((id) => this.members.get(id)!);
    const found = () =>
      members.find((m) => m.replica.isLeader && members.every((x) => x.replica.leader?.id === m.id));
    await until(() => found() !== undefined, `a leader among ${among.join(", ")}`);
    return found()!;
  }

  others(than: Member): Member[] {
    return [...this.members.values()].filter((m) => m !== than);
  }

  /** Waits until all have applied the same, and compares it. */
  async agree(): Promise<void> {
    const members = [...this.members.values()];
    await until(() => new Set(members.map((m) => m.machine.index)).size === 1, "equal indexes");
    for (const m of members) {
      assert.deepEqual([...m.machine.values].sort(), [...members[0]!.machine.values].sort());
      for (const [index, text] of m.machine.history) {
        for (const other of members) assert.equal(other.machine.history.get(index) ?? text, text);
      }
    }
  }

  async stop(): Promise<void> {
    for (const { replica } of this.members.values()) await replica.stop();
  }
}

/** Proposes on whoever leads until it is acknowledged, as a caller of the API would. */
async function proposeAnywhere(cluster: Cluster, key: string, value: number): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    const leader = [...cluster.members.values()].find((m) => m.replica.isLeader);
    try {
      if (leader) return void await leader.replica.propose(put(key, value));
    } catch (error) {
      if (!(error instanceof NotLeaderError || error instanceof StorageError)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`no leader took ${key}`);
}

test("three: one leader, the same order everywhere, followers name the leader", SLOW, async () => {
  const cluster = new Cluster();
  await cluster.startAll(["a", "b", "c"]);
  const leader = await cluster.leader();
  await Promise.all(Array.from({ length: 50 }, (_, i) => leader.replica.propose(put(`k${i}`, i))));
  await cluster.agree();
  for (const follower of cluster.others(leader)) {
    assert.equal(follower.replica.isLeader, false);
    assert.ok(follower.replica.lastContactMs < 10_000);
    await assert.rejects(
      follower.replica.propose(put("x", 1)),
      (e) => e instanceof NotLeaderError && e.leader === `${leader.id}:4646`,
    );
    await assert.rejects(follower.replica.barrier(), NotLeaderError);
    assert.equal(follower.replica.peers().filter((p) => p.leader).length, 1);
    assert.equal(follower.replica.stats()["state"], "Follower");
    assert.equal(follower.replica.stats()["num_peers"], 2);
  }
  assert.equal(await leader.replica.barrier(), leader.machine.index);
  await cluster.stop();
});

test(
  "three: the next leader has everything that was acknowledged, and a restarted server catches up",
  SLOW,
  async () => {
    const cluster = new Cluster();
    await cluster.startAll(["a", "b", "c"]);
    for (let round = 0; round < 3; round++) {
      const leader = await cluster.leader();
      for (let i = 0; i < 20; i++) await leader.replica.propose(put(`r${round}-${i}`, i));
      await leader.replica.stop();
      cluster.members.delete(leader.id);
      const next = await cluster.leader();
      assert.ok(
        next.machine.values.has(`r${round}-19`),
        "the new leader has applied it before it says that it leads",
      );
      await next.replica.propose(put(`between-${round}`, 1));
      await cluster.start(leader.id, null, leader.storage);
      await cluster.agree();
    }
    assert.equal((await cluster.leader()).machine.values.size, 63);
    await cluster.stop();
  },
);

test(
  "three: a leader that is cut off gives up, rejects what waits, and follows when it is back",
  SLOW,
  async () => {
    const cluster = new Cluster();
    await cluster.startAll(["a", "b", "c"]);
    const old = await cluster.leader();
    const told: boolean[] = [];
    old.replica.onLeadership((leading) => told.push(leading));
    await old.replica.propose(put("before", 1));
    cluster.network.cut(old.id);
    const lost = old.replica.propose(put("lost", 1));
    const read = old.replica.barrier();
    await assert.rejects(lost, NotLeaderError);
    await assert.rejects(read, NotLeaderError);
    assert.equal(old.replica.leader, null);
    const rest = cluster.others(old).map((m) => m.id);
    const next = await cluster.leader(rest);
    await next.replica.propose(put("after", 1));
    cluster.network.heal(old.id);
    await cluster.leader();
    await cluster.agree();
    assert.deepEqual([...old.machine.values.keys()], ["before", "after"]);
    assert.deepEqual(told.slice(0, 2), [true, false]);
    await cluster.stop();
  },
);

test(
  "three: writes go on while leaders are cut off again and again, and none is lost",
  SLOW,
  async () => {
    const cluster = new Cluster();
    await cluster.startAll(["a", "b", "c"]);
    const acknowledged: string[] = [];
    let running = true;
    const writers = Array.from({ length: 4 }, async (_, w) => {
      for (let i = 0; running; i++) {
        await proposeAnywhere(cluster, `w${w}-${i}`, i);
        acknowledged.push(`w${w}-${i}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    });
    for (let round = 0; round < 5; round++) {
      const leader = await cluster.leader();
      await new Promise((resolve) => setTimeout(resolve, 50));
      cluster.network.cut(leader.id);
      await cluster.leader(cluster.others(leader).map((m) => m.id));
      await new Promise((resolve) => setTimeout(resolve, 50));
      cluster.network.heal(leader.id);
    }
    running = false;
    await Promise.all(writers);
    const leader = await cluster.leader();
    await leader.replica.barrier();
    for (const key of acknowledged) assert.ok(leader.machine.values.has(key), `${key} is lost`);
    assert.ok(acknowledged.length > 50, `${acknowledged.length} writes`);
    await cluster.agree();
    await cluster.stop();
  },
);

test(
  "members: a learner gets a snapshot, becomes a voter, takes leadership over, and the old leader is removed",
  SLOW,
  async () => {
    const cluster = new Cluster({ tuning: { snapshotThreshold: 50, trailingLogs: 5 } });
    const a = await cluster.start("a", ["a"]);
    for (let i = 0; i < 700; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, j) => a.replica.propose(put(`k${i + j}`, i))));
    }
    const b = await cluster.start("b", null);
    assert.equal(b.replica.leader, null);
    await a.replica.addServer(server("b", false));
    await until(() => b.machine.index === a.machine.index, "the learner has all");
    assert.ok(b.machine.restores >= 1, "it came as a snapshot");
    assert.deepEqual(a.replica.peers().map((p) => [p.id, p.voter]), [["a", true], ["b", false]]);

    await a.replica.addServer(server("b"));
    assert.deepEqual(a.replica.configuration().config.servers.map((s) => s.voter), [true, true]);
    await a.replica.transferLeadership("b");
    await until(() => b.replica.isLeader, "b leads");
    await b.replica.propose(put("by-b", 1));
    await b.replica.removeServer("a");
    assert.deepEqual(b.replica.peers().map((p) => p.id), ["b"]);
    await b.replica.propose(put("alone", 1));
    await assert.rejects(
      b.replica.removeServer("a"),
      (e) => e instanceof ApiError && /No server with id "a"/.test(e.message),
    );
    await assert.rejects(
      b.replica.removeServer("b"),
      (e) => e instanceof ApiError && /last voter/.test(e.message),
    );
    await cluster.stop();
  },
);

test("members: only the leader changes them", SLOW, async () => {
  const cluster = new Cluster();
  await cluster.startAll(["a", "b", "c"]);
  const leader = await cluster.leader();
  const [follower] = cluster.others(leader);
  await assert.rejects(follower!.replica.addServer(server("d")), NotLeaderError);
  await assert.rejects(follower!.replica.transferLeadership(), NotLeaderError);
  await assert.rejects(leader.replica.transferLeadership("nobody"), ApiError);
  await leader.replica.transferLeadership();
  const next = await cluster.leader();
  assert.notEqual(next.id, leader.id);
  await cluster.stop();
});

test(
  "three: a leader whose disk refuses writes hands over, and follows again when it has room",
  SLOW,
  async () => {
    const cluster = new Cluster();
    const full = new Set<string>();
    for (const id of ["a", "b", "c"]) {
      const inner = memoryStorage();
      const storage = new Proxy(inner, {
        get(target, name) {
          if (name === "write" && full.has(id)) {
            return () => Promise.reject(new StorageError("full", "the disk is full"));
          }
          const value = Reflect.get(target, name, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      await cluster.start(id, ["a", "b", "c"], storage);
    }
    const old = await cluster.leader();
    await old.replica.propose(put("before", 1));
    full.add(old.id);
    await assert.rejects(old.replica.propose(put("refused", 1)), StorageError);
    const rest = cluster.others(old);
    await until(() => rest.some((m) => m.replica.isLeader), "another leader");
    await proposeAnywhere(cluster, "meanwhile", 2);
    assert.equal(old.replica.isLeader, false);
    full.clear();
    await cluster.leader();
    await cluster.agree();
    assert.ok(old.machine.values.has("meanwhile"));
    await cluster.stop();
  },
);
