// One suite for every storage: run by storage_memory.test.ts and storage_libsql.test.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Entry, SnapshotMeta } from "../../server/raft_types.ts";
import { blockChecksum, packBlock } from "../../core/snapshot_codec.ts";
import { EMPTY_FLOOR, floorOf, type RaftStorage, type SnapshotBase } from "../../server/storage.ts";
import { SLOW } from "./helpers.ts";

/** Gives storages over one lasting place: closing one and making the next is a restart. */
export interface Place {
  storage(): RaftStorage;
  remove(): void;
}

export function entry(index: number, term = 1, data = `{"n":${index}}`): Entry {
  return { index, term, kind: "command", data };
}

export function entries(from: number, to: number, term = 1): Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i) => entry(from + i, term));
}

const config = { servers: [{ id: "a", rpcAddress: "a:1", httpAddress: "a:2", voter: true }] };

export function baseAt(index: number, term = 1): SnapshotBase {
  return { index, term, configIndex: 1, config };
}

const none = { hard: null, entries: [], install: null };

async function snapshotAt(storage: RaftStorage, index: number, blocks: string[][]): Promise<SnapshotMeta> {
  const writer = await storage.writeSnapshot(baseAt(index));
  for (const block of blocks) await writer.write(block);
  return await writer.finish();
}

export function storageSuite(name: string, place: () => Place): void {
  function storageTest(
    title: string,
    run: (storage: RaftStorage, reopen: () => Promise<RaftStorage>) => Promise<void>,
  ) {
    test(`${name}: ${title}`, SLOW, async () => {
      const where = place();
      let current = where.storage();
      try {
        await run(current, async () => {
          await current.close();
          current = where.storage();
          return current;
        });
      } finally {
        await current.close();
        where.remove();
      }
    });
  }

  storageTest("an empty place opens empty", async (storage) => {
    assert.deepEqual(await storage.open(), {
      hard: { term: 0, vote: "", commit: 0 },
      snapshot: null,
      floor: EMPTY_FLOOR,
      lastIndex: 0,
    });
  });

  storageTest("entries, term and vote are there after a restart", async (storage, reopen) => {
    await storage.open();
    await storage.write({ ...none, entries: entries(1, 600), hard: { term: 3, vote: "b", commit: 500 } });
    const odd = [
      { ...entry(601, 2, '{"text":"ü€\\u0000\u{1F680}\'"}'), kind: "config" as const },
      { ...entry(602, 2, ""), kind: "noop" as const },
    ];
    await storage.write({ ...none, entries: odd });
    const again = await reopen();
    const stored = await again.open();
    assert.deepEqual(stored.hard, { term: 3, vote: "b", commit: 500 });
    assert.equal(stored.lastIndex, 602);
    const all = await again.read(1, Infinity);
    assert.deepEqual(all, [...entries(1, 600), ...odd]);
    const page = await again.read(599, 1);
    assert.ok(page.length >= 1);
    assert.deepEqual(page[0], entry(599));
  });

  storageTest("an entry written twice replaces it and everything after it", async (storage, reopen) => {
    await storage.open();
    await storage.write({ ...none, entries: entries(1, 10) });
    await storage.write({ ...none, entries: entries(4, 5, 2) });
    const again = await reopen();
    assert.equal((await again.open()).lastIndex, 5);
    assert.deepEqual(await again.read(1, Infinity), [...entries(1, 3), ...entries(4, 5, 2)]);
  });

  storageTest("a snapshot gives back its chunks, and the log before it can go", async (storage, reopen) => {
    await storage.open();
    await storage.write({ ...none, entries: entries(1, 10) });
    const chunks = [["one", "zwei\u{1F680}"], ["", "\uFEFFthree"], ["x".repeat(300_000)]];
    const meta = await snapshotAt(storage, 8, chunks);
    assert.equal(meta.blocks, 3);
    await storage.compact({ ...EMPTY_FLOOR, index: 6, term: 1 }, []);
    const again = await reopen();
    const stored = await again.open();
    assert.deepEqual(stored.snapshot, meta);
    assert.equal(stored.floor.index, 6);
    assert.deepEqual(await again.read(7, Infinity), entries(7, 10));
    for (const [block, expected] of chunks.entries()) {
      assert.deepEqual(await again.readChunks(meta, block), expected);
    }
  });

  storageTest("compact keeps the newest snapshot and those still needed", async (storage, reopen) => {
    await storage.open();
    await storage.write({ ...none, entries: entries(1, 30) });
    const first = await snapshotAt(storage, 10, [["first"]]);
    const second = await snapshotAt(storage, 20, [["second"]]);
    const third = await snapshotAt(storage, 30, [["third"]]);
    await storage.compact(floorOf(second), [first]);
    assert.ok(await storage.readBlock(first, 0));
    assert.equal(await storage.readBlock(second, 0), null);
    assert.ok(await storage.readBlock(third, 0));
    await storage.compact(floorOf(third), []);
    assert.equal(await storage.readBlock(first, 0), null);
    const stored = await (await reopen()).open();
    assert.deepEqual([stored.lastIndex, stored.snapshot], [30, third]);
  });

  storageTest("a snapshot that was not finished is not one", async (storage, reopen) => {
    await storage.open();
    await storage.write({ ...none, entries: entries(1, 3) });
    const aborted = await storage.writeSnapshot(baseAt(2));
    await aborted.write(["half"]);
    await aborted.abort();
    const left = await storage.writeSnapshot(baseAt(3));
    await left.write(["half"]);
    const again = await reopen();
    const stored = await again.open();
    assert.equal(stored.snapshot, null);
    assert.equal(stored.lastIndex, 3);
  });

  storageTest(
    "a received snapshot is staged in order, over a restart, and replaces the log",
    async (storage, reopen) => {
      const blocks = [packBlock(["a", "b"]), packBlock(["c"]), packBlock(["d"])];
      const bytes = blocks.reduce((sum, b) => sum + b.length, 0);
      const checksum = blocks.reduce((sum, b) => blockChecksum(b, sum), 0);
      const meta: SnapshotMeta = { ...baseAt(50, 4), blocks: 3, bytes, checksum };
      await storage.open();
      await storage.write({ ...none, entries: entries(1, 5) });
      assert.equal(await storage.stageBlock(meta, 1, blocks[1]!), 0, "block 0 is missing");
      assert.equal(await storage.stageBlock(meta, 0, blocks[0]!), 1);
      assert.equal(await storage.stageBlock(meta, 0, blocks[0]!), 1, "a repeated block changes nothing");
      const again = await reopen();
      assert.equal((await again.open()).snapshot, null);
      assert.equal(await again.stageBlock(meta, 1, blocks[1]!), 2);
      assert.equal(await again.stageBlock(meta, 2, blocks[2]!), 3);
      await again.write({
        hard: { term: 4, vote: "", commit: 50 },
        entries: entries(51, 52, 4),
        install: meta,
      });
      const third = await reopen();
      const stored = await third.open();
      assert.deepEqual(stored, {
        hard: { term: 4, vote: "", commit: 50 },
        snapshot: meta,
        floor: floorOf(meta),
        lastIndex: 52,
      });
      assert.deepEqual(await third.read(51, Infinity), entries(51, 52, 4));
      assert.deepEqual([await third.readChunks(meta, 0), await third.readChunks(meta, 2)], [["a", "b"], [
        "d",
      ]]);
      assert.deepEqual(await third.readBlock(meta, 1), blocks[1]);
    },
  );

  storageTest("another snapshot replaces a half-received one", async (storage) => {
    const block = packBlock(["a"]);
    const meta = (index: number): SnapshotMeta => ({
      ...baseAt(index),
      blocks: 2,
      bytes: 9,
      checksum: index,
    });
    await storage.open();
    assert.equal(await storage.stageBlock(meta(5), 0, block), 1);
    assert.equal(await storage.stageBlock(meta(9), 0, block), 1);
    assert.equal(await storage.stageBlock(meta(5), 1, block), 0, "the older one begins again");
  });
}
