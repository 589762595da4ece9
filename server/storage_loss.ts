// What a server's disk lost, told from what is there and from its mark: pure, so that the real database and the simulated
// disk judge alike (docs/raft.md, "Damage"). What follows from a loss is decided in replica_load.ts.
import { crc32 } from "node:zlib";
import type { HardState } from "./raft_types.ts";
import type { LostTail } from "./storage.ts";

/** What was durable last, beside the log that it tells of. */
export interface MarkValue {
  /** Last entry and its term; term 0 where it is not known. */
  index: number;
  lastTerm: number;
  /** The durable vote: its term and the CRC-32 of its text, 0 for none. */
  term: number;
  vote: number;
}

/** The log as it was found. */
export interface FoundLog {
  hard: HardState;
  /** Last intact entry. */
  lastIndex: number;
  /** Last entry of which anything is there or was ever heard of. */
  seen: number;
  /** What is damaged behind `lastIndex`, "" for nothing that can be seen. */
  what: string;
  /** Of an intact entry; Infinity when it is compacted: it stands in the snapshot. */
  termOf(index: number): number;
  /** Path of the database. */
  path: string;
  /** The operator gave up what is lost. */
  accepted: boolean;
}

export function voteMark(vote: string): number {
  return vote === "" ? 0 : crc32(vote);
}

/** Null when nothing that was durable is missing. */
export function judgeLoss(mark: MarkValue | null, found: FoundLog): LostTail | null {
  const { hard, lastIndex, seen, path, accepted } = found;
  const lost = {
    from: lastIndex + 1,
    to: seen,
    term: Math.max(hard.term, mark?.term ?? 0),
    override: `To give up what is lost instead, write ${lastIndex} into the file ${path}.accept-loss`,
    accepted,
  };
  if (seen > lastIndex) {
    const gone = `The log in ${path} ends at entry ${lastIndex}, but entry ${seen} was durable: ` +
      `${path}-wal was damaged or removed`;
    return { ...lost, what: found.what || gone };
  }
  // Fewer and newer entries stood here, or another vote.
  if (mark && mark.lastTerm > found.termOf(mark.index)) {
    return {
      ...lost,
      from: mark.index,
      to: mark.index,
      what: `Log entry ${mark.index} is not the one that was durable: ${path}-wal was damaged or removed`,
    };
  }
  const voteIsGone = mark && (mark.term > hard.term ||
    (mark.term === hard.term && mark.vote !== 0 && mark.vote !== voteMark(hard.vote)));
  if (!voteIsGone) return null;
  return {
    ...lost,
    to: 0,
    what: `The vote of term ${mark.term} is gone: ${path}-wal was damaged or removed`,
  };
}
