// What clients were told: their histories are linearizable, key by key; weaker reads find nothing that nobody wrote.
// linearizable.ts decides, register_model.ts says what a key does.
//
// A history is read as soon as every outcome that matters is known, so a wrong answer is reported when it is given, with
// the few operations that make it wrong.
import { type Ask, type Checker, type Operation, SimFailure } from "./contract.ts";
import { type Call, describeViolation, History, shrink } from "./linearizable.ts";
import { type Answer, type Register, type RegisterAsk, registerModel } from "./register_model.ts";

/** Operations of one key that a report of a violation looks back at. */
const KEPT = 2000;

interface Moment {
  operation: Operation;
  ends: boolean;
  at: number;
}

class KeyHistory {
  readonly history = new History<Register, RegisterAsk, Answer>(registerModel);
  readonly calls: Call<RegisterAsk, Answer>[] = [];
  readonly moments: Moment[] = [];
  readonly written = new Set<string>();
  /** Modify index → value, as answers had them side by side. */
  readonly valueAt = new Map<number, string>();
}

export class HistoryChecker implements Checker {
  readonly rule = "linearizable";
  readonly #keys = new Map<string, KeyHistory>();
  readonly #open = new Map<number, Call<RegisterAsk, Answer>>();
  #moment = 0;

  onOperationStarted(operation: Operation): void {
    const { ask } = operation;
    const key = this.#of(ask.key);
    if (ask.kind === "write" || ask.kind === "cas") key.written.add(ask.value);
    if (!isWeakRead(ask)) key.moments.push({ operation, ends: false, at: ++this.#moment });
  }

  onOperationFinished(operation: Operation): void {
    const { ask, outcome } = operation;
    const key = this.#of(ask.key);
    learn(key, operation);
    if (isWeakRead(ask)) return checkWeakRead(operation, key);
    if (outcome!.kind !== "unknown") key.moments.push({ operation, ends: true, at: ++this.#moment });
    this.#read(ask.key, key);
  }

  #of(name: string): KeyHistory {
    let key = this.#keys.get(name);
    if (!key) this.#keys.set(name, key = new KeyHistory());
    return key;
  }

  /** As far as outcomes are known. */
  #read(name: string, key: KeyHistory): void {
    let taken = 0;
    for (const { operation, ends, at } of key.moments) {
      if (!operation.outcome) break;
      taken++;
      if (saysNothing(operation)) continue;
      if (ends) this.#end(key, operation, at);
      else this.#start(key, operation, at);
      if (key.history.verdict.kind !== "ok") this.#report(name, key);
    }
    if (taken > 0) key.moments.splice(0, taken);
  }

  #start(key: KeyHistory, { id, client, ask, outcome }: Operation, at: number): void {
    const result = outcome!.kind === "unknown" ? null : outcome as Answer;
    const expected = ask.kind === "cas" ? key.valueAt.get(ask.index) : undefined;
    const call = {
      id,
      caller: client,
      ask: expected === undefined ? ask : { ...ask, expected } as RegisterAsk,
      result,
      start: at,
      end: Infinity,
    };
    key.history.start(call);
    key.calls.push(call);
    if (result !== null) this.#open.set(id, call);
    if (key.calls.length > 2 * KEPT) key.calls.splice(0, KEPT);
  }

  #end(key: KeyHistory, { id }: Operation, at: number): void {
    const call = this.#open.get(id)!;
    this.#open.delete(id);
    (call as { end: number }).end = at;
    key.history.end(call);
  }

  #report(name: string, key: KeyHistory): never {
    const { verdict } = key.history;
    if (verdict.kind === "limit") {
      throw new SimFailure(
        "undecided",
        `${name}: more than ${verdict.configurations} ways to explain its history`,
      );
    }
    // What has not ended yet in what was read is open: its later answer is known, but nobody was told.
    const small = shrink(registerModel, key.calls.map(closed), { configurationsMax: 2000 });
    throw new SimFailure(
      this.rule,
      `the history of ${name} is not linearizable:\n${describeViolation(registerModel, small)}`,
    );
  }
}

/** Still running calls end after everything that was read. */
function closed(call: Call<RegisterAsk, Answer>): Call<RegisterAsk, Answer> {
  return call.result !== null && call.end === Infinity ? { ...call, end: Number.MAX_SAFE_INTEGER } : call;
}

function isWeakRead(ask: Ask): boolean {
  return ask.kind === "read" && ask.consistency !== "consistent";
}

/** A job's answers name the index of its value: one index, one value. */
function learn({ valueAt }: KeyHistory, { ask, outcome, client }: Operation): void {
  if (outcome?.kind !== "ok" || outcome.value === null || !ask.key.startsWith("job/")) return;
  const { value, index } = outcome;
  const known = valueAt.get(index);
  if (known !== undefined && known !== value) {
    throw new SimFailure(
      "invented",
      `${client} saw "${value}" at ${index} of ${ask.key}, where "${known}" was seen`,
    );
  }
  valueAt.set(index, value);
}

/** A refusal that does not depend on the key's value. */
function saysNothing({ ask, outcome }: Operation): boolean {
  if (outcome?.kind === "unknown") return ask.kind === "read";
  if (outcome?.kind !== "refused") return false;
  return ask.kind !== "cas" || !/^Enforcing job modify index/.test(outcome.message);
}

/** A stale read may be old, but somebody wrote what it found. */
function checkWeakRead({ id, client, ask, outcome }: Operation, key: KeyHistory): void {
  if (outcome?.kind !== "ok" || outcome.value === null || key.written.has(outcome.value)) return;
  throw new SimFailure(
    "invented",
    `operation ${id} of ${client} read "${outcome.value}" from ${ask.key}, which nobody ever wrote`,
  );
}
