// Values → compact JSON text as the reference's jsonencode writes it: keys sorted, numbers in full, `<`, `>`, `&` and
// the line separators escaped. Asks the budget as it goes, as shared parts may unfold.
import type { Budget } from "./budget.ts";
import { FunctionError } from "./function_types.ts";
import { HclNumber } from "./number.ts";
import {
  MapValue,
  NullValue,
  ObjectValue,
  SequenceValue,
  sortedEntries,
  TupleValue,
  type Value,
} from "./value.ts";

const ESCAPES: Record<string, string> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

function encodeText(text: string): string {
  const quoted = JSON.stringify(text);
  return /[<>&\u2028\u2029]/.test(quoted)
    ? quoted.replace(/[<>&\u2028\u2029]/g, (char) => ESCAPES[char]!)
    : quoted;
}

export function encodeJson(value: Value, budget: Budget): string {
  if (typeof value === "string") {
    const text = encodeText(value);
    budget.text(text.length);
    return text;
  }
  if (typeof value === "boolean") return String(value);
  if (value instanceof NullValue) return "null";
  if (value instanceof HclNumber) {
    if (value.infinity !== 0) throw new FunctionError("cannot serialize infinity as JSON");
    return value.toString();
  }
  if (value instanceof TupleValue || value instanceof SequenceValue) {
    budget.items(value.items.length);
    return `[${value.items.map((item) => encodeJson(item, budget)).join(",")}]`;
  }
  if (value instanceof ObjectValue || value instanceof MapValue) {
    budget.items(value.entries.size);
    const parts = sortedEntries(value).map(([key, item]) => `${encodeText(key)}:${encodeJson(item, budget)}`);
    return `{${parts.join(",")}}`;
  }
  throw new FunctionError("cannot serialize an unknown value as JSON");
}
