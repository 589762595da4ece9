// Constraints and affinities over a node: target interpolation (${node.…} ${attr.…} ${meta.…}) and the operators.
// A constraint is compiled once per scheduling run and asked of many nodes. Pure.
//
// distinct_hosts and distinct_property look at other allocations, not at one node: feasible.ts owns them, and here
// they hold everywhere.
import type { Constraint, Node } from "../core/types.ts";
import { compileVersionConstraint } from "./version_constraint.ts";

export interface CompiledConstraint {
  /** As metrics show it: "${attr.kernel.name} = linux". */
  text: string;
  /** True when it looks at something unique to a node, so that one node's answer says nothing about its class. */
  escapes: boolean;
  holds(node: Node): boolean;
}

type Values = { left: string | undefined; right: string | undefined };
type Test = (values: Values) => boolean;

export function compileConstraint(constraint: Constraint): CompiledConstraint {
  const { LTarget, RTarget, Operand } = constraint;
  const left = compileTarget(LTarget);
  const right = compileTarget(RTarget);
  const test = compileOperand(Operand || "=");
  return {
    text: `${LTarget} ${Operand} ${RTarget}`,
    escapes: isUnique(LTarget) || isUnique(RTarget),
    holds: (node) => test({ left: left(node), right: right(node) }),
  };
}

/** What a target of a constraint, affinity or spread reads from a node; undefined when the node does not have it. */
export function compileTarget(target: string): (node: Node) => string | undefined {
  const match = /^\$\{(.*)\}$/s.exec(target);
  if (!match) return () => target;
  const path = match[1]!.trim();
  if (path.startsWith("attr.")) {
    const name = path.slice("attr.".length);
    return (node) => node.Attributes[name];
  }
  if (path.startsWith("meta.")) {
    const name = path.slice("meta.".length);
    return (node) => node.Meta[name];
  }
  switch (path) {
    case "node.unique.id":
      return (node) => node.ID;
    case "node.unique.name":
      return (node) => node.Name;
    case "node.datacenter":
      return (node) => node.Datacenter;
    case "node.class":
      return (node) => node.NodeClass;
    case "node.pool":
      return (node) => node.NodePool;
    default:
      return () => undefined;
  }
}

export function isUnique(target: string): boolean {
  return /\$\{\s*(node|attr|meta)\.unique\./.test(target);
}

function compileOperand(operand: string): Test {
  switch (operand) {
    case "=":
    case "==":
    case "is":
      return ({ left, right }) => left !== undefined && right !== undefined && left === right;
    case "!=":
    case "not":
      return ({ left, right }) => left !== right;
    case "<":
    case "<=":
    case ">":
    case ">=":
      return ({ left, right }) => left !== undefined && right !== undefined && inOrder(left, operand, right);
    case "version":
    case "semver":
      return versionTest(operand);
    case "regexp":
      return regexpTest();
    case "set_contains":
    case "set_contains_all":
      return ({ left, right }) => inSet(left, right, "every");
    case "set_contains_any":
      return ({ left, right }) => inSet(left, right, "some");
    case "is_set":
      return ({ left }) => left !== undefined;
    case "is_not_set":
      return ({ left }) => left === undefined;
    case "distinct_hosts":
    case "distinct_property":
      return () => true;
    default:
      // Validation refuses unknown operands at the door; one that is here all the same is true nowhere.
      return () => false;
  }
}

/** Orders as integers, else as decimals, else as text. */
function inOrder(left: string, operand: "<" | "<=" | ">" | ">=", right: string): boolean {
  const order = orderOf(left, right);
  switch (operand) {
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    case ">=":
      return order >= 0;
  }
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

function orderOf(left: string, right: string): number {
  if (NUMBER.test(left) && NUMBER.test(right)) return Number(left) - Number(right);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The right side is nearly always literal: compiled once, again only when it changes from node to node. */
function cachedByRight<T>(compile: (right: string) => T, use: (left: string, compiled: T) => boolean): Test {
  let source: string | undefined;
  let compiled: T;
  return ({ left, right }) => {
    if (left === undefined || right === undefined) return false;
    if (right !== source) {
      compiled = compile(right);
      source = right;
    }
    return use(left, compiled);
  };
}

function versionTest(flavour: "version" | "semver"): Test {
  return cachedByRight(
    (right) => compileVersionConstraint(right, flavour),
    (left, test) => test !== null && test(left),
  );
}

function regexpTest(): Test {
  return cachedByRight(compileRegexp, (left, pattern) => pattern !== null && pattern.test(left));
}

/** Go's RE2 syntax as JavaScript's, where they differ in what people write; null when it is no expression. */
function compileRegexp(source: string): RegExp | null {
  const flags = /^\(\?([imsU]+)\)/.exec(source);
  const body = (flags ? source.slice(flags[0].length) : source)
    .replace(/\(\?P</g, "(?<")
    .replace(/\[\[:(\w+):\]\]/g, (whole, name: string) => POSIX[name] ?? whole)
    .replace(/\\A/g, "^")
    .replace(/\\z/g, "$");
  const jsFlags = flags ? [...flags[1]!].filter((flag) => "ims".includes(flag)).join("") : "";
  try {
    return new RegExp(body, jsFlags);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

const POSIX: Record<string, string> = {
  alpha: "[A-Za-z]",
  digit: "[0-9]",
  alnum: "[0-9A-Za-z]",
  lower: "[a-z]",
  upper: "[A-Z]",
  space: "\\s",
};

function inSet(left: string | undefined, right: string | undefined, how: "every" | "some"): boolean {
  if (left === undefined || right === undefined) return false;
  const have = new Set(left.split(",").map((item) => item.trim()));
  const wanted = right.split(",").map((item) => item.trim());
  return wanted[how]((item) => have.has(item));
}
