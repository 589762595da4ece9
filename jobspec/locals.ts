// Local values: evaluated in the order of their references, whatever their order in the file.
// Invariant: a cycle is reported at the reference that closes it, and never followed.
import { rawContent } from "./body_content.ts";
import { placeText } from "./diagnostics.ts";
import type { Evaluator } from "./expression.ts";
import { visitReferences } from "./references.ts";
import type { Attribute, Block, Step } from "./syntax.ts";
import { objectOf, UNKNOWN, type Value } from "./value.ts";

export class Locals {
  readonly #attributes = new Map<string, Attribute>();
  readonly #values = new Map<string, Value>();
  readonly #open: string[] = [];

  /** `evaluator` knows `var`. */
  constructor(readonly evaluator: Evaluator) {}

  /** Takes the definitions of a `locals` block, labels already checked. */
  add(block: Block): void {
    const content = rawContent(block.body, new Map(), this.evaluator);
    const { diagnostics } = this.evaluator.options;
    for (const inner of content.blocks) {
      diagnostics.error(
        { source: inner.source, start: inner.typeStart, end: inner.typeEnd },
        `Unexpected "${inner.type}" block`,
        "Blocks are not allowed here.",
        { expected: `${inner.type} = …` },
      );
    }
    for (const attribute of content.attributes) {
      const earlier = this.#attributes.get(attribute.name);
      if (earlier) {
        const where = placeText({ source: earlier.source, start: earlier.nameStart, end: earlier.nameEnd });
        diagnostics.error(
          { source: attribute.source, start: attribute.nameStart, end: attribute.nameEnd },
          "Duplicate local value definition",
          `A local value named "${attribute.name}" was already defined at ${where}.`,
        );
      } else this.#attributes.set(attribute.name, attribute);
    }
  }

  /** All values. */
  values(): Value {
    for (const name of this.#attributes.keys()) this.#evaluate(name);
    return objectOf(this.#values);
  }

  #evaluate(name: string): void {
    if (this.#values.has(name)) return;
    const attribute = this.#attributes.get(name)!;
    this.#open.push(name);
    let cyclic = this.#open.length > DEPTH_MAX;
    visitReferences(attribute.expression, (reference) => {
      const step = reference.steps[0];
      if (
        cyclic || reference.root !== "local" || step?.kind !== "attribute" || !this.#attributes.has(step.name)
      ) return;
      if (this.#open.includes(step.name)) {
        cyclic = true;
        this.#reportCycle(attribute, step);
      } else this.#evaluate(step.name);
    });
    this.#open.pop();
    if (this.#values.has(name)) return;
    const scope = this.evaluator.with(new Map([["local", objectOf(this.#values)]])).forSource(
      attribute.source,
    );
    this.#values.set(name, cyclic ? UNKNOWN : scope.evaluate(attribute.expression));
  }

  #reportCycle(attribute: Attribute, step: Step & { kind: "attribute" }): void {
    const cycle = [...this.#open.slice(this.#open.indexOf(step.name)), step.name].map((name) =>
      `local.${name}`
    );
    this.evaluator.options.diagnostics.error(
      { source: attribute.source, start: step.start, end: step.end },
      "Unsupported attribute",
      `This object does not have an attribute named "${step.name}" here: the definition refers to itself (${
        cycle.join(" → ")
      }).`,
    );
  }
}

/** A chain of references longer than this is not followed: the stack must not overflow. */
const DEPTH_MAX = 1000;
