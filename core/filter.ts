// The filter language of list routes (`filter=Status == "running" and Meta.owner is not empty`), as HashiCorp's tools
// speak it: selectors, ==, !=, in, contains, matches, is empty, is nil, and, or, not, any … as, all … as. Applies what
// filter_syntax.ts reads to plain records. Never touches state, never changes what it reads.
//
// Invariant: applying is free of side effects and throws FilterError only.
import { type Expression, FilterError, parseFilter, type Selector } from "./filter_syntax.ts";

export { FilterError } from "./filter_syntax.ts";

export type Filter = (record: unknown) => boolean;

/** Compiles a regular expression to a test of texts. Throws Error with the cause when it cannot be read. */
export type RegexpCompiler = (pattern: string) => (text: string) => boolean;

/** Fields whose objects are maps (any key is fine) and not structures (an unknown key is a mistake). */
const MAP_FIELDS = new Set(
  ("Attributes Meta Links Drivers HostVolumes HostNetworks CSIControllerPlugins CSINodePlugins Details Env Config " +
    "TaskStates TaskLifecycles TaskResources QueuedAllocations FailedTGAllocs ClassEligibility NodesAvailable " +
    "ClassFiltered ConstraintFiltered ClassExhausted DimensionExhausted ResourcesExhausted Scores DesiredTGUpdates " +
    "Summary Volumes Policy Target CanaryMeta TaggedAddresses Header Options GetterOptions GetterHeaders")
    .split(" "),
);

type Bindings = ReadonlyMap<string, unknown>;
const NO_BINDINGS: Bindings = new Map();
/** The last part names a key that its map does not hold. */
const ABSENT = Symbol("absent");

/**
 * Compiles an expression. Throws FilterError with place and cause when it cannot be read. Patterns of `matches` come
 * from users: `regexp` must match in bounded time.
 */
export function compileFilter(text: string, regexp: RegexpCompiler): Filter {
  const expression = parseFilter(text);
  const compiled = new Map<string, (text: string) => boolean>();
  const matcher: RegexpCompiler = (pattern) => {
    let test = compiled.get(pattern);
    if (!test) compiled.set(pattern, test = compileRegexp(pattern, regexp));
    return test;
  };
  return (record) => evaluate(expression, { record, bindings: NO_BINDINGS, matcher });
}

/** What an expression is applied to. */
interface Subject {
  record: unknown;
  bindings: Bindings;
  matcher: RegexpCompiler;
}

function evaluate(expression: Expression, subject: Subject): boolean {
  switch (expression.kind) {
    case "or":
      return evaluate(expression.left, subject) || evaluate(expression.right, subject);
    case "and":
      return evaluate(expression.left, subject) && evaluate(expression.right, subject);
    case "not":
      return !evaluate(expression.inner, subject);
    case "any":
    case "all":
      return evaluateCollection(expression, subject);
    case "match":
      return evaluateMatch(expression, subject);
  }
}

function evaluateCollection(
  expression: Extract<Expression, { kind: "any" | "all" }>,
  subject: Subject,
): boolean {
  const { selector, names: [first, second], inner, kind } = expression;
  const value = select(selector, subject);
  if (value === ABSENT || value === null || value === undefined) return kind === "all";
  if (typeof value !== "object") throw new FilterError(`${selector.text} is not a list or a map`);
  const isList = Array.isArray(value);
  const holds = ([key, item]: [string, unknown]) => {
    const next = new Map(subject.bindings);
    // One name stands for the element of a list and for the key of a map.
    if (second === null) next.set(first, isList ? item : key);
    else next.set(first, isList ? Number(key) : key).set(second, item);
    return evaluate(inner, { ...subject, bindings: next });
  };
  const entries = Object.entries(value);
  return kind === "any" ? entries.some(holds) : entries.every(holds);
}

function select(selector: Selector, { record, bindings }: Subject): unknown {
  const { path } = selector;
  const bound = bindings.has(path[0]!);
  let value = bound ? bindings.get(path[0]!) : record;
  let isMap = false;
  const pointer = `/${path.join("/")}`;
  for (let part = bound ? 1 : 0; part < path.length; part++) {
    const key = path[part]!;
    const at = `error finding value in datum: ${pointer} at part ${part}`;
    if (value === null || value === undefined) {
      // A map that is null holds no key; anything else that is null has no fields to look at.
      if (isMap && part === path.length - 1) return ABSENT;
      if (isMap) throw new FilterError(`${at}: couldn't find key ${JSON.stringify(key)}`);
      throw new FilterError(
        `error finding value in datum: ${pointer}: at part ${part}, invalid value kind: invalid`,
      );
    }
    if (Array.isArray(value)) value = element(value, key, at);
    else if (typeof value !== "object") {
      throw new FilterError(
        `error finding value in datum: ${pointer}: at part ${part}, invalid value kind: ${kindOf(value)}`,
      );
    } else if (Object.hasOwn(value, key)) value = (value as Record<string, unknown>)[key];
    else if (!isMap) {
      throw new FilterError(`${at}: couldn't find key: struct field with name ${JSON.stringify(key)}`);
    } else if (part === path.length - 1) return ABSENT;
    else throw new FilterError(`${at}: couldn't find key ${JSON.stringify(key)}`);
    isMap = MAP_FIELDS.has(key) || (key === "TaskGroups" && !Array.isArray(value));
  }
  return value;
}

function element(list: unknown[], key: string, at: string): unknown {
  if (!/^\d+$/.test(key)) {
    throw new FilterError(`${at}: couldn't convert value ${JSON.stringify(key)} to type int`);
  }
  if (Number(key) >= list.length) {
    throw new FilterError(`${at}: index ${key} is out of range (length = ${list.length})`);
  }
  return list[Number(key)];
}

function evaluateMatch(
  expression: Extract<Expression, { kind: "match" }>,
  subject: Subject,
): boolean {
  const { selector, operator, value: wanted } = expression;
  const value = select(selector, subject);
  const negated = operator === "!=" || operator.includes("not ");
  if (value === ABSENT) {
    return operator === "!=" || operator === "not in" || operator === "not matches" ||
      operator === "is empty" || operator === "is nil";
  }
  switch (operator) {
    case "==":
    case "!=":
      return equals(value, wanted) !== negated;
    case "in":
    case "not in":
      return holds(value, wanted, selector) !== negated;
    case "is empty":
    case "is not empty":
      return isEmpty(value, selector) !== negated;
    case "is nil":
    case "is not nil":
      return isNil(value, selector) !== negated;
    case "matches":
    case "not matches":
      return matches(value, wanted, subject.matcher) !== negated;
  }
}

function equals(value: unknown, wanted: string): boolean {
  switch (typeof value) {
    case "string":
      return value === wanted;
    case "number":
      return value === parseNumber(value, wanted);
    case "boolean":
      return value === parseBool(wanted);
    default:
      // Null may be any type here, so it equals nothing instead of being an error.
      if (value === null || value === undefined) return false;
      throw new FilterError("unable to find suitable primitive comparison function for matching");
  }
}

function parseNumber(value: number, wanted: string): number {
  const whole = Number.isInteger(value);
  const pattern = whole ? /^[+-]?\d+$/ : /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
  if (pattern.test(wanted)) return Number(wanted);
  const parser = whole ? "ParseInt" : "ParseFloat";
  throw new FilterError(
    `error getting match value in expression: strconv.${parser}: parsing ${
      JSON.stringify(wanted)
    }: invalid syntax`,
  );
}

function parseBool(wanted: string): boolean {
  if (/^(1|t|T|TRUE|true|True)$/.test(wanted)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(wanted)) return false;
  throw new FilterError(
    `error getting match value in expression: strconv.ParseBool: parsing ${
      JSON.stringify(wanted)
    }: invalid syntax`,
  );
}

function holds(value: unknown, wanted: string, selector: Selector): boolean {
  if (typeof value === "string") return value.includes(wanted);
  if (value === null || value === undefined) return false;
  if (Array.isArray(value)) {
    return value.some((item) => {
      if (item !== null && typeof item === "object") {
        throw new FilterError('unable to find suitable primitive comparison function for "in" comparison');
      }
      return equals(item, wanted);
    });
  }
  if (typeof value === "object") return Object.hasOwn(value, wanted);
  throw new FilterError(
    `cannot perform in/contains operations on type ${kindOf(value)} for selector: ${
      JSON.stringify(selector.text)
    }`,
  );
}

function isEmpty(value: unknown, selector: Selector): boolean {
  if (value === null || value === undefined) return true;
  if (typeof value === "string" || Array.isArray(value)) return value.length === 0;
  if (typeof value === "object") return Object.keys(value).length === 0;
  throw new FilterError(
    `cannot perform is-empty operations on type ${kindOf(value)} for selector: ${
      JSON.stringify(selector.text)
    }`,
  );
}

function isNil(value: unknown, selector: Selector): boolean {
  if (value === null || value === undefined) return true;
  if (typeof value === "object") return false;
  throw new FilterError(
    `cannot perform is-nil operations on type ${kindOf(value)} for selector: ${
      JSON.stringify(selector.text)
    }`,
  );
}

function matches(value: unknown, pattern: string, matcher: RegexpCompiler): boolean {
  if (value === null || value === undefined) return false;
  if (typeof value !== "string") {
    throw new FilterError(`value of type ${kindOf(value)} is not convertible to []byte`);
  }
  return matcher(pattern)(value);
}

function compileRegexp(pattern: string, regexp: RegexpCompiler): (text: string) => boolean {
  try {
    return regexp(pattern);
  } catch (error) {
    throw new FilterError(
      `failed to compile regular expression ${JSON.stringify(pattern)}: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

function kindOf(value: unknown): string {
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float64";
  if (typeof value === "boolean") return "bool";
  return typeof value;
}
