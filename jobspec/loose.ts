// Files of the HCL1 family: agent configuration, ACL policies, and the specifications of namespaces, node pools, quotas,
// volumes and variables. Attributes and blocks are interchangeable there, labels are keys of nested objects, blocks
// repeat, strings are not templates. Native syntax and JSON alike become one tree of entries, which a table decodes.
// Never throws for wrong input but JobspecError at the end, with every problem of the file.
import { Diagnostics, type Place, SourceFile, suggestName } from "./diagnostics.ts";
import {
  jsonEntries,
  type LooseEntry,
  type LooseObject,
  type LooseValue,
  nativeEntries,
} from "./loose_tree.ts";
import { parseJsonSource } from "./json_syntax.ts";
import { parseBody } from "./parser.ts";
import { exactInteger, type Json } from "./json.ts";
import { parseGoDuration } from "./go_duration.ts";
import { setOwn } from "./decode_value.ts";
import {
  type AttributeSpec,
  type BlockTable,
  type ChildSpec,
  type FreeSpec,
  KIND_WORDS,
  type ValueKind,
} from "./table.ts";
import { decodeSource } from "./text.ts";

export interface DecodeFileOptions {
  /** Name of the file in messages. */
  readonly filename?: string;
  /** Keys the table does not know are left out instead of reported. */
  readonly ignoreUnknown?: boolean;
}

/** Where a value stood in its file; both count from 1. */
export interface KeyPosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface DecodedFile {
  /** Only what the file says, under the tables' field names. */
  readonly value: Record<string, Json>;
  /** Places of keys by their path in the source, dotted, with labels: `client.host_volume.data.path`. */
  readonly positions: ReadonlyMap<string, KeyPosition>;
}

/** Reads a file of the HCL1 family (or JSON) as its table says. Throws JobspecError. */
export function decodeFile(
  source: string | Uint8Array,
  table: BlockTable,
  options: DecodeFileOptions = {},
): DecodedFile {
  const diagnostics = new Diagnostics();
  const filename = options.filename ?? "input.hcl";
  const text = decodeSource(source, filename, diagnostics);
  diagnostics.throwIfFailed();
  const file = new SourceFile(filename, text);
  const tree = parseLoose(file, diagnostics);
  diagnostics.throwIfFailed();
  const decoder = new LooseDecoder(file, diagnostics, options.ignoreUnknown ?? false);
  const value = decoder.object(tree, table, []);
  diagnostics.throwIfFailed();
  return { value, positions: decoder.positions };
}

function parseLoose(file: SourceFile, diagnostics: Diagnostics): LooseObject {
  if (/^\s*\{/.test(file.text)) {
    const node = parseJsonSource(file, diagnostics);
    if (node?.kind === "object") return jsonEntries(node);
    if (node) {
      diagnostics.error(
        { source: file, start: node.start, end: node.end },
        "Root value must be object",
        "The file must hold one JSON object.",
      );
    }
    return { kind: "object", entries: [], start: 0, end: 0 };
  }
  return nativeEntries(parseBody(file, diagnostics, { loose: true }), diagnostics);
}

class WrongType extends Error {}

class LooseDecoder {
  readonly positions = new Map<string, KeyPosition>();

  constructor(
    readonly file: SourceFile,
    readonly diagnostics: Diagnostics,
    readonly ignoreUnknown: boolean,
  ) {}

  #place(node: { readonly start: number; readonly end: number }): Place {
    return { source: this.file, start: node.start, end: node.end };
  }

  #note(path: readonly string[], entry: LooseEntry): void {
    const { line, column } = this.file.position(entry.keyStart);
    this.positions.set(path.join("."), { file: this.file.name, line, column });
  }

  object(object: LooseObject, table: BlockTable, path: readonly string[]): Record<string, Json> {
    const record: Record<string, Json> = {};
    const seen = new Map<string, LooseEntry>();
    for (const entry of object.entries) {
      const { key } = entry;
      const at = [...path, key];
      this.#note(at, entry);
      const attribute = Object.hasOwn(table.attributes, key) ? table.attributes[key] : undefined;
      const child = Object.hasOwn(table.blocks, key) ? table.blocks[key] : undefined;
      const free = Object.hasOwn(table.free, key) ? table.free[key] : undefined;
      if (attribute) this.#attribute(record, entry, attribute, at, seen);
      else if (child) this.#child(record, entry.value, child, at);
      else if (free) this.#free(record, entry, free);
      else if (!this.ignoreUnknown) this.#unknown(entry, table, path);
    }
    for (const [name, spec] of Object.entries(table.attributes)) {
      if (spec.required && !seen.has(name)) {
        this.diagnostics.error(
          this.#place({ start: object.start, end: object.start + 1 }),
          "Missing required argument",
          `The argument "${name}" is required, but no definition was found.`,
        );
      }
    }
    if (!table.finish) return record;
    return table.finish(record, {
      given: new Set(seen.keys()),
      labels: path,
      error: (name, summary, detail) => {
        const entry = name === undefined ? undefined : seen.get(name);
        this.diagnostics.error(this.#place(entry ? entry.value : object), summary, detail);
      },
    });
  }

  #unknown(entry: LooseEntry, table: BlockTable, path: readonly string[]): void {
    const known = [
      ...Object.keys(table.attributes),
      ...Object.keys(table.blocks),
      ...Object.keys(table.free),
    ];
    const where = path.length === 0 ? "here" : `in ${path.join(".")}`;
    this.diagnostics.error(
      this.#place({ start: entry.keyStart, end: entry.keyEnd }),
      "Unknown key",
      `The key "${entry.key}" is not known ${where}.`,
      { suggestion: suggestName(entry.key, known) },
    );
  }

  #attribute(
    record: Record<string, Json>,
    entry: LooseEntry,
    spec: AttributeSpec,
    path: readonly string[],
    seen: Map<string, LooseEntry>,
  ): void {
    const field = spec.field || entry.key;
    const earlier = seen.get(entry.key);
    if (earlier && spec.kind !== "stringMap" && spec.kind !== "any") {
      const { line } = this.file.position(earlier.keyStart);
      this.diagnostics.error(
        this.#place({ start: entry.keyStart, end: entry.keyEnd }),
        "Key set twice",
        `The key "${path.join(".")}" was already set on line ${line}.`,
      );
      return;
    }
    seen.set(entry.key, entry);
    if (entry.value.kind === "null" && spec.nullable) {
      record[field] = null;
      return;
    }
    const value = this.#valueOf(entry.value, spec.kind, path);
    if (value === undefined) return;
    const before = record[field];
    record[field] = earlier && isPlainObject(before) && isPlainObject(value)
      ? { ...before, ...value }
      : value;
  }

  #valueOf(value: LooseValue, kind: ValueKind, path: readonly string[]): Json | undefined {
    try {
      return looseValue(value, kind);
    } catch (error) {
      if (!(error instanceof WrongType)) throw error;
      const why = error.message ? `: ${error.message}` : ".";
      this.diagnostics.error(
        this.#place(value),
        "Wrong type",
        `The value of "${path.join(".")}" must be ${KIND_WORDS[kind]}${why}`,
        { expected: KIND_WORDS[kind] },
      );
      return undefined;
    }
  }

  /** A block: an object, a list of objects, or (with labels) objects by label. */
  #child(record: Record<string, Json>, value: LooseValue, spec: ChildSpec, path: readonly string[]): void {
    this.#labelled(value, {
      spec,
      table: spec.table(),
      missing: spec.table().labels.length,
      labels: [],
      path,
    }, record);
  }

  #labelled(value: LooseValue, at: LabelState, record: Record<string, Json>): void {
    const { spec, table, missing, labels, path } = at;
    if (value.kind === "list") {
      for (const item of value.items) this.#labelled(item, at, record);
      return;
    }
    if (value.kind !== "object") {
      this.diagnostics.error(
        this.#place(value),
        "Wrong type",
        `The value of "${path.join(".")}" must be a block.`,
        {
          expected: `${path.at(-1)} { … }`,
        },
      );
      return;
    }
    if (missing > 0) {
      for (const entry of value.entries) {
        const inner = [...path, entry.key];
        this.#note(inner, entry);
        const next = { spec, table, missing: missing - 1, labels: [...labels, entry.key], path: inner };
        this.#labelled(entry.value, next, record);
      }
      return;
    }
    this.#add(record, this.object(value, table, path), at);
  }

  #add(record: Record<string, Json>, inner: Record<string, Json>, { spec, table, labels }: LabelState): void {
    const content: Record<string, Json> = {};
    table.labels.forEach((label, i) => {
      if (label.field) content[label.field] = labels[i]!;
    });
    Object.assign(content, inner);
    const before = record[spec.field];
    if (spec.form === "list") {
      if (Array.isArray(before)) before.push(content);
      else record[spec.field] = [content];
    } else if (spec.form === "map") {
      const map = isPlainObject(before) ? before : {};
      const key = labels.join(".");
      const earlier = map[key];
      setOwn(map, key, isPlainObject(earlier) ? merged(earlier, content) : content);
      record[spec.field] = map;
    } else record[spec.field] = isPlainObject(before) ? merged(before, content) : content;
  }

  #free(record: Record<string, Json>, entry: LooseEntry, spec: FreeSpec): void {
    const kind: ValueKind = spec.kind === "any" ? "any" : spec.kind;
    const value = this.#valueOf(entry.value, kind, [entry.key]);
    if (value === undefined) return;
    const before = record[spec.field];
    record[spec.field] = isPlainObject(before) && isPlainObject(value) ? { ...before, ...value } : value;
  }
}

/** A block that stands twice in a file is one: maps join, child blocks line up, later attributes win. */
function merged(before: Record<string, Json>, later: Record<string, Json>): Record<string, Json> {
  const out: Record<string, Json> = { ...before };
  for (const [key, value] of Object.entries(later)) {
    const earlier = Object.hasOwn(out, key) ? out[key] : undefined;
    if (isPlainObject(earlier) && isPlainObject(value)) setOwn(out, key, merged(earlier, value));
    else if (isRecordList(earlier) && isRecordList(value)) setOwn(out, key, [...earlier, ...value]);
    else setOwn(out, key, value);
  }
  return out;
}

function isRecordList(value: Json | undefined): value is Json[] {
  return Array.isArray(value) && value.length > 0 && value.every(isPlainObject);
}

interface LabelState {
  readonly spec: ChildSpec;
  readonly table: BlockTable;
  readonly missing: number;
  readonly labels: readonly string[];
  readonly path: readonly string[];
}

function isPlainObject(value: Json | undefined): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const INTEGERS: Partial<Record<ValueKind, readonly [bigint, bigint]>> = {
  int: [-(2n ** 63n), 2n ** 63n - 1n],
  int8: [-128n, 127n],
  uint8: [0n, 255n],
  uint16: [0n, 65_535n],
  uint32: [0n, 2n ** 32n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};

/** Weak typing as in the reference: numbers and booleans may be quoted, a single value may stand for a list. */
function looseValue(value: LooseValue, kind: ValueKind): Json {
  switch (kind) {
    case "any":
      return anyValue(value);
    case "string":
      if (value.kind === "string") return value.text;
      if (value.kind === "number") return value.value.toString();
      if (value.kind === "bool") return String(value.value);
      throw new WrongType();
    case "bool":
      return looseBool(value);
    case "number":
      if (value.kind === "number") return value.value.toDouble();
      if (value.kind === "string" && value.text.trim() !== "" && Number.isFinite(Number(value.text))) {
        return Number(value.text);
      }
      throw new WrongType();
    case "duration":
    case "durationMs":
      return looseDuration(value, kind);
    case "bytes":
      return looseBytes(value);
    case "megabytes":
      return looseMegabytes(value);
    case "strings":
      return listItems(value).map((item) => looseValue(item, "string"));
    case "uint16s":
      return listItems(value).map((item) => looseValue(item, "uint16"));
    case "stringMap":
      return looseMap(value, "string");
    case "stringsMap":
      return looseMap(value, "strings");
    default:
      return looseInteger(value, kind);
  }
}

function looseBool(value: LooseValue): boolean {
  if (value.kind === "bool") return value.value;
  if (value.kind === "number" && value.value.small !== undefined) return value.value.small !== 0;
  if (value.kind === "string") {
    if (/^(?:1|t|T|TRUE|true|True)$/.test(value.text)) return true;
    if (/^(?:0|f|F|FALSE|false|False)$/.test(value.text)) return false;
  }
  throw new WrongType();
}

function looseInteger(value: LooseValue, kind: ValueKind): Json {
  const [low, high] = INTEGERS[kind]!;
  let whole: bigint | undefined;
  if (value.kind === "number" && value.value.isInteger) whole = value.value.toBigInt();
  else if (value.kind === "string" && /^[+-]?(?:0x[0-9a-fA-F]+|\d+)$/.test(value.text)) {
    const digits = value.text.replace(/^[+-]/, "");
    whole = BigInt(digits) * (value.text.startsWith("-") ? -1n : 1n);
  }
  if (whole === undefined) throw new WrongType();
  if (whole < low || whole > high) throw new WrongType(`${whole} is not between ${low} and ${high}.`);
  return exactInteger(whole);
}

function looseDuration(value: LooseValue, kind: ValueKind): Json {
  let nanoseconds: bigint;
  if (value.kind === "number" && value.value.isInteger) nanoseconds = value.value.toBigInt();
  else if (value.kind === "string") {
    const parsed = parseGoDuration(value.text);
    if (typeof parsed === "string") throw new WrongType(parsed);
    nanoseconds = parsed;
  } else throw new WrongType();
  return kind === "durationMs" ? Number(nanoseconds) / 1e6 : exactInteger(nanoseconds);
}

/** What a unit letter stands for: K, KB: powers of 1000; Ki, KiB: of 1024. */
function byteUnit(letters: string): number | undefined {
  const match = /^([kmgtpe]?)(i?)b?$/i.exec(letters);
  if (!match || (match[2] && !match[1])) return undefined;
  const power = match[1] ? "kmgtpe".indexOf(match[1].toLowerCase()) + 1 : 0;
  return (match[2] ? 1024 : 1000) ** power;
}

/** "10GiB", "1.5 G", "512" or a number of bytes. */
function looseBytes(value: LooseValue): number {
  const text = value.kind === "number" ? value.value.toString() : value.kind === "string" ? value.text : "";
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*$/.exec(text);
  const unit = match && byteUnit(match[2]!);
  if (!match || !unit) throw new WrongType();
  const bytes = Math.floor(Number(match[1]) * unit);
  if (bytes > Number.MAX_SAFE_INTEGER) throw new WrongType(`${text} is more than 8 PiB.`);
  return bytes;
}

/** A size in MB (of 2^20 bytes): a plain number is already that. */
function looseMegabytes(value: LooseValue): Json {
  if (value.kind === "number") return looseInteger(value, "int");
  return Math.floor(looseBytes(value) / 2 ** 20);
}

function listItems(value: LooseValue): readonly LooseValue[] {
  if (value.kind === "list") return value.items;
  if (value.kind === "string") return [value];
  throw new WrongType();
}

function looseMap(value: LooseValue, kind: ValueKind): Json {
  const out: Record<string, Json> = {};
  const objects = value.kind === "list" ? value.items : [value];
  for (const object of objects) {
    if (object.kind !== "object") throw new WrongType();
    for (const entry of object.entries) setOwn(out, entry.key, looseValue(entry.value, kind));
  }
  return out;
}

/** Anything: repeated keys collect into a list. */
function anyValue(value: LooseValue): Json {
  switch (value.kind) {
    case "null":
      return null;
    case "string":
      return value.text;
    case "bool":
      return value.value;
    case "number":
      return value.value.isInteger ? exactInteger(value.value.toBigInt()) : value.value.toDouble();
    case "list":
      return value.items.map(anyValue);
    case "object": {
      const out: Record<string, Json> = {};
      const repeated = new Set<string>();
      for (const entry of value.entries) {
        const before = Object.hasOwn(out, entry.key) ? out[entry.key] : undefined;
        const item = anyValue(entry.value);
        if (before === undefined) setOwn(out, entry.key, item);
        else if (repeated.has(entry.key)) (before as Json[]).push(item);
        else {
          repeated.add(entry.key);
          setOwn(out, entry.key, [before, item]);
        }
      }
      return out;
    }
  }
}
