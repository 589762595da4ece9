// Reads a body against the names a table knows: native and JSON syntax alike, with `dynamic` blocks expanded in their
// place. Values are not decoded here.
// Invariants: blocks keep the order of the source, expanded ones stand where their dynamic block stood; each found
// block carries the evaluator that knows its iterators.
import { suggestName } from "./diagnostics.ts";
import { type Evaluator, iterationPairs } from "./expression.ts";
import { convert, ConvertError } from "./convert.ts";
import { type BlockNames, readJsonBody } from "./json_syntax.ts";
import type { Attribute, Block, Body, Expression, Label } from "./syntax.ts";
import {
  NullValue,
  objectOf,
  SequenceValue,
  TupleValue,
  UnknownValue,
  type Value,
  valueTypeName,
} from "./value.ts";

export interface FoundBlock {
  readonly block: Block;
  readonly evaluator: Evaluator;
}

export interface Content {
  readonly attributes: readonly Attribute[];
  readonly blocks: readonly FoundBlock[];
}

/** Attributes and blocks of a body, without expansion. */
export function rawContent(body: Body, names: BlockNames, evaluator: Evaluator): Body {
  return body.json ? readJsonBody(body, names, evaluator.options.diagnostics) : body;
}

const DYNAMIC = new Map([["dynamic", 1]]);

/** Attributes and blocks of a body; `names` are the block types that may occur, with their label counts. */
export function readContent(body: Body, names: BlockNames, evaluator: Evaluator): Content {
  const raw = rawContent(body, body.json ? new Map([...names, ...DYNAMIC]) : names, evaluator);
  const blocks: FoundBlock[] = [];
  for (const block of raw.blocks) {
    if (block.type === "dynamic" && !names.has("dynamic")) expandDynamic(block, names, evaluator, blocks);
    else blocks.push({ block, evaluator });
  }
  return { attributes: raw.attributes, blocks };
}

/** Reports a block whose number of labels is not the one its type has. `names` are what the labels are called. */
export function checkLabels(block: Block, names: readonly string[], evaluator: Evaluator): boolean {
  const { source } = block;
  const { diagnostics } = evaluator.options;
  const extra = block.labels[names.length];
  const list = names.map((name) => name || "label").join(", ");
  if (extra) {
    const detail = names.length === 0
      ? `No labels are expected for ${block.type} blocks.`
      : `Only ${names.length} labels (${list}) are expected for ${block.type} blocks.`;
    diagnostics.error(
      { source, start: extra.start, end: extra.end },
      `Extraneous label for ${block.type}`,
      detail,
    );
    return false;
  }
  if (block.labels.length < names.length) {
    diagnostics.error(
      { source, start: block.open, end: block.open + 1 },
      `Missing ${names[block.labels.length] || "label"} for ${block.type}`,
      `All ${block.type} blocks must have ${names.length} labels (${list}).`,
      { expected: `${block.type} ${names.map((name) => `"<${name || "label"}>"`).join(" ")} { … }` },
    );
    return false;
  }
  return true;
}

/** Reports an argument that must be there and is not. */
export function reportMissing(body: Body, name: string, evaluator: Evaluator): void {
  evaluator.options.diagnostics.error(
    { source: body.source, start: body.start, end: body.start },
    "Missing required argument",
    `The argument "${name}" is required, but no definition was found.`,
    { expected: `${name} = …` },
  );
}

export function reportUnknownArgument(
  attribute: Attribute,
  known: readonly string[],
  evaluator: Evaluator,
): void {
  const { name, source, nameStart, nameEnd } = attribute;
  evaluator.options.diagnostics.error(
    { source, start: nameStart, end: nameEnd },
    "Unsupported argument",
    `An argument named "${name}" is not expected here.`,
    { suggestion: suggestName(name, known) },
  );
}

class DynamicBlock {
  readonly attributes = new Map<string, Attribute>();
  content: Block | undefined;

  constructor(readonly block: Block, readonly labelCount: number, readonly evaluator: Evaluator) {}

  /** Checks the shape; false after a report. */
  read(): boolean {
    const { block, evaluator } = this;
    const { diagnostics } = evaluator.options;
    const raw = rawContent(block.body, new Map([["content", 0]]), evaluator);
    const known = ["for_each", "iterator", ...(this.labelCount > 0 ? ["labels"] : [])];
    let fine = true;
    for (const attribute of raw.attributes) {
      if (known.includes(attribute.name)) this.attributes.set(attribute.name, attribute);
      else {
        reportUnknownArgument(attribute, known, evaluator);
        fine = false;
      }
    }
    for (const name of ["for_each", ...(this.labelCount > 0 ? ["labels"] : [])]) {
      if (this.attributes.has(name)) continue;
      reportMissing(block.body, name, evaluator);
      fine = false;
    }
    for (const inner of raw.blocks) {
      const place = { source: inner.source, start: inner.typeStart, end: inner.typeEnd };
      if (inner.type !== "content") {
        diagnostics.error(
          place,
          "Unsupported block type",
          `Blocks of type "${inner.type}" are not expected here.`,
          {
            suggestion: suggestName(inner.type, ["content"]),
          },
        );
        fine = false;
      } else if (this.content) {
        diagnostics.error(
          place,
          "Extraneous dynamic content block",
          "Only one nested content block is allowed for each dynamic block.",
        );
        fine = false;
      } else {
        this.content = inner;
        fine &&= checkLabels(inner, [], evaluator);
      }
    }
    if (!this.content && fine) {
      diagnostics.error(
        { source: block.source, start: block.open, end: block.open + 1 },
        "Missing dynamic content block",
        'A dynamic block must have a nested block of type "content" to describe the body of each generated block.',
        { expected: "content { … }" },
      );
    }
    return fine && this.content !== undefined;
  }

  iteratorName(): string | undefined {
    const attribute = this.attributes.get("iterator");
    if (!attribute) return this.block.labels[0]!.text;
    let { expression } = attribute;
    if (expression.kind === "literal" && this.block.body.json) return String(expression.value);
    while (expression.kind === "parens") expression = expression.inner;
    if (expression.kind === "traversal" && expression.steps.length === 0) return expression.root;
    this.evaluator.fail(
      attribute.expression,
      "Invalid expression",
      "A single static variable reference is required: only attribute access and indexing with constant keys. No calculations, function calls, template expressions, etc are allowed here.",
    );
    return undefined;
  }

  pairs(): [Value, Value][] | undefined {
    const { expression } = this.attributes.get("for_each")!;
    const value = this.evaluator.evaluate(expression);
    if (value instanceof UnknownValue) return undefined;
    const pairs = iterationPairs(value);
    if (pairs) return pairs;
    const what = value instanceof NullValue ? "null" : valueTypeName(value);
    const more = value instanceof NullValue ? "" : " An iterable collection is required.";
    this.evaluator.fail(
      expression,
      "Invalid dynamic for_each value",
      `Cannot use a ${what} value in for_each.${more}`,
    );
    return undefined;
  }

  labels(evaluator: Evaluator): Label[] | undefined {
    const attribute = this.attributes.get("labels");
    if (!attribute) return [];
    const { expression } = attribute;
    const nodes: readonly Expression[] | undefined = expression.kind === "tuple"
      ? expression.items
      : undefined;
    const values = nodes
      ? nodes.map((node) => evaluator.evaluate(node))
      : this.#labelValues(expression, evaluator);
    if (!values) return undefined;
    if (values.length !== this.labelCount) {
      const many = values.length > this.labelCount;
      evaluator.fail(
        expression,
        many ? "Extraneous dynamic block label" : "Insufficient dynamic block labels",
        `Blocks of type "${this.block.labels[0]!.text}" require ${this.labelCount} label(s).`,
      );
      return undefined;
    }
    const labels = values.map((value, i) => this.#label(value, nodes?.[i] ?? expression, evaluator));
    return labels.includes(undefined) ? undefined : labels as Label[];
  }

  #labelValues(expression: Expression, evaluator: Evaluator): readonly Value[] | undefined {
    const value = evaluator.evaluate(expression);
    if (value instanceof UnknownValue) return undefined;
    if (value instanceof TupleValue || value instanceof SequenceValue) return value.items;
    evaluator.fail(
      expression,
      "Invalid dynamic block label",
      `A list of labels is required, but have ${valueTypeName(value)}.`,
    );
    return undefined;
  }

  #label(value: Value, node: Expression, evaluator: Evaluator): Label | undefined {
    if (value instanceof UnknownValue) return undefined;
    const problem = (detail: string): undefined => {
      evaluator.fail(node, "Invalid dynamic block label", detail);
      return undefined;
    };
    if (value instanceof NullValue) return problem("Cannot use a null value as a dynamic block label.");
    try {
      return { text: convert(value, "string") as string, start: node.start, end: node.end };
    } catch (error) {
      if (!(error instanceof ConvertError)) throw error;
      return problem(`Cannot use this value as a dynamic block label: ${error.message}.`);
    }
  }
}

function expandDynamic(block: Block, names: BlockNames, evaluator: Evaluator, out: FoundBlock[]): void {
  if (!checkLabels(block, ["type"], evaluator)) return;
  const label = block.labels[0]!;
  const labelCount = names.get(label.text);
  if (labelCount === undefined) {
    evaluator.options.diagnostics.error(
      { source: block.source, start: label.start, end: label.end },
      "Unsupported block type",
      `Blocks of type "${label.text}" are not expected here.`,
      { suggestion: suggestName(label.text, names.keys()) },
    );
    return;
  }
  const dynamic = new DynamicBlock(block, labelCount, evaluator);
  if (!dynamic.read()) return;
  const name = dynamic.iteratorName();
  const pairs = dynamic.pairs();
  if (name === undefined || !pairs) return;
  evaluator.budget.items(pairs.length);
  for (const [key, value] of pairs) {
    const inner = evaluator.with(new Map([[name, objectOf([["key", key], ["value", value]])]]));
    const labels = dynamic.labels(inner);
    if (!labels) return;
    const content = dynamic.content!;
    out.push({
      block: { ...content, type: label.text, typeStart: label.start, typeEnd: label.end, labels },
      evaluator: inner,
    });
  }
}
