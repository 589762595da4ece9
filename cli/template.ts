// A Go text/template reader and executor for `-t`: the whole action language (pipelines, variables, if, with, range with
// break and continue, define, template, block, comments, trim markers) and Go's built-in functions, over decoded JSON.
// What it does not have: methods of Go values and the types of empty things; a field that is not there is an error, as
// for a Go struct. template_functions.ts holds the functions.
import { callFunction, isTruthy, printValue, TemplateError } from "./template_functions.ts";
import {
  type Action,
  type Block,
  type Command,
  type Node,
  parseTemplate,
  type Pipeline,
  type TemplateSet,
} from "./template_parse.ts";

export { TemplateError } from "./template_functions.ts";

/** More output than this is a runaway template. */
const OUTPUT_MAX = 64 * 1024 * 1024;

/** Executes `text` over `data`. `typeName` names the data's Go type in errors. Throws TemplateError. */
export function renderTemplate(text: string, data: unknown, typeName = "map[string]interface {}"): string {
  const set = parseTemplate(text);
  const run = new Execution(set, typeName);
  run.walk(set.main, { dot: data, variables: new Map([["$", data]]) }, 0);
  return run.output();
}

interface Scope {
  dot: unknown;
  variables: Map<string, unknown>;
}

type Flow = "break" | "continue" | undefined;

class Execution {
  readonly #set: TemplateSet;
  readonly #typeName: string;
  #out: string[] = [];
  #length = 0;

  constructor(set: TemplateSet, typeName: string) {
    this.#set = set;
    this.#typeName = typeName;
  }

  output(): string {
    return this.#out.join("");
  }

  #emit(text: string): void {
    this.#length += text.length;
    if (this.#length > OUTPUT_MAX) throw new TemplateError("the template's output is larger than 64 MiB");
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
        if (!body) {
          throw new TemplateError(`template: :${node.at}: template ${JSON.stringify(node.name)} not defined`);
        }
        if (depth > 1000) throw new TemplateError("template: exceeded maximum template depth (1000)");
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
        throw new TemplateError(`undefined variable: ${name}`);
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
            throw new TemplateError(`undefined variable: ${operand.name}`);
          }
          return this.#field(scope.variables.get(operand.name), operand.path, operand.at);
        case "nested":
          return this.#field(this.#pipeline(operand.pipeline, scope), operand.path, operand.at);
        case "function":
          return callFunction(operand.name, [], operand.at);
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
      return callFunction(first.name, [...rest.map(evaluate), ...piped], first.at);
    }
    if (rest.length > 0 || piped.length > 0) {
      throw new TemplateError(`template: :${first.at}: can't give argument to non-function ${first.text}`);
    }
    return evaluate(first);
  }

  #field(value: unknown, path: string[], at: string): unknown {
    let current = value;
    for (const [i, name] of path.entries()) {
      const where = `template: :${at}: executing "" at <.${path.join(".")}>`;
      if (current === null || current === undefined) {
        throw new TemplateError(`${where}: nil data; no entry for key ${JSON.stringify(name)}`);
      }
      if (typeof current !== "object" || Array.isArray(current) || !Object.hasOwn(current, name)) {
        const type = i === 0 ? this.#typeName : "struct";
        throw new TemplateError(`${where}: can't evaluate field ${name} in type ${type}`);
      }
      current = (current as Record<string, unknown>)[name];
    }
    return current;
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
  throw new TemplateError(`template: :${at}: range can't iterate over ${printValue(value)}`);
}
