// Checks and reads a job's or plugin's free-form `config` block against a small schema. Errors are sentences: one a
// problem, unknown keys with the nearest known one. Converts as Nomad's own drivers do: a number or bool where text is
// wanted, text of a number where a number is wanted; nested blocks arrive as lists of objects.
import { parseDuration } from "../core/duration.ts";

export type FieldType =
  | { kind: "string" | "number" | "bool" | "duration" | "strings" | "map" }
  | { kind: "block" | "blocks"; fields: Schema };

export interface Field {
  type: FieldType;
  required?: boolean;
}

export type Schema = Record<string, Field>;

export const field = {
  string: { type: { kind: "string" } },
  number: { type: { kind: "number" } },
  bool: { type: { kind: "bool" } },
  /** Text as "10s" or a number of nanoseconds; read as milliseconds. */
  duration: { type: { kind: "duration" } },
  strings: { type: { kind: "strings" } },
  map: { type: { kind: "map" } },
  block: (fields: Schema): Field => ({ type: { kind: "block", fields } }),
  blocks: (fields: Schema): Field => ({ type: { kind: "blocks", fields } }),
  required: (of: Field): Field => ({ ...of, required: true }),
} as const satisfies Record<string, unknown>;

/** Problems of `config`, as sentences beginning with `config.`; empty when it is good. */
export function checkConfig(config: Record<string, unknown>, schema: Schema, at = "config"): string[] {
  const errors: string[] = [];
  for (const [key, value] of Object.entries(config)) {
    const known = Object.hasOwn(schema, key) ? schema[key] : undefined;
    if (known === undefined) {
      errors.push(unknownKey(key, at, Object.keys(schema)));
    } else if (value !== null && value !== undefined) {
      errors.push(...checkField(known.type, value, `${at}.${key}`));
    }
  }
  for (const [key, spec] of Object.entries(schema)) {
    const value = config[key];
    if (spec.required && (value === undefined || value === null || value === "")) {
      errors.push(`${at}.${key} is required and missing`);
    }
  }
  return errors;
}

function unknownKey(key: string, at: string, known: string[]): string {
  const near = known.map((name) => ({ name, far: distance(key, name) })).sort((a, b) => a.far - b.far)[0];
  const hint = near && near.far <= Math.max(2, Math.floor(key.length / 3))
    ? `; did you mean "${near.name}"?`
    : "";
  return `${at}.${key} is not an option of this driver${hint || `; it knows ${known.sort().join(", ")}`}`;
}

function checkField(type: FieldType, value: unknown, at: string): string[] {
  const wrong = (wanted: string) => [`${at} must be ${wanted}, not ${describe(value)}`];
  switch (type.kind) {
    case "string":
      return toText(value) === null ? wrong("a string") : [];
    case "number":
      return toNumber(value) === null ? wrong("a number") : [];
    case "bool":
      return toBool(value) === null ? wrong("true or false") : [];
    case "duration":
      return toDurationMs(value) === null ? wrong('a duration such as "30s" or "5m"') : [];
    case "strings":
      if (!Array.isArray(value)) return wrong("a list of strings");
      return value.flatMap((item, i) =>
        toText(item) === null ? [`${at}[${i}] must be a string, not ${describe(item)}`] : []
      );
    case "map":
      return toMap(value) === null ? wrong("a map of strings") : [];
    case "block":
    case "blocks": {
      const blocks = toBlocks(value);
      if (blocks === null) return wrong("a block");
      if (type.kind === "block" && blocks.length > 1) {
        return [`${at} may stand only once, not ${blocks.length} times`];
      }
      return blocks.flatMap((block, i) =>
        checkConfig(block, type.fields, blocks.length > 1 ? `${at}[${i}]` : at)
      );
    }
  }
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  return `${typeof value} ${JSON.stringify(value)}`;
}

export function toText(value: unknown): string | null {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : null;
}

export function toNumber(value: unknown): number | null {
  if (typeof value === "number") return value;
  return typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value))
    ? Number(value)
    : null;
}

export function toBool(value: unknown): boolean | null {
  if (typeof value === "boolean") return value;
  if (value === "true" || value === "1") return true;
  return value === "false" || value === "0" ? false : null;
}

export function toDurationMs(value: unknown): number | null {
  if (typeof value === "number") return value / 1e6;
  if (typeof value !== "string") return null;
  try {
    return value === "" ? 0 : parseDuration(value) / 1e6;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** A map written as attribute or block: one object, or a list of objects merged in order. */
export function toMap(value: unknown): Record<string, string> | null {
  const blocks = toBlocks(value);
  if (blocks === null) return null;
  const merged: Record<string, string> = {};
  for (const [key, item] of blocks.flatMap((block) => Object.entries(block))) {
    const text = toText(item);
    if (text === null) return null;
    merged[key] = text;
  }
  return merged;
}

export function toBlocks(value: unknown): Record<string, unknown>[] | null {
  const list = Array.isArray(value) ? value : [value];
  const good = list.every((item) => typeof item === "object" && item !== null && !Array.isArray(item));
  return good ? list as Record<string, unknown>[] : null;
}

/** Reads single values out of a config that was checked; what is absent gives the default. */
export class ConfigReader {
  readonly #config: Record<string, unknown>;

  constructor(config: Record<string, unknown>) {
    this.#config = config;
  }

  has(key: string): boolean {
    return this.#config[key] !== undefined && this.#config[key] !== null;
  }
  text(key: string, fallback = ""): string {
    return toText(this.#config[key]) ?? fallback;
  }
  number(key: string, fallback = 0): number {
    return toNumber(this.#config[key]) ?? fallback;
  }
  bool(key: string, fallback = false): boolean {
    return toBool(this.#config[key]) ?? fallback;
  }
  durationMs(key: string, fallback = 0): number {
    return toDurationMs(this.#config[key]) ?? fallback;
  }
  strings(key: string): string[] {
    const value = this.#config[key];
    return Array.isArray(value) ? value.map((item) => toText(item) ?? "") : [];
  }
  map(key: string): Record<string, string> {
    return this.has(key) ? toMap(this.#config[key]) ?? {} : {};
  }
  blocks(key: string): ConfigReader[] {
    return this.has(key) ? (toBlocks(this.#config[key]) ?? []).map((block) => new ConfigReader(block)) : [];
  }
  /** The (only) block of that name, empty when absent. */
  block(key: string): ConfigReader {
    return this.blocks(key)[0] ?? new ConfigReader({});
  }
}

/** Edits between two words (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + same));
    }
    row = next;
  }
  return row[b.length]!;
}
