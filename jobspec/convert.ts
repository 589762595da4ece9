// Conversions between types: what an attribute, a typed variable or a function parameter does with a value of
// another type, and the common type of several values (conditionals, lists of mixed items).
// Pure; failure is a ConvertError whose message says what was required ("a number is required").
// Invariant: convert(value, type) returns a value of exactly that type, or of any type where `type` says "dynamic".
import { HclNumber, NumberError } from "./number.ts";
import {
  type CollectionType,
  compareText,
  makeSet,
  MapValue,
  NullValue,
  type ObjectType,
  ObjectValue,
  sameType,
  SequenceValue,
  sortedEntries,
  type TupleType,
  TupleValue,
  type Type,
  typeName,
  typeOf,
  UnknownValue,
  type Value,
} from "./value.ts";

export class ConvertError extends Error {
  override readonly name = "ConvertError";
}

/** Converts, or throws ConvertError. UNKNOWN stays UNKNOWN. */
export function convert(value: Value, type: Type): Value {
  if (type === "dynamic" || value instanceof UnknownValue) return value;
  if (type === "string" && typeof value === "string") return value;
  if (value instanceof NullValue) {
    if (!convertible(value.type, type, true)) throw new ConvertError(mismatch(value.type, type));
    return new NullValue(type);
  }
  if (typeof type === "string") return toPrimitive(value, type);
  switch (type.kind) {
    case "list":
    case "set":
      return toSequence(value, type.kind, type.element);
    case "map":
      return toMap(value, type.element);
    case "tuple":
      return toTuple(value, type.elements, type);
    case "object":
      return toObject(value, type);
  }
}

/** Converts, or returns undefined. */
export function tryConvert(value: Value, type: Type): Value | undefined {
  try {
    return convert(value, type);
  } catch (error) {
    if (error instanceof ConvertError) return undefined;
    throw error;
  }
}

function toPrimitive(value: Value, type: "string" | "number" | "bool"): Value {
  if (type === "string") {
    if (value instanceof HclNumber) return value.toString();
    if (typeof value === "boolean") return value ? "true" : "false";
  } else if (type === "number") {
    if (value instanceof HclNumber) return value;
    if (typeof value === "string") return numberFromText(value);
  } else {
    if (typeof value === "boolean") return value;
    if (typeof value === "string") return boolFromText(value);
  }
  throw new ConvertError(mismatch(typeOf(value), type));
}

function numberFromText(text: string): HclNumber {
  let number: HclNumber | undefined;
  try {
    number = HclNumber.parse(text);
  } catch (error) {
    if (!(error instanceof NumberError)) throw error;
    throw new ConvertError(`a number is required: ${error.message}`);
  }
  if (!number) throw new ConvertError("a number is required");
  return number;
}

function boolFromText(text: string): boolean {
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  const lower = text.toLowerCase();
  const hint = lower === "true" || lower === "false"
    ? `; to convert from string, use lowercase "${lower}"`
    : "";
  throw new ConvertError(`a bool is required${hint}`);
}

function itemsOf(value: Value): readonly Value[] | undefined {
  return value instanceof SequenceValue || value instanceof TupleValue ? value.items : undefined;
}

function entriesOf(value: Value): [string, Value][] | undefined {
  return value instanceof ObjectValue || value instanceof MapValue ? sortedEntries(value) : undefined;
}

function toSequence(value: Value, kind: "list" | "set", wanted: Type): Value {
  const items = itemsOf(value);
  if (!items) throw new ConvertError(mismatch(typeOf(value), { kind, element: wanted }));
  let element = wanted;
  if (wanted === "dynamic") {
    if (value instanceof SequenceValue) element = value.element;
    else {
      const common = items.length === 0 ? "dynamic" : unify(items.map(typeOf));
      if (common === undefined) throw new ConvertError(`all ${kind} elements must have the same type`);
      element = common;
    }
  }
  if (items.length === 0 && value instanceof SequenceValue && !convertible(value.element, element, true)) {
    throw new ConvertError(mismatch(typeOf(value), { kind, element }));
  }
  const converted = items.map((item, i) => within(`element ${i}`, () => convert(item, element)));
  return kind === "set" ? makeSet(element, converted) : new SequenceValue("list", element, converted);
}

function toMap(value: Value, wanted: Type): Value {
  const entries = entriesOf(value);
  if (!entries) throw new ConvertError(mismatch(typeOf(value), { kind: "map", element: wanted }));
  let element = wanted;
  if (wanted === "dynamic") {
    if (value instanceof MapValue) element = value.element;
    else {
      const common = entries.length === 0 ? "dynamic" : unify(entries.map((entry) => typeOf(entry[1])));
      if (common === undefined) throw new ConvertError("all map elements must have the same type");
      element = common;
    }
  }
  if (entries.length === 0 && value instanceof MapValue && !convertible(value.element, element, true)) {
    throw new ConvertError(mismatch(typeOf(value), { kind: "map", element }));
  }
  const converted = entries.map(([key, item]): [string, Value] => [
    key,
    within(`element "${key}"`, () => convert(item, element)),
  ]);
  return new MapValue(element, new Map(converted));
}

function toTuple(value: Value, elements: readonly Type[], type: Type): Value {
  if (!(value instanceof TupleValue) || value.items.length !== elements.length) {
    throw new ConvertError(mismatch(typeOf(value), type));
  }
  return new TupleValue(
    value.items.map((item, i) => within(`element ${i}`, () => convert(item, elements[i]!))),
  );
}

function toObject(value: Value, type: ObjectType): Value {
  const given = value instanceof ObjectValue || value instanceof MapValue ? value.entries : undefined;
  if (!given) throw new ConvertError(mismatch(typeOf(value), type));
  const missing = [...type.attributes.keys()].filter((name) => !given.has(name)).sort(compareText);
  if (missing.length > 0) throw new ConvertError(missingAttributes(missing));
  const entries = new Map<string, Value>();
  for (const [name, wanted] of type.attributes) {
    entries.set(name, within(`attribute "${name}"`, () => convert(given.get(name)!, wanted)));
  }
  return new ObjectValue(entries);
}

function missingAttributes(names: readonly string[]): string {
  const quoted = names.map((name) => `"${name}"`);
  if (quoted.length === 1) return `attribute ${quoted[0]} is required`;
  return `attributes ${quoted.slice(0, -1).join(", ")} and ${quoted.at(-1)} are required`;
}

function within<T>(part: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof ConvertError) throw new ConvertError(`${part}: ${error.message}`);
    throw error;
  }
}

function mismatch(got: Type, want: Type): string {
  if (typeof want !== "string" && typeof got !== "string" && got.kind === want.kind) {
    return `${typeName(want)} required, but have a different ${typeName(got)}`;
  }
  return `${typeName(want)} required, but have ${typeName(got)}`;
}

/** Whether a value of type `from` may become a value of type `to`. `unsafe` admits conversions that depend on the value. */
export function convertible(from: Type, to: Type, unsafe: boolean): boolean {
  if (to === "dynamic" || sameType(from, to)) return true;
  if (from === "dynamic") return unsafe;
  if (typeof to === "string") {
    if (typeof from !== "string") return false;
    return to === "string" || (unsafe && from === "string");
  }
  if (typeof from === "string") return false;
  switch (to.kind) {
    case "list":
    case "set":
      if (from.kind === "tuple") {
        return from.elements.every((element) => convertible(element, to.element, unsafe));
      }
      if (from.kind === "list" && to.kind === "set" && !unsafe) return false;
      return (from.kind === "list" || from.kind === "set") && convertible(from.element, to.element, unsafe);
    case "map":
      if (from.kind === "object") {
        return [...from.attributes.values()].every((type) => convertible(type, to.element, unsafe));
      }
      return from.kind === "map" && convertible(from.element, to.element, unsafe);
    case "tuple":
      return from.kind === "tuple" && from.elements.length === to.elements.length &&
        from.elements.every((element, i) => convertible(element, to.elements[i]!, unsafe));
    case "object":
      if (from.kind === "map") {
        return unsafe && [...to.attributes.values()].every((type) => convertible(from.element, type, unsafe));
      }
      return from.kind === "object" &&
        [...to.attributes].every(([name, type]) => {
          const given = from.attributes.get(name);
          return given !== undefined && convertible(given, type, unsafe);
        });
  }
}

type Kind = "list" | "set" | "map" | "tuple" | "object" | "dynamic" | "primitive";

function kindOf(type: Type): Kind {
  if (typeof type !== "string") return type.kind;
  return type === "dynamic" ? "dynamic" : "primitive";
}

/** The one type that values of all these types can be converted to, or undefined. */
export function unify(types: readonly Type[]): Type | undefined {
  const first = types[0];
  if (first === undefined) return undefined;
  if (types.every((type) => sameType(type, first))) return first;
  const kinds = new Set(types.map(kindOf));
  const dynamic = kinds.delete("dynamic");
  const only = kinds.size === 1 ? [...kinds][0]! : undefined;
  if (only === "map" || only === "list" || only === "set") {
    return dynamic ? "dynamic" : unifyCollections(types as CollectionType[]);
  }
  if (only === "object") return dynamic ? "dynamic" : unifyObjects(types as ObjectType[]);
  if (only === "tuple") return dynamic ? "dynamic" : unifyTuples(types as TupleType[]);
  const mixed = unifyMixed(types, kinds);
  if (mixed !== undefined) return mixed;
  if (kinds.has("object") && kinds.has("tuple")) return undefined;
  return [...types].sort(compareTypes).find((wanted) =>
    types.every((type) => convertible(type, wanted, true))
  );
}

/** Lists with tuples, maps with objects: the literal is taken as the collection it stands for. */
function unifyMixed(types: readonly Type[], kinds: ReadonlySet<Kind>): Type | undefined {
  const collection = kinds.has("map") ? "map" : kinds.has("list") ? "list" : undefined;
  const literal = collection === "map" ? "object" : "tuple";
  if (!collection || kinds.size !== 2 || !kinds.has(literal)) return undefined;
  const elements = types.flatMap((type) => typeof type === "string" ? [] : partTypes(type));
  const element = unify(elements);
  return element === undefined ? undefined : { kind: collection, element };
}

function partTypes(type: Exclude<Type, string>): Type[] {
  if (type.kind === "tuple") return [...type.elements];
  return type.kind === "object" ? [...type.attributes.values()] : [type.element];
}

function unifyCollections(
  types: readonly CollectionType[],
): Type | undefined {
  const element = unify(types.map((type) => type.element));
  return element === undefined ? undefined : { kind: types[0]!.kind, element };
}

function unifyObjects(types: readonly ObjectType[]): Type | undefined {
  const first = types[0]!.attributes;
  const alike = types.every((type) =>
    type.attributes.size === first.size && [...type.attributes.keys()].every((name) => first.has(name))
  );
  if (!alike) {
    const element = unify(types.flatMap((type) => [...type.attributes.values()]));
    return element === undefined ? undefined : { kind: "map", element };
  }
  const attributes = new Map<string, Type>();
  for (const name of first.keys()) {
    const type = unify(types.map((candidate) => candidate.attributes.get(name)!));
    if (type === undefined) return undefined;
    attributes.set(name, type);
  }
  return { kind: "object", attributes };
}

function unifyTuples(types: readonly TupleType[]): Type | undefined {
  const length = types[0]!.elements.length;
  if (types.some((type) => type.elements.length !== length)) {
    const element = unify(types.flatMap((type) => type.elements));
    return element === undefined ? undefined : { kind: "list", element };
  }
  const elements: Type[] = [];
  for (let i = 0; i < length; i++) {
    const type = unify(types.map((candidate) => candidate.elements[i]!));
    if (type === undefined) return undefined;
    elements.push(type);
  }
  return { kind: "tuple", elements };
}

/** More general types first: string before other primitives, collections before literals, anything before dynamic. */
function compareTypes(a: Type, b: Type): number {
  return generality(a) - generality(b);
}

function generality(type: Type): number {
  if (type === "string") return 0;
  if (type === "dynamic") return 9;
  if (typeof type === "string") return 1;
  const order: Record<string, number> = { list: 2, map: 2, set: 3, tuple: 4, object: 4 };
  return order[type.kind]!;
}
