// The common tree of HCL1-like native syntax and JSON: objects of entries in order, lists, scalars, all with places.
// `a "b" { c = 1 }` and `{"a": {"b": {"c": 1}}}` are the same tree.
import type { Diagnostics } from "./diagnostics.ts";
import type { JsonNode, JsonObject } from "./json_syntax.ts";
import { HclNumber } from "./number.ts";
import type { Body, Expression } from "./syntax.ts";
import { NullValue } from "./value.ts";

interface Node {
  readonly start: number;
  readonly end: number;
}

export interface LooseEntry {
  readonly key: string;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly value: LooseValue;
}

export interface LooseObject extends Node {
  readonly kind: "object";
  readonly entries: readonly LooseEntry[];
}

export type LooseValue =
  | LooseObject
  | Node & { readonly kind: "list"; readonly items: readonly LooseValue[] }
  | Node & { readonly kind: "string"; readonly text: string }
  | Node & { readonly kind: "number"; readonly value: HclNumber }
  | Node & { readonly kind: "bool"; readonly value: boolean }
  | Node & { readonly kind: "null" };

/** JSON as the tree. `"//"` keys are comments. */
export function jsonEntries(object: JsonObject): LooseObject {
  const entries = object.properties.filter((property) => property.name !== "//").map((
    property,
  ): LooseEntry => ({
    key: property.name,
    keyStart: property.nameStart,
    keyEnd: property.nameEnd,
    value: jsonValue(property.value),
  }));
  return { kind: "object", entries, start: object.start, end: object.end };
}

function jsonValue(node: JsonNode): LooseValue {
  if (node.kind === "object") return jsonEntries(node);
  if (node.kind === "array") {
    return { kind: "list", items: node.items.map(jsonValue), start: node.start, end: node.end };
  }
  return node;
}

/** A body of native syntax as the tree; expressions must be constants. */
export function nativeEntries(body: Body, diagnostics: Diagnostics): LooseObject {
  const reader = new NativeReader(body, diagnostics);
  return reader.body(body);
}

class NativeReader {
  readonly #source;

  constructor(body: Body, readonly diagnostics: Diagnostics) {
    this.#source = body.source;
  }

  body(body: Body): LooseObject {
    const entries: LooseEntry[] = [];
    for (const attribute of body.attributes) {
      const value = this.#value(attribute.expression);
      if (!value) continue;
      entries.push({ key: attribute.name, keyStart: attribute.nameStart, keyEnd: attribute.nameEnd, value });
    }
    let end = body.start;
    for (const block of body.blocks) {
      let value: LooseObject = this.body(block.body);
      for (const label of [...block.labels].reverse()) {
        const entry = { key: label.text, keyStart: label.start, keyEnd: label.end, value };
        value = { kind: "object", entries: [entry], start: label.start, end: block.end };
      }
      entries.push({ key: block.type, keyStart: block.typeStart, keyEnd: block.typeEnd, value });
      end = block.end;
    }
    entries.sort((a, b) => a.keyStart - b.keyStart);
    return { kind: "object", entries, start: body.start, end: Math.max(end, body.start + 1) };
  }

  #fail(node: Node, detail: string): undefined {
    this.diagnostics.error(
      { source: this.#source, start: node.start, end: node.end },
      "Invalid value",
      detail,
      {
        expected: "a string, number, true, false, list or object",
      },
    );
    return undefined;
  }

  #value(node: Expression): LooseValue | undefined {
    const { start, end } = node;
    switch (node.kind) {
      case "literal":
        if (typeof node.value === "string") return { kind: "string", text: node.value, start, end };
        if (typeof node.value === "boolean") return { kind: "bool", value: node.value, start, end };
        if (node.value instanceof HclNumber) return { kind: "number", value: node.value, start, end };
        if (node.value instanceof NullValue) return { kind: "null", start, end };
        return this.#fail(node, "This value cannot be used here.");
      case "tuple": {
        const items = node.items.map((item) => this.#value(item));
        return items.includes(undefined)
          ? undefined
          : { kind: "list", items: items as LooseValue[], start, end };
      }
      case "object":
        return this.#object(node);
      case "unary":
        if (
          node.operator === "-" && node.operand.kind === "literal" && node.operand.value instanceof HclNumber
        ) {
          return { kind: "number", value: node.operand.value.negate(), start, end };
        }
        return this.#fail(node, "Expressions cannot be used in this file.");
      default:
        return this.#fail(
          node,
          "Expressions and references cannot be used in this file; strings need quotes.",
        );
    }
  }

  #object(node: Expression & { kind: "object" }): LooseValue | undefined {
    const entries: LooseEntry[] = [];
    for (const item of node.items) {
      const key = item.key.kind === "key" ? item.key : undefined;
      const inner = key?.inner;
      const name = key?.name ??
        (inner?.kind === "literal" && typeof inner.value === "string"
          ? inner.value
          : inner?.kind === "traversal"
          ? this.#source.text.slice(inner.start, inner.end)
          : undefined);
      const value = this.#value(item.value);
      if (name === undefined) return this.#fail(item.key, "A key must be a name or a string.");
      if (!value) return undefined;
      entries.push({ key: name, keyStart: item.key.start, keyEnd: item.key.end, value });
    }
    return { kind: "object", entries, start: node.start, end: node.end };
  }
}
