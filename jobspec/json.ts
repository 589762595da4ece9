// JSON with integers that a double cannot hold: they are bigint in memory and plain digits in the text. Job files
// may have them in driver configurations, and they must not be rounded on their way to the server and back.
// Invariant: stringifyJson(parseJson(text)) keeps every integer; numbers that a double holds exactly stay numbers.

export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** A JSON text of a value that may contain bigint. `space` as in JSON.stringify. */
export function stringifyJson(value: unknown, space?: number): string {
  if (!containsBigInt(value)) return JSON.stringify(value, null, space);
  return write(value, space ? " ".repeat(space) : "", "");
}

function containsBigInt(value: unknown): boolean {
  if (typeof value === "bigint") return true;
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(containsBigInt);
  for (const key in value) if (containsBigInt((value as Record<string, unknown>)[key])) return true;
  return false;
}

function write(value: unknown, step: string, indent: string): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const inner = indent + step;
  const [open, join, close] = step === "" ? ["", ",", ""] : [`\n${inner}`, `,\n${inner}`, `\n${indent}`];
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[${open}${value.map((item) => write(item, step, inner)).join(join)}${close}]`;
  }
  const entries = Object.entries(value).filter((entry) => entry[1] !== undefined);
  if (entries.length === 0) return "{}";
  const colon = step === "" ? ":" : ": ";
  const parts = entries.map(([key, item]) => JSON.stringify(key) + colon + write(item, step, inner));
  return `{${open}${parts.join(join)}${close}}`;
}

/** Sixteen digits or more outside of a fraction or exponent may be an integer that a double would round. */
const LONG_NUMBER = /(?<![\d.eE+"])-?\d{16,}(?![\d.eE])/;

/** Parses JSON; integers that a double cannot hold exactly become bigint. Throws SyntaxError. */
export function parseJson(text: string): Json {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text) as Json;
  // Long integers are marked as strings of their own kind first; a string of the text itself cannot have the mark.
  let mark = "\u0001int:";
  while (text.includes(JSON.stringify(mark).slice(1, -1)) || text.includes(mark)) mark += "\u0001";
  const quoted = JSON.stringify(mark).slice(1, -1);
  const marked = text.replace(
    /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g,
    (token) => token[0] !== '"' && /^-?\d{16,}$/.test(token) ? `"${quoted}${token}"` : token,
  );
  JSON.parse(text);
  return JSON.parse(marked, (_key, value: unknown) => {
    if (typeof value !== "string" || !value.startsWith(mark)) return value;
    return exactInteger(BigInt(value.slice(mark.length)));
  }) as Json;
}

/** The integer as a number if a double holds it exactly, else as it is. */
export function exactInteger(value: bigint): number | bigint {
  const double = Number(value);
  return BigInt(double) === value ? double : value;
}
