// From disk to memory: what a starting server reads back. Checks that the stored pieces fit together; builds the
// options of raft.ts. Applies nothing.
import { assert } from "../core/assert.ts";
import { StorageError } from "../core/errors.ts";
import type { RaftOptions } from "./raft.ts";
import type { Entry, SnapshotMeta } from "./raft_types.ts";
import { floorOf, type RaftStorage, WAY_OUT } from "./storage.ts";

/** Characters of log read from storage at once. */
const PAGE_CHARS = 8 * 1024 * 1024;
const BLOCKS_AT_ONCE = 8;

export type LoadedRaft = Pick<RaftOptions, "hard" | "snapshot" | "floor" | "entries">;

export async function loadRaft(storage: RaftStorage, id: string): Promise<LoadedRaft> {
  const stored = await storage.open();
  const { snapshot, hard } = stored;
  if (stored.floor.index > (snapshot?.index ?? 0)) {
    throw new StorageError(
      "corrupt",
      `The log starts after entry ${stored.floor.index}, but no snapshot reaches that far. ${WAY_OUT}`,
    );
  }
  // Entries from before the snapshot serve followers that are behind; a server alone has none.
  const floor = snapshot && isAlone(snapshot, id) ? floorOf(snapshot) : stored.floor;
  const entries: Entry[] = [];
  for (let next = floor.index + 1; next <= stored.lastIndex;) {
    const page = await storage.read(next, PAGE_CHARS);
    assert(
      page.length > 0 && page[0]!.index === next,
      `storage has no entry ${next}, its last is ${stored.lastIndex}`,
    );
    for (const entry of page) entries.push(entry);
    next += page.length;
  }
  const { index, term } = floor;
  return {
    hard,
    snapshot,
    entries,
    floor: { index, term, config: { index: floor.configIndex, config: floor.config } },
  };
}

function isAlone(snapshot: SnapshotMeta, id: string): boolean {
  return snapshot.config.servers.length === 1 && snapshot.config.servers[0]!.id === id;
}

/** All chunks of a snapshot. Some blocks are asked for at once, so that unpacking here and in storage overlap. */
export async function readSnapshot(storage: RaftStorage, snapshot: SnapshotMeta): Promise<string[]> {
  const chunks: string[] = [];
  for (let first = 0; first < snapshot.blocks; first += BLOCKS_AT_ONCE) {
    const count = Math.min(BLOCKS_AT_ONCE, snapshot.blocks - first);
    const blocks = Array.from({ length: count }, (_, i) => storage.readChunks(snapshot, first + i));
    for (const block of await Promise.all(blocks)) for (const chunk of block) chunks.push(chunk);
  }
  return chunks;
}
