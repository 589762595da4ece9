// One server alone, on memory and on libsql: the path that `-dev` and a single-server installation take.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import Database from "libsql";
import { ApiError, NotLeaderError, StorageError } from "../../core/errors.ts";
import type { Replica } from "../../server/replica.ts";
import { memoryStorage, type RaftStorage } from "../../server/storage.ts";
import { libsqlStorage } from "../../server/storage_libsql.ts";
import { SLOW, testReplica, until } from "./helpers.ts";
import { MapMachine, put } from "./machine.ts";

interface Case {
  replica: Replica;
  machine: MapMachine;
}

async function started(options: Parameters<typeof testReplica>[0] = {}): Promise<Case> {
  const machine = new MapMachine();
  const replica = testReplica(options);
  await replica.start(machine);
  return { replica, machine };
}

async function inTempDir(run: (path: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "nomad-replica-"));
  try {
    await run(join(dir, "raft.db"));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test("alone: start resolves as leader, propose gives index and the machine's result", SLOW, async () => {
  const { replica, machine } = await started();
  assert.equal(replica.isLeader, true);
  assert.deepEqual(replica.leader, { id: "a", rpcAddress: "a:4647", httpAddress: "a:4646" });
  assert.equal(replica.lastContactMs, 0);
  assert.equal(machine.index, 2, "the membership and the leader's noop come before");
  const first = await replica.propose(put("x", 1));
  const second = await replica.propose(put("y", 2));
  assert.deepEqual([first, second], [{ index: 3, result: { value: 1 } }, { index: 4, result: { value: 2 } }]);
  assert.deepEqual(replica.peers(), [
    { id: "a", rpcAddress: "a:4647", httpAddress: "a:4646", voter: true, leader: true },
  ]);
  assert.equal(await replica.barrier(), 4);
  await replica.stop();
});

test("alone: apply gets the proposed object itself", SLOW, async () => {
  const { replica, machine } = await started();
  const command = put("x", 1);
  await replica.propose(command);
  assert.ok(machine.seen.at(-1) === command);
  await replica.stop();
});

test("alone: a refused command resolves with its refusal and changes nothing", SLOW, async () => {
  const { replica, machine } = await started();
  const { result } = await replica.propose(put("x", -1));
  assert.deepEqual(result, { refused: { status: 409, message: "x must not be negative" } });
  assert.equal(machine.values.size, 0);
  await replica.stop();
});

test("alone: onLeadership tells at once when it leads, and tells the loss at stop", SLOW, async () => {
  const { replica } = await started();
  const told: boolean[] = [];
  replica.onLeadership((leading) => told.push(leading));
  await replica.stop();
  assert.deepEqual(told, [true, false]);
  await assert.rejects(replica.propose(put("x", 1)), NotLeaderError);
  await assert.rejects(replica.barrier(), NotLeaderError);
});

test(
  "alone: concurrent proposals are applied in the order they were made and share writes",
  SLOW,
  async () => {
    const inner = memoryStorage();
    let writes = 0;
    const storage: RaftStorage = Object.create(inner);
    for (const name of ["open", "read", "compact", "close"] as const) {
      storage[name] = (...args: never[]) => (inner[name] as (...a: never[]) => never)(...args);
    }
    storage.write = async (batch) => {
      writes++;
      await new Promise((resolve) => setTimeout(resolve, 5)); // A slow disk.
      return await inner.write(batch);
    };
    const { replica, machine } = await started({ storage });
    writes = 0;
    const indexes = await Promise.all(
      Array.from({ length: 100 }, (_, i) => replica.propose(put(`k${i}`, i))),
    );
    assert.deepEqual(indexes.map((r) => r.index), Array.from({ length: 100 }, (_, i) => i + 3));
    assert.deepEqual([...machine.values.values()], Array.from({ length: 100 }, (_, i) => i));
    assert.ok(writes <= 2, `${writes} writes for 100 proposals made at once`);
    await replica.stop();
  },
);

test("alone: a command too large for the log is refused", SLOW, async () => {
  const { replica } = await started();
  const huge = put("x".repeat(65 * 1024 * 1024), 1);
  await assert.rejects(replica.propose(huge), (e) => e instanceof ApiError && e.status === 413);
  await replica.propose(put("x", 1));
  await replica.stop();
});

test("libsql: everything acknowledged is there after a restart, from snapshot and tail", SLOW, async () => {
  await inTempDir(async (path) => {
    const tuning = { snapshotThreshold: 50, trailingLogs: 10 };
    const first = await started({ storage: libsqlStorage({ path }), tuning });
    for (let i = 0; i < 12; i++) {
      await Promise.all(Array.from({ length: 10 }, (_, j) => first.replica.propose(put(`k${i}-${j}`, j))));
    }
    await until(() => Number(first.replica.stats()["last_snapshot_index"]) > 0, "a snapshot");
    for (let i = 0; i < 5; i++) await first.replica.propose(put("tail", i));
    const { values, index } = first.machine;
    await first.replica.stop();

    const second = await started({ storage: libsqlStorage({ path }), tuning });
    assert.equal(second.machine.restores, 1);
    assert.deepEqual(new Map([...second.machine.values].sort()), new Map([...values].sort()));
    assert.equal(second.machine.index, index + 1, "the new term's noop");
    assert.equal((await second.replica.propose(put("more", 1))).index, index + 2);
    await second.replica.stop();
  });
});

test("libsql: snapshots cut the stored log", SLOW, async () => {
  await inTempDir(async (path) => {
    const { replica } = await started({
      storage: libsqlStorage({ path }),
      tuning: { snapshotThreshold: 100 },
    });
    for (let i = 0; i < 10; i++) {
      await Promise.all(Array.from({ length: 100 }, (_, j) => replica.propose(put(`k${j}`, i))));
    }
    await replica.snapshotNow();
    assert.equal(replica.stats()["last_snapshot_index"], replica.stats()["applied_index"]);
    await replica.stop();
    const db = new Database(path);
    const { n } = db.prepare("SELECT count(*) AS n FROM log").all()[0] as { n: number };
    const { s } = db.prepare("SELECT count(*) AS s FROM snapshot").all()[0] as { s: number };
    db.close();
    assert.ok(n < 200, `${n} entries are left of 1000`);
    assert.equal(s, 1, "older snapshots are gone");
  });
});

test("memory: the log does not grow for ever although no snapshot is written", SLOW, async () => {
  const storage = memoryStorage();
  const { replica } = await started({ storage, tuning: { snapshotThreshold: 100, trailingLogs: 10 } });
  for (let i = 0; i < 20; i++) {
    await Promise.all(Array.from({ length: 100 }, () => replica.propose(put("x".repeat(1000), i))));
  }
  const bytes = await storage.size();
  assert.ok(bytes < 300_000, `${bytes} of some 2,100,000 characters are still held`);
  assert.equal(replica.stats()["last_snapshot_index"], 0);
  await replica.stop();
});

test("libsql: a full disk refuses proposals, reads go on, and room makes it work again", SLOW, async () => {
  await inTempDir(async (path) => {
    const logged: string[] = [];
    const { replica, machine } = await started({
      storage: libsqlStorage({ path, maxBytes: 300_000 }),
      tuning: { snapshotThreshold: 1e9 },
      logger: (level, message) => level === "error" && logged.push(message),
    });
    await replica.propose(put("small", 1));
    const before = machine.index;
    const huge = put("x".repeat(400_000), 1);
    const answers = await Promise.allSettled([replica.propose(huge), replica.propose(put("beside", 2))]);
    for (const answer of answers) {
      assert.equal(answer.status, "rejected");
      const { reason } = answer as PromiseRejectedResult;
      assert.ok(reason instanceof StorageError && reason.kind === "full", String(reason));
    }
    assert.equal(machine.index, before, "nothing of it was applied");
    assert.equal(replica.isLeader, true);
    assert.equal(await replica.barrier(), before);
    assert.match(String(replica.stats()["storage"]), /refuses writes: full/);
    assert.equal(logged.length, 1);
    assert.deepEqual(await replica.propose(put("after", 3)), { index: before + 1, result: { value: 2 } });
    assert.equal(replica.stats()["storage"], "ok");
    await replica.stop();
    const again = await started({ storage: libsqlStorage({ path }) });
    assert.deepEqual([...again.machine.values], [["small", 1], ["after", 3]]);
    await again.replica.stop();
  });
});

test("libsql: a locked database refuses proposals and works afterwards", SLOW, async () => {
  await inTempDir(async (path) => {
    const { replica, machine } = await started({ storage: libsqlStorage({ path, lockTimeoutMs: 30 }) });
    const other = new Database(path);
    other.exec("BEGIN IMMEDIATE");
    await assert.rejects(
      replica.propose(put("x", 1)),
      (e) => e instanceof StorageError && e.kind === "locked",
    );
    other.exec("ROLLBACK");
    other.close();
    await replica.propose(put("y", 2));
    assert.deepEqual([...machine.values], [["y", 2]]);
    await replica.stop();
  });
});

test(
  "libsql: a server that starts on a locked database stays up, reads what it has, and leads when it can write",
  SLOW,
  async () => {
    await inTempDir(async (path) => {
      const first = await started({ storage: libsqlStorage({ path }) });
      await first.replica.propose(put("x", 1));
      await first.replica.stop();
      const machine = new MapMachine();
      const replica = testReplica({ storage: libsqlStorage({ path, lockTimeoutMs: 30 }) });
      const other = new Database(path);
      other.exec("BEGIN IMMEDIATE");
      await replica.start(machine);
      assert.deepEqual(
        [...machine.values],
        [["x", 1]],
        "all that is stored is committed when a server is alone",
      );
      assert.equal(replica.isLeader, false);
      await assert.rejects(
        replica.propose(put("y", 2)),
        (e) => e instanceof StorageError && e.kind === "locked",
      );
      other.exec("ROLLBACK");
      other.close();
      await until(() => replica.isLeader, "leadership");
      await replica.propose(put("y", 2));
      assert.equal(machine.values.size, 2);
      await replica.stop();
    });
  },
);

test("libsql: a damaged entry stops the start with its number", SLOW, async () => {
  await inTempDir(async (path) => {
    const { replica } = await started({ storage: libsqlStorage({ path }) });
    for (let i = 0; i < 10; i++) await replica.propose(put("x", i));
    await replica.stop();
    const db = new Database(path);
    db.exec("UPDATE log SET data = replace(data, '4', '5') WHERE idx = 7");
    db.close();
    const again = testReplica({ storage: libsqlStorage({ path }) });
    await assert.rejects(
      again.start(new MapMachine()),
      (e) => e instanceof StorageError && e.kind === "corrupt" && /Log entry 7 /.test(e.message),
    );
    await again.stop();
  });
});

test("alone: an entry that cannot be applied stops the replica and is told", SLOW, async () => {
  const machine = new MapMachine();
  let fatal: unknown = null;
  const replica = testReplica({ onFatal: (error) => fatal = error });
  await replica.start(machine);
  machine.apply = () => {
    throw new Error("broken invariant");
  };
  await assert.rejects(replica.propose(put("x", 1)), /broken invariant/);
  assert.match(String(fatal), /broken invariant/);
  assert.equal(replica.isLeader, false);
  await replica.stop();
});

test("libsql: a stop during the start leaves nothing open", SLOW, async () => {
  await inTempDir(async (path) => {
    const replica = testReplica({ storage: libsqlStorage({ path }) });
    const starting = replica.start(new MapMachine());
    await replica.stop();
    await assert.rejects(starting, /stopped while it started/);
    const again = await started({ storage: libsqlStorage({ path }) });
    await again.replica.stop();
  });
});

test("alone: a changed address becomes part of the membership", SLOW, async () => {
  await inTempDir(async (path) => {
    const first = await started({ storage: libsqlStorage({ path }) });
    const { index, config } = first.replica.configuration();
    assert.deepEqual([index, config.servers[0]!.rpcAddress], [1, "a:4647"]);
    await first.replica.stop();
    const { createReplica } = await import("../../server/replica.ts");
    const { systemClock, systemRandom } = await import("../../core/env.ts");
    const { Network } = await import("./helpers.ts");
    const moved = createReplica({
      id: "a",
      rpcAddress: "moved:1",
      httpAddress: "moved:2",
      bootstrap: null,
      storage: libsqlStorage({ path }),
      transport: new Network().transport("a"),
      clock: systemClock,
      random: systemRandom,
    });
    await moved.start(new MapMachine());
    await until(() => moved.peers()[0]!.rpcAddress === "moved:1", "the new address");
    await moved.stop();
  });
});
