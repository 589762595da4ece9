// From disk to memory: what a starting server reads back. Checks that the stored pieces fit together; builds the
// options of raft.ts; decides what a damaged end of the log means (docs/raft.md, "Damage"). Applies nothing.
//
// Invariant: what may have been acknowledged is given up only where others still have it, or on the operator's word; and
// then it is durable that this server does not vote before a damaged record is removed.
import { assert } from "../core/assert.ts";
import { StorageError } from "../core/errors.ts";
import type { StateMachine } from "./log.ts";
import type { RaftOptions } from "./raft.ts";
import {
  type Configuration,
  type Entry,
  type HardState,
  LOST_VOTE,
  type SnapshotMeta,
} from "./raft_types.ts";
import { floorOf, type LostTail, type RaftStorage, type Stored, WAY_OUT } from "./storage.ts";

/** Characters of log read from storage at once. */
const PAGE_CHARS = 8 * 1024 * 1024;
const BLOCKS_AHEAD = 8;

export type LoadedRaft = Pick<RaftOptions, "hard" | "snapshot" | "floor" | "entries"> & {
  /** What an operator must know of it, "" for nothing. */
  warning: string;
};

export async function loadRaft(storage: RaftStorage, id: string): Promise<LoadedRaft> {
  const stored = await storage.open();
  const { snapshot } = stored;
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
  const config = configOf(entries) ?? floor.config;
  const { hard, warning } = stored.lost
    ? await giveUp(storage, stored, stored.lost, {
      alone: isOnlyVoter(config, id),
      empty: config.servers.length === 0,
    })
    : { hard: stored.hard, warning: "" };
  const { index, term } = floor;
  return {
    hard,
    warning,
    snapshot,
    entries,
    floor: { index, term, config: { index: floor.configIndex, config: floor.config } },
  };
}

/** The end of the log is gone: cut where that endangers nothing, or a StorageError that says what was lost. */
async function giveUp(
  storage: RaftStorage,
  { hard, lastIndex }: Stored,
  lost: LostTail,
  { alone, empty }: { alone: boolean; empty: boolean },
): Promise<{ hard: HardState; warning: string }> {
  const { from } = lost;
  const entries = from === lost.to ? `entry ${from}` : `entries ${from} to ${lost.to}`;
  const range = lost.to === 0 ? "a vote" : entries;
  if ((alone || empty) && lost.to > 0 && !lost.accepted) {
    throw new StorageError(
      "corrupt",
      `${lost.what}: ${range} may have been acknowledged${
        alone ? " and no other server has them" : ""
      }. ${WAY_OUT}. ${lost.override}`,
    );
  }
  const next: HardState = {
    term: Math.max(hard.term, lost.term),
    vote: LOST_VOTE,
    commit: Math.min(hard.commit, lastIndex),
  };
  if (empty) Object.assign(next, { term: 0, vote: "" }); // As if it had never been: it may found a cluster.
  const before = hard.abstain;
  if (!alone && !lost.accepted && (lost.to > 0 || before)) {
    next.abstain = { index: Math.max(lost.to, before?.index ?? 0), term: next.term };
  }
  try {
    await storage.write({ hard: next, entries: [], install: null });
  } catch (error) {
    if (!(error instanceof StorageError) || error.kind !== "corrupt") throw error;
    throw new StorageError("corrupt", `${lost.what}, and it cannot be cut off: ${error.message}`);
  }
  const cut = `${lost.what}: the log goes on after entry ${lastIndex}, ${range} may be lost here`;
  if (lost.accepted) return { hard: next, warning: `${cut}, as the operator accepted` };
  if (alone) return { hard: next, warning: `${cut}, which matters to nobody: this server is alone` };
  return {
    hard: next,
    warning: `${cut}. This server does not vote until the leader has sent what is missing`,
  };
}

function configOf(entries: readonly Entry[]): Configuration | undefined {
  const last = entries.findLast((e) => e.kind === "config");
  return last && JSON.parse(last.data) as Configuration;
}

function isOnlyVoter(config: Configuration, id: string): boolean {
  const voters = config.servers.filter((s) => s.voter);
  return voters.length === 1 && voters[0]!.id === id;
}

function isAlone(snapshot: SnapshotMeta, id: string): boolean {
  return snapshot.config.servers.length === 1 && snapshot.config.servers[0]!.id === id;
}

/**
 * Loads a stored snapshot into the machine, which is as before until all of it was read: storage unpacks some blocks ahead
 * while the machine takes one in. False when `wanted` said no on the way.
 */
export async function restoreSnapshot(
  storage: RaftStorage,
  snapshot: SnapshotMeta,
  machine: StateMachine,
  wanted: () => boolean,
): Promise<boolean> {
  const chunks: string[] = [];
  const restorer = machine.restorer?.(snapshot.index) ?? {
    add: (chunk: string) => void chunks.push(chunk),
    finish: () => machine.restore(snapshot.index, chunks),
  };
  const ahead: Promise<string[]>[] = [];
  for (let next = 0; next < snapshot.blocks || ahead.length > 0;) {
    while (next < snapshot.blocks && ahead.length < BLOCKS_AHEAD) {
      const block = storage.readChunks(snapshot, next++);
      block.catch(() => undefined); // It is awaited below, unless an earlier one fails first.
      ahead.push(block);
    }
    for (const chunk of await ahead.shift()!) restorer.add(chunk);
    if (!wanted()) return false;
  }
  restorer.finish();
  return true;
}
