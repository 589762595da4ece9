// JSON for people: four spaces, keys sorted as the reference's encoder sorts them, numbers digit for digit as the server
// sent them (nanosecond instants do not fit a double).
import { ExactNumber } from "../core/exact_number.ts";

/** JSON.parse that keeps such numbers as ExactNumber. */
export function parseExact(text: string): unknown {
  const revive = (_key: string, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    if (typeof value !== "number" || source === undefined || String(value) === source) return value;
    return new ExactNumber(source);
  };
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown);
}

export interface JsonStyle {
  indent: number;
  sortKeys: boolean;
  /** `<`, `>` and `&` as escapes, as Go's standard encoder writes them. */
  escapeHtml: boolean;
}

const OUTPUT_STYLE: JsonStyle = { indent: 4, sortKeys: true, escapeHtml: false };

/** A value, with ExactNumbers or bigints in it, → text. */
export function formatJson(value: unknown, style: Partial<JsonStyle> = {}): string {
  return write(value, { ...OUTPUT_STYLE, ...style }, 0);
}

function write(value: unknown, style: JsonStyle, depth: number): string {
  if (value instanceof ExactNumber) return value.text;
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "string") return writeString(value, style);
  if (value === null || typeof value !== "object") {
    return value === undefined ? "null" : JSON.stringify(value);
  }
  const open = " ".repeat(style.indent * (depth + 1));
  const close = " ".repeat(style.indent * depth);
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[\n${value.map((entry) => open + write(entry, style, depth + 1)).join(",\n")}\n${close}]`;
  }
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  if (entries.length === 0) return "{}";
  if (style.sortKeys) entries.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  const lines = entries.map(([key, entry]) =>
    `${open}${writeString(key, style)}: ${write(entry, style, depth + 1)}`
  );
  return `{\n${lines.join(",\n")}\n${close}}`;
}

function writeString(text: string, style: JsonStyle): string {
  const quoted = JSON.stringify(text);
  if (!style.escapeHtml) return quoted;
  return quoted.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
