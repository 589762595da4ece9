// HCL's JSON syntax: a job file that begins with `{`. Parses JSON with positions, and reads an object as a body: what
// is a block and what an attribute depends on the names that are asked for. Strings are templates.
// Never throws for wrong input; a syntax error ends the parse (JSON leaves nothing to recover at).
import { type Diagnostics, type Place, placeText, SourceFile } from "./diagnostics.ts";
import { TOKENS_MAX } from "./lexer.ts";
import { HclNumber, NumberError } from "./number.ts";
import { parseTemplateText } from "./parser.ts";
import type { Attribute, Block, Body, Expression, Label } from "./syntax.ts";
import { NESTING_MAX } from "./token_reader.ts";
import { normalizeText, NULL } from "./value.ts";

interface JsonBase {
  readonly start: number;
  readonly end: number;
}

export interface JsonProperty {
  readonly name: string;
  readonly nameStart: number;
  readonly nameEnd: number;
  readonly value: JsonNode;
}

export interface JsonObject extends JsonBase {
  readonly kind: "object";
  readonly properties: readonly JsonProperty[];
}

export type JsonNode =
  | JsonObject
  | JsonBase & { readonly kind: "array"; readonly items: readonly JsonNode[] }
  | JsonBase & { readonly kind: "string"; readonly text: string }
  | JsonBase & { readonly kind: "number"; readonly value: HclNumber }
  | JsonBase & { readonly kind: "bool"; readonly value: boolean }
  | JsonBase & { readonly kind: "null" };

const NUMBER_TEXT = /[-+.\w]+/y;
const WORD_TEXT = /\w{1,100}/y;

class JsonFailure extends Error {}

/** Parses a whole source as one JSON value. Undefined after a reported error. */
export function parseJsonSource(source: SourceFile, diagnostics: Diagnostics): JsonNode | undefined {
  try {
    return new JsonReader(source, diagnostics).document();
  } catch (error) {
    if (error instanceof JsonFailure) return undefined;
    throw error;
  }
}

/** A source in JSON syntax as a body. */
export function parseJsonBody(source: SourceFile, diagnostics: Diagnostics): Body {
  const node = parseJsonSource(source, diagnostics);
  if (node && node.kind !== "object") {
    diagnostics.error(
      { source, start: node.start, end: node.end },
      "Root value must be object",
      "The root value in a JSON-based configuration must be a JSON object.",
    );
  }
  const object: JsonObject = node?.kind === "object"
    ? node
    : { kind: "object", properties: [], start: 0, end: 0 };
  return bodyOf(object, source);
}

function bodyOf(json: JsonObject, source: SourceFile): Body {
  return { json, attributes: [], blocks: [], source, start: json.start, missingAt: json.start + 1 };
}

class JsonReader {
  #at = 0;
  #depth = 0;
  #count = 0;

  constructor(readonly source: SourceFile, readonly diagnostics: Diagnostics) {
    if (source.text.charCodeAt(0) === 0xfeff) this.#at = 1;
  }

  #fail(summary: string, detail: string, start = this.#at, end = start + 1): never {
    this.diagnostics.error({ source: this.source, start, end }, summary, detail);
    throw new JsonFailure();
  }

  #skip(): string {
    const { text } = this.source;
    while (this.#at < text.length && " \t\r\n".includes(text[this.#at]!)) this.#at++;
    return text[this.#at] ?? "";
  }

  document(): JsonNode {
    const node = this.#value();
    if (this.#skip() !== "") {
      this.#fail("Extraneous data after value", "Extra characters appear after the JSON value.");
    }
    return node;
  }

  #value(): JsonNode {
    if (++this.#count > TOKENS_MAX) {
      this.#fail("File too large", `The text has more than ${TOKENS_MAX} JSON values.`, 0, 0);
    }
    const char = this.#skip();
    if (char === "{") return this.#nested(() => this.#object());
    if (char === "[") return this.#nested(() => this.#array());
    if (char === '"') {
      const start = this.#at;
      const text = this.#string();
      return { kind: "string", text, start, end: this.#at };
    }
    if (char === "-" || (char >= "0" && char <= "9")) return this.#number();
    if (/[a-zA-Z]/.test(char)) return this.#keyword();
    if (char === "") {
      this.#fail(
        "Missing JSON value",
        "A JSON value must start with a brace, a bracket, a number, a string, or a keyword.",
      );
    }
    return this.#fail(
      "Invalid start of value",
      "A JSON value must start with a brace, a bracket, a number, a string, or a keyword.",
    );
  }

  #nested<R>(read: () => R): R {
    if (++this.#depth > NESTING_MAX) {
      this.#fail("Nesting too deep", `Objects and arrays may be nested ${NESTING_MAX} levels deep at most.`);
    }
    const result = read();
    this.#depth--;
    return result;
  }

  #object(): JsonNode {
    const start = this.#at++;
    const properties: JsonProperty[] = [];
    for (;;) {
      const char = this.#skip();
      if (char === "}") break;
      if (char === "") {
        this.#fail("Unclosed object", "No closing brace was found for this JSON object.", start);
      }
      if (char !== '"') {
        this.#fail(
          "Invalid object property name",
          "A JSON object property name must be a string in double quotes.",
        );
      }
      const nameStart = this.#at;
      const name = this.#string();
      const nameEnd = this.#at;
      if (this.#skip() !== ":") {
        this.#fail(
          "Missing property value colon",
          "A colon must appear between an object property's name and its value.",
        );
      }
      this.#at++;
      properties.push({ name, nameStart, nameEnd, value: this.#value() });
      const after = this.#skip();
      if (after === ",") {
        const comma = this.#at++;
        if (this.#skip() === "}") {
          this.#fail(
            "Trailing comma in object",
            "JSON does not permit a trailing comma after the final property in an object.",
            comma,
          );
        }
      } else if (after === "") {
        this.#fail("Unclosed object", "No closing brace was found for this JSON object.", start);
      } else if (after !== "}") {
        this.#fail(
          "Missing attribute separator comma",
          "A comma must appear between each property definition in an object.",
        );
      }
    }
    this.#at++;
    return { kind: "object", properties, start, end: this.#at };
  }

  #array(): JsonNode {
    const start = this.#at++;
    const items: JsonNode[] = [];
    for (;;) {
      const char = this.#skip();
      if (char === "]") break;
      if (char === "") {
        this.#fail("Unclosed array", "No closing bracket was found for this JSON array.", start);
      }
      items.push(this.#value());
      const after = this.#skip();
      if (after === ",") {
        const comma = this.#at++;
        if (this.#skip() === "]") {
          this.#fail(
            "Trailing comma in array",
            "JSON does not permit a trailing comma after the final value in an array.",
            comma,
          );
        }
      } else if (after === "") {
        this.#fail("Unclosed array", "No closing bracket was found for this JSON array.", start);
      } else if (after !== "]") {
        this.#fail("Missing item separator", "A comma must appear between each item in an array.");
      }
    }
    this.#at++;
    return { kind: "array", items, start, end: this.#at };
  }

  #string(): string {
    const { text } = this.source;
    const start = this.#at;
    let at = start + 1;
    for (; text[at] !== '"'; at++) {
      if (at >= text.length || text[at] === "\n") {
        this.#fail("Unterminated string", "A JSON string must be closed on its line.", start, at);
      }
      if (text[at] === "\\") at++;
    }
    this.#at = at + 1;
    try {
      return JSON.parse(text.slice(start, at + 1)) as string;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return this.#fail(
        "Invalid JSON string",
        "The string has an escape sequence or character that JSON does not allow.",
        start,
        at + 1,
      );
    }
  }

  #number(): JsonNode {
    const start = this.#at;
    NUMBER_TEXT.lastIndex = start;
    const raw = NUMBER_TEXT.exec(this.source.text)![0];
    this.#at += raw.length;
    try {
      const value = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(raw)
        ? HclNumber.parse(raw)
        : undefined;
      if (value) return { kind: "number", value, start, end: this.#at };
    } catch (error) {
      if (!(error instanceof NumberError)) throw error;
    }
    return this.#fail(
      "Invalid JSON number",
      `"${raw.slice(0, 40)}" is not a number that can be read.`,
      start,
      this.#at,
    );
  }

  #keyword(): JsonNode {
    const start = this.#at;
    WORD_TEXT.lastIndex = start;
    const word = WORD_TEXT.exec(this.source.text)![0];
    this.#at += word.length;
    if (word === "true" || word === "false") {
      return { kind: "bool", value: word === "true", start, end: this.#at };
    }
    if (word === "null") return { kind: "null", start, end: this.#at };
    return this.#fail("Invalid JSON keyword", `"${word}" is not a valid JSON keyword.`, start, this.#at);
  }
}

/** Names to look for in a body: blocks with the number of their labels. Everything else is an attribute. */
export type BlockNames = ReadonlyMap<string, number>;

/** Reads the object as attributes and blocks. `"//"` properties are comments. */
export function readJsonBody(body: Body, blocks: BlockNames, diagnostics: Diagnostics): Body {
  const json = body.json!;
  const { source } = body;
  const out: { attributes: Attribute[]; blocks: Block[] } = { attributes: [], blocks: [] };
  const seen = new Map<string, Place>();
  for (const property of json.properties) {
    const name = normalizeText(property.name);
    const labels = blocks.get(name);
    if (name === "//" && labels === undefined) continue;
    if (labels !== undefined) {
      new BlockReader(out.blocks, { property, name, source, diagnostics }).read(property.value, labels, []);
      continue;
    }
    const place = { source, start: property.nameStart, end: property.nameEnd };
    const earlier = seen.get(name);
    if (earlier) {
      diagnostics.error(
        place,
        "Duplicate argument",
        `The argument "${name}" was already set at ${placeText(earlier)}.`,
      );
      continue;
    }
    seen.set(name, place);
    out.attributes.push({
      name,
      nameStart: property.nameStart,
      nameEnd: property.nameEnd,
      expression: jsonExpression(property.value, source, diagnostics),
      source,
      end: property.value.end,
    });
  }
  return { ...out, source, start: body.start, missingAt: body.missingAt };
}

interface BlockContext {
  readonly property: JsonProperty;
  readonly name: string;
  readonly source: SourceFile;
  readonly diagnostics: Diagnostics;
}

class BlockReader {
  constructor(readonly out: Block[], readonly context: BlockContext) {}

  read(value: JsonNode, missing: number, labels: readonly Label[]): void {
    const { property, name, source, diagnostics } = this.context;
    if (value.kind === "null" && missing === 0) return;
    if (value.kind === "null") return this.#missingLabel(value);
    if (value.kind === "array" && (value.items.length > 0 || missing === 0)) {
      for (const item of value.items) this.read(item, missing, labels);
      return;
    }
    if (value.kind !== "object" && value.kind !== "array") {
      const what = missing > 0
        ? "whose keys are the labels of the block"
        : `with the content of the ${name} block`;
      diagnostics.error(
        { source, start: value.start, end: value.end },
        "Incorrect JSON value type",
        `Either a JSON object or a JSON array of objects is required here, ${what}.`,
      );
      return;
    }
    if (missing > 0 || value.kind === "array") {
      const properties = value.kind === "array" ? [] : value.properties;
      if (properties.length === 0) this.#missingLabel(value);
      for (const label of properties) {
        const text = normalizeText(label.name);
        this.read(label.value, missing - 1, [...labels, {
          text,
          start: label.nameStart,
          end: label.nameEnd,
        }]);
      }
      return;
    }
    this.out.push({
      type: name,
      typeStart: property.nameStart,
      typeEnd: property.nameEnd,
      labels,
      open: value.start,
      end: value.end,
      body: bodyOf(value, source),
      source,
    });
  }

  #missingLabel({ start, end }: JsonNode): void {
    const { name, source, diagnostics } = this.context;
    diagnostics.error(
      { source, start, end },
      "Missing block label",
      `At least one object property is required, whose name represents the ${name} block's label.`,
    );
  }
}

/** A JSON value as an expression: strings and keys are templates. */
export function jsonExpression(node: JsonNode, source: SourceFile, diagnostics: Diagnostics): Expression {
  const { start, end } = node;
  switch (node.kind) {
    case "null":
      return { kind: "literal", value: NULL, start, end };
    case "bool":
    case "number":
      return { kind: "literal", value: node.value, start, end };
    case "string":
      return template(node.text, { source, diagnostics, start, end });
    case "array":
      return {
        kind: "tuple",
        items: node.items.map((item) => jsonExpression(item, source, diagnostics)),
        start,
        end,
      };
    case "object": {
      const items = node.properties.map((property) => ({
        key: template(property.name, {
          source,
          diagnostics,
          start: property.nameStart,
          end: property.nameEnd,
        }),
        value: jsonExpression(property.value, source, diagnostics),
      }));
      // In parentheses: an object of JSON is never the literal that driver configurations treat specially.
      return { kind: "parens", inner: { kind: "object", items, start, end }, start, end };
    }
  }
}

interface TemplateContext {
  readonly source: SourceFile;
  readonly diagnostics: Diagnostics;
  readonly start: number;
  readonly end: number;
}

function template(text: string, { source, diagnostics, start, end }: TemplateContext): Expression {
  if (!/[$%]\{/.test(text)) return { kind: "literal", value: normalizeText(text), start, end };
  const inner = new SourceFile(source.name, text, { file: source, offset: start + 1 });
  const expression = parseTemplateText(inner, diagnostics);
  if (!expression) return { kind: "broken", start, end };
  return { kind: "sourced", source: inner, inner: expression, start, end };
}
