// Whether a history of operations on one object is linearizable (Herlihy & Wing): whether there is one order of them
// that respects real time and that the object, alone and without faults, would have answered just so. After Wing & Gong
// and Lowe ("Testing for linearizability", just-in-time linearization): the history is read once, in order; beside it goes the set
// of all configurations (state of the object, operations that took effect but have not returned) that explain it so far.
//
// What keeps that set small, each without losing an answer: a read takes effect as soon as it can; of two
// configurations that differ only in operations of unknown outcome, the one that used fewer is kept, for such an operation
// may always take effect later, or never. Objects (keys) are independent: one history each.
// Knows nothing of clusters; check_history.ts feeds it, register_model.ts says what a key does.

/** One operation, as its caller saw it. */
export interface Call<A, R> {
  readonly id: number;
  readonly caller: string;
  readonly ask: A;
  /** Null: not known. It may have taken effect at any time after its start, or never. */
  readonly result: R | null;
  /** Moments, in any unit that orders them; no two are equal. */
  readonly start: number;
  /** Infinity when the result is not known. */
  readonly end: number;
}

/** The object, alone: what each operation may do to it. States are immutable. */
export interface Model<S, A, R> {
  readonly initial: S;
  /** The state after `ask` took effect and was answered by `result` (null: by whatever); null when that cannot be. */
  step(state: S, ask: A, result: R | null): S | null;
  /** An answer that leaves the object as it was, in whatever state (a read, a refusal). */
  isObservation(ask: A, result: R): boolean;
  /** What it leaves does not depend on what it found (a plain write). */
  isBlind(ask: A): boolean;
  /** Equal states, equal texts. */
  keyOf(state: S): string;
  showCall(ask: A, result: R | null): string;
  showState(state: S): string;
}

export type Verdict<S, A, R> =
  | { kind: "ok" }
  | {
    kind: "violation";
    /** The operation whose answer nothing explains. */
    call: Call<A, R>;
    /** States the object may have been in when that answer came, whatever order is tried. */
    states: S[];
  }
  /** More configurations than allowed: no answer. */
  | { kind: "limit"; configurations: number };

export interface Limits {
  /** Configurations alive at one moment. */
  configurationsMax: number;
}

export const DEFAULT_LIMITS: Limits = { configurationsMax: 20_000 };

interface Configuration<S> {
  readonly state: S;
  /** Calls that took effect and have not returned yet. Sorted. */
  readonly done: readonly number[];
  /** Calls of unknown result that took effect. Sorted. */
  readonly used: readonly number[];
  /** The last thing that happened was a call of unknown result, and nobody saw it. */
  readonly idle: boolean;
}

/** Reads one object's history call by call, in the order of starts and ends. */
export class History<S, A, R> {
  readonly #model: Model<S, A, R>;
  readonly #limits: Limits;
  #configurations: Configuration<S>[];
  /** Started and not returned, by id. */
  #open = new Map<number, Call<A, R>>();
  #verdict: Verdict<S, A, R> = { kind: "ok" };

  constructor(model: Model<S, A, R>, limits = DEFAULT_LIMITS) {
    this.#model = model;
    this.#limits = limits;
    this.#configurations = [{ state: model.initial, done: [], used: [], idle: false }];
  }

  get verdict(): Verdict<S, A, R> {
    return this.#verdict;
  }

  /** `call.result` must be final. */
  start(call: Call<A, R>): void {
    if (this.#verdict.kind !== "ok") return;
    this.#open.set(call.id, call);
  }

  end(call: Call<A, R>): void {
    if (this.#verdict.kind !== "ok") return;
    const after = this.#explain(call);
    if (!after) return;
    this.#open.delete(call.id);
    if (after.length === 0) {
      const states = new Map(this.#configurations.map((c) => [this.#model.keyOf(c.state), c.state]));
      this.#verdict = { kind: "violation", call, states: [...states.values()] };
    }
    this.#configurations = after;
  }

  /** All configurations in which `call` has taken effect; null when there are too many. */
  #explain(call: Call<A, R>): Configuration<S>[] | null {
    const found = new Minimal<S>(this.#model);
    const seen = new Minimal<S>(this.#model);
    const work: Configuration<S>[] = [];
    for (const c of this.#configurations) this.#visit(this.#settle(c), seen, work);
    for (let c = work.pop(); c; c = work.pop()) {
      if (c.done.includes(call.id)) {
        found.add({ ...c, done: c.done.filter((id) => id !== call.id), idle: false });
        continue;
      }
      for (const open of this.#open.values()) {
        // An unknown write that nobody saw before the next one is as good as none: that case is looked at anyway.
        if (c.idle && this.#model.isBlind(open.ask)) continue;
        const next = this.#take(c, open);
        if (next) this.#visit(this.#settle(next), seen, work);
      }
      if (seen.size > this.#limits.configurationsMax) {
        this.#verdict = { kind: "limit", configurations: seen.size };
        return null;
      }
    }
    return found.all();
  }

  #visit(c: Configuration<S>, seen: Minimal<S>, work: Configuration<S>[]): void {
    if (seen.add(c)) work.push(c);
  }

  #take(c: Configuration<S>, call: Call<A, R>): Configuration<S> | null {
    if (c.done.includes(call.id) || c.used.includes(call.id)) return null;
    const state = this.#model.step(c.state, call.ask, call.result);
    if (state === null) return null;
    if (call.result === null) return { state, done: c.done, used: insert(c.used, call.id), idle: true };
    return { state, done: insert(c.done, call.id), used: c.used, idle: false };
  }

  /** Lets every observation take effect that fits: it changes nothing, so there is no better moment. */
  #settle(c: Configuration<S>): Configuration<S> {
    let { done } = c;
    for (const { id, ask, result } of this.#open.values()) {
      if (result === null || !this.#model.isObservation(ask, result) || done.includes(id)) continue;
      if (this.#model.step(c.state, ask, result) !== null) done = insert(done, id);
    }
    return done === c.done ? c : { ...c, done, idle: false };
  }
}

/** Configurations without those that another one covers: same state, same calls done, fewer unknown ones used. */
class Minimal<S> {
  readonly #keyOf: (state: S) => string;
  readonly #groups = new Map<string, Configuration<S>[]>();
  size = 0;

  constructor(model: { keyOf(state: S): string }) {
    this.#keyOf = (state) => model.keyOf(state);
  }

  /** False when it is covered already. */
  add(c: Configuration<S>): boolean {
    const key = `${c.done.join(" ")}|${this.#keyOf(c.state)}`;
    const group = this.#groups.get(key) ?? [];
    if (group.some((known) => isSubset(known.used, c.used))) return false;
    const kept = group.filter((known) => !isSubset(c.used, known.used));
    this.size += 1 + kept.length - group.length;
    kept.push(c);
    this.#groups.set(key, kept);
    return true;
  }

  all(): Configuration<S>[] {
    return [...this.#groups.values()].flat();
  }
}

function insert(sorted: readonly number[], id: number): number[] {
  const at = sorted.findIndex((other) => other > id);
  return at < 0 ? [...sorted, id] : [...sorted.slice(0, at), id, ...sorted.slice(at)];
}

function isSubset(small: readonly number[], large: readonly number[]): boolean {
  return small.length <= large.length && small.every((id) => large.includes(id));
}

/** The verdict on a whole history; calls in any order. */
export function checkHistory<S, A, R>(
  model: Model<S, A, R>,
  calls: readonly Call<A, R>[],
  limits = DEFAULT_LIMITS,
): Verdict<S, A, R> {
  const history = new History(model, limits);
  const moments = calls.flatMap((call) => {
    const start = { at: call.start, run: () => history.start(call) };
    return call.result === null ? [start] : [start, { at: call.end, run: () => history.end(call) }];
  });
  for (const moment of moments.sort((a, b) => a.at - b.at)) moment.run();
  return history.verdict;
}

/**
 * A small part of a history that is wrong by itself. Only steps that never make a right history wrong: cut off what comes
 * after the violation, leave out operations that change nothing, take results as unknown. At last unknown operations
 * are left out of the picture where what came before the violation is explained without them.
 */
export function shrink<S, A, R>(
  model: Model<S, A, R>,
  calls: readonly Call<A, R>[],
  limits = DEFAULT_LIMITS,
): Call<A, R>[] {
  const violationIn = (part: readonly Call<A, R>[]) => {
    const verdict = checkHistory(model, part, limits);
    return verdict.kind === "violation" ? verdict.call : null;
  };
  const broken = violationIn(calls);
  if (!broken) return [...calls];
  let part = calls.filter((c) => c.start < broken.end);
  const replace = (smaller: Call<A, R>[]) => {
    if (violationIn(smaller)) part = smaller;
  };
  replace(part.map((c) => c.end > broken.end ? unknown(c) : c));
  const known = () => part.filter((c) => c.result !== null).sort((a, b) => a.start - b.start);
  const idle = known().filter((c) => model.isObservation(c.ask, c.result!));
  for (const call of idle) replace(part.filter((c) => c.id !== call.id));
  // Oldest first: what lies far back matters least.
  for (const call of known()) replace(part.map((c) => c.id === call.id ? unknown(c) : c));
  const last = violationIn(part)!;
  for (const call of part.filter((c) => c.result === null)) {
    const smaller = part.filter((c) => c.id !== call.id);
    if (violationIn(smaller)?.id === last.id) part = smaller;
  }
  return part.sort((a, b) => a.start - b.start);
}

function unknown<A, R>(call: Call<A, R>): Call<A, R> {
  return { ...call, result: null, end: Infinity };
}

/** One line a call, in the order of their starts, and where it breaks. */
export function describeViolation<S, A, R>(
  model: Model<S, A, R>,
  calls: readonly Call<A, R>[],
  limits = DEFAULT_LIMITS,
): string {
  const verdict = checkHistory(model, calls, limits);
  const lines = [...calls].sort((a, b) => a.start - b.start).map((call) => {
    const end = call.end === Infinity ? "…" : String(call.end);
    return `  ${`${call.start}–${end}`.padEnd(16)} ${call.caller.padEnd(6)} ${
      model.showCall(call.ask, call.result)
    }`;
  });
  if (verdict.kind === "violation") {
    const { call, states } = verdict;
    const possible = states.map((state) => model.showState(state)).join(" or ");
    lines.push(
      `  No order explains the answer at ${call.end}: ${model.showCall(call.ask, call.result)}. ` +
        `Before the calls still open then, the object was ${possible}.`,
    );
  }
  return lines.join("\n");
}
