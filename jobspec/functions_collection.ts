// Functions on lists, tuples, maps and objects, and the general coalesce and range. Functions on sets are in
// functions_set.ts.
import { convert, ConvertError, tryConvert, unify } from "./convert.ts";
import { ArgumentError, FunctionError, type FunctionSpec, parameter } from "./function_types.ts";
import { HclNumber } from "./number.ts";
import {
  listOf,
  makeSet,
  MapValue,
  NullValue,
  ObjectValue,
  sameType,
  SequenceValue,
  sortedEntries,
  TupleValue,
  type Type,
  typeOf,
  type Value,
  valuesEqual,
  valueTypeName,
} from "./value.ts";

/** The items of a list, set or tuple; undefined for anything else. */
export function itemsOf(value: Value | undefined): readonly Value[] | undefined {
  return value instanceof SequenceValue || value instanceof TupleValue ? value.items : undefined;
}

/** A whole number argument, or the error that names it. */
export function wholeNumber(value: Value | undefined, what: string, index?: number): number {
  const small = (value as HclNumber).small;
  if (small !== undefined) return small;
  const message = `${what}: value must be a whole number`;
  throw index === undefined ? new FunctionError(message) : new ArgumentError(index, message);
}

/** Lists and tuples alike: the same kind with other items. */
function like(original: Value, items: readonly Value[]): Value {
  return original instanceof SequenceValue ? listOf(original.element, items) : new TupleValue(items);
}

const anyList: Type = { kind: "list", element: "dynamic" };
const list = parameter("list", "dynamic");
const RANGE_MAX = 1024;

function flatten(items: readonly Value[]): Value[] {
  return items.flatMap((item) => {
    const inner = itemsOf(item);
    return inner ? flatten(inner) : [item];
  });
}

function indexOf([collection, key]: readonly Value[]): Value {
  const items = collection instanceof SequenceValue && collection.kind === "set"
    ? undefined
    : itemsOf(collection);
  if (items) {
    const kind = collection instanceof TupleValue ? "tuple" : "list";
    if (!(key instanceof HclNumber)) throw new FunctionError(`key for ${kind} must be number`);
    const found = key.small === undefined ? undefined : items[key.small];
    if (found === undefined) {
      throw new FunctionError(`key must be between 0 and ${items.length - 1} inclusive`);
    }
    return found;
  }
  if (collection instanceof MapValue) {
    if (typeof key !== "string") throw new FunctionError("key for map must be string");
    const found = collection.entries.get(key);
    if (found === undefined) throw new FunctionError("invalid index");
    return found;
  }
  throw new FunctionError("collection must be a list, a map or a tuple");
}

function element([from, index]: readonly Value[]): Value {
  const items = from instanceof SequenceValue && from.kind === "set" ? undefined : itemsOf(from);
  if (!items) throw new FunctionError(`cannot read elements from ${valueTypeName(from!)}`);
  const position = wholeNumber(index, "invalid index");
  if (items.length === 0) throw new FunctionError("cannot use element function with an empty list");
  return items[((position % items.length) + items.length) % items.length]!;
}

function lookup([map, key, fallback]: readonly Value[]): Value {
  if (map instanceof ObjectValue) return map.entries.get(key as string) ?? fallback!;
  if (!(map instanceof MapValue)) throw new ArgumentError(0, "lookup() requires a map as the first argument");
  const converted = tryConvert(fallback!, map.element);
  if (converted === undefined) {
    throw new ArgumentError(2, "the default value must have the same type as the map elements");
  }
  return map.entries.get(key as string) ?? converted;
}

function merge(args: readonly Value[]): Value {
  const entries = new Map<string, Value>();
  for (const arg of args) {
    if (arg instanceof NullValue) continue;
    if (!(arg instanceof MapValue || arg instanceof ObjectValue)) {
      throw new FunctionError(`arguments must be maps or objects, got "${valueTypeName(arg)}"`);
    }
    for (const [key, item] of sortedEntries(arg)) entries.set(key, item);
  }
  const first = args[0];
  if (first instanceof MapValue && args.every((arg) => sameType(typeOf(arg), typeOf(first)))) {
    return new MapValue(first.element, entries);
  }
  return new ObjectValue(entries);
}

function slice([from, start, end]: readonly Value[]): Value {
  if (from instanceof SequenceValue && from.kind === "set") {
    throw new ArgumentError(0, "cannot slice a set, because its elements do not have indices");
  }
  const items = itemsOf(from);
  if (!items) throw new ArgumentError(0, "must be a list or tuple value");
  const low = wholeNumber(start, "invalid start index", 1);
  const high = wholeNumber(end, "invalid end index", 2);
  if (low < 0) throw new ArgumentError(1, "start index must not be less than zero");
  if (low > items.length) {
    throw new ArgumentError(1, "start index must not be greater than the length of the list");
  }
  if (high < 0) throw new ArgumentError(2, "end index must not be less than zero");
  if (high > items.length) {
    throw new ArgumentError(2, "end index must not be greater than the length of the list");
  }
  if (low > high) throw new ArgumentError(1, "start index must not be greater than end index");
  return like(from!, items.slice(low, high));
}

function zipmap([keys, values]: readonly Value[]): Value {
  const names = itemsOf(keys)!;
  const items = values instanceof SequenceValue && values.kind === "set" ? undefined : itemsOf(values);
  if (!items) throw new ArgumentError(1, "values must be a list or tuple value");
  if (names.length !== items.length) {
    throw new FunctionError(
      `number of keys (${names.length}) does not match number of values (${items.length})`,
    );
  }
  if (names.some((name) => name instanceof NullValue)) throw new ArgumentError(0, "keys must not be null");
  const entries = new Map(names.map((name, i): [string, Value] => [name as string, items[i]!]));
  return values instanceof SequenceValue ? new MapValue(values.element, entries) : new ObjectValue(entries);
}

function range(args: readonly Value[]): Value {
  const [a, b, c] = args as readonly HclNumber[];
  if (!a || args.length > 3) throw new FunctionError("must have one, two, or three arguments");
  const start = b ? a : HclNumber.zero;
  const end = b ?? a;
  const downward = end.compare(start) < 0;
  const step = c ?? (downward ? HclNumber.of(-1) : HclNumber.one);
  if (start.infinity !== 0 || end.infinity !== 0 || step.infinity !== 0) {
    throw new FunctionError("limits and step must be finite");
  }
  if (downward && step.sign >= 0) {
    throw new ArgumentError(args.length - 1, "when end is less than start, step must be negative");
  }
  if (!downward && end.compare(start) > 0 && step.sign < 0) {
    throw new ArgumentError(args.length - 1, "when start is less than end, step must be positive");
  }
  if (step.sign === 0 && end.compare(start) !== 0) throw new FunctionError("step must not be zero");
  const items: Value[] = [];
  for (let at = start; downward ? at.compare(end) > 0 : at.compare(end) < 0; at = at.add(step)) {
    if (items.length >= RANGE_MAX) {
      throw new FunctionError(
        `more than ${RANGE_MAX} values were generated; either decrease the difference between start and end or use a larger step`,
      );
    }
    items.push(at);
  }
  return listOf("number", items);
}

function coalesce(args: readonly Value[]): Value {
  const type = unify(args.map(typeOf));
  if (args.length > 0 && type === undefined) throw new FunctionError("all arguments must have the same type");
  for (const arg of args) {
    if (!(arg instanceof NullValue)) return convert(arg, type!);
  }
  throw new FunctionError("no non-null arguments");
}

function concat(args: readonly Value[]): Value {
  if (args.length === 0) throw new FunctionError("at least one argument is required");
  const parts = args.map((arg, i) => {
    const items = arg instanceof SequenceValue && arg.kind === "set" ? undefined : itemsOf(arg);
    if (!items) throw new ArgumentError(i, "all arguments must be lists or tuples");
    return items;
  });
  const joined = parts.flat();
  if (args.every((arg) => arg instanceof SequenceValue)) {
    const type = unify(args.map((arg) => (arg as SequenceValue).element));
    if (type !== undefined) return listOf(type, joined.map((item) => convert(item, type)));
  }
  return new TupleValue(joined);
}

export const COLLECTION_FUNCTIONS: Record<string, FunctionSpec> = {
  chunklist: {
    doc: "Splits a list into lists of at most `size` items.",
    parameters: [parameter("list", anyList), parameter("size", "number")],
    call([from, sizeNumber]) {
      const source = from as SequenceValue;
      const size = wholeNumber(sizeNumber, "invalid size");
      if (size < 0) throw new FunctionError("the size argument must be positive");
      const type: Type = { kind: "list", element: source.element };
      if (source.items.length === 0) return listOf(type, []);
      if (size === 0) return listOf(type, [source]);
      const chunks: Value[] = [];
      for (let at = 0; at < source.items.length; at += size) {
        chunks.push(listOf(source.element, source.items.slice(at, at + size)));
      }
      return listOf(type, chunks);
    },
  },
  coalesce: {
    doc: "The first argument that is not null.",
    parameters: [],
    rest: parameter("vals", "dynamic", true),
    call: coalesce,
  },
  coalescelist: {
    doc: "The first list that is not empty.",
    parameters: [],
    rest: parameter("vals", "dynamic", true),
    call(args) {
      if (args.length === 0) throw new FunctionError("at least one argument is required");
      for (const arg of args) {
        const kind = valueTypeName(arg);
        if (!kind.startsWith("list") && kind !== "tuple") {
          throw new FunctionError("coalescelist arguments must be lists or tuples");
        }
      }
      const found = args.find((arg) => (itemsOf(arg)?.length ?? 0) > 0);
      if (!found) throw new FunctionError("no non-null arguments");
      return found;
    },
  },
  compact: {
    doc: "A list of strings without its empty ones.",
    parameters: [parameter("list", { kind: "list", element: "string" })],
    call: ([from]) =>
      listOf("string", itemsOf(from)!.filter((item) => typeof item === "string" && item !== "")),
  },
  concat: { doc: "Lists put together.", parameters: [], rest: parameter("seqs", "dynamic"), call: concat },
  contains: {
    doc: "Whether a list or set has an item equal to a value.",
    parameters: [list, parameter("value", "dynamic", true)],
    call([from, value]) {
      const items = itemsOf(from);
      if (!items) throw new FunctionError("argument must be list, tuple, or set");
      return items.some((item) => valuesEqual(item, value!));
    },
  },
  distinct: {
    doc: "A list without repeated items.",
    parameters: [parameter("list", anyList)],
    call([from], { budget }) {
      const source = from as SequenceValue;
      const sorted = makeSet(source.element, source.items).items;
      if (sorted.length === source.items.length) return source;
      budget.items(source.items.length * Math.ceil(sorted.length / 64));
      const kept: Value[] = [];
      for (const item of source.items) if (!kept.some((other) => valuesEqual(other, item))) kept.push(item);
      return listOf(source.element, kept);
    },
  },
  element: {
    doc: "The item at an index, counted around the end of the list.",
    parameters: [list, parameter("index", "number")],
    call: element,
  },
  flatten: {
    doc: "A list with the items of nested lists in their place.",
    parameters: [list],
    call([from], { budget }) {
      const items = itemsOf(from);
      if (!items) throw new FunctionError("can only flatten lists, sets and tuples");
      const flat = flatten(items);
      budget.items(flat.length);
      return new TupleValue(flat);
    },
  },
  index: {
    doc: "The item of a list or map with a key, as collection[key].",
    parameters: [parameter("collection", "dynamic"), parameter("key", "dynamic")],
    call: indexOf,
  },
  keys: {
    doc: "The keys of a map or object, sorted.",
    parameters: [parameter("inputMap", "dynamic")],
    call([map]) {
      if (!(map instanceof MapValue || map instanceof ObjectValue)) {
        throw new ArgumentError(0, "must have map or object type");
      }
      const names = sortedEntries(map).map((entry) => entry[0]);
      return map instanceof MapValue ? listOf("string", names) : new TupleValue(names);
    },
  },
  length: {
    doc: "The number of items of a list, set, tuple or map.",
    parameters: [parameter("collection", "dynamic")],
    call([collection]) {
      if (collection instanceof MapValue) return HclNumber.count(collection.entries.size);
      const items = itemsOf(collection);
      if (!items) throw new FunctionError("collection must be a list, a map or a tuple");
      return HclNumber.count(items.length);
    },
  },
  lookup: {
    doc: "The item of a map with a key, or a default.",
    parameters: [
      parameter("inputMap", "dynamic"),
      parameter("key", "string"),
      parameter("default", "dynamic"),
    ],
    call: lookup,
  },
  merge: {
    doc: "Maps or objects put together; later ones win.",
    parameters: [],
    rest: parameter("maps", "dynamic", true),
    call: merge,
  },
  range: {
    doc: "Numbers from a start to an end, exclusive: range(end), range(start, end), range(start, end, step).",
    parameters: [],
    rest: parameter("params", "number"),
    call: range,
  },
  slice: {
    doc: "The items of a list from one index up to another, exclusive.",
    parameters: [list, parameter("start_index", "number"), parameter("end_index", "number")],
    call: slice,
  },
  values: {
    doc: "The items of a map or object in the order of its keys.",
    parameters: [parameter("mapping", "dynamic")],
    call([map]) {
      if (!(map instanceof MapValue || map instanceof ObjectValue)) {
        throw new FunctionError("values() requires a map as the first argument");
      }
      const items = sortedEntries(map).map((entry) => entry[1]);
      return map instanceof MapValue ? listOf(map.element, items) : new TupleValue(items);
    },
  },
  zipmap: {
    doc: "A map of a list of keys and a list of values.",
    parameters: [parameter("keys", { kind: "list", element: "string" }), parameter("values", "dynamic")],
    call: zipmap,
  },
};

/** The common element type of several lists or sets, with the items of each converted to it. */
export function commonElements(args: readonly Value[]): { element: Type; items: Value[][] } {
  const types = args.flatMap((arg) =>
    arg instanceof SequenceValue
      ? (arg.element === "dynamic" && arg.items.length === 0 ? [] : [arg.element])
      : []
  );
  const element = types.length === 0 ? "dynamic" : unify(types);
  if (element === undefined || (element === "dynamic" && types.some((type) => type !== "dynamic"))) {
    throw new FunctionError("given sets must all have compatible element types");
  }
  try {
    return { element, items: args.map((arg) => itemsOf(arg)!.map((item) => convert(item, element))) };
  } catch (error) {
    if (error instanceof ConvertError) throw new FunctionError(error.message);
    throw error;
  }
}
