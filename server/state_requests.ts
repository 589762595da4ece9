// Requests that carry an id of their caller: what became of each, so that one that is sent again gets the same answer
// and changes nothing. Filled while commands are applied, so it is the same on every server and part of snapshots.
//
// Invariants: bounded by age, number and size, all counted in what commands say (the proposers' time, never this
// server's); rows leave in the order in which they came; a row never changes. Callers' ids and those that servers
// give to what they forward have lanes of their own: a busy follower cannot push out what a caller relies on.
import type { ApplyResult } from "./log.ts";

/** How an answer is made of what applying gives back. All of it is known before the command has an index. */
export interface AnswerPlan {
  /** Null: an answer without a body; "value": what applying gives back, and nothing else. */
  body: Readonly<Record<string, unknown>> | "value" | null;
  /** Fields of the body that are the command's index; they keep their place. */
  index?: readonly string[];
  /** Fields of the body that come from the applied command's value: field → path in it. */
  value?: Readonly<Record<string, readonly string[]>>;
  /** The value's own fields come first. */
  spread?: true;
  /** Other headers than X-Nomad-Index: those of a read, or none. */
  headers?: "read" | "none";
}

/** What a command carries of the request that it was made for. */
export interface RequestStamp {
  /** Stands for token, namespace and id. */
  key: string;
  /** Of method, path, parameters and body; "" for an id that a server gave, which never serves two requests. */
  digest: string;
  /** Nanoseconds since 1970 of the proposer. */
  time: number;
  /** Given by a server to what it forwards. */
  hop?: true;
  answer: AnswerPlan;
}

/** What became of a request. */
export interface RequestRow {
  readonly key: string;
  readonly digest: string;
  readonly time: number;
  readonly hop?: true;
  readonly index: number;
  /** JSON; null for an answer without a body. */
  readonly body: unknown;
  readonly headers?: "read" | "none";
  readonly refused?: { status: number; message: string };
}

interface LaneLimits {
  ageMaxNs: number;
  rowsMax: number;
  /** Characters of the rows' JSON, together. */
  charsMax: number;
}

const SECOND_NS = 1e9;
/** A caller may come back after an hour; a server tries again for some seconds only. */
export const CALLER_LIMITS: LaneLimits = { ageMaxNs: 3600 * SECOND_NS, rowsMax: 16_384, charsMax: 32e6 };
export const HOP_LIMITS: LaneLimits = { ageMaxNs: 60 * SECOND_NS, rowsMax: 65_536, charsMax: 32e6 };

export class RequestTable {
  readonly #callers: Lane;
  readonly #hops: Lane;

  constructor(
    limits: { callers: LaneLimits; hops: LaneLimits } = { callers: CALLER_LIMITS, hops: HOP_LIMITS },
  ) {
    this.#callers = new Lane(limits.callers);
    this.#hops = new Lane(limits.hops);
  }

  get size(): number {
    return this.#callers.rows.size + this.#hops.rows.size;
  }

  get(key: string): RequestRow | undefined {
    return this.#callers.rows.get(key)?.row ?? this.#hops.rows.get(key)?.row;
  }

  /** Lets go of what is too old by the time of the command that is applied now. */
  expire(timeNs: number): void {
    this.#callers.expire(timeNs);
    this.#hops.expire(timeNs);
  }

  add(row: RequestRow): void {
    (row.hop ? this.#hops : this.#callers).add(row);
  }

  /** In the order of their lanes: adding them to an empty table gives the same table. */
  rows(): RequestRow[] {
    return [...this.#callers.rows.values(), ...this.#hops.rows.values()].map(({ row }) => row);
  }

  /** The newest times that were seen: what is expired next depends on them. */
  get clocks(): [number, number] {
    return [this.#callers.clockNs, this.#hops.clockNs];
  }

  set clocks([callers, hops]: [number, number]) {
    this.#callers.clockNs = callers;
    this.#hops.clockNs = hops;
  }
}

class Lane {
  readonly rows = new Map<string, { row: RequestRow; chars: number }>();
  /** Proposers' clocks differ: time only goes forward here. */
  clockNs = 0;
  #chars = 0;

  constructor(private readonly limits: LaneLimits) {}

  expire(timeNs: number): void {
    this.clockNs = Math.max(this.clockNs, timeNs);
    for (const { row } of this.rows.values()) {
      if (row.time + this.limits.ageMaxNs >= this.clockNs) break;
      this.#drop(row.key);
    }
  }

  add(row: RequestRow): void {
    const chars = JSON.stringify(row).length;
    this.rows.set(row.key, { row, chars });
    this.#chars += chars;
    for (const key of this.rows.keys()) {
      const full = this.rows.size > this.limits.rowsMax || this.#chars > this.limits.charsMax;
      if (!full || this.rows.size === 1) break;
      this.#drop(key);
    }
  }

  #drop(key: string): void {
    this.#chars -= this.rows.get(key)!.chars;
    this.rows.delete(key);
  }
}

/** The row of a command that was applied at `index`. */
export function rowOf(stamp: RequestStamp, index: number, result: ApplyResult): RequestRow {
  const { key, digest, time, hop, answer } = stamp;
  return {
    key,
    digest,
    time,
    ...(hop ? { hop } : {}),
    index,
    body: result.refused ? null : fillAnswer(answer, index, result.value),
    ...(answer.headers ? { headers: answer.headers } : {}),
    ...(result.refused ? { refused: result.refused } : {}),
  };
}

/** The body of an answer. Never holds anything of the state itself: what is kept must not grow with a job. */
export function fillAnswer(plan: AnswerPlan, index: number, value: unknown): unknown {
  if (plan.body === null) return null;
  if (plan.body === "value") return value;
  const body: Record<string, unknown> = { ...(plan.spread ? value as object : {}), ...plan.body };
  for (const field of plan.index ?? []) body[field] = index;
  for (const [field, path] of Object.entries(plan.value ?? {})) {
    body[field] = path.reduce<unknown>((at, name) => (at as Record<string, unknown> | null)?.[name], value);
  }
  return body;
}
