// Values and types of the job language while expressions are evaluated. Knows equality, order and type names;
// conversions between types are in convert.ts, JSON in json.ts.
// Invariants: values are immutable; strings are in Unicode normal form C; set items are sorted and distinct; object
// and map entries iterate in byte order of their keys when `sortedEntries` is used; UNKNOWN stands for the result of
// an expression that failed and has already been reported, so nothing may be reported about it again.
import { BudgetError } from "./budget.ts";
import { HclNumber } from "./number.ts";

export type PrimitiveType = "string" | "number" | "bool";

export interface CollectionType {
  readonly kind: "list" | "set" | "map";
  readonly element: Type;
}

export interface TupleType {
  readonly kind: "tuple";
  readonly elements: readonly Type[];
}

export interface ObjectType {
  readonly kind: "object";
  readonly attributes: ReadonlyMap<string, Type>;
}

/** "dynamic" is any type: the type of a bare null and the `any` of conversions. */
export type Type = PrimitiveType | "dynamic" | CollectionType | TupleType | ObjectType;

export class NullValue {
  constructor(readonly type: Type) {}
}

export class UnknownValue {
  readonly unknown = true;
}

/** Larger values are never made. */
const WEIGHT_MAX = 250_000;

/**
 * What all composite values have. `weight` counts their parts with every shared part as often as it occurs: a value
 * that would unfold to more than WEIGHT_MAX is never made, so walking one is always affordable.
 */
abstract class Composite {
  readonly weight: number;
  /** Some part is UNKNOWN. */
  readonly hasUnknown: boolean;

  constructor(parts: Iterable<Value>) {
    let weight = 1;
    let hasUnknown = false;
    for (const part of parts) {
      weight += part instanceof Composite ? part.weight : 1;
      if (part instanceof UnknownValue || (part instanceof Composite && part.hasUnknown)) hasUnknown = true;
    }
    if (weight > WEIGHT_MAX) throw new BudgetError(`A value has more than ${WEIGHT_MAX} parts.`);
    this.weight = weight;
    this.hasUnknown = hasUnknown;
  }
}

/** A list or a set: items of one type. */
export class SequenceValue extends Composite {
  constructor(readonly kind: "list" | "set", readonly element: Type, readonly items: readonly Value[]) {
    super(items);
  }
}

export class MapValue extends Composite {
  constructor(readonly element: Type, readonly entries: ReadonlyMap<string, Value>) {
    super(entries.values());
  }
}

export class TupleValue extends Composite {
  type: Type | undefined;
  constructor(readonly items: readonly Value[]) {
    super(items);
  }
}

export class ObjectValue extends Composite {
  type: Type | undefined;
  constructor(readonly entries: ReadonlyMap<string, Value>) {
    super(entries.values());
  }
}

/** How many parts a value has. */
export function weightOf(value: Value): number {
  return value instanceof Composite ? value.weight : 1;
}

export type Value =
  | string
  | boolean
  | HclNumber
  | NullValue
  | UnknownValue
  | SequenceValue
  | MapValue
  | TupleValue
  | ObjectValue;

export const NULL = new NullValue("dynamic");
export const UNKNOWN = new UnknownValue();

const MAY_NEED_NORMALIZING = /[\u0300-\uffff]/;

/** Every string value passes through here once: normal form C, no lone surrogates. */
export function normalizeText(text: string): string {
  if (!MAY_NEED_NORMALIZING.test(text)) return text;
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd")
    .normalize("NFC");
}

/** Order of the UTF-8 bytes of two strings (which is the order of their code points). */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // Surrogates stand for code points above all of the basic plane.
    const rank = (unit: number) => unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit;
    return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** The entries of an object or map in byte order of their keys, as every iteration of the language sees them. */
export function sortedEntries(value: ObjectValue | MapValue): [string, Value][] {
  return [...value.entries].sort((a, b) => compareText(a[0], b[0]));
}

export function isNull(value: Value): value is NullValue {
  return value instanceof NullValue;
}

export function isCollectionOfItems(value: Value): value is SequenceValue | TupleValue {
  return value instanceof SequenceValue || value instanceof TupleValue;
}

export function typeOf(value: Value): Type {
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "bool";
  if (value instanceof HclNumber) return "number";
  if (value instanceof NullValue) return value.type;
  if (value instanceof UnknownValue) return "dynamic";
  if (value instanceof SequenceValue) return { kind: value.kind, element: value.element };
  if (value instanceof MapValue) return { kind: "map", element: value.element };
  if (value instanceof TupleValue) {
    return value.type ??= { kind: "tuple", elements: value.items.map(typeOf) };
  }
  return value.type ??= {
    kind: "object",
    attributes: new Map(Array.from(value.entries, ([name, item]) => [name, typeOf(item)])),
  };
}

export function sameType(a: Type, b: Type): boolean {
  if (a === b) return true;
  if (typeof a === "string" || typeof b === "string") return false;
  if (a.kind === "tuple") {
    return b.kind === "tuple" && a.elements.length === b.elements.length &&
      a.elements.every((element, i) => sameType(element, b.elements[i]!));
  }
  if (a.kind === "object") {
    if (b.kind !== "object" || a.attributes.size !== b.attributes.size) return false;
    for (const [name, type] of a.attributes) {
      const other = b.attributes.get(name);
      if (other === undefined || !sameType(type, other)) return false;
    }
    return true;
  }
  return a.kind === b.kind && sameType(a.element, (b as typeof a).element);
}

/** How messages call a type: "list of string", "tuple". */
export function typeName(type: Type): string {
  if (typeof type === "string") return type;
  if (type.kind === "tuple" || type.kind === "object") return type.kind;
  const element = type.element === "dynamic" ? "any single type" : typeName(type.element);
  return `${type.kind} of ${element}`;
}

export function valueTypeName(value: Value): string {
  if (value instanceof TupleValue) return "tuple";
  if (value instanceof ObjectValue) return "object";
  return typeName(typeOf(value));
}

/** Equality of the language's `==`: numbers by value, no conversion, types must agree (nulls excepted). */
export function valuesEqual(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a instanceof NullValue || b instanceof NullValue) {
    return a instanceof NullValue && b instanceof NullValue;
  }
  if (a instanceof HclNumber) return b instanceof HclNumber && a.equals(b);
  if (a instanceof SequenceValue) {
    return b instanceof SequenceValue && a.kind === b.kind && sameType(a.element, b.element) &&
      itemsEqual(a.items, b.items);
  }
  if (a instanceof TupleValue) return b instanceof TupleValue && itemsEqual(a.items, b.items);
  if (a instanceof MapValue) {
    return b instanceof MapValue && sameType(a.element, b.element) && entriesEqual(a.entries, b.entries);
  }
  if (a instanceof ObjectValue) return b instanceof ObjectValue && entriesEqual(a.entries, b.entries);
  return false;
}

function itemsEqual(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((item, i) => valuesEqual(item, b[i]!));
}

function entriesEqual(a: ReadonlyMap<string, Value>, b: ReadonlyMap<string, Value>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, item] of a) {
    const other = b.get(key);
    if (other === undefined || !valuesEqual(item, other)) return false;
  }
  return true;
}

/** The order of set items: strings by bytes, numbers by value, false before true, nulls last, others by their text. */
function compareValues(a: Value, b: Value): number {
  if (a instanceof NullValue || b instanceof NullValue) {
    return Number(a instanceof NullValue) - Number(b instanceof NullValue);
  }
  if (typeof a === "string" && typeof b === "string") return compareText(a, b);
  if (a instanceof HclNumber && b instanceof HclNumber) return a.compare(b);
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  return compareText(orderKey(a), orderKey(b));
}

function orderKey(value: Value): string {
  if (value instanceof NullValue) return "~";
  if (value instanceof UnknownValue) return "?";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "boolean") return value ? "T" : "F";
  if (value instanceof HclNumber) return value.toString();
  if (value instanceof MapValue) {
    return `{${
      sortedEntries(value).map(([key, item]) => `${JSON.stringify(key)}:${orderKey(item)};`).join("")
    }}`;
  }
  if (value instanceof SequenceValue) return `[${value.items.map((item) => orderKey(item) + ";").join("")}]`;
  const items = value instanceof ObjectValue ? sortedEntries(value).map((entry) => entry[1]) : value.items;
  return `<${items.map((item) => orderKey(item) + ";").join("")}>`;
}

/** A set of the given items: sorted, without duplicates. */
export function makeSet(element: Type, items: readonly Value[]): SequenceValue {
  const sorted = [...items].sort(compareValues);
  const distinct = sorted.filter((item, i) => i === 0 || !valuesEqual(item, sorted[i - 1]!));
  return new SequenceValue("set", element, distinct);
}

export function listOf(element: Type, items: readonly Value[]): SequenceValue {
  return new SequenceValue("list", element, items);
}

/** An object from entries; the last of duplicate keys wins. */
export function objectOf(entries: Iterable<readonly [string, Value]>): ObjectValue {
  return new ObjectValue(new Map(entries));
}

/** True when some part of the value is UNKNOWN. */
export function containsUnknown(value: Value): boolean {
  return value instanceof UnknownValue || (value instanceof Composite && value.hasUnknown);
}
