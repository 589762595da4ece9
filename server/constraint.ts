// Constraints and affinities over a node: target interpolation (${node.…} ${attr.…} ${meta.…}) and the operators.
// A constraint is compiled once per scheduling run and asked of many nodes. Pure.
//
// distinct_hosts and distinct_property look at other allocations, not at one node: feasible.ts owns them, and here
// they hold everywhere.
import type { Constraint, Node } from "../core/types.ts";
import { linearRegexp } from "./linear_regexp.ts";
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

/** Users' patterns are tested in linear time; nodes mostly repeat each other's values, so answers are remembered. */
function regexpTest(): Test {
  return cachedByRight(compileRegexp, (left, { test, answers }) => {
    if (test === null) return false;
    let answer = answers.get(left);
    if (answer === undefined) {
      if (answers.size >= ANSWERS_MAX) answers.clear();
      answers.set(left, answer = test(left));
    }
    return answer;
  });
}

/** Answers of one expression that are remembered. */
const ANSWERS_MAX = 4096;

interface CompiledRegexp {
  /** Null when the text is no expression: it matches nothing. */
  test: ((text: string) => boolean) | null;
  answers: Map<string, boolean>;
}

function compileRegexp(source: string): CompiledRegexp {
  return { test: regexpOrNull(source), answers: new Map() };
}

function regexpOrNull(source: string): ((text: string) => boolean) | null {
  try {
    return linearRegexp(source);
  } catch (error) {
    // Validation told the user; a job from an older version may still carry it.
    if (error instanceof Error) return null;
    throw error;
  }
}

function inSet(left: string | undefined, right: string | undefined, how: "every" | "some"): boolean {
  if (left === undefined || right === undefined) return false;
  const have = new Set(left.split(",").map((item) => item.trim()));
  const wanted = right.split(",").map((item) => item.trim());
  return wanted[how]((item) => have.has(item));
}
