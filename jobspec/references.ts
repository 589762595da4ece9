// Which names an expression refers to, without evaluating it: for the order of locals and the rules of validation.
// Names bound by `for` inside the expression are not references.
import type { Expression, Step } from "./syntax.ts";

export interface Reference {
  readonly root: string;
  readonly steps: readonly Step[];
  readonly start: number;
  readonly end: number;
}

/** Calls `visit` for every reference to a name from outside. */
export function visitReferences(
  node: Expression,
  visit: (reference: Reference) => void,
  bound: ReadonlySet<string> = new Set(),
): void {
  const inner = (child: Expression) => visitReferences(child, visit, bound);
  switch (node.kind) {
    case "literal":
    case "item":
    case "broken":
      return;
    case "traversal":
      if (!bound.has(node.root)) visit(node);
      return;
    case "template":
      return node.parts.forEach(inner);
    case "wrap":
    case "join":
    case "parens":
    case "sourced":
      return inner(node.inner);
    case "key":
      return node.name === undefined ? inner(node.inner) : undefined;
    case "relative":
      return inner(node.from);
    case "call":
      return node.args.forEach(inner);
    case "conditional":
      return [node.condition, node.whenTrue, node.whenFalse].forEach(inner);
    case "index":
      return [node.collection, node.key].forEach(inner);
    case "tuple":
      return node.items.forEach(inner);
    case "object":
      return node.items.forEach((item) => {
        inner(item.key);
        inner(item.value);
      });
    case "for": {
      inner(node.collection);
      const names = new Set([
        ...bound,
        node.valueName,
        ...(node.keyName === undefined ? [] : [node.keyName]),
      ]);
      for (const part of [node.key, node.value, node.condition]) {
        if (part) visitReferences(part, visit, names);
      }
      return;
    }
    case "splat":
      return [node.from, node.each].forEach(inner);
    case "binary": {
      // A loop over the left spine: chains of operators may be long.
      let at: Expression = node;
      for (; at.kind === "binary"; at = at.left) inner(at.right);
      return inner(at);
    }
    case "unary":
      return inner(node.operand);
  }
}
