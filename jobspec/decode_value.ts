// One attribute → one JSON value of the kind its table says: conversion, integer widths, Go durations, lists, maps.
// Never throws for a wrong value: it reports at the value and returns undefined.
import { parseGoDuration } from "./go_duration.ts";
import { convert, ConvertError } from "./convert.ts";
import type { Evaluator } from "./expression.ts";
import { exactInteger, type Json } from "./json.ts";
import { HclNumber } from "./number.ts";
import type { Attribute, Expression } from "./syntax.ts";
import { type AttributeSpec, KIND_WORDS, type ValueKind } from "./table.ts";
import {
  containsUnknown,
  MapValue,
  NullValue,
  ObjectValue,
  SequenceValue,
  sortedEntries,
  TupleValue,
  type Type,
  UnknownValue,
  type Value,
} from "./value.ts";

const STRINGS: Type = { kind: "list", element: "string" };
const NUMBERS: Type = { kind: "list", element: "number" };
const STRING_MAP: Type = { kind: "map", element: "string" };
const STRINGS_MAP: Type = { kind: "map", element: STRINGS };

const RANGES: Partial<Record<ValueKind, readonly [bigint, bigint]>> = {
  int: [-(2n ** 63n), 2n ** 63n - 1n],
  int8: [-128n, 127n],
  uint8: [0n, 255n],
  uint16: [0n, 65_535n],
  uint32: [0n, 2n ** 32n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};

/** Where a value begins: its bracket, its function's name, or the value itself. */
export function startOf(node: Expression): { start: number; end: number } {
  switch (node.kind) {
    case "object":
    case "tuple":
    case "for":
    case "parens":
      return { start: node.start, end: node.start + 1 };
    case "call":
      return { start: node.start, end: node.nameEnd };
    case "template":
      return node.parts[0] ? startOf(node.parts[0]) : node;
    case "literal":
      return node.textStart === undefined
        ? node
        : { start: node.textStart, end: Math.max(node.textStart, node.end - 1) };
    default:
      return { start: node.start, end: node.end };
  }
}

class ValueError extends Error {
  constructor(readonly summary: string, detail: string) {
    super(detail);
  }
}

/** The value of an attribute, null where null is allowed, or undefined after a report. */
export function decodeAttribute(
  attribute: Attribute,
  spec: AttributeSpec,
  evaluator: Evaluator,
  generic: boolean,
): Json | undefined {
  const own = evaluator.forSource(attribute.source);
  const value = own.evaluate(attribute.expression);
  if (value instanceof UnknownValue || containsUnknown(value)) return undefined;
  try {
    return generic ? genericValue(value, spec, attribute.name) : tableValue(value, spec);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    const at = startOf(attribute.expression);
    own.options.diagnostics.error(own.place(at), error.summary, error.message, {
      expected: KIND_WORDS[spec.kind],
    });
    return undefined;
  }
}

const UNSUITABLE = "Unsuitable value type";

function unsuitable(message: string): ValueError {
  return new ValueError(UNSUITABLE, `Unsuitable value: ${message}`);
}

function converted(value: Value, type: Type): Value {
  try {
    return convert(value, type);
  } catch (error) {
    if (error instanceof ConvertError) throw unsuitable(error.message);
    throw error;
  }
}

function tableValue(value: Value, spec: AttributeSpec): Json {
  if (spec.kind === "duration" || spec.kind === "durationMs") return duration(value, spec.kind);
  if (value instanceof NullValue) {
    if (spec.nullable) return null;
    throw unsuitable("null value is not allowed");
  }
  return valueOfKind(value, spec.kind);
}

/** A value that is not null and not a duration, as JSON of a kind. Throws ValueError. */
function valueOfKind(value: Value, kind: ValueKind): Json {
  switch (kind) {
    case "string":
      return converted(value, "string") as string;
    case "bool":
      return converted(value, "bool") as boolean;
    case "number":
      return (converted(value, "number") as HclNumber).toDouble();
    case "strings":
      return texts(converted(value, STRINGS));
    case "uint16s":
      return (converted(value, NUMBERS) as SequenceValue).items.map((item) => integer(item, "uint16"));
    case "stringMap":
      return mapOf(converted(value, STRING_MAP), noNull);
    case "stringsMap":
      return mapOf(converted(value, STRINGS_MAP), texts);
    case "any":
      return valueToJson(value);
    case "duration":
    case "durationMs":
      return duration(value, kind);
    case "bytes":
    case "megabytes":
      throw unsuitable("sizes are not part of the job language");
    default:
      return integer(converted(value, "number"), kind);
  }
}

function noNull(value: Value): Json {
  if (value instanceof NullValue) throw unsuitable("null value is not allowed");
  return value as string;
}

function texts(value: Value): Json {
  if (value instanceof NullValue) throw unsuitable("null value is not allowed");
  return (value as SequenceValue).items.map(noNull);
}

function mapOf(value: Value, item: (value: Value) => Json): Json {
  const out: Record<string, Json> = {};
  for (const [key, entry] of sortedEntries(value as MapValue)) setOwn(out, key, item(entry));
  return out;
}

/** Assigns even a key such as "__proto__" as an own property. */
export function setOwn(target: Record<string, Json>, key: string, value: Json): void {
  if (key !== "__proto__") target[key] = value;
  else Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

function integer(value: Value, kind: ValueKind): Json {
  if (value instanceof NullValue) throw unsuitable("null value is not allowed");
  const [low, high] = RANGES[kind]!;
  const number = value as HclNumber;
  const whole = number.isInteger ? number.toBigInt() : undefined;
  if (whole === undefined || whole < low || whole > high) {
    const inclusive = low === 0n ? " inclusive" : "";
    throw unsuitable(`value must be a whole number, between ${low} and ${high}${inclusive}`);
  }
  return exactInteger(whole);
}

function duration(value: Value, kind: ValueKind): Json {
  if (value instanceof NullValue) throw new ValueError("Unsuitable value", "Unsuitable duration value: nil");
  let nanoseconds: bigint;
  if (value instanceof HclNumber) nanoseconds = BigInt(integer(value, "int") as number | bigint);
  else if (typeof value === "string") {
    const parsed = parseGoDuration(value);
    if (typeof parsed === "string") throw new ValueError(UNSUITABLE, `Unsuitable duration value: ${parsed}`);
    nanoseconds = parsed;
  } else throw unsuitable("expected a string");
  return kind === "durationMs" ? Number(nanoseconds) / 1e6 : exactInteger(nanoseconds);
}

/** Blocks that the reference decodes through a generic path: null counts as absent, small integers wrap around. */
function genericValue(value: Value, spec: AttributeSpec, name: string): Json {
  if (value instanceof NullValue) return null;
  try {
    if (spec.kind === "string") return convert(value, "string") as string;
    if (spec.kind === "bool") return convert(value, "bool") as boolean;
    const number = convert(value, "number") as HclNumber;
    const [low, high] = RANGES.int!;
    const whole = number.truncated() ?? (number.sign < 0 ? low : high);
    return Number(BigInt.asIntN(8, whole < low ? low : whole > high ? high : whole));
  } catch (error) {
    if (!(error instanceof ConvertError)) throw error;
    throw new ValueError(
      "Incorrect attribute value type",
      `Inappropriate value for attribute "${name}": ${error.message}.`,
    );
  }
}

/** Any value as JSON: integers stay integers while they fit 64 bits, other numbers are doubles. */
export function valueToJson(value: Value): Json {
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (value instanceof NullValue || value instanceof UnknownValue) return null;
  if (value instanceof HclNumber) return numberToJson(value);
  if (value instanceof TupleValue || value instanceof SequenceValue) return value.items.map(valueToJson);
  return entriesToJson(value);
}

function entriesToJson(value: ObjectValue | MapValue): Json {
  const out: Record<string, Json> = {};
  for (const [key, item] of value.entries) setOwn(out, key, valueToJson(item));
  return out;
}

function numberToJson(value: HclNumber): Json {
  if (value.small !== undefined) return value.small + 0;
  if (value.infinity !== 0) throw unsuitable("an infinite number cannot be stored");
  const [low, high] = RANGES.int!;
  const whole = value.isInteger ? value.toBigInt() : undefined;
  if (whole !== undefined && whole >= low && whole <= high) return exactInteger(whole);
  const double = value.toDouble();
  if (!Number.isFinite(double)) throw unsuitable("the number is too large to be stored");
  return double;
}
