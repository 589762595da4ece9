// Request bodies: JSON text → plain records of a described shape, with the mistakes told in the words that clients of
// Nomad know (those of Go's encoding/json). Keys match case-insensitively, unknown keys are ignored, what follows the
// first value is ignored, null is the same as absent. Pure: text in, record or ApiError(400) out.
//
// Invariants: what comes out has only described keys in their described spelling; every value has its described type.
import { ApiError } from "../core/errors.ts";

/** What a value must be. `go` is the type's name in messages. */
export type Shape =
  | { kind: "string" | "bool" | "bytes" | "any" | "object"; go: string }
  | { kind: "int"; go: string; min: number; max: number }
  | { kind: "float"; go: string }
  | { kind: "list"; go: string; element: Shape }
  | { kind: "map"; go: string; element: Shape }
  | StructShape;

export interface StructShape {
  kind: "struct";
  go: string;
  /** Without its package, as messages about its fields name it. */
  name: string;
  fields: Record<string, Shape>;
  /** Lower-cased key → field. */
  folded: Map<string, string>;
}

export const str: Shape = { kind: "string", go: "string" };
export const bool: Shape = { kind: "bool", go: "bool" };
export const bytes: Shape = { kind: "bytes", go: "[]uint8" };
export const any: Shape = { kind: "any", go: "interface {}" };
export const int: Shape = { kind: "int", go: "int", min: -(2 ** 63), max: 2 ** 63 };
export const int64: Shape = { ...int, go: "int64" };
export const int8: Shape = { kind: "int", go: "int8", min: -128, max: 127 };
export const uint8: Shape = { kind: "int", go: "uint8", min: 0, max: 255 };
export const uint64: Shape = { kind: "int", go: "uint64", min: 0, max: 2 ** 64 };
/** Nanoseconds; texts such as "5s" are refused, as the API documents numbers. */
export const duration: Shape = { ...int, go: "time.Duration" };
export const float: Shape = { kind: "float", go: "float64" };

/** An object that is not looked into. */
export const object = (go: string): Shape => ({ kind: "object", go });
export const list = (element: Shape): Shape => ({
  kind: "list",
  go: element.kind === "struct" ? `[]*${element.go}` : `[]${element.go}`,
  element,
});
export const map = (element: Shape): Shape => ({
  kind: "map",
  go: element.kind === "struct" ? `map[string]*${element.go}` : `map[string]${element.go}`,
  element,
});

/** A structure; `name` as in "api.Job". */
export function struct(name: string, fields: Record<string, Shape>): StructShape {
  return {
    kind: "struct",
    go: name,
    name: name.slice(name.lastIndexOf(".") + 1),
    fields,
    folded: new Map(Object.keys(fields).map((key) => [key.toLowerCase(), key])),
  };
}

/** Reads the first JSON value of `text` as `shape`. Throws ApiError(400) with the place and cause. */
export function decodeJson<T>(text: string, shape: StructShape): T {
  const value = parseFirst(text);
  if (value === null) return {} as T;
  return decodeValue(value, shape, null) as T;
}

/** Where a value stands: a field of a structure, itself perhaps inside another. Its path is only made for a message. */
interface Place {
  struct: string;
  field: string;
  outer: Place | null;
}

function pathOf({ field, outer }: Place): string {
  return outer === null ? field : `${pathOf(outer)}.${field}`;
}

function mismatch(what: string, shape: Shape, place: Place | null): never {
  const where = place === null ? "Go value" : `Go struct field ${place.struct}.${pathOf(place)}`;
  throw new ApiError(400, `json: cannot unmarshal ${what} into ${where} of type ${shape.go}`);
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** Whether `value` already is what a shape without parts asks for. */
function fits(value: unknown, shape: Shape): boolean {
  switch (shape.kind) {
    case "any":
      return true;
    case "string":
      return typeof value === "string";
    case "bool":
      return typeof value === "boolean";
    case "float":
      return typeof value === "number";
    case "int":
      return Number.isInteger(value) && (value as number) >= shape.min && (value as number) <= shape.max;
    case "object":
      return isRecord(value);
    default:
      return false;
  }
}

function decodeValue(value: unknown, shape: Shape, place: Place | null): unknown {
  switch (shape.kind) {
    case "bytes":
      return decodeBytes(value, shape, place);
    case "list":
      if (!Array.isArray(value)) mismatch(describe(value), shape, place);
      return (value as unknown[]).map((item) => decodeItem(item, shape.element, place));
    case "map": {
      if (!isRecord(value)) mismatch(describe(value), shape, place);
      const entries = Object.entries(value as Record<string, unknown>);
      return Object.fromEntries(entries.map(([key, item]) => [key, decodeItem(item, shape.element, place)]));
    }
    case "struct":
      return decodeStruct(value, shape, place);
    default: {
      if (fits(value, shape)) return value;
      const isNumber = shape.kind === "int" && typeof value === "number";
      return mismatch(isNumber ? `number ${value}` : describe(value), shape, place);
    }
  }
}

/** An element: null stands for the type's empty value. */
function decodeItem(value: unknown, shape: Shape, place: Place | null): unknown {
  if (value !== null) return decodeValue(value, shape, place);
  if (shape.kind === "string") return "";
  if (shape.kind === "struct") return {};
  return null;
}

function decodeStruct(value: unknown, shape: StructShape, outer: Place | null): Record<string, unknown> {
  if (!isRecord(value)) mismatch(describe(value), shape, outer);
  const record: Record<string, unknown> = {};
  for (const key in value as Record<string, unknown>) {
    const item = (value as Record<string, unknown>)[key];
    if (item === null) continue;
    const field = Object.hasOwn(shape.fields, key) ? key : shape.folded.get(key.toLowerCase());
    if (field === undefined) continue;
    const inner = shape.fields[field]!;
    record[field] = fits(item, inner) ? item : decodeValue(item, inner, { struct: shape.name, field, outer });
  }
  return record;
}

function decodeBytes(value: unknown, shape: Shape, place: Place | null): string {
  if (typeof value !== "string") return mismatch(describe(value), shape, place);
  const wrong = value.search(/[^A-Za-z0-9+/=]/);
  const at = wrong >= 0 ? wrong : value.length % 4 === 0 ? -1 : value.length - (value.length % 4);
  if (at >= 0) throw new ApiError(400, `illegal base64 data at input byte ${at}`);
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// --- Text -------------------------------------------------------------------------------------------------------

/** The first value of the text. */
function parseFirst(text: string): unknown {
  checkNesting(text);
  try {
    return JSON.parse(text);
  } catch (error) {
    // Either wrong, which the scanner says better, or followed by something that is to be ignored.
    const end = new Scanner(text).first();
    if (end === text.length) {
      throw new ApiError(400, `Cannot read the JSON body: ${(error as Error).message}`);
    }
    return JSON.parse(text.slice(0, end));
  }
}

/** Far beyond any real body, and far below what would overflow the stack of whoever walks the value later. */
const NESTING_MAX = 1_000;

function checkNesting(text: string): void {
  if (text.length < 2 * NESTING_MAX) return;
  let depth = 0;
  for (let at = 0, inString = false; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (inString) {
      if (char === 0x5c) at++;
      else if (char === 0x22) inString = false;
    } else if (char === 0x22) inString = true;
    else if (char === 0x5b || char === 0x7b) {
      if (++depth > NESTING_MAX) {
        throw new ApiError(400, `Request body is nested more than ${NESTING_MAX} levels deep`);
      }
    } else if (char === 0x5d || char === 0x7d) depth--;
  }
}

/** Finds the end of the first value, or says what is wrong before it. */
class Scanner {
  #at = 0;

  constructor(private readonly text: string) {}

  first(): number {
    this.#blanks();
    if (this.#at === this.text.length) throw new ApiError(400, "EOF");
    this.#value();
    return this.#at;
  }

  #blanks(): void {
    while (" \t\r\n".includes(this.text[this.#at] ?? "x")) this.#at++;
  }

  /** The next character; ends the reading when there is none. */
  #peek(): string {
    const char = this.text[this.#at];
    if (char === undefined) throw new ApiError(400, "unexpected EOF");
    return char;
  }

  #wrong(context: string): never {
    throw new ApiError(400, `invalid character ${quoteChar(this.#peek())} ${context}`);
  }

  #value(): void {
    const char = this.#peek();
    if (char === "{") this.#object();
    else if (char === "[") this.#array();
    else if (char === '"') this.#string();
    else if (char === "-" || (char >= "0" && char <= "9")) this.#number();
    else if (char === "t") this.#word("true");
    else if (char === "f") this.#word("false");
    else if (char === "n") this.#word("null");
    else this.#wrong("looking for beginning of value");
  }

  #object(): void {
    this.#at++;
    this.#blanks();
    if (this.#peek() === "}") return void this.#at++;
    for (;;) {
      this.#blanks();
      if (this.#peek() !== '"') this.#wrong("looking for beginning of object key string");
      this.#string();
      this.#blanks();
      if (this.#peek() !== ":") this.#wrong("after object key");
      this.#at++;
      this.#blanks();
      this.#value();
      this.#blanks();
      if (this.#peek() === "}") return void this.#at++;
      if (this.#peek() !== ",") this.#wrong("after object key:value pair");
      this.#at++;
    }
  }

  #array(): void {
    this.#at++;
    this.#blanks();
    if (this.#peek() === "]") return void this.#at++;
    for (;;) {
      this.#blanks();
      this.#value();
      this.#blanks();
      if (this.#peek() === "]") return void this.#at++;
      if (this.#peek() !== ",") this.#wrong("after array element");
      this.#at++;
    }
  }

  #string(): void {
    for (this.#at++;;) {
      const char = this.#peek();
      if (char === '"') return void this.#at++;
      if (char < " ") this.#wrong("in string literal");
      this.#at++;
      if (char !== "\\") continue;
      if (!'bfnrt\\/"u'.includes(this.#peek())) this.#wrong("in string escape code");
      if (this.text[this.#at++] !== "u") continue;
      for (let digit = 0; digit < 4; digit++, this.#at++) {
        if (!/[0-9a-fA-F]/.test(this.#peek())) this.#wrong("in \\u hexadecimal character escape");
      }
    }
  }

  #number(): void {
    const digits = () => {
      while (/[0-9]/.test(this.text[this.#at] ?? "")) this.#at++;
    };
    const demandDigit = (context: string) => {
      if (!/[0-9]/.test(this.#peek())) this.#wrong(context);
    };
    if (this.text[this.#at] === "-") {
      this.#at++;
      demandDigit("in numeric literal");
    }
    if (this.text[this.#at] === "0") this.#at++;
    else digits();
    if (this.text[this.#at] === ".") {
      this.#at++;
      demandDigit("after decimal point in numeric literal");
      digits();
    }
    if (/[eE]/.test(this.text[this.#at] ?? "")) {
      this.#at++;
      if (/[+-]/.test(this.#peek())) this.#at++;
      demandDigit("in exponent of numeric literal");
      digits();
    }
  }

  #word(word: string): void {
    for (const char of word) {
      if (this.#peek() !== char) this.#wrong(`in literal ${word} (expecting '${char}')`);
      this.#at++;
    }
  }
}

/** A character as Go quotes it. */
function quoteChar(char: string): string {
  if (char === "'") return `'\\''`;
  if (char === '"') return `'"'`;
  const escaped = JSON.stringify(char).slice(1, -1);
  return `'${escaped.replace(/^\\u00/, "\\x")}'`;
}
