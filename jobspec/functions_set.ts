// Functions on sets: setintersection, setproduct, setunion.
import { commonElements, itemsOf } from "./functions_collection.ts";
import { convert, unify } from "./convert.ts";
import { ArgumentError, FunctionError, type FunctionSpec, parameter } from "./function_types.ts";
import {
  listOf,
  makeSet,
  SequenceValue,
  TupleValue,
  type Type,
  typeOf,
  type Value,
  valuesEqual,
} from "./value.ts";

const first = parameter("first_set", { kind: "set", element: "dynamic" });
const others = parameter("other_sets", { kind: "set", element: "dynamic" });
const PRODUCT_MAX = 200_000;

function elementType(arg: Value, index: number): Type {
  if (arg instanceof SequenceValue) return arg.element;
  if (!(arg instanceof TupleValue)) throw new ArgumentError(index, "a set or a list is required");
  if (arg.items.length === 0) return "dynamic";
  const type = unify(arg.items.map(typeOf));
  if (type === undefined) throw new ArgumentError(index, "all elements must be of the same type");
  return type;
}

export const SET_FUNCTIONS: Record<string, FunctionSpec> = {
  setintersection: {
    doc: "The items that all sets have.",
    parameters: [first],
    rest: others,
    call(args) {
      const { element, items } = commonElements(args);
      const [start, ...rest] = items;
      return makeSet(
        element,
        start!.filter((item) => rest.every((set) => set.some((other) => valuesEqual(other, item)))),
      );
    },
  },
  setproduct: {
    doc: "All combinations of one item from each set.",
    parameters: [],
    rest: parameter("sets", "dynamic"),
    call(args, { budget }) {
      if (args.length < 2) throw new FunctionError("at least two arguments are required");
      const elements = args.map(elementType);
      const total = args.reduce((product, arg) => product * itemsOf(arg)!.length, 1);
      if (total > PRODUCT_MAX) {
        throw new FunctionError(`the product has ${total} combinations, more than ${PRODUCT_MAX}`);
      }
      budget.items(total * args.length);
      let combinations: Value[][] = [[]];
      args.forEach((arg, i) => {
        const items = itemsOf(arg)!.map((item) => convert(item, elements[i]!));
        combinations = combinations.flatMap((combination) => items.map((item) => [...combination, item]));
      });
      const tuples = combinations.map((combination) => new TupleValue(combination));
      const type: Type = { kind: "tuple", elements };
      const ordered = args.every((arg) =>
        arg instanceof TupleValue || (arg as SequenceValue).kind === "list"
      );
      return ordered ? listOf(type, tuples) : makeSet(type, tuples);
    },
  },
  setunion: {
    doc: "The items that at least one set has.",
    parameters: [first],
    rest: others,
    call(args) {
      const { element, items } = commonElements(args);
      return makeSet(element, items.flat());
    },
  },
};
