// The shared suite on libsql, and what only a real disk can show: damage, a full disk, a second process, encryption.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import Database from "libsql";
import { StorageError } from "../../core/errors.ts";
import type { RaftStorage } from "../../server/storage.ts";
import { workerUrl } from "../../core/worker_url.ts";
import { libsqlStorage, type LibsqlStorageOptions } from "../../server/storage_libsql.ts";
import { SLOW } from "./helpers.ts";
import { baseAt, entries, entry, storageSuite } from "./storage_suite.ts";

const none = { hard: null, entries: [], install: null };

storageSuite("libsqlStorage", () => {
  const dir = mkdtempSync(join(tmpdir(), "nomad-storage-"));
  return {
    storage: () => libsqlStorage({ path: join(dir, "raft.db") }),
    remove: () => rmSync(dir, { recursive: true }),
  };
});

storageSuite("libsqlStorage encrypted", () => {
  const dir = mkdtempSync(join(tmpdir(), "nomad-storage-"));
  return {
    storage: () => libsqlStorage({ path: join(dir, "raft.db"), encryptionKey: "a secret of some length" }),
    remove: () => rmSync(dir, { recursive: true }),
  };
});

type Make = (options?: Partial<LibsqlStorageOptions>) => RaftStorage;

function diskTest(name: string, run: (make: Make, path: string) => Promise<void>): void {
  test(name, SLOW, async () => {
    const dir = mkdtempSync(join(tmpdir(), "nomad-storage-"));
    const path = join(dir, "raft.db");
    const made: RaftStorage[] = [];
    try {
      await run((options) => {
        const storage = libsqlStorage({ path, ...options });
        made.push(storage);
        return storage;
      }, path);
    } finally {
      for (const storage of made) await storage.close();
      rmSync(dir, { recursive: true });
    }
  });
}

async function refused(promise: Promise<unknown>, kind: StorageError["kind"], text: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof StorageError, String(error));
    assert.equal(error.kind, kind, error.message);
    assert.match(error.message, text);
    return true;
  });
}

/** Changes stored rows behind the program's back. */
function tamper(path: string, sql: string): void {
  const db = new Database(path);
  db.exec(sql);
  db.close();
}

diskTest(
  "a second process on the same data is refused at open, and may open when the first is gone",
  async (make) => {
    const first = make();
    await first.open();
    const second = make();
    await refused(second.open(), "locked", /Another process uses .*raft\.db.*data_dir/);
    await first.write({ ...none, entries: entries(1, 2) });
    await first.close();
    const third = make();
    assert.equal((await third.open()).lastIndex, 2);
  },
);

diskTest(
  "a write while another connection holds the lock is refused as locked, and works afterwards",
  async (make, path) => {
    const storage = make({ lockTimeoutMs: 50 });
    await storage.open();
    const other = new Database(path);
    other.exec("BEGIN IMMEDIATE");
    await refused(
      storage.write({ ...none, entries: entries(1, 2) }),
      "locked",
      /database is locked.*refused/,
    );
    other.exec("ROLLBACK");
    other.close();
    await storage.write({ ...none, entries: entries(1, 3) });
    assert.deepEqual(await storage.read(1, Infinity), entries(1, 3));
  },
);

diskTest("a full disk refuses the whole write and nothing of it is stored", async (make, path) => {
  const small = make({ maxBytes: 200_000 });
  await small.open();
  await small.write({ ...none, entries: entries(1, 5), hard: { term: 1, vote: "a", commit: 5 } });
  const huge = Array.from({ length: 100 }, (_, i) => entry(6 + i, 2, "x".repeat(10_000)));
  await refused(
    small.write({ ...none, entries: huge, hard: { term: 9, vote: "z", commit: 5 } }),
    "full",
    /disk is full/,
  );
  assert.deepEqual(await small.read(1, Infinity), entries(1, 5));
  await small.write({ ...none, entries: [entry(6, 1)] });
  await small.close();
  const roomy = make();
  const stored = await roomy.open();
  assert.deepEqual([stored.lastIndex, stored.hard], [6, { term: 1, vote: "a", commit: 5 }]);
  assert.ok(readFileSync(path).length > 0);
});

diskTest("a refused snapshot leaves the older one", async (make) => {
  const small = make({ maxBytes: 400_000 });
  await small.open();
  await small.write({ ...none, entries: entries(1, 5) });
  const writer = await small.writeSnapshot(baseAt(3));
  await writer.write(["good"]);
  const good = await writer.finish();
  const second = await small.writeSnapshot(baseAt(5));
  const noise = () =>
    Array.from({ length: 20_000 }, () => String.fromCharCode(33 + Math.random() * 9000)).join("");
  await refused(
    (async () => {
      for (let i = 0; i < 50; i++) await second.write([noise()]);
    })(),
    "full",
    /disk is full/,
  );
  await second.abort();
  assert.deepEqual(await small.readChunks(good, 0), ["good"]);
  await small.write({ ...none, entries: [entry(6)] });
});

diskTest("a changed entry stops reading and names the entry and the way out", async (make, path) => {
  const storage = make();
  await storage.open();
  await storage.write({ ...none, entries: entries(1, 20) });
  await storage.close();
  tamper(path, `UPDATE log SET data = '{"n":999}' WHERE idx = 12`);
  const again = make();
  await again.open();
  await refused(again.read(1, Infinity), "corrupt", /Log entry 12 \(term 1\) is damaged.*rejoin/);
  assert.equal((await again.read(13, Infinity)).length, 8);
});

diskTest("a missing entry in the middle is damage", async (make, path) => {
  const storage = make();
  await storage.open();
  await storage.write({ ...none, entries: entries(1, 20) });
  await storage.close();
  tamper(path, "DELETE FROM log WHERE idx = 7");
  const again = make();
  await again.open();
  await refused(again.read(1, Infinity), "corrupt", /Log entry 7 is missing/);
});

diskTest("durable entries that are gone from the log's end are told at open", async (make, path) => {
  const storage = make();
  await storage.open();
  await storage.write({ ...none, entries: entries(1, 20) });
  await storage.close();
  tamper(path, "DELETE FROM log WHERE idx > 15");
  const { lastIndex, lost } = await make().open();
  assert.deepEqual([lastIndex, lost?.from, lost?.to], [15, 16, 20]);
  assert.match(lost!.what, /ends at entry 15, but entry 20 was durable/);
});

diskTest("a log that was cut by its leader opens", async (make) => {
  const storage = make();
  await storage.open();
  await storage.write({ ...none, entries: entries(1, 20) });
  await storage.write({ ...none, entries: entries(11, 12, 2) });
  await storage.close();
  assert.equal((await make().open()).lastIndex, 12);
});

diskTest("a changed vote, snapshot description or block is damage", async (make, path) => {
  const storage = make();
  await storage.open();
  await storage.write({ ...none, entries: entries(1, 5), hard: { term: 2, vote: "a", commit: 5 } });
  const writer = await storage.writeSnapshot(baseAt(5));
  await writer.write(["state"]);
  const meta = await writer.finish();
  await storage.close();
  tamper(path, "UPDATE block SET data = x'00112233'");
  const second = make();
  await second.open();
  await refused(second.readChunks(meta, 0), "corrupt", /Block 0 of snapshot 5 is damaged/);
  await second.close();
  tamper(path, `UPDATE meta SET value = '{"term":9}' WHERE key = 'hard'`);
  await refused(make().open(), "corrupt", /record "hard" is damaged/);
});

diskTest("damaged pages of the file are damage", async (make, path) => {
  const storage = make();
  await storage.open();
  await storage.write({
    ...none,
    entries: Array.from({ length: 200 }, (_, i) => entry(i + 1, 1, "x".repeat(3000))),
  });
  await storage.close();
  const bytes = readFileSync(path);
  for (let at = 5 * 4096; at < bytes.length; at += 4096) bytes.fill(0xa5, at, at + 2000);
  writeFileSync(path, bytes);
  const opened = await make().open().catch((error) => error as StorageError);
  if (opened instanceof StorageError) assert.match(opened.message, /malformed|damaged|not a database/);
  else assert.deepEqual([opened.lost?.from, opened.lost?.to], [opened.lastIndex + 1, 200]);
});

diskTest("a wrong encryption key says so", async (make) => {
  const storage = make({ encryptionKey: "right" });
  await storage.open();
  await storage.write({ ...none, entries: entries(1, 2) });
  await storage.close();
  await refused(make({ encryptionKey: "wrong" }).open(), "corrupt", /encryption key is wrong/);
});

diskTest("an encrypted database shows nothing of its entries", async (make, path) => {
  const storage = make({ encryptionKey: "right" });
  await storage.open();
  await storage.write({ ...none, entries: [entry(1, 1, `"${"secret-text".repeat(500)}"`)] });
  const files = ["", "-wal"].map((end) => readFileSync(path + end).toString("latin1")).join("");
  assert.ok(!files.includes("secret-text"));
});

test("a directory that does not exist is an io error, not a crash", SLOW, async () => {
  const storage = libsqlStorage({ path: join(tmpdir(), "nomad-no-such-dir", "raft.db") });
  await refused(storage.open(), "io", /Cannot/);
  await refused(storage.write(none), "io", /not open|stopped/);
});

test("workerUrl names the source beside a source and the bundle beside a bundle", () => {
  assert.equal(
    workerUrl("storage_worker", "file:///x/server/storage_libsql.ts").href,
    "file:///x/server/storage_worker.ts",
  );
  assert.equal(
    workerUrl("storage_worker", "file:///x/dist/nomad.mjs").href,
    "file:///x/dist/storage_worker.mjs",
  );
});
