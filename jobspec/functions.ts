// The table of all functions and the way a call is made: argument count, spreading, conversion to the parameters'
// types, errors with the place of the argument. `try`, `can` and `convert` take expressions, not values, and live here.
// Invariant: a function sees only known values of its parameters' types; it throws FunctionError or ArgumentError,
// never anything else for wrong input.
import { BudgetError } from "./budget.ts";
import { convert, ConvertError } from "./convert.ts";
import { startOf } from "./decode_value.ts";
import { suggestName } from "./diagnostics.ts";
import type { Evaluator } from "./expression.ts";
import {
  ArgumentError,
  FunctionError,
  type FunctionSpec,
  type Parameter,
  parameter,
} from "./function_types.ts";
import { COLLECTION_FUNCTIONS } from "./functions_collection.ts";
import { CRYPTO_FUNCTIONS } from "./functions_crypto.ts";
import { ENCODING_FUNCTIONS } from "./functions_encoding.ts";
import { FILE_FUNCTIONS } from "./functions_file.ts";
import { FORMAT_FUNCTIONS } from "./functions_format.ts";
import { NETWORK_FUNCTIONS } from "./functions_network.ts";
import { TIME_FUNCTIONS } from "./functions_time.ts";
import { YAML_FUNCTIONS } from "./functions_yaml.ts";
import { NUMERIC_FUNCTIONS } from "./functions_numeric.ts";
import { SET_FUNCTIONS } from "./functions_set.ts";
import { STRING_FUNCTIONS } from "./functions_string.ts";
import { NumberError } from "./number.ts";
import type { CallExpression, Expression } from "./syntax.ts";
import { parseTypeExpression } from "./type_expression.ts";
import {
  containsUnknown,
  NullValue,
  SequenceValue,
  TupleValue,
  UNKNOWN,
  UnknownValue,
  type Value,
  weightOf,
} from "./value.ts";

export type FunctionTable = ReadonlyMap<string, FunctionSpec>;

function special(doc: string, parameters: readonly Parameter[], rest?: Parameter): FunctionSpec {
  return {
    doc,
    parameters,
    ...(rest && { rest }),
    call() {
      throw new FunctionError("it takes expressions, not values");
    },
  };
}

/** Every function of the language by name. */
export const FUNCTIONS: FunctionTable = new Map(
  Object.entries({
    ...NUMERIC_FUNCTIONS,
    ...STRING_FUNCTIONS,
    ...COLLECTION_FUNCTIONS,
    ...SET_FUNCTIONS,
    ...FORMAT_FUNCTIONS,
    ...ENCODING_FUNCTIONS,
    ...YAML_FUNCTIONS,
    ...TIME_FUNCTIONS,
    ...CRYPTO_FUNCTIONS,
    ...NETWORK_FUNCTIONS,
    ...FILE_FUNCTIONS,
    can: special("Whether an expression evaluates without an error.", [parameter("expression", "dynamic")]),
    convert: special("Converts a value to a type.", [
      parameter("value", "dynamic"),
      parameter("type", "dynamic"),
    ]),
    try: special("The first of several expressions that evaluates.", [], parameter("expressions", "dynamic")),
  }).sort(([a], [b]) => a < b ? -1 : 1),
);

/** Evaluates a call; UNKNOWN after a report. */
export function callFunction(evaluator: Evaluator, node: CallExpression): Value {
  const { functions } = evaluator.options;
  if (!functions) {
    return evaluator.fail(node, "Function calls not allowed", "Functions may not be called here.");
  }
  const name = { start: node.start, end: node.nameEnd };
  const spec = functions.get(node.name);
  if (!spec) {
    return evaluator.fail(
      name,
      "Call to unknown function",
      `There is no function named "${node.name}".`,
      suggestName(node.name, functions.keys()),
    );
  }
  const args = spreadArguments(evaluator, node);
  if (!args || !countFits(evaluator, node, spec, args.length)) return UNKNOWN;
  if (node.name === "try") return callTry(evaluator, node, args);
  if (node.name === "can") return callCan(evaluator, args[0]!);
  if (node.name === "convert") return callConvert(evaluator, node, args);
  return callOrdinary(evaluator, node, spec, args);
}

interface Argument {
  readonly node: Expression;
  /** Set for items of a spread list. */
  readonly value: Value | undefined;
}

function spreadArguments(evaluator: Evaluator, node: CallExpression): Argument[] | undefined {
  const args = node.args.map((arg): Argument => ({ node: arg, value: undefined }));
  if (!node.expand) return args;
  const last = args.pop()!.node;
  const value = evaluator.evaluate(last);
  if (value instanceof UnknownValue) return undefined;
  if (value instanceof TupleValue || value instanceof SequenceValue) {
    evaluator.budget.items(value.items.length);
    for (const item of value.items) args.push({ node: last, value: item });
    return args;
  }
  const problem = value instanceof NullValue ? "must not be null" : "must be of a tuple, list, or set type";
  evaluator.fail(
    last,
    "Invalid expanding argument value",
    `The expanding argument (indicated by ...) ${problem}.`,
  );
  return undefined;
}

function countFits(evaluator: Evaluator, node: CallExpression, spec: FunctionSpec, count: number): boolean {
  const { parameters, rest } = spec;
  if (count < parameters.length) {
    const least = rest ? " at least" : "";
    evaluator.fail(
      { start: node.closeParen, end: node.end },
      "Not enough function arguments",
      `Function "${node.name}" expects${least} ${parameters.length} argument(s). Missing value for "${
        parameters[count]!.name
      }".`,
    );
    return false;
  }
  if (!rest && count > parameters.length) {
    const first = node.args[Math.min(parameters.length, node.args.length - 1)]!;
    evaluator.fail(
      startOf(first),
      "Too many function arguments",
      `Function "${node.name}" expects only ${parameters.length} argument(s).`,
    );
    return false;
  }
  return true;
}

function callOrdinary(
  evaluator: Evaluator,
  node: CallExpression,
  spec: FunctionSpec,
  args: Argument[],
): Value {
  const values: Value[] = [];
  let unknown = false;
  args.forEach((arg, i) => {
    const wanted = spec.parameters[i] ?? spec.rest!;
    const raw = arg.value ?? evaluator.evaluate(arg.node);
    const value = convertArgument(evaluator, arg.node, raw, wanted);
    if (value === undefined || containsUnknown(value)) unknown = true;
    else {
      evaluator.budget.steps(weightOf(value));
      values.push(value);
    }
  });
  if (unknown) return UNKNOWN;
  try {
    const result = spec.call(values, evaluator.options);
    if (typeof result === "string") evaluator.budget.text(result.length);
    return result;
  } catch (error) {
    return reportCallError(evaluator, { node, spec, args, error });
  }
}

function convertArgument(
  evaluator: Evaluator,
  node: Expression,
  value: Value,
  wanted: Parameter,
): Value | undefined {
  if (value instanceof UnknownValue) return undefined;
  const problem = (detail: string) => {
    evaluator.fail(
      node,
      "Invalid function argument",
      `Invalid value for "${wanted.name}" parameter: ${detail}.`,
    );
    return undefined;
  };
  if (value instanceof NullValue && !wanted.nullable) return problem("argument must not be null");
  try {
    return convert(value, wanted.type);
  } catch (error) {
    if (!(error instanceof ConvertError)) throw error;
    return problem(error.message);
  }
}

interface FailedCall {
  readonly node: CallExpression;
  readonly spec: FunctionSpec;
  readonly args: readonly Argument[];
  readonly error: unknown;
}

function reportCallError(evaluator: Evaluator, { node, spec, args, error }: FailedCall): Value {
  if (error instanceof BudgetError) throw error;
  if (error instanceof ArgumentError) {
    const wanted = spec.parameters[error.index] ?? spec.rest;
    const arg = args[error.index];
    return evaluator.fail(
      startOf(arg?.node ?? node),
      "Invalid function argument",
      `Invalid value for "${wanted?.name ?? "?"}" parameter: ${error.message}.`,
    );
  }
  if (error instanceof FunctionError || error instanceof NumberError || error instanceof ConvertError) {
    return evaluator.fail(
      { start: node.start, end: node.nameEnd },
      "Error in function call",
      `Call to function "${node.name}" failed: ${error.message}.`,
    );
  }
  throw error;
}

function callTry(evaluator: Evaluator, node: CallExpression, args: readonly Argument[]): Value {
  const problems: string[] = [];
  for (const arg of args) {
    if (arg.value !== undefined) return arg.value;
    const { value, diagnostics } = evaluator.attempt(arg.node);
    if (!diagnostics.failed) return value;
    problems.push(...diagnostics.list.map((diagnostic) => diagnostic.detail));
  }
  const why = args.length === 0
    ? "at least one argument is required"
    : `no expression succeeded: ${problems.join(" ")}`;
  return evaluator.fail(
    { start: node.start, end: node.nameEnd },
    "Error in function call",
    `Call to function "try" failed: ${why}`,
  );
}

function callCan(evaluator: Evaluator, arg: Argument): Value {
  return arg.value !== undefined || !evaluator.attempt(arg.node).diagnostics.failed;
}

function callConvert(evaluator: Evaluator, node: CallExpression, args: readonly Argument[]): Value {
  const value = args[0]!.value ?? evaluator.evaluate(args[0]!.node);
  const type = parseTypeExpression(args[1]!.node, {
    source: evaluator.source,
    diagnostics: evaluator.options.diagnostics,
    allowAny: true,
  });
  if (type === undefined || value instanceof UnknownValue) return UNKNOWN;
  try {
    return convert(value, type);
  } catch (error) {
    if (!(error instanceof ConvertError)) throw error;
    return evaluator.fail(
      startOf(node.args[0]!),
      "Invalid function argument",
      `Invalid value for "value" parameter: ${error.message}.`,
    );
  }
}
