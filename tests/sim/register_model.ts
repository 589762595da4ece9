// What one key of the product's API does, alone and without faults: the object of the linearizability check. Keys are
// jobs (value: Meta.value, compare-and-set by EnforceIndex against JobModifyIndex) and namespaces (Description).
//
// A modify index is known where an answer gave it and unknown (-1) after an operation of unknown outcome. Whoever compares
// against an index has read it somewhere together with its value: that value decides where the index is unknown, and
// without it what is unknown fits everything. Later writes have higher indexes: an order against them is refused.
import type { Ask, Outcome } from "./contract.ts";
import type { Model } from "./linearizable.ts";

/** An answer that says something: `unknown` is null to the checker. */
export type Answer = Exclude<Outcome, { kind: "unknown" }>;

export interface Register {
  /** Null: does not exist. */
  readonly value: string | null;
  /** Modify index of the value; 0: does not exist, -1: not known. */
  readonly index: number;
  /** Highest index known to have been given. */
  readonly highest: number;
}

/** `expected`: the value that stood beside a compare-and-set's index where its caller read it. */
export type RegisterAsk =
  | Exclude<Ask, { kind: "cas" }>
  | (Extract<Ask, { kind: "cas" }> & { readonly expected?: string });

const ABSENT: Register = { value: null, index: 0, highest: 0 };
const UNKNOWN = -1;

export const registerModel: Model<Register, RegisterAsk, Answer> = {
  initial: ABSENT,
  step(state, ask, answer) {
    switch (ask.kind) {
      case "read":
        return answer?.kind === "ok" && answer.value !== state.value ? null : state;
      case "write":
        return answer?.kind === "refused" ? state : written(state, ask.value, answer);
      case "cas": {
        const fits = isMatch(state, ask.index, ask.expected);
        if (answer?.kind === "refused") return fits === true ? null : state;
        return fits !== false ? written(state, ask.value, answer) : null;
      }
      case "delete":
        return answer?.kind === "refused" ? state : { ...ABSENT, highest: state.highest };
    }
  },
  isObservation: (ask, answer) => ask.kind === "read" || answer.kind === "refused",
  isBlind: (ask) => ask.kind === "write" || ask.kind === "delete",
  keyOf: ({ value, index, highest }) => `${value} ${index} ${highest}`,
  showCall: (ask, answer) => `${showAsk(ask)} ${answer === null ? "→ ?" : showAnswer(answer)}`,
  showState: ({ value, index }) =>
    value === null ? "absent" : `"${value}"${index === UNKNOWN ? "" : ` at ${index}`}`,
};

/** Whether a compare-and-set against `index` finds what it expects. */
function isMatch(state: Register, index: number, expected: string | undefined): boolean | "perhaps" {
  if (index === 0 || state.value === null) return index === 0 && state.value === null;
  if (state.index !== UNKNOWN) return state.index === index;
  return expected === undefined ? "perhaps" : state.value === expected;
}

function written(state: Register, value: string, answer: Answer | null): Register | null {
  const index = answer?.kind === "ok" && answer.index > 0 ? answer.index : UNKNOWN;
  if (index !== UNKNOWN && index <= state.highest) return null;
  return { value, index, highest: Math.max(state.highest, index) };
}

function showAsk(ask: RegisterAsk): string {
  switch (ask.kind) {
    case "read":
      return `read (${ask.consistency})`;
    case "write":
      return `write "${ask.value}"`;
    case "cas":
      return `write "${ask.value}" if at ${ask.index}`;
    case "delete":
      return "delete";
  }
}

function showAnswer(answer: Answer): string {
  if (answer.kind === "refused") return `→ refused (${answer.status})`;
  return `→ ${answer.value === null ? "absent" : `"${answer.value}"`}${
    answer.index > 0 ? ` at ${answer.index}` : ""
  }`;
}
