// Damage to the files of one server, by real bytes: a damaged end is cut where others still hold it, a server alone and
// damage in the middle stop with the record's number and the way out, and a torn write is nothing at all.
import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import Database from "libsql";
import { StorageError } from "../../core/errors.ts";
import { type Configuration, type Entry, LOST_VOTE } from "../../server/raft_types.ts";
import { type LoadedRaft, loadRaft } from "../../server/replica_load.ts";
import { memoryStorage, type RaftStorage, type SnapshotBase } from "../../server/storage.ts";
import { libsqlStorage } from "../../server/storage_libsql.ts";
import { Network, server, SLOW, testReplica, until } from "./helpers.ts";
import { MapMachine, put } from "./machine.ts";

const none = { hard: null, entries: [], install: null };

/** A directory with one log; every storage made in it is closed at the end. */
class Place {
  readonly path: string;
  readonly #dir = mkdtempSync(join(tmpdir(), "nomad-damage-"));
  #made: RaftStorage[] = [];

  constructor() {
    this.path = join(this.#dir, "raft.db");
  }

  async open(): Promise<RaftStorage> {
    const storage = libsqlStorage({ path: this.path });
    this.#made.push(storage);
    await storage.open();
    return storage;
  }

  /** What a starting server reads. */
  async load(id = "a"): Promise<LoadedRaft> {
    const storage = libsqlStorage({ path: this.path });
    try {
      return await loadRaft(storage, id);
    } finally {
      await storage.close();
    }
  }

  /** Copies the files of a running storage, as kill -9 would leave them. */
  copy(to: Place, ends = ["", "-wal", ".mark"]): void {
    for (const end of ends) copyFileSync(this.path + end, to.path + end);
  }

  /** Flips one byte within the only place where `text` stands in the file. */
  flip(text: string, end = ""): void {
    const bytes = readFileSync(this.path + end);
    const at = bytes.indexOf(text);
    assert.ok(at >= 0, `${text} does not stand in ${end || "the database"}`);
    assert.equal(bytes.indexOf(text, at + 1), -1, `${text} stands twice`);
    bytes[at + 3]! ^= 0x20;
    writeFileSync(this.path + end, bytes);
  }

  async remove(): Promise<void> {
    for (const storage of this.#made) await storage.close();
    rmSync(this.#dir, { recursive: true });
  }
}

const CLUSTER = ["a", "b", "c"];

function config(ids: string[]): Configuration {
  return { servers: ids.map((id) => server(id)) };
}

function baseAt(index: number): SnapshotBase {
  return { index, term: 2, configIndex: 1, config: config(CLUSTER) };
}

/** Entry 1 is the membership, the others say their number. */
function log(to: number, ids: string[], from = 1): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i): Entry => {
    const index = from + i;
    if (index === 1) return { index, term: 1, kind: "config", data: JSON.stringify(config(ids)) };
    return {
      index,
      term: 2,
      kind: "command",
      data: JSON.stringify({ n: `<<${index}>>`, pad: "x".repeat(900) }),
    };
  });
}

async function written(place: Place, ids: string[], to = 20): Promise<RaftStorage> {
  const storage = await place.open();
  await storage.write({ ...none, entries: log(to, ids), hard: { term: 3, vote: "b", commit: 5 } });
  return storage;
}

function damageTest(name: string, run: (place: Place, other: Place) => Promise<void>): void {
  test(name, SLOW, async () => {
    const [place, other] = [new Place(), new Place()];
    try {
      await run(place, other);
    } finally {
      await place.remove();
      await other.remove();
    }
  });
}

async function stops(promise: Promise<unknown>, ...texts: RegExp[]): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof StorageError, String(error));
    assert.equal(error.kind, "corrupt");
    for (const text of texts) assert.match(error.message, text);
    assert.ok(!error.message.includes("\n"), "one line");
    return true;
  });
}

damageTest(
  "a damaged last record is cut in a cluster, and the server abstains until it has it again",
  async (place) => {
    await (await written(place, CLUSTER)).close();
    place.flip("<<20>>");
    const loaded = await place.load();
    assert.equal(loaded.entries.at(-1)?.index, 19);
    assert.deepEqual(loaded.hard, { term: 3, vote: LOST_VOTE, commit: 5, abstain: { index: 20, term: 3 } });
    assert.match(
      loaded.warning,
      /Log entry 20 \(term 2\) is damaged: .* after entry 19.* does not vote until/,
    );
    // It is remembered, although the file is whole now.
    const again = await place.load();
    assert.deepEqual([again.hard, again.warning, again.entries.length], [loaded.hard, "", 19]);
  },
);

damageTest("several damaged records at the end are cut together", async (place) => {
  await (await written(place, CLUSTER)).close();
  for (const n of [17, 18, 20, 19]) place.flip(`<<${n}>>`);
  const loaded = await place.load();
  assert.equal(loaded.entries.length, 16);
  assert.deepEqual(loaded.hard.abstain, { index: 20, term: 3 });
  assert.match(loaded.warning, /Log entry 17 .*entries 17 to 20 may be lost/);
});

damageTest("a server alone stops at a damaged last record, until the operator gives it up", async (place) => {
  await (await written(place, ["a"])).close();
  place.flip("<<20>>");
  const before = readFileSync(place.path);
  for (let i = 0; i < 2; i++) {
    await stops(
      place.load(),
      /Log entry 20 \(term 2\)/,
      /operator snapshot restore/,
      /write 19 into .*accept-loss/,
    );
  }
  assert.deepEqual(readFileSync(place.path), before, "nothing was changed");
  writeFileSync(`${place.path}.accept-loss`, "18\n");
  await stops(place.load(), /Log entry 20/);
  writeFileSync(`${place.path}.accept-loss`, "19\n");
  const loaded = await place.load();
  assert.deepEqual([loaded.entries.length, loaded.hard.abstain], [19, undefined]);
  assert.match(loaded.warning, /as the operator accepted/);
  assert.ok(!existsSync(`${place.path}.accept-loss`), "the word counts once");
});

damageTest("damage in the middle stops a cluster's server, too, and names the record", async (place) => {
  await (await written(place, CLUSTER)).close();
  place.flip("<<12>>");
  await stops(place.load(), /Log entry 12 \(term 2\) is damaged/, /rejoins from its peers/);
});

damageTest("a page of the file in the middle of the log: the first record in it is named", async (place) => {
  const storage = await place.open();
  await storage.write({ ...none, entries: log(400, CLUSTER) });
  await storage.close();
  const bytes = readFileSync(place.path);
  const page = Math.floor(bytes.indexOf("<<200>>") / 4096);
  bytes.fill(0xa5, page * 4096, (page + 1) * 4096);
  writeFileSync(place.path, bytes);
  await stops(place.load(), /Log entry (19\d|20\d) /, /rejoins from its peers/);
});

damageTest("a page at the log's end: cut, or the first record in it is named", async (place) => {
  const storage = await place.open();
  await storage.write({ ...none, entries: log(400, CLUSTER) });
  await storage.close();
  const bytes = readFileSync(place.path);
  const page = Math.floor(bytes.indexOf("<<400>>") / 4096);
  bytes.fill(0xa5, page * 4096, (page + 1) * 4096);
  writeFileSync(place.path, bytes);
  const loaded = await place.load().catch((error) => error as StorageError);
  if (loaded instanceof StorageError) {
    assert.match(loaded.message, /Log entry (39\d|400) .*rejoins from its peers/);
  } else {
    assert.ok(loaded.entries.length >= 390 && loaded.entries.length < 400);
    assert.deepEqual(loaded.hard.abstain?.index, 400);
  }
});

damageTest(
  "a WAL whose end is damaged: the log is an older one, which the mark tells",
  async (place, other) => {
    const storage = await written(place, CLUSTER);
    for (const n of [21, 22, 23]) await storage.write({ ...none, entries: log(n, CLUSTER, n) });
    place.copy(other);
    other.flip("<<23>>", "-wal");
    const loaded = await other.load();
    assert.equal(loaded.entries.length, 22);
    assert.deepEqual(loaded.hard.abstain, { index: 23, term: 3 });
    assert.match(loaded.warning, /ends at entry 22, but entry 23 was durable: .*-wal was damaged or removed/);
  },
);

damageTest("a WAL that is gone stops a server alone and makes a cluster's abstain", async (place, other) => {
  const storage = await written(place, ["a"]);
  await storage.close();
  const more = await place.open();
  await more.write({ ...none, entries: log(25, ["a"], 21) });
  place.copy(other, ["", ".mark"]);
  await stops(other.load(), /ends at entry 20, but entry 25 was durable/, /write 20 into/);
});

damageTest(
  "a write that was torn by kill -9 was never acknowledged: it is no damage",
  async (place, other) => {
    const storage = await written(place, ["a"]);
    copyFileSync(`${place.path}.mark`, `${other.path}.mark`);
    await storage.write({ ...none, entries: log(30, ["a"], 21) });
    place.copy(other, ["", "-wal"]);
    truncateSync(`${other.path}-wal`, readFileSync(`${other.path}-wal`).length - 5000);
    const loaded = await other.load();
    assert.deepEqual([loaded.entries.length, loaded.warning, loaded.hard.vote], [20, "", "b"]);
  },
);

damageTest("a vote that is gone with the WAL: nobody else gets it in that term", async (place, other) => {
  const storage = await written(place, CLUSTER);
  await storage.close();
  const more = await place.open();
  await more.write({ ...none, hard: { term: 7, vote: "c", commit: 5 } });
  place.copy(other, ["", ".mark"]);
  const loaded = await other.load();
  assert.deepEqual(loaded.hard, { term: 7, vote: LOST_VOTE, commit: 5 });
  assert.match(loaded.warning, /vote of term 7 is gone/);
});

damageTest("entries that replaced others and are gone with the WAL count as lost", async (place, other) => {
  await (await written(place, CLUSTER)).close();
  const more = await place.open();
  const newer = log(15, CLUSTER, 11).map((e) => ({ ...e, term: 3 }));
  await more.write({ ...none, entries: newer });
  place.copy(other, ["", ".mark"]);
  const loaded = await other.load();
  assert.deepEqual(loaded.hard.abstain, { index: 15, term: 3 });
  assert.match(loaded.warning, /Log entry 15 is not the one that was durable/);
});

damageTest("a database that is gone although its mark is there stops the server", async (place, other) => {
  await (await written(place, CLUSTER)).close();
  copyFileSync(`${place.path}.mark`, `${other.path}.mark`);
  await stops(
    other.load(),
    /ends at entry 0, but entry 20 was durable/,
    /entries 1 to 20 may have been acknowledged/,
  );
  writeFileSync(`${other.path}.accept-loss`, "0");
  assert.deepEqual((await other.load()).hard, { term: 0, vote: "", commit: 0 });
});

damageTest("a damaged vote stops the server", async (place) => {
  await (await written(place, CLUSTER)).close();
  place.flip('"vote":"b"');
  await stops(place.load(), /The record "hard" is damaged/, /rejoins from its peers/);
});

async function withSnapshots(place: Place): Promise<void> {
  const storage = await written(place, CLUSTER);
  for (const [index, text] of [[8, "older"], [12, "newest"]] as const) {
    const writer = await storage.writeSnapshot(baseAt(index));
    await writer.write([text]);
    await writer.finish();
  }
  await storage.close();
}

function tamper(path: string, sql: string): void {
  const db = new Database(path);
  db.exec(sql);
  db.close();
}

damageTest("a damaged older snapshot stops nothing", async (place) => {
  await withSnapshots(place);
  tamper(
    place.path,
    "UPDATE snapshot SET meta = replace(meta, '8', '9') WHERE id = 1; DELETE FROM block WHERE snapshot = 1",
  );
  const loaded = await place.load();
  assert.deepEqual([loaded.snapshot?.index, loaded.entries.length, loaded.warning], [12, 20, ""]);
});

damageTest(
  "a damaged newest snapshot is not needed where an older one and the log hold everything",
  async (place) => {
    await withSnapshots(place);
    place.flip('"index":12');
    const loaded = await place.load();
    assert.deepEqual([loaded.snapshot?.index, loaded.entries.length], [8, 20]);
  },
);

damageTest(
  "a damaged description of the snapshot that holds what the log does not stops the server",
  async (place) => {
    await withSnapshots(place);
    const storage = await place.open();
    await storage.compact({ index: 12, term: 2, configIndex: 1, config: config(CLUSTER) }, []);
    await storage.close();
    tamper(place.path, `UPDATE snapshot SET meta = replace(meta, '12', '13')`);
    await stops(place.load(), /description of snapshot row 2 is damaged/, /rejoins from its peers/);
  },
);

damageTest("a damaged end that the snapshot holds anyway is no loss", async (place) => {
  const storage = await written(place, CLUSTER);
  const writer = await storage.writeSnapshot(baseAt(20));
  await writer.write(["all"]);
  await writer.finish();
  await storage.close();
  for (const n of [19, 20]) place.flip(`<<${n}>>`);
  const loaded = await place.load();
  assert.deepEqual([loaded.floor.index, loaded.entries.length, loaded.hard.vote, loaded.warning], [
    20,
    0,
    "b",
    "",
  ]);
  const again = await place.open();
  await again.write({ ...none, entries: log(21, CLUSTER, 21) });
  assert.equal((await again.read(21, Infinity)).length, 1);
});

damageTest(
  "a follower with a damaged end gets it again from the leader that thinks it has it",
  async (place) => {
    const network = new Network();
    const machines = new Map(CLUSTER.map((id) => [id, new MapMachine()]));
    const warnings: string[] = [];
    const replica = (id: string, storage: RaftStorage) =>
      testReplica({
        id,
        storage,
        network,
        bootstrap: CLUSTER,
        logger: (level, text) => void (level === "warn" && warnings.push(text)),
      });
    const others = ["a", "b"].map((id) => replica(id, memoryStorage()));
    let damaged = replica("c", libsqlStorage({ path: place.path }));
    try {
      await Promise.all(others.map((r, i) => r.start(machines.get(CLUSTER[i]!)!)));
      await until(() => others.some((r) => r.isLeader), "a leader");
      const leader = others.find((r) => r.isLeader)!;
      await damaged.start(machines.get("c")!);
      for (let i = 0; i < 30; i++) await leader.propose(put(`key-${i}`, i));
      await until(() => machines.get("c")!.values.size === 30, "the follower to have it all");
      const { term } = leader;
      await damaged.stop();
      place.flip('"key-29"');
      const machine = new MapMachine();
      damaged = replica("c", libsqlStorage({ path: place.path }));
      await damaged.start(machine);
      await until(() => machine.values.size === 30, "the lost entry to come back");
      assert.match(warnings.join("\n"), /Log entry \d+ .* is damaged: .* does not vote/);
      assert.equal(leader.term, term, "nobody needed an election");
      // Whole again, it counts: with the other follower gone the two go on.
      await others.find((r) => r !== leader)!.stop();
      await leader.propose(put("after", 1));
      await damaged.stop();
      assert.equal((await place.load("c")).hard.abstain, undefined);
    } finally {
      for (const each of [...others, damaged]) await each.stop();
    }
  },
);
