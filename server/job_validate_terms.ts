// Validation of the terms by which jobs choose nodes: constraints, affinities, spreads.
import type { Affinity, Constraint, JobType, Spread } from "../core/types.ts";
import { formatMultiError } from "./multi_error.ts";
import { compileVersionConstraint } from "./version_constraint.ts";

const NODE_FIELDS = new Set(["unique.id", "unique.name", "datacenter", "class", "pool"]);
const NEEDS_VALUE = new Set(["=", "==", "is", "!=", "not", "<", "<=", ">", ">="]);
const COMPARISONS = new Set([...NEEDS_VALUE]);

/** "Constraint 2 validation failed: …" for each bad one. */
export function validateConstraints(constraints: readonly Constraint[] | null): string[] {
  return (constraints ?? []).flatMap((constraint, i) => {
    const errors = constraintErrors(constraint);
    return errors.length > 0 ? [`Constraint ${i + 1} validation failed: ${formatMultiError(errors)}`] : [];
  });
}

function constraintErrors(constraint: Constraint): string[] {
  const { Operand: operand, LTarget: left, RTarget: right } = constraint;
  const errors: string[] = [];
  if (operand === "") errors.push("Missing constraint operand");
  let needsAttribute = true;
  switch (operand) {
    case "distinct_hosts":
      needsAttribute = false;
      break;
    case "distinct_property":
      errors.push(...countErrors(right));
      break;
    case "set_contains":
    case "set_contains_all":
    case "set_contains_any":
      if (right === "") errors.push("Set contains constraint requires an RTarget");
      break;
    case "regexp":
      errors.push(...prefixed("Regular expression failed to compile: ", regexpProblem(right)));
      break;
    case "version":
      errors.push(...prefixed("Version constraint is invalid: ", versionProblem(right, "version")));
      break;
    case "semver":
      errors.push(...prefixed("Semver constraint is invalid: ", versionProblem(right, "semver")));
      break;
    case "is_set":
    case "is_not_set":
      if (right !== "") errors.push(`Operator "${operand}" does not support an RTarget`);
      break;
    default:
      if (!COMPARISONS.has(operand)) errors.push(`Unknown constraint type "${operand}"`);
      else if (right === "") errors.push(`Operator "${operand}" requires an RTarget`);
  }
  if (needsAttribute) {
    if (left === "") errors.push("no attribute provided but is required by operator");
    else errors.push(...targetErrors(left));
  }
  return errors;
}

function prefixed(prefix: string, problem: string | null): string[] {
  return problem === null ? [] : [prefix + problem];
}

/** The number of allocations that may share a property's value. */
function countErrors(text: string): string[] {
  if (text === "") return [];
  if (!/^\d+$/.test(text)) {
    return [
      `Failed to convert RTarget "${text}" to uint64: strconv.ParseUint: parsing "${text}": invalid syntax`,
    ];
  }
  return Number(text) < 1
    ? [`Distinct Property must have an allowed count of 1 or greater: ${text} < 1`]
    : [];
}

/** Literals pass; what begins like a reference must be one that a node can answer. */
function targetErrors(target: string): string[] {
  if (!target.startsWith("$")) return [];
  if (!target.startsWith("${")) return [`attribute "${target}" is missing an opening brace`];
  if (!target.endsWith("}")) return [`attribute "${target}" is missing a closing brace`];
  const name = target.slice(2, -1);
  const known = /^(attr|meta|device)\./.test(name) ||
    (name.startsWith("node.") && NODE_FIELDS.has(name.slice("node.".length)));
  return known ? [] : [`unsupported attribute "${target}"`];
}

const UNBALANCED = [
  { problem: /unterminated group|missing \)/i, text: (source: string) => `missing closing ): \`${source}\`` },
  {
    problem: /unmatched (.\).|\)|parentheses)/i,
    text: (source: string) => `unexpected ): \`${source}\``,
  },
  {
    problem: /unterminated character class|missing terminating \]/i,
    text: (source: string) => `missing closing ]: \`${source.slice(source.lastIndexOf("["))}\``,
  },
  {
    problem: /nothing to repeat/i,
    text: (source: string) =>
      `missing argument to repetition operator: \`${/[*+?]/.exec(source)?.[0] ?? ""}\``,
  },
];

/** Why a regular expression (Go's syntax) cannot be used, or null. */
export function regexpProblem(source: string): string | null {
  // Named groups and leading flags are written differently here; what they mean is the same.
  const body = source.replaceAll("(?P<", "(?<").replace(/^\(\?[imsU]+\)/, "");
  try {
    new RegExp(body);
    return null;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const known = UNBALANCED.find(({ problem }) => problem.test(error.message));
    return `error parsing regexp: ${known ? known.text(source) : error.message}`;
  }
}

function versionProblem(text: string, flavour: "version" | "semver"): string | null {
  if (compileVersionConstraint(text, flavour)) return null;
  return flavour === "version" ? `malformed constraint: ${text}` : `Malformed constraint: ${text}`;
}

/** "Affinity 1 validation failed: …" for each bad one; system jobs may not have any. */
export function validateAffinities(affinities: readonly Affinity[] | null, type: JobType): string[] {
  const list = affinities ?? [];
  if (type === "system" && list.length > 0) return ["System jobs may not have an affinity block"];
  return list.flatMap((affinity, i) => {
    const errors = affinityErrors(affinity);
    return errors.length > 0 ? [`Affinity ${i + 1} validation failed: ${formatMultiError(errors)}`] : [];
  });
}

function affinityErrors(
  { Operand: operand, LTarget: left, RTarget: right, Weight: weight }: Affinity,
): string[] {
  const errors: string[] = [];
  if (operand === "") errors.push("Missing affinity operand");
  switch (operand) {
    case "set_contains":
    case "set_contains_all":
    case "set_contains_any":
      if (right === "") errors.push("Set contains operators require an RTarget");
      break;
    case "regexp":
      errors.push(...prefixed("Regular expression failed to compile: ", regexpProblem(right)));
      break;
    case "version":
      errors.push(...prefixed("Version affinity is invalid: ", versionProblem(right, "version")));
      break;
    case "semver":
      errors.push(...prefixed("Semver affinity is invalid: ", versionProblem(right, "semver")));
      break;
    default:
      if (!COMPARISONS.has(operand)) errors.push(`Unknown affinity operator "${operand}"`);
      else if (right === "") errors.push(`Operator "${operand}" requires an RTarget`);
  }
  if (left === "") errors.push("No LTarget provided but is required");
  if (weight > 100 || weight < -100) errors.push("Affinity weight must be within the range [-100,100]");
  if (weight === 0) errors.push("Affinity weight cannot be zero");
  return errors;
}

export function validateSpreads(spreads: readonly Spread[] | null, type: JobType): string[] {
  const list = spreads ?? [];
  if (type === "system" && list.length > 0) return ["System jobs may not have a spread block"];
  return list.flatMap((spread, i) => {
    const errors = spreadErrors(spread);
    return errors.length > 0 ? [`Spread ${i + 1} validation failed: ${formatMultiError(errors)}`] : [];
  });
}

function spreadErrors(spread: Spread): string[] {
  const errors: string[] = [];
  if (spread.Attribute === "") errors.push("Missing spread attribute");
  if (spread.Weight <= 0 || spread.Weight > 100) {
    errors.push("Spread block must have a positive weight from 0 to 100");
  }
  const seen = new Set<string>();
  let sum = 0;
  for (const { Value: value, Percent: percent } of spread.SpreadTarget ?? []) {
    if (seen.has(value)) {
      errors.push(`Spread target value "${value}" already defined`);
    } else {
      seen.add(value);
      if (percent > 100) {
        errors.push(`Spread target percentage for value "${value}" must be between 0 and 100`);
      }
    }
    sum += percent;
  }
  if (sum > 100) {
    errors.push(`Sum of spread target percentages must not be greater than 100%; got ${sum}%`);
  }
  return errors;
}
