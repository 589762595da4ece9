// Evaluates expressions: operators, templates, traversals, calls, `for`, splats, and the references that only mean
// something on a node (`${attr.kernel.name}`), which stay text.
// Never throws for a wrong expression: it reports and returns UNKNOWN, and nothing that follows from an UNKNOWN is
// reported again. Only BudgetError passes through. Deterministic but for the uuid and bcrypt functions.
import type { Budget } from "./budget.ts";
import { convert, ConvertError, unify } from "./convert.ts";
import { Diagnostics, type Place, type SourceFile, suggestName } from "./diagnostics.ts";
import { callFunction, type FunctionTable } from "./functions.ts";
import type { CallContext } from "./function_types.ts";
import { HclNumber, NumberError } from "./number.ts";
import { runtimeReference } from "./runtime_reference.ts";
import type { BinaryOperator, Expression, ForExpression, Step } from "./syntax.ts";
import {
  containsUnknown,
  MapValue,
  normalizeText,
  NullValue,
  ObjectValue,
  sameType,
  SequenceValue,
  sortedEntries,
  TupleValue,
  type Type,
  typeOf,
  UNKNOWN,
  UnknownValue,
  type Value,
  valuesEqual,
  valueTypeName,
  weightOf,
} from "./value.ts";

/** Names an expression can see. `runtime`: unknown names are references for the node; else they are errors. */
export interface Scope {
  readonly variables: ReadonlyMap<string, Value>;
  readonly parent: Scope | undefined;
}

export interface EvaluationOptions extends CallContext {
  readonly diagnostics: Diagnostics;
  /** Undefined: functions may not be called here. */
  readonly functions: FunctionTable | undefined;
  /** What an unknown root name is: text for the node, an error, or (for a constant) any name at all is an error. */
  readonly unknownNames: "runtime" | "error" | "constant";
}

export class Evaluator {
  readonly budget: Budget;

  constructor(
    readonly source: SourceFile,
    readonly options: EvaluationOptions,
    readonly scope: Scope | undefined,
  ) {
    this.budget = options.budget;
  }

  with(variables: ReadonlyMap<string, Value>): Evaluator {
    return new Evaluator(this.source, this.options, { variables, parent: this.scope });
  }

  /** The same names and rules for expressions of another source. */
  forSource(source: SourceFile): Evaluator {
    return source === this.source ? this : new Evaluator(source, this.options, this.scope);
  }

  place(node: { readonly start: number; readonly end: number }): Place {
    return { source: this.source, start: node.start, end: node.end };
  }

  fail(
    node: { readonly start: number; readonly end: number },
    summary: string,
    detail: string,
    suggestion?: string,
  ): UnknownValue {
    this.options.diagnostics.error(
      this.place(node),
      summary,
      detail,
      suggestion === undefined ? {} : { suggestion },
    );
    return UNKNOWN;
  }

  evaluate(node: Expression): Value {
    this.budget.step();
    switch (node.kind) {
      case "literal":
        return node.value;
      case "template":
        return this.#template(node.parts);
      case "wrap":
      case "parens":
        return this.evaluate(node.inner);
      case "join":
        return this.#join(this.evaluate(node.inner), node);
      case "traversal":
        return this.#traversal(node);
      case "relative":
        return this.#steps(this.evaluate(node.from), node.steps, 0);
      case "call":
        return callFunction(this, node);
      case "conditional":
        return this.#conditional(node);
      case "index":
        return this.#index(this.evaluate(node.collection), this.evaluate(node.key), {
          start: node.open,
          end: node.end,
        });
      case "tuple":
        return new TupleValue(node.items.map((item) => this.evaluate(item)));
      case "object":
        return this.#object(node);
      case "key":
        return this.#key(node);
      case "for":
        return this.#for(node);
      case "splat":
        return this.#splat(node);
      case "item":
        return this.lookup(ITEM) ?? UNKNOWN;
      case "binary":
        return this.#binary(node);
      case "unary":
        return this.#unary(node);
      case "sourced":
        // Where only constants are allowed, strings of JSON are not templates.
        if (this.options.unknownNames === "constant") return normalizeText(node.source.text);
        return this.forSource(node.source).evaluate(node.inner);
      case "broken":
        return UNKNOWN;
    }
  }

  lookup(name: string): Value | undefined {
    for (let scope = this.scope; scope; scope = scope.parent) {
      const value = scope.variables.get(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  #template(parts: readonly Expression[]): Value {
    const texts: string[] = [];
    let unknown = false;
    for (const part of parts) {
      const value = this.evaluate(part);
      if (typeof value === "string") texts.push(value);
      else if (value instanceof UnknownValue) unknown = true;
      else if (value instanceof NullValue) {
        unknown = true;
        this.fail(
          part,
          "Invalid template interpolation value",
          "The expression result is null. Cannot include a null value in a string template.",
        );
      } else {
        try {
          texts.push(convert(value, "string") as string);
        } catch (error) {
          if (!(error instanceof ConvertError)) throw error;
          unknown = true;
          this.fail(
            part,
            "Invalid template interpolation value",
            `Cannot include the given value in a string template: ${error.message}.`,
          );
        }
      }
    }
    return unknown ? UNKNOWN : this.#joined(texts);
  }

  #joined(texts: readonly string[]): string {
    let length = 0;
    for (const text of texts) length += text.length;
    this.budget.text(length);
    return normalizeText(texts.join(""));
  }

  #join(value: Value, node: Expression): Value {
    if (!(value instanceof TupleValue) || containsUnknown(value)) return UNKNOWN;
    const texts: string[] = [];
    for (const item of value.items) {
      if (typeof item !== "string") {
        return this.fail(
          node,
          "Invalid template interpolation value",
          "An iteration did not result in text.",
        );
      }
      texts.push(item);
    }
    return this.#joined(texts);
  }

  #traversal(node: Expression & { kind: "traversal" }): Value {
    const root = this.lookup(node.root);
    if (root !== undefined) return this.#steps(root, node.steps, 0);
    if (this.options.unknownNames === "constant") {
      return this.fail(node, "Variables not allowed", "Variables may not be used here.");
    }
    if (this.options.unknownNames === "runtime") {
      const text = runtimeReference(this.source.text, node.start, node.end);
      this.budget.text(text.length);
      return normalizeText(text);
    }
    const names = this.#visibleNames();
    const known = names.length > 0 ? ` Known here: ${names.join(", ")}.` : "";
    return this.fail(
      { start: node.start, end: node.rootEnd },
      "Unknown variable",
      `There is no variable named "${node.root}".${known}`,
      suggestName(node.root, names),
    );
  }

  #visibleNames(): string[] {
    const names = new Set<string>();
    for (let scope = this.scope; scope; scope = scope.parent) {
      for (const name of scope.variables.keys()) names.add(name);
    }
    return [...names];
  }

  #steps(value: Value, steps: readonly Step[], from: number): Value {
    for (let i = from; i < steps.length; i++) {
      const step = steps[i]!;
      value = step.kind === "attribute"
        ? this.#attribute(value, step.name, step)
        : this.#index(value, step.key, step);
      if (value instanceof UnknownValue) return UNKNOWN;
    }
    return value;
  }

  #attribute(value: Value, name: string, node: Step): Value {
    if (value instanceof UnknownValue) return UNKNOWN;
    if (value instanceof ObjectValue) {
      const found = value.entries.get(name);
      if (found !== undefined) return found;
      return this.fail(
        node,
        "Unsupported attribute",
        `This object does not have an attribute named "${name}".`,
        suggestName(name, value.entries.keys()),
      );
    }
    if (value instanceof MapValue) {
      const found = value.entries.get(name);
      if (found !== undefined) return found;
      return this.fail(
        node,
        "Missing map element",
        `This map does not have an element with the key "${name}".`,
        suggestName(name, value.entries.keys()),
      );
    }
    if (value instanceof NullValue) {
      return this.fail(
        node,
        "Attempt to get attribute from null value",
        "This value is null, so it does not have any attributes.",
      );
    }
    const kind = valueTypeName(value);
    if (value instanceof SequenceValue || value instanceof TupleValue) {
      return this.fail(
        node,
        "Unsupported attribute",
        `Can't access attributes on a ${kind}. Pick an element by its index, or use [*] for all elements.`,
      );
    }
    return this.fail(
      node,
      "Unsupported attribute",
      `Can't access attributes on a primitive-typed value (${kind}).`,
    );
  }

  #index(collection: Value, key: Value, node: { readonly start: number; readonly end: number }): Value {
    if (collection instanceof UnknownValue || key instanceof UnknownValue) return UNKNOWN;
    if (collection instanceof NullValue) {
      return this.fail(
        node,
        "Attempt to index null value",
        "This value is null, so it does not have any indices.",
      );
    }
    const invalid = (detail: string, suggestion?: string) =>
      this.fail(node, "Invalid index", detail, suggestion);
    if (key instanceof NullValue) return invalid("Can't use a null value as an indexing key.");
    const missing = "The given key does not identify an element in this collection value";
    const isMap = collection instanceof MapValue || collection instanceof ObjectValue;
    if (!isMap && !(collection instanceof TupleValue || collection instanceof SequenceValue)) {
      return invalid("This value does not have any indices.");
    }
    if (collection instanceof SequenceValue && collection.kind === "set") {
      return invalid("Elements of a set are identified only by their value and don't have any index or key.");
    }
    let wanted: Value;
    try {
      wanted = convert(key, isMap ? "string" : "number");
    } catch (error) {
      if (!(error instanceof ConvertError)) throw error;
      return invalid(`${missing}: ${error.message}.`);
    }
    if (isMap) {
      const found = collection.entries.get(wanted as string);
      if (found !== undefined) return found;
      const hint = key instanceof HclNumber && collection instanceof ObjectValue
        ? " An object only supports looking up attributes by name, not by numeric index."
        : "";
      return invalid(`${missing}.${hint}`, suggestName(wanted as string, collection.entries.keys()));
    }
    const number = wanted as HclNumber;
    const found = number.small === undefined ? undefined : collection.items[number.small];
    if (found !== undefined) return found;
    const why = number.isInteger
      ? `it has ${collection.items.length} elements`
      : "an index must be a whole number";
    return invalid(`${missing}: ${why}.`);
  }

  #object(node: Expression & { kind: "object" }): Value {
    const entries = new Map<string, Value>();
    let unknown = false;
    for (const item of node.items) {
      const key = this.evaluate(item.key);
      const value = this.evaluate(item.value);
      if (key instanceof UnknownValue) unknown = true;
      else if (key instanceof NullValue) {
        unknown = true;
        this.fail(item.key, "Null value as key", "Can't use a null value as a key.");
      } else {
        try {
          entries.set(convert(key, "string") as string, value);
        } catch (error) {
          if (!(error instanceof ConvertError)) throw error;
          unknown = true;
          this.fail(item.key, "Incorrect key type", `Can't use this value as a key: ${error.message}.`);
        }
      }
    }
    return unknown ? UNKNOWN : new ObjectValue(entries);
  }

  #key(node: Expression & { kind: "key" }): Value {
    if (node.name !== undefined) return node.name;
    if (node.inner.kind === "traversal") {
      return this.fail(
        node,
        "Ambiguous attribute key",
        "If this expression is intended to be a reference, wrap it in parentheses. If it's instead intended as a literal name containing periods, wrap it in quotes to create a string literal.",
      );
    }
    return this.evaluate(node.inner);
  }

  #conditional(node: Expression & { kind: "conditional" }): Value {
    // Both branches are checked for types, but only the chosen one may fail the evaluation.
    const whenTrue = this.#attempt(node.whenTrue);
    const whenFalse = this.#attempt(node.whenFalse);
    const type = this.#conditionalType(whenTrue.value, whenFalse.value);
    if (type === undefined) {
      return this.fail(
        { start: node.whenTrue.start, end: node.whenFalse.end },
        "Inconsistent conditional result types",
        `The true and false result expressions must have consistent types. The 'true' value is ${
          valueTypeName(whenTrue.value)
        }, but the 'false' value is ${valueTypeName(whenFalse.value)}.`,
      );
    }
    const condition = this.#condition(node.condition);
    if (condition === undefined) return UNKNOWN;
    const chosen = condition ? whenTrue : whenFalse;
    for (const diagnostic of chosen.diagnostics.list) this.#report(diagnostic);
    if (chosen.value instanceof UnknownValue || type === "dynamic") return chosen.value;
    try {
      return convert(chosen.value, type);
    } catch (error) {
      if (!(error instanceof ConvertError)) throw error;
      return this.fail(
        condition ? node.whenTrue : node.whenFalse,
        "Inconsistent conditional result types",
        `The ${condition} result value has the wrong type: ${error.message}.`,
      );
    }
  }

  #report(diagnostic: Diagnostics["list"][number]): void {
    const { diagnostics } = this.options;
    diagnostics.errorCount++;
    diagnostics.list.push(diagnostic);
  }

  #attempt(node: Expression): { value: Value; diagnostics: Diagnostics } {
    if (node.kind === "literal") return { value: node.value, diagnostics: NO_DIAGNOSTICS };
    const diagnostics = new Diagnostics();
    const value = new Evaluator(this.source, { ...this.options, diagnostics }, this.scope).evaluate(node);
    return { value, diagnostics };
  }

  /** Evaluates without reporting; UNKNOWN and what was wrong on failure. For `try` and `can`. */
  attempt(node: Expression): { value: Value; diagnostics: Diagnostics } {
    return this.#attempt(node);
  }

  #conditionalType(whenTrue: Value, whenFalse: Value): Type | undefined {
    const a = typeOf(whenTrue);
    const b = typeOf(whenFalse);
    if (whenTrue instanceof UnknownValue || whenFalse instanceof UnknownValue) return "dynamic";
    if (whenTrue instanceof NullValue && a === "dynamic") return b;
    if (whenFalse instanceof NullValue && b === "dynamic") return a;
    if (a === "dynamic" || b === "dynamic") return "dynamic";
    return sameType(a, b) ? "dynamic" : unify([a, b]);
  }

  #condition(node: Expression): boolean | undefined {
    const value = this.evaluate(node);
    if (value instanceof UnknownValue) return undefined;
    if (value instanceof NullValue) {
      this.fail(
        node,
        "Null condition",
        "The condition value is null. Conditions must either be true or false.",
      );
      return undefined;
    }
    try {
      return convert(value, "bool") as boolean;
    } catch (error) {
      if (!(error instanceof ConvertError)) throw error;
      this.fail(node, "Incorrect condition type", "The condition expression must be of type bool.");
      return undefined;
    }
  }

  /** [key, value] pairs of anything that can be iterated; undefined after a report. */
  #iterate(node: ForExpression): [Value, Value][] | undefined {
    const value = this.evaluate(node.collection);
    if (value instanceof UnknownValue) return undefined;
    if (value instanceof NullValue) {
      this.fail(
        node.collection,
        "Iteration over null value",
        "A null value cannot be used as the collection in a 'for' expression.",
      );
      return undefined;
    }
    const pairs = iterationPairs(value);
    if (!pairs) {
      this.fail(
        node.collection,
        "Iteration over non-iterable value",
        `A value of type ${valueTypeName(value)} cannot be used as the collection in a 'for' expression.`,
      );
    }
    return pairs;
  }

  #for(node: ForExpression): Value {
    const pairs = this.#iterate(node);
    if (!pairs) return UNKNOWN;
    this.budget.items(pairs.length);
    const result = node.key ? new Map<string, Value>() : undefined;
    const groups = new Map<string, Value[]>();
    const items: Value[] = [];
    let unknown = false;
    for (const [key, value] of pairs) {
      const variables = new Map<string, Value>();
      if (node.keyName !== undefined) variables.set(node.keyName, key);
      variables.set(node.valueName, value);
      const inner = this.with(variables);
      const included = node.condition ? inner.#forCondition(node.condition) : true;
      if (included === undefined) unknown = true;
      if (!included) {
        // One report of a condition that fails for every item is enough.
        if (included === undefined) return UNKNOWN;
        continue;
      }
      if (!result) {
        items.push(inner.evaluate(node.value));
        continue;
      }
      const name = inner.#forKey(node.key!);
      const item = inner.evaluate(node.value);
      if (name === undefined) unknown = true;
      else if (node.group) groups.set(name, [...(groups.get(name) ?? []), item]);
      else if (result.has(name)) {
        unknown = true;
        this.fail(
          node.key!,
          "Duplicate object key",
          `Two different items produced the key "${name}" in this 'for' expression. If duplicates are expected, use the ellipsis (...) after the value expression to enable grouping by key.`,
        );
      } else result.set(name, item);
    }
    if (unknown) return UNKNOWN;
    if (!result) return new TupleValue(items);
    for (const [name, group] of groups) result.set(name, new TupleValue(group));
    return new ObjectValue(result);
  }

  #forCondition(node: Expression): boolean | undefined {
    const value = this.evaluate(node);
    if (value instanceof UnknownValue) return undefined;
    if (value instanceof NullValue) {
      this.fail(node, "Condition is null", "The value of the 'if' clause must not be null.");
      return undefined;
    }
    try {
      return convert(value, "bool") as boolean;
    } catch (error) {
      if (!(error instanceof ConvertError)) throw error;
      this.fail(node, "Invalid 'for' condition", `The 'if' clause value is invalid: ${error.message}.`);
      return undefined;
    }
  }

  #forKey(node: Expression): string | undefined {
    const value = this.evaluate(node);
    if (value instanceof UnknownValue) return undefined;
    if (value instanceof NullValue) {
      this.fail(
        node,
        "Invalid object key",
        "Key expression in 'for' expression must not produce a null value.",
      );
      return undefined;
    }
    try {
      return convert(value, "string") as string;
    } catch (error) {
      if (!(error instanceof ConvertError)) throw error;
      this.fail(
        node,
        "Invalid object key",
        `The key expression produced an invalid result: ${error.message}.`,
      );
      return undefined;
    }
  }

  #splat(node: Expression & { kind: "splat" }): Value {
    const source = this.evaluate(node.from);
    if (source instanceof UnknownValue) return UNKNOWN;
    if (source instanceof NullValue) {
      const kind = typeof source.type === "string" ? "" : source.type.kind;
      if (kind !== "list" && kind !== "set" && kind !== "tuple") return new TupleValue([]);
      return this.fail(
        node.from,
        "Splat of null value",
        "Splat expressions (with the * symbol) cannot be applied to null sequences.",
      );
    }
    const items = source instanceof SequenceValue || source instanceof TupleValue ? source.items : [source];
    this.budget.items(items.length);
    const results = items.map((item) => this.with(new Map([[ITEM, item]])).evaluate(node.each));
    if (results.some((result) => result instanceof UnknownValue)) return UNKNOWN;
    if (!(source instanceof SequenceValue)) return new TupleValue(results);
    const element = results.length === 0 ? "dynamic" : typeOf(results[0]!);
    if (results.every((result) => sameType(typeOf(result), element))) {
      return new SequenceValue("list", element, results);
    }
    return this.fail(
      node.each,
      "Invalid nested splat expressions",
      "The second level of splat expression produced elements of different types. Use a for expression instead.",
    );
  }

  #unary(node: Expression & { kind: "unary" }): Value {
    const value = this.#operand(node.operand, node.operator === "-" ? "number" : "bool", "unary");
    if (value === undefined) return UNKNOWN;
    return node.operator === "-" ? (value as HclNumber).negate() : !value;
  }

  /** The operand converted, or undefined after a report. */
  #operand(node: Expression, type: "number" | "bool", side: string): Value | undefined {
    return this.#converted(this.evaluate(node), node, type, side);
  }

  #converted(value: Value, node: Expression, type: "number" | "bool", side: string): Value | undefined {
    if (value instanceof UnknownValue) return undefined;
    const problem = (detail: string) => {
      this.fail(node, "Invalid operand", `Unsuitable value for ${side} operand: ${detail}.`);
      return undefined;
    };
    if (value instanceof NullValue) {
      this.fail(node, "Operation failed", `Error during operation: the ${side} operand must not be null.`);
      return undefined;
    }
    try {
      return convert(value, type);
    } catch (error) {
      if (!(error instanceof ConvertError)) throw error;
      return problem(error.message);
    }
  }

  /** Left-associated chains are evaluated in a loop: `1 + 1 + 1 …` may be long. */
  #binary(node: Expression & { kind: "binary" }): Value {
    const chain = [node];
    let left = node.left;
    while (left.kind === "binary") {
      chain.push(left);
      left = left.left;
    }
    let value = this.evaluate(left);
    for (let i = chain.length - 1; i >= 0; i--) {
      const { operator, right, left: leftNode } = chain[i]!;
      value = this.#operate(operator, value, leftNode, right, chain[i]!);
    }
    return value;
  }

  #operate(
    operator: BinaryOperator,
    left: Value,
    leftNode: Expression,
    rightNode: Expression,
    node: Expression,
  ): Value {
    const right = this.evaluate(rightNode);
    if (operator === "==" || operator === "!=") {
      if (containsUnknown(left) || containsUnknown(right)) return UNKNOWN;
      this.budget.steps(Math.min(weightOf(left), weightOf(right)));
      return valuesEqual(left, right) === (operator === "==");
    }
    const type = operator === "&&" || operator === "||" ? "bool" : "number";
    const a = this.#converted(left, leftNode, type, "left");
    const b = this.#converted(right, rightNode, type, "right");
    if (a === undefined || b === undefined) return UNKNOWN;
    if (operator === "&&") return a === true && b === true;
    if (operator === "||") return a === true || b === true;
    try {
      return arithmetic(operator, a as HclNumber, b as HclNumber);
    } catch (error) {
      if (!(error instanceof NumberError)) throw error;
      return this.fail(node, "Operation failed", `Error during operation: ${error.message}.`);
    }
  }
}

/** The name of the item of a splat; no identifier can be this. */
const ITEM = "*";
const NO_DIAGNOSTICS = new Diagnostics();

function arithmetic(
  operator: Exclude<BinaryOperator, "==" | "!=" | "&&" | "||">,
  a: HclNumber,
  b: HclNumber,
): Value {
  switch (operator) {
    case "+":
      return a.add(b);
    case "-":
      return a.subtract(b);
    case "*":
      return a.multiply(b);
    case "/":
      return a.divide(b);
    case "%":
      return a.modulo(b);
    case "<":
      return a.compare(b) < 0;
    case "<=":
      return a.compare(b) <= 0;
    case ">":
      return a.compare(b) > 0;
    case ">=":
      return a.compare(b) >= 0;
  }
}

/** [key, value] of each element in the language's order, or undefined for what cannot be iterated. */
export function iterationPairs(value: Value): [Value, Value][] | undefined {
  if (value instanceof TupleValue || (value instanceof SequenceValue && value.kind === "list")) {
    return value.items.map((item, i) => [HclNumber.count(i), item]);
  }
  if (value instanceof SequenceValue) return value.items.map((item) => [item, item]);
  if (value instanceof ObjectValue || value instanceof MapValue) return sortedEntries(value);
  return undefined;
}
