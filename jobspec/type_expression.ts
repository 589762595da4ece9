// Type expressions: `string`, `list(number)`, `object({ a = string })`, as variables and convert() have them.
// Reports what is no type and returns undefined.
import type { Diagnostics, SourceFile } from "./diagnostics.ts";
import { suggestName } from "./diagnostics.ts";
import type { Expression } from "./syntax.ts";
import type { Type } from "./value.ts";

export interface TypeContext {
  readonly source: SourceFile;
  readonly diagnostics: Diagnostics;
  /** `any` is a type inside convert(), not in a variable's declaration. */
  readonly allowAny: boolean;
}

const PRIMITIVES = new Set(["string", "number", "bool"]);
const CONSTRUCTORS = ["list", "set", "map", "tuple", "object"];
const EXPECTED = "string, number, bool, list(…), set(…), map(…), tuple([…]) or object({…})";

export function parseTypeExpression(node: Expression, context: TypeContext): Type | undefined {
  const problem = (at: Expression, detail: string, suggestion?: string): undefined => {
    context.diagnostics.error(
      { source: context.source, start: at.start, end: at.end },
      "Invalid type specification",
      detail,
      { expected: EXPECTED, suggestion },
    );
    return undefined;
  };
  if (node.kind === "parens") return parseTypeExpression(node.inner, context);
  if (node.kind === "traversal" && node.steps.length === 0) {
    const name = node.root;
    if (PRIMITIVES.has(name)) return name as Type;
    if (name === "any") {
      if (context.allowAny) return "dynamic";
      return problem(
        node,
        'The keyword "any" cannot be used in this type specification: an exact type is required.',
      );
    }
    if (name === "list" || name === "set" || name === "map") {
      return problem(node, `The ${name} type constructor requires one argument specifying the element type.`);
    }
    if (name === "object" || name === "tuple") {
      const what = name === "object" ? "the attribute types as a map" : "the element types as a list";
      return problem(node, `The ${name} type constructor requires one argument specifying ${what}.`);
    }
    const suggestion = suggestName(name, [...PRIMITIVES, ...CONSTRUCTORS]);
    return problem(node, `The keyword "${name}" is not a valid type specification.`, suggestion);
  }
  if (node.kind !== "call") {
    return problem(
      node,
      "A type specification is either a primitive type keyword (bool, number, string) or a complex type constructor call, like list(string).",
    );
  }
  return constructedType(node, context, problem);
}

type Problem = (at: Expression, detail: string, suggestion?: string) => undefined;

function constructedType(
  node: Expression & { kind: "call" },
  context: TypeContext,
  problem: Problem,
): Type | undefined {
  const arg = node.args[0];
  const { name } = node;
  if (PRIMITIVES.has(name) || name === "any") {
    return problem(node, `Primitive type keyword "${name}" does not expect arguments.`);
  }
  if (name === "optional") {
    return problem(node, "Optional attribute modifier is only for type constraints, not for exact types.");
  }
  if (!CONSTRUCTORS.includes(name)) {
    return problem(
      node,
      `Keyword "${name}" is not a valid type constructor.`,
      suggestName(name, CONSTRUCTORS),
    );
  }
  if (node.args.length !== 1 || !arg) {
    return problem(node, `The ${name} type constructor requires one argument.`);
  }
  if (name === "list" || name === "set" || name === "map") {
    const element = parseTypeExpression(arg, context);
    return element === undefined ? undefined : { kind: name, element };
  }
  if (name === "tuple") {
    if (arg.kind !== "tuple") {
      return problem(arg, "Tuple type constructor requires a list of element types.");
    }
    const elements = arg.items.map((item) => parseTypeExpression(item, context));
    return elements.includes(undefined) ? undefined : { kind: "tuple", elements: elements as Type[] };
  }
  return objectType(arg, context, problem);
}

function objectType(arg: Expression, context: TypeContext, problem: Problem): Type | undefined {
  if (arg.kind !== "object") {
    return problem(
      arg,
      "Object type constructor requires a map whose keys are attribute names and whose values are the corresponding attribute types.",
    );
  }
  const attributes = new Map<string, Type>();
  let broken = false;
  for (const item of arg.items) {
    const key = item.key.kind === "key" ? item.key : undefined;
    const name = key?.name;
    const type = parseTypeExpression(item.value, context);
    if (name === undefined) problem(item.key, "Object constructor map keys must be attribute names.");
    if (name === undefined || type === undefined) broken = true;
    else attributes.set(name, type);
  }
  return broken ? undefined : { kind: "object", attributes };
}
