// A Go text/template reader and executor, for `-t` on the command line and for tasks' template blocks: the whole action
// language (pipelines, variables, if, with, range with break and continue, define, template, block, comments, trim
// markers) and Go's built-in functions, over plain values. Callers add functions of their own. What it does not have:
// methods of Go values and the types of empty things. Pure.
import { runFailure, TemplateError } from "./go_template_error.ts";
import {
  ArgumentsError,
  builtin,
  goType,
  isTruthy,
  printValue,
  type TemplateFunction,
} from "./go_template_functions.ts";
import {
  type Action,
  type Block,
  type Command,
  type Node,
  parseTemplate,
  type Pipeline,
  type TemplateSet,
} from "./go_template_parse.ts";

export { TemplateError } from "./go_template_error.ts";
export type { TemplateFunction } from "./go_template_functions.ts";

/** More output than this is a runaway template. */
const OUTPUT_MAX = 64 * 1024 * 1024;

export interface TemplateOptions {
  /** Delimiters of actions, `{{` and `}}` by default. */
  left?: string;
  right?: string;
  /** Functions beside Go's own; one of the same name goes before it. */
  functions?: ReadonlyMap<string, TemplateFunction>;
  /** Why a function is not there; by default, that it is not defined. */
  whyUnknown?: (name: string) => string;
  /**
   * What a name that a record does not have is: an error as of a Go struct's field (the default, which `typeName`
   * words), an error as of a map's key, or "<no value>".
   */
  missing?: "field" | "key" | "nothing";
  typeName?: string;
}

/** Executes `text` over `data`. Throws TemplateError. */
export function renderTemplate(text: string, data: unknown, options: TemplateOptions = {}): string {
  const { left = "{{", right = "}}", functions = new Map(), whyUnknown = notDefined } = options;
  const find = (name: string) => functions.get(name) ?? builtin(name);
  const set = parseTemplate(text, {
    left,
    right,
    whyUnknown: (name) => find(name) ? null : whyUnknown(name),
  });
  const run = new Execution(set, options, (name) => find(name)!);
  run.walk(set.main, { dot: data, variables: new Map([["$", data]]) }, 0);
  return run.output();
}

function notDefined(name: string): string {
  return `function ${JSON.stringify(name)} not defined`;
}

interface Scope {
  dot: unknown;
  variables: Map<string, unknown>;
}

type Flow = "break" | "continue" | undefined;

class Execution {
  readonly #set: TemplateSet;
  readonly #options: TemplateOptions;
  readonly #find: (name: string) => TemplateFunction;
  #out: string[] = [];
  #length = 0;

  constructor(set: TemplateSet, options: TemplateOptions, find: (name: string) => TemplateFunction) {
    this.#set = set;
    this.#options = options;
    this.#find = find;
  }

  output(): string {
    return this.#out.join("");
  }

  #emit(text: string): void {
    this.#length += text.length;
    if (this.#length > OUTPUT_MAX) throw new TemplateError("", "the template's output is larger than 64 MiB");
    this.#out.push(text);
  }

  walk(nodes: Node[], scope: Scope, depth: number): Flow {
    for (const node of nodes) {
      const flow = node.kind === "text" ? void this.#emit(node.text) : this.#act(node, scope, depth);
      if (flow) return flow;
    }
    return undefined;
  }

  #act(node: Action, scope: Scope, depth: number): Flow {
    switch (node.kind) {
      case "print": {
        const value = this.#pipeline(node.pipeline, scope);
        if (node.pipeline.declared.length === 0) this.#emit(printValue(value));
        return undefined;
      }
      case "if":
      case "with":
        return this.#branch(node, scope, depth);
      case "range":
        return this.#range(node, scope, depth);
      case "break":
      case "continue":
        return node.kind;
      case "template": {
        const body = this.#set.named.get(node.name);
        if (!body) throw runFailure(node.at, `template ${JSON.stringify(node.name)} not defined`);
        if (depth > 1000) throw runFailure(node.at, "exceeded maximum template depth (1000)");
        const dot = node.pipeline ? this.#pipeline(node.pipeline, scope) : null;
        this.walk(body, { dot, variables: new Map([["$", dot]]) }, depth + 1);
        return undefined;
      }
    }
  }

  #branch(node: Block, scope: Scope, depth: number): Flow {
    const inner = { dot: scope.dot, variables: new Map(scope.variables) };
    const value = this.#pipeline(node.pipeline, inner);
    if (!isTruthy(value)) return this.#walkInner(node.otherwise, scope, inner, depth);
    return this.#walkInner(node.body, scope, node.kind === "with" ? { ...inner, dot: value } : inner, depth);
  }

  /** Variables declared inside end there; assignments to outer ones stay. */
  #walkInner(nodes: Node[], outer: Scope, inner: Scope, depth: number): Flow {
    const flow = this.walk(nodes, inner, depth);
    for (const name of outer.variables.keys()) outer.variables.set(name, inner.variables.get(name));
    return flow;
  }

  #range(node: Block & { at: string }, scope: Scope, depth: number): Flow {
    const bound = { ...node.pipeline, declared: [] };
    const value = this.#pipeline(bound, scope);
    const entries = rangeEntries(value, node.at);
    if (entries.length === 0) {
      return this.#walkInner(node.otherwise, scope, { ...scope, variables: new Map(scope.variables) }, depth);
    }
    for (const [key, element] of entries) {
      const inner: Scope = { dot: element, variables: new Map(scope.variables) };
      const names = node.pipeline.declared;
      if (names.length === 1) inner.variables.set(names[0]!, element);
      if (names.length === 2) {
        inner.variables.set(names[0]!, key);
        inner.variables.set(names[1]!, element);
      }
      if (this.#walkInner(node.body, scope, inner, depth) === "break") break;
    }
    return undefined;
  }

  #pipeline(pipeline: Pipeline, scope: Scope): unknown {
    let value: unknown;
    pipeline.commands.forEach((command, i) => value = this.#command(command, scope, i === 0 ? [] : [value]));
    for (const name of pipeline.declared) {
      if (pipeline.assigns && !scope.variables.has(name)) {
        throw new TemplateError("", `undefined variable: ${name}`);
      }
      scope.variables.set(name, value);
    }
    return value;
  }

  #command(command: Command, scope: Scope, piped: unknown[]): unknown {
    const first = command[0]!;
    const rest = command.slice(1);
    const evaluate = (operand: Command[number]): unknown => {
      switch (operand.kind) {
        case "value":
          return operand.value;
        case "dot":
          return scope.dot;
        case "field":
          return this.#field(scope.dot, operand.path, operand.at);
        case "variable":
          if (!scope.variables.has(operand.name)) {
            throw new TemplateError(operand.at, `undefined variable: ${operand.name}`);
          }
          return this.#field(scope.variables.get(operand.name), operand.path, operand.at);
        case "nested":
          return this.#field(this.#pipeline(operand.pipeline, scope), operand.path, operand.at);
        case "function":
          return this.#call(operand.name, [], operand.at);
      }
    };
    if (first.kind === "function") {
      // and / or stop at the first operand that decides.
      if (first.name === "and" || first.name === "or") {
        let value: unknown;
        for (const operand of rest) {
          value = evaluate(operand);
          if (isTruthy(value) === (first.name === "or")) return value;
        }
        return piped.length > 0 ? piped[0] : value;
      }
      return this.#call(first.name, [...rest.map(evaluate), ...piped], first.at);
    }
    if (rest.length > 0 || piped.length > 0) {
      throw runFailure(first.at, `can't give argument to non-function ${first.text}`);
    }
    return evaluate(first);
  }

  #call(name: string, args: unknown[], at: string): unknown {
    try {
      return this.#find(name)(args);
    } catch (error) {
      const { message } = error as Error;
      const reason = error instanceof ArgumentsError ? message : `error calling ${name}: ${message}`;
      throw runFailure(at, reason, name);
    }
  }

  #field(value: unknown, path: string[], at: string): unknown {
    const what = `.${path.join(".")}`;
    return path.reduce((current: unknown, name, i) => {
      if (current === null || current === undefined) {
        throw runFailure(at, `nil data; no entry for key ${JSON.stringify(name)}`, what);
      }
      const isRecord = typeof current === "object" && !Array.isArray(current);
      if (isRecord && Object.hasOwn(current, name)) return (current as Record<string, unknown>)[name];
      const { missing = "field", typeName = "map[string]interface {}" } = this.#options;
      if (isRecord && missing === "nothing") return undefined;
      if (isRecord && missing === "key") {
        throw runFailure(at, `map has no entry for key ${JSON.stringify(name)}`, what);
      }
      const type = i === 0 && isRecord ? typeName : isRecord ? "struct" : goType(current);
      throw runFailure(at, `can't evaluate field ${name} in type ${type}`, what);
    }, value);
  }
}

/** What `range` goes over: elements with their index, entries by sorted key, or 0 … n-1. */
function rangeEntries(value: unknown, at: string): [unknown, unknown][] {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.map((element, i) => [i, element]);
  if (typeof value === "number" && Number.isInteger(value)) {
    return Array.from({ length: Math.min(Math.max(0, value), 1_000_000) }, (_, i) => [i, i]);
  }
  if (typeof value === "object") {
    return Object.entries(value as Record<string, unknown>).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
  }
  throw runFailure(at, `range can't iterate over ${printValue(value)}`);
}
