// Renders a template: walks the tree of template_parse.ts with the functions of template_functions.ts. Pure: what a
// template may see (the task's environment, its files) comes in. Functions that need Consul, Vault or Nomad's variables
// are refused by name: a template is never rendered with a part of it silently missing.
import { assertNever } from "../core/assert.ts";
import { type FunctionContext, functions, isTrue, NEEDS_SERVER, toText } from "./template_functions.ts";
import { type Expr, type Node, parseTemplate, TemplateError } from "./template_parse.ts";

export { TemplateError } from "./template_parse.ts";

export interface RenderOptions extends FunctionContext {
  left: string;
  right: string;
  /** A missing key of a map is an error instead of "<no value>". */
  errorOnMissingKey: boolean;
}

/** Throws TemplateError saying where and why. */
export function renderTemplate(text: string, options: RenderOptions): string {
  const nodes = parseTemplate(text, { left: options.left, right: options.right });
  const renderer = new Renderer(options);
  renderer.run(nodes, { dot: null, vars: new Scope(null) });
  return renderer.out.join("");
}

/** Variables of a block; the outer ones can be seen and assigned. */
class Scope {
  #own = new Map<string, unknown>();
  constructor(readonly outer: Scope | null) {}

  get(name: string): unknown {
    if (this.#own.has(name)) return this.#own.get(name);
    if (this.outer) return this.outer.get(name);
    throw new TemplateError(`undefined variable ${name}`);
  }

  declare(name: string, value: unknown): void {
    this.#own.set(name, value);
  }

  assign(name: string, value: unknown): void {
    if (this.#own.has(name)) this.#own.set(name, value);
    else if (this.outer) this.outer.assign(name, value);
    else throw new TemplateError(`undefined variable ${name}`);
  }
}

interface Frame {
  dot: unknown;
  vars: Scope;
}

type Flow = "next" | "break" | "continue";

class Renderer {
  readonly out: string[] = [];

  constructor(private readonly options: RenderOptions) {}

  run(nodes: Node[], frame: Frame): Flow {
    for (const node of nodes) {
      const flow = this.#node(node, frame);
      if (flow !== "next") return flow;
    }
    return "next";
  }

  #node(node: Node, frame: Frame): Flow {
    switch (node.kind) {
      case "text":
        this.out.push(node.text);
        return "next";
      case "output":
        this.out.push(toText(this.#value(node.expr, frame)));
        return "next";
      case "set": {
        const value = this.#value(node.expr, frame);
        if (node.declare) frame.vars.declare(node.name, value);
        else frame.vars.assign(node.name, value);
        return "next";
      }
      case "if":
      case "with": {
        const value = this.#value(node.kind === "if" ? node.test : node.value, frame);
        const vars = new Scope(frame.vars);
        if (node.name) vars.declare(node.name, value);
        const dot = node.kind === "with" && isTrue(value) ? value : frame.dot;
        return this.run(isTrue(value) ? node.then : node.otherwise, { dot, vars });
      }
      case "range":
        return this.#range(node, frame);
      case "break":
      case "continue":
        return node.kind;
      default:
        return assertNever(node, "template node");
    }
  }

  #range(node: Extract<Node, { kind: "range" }>, frame: Frame): Flow {
    const entries = entriesOf(this.#value(node.over, frame));
    if (entries.length === 0) {
      return this.run(node.otherwise, { dot: frame.dot, vars: new Scope(frame.vars) });
    }
    for (const [key, value] of entries) {
      const vars = new Scope(frame.vars);
      if (node.key) vars.declare(node.key, key);
      if (node.value) vars.declare(node.value, value);
      if (this.run(node.body, { dot: value, vars }) === "break") break;
    }
    return "next";
  }

  #value(expr: Expr, frame: Frame): unknown {
    switch (expr.kind) {
      case "literal":
        return expr.value;
      case "pipe":
        return expr.stages.slice(1).reduce(
          (value: unknown, stage) => this.#stage(stage, value, frame),
          this.#value(expr.stages[0]!, frame),
        );
      case "call":
        return this.#call(expr, expr.args.map((arg) => this.#value(arg, frame)));
      case "field": {
        const { base } = expr;
        const from = base === "dot"
          ? frame.dot
          : "variable" in base
          ? (base.variable === "$" ? null : frame.vars.get(base.variable))
          : this.#value(base, frame);
        return expr.path.reduce((value: unknown, name) => this.#field(value, name), from);
      }
      default:
        return assertNever(expr, "template expression");
    }
  }

  /** The value before a `|` is the last argument of what comes after it. */
  #stage(stage: Expr, value: unknown, frame: Frame): unknown {
    if (stage.kind !== "call") throw new TemplateError("only a function may stand after |");
    return this.#call(stage, [...stage.args.map((arg) => this.#value(arg, frame)), value]);
  }

  #call(expr: Extract<Expr, { kind: "call" }>, args: unknown[]): unknown {
    const run = Object.hasOwn(functions, expr.name) ? functions[expr.name] : undefined;
    if (!run) {
      const needs = Object.hasOwn(NEEDS_SERVER, expr.name) ? NEEDS_SERVER[expr.name] : undefined;
      throw new TemplateError(
        needs
          ? `function ${JSON.stringify(expr.name)} needs ${needs}, which this device has not`
          : `function ${JSON.stringify(expr.name)} is not known to this device`,
        expr.at,
      );
    }
    try {
      return run(args, this.options);
    } catch (error) {
      throw new TemplateError(`${expr.name}: ${(error as Error).message}`, expr.at);
    }
  }

  #field(value: unknown, name: string): unknown {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      const record = value as Record<string, unknown>;
      if (Object.hasOwn(record, name)) return record[name];
      if (!this.options.errorOnMissingKey) return undefined;
      throw new TemplateError(`map has no entry for key ${JSON.stringify(name)}`);
    }
    throw new TemplateError(`cannot take .${name} of ${toText(value)}`);
  }
}

/** Lists by position, maps in the order of their keys, numbers count up to themselves. */
function entriesOf(value: unknown): [unknown, unknown][] {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.map((item, i) => [i, item]);
  if (typeof value === "number") return Array.from({ length: value }, (_, i) => [i, i]);
  if (typeof value === "object") {
    return Object.entries(value).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  }
  throw new TemplateError(`range cannot go over ${toText(value)}`);
}
