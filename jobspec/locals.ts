// Local values: evaluated in the order of their references, whatever their order in the file.
// Invariant: a cycle is reported at the reference that closes it, and never followed.
import { rawContent } from "./body_content.ts";
import type { Evaluator } from "./expression.ts";
import { visitReferences } from "./references.ts";
import type { Attribute, Block, Step } from "./syntax.ts";
import { objectOf, UNKNOWN, type Value } from "./value.ts";

/** A chain of references longer than this is not followed: the stack must not overflow. */
const CHAIN_MAX = 500;

export class Locals {
  readonly #attributes = new Map<string, Attribute>();
  /** Definitions that a later `locals` block replaced: not used, but they must be right. */
  readonly #overridden: Attribute[] = [];
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
      if (earlier) this.#overridden.push(earlier);
      this.#attributes.set(attribute.name, attribute);
    }
  }

  /** All values. */
  values(): Value {
    for (const name of this.#attributes.keys()) this.#evaluate(name);
    const all = objectOf(this.#values);
    for (const { expression, source } of this.#overridden) {
      this.evaluator.with(new Map([["local", all]])).forSource(source).evaluate(expression);
    }
    return all;
  }

  #evaluate(name: string): void {
    if (this.#values.has(name)) return;
    const attribute = this.#attributes.get(name)!;
    this.#open.push(name);
    const used = new Map<string, Value>();
    let broken = this.#open.length > CHAIN_MAX;
    if (broken) this.#reportChain(attribute);
    let all = false;
    visitReferences(attribute.expression, (reference) => {
      const step = reference.steps[0];
      if (broken || reference.root !== "local") return;
      if (step?.kind !== "attribute" || !this.#attributes.has(step.name)) {
        all = true;
        return;
      }
      if (this.#open.includes(step.name)) {
        broken = true;
        this.#reportCycle(attribute, step);
        return;
      }
      this.#evaluate(step.name);
      used.set(step.name, this.#values.get(step.name) ?? UNKNOWN);
    });
    this.#open.pop();
    if (this.#values.has(name)) return;
    // Only what is referred to by name: with all of them, many locals would take quadratic time.
    const local = objectOf(all ? this.#values : used);
    const scope = this.evaluator.with(new Map([["local", local]])).forSource(attribute.source);
    this.#values.set(name, broken ? UNKNOWN : scope.evaluate(attribute.expression));
  }

  #reportChain(attribute: Attribute): void {
    this.evaluator.options.diagnostics.error(
      { source: attribute.source, start: attribute.nameStart, end: attribute.nameEnd },
      "References too deep",
      `A chain of local values that refer to each other may have ${CHAIN_MAX} members at most.`,
    );
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
