// Entries of a file against the table of keys: a raw configuration, warnings, or one error with file, line and key.
import { ConfigError } from "../core/errors.ts";
import { parseDuration } from "../core/duration.ts";
import { suggestName } from "../jobspec/diagnostics.ts";
import { gossipKeyError } from "../server/gossip_crypto.ts";
import type { RawConfig } from "./config.ts";
import { mergeRaw, mergeValue } from "./config_merge.ts";
import { type Entry, isEntries, type Plain, toPlain } from "./config_reader.ts";
import { AGENT_KEYS, DATACENTER_KEYS, type Key, type Keys, MISTAKEN_KEYS, type Scalar } from "./schema.ts";

/** What one file says. */
export interface FileConfig {
  raw: RawConfig;
  /** Labelled datacenter blocks, by name. */
  datacenters: Record<string, RawConfig>;
  /** Known keys without effect, and mistakes that many files hold. */
  warnings: string[];
  /** Settings that would be unsafe to pass over: an agent with one of these does not start. */
  refusals: string[];
}

/** Checks and converts all entries of a file. Throws ConfigError at the first that is wrong. */
export function checkFile(file: string, entries: Entry[]): FileConfig {
  const checker = new Checker(file);
  const plain = entries.filter((entry) => !isDatacenterBlock(entry));
  const datacenters: Record<string, RawConfig> = {};
  for (const entry of entries.filter(isDatacenterBlock)) {
    checker.labels(entry, "datacenter", 1);
    for (const [name, body] of labelledBodies(entry)) {
      if (!isEntries(body)) throw checker.error(entry, `datacenter ${JSON.stringify(name)} must be a block`);
      datacenters[name] = mergeRaw(
        datacenters[name] ?? {},
        checker.block(body, DATACENTER_KEYS, ["datacenter"]),
      );
    }
  }
  const raw = checker.block(plain, AGENT_KEYS, []);
  return { raw, datacenters, warnings: checker.warnings, refusals: checker.refusals };
}

const isDatacenterBlock = (entry: Entry) =>
  entry.name === "datacenter" && (entry.isBlock || isEntries(entry.value));

/** `x "a" { }` → [["a", body]]; `x { a { } b { } }` and JSON's object of objects → one pair each. */
function labelledBodies(entry: Entry): [string, Plain | Entry[]][] {
  if (entry.labels.length > 0) return [[entry.labels[0]!, entry.value]];
  return isEntries(entry.value) ? entry.value.map((inner) => [inner.name, inner.value]) : [];
}

class Checker {
  readonly warnings: string[] = [];
  readonly refusals: string[] = [];
  /** Inside a block that has no effect as a whole. */
  #silent = false;

  constructor(private readonly file: string) {}

  error(entry: Entry, message: string): ConfigError {
    return new ConfigError(`Error loading ${this.file}:${entry.line}: ${message}`);
  }

  block(entries: Entry[], keys: Keys, path: string[]): RawConfig {
    const raw: RawConfig = {};
    for (const entry of entries) {
      const here = [...path, entry.name];
      const name = here.join(".");
      const key = Object.hasOwn(keys, entry.name) ? keys[entry.name]! : undefined;
      if (!key) {
        this.#unknown(entry, name, keys);
        continue;
      }
      this.#useOf(entry, key, name);
      const outer = this.#silent;
      this.#silent ||= key.use === "later";
      const value = this.#value(entry, key, here);
      this.#silent = outer;
      raw[entry.name] = entry.name in raw ? mergeValue(raw[entry.name], value) : value;
    }
    return raw;
  }

  /** Refuses more labels than a block takes. */
  labels(entry: Entry, name: string, most: number): void {
    if (entry.labels.length <= most) return;
    const label = JSON.stringify(entry.labels[most]);
    throw this.error(entry, `${name} has a label that it does not take: remove ${label}`);
  }

  #unknown(entry: Entry, name: string, keys: Keys): void {
    if (MISTAKEN_KEYS.has(name)) {
      this.warnings.push(
        `${this.file}:${entry.line}: ${name} is not a key of this block and has no effect: remove it`,
      );
      return;
    }
    const near = suggestName(entry.name, Object.keys(keys));
    const place = name.includes(".") ? ` in ${name.slice(0, name.lastIndexOf("."))}` : "";
    throw this.error(
      entry,
      `unexpected keys ${entry.name}${place}${near ? `: did you mean ${near}?` : ""}`,
    );
  }

  /** Notes a key that does nothing here, or that must not be passed over. Switched off, either is as asked. */
  #useOf(entry: Entry, key: Key, name: string): void {
    if (key.use === "used" || entry.value === false || entry.value === null) return;
    const place = `${this.file}:${entry.line}: ${name}`;
    if (key.use === "refused") this.refusals.push(`${place}: ${key.why}`);
    else if (!this.#silent) this.warnings.push(`${place} has no effect in this version`);
  }

  #value(entry: Entry, key: Key, path: string[]): unknown {
    this.labels(entry, path.join("."), key.kind === "labelled" ? 1 : 0);
    if (key.kind === "block") return this.#blockValue(entry, key.keys, path);
    if (key.kind === "labelled") {
      const pairs = labelledBodies(entry).map(([label, body]) => {
        if (!isEntries(body)) throw this.error(entry, `${path.join(".")}.${label} must be a block`);
        return [label, this.block(body, key.keys, path)];
      });
      return Object.fromEntries(pairs);
    }
    const value = this.#scalar(entry, key.kind, path.join("."));
    const negative = typeof value === "number"
      ? value < 0
      : key.kind === "duration" && `${value}`.startsWith("-");
    if (negative && key.use === "used") throw this.error(entry, `${path.join(".")} must not be negative`);
    return value;
  }

  #blockValue(entry: Entry, keys: Keys, path: string[]): unknown {
    if (isEntries(entry.value)) return this.block(entry.value, keys, path);
    // JSON may write a block as a list of objects, which stand for the block written several times.
    if (Array.isArray(entry.value) && entry.value.length > 0 && entry.value.every(isPlainObject)) {
      return entry.value.map((each) => this.block(plainEntries(each, entry), keys, path)).reduce(mergeRaw);
    }
    throw this.error(entry, `${path.join(".")} must be a block, got ${describe(entry.value)}`);
  }

  #scalar(entry: Entry, kind: Scalar, name: string): unknown {
    const { value } = entry;
    const wrong = (expected: string) =>
      this.error(entry, `${name} must be ${expected}, got ${describe(value)}`);
    switch (kind) {
      case "string":
      case "size":
        if (typeof value === "string") return value;
        if (typeof value === "number") return String(value);
        throw wrong("a string");
      case "bool":
        if (typeof value === "boolean") return value;
        if (value === "true" || value === "1") return true;
        if (value === "false" || value === "0") return false;
        throw wrong("true or false");
      case "int":
      case "float":
        return this.#number(entry, kind, name);
      case "duration":
        return this.#duration(entry, name);
      case "strings":
        if (typeof value === "string") return [value];
        if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
        throw wrong("a list of strings");
      case "map":
        if (!isEntries(value)) throw wrong("a block of keys and values");
        return Object.fromEntries(
          value.map((inner) => [inner.name, this.#text(inner, `${name}.${inner.name}`)]),
        );
      case "gossipKey":
        return this.#gossipKey(entry, name);
      case "any":
        return toPlain(value);
    }
  }

  /** A secret: said to be wrong without being shown. */
  #gossipKey(entry: Entry, name: string): string {
    const wrong = typeof entry.value === "string" ? gossipKeyError(entry.value) : "it is no string";
    if (typeof entry.value === "string" && (entry.value === "" || wrong === null)) return entry.value;
    throw this.error(
      entry,
      `${name} must be 32 bytes in base64, but ${wrong}: make one with \`nomad operator gossip keyring generate\``,
    );
  }

  #text(entry: Entry, name: string): string {
    if (typeof entry.value === "object" || entry.isBlock) {
      throw this.error(entry, `${name} must be a string, got ${describe(entry.value)}`);
    }
    return String(entry.value);
  }

  #number(entry: Entry, kind: "int" | "float", name: string): number {
    const number = typeof entry.value === "string" && entry.value !== "" ? Number(entry.value) : entry.value;
    if (
      typeof number === "number" && Number.isFinite(number) && (kind === "float" || Number.isInteger(number))
    ) {
      return number;
    }
    throw this.error(
      entry,
      `${name} must be ${kind === "int" ? "a whole number" : "a number"}, got ${describe(entry.value)}`,
    );
  }

  /** Text as Go writes durations; a bare number is nanoseconds. */
  #duration(entry: Entry, name: string): string {
    if (typeof entry.value === "number") return `${entry.value}ns`;
    try {
      if (typeof entry.value !== "string") throw new SyntaxError("expected a duration");
      parseDuration(entry.value);
      return entry.value;
    } catch {
      throw this.error(
        entry,
        `${name} must be a duration such as "30s" or "1h15m", got ${describe(entry.value)}`,
      );
    }
  }
}

function isPlainObject(value: unknown): value is Record<string, Plain> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object inside of a JSON list as entries; they stand where the list does. */
function plainEntries(object: Record<string, Plain>, place: Entry): Entry[] {
  return Object.entries(object).map(([name, value]) => ({
    name,
    labels: [],
    line: place.line,
    value: isPlainObject(value) ? plainEntries(value, place) : value,
    isBlock: false,
  }));
}

function describe(value: Plain | Entry[]): string {
  if (isEntries(value) && value.length > 0) return "a block";
  if (Array.isArray(value)) return "a list";
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
