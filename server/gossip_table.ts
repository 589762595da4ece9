// What one server knows of all members: the records, since when, and who suspects whom; and the queue of changes that
// still have to be told. Pure: time comes in as an argument.
//
// Invariants: a record is only ever replaced by a newer one (gossip_types.ts); a queued change is told a bounded number
// of times, and a newer one of the same member takes its place.
import type { Member } from "./membership.ts";
import type { MemberRecord, RecordStatus } from "./gossip_types.ts";

/** A known member. */
export interface Known {
  record: MemberRecord;
  /** Since when the status stands; in the past when the word came late. */
  sinceMs: number;
  /** Names of those who suspect it. */
  accusers: Set<string>;
}

const RANK: Record<RecordStatus, number> = { alive: 0, suspect: 1, failed: 2, left: 3 };
const rank = (record: MemberRecord) => RANK[record.status] + (record.pruned ? 1 : 0);

/** The record `a` says something newer of its member than `b`. */
export function supersedes(a: MemberRecord, b: MemberRecord): boolean {
  if (a.incarnation !== b.incarnation) return a.incarnation > b.incarnation;
  return rank(a) > rank(b);
}

export const sameEndpoint = (a: { host: string; port: number }, b: { host: string; port: number }) =>
  a.host === b.host && a.port === b.port;

/** The member is there, as far as anybody knows. */
export const isUp = (record: MemberRecord) => record.status === "alive" || record.status === "suspect";

/** What the outside sees of a record. */
export function memberView(record: MemberRecord): Member {
  const { name, host, port, tags, status } = record;
  return { name, host, port, tags, status: status === "suspect" ? "alive" : status };
}

export class MemberTable {
  readonly #known = new Map<string, Known>();

  get size(): number {
    return this.#known.size;
  }

  get(name: string): Known | undefined {
    return this.#known.get(name);
  }

  put(record: MemberRecord, nowMs: number): Known {
    const known: Known = {
      record,
      sinceMs: nowMs - record.ageMs,
      accusers: record.status === "suspect" ? new Set([record.by]) : new Set(),
    };
    this.#known.set(record.name, known);
    return known;
  }

  delete(name: string): void {
    this.#known.delete(name);
  }

  all(): IterableIterator<Known> {
    return this.#known.values();
  }

  filter(wanted: (record: MemberRecord) => boolean): MemberRecord[] {
    return [...this.#known.values()].map(({ record }) => record).filter(wanted);
  }

  /** The records as they are told to others, with their age at `nowMs`. */
  told(nowMs: number): MemberRecord[] {
    return [...this.#known.values()].map(({ record, sinceMs }) => ({
      ...record,
      ageMs: ageAt(nowMs, sinceMs),
    }));
  }
}

export const ageAt = (nowMs: number, sinceMs: number) => Math.max(0, Math.round(nowMs - sinceMs));

/** Changes a message takes along at most. */
const UPDATES_MAX = 24;

export class Broadcasts {
  readonly #queue = new Map<string, { record: MemberRecord; sent: number }>();

  get size(): number {
    return this.#queue.size;
  }

  add(record: MemberRecord): void {
    this.#queue.delete(record.name);
    this.#queue.set(record.name, { record, sent: 0 });
  }

  /** Those told least often come first; each counts as told once more. */
  take(limit: number): MemberRecord[] {
    const chosen = [...this.#queue.values()].sort((a, b) => a.sent - b.sent).slice(0, UPDATES_MAX);
    for (const item of chosen) {
      if (++item.sent >= limit) this.#queue.delete(item.record.name);
    }
    return chosen.map(({ record }) => record);
  }
}
