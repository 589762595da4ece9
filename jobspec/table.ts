// How a block is described: its labels, attributes (name, type, JSON field, value when absent), child blocks and
// documentation. The tables themselves are in blocks_*.ts and spec_tables.ts; the decoder, the printer, the JSON
// Schema and the documentation all read them. There is no second list of names anywhere.
// Invariant: a table is plain data but for `finish`, which a few blocks need for sugar and defaults that depend on
// other fields.
import type { Json } from "./json.ts";

/**
 * What an attribute holds. Integers are checked against their width. `duration` is nanoseconds in the result and Go
 * duration text or a number of nanoseconds in the source; `durationMs` is milliseconds in the result. `bytes` is a size
 * such as "10GiB", `megabytes` such a size in units of 2^20 bytes or a plain number of them (both in files of the HCL1
 * family only).
 */
export type ValueKind =
  | "string"
  | "bool"
  | "int"
  | "int8"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "number"
  | "duration"
  | "durationMs"
  | "bytes"
  | "megabytes"
  | "strings"
  | "uint16s"
  | "stringMap"
  | "stringsMap"
  | "any";

/** What a kind is called in messages: "must be …", "expected: …". */
export const KIND_WORDS: Readonly<Record<ValueKind, string>> = {
  string: "a string",
  bool: "true or false",
  int: "a whole number",
  int8: "a whole number from -128 to 127",
  uint8: "a whole number from 0 to 255",
  uint16: "a whole number from 0 to 65535",
  uint32: "a whole number that is not negative",
  uint64: "a whole number that is not negative",
  number: "a number",
  duration: 'a duration such as "30s", "10m" or "1h30m"',
  durationMs: 'a duration such as "30s", "10m" or "1h30m"',
  bytes: 'a size such as "10GiB"',
  megabytes: 'a size such as "10GiB" or a number of MB',
  strings: "a list of strings",
  uint16s: "a list of whole numbers from 0 to 65535",
  stringMap: "a map of strings",
  stringsMap: "a map of lists of strings",
  any: "any value",
};

export interface AttributeSpec {
  /** Field of the JSON record. */
  readonly field: string;
  readonly kind: ValueKind;
  /** May be null, and is null when absent (unless `absent` says otherwise). */
  readonly nullable: boolean;
  /** The field's value when the attribute is absent. */
  readonly absent: Json;
  readonly required: boolean;
  readonly doc: string;
  /** The names a string should be one of; documentation and schema only, as the language checks none of them. */
  readonly values?: readonly string[];
}

export type ChildForm =
  /** At most one; null when absent. */
  | "one"
  /** Any number, in order; null when absent. */
  | "list"
  /** Any number, by label; the last of a label wins; null when absent. */
  | "map";

export interface ChildSpec {
  readonly field: string;
  readonly form: ChildForm;
  readonly table: () => BlockTable;
  readonly doc: string;
  /** Each label may occur only once. */
  readonly uniqueLabels?: boolean;
  /** Errors inside are ignored and the last of several wins, as the reference does in one place. */
  readonly lenient?: boolean;
}

/** A block whose names are the user's own: env, meta, config. */
export interface FreeSpec {
  readonly field: string;
  readonly kind: "stringMap" | "stringsMap" | "any";
  /** `name = { … }` is allowed beside `name { … }`. */
  readonly alsoAttribute: boolean;
  readonly doc: string;
}

export interface BlockTable {
  readonly name: string;
  readonly doc: string;
  /** Name shown in messages and the JSON field of each label. */
  readonly labels: readonly { readonly name: string; readonly field: string }[];
  readonly attributes: Readonly<Record<string, AttributeSpec>>;
  readonly blocks: Readonly<Record<string, ChildSpec>>;
  readonly free: Readonly<Record<string, FreeSpec>>;
  /** Fields of the JSON record that no source sets. */
  readonly constants: Readonly<Record<string, Json>>;
  /** The reference decodes some blocks through a generic path with other messages and looser numbers. */
  readonly generic: boolean;
  /** Turns what was read into the final record. `given` has the source names that were present. */
  readonly finish?: (record: Record<string, Json>, context: FinishContext) => Record<string, Json>;
  /** The way back of `finish`, for printing: fields as the attributes have them, and labels that no field holds. */
  readonly restore?: (record: Record<string, Json>) => RestoredRecord;
}

export interface RestoredRecord {
  readonly record: Record<string, Json>;
  readonly labels?: readonly string[];
}

export interface FinishContext {
  /** Names of attributes that were present. */
  readonly given: ReadonlySet<string>;
  readonly labels: readonly string[];
  /** Reports at an attribute, or at the block's header if the name is undefined. */
  error(attribute: string | undefined, summary: string, detail: string): void;
}

type Options = Partial<Pick<AttributeSpec, "absent" | "required" | "values">>;

const PLAIN_ABSENT: Record<ValueKind, Json> = {
  string: "",
  bool: false,
  int: 0,
  int8: 0,
  uint8: 0,
  uint16: 0,
  uint32: 0,
  uint64: 0,
  number: 0,
  duration: 0,
  durationMs: 0,
  bytes: 0,
  megabytes: 0,
  strings: null,
  uint16s: null,
  stringMap: null,
  stringsMap: null,
  any: null,
};

/** A plain attribute: never null; its zero value when absent. */
export function plain(field: string, kind: ValueKind, doc: string, options: Options = {}): AttributeSpec {
  const nullable = PLAIN_ABSENT[kind] === null;
  return { field, kind, nullable, absent: PLAIN_ABSENT[kind], required: false, doc, ...options };
}

/** An optional attribute: null when absent. */
export function optional(field: string, kind: ValueKind, doc: string, options: Options = {}): AttributeSpec {
  return { field, kind, nullable: true, absent: null, required: false, doc, ...options };
}

export function child(
  field: string,
  form: ChildForm,
  table: () => BlockTable,
  doc: string,
  more: Partial<ChildSpec> = {},
): ChildSpec {
  return { field, form, table, doc, ...more };
}

/** A block of the user's own names with text values. */
export function stringMap(field: string, doc: string, alsoAttribute = false): FreeSpec {
  return { field, kind: "stringMap", alsoAttribute, doc };
}

/** A block of anything, such as a driver's configuration. */
export function freeForm(field: string, doc: string): FreeSpec {
  return { field, kind: "any", alsoAttribute: false, doc };
}

type TableParts =
  & Partial<
    Pick<BlockTable, "attributes" | "blocks" | "free" | "constants" | "generic" | "finish" | "restore">
  >
  & { readonly labels?: BlockTable["labels"] };

export function block(name: string, doc: string, parts: TableParts): BlockTable {
  return {
    name,
    doc,
    labels: [],
    attributes: {},
    blocks: {},
    free: {},
    constants: {},
    generic: false,
    ...parts,
  };
}
