// One configuration file → entries with their lines: HCL (as Nomad's agent reads it, without references or functions)
// or JSON. Knows no key; config_check.ts does.
import { ConfigError } from "../core/errors.ts";
import { Diagnostics, SourceFile } from "../jobspec/diagnostics.ts";
import { valueToJson } from "../jobspec/decode_value.ts";
import { parseBody } from "../jobspec/parser.ts";
import type { Body, Expression } from "../jobspec/syntax.ts";

export type Plain = null | boolean | number | string | Plain[] | { [key: string]: Plain };

/** `name = value`, `name "label" { … }` or a member of a JSON object. */
export interface Entry {
  name: string;
  labels: string[];
  line: number;
  /** Entries for a block or an object. */
  value: Plain | Entry[];
  isBlock: boolean;
}

export const isEntries = (value: Plain | Entry[]): value is Entry[] =>
  Array.isArray(value) &&
  value.every((item) => typeof item === "object" && item !== null && "isBlock" in item);

/** Reads a file's text; `name` chooses the syntax (`.json`) and stands in errors. Throws ConfigError. */
export function readEntries(name: string, text: string): Entry[] {
  return name.endsWith(".json") ? readJson(name, text) : readHcl(name, text);
}

function readHcl(name: string, text: string): Entry[] {
  const diagnostics = new Diagnostics();
  const source = new SourceFile(name, text);
  const body = parseBody(source, diagnostics, { loose: true });
  const first = diagnostics.list[0];
  if (first) {
    throw new ConfigError(
      `Error loading ${name}:${first.range?.start.line ?? 1}: ${first.summary}: ${first.detail}`,
    );
  }
  return bodyEntries(body, source);
}

function bodyEntries(body: Body, source: SourceFile): Entry[] {
  const line = (offset: number) => source.range(offset, offset).start.line;
  const attributes = body.attributes.map((attribute) => ({
    at: attribute.nameStart,
    entry: {
      name: attribute.name,
      labels: [],
      line: line(attribute.nameStart),
      value: constant(attribute.expression, source),
      isBlock: false,
    },
  }));
  const blocks = body.blocks.map((block) => ({
    at: block.typeStart,
    entry: {
      name: block.type,
      labels: block.labels.map((label) => label.text),
      line: line(block.typeStart),
      value: bodyEntries(block.body, source),
      isBlock: true,
    },
  }));
  return [...attributes, ...blocks].sort((a, b) => a.at - b.at).map(({ entry }) => entry);
}

/** The value of an expression that refers to nothing. Objects become entries, so that their keys have lines. */
function constant(node: Expression, source: SourceFile): Plain | Entry[] {
  const line = source.range(node.start, node.start).start.line;
  switch (node.kind) {
    case "literal":
      return valueToJson(node.value) as Plain;
    case "parens":
    case "wrap":
      return constant(node.inner, source);
    case "template":
      return node.parts.map((part) => String(constant(part, source))).join("");
    case "tuple":
      return node.items.map((item) => toPlain(constant(item, source)));
    case "unary": {
      const operand = constant(node.operand, source);
      if (node.operator === "-" && typeof operand === "number") return -operand;
      break;
    }
    case "object":
      return node.items.map(({ key, value }) => ({
        name: keyText(key, source),
        labels: [],
        line: source.range(key.start, key.start).start.line,
        value: constant(value, source),
        isBlock: false,
      }));
  }
  throw new ConfigError(
    `Error loading ${source.name}:${line}: agent configuration takes plain values, no references or functions: ` +
      shownLine(source.lineText(node.start)),
  );
}

/** A line of the file for an error, without what may be a secret. */
function shownLine(line: string): string {
  return line.trim().replace(/^("?\w*(?:encrypt|token|secret|password|auth)\w*"?\s*=).*/i, "$1 <hidden>");
}

function keyText(key: Expression, source: SourceFile): string {
  if (key.kind === "key" && key.name !== undefined) return key.name;
  return String(constant(key.kind === "key" ? key.inner : key, source));
}

/** Entries → a plain object: for values whose keys are the user's own. A block within is a list, as plugins read it. */
export function toPlain(value: Plain | Entry[]): Plain {
  if (!isEntries(value) || (Array.isArray(value) && value.length === 0)) return value as Plain;
  const plain: { [key: string]: Plain } = {};
  for (const entry of value) {
    let inner = toPlain(isEntries(entry.value) && entry.value.length === 0 ? [] : entry.value);
    if (entry.isBlock && Array.isArray(inner)) inner = {};
    for (const label of [...entry.labels].reverse()) inner = { [label]: inner };
    plain[entry.name] = inner;
  }
  return plain;
}

function readJson(name: string, text: string): Entry[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`Error loading ${name}: not valid JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(`Error loading ${name}: expected an object at the top`);
  }
  return objectEntries(value as Record<string, Plain>, [], keyLines(text));
}

function objectEntries(object: Record<string, Plain>, path: string[], lines: Map<string, number>): Entry[] {
  return Object.entries(object).map(([name, value]) => {
    const here = [...path, name];
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return {
      name,
      labels: [],
      line: lines.get(here.join("\0")) ?? 1,
      value: isObject ? objectEntries(value, here, lines) : value,
      isBlock: false,
    };
  });
}

/** Path of every key of a JSON text → its line. The text is known to be valid. */
function keyLines(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  const path: (string | null)[] = [];
  let key: string | null = null;
  let line = 1;
  let keyLine = 1;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:\n]/g)) {
    if (token === "\n") line++;
    else if (token === "{" || token === "[") {
      path.push(key);
      key = null;
    } else if (token === "}" || token === "]") {
      path.pop();
      key = null;
    } else if (token === ",") key = null;
    else if (token === ":") lines.set([...path.filter((part) => part !== null), key].join("\0"), keyLine);
    else if (key === null) {
      key = JSON.parse(token) as string;
      keyLine = line;
    }
  }
  return lines;
}
