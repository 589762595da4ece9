// Templates: quoted strings, heredocs and bare templates, with their interpolations, directives, escapes, whitespace
// trimming (`~`) and the dedent of `<<-`. Evaluation is elsewhere.
// Invariants: literal tokens keep their own trimming, so a `~` only ever touches the one next to it; the dedent of a
// heredoc is computed on the literals after trimming (that is why a `%{~` at a line's start stops it).
import { graphemes } from "./diagnostics.ts";
import { T, type TokenType } from "./lexer.ts";
import { parseExpression } from "./parse_expression.ts";
import type { Expression } from "./syntax.ts";
import { SyntaxFailure, type TokenReader } from "./token_reader.ts";
import { normalizeText } from "./value.ts";

interface LiteralPart {
  readonly kind: "literal";
  text: string;
  readonly start: number;
  readonly end: number;
}

type Part =
  | LiteralPart
  | {
    readonly kind: "interpolation";
    readonly inner: Expression;
    readonly start: number;
    readonly end: number;
  }
  | {
    readonly kind: "if" | "else" | "endif" | "for" | "endfor";
    readonly start: number;
    readonly end: number;
    readonly condition?: Expression;
    readonly names?: readonly [string | undefined, string];
  };

/** At an opening quote. */
export function parseQuoted(reader: TokenReader): Expression {
  const open = reader.next();
  const start = reader.tokens.start(open);
  if (reader.rawStrings) return { kind: "literal", ...readRaw(reader, open) };
  const parts = reader.nested(true, () => readParts(reader, T.CloseQuote));
  const close = reader.next();
  return build(reader, parts, { start, end: reader.tokens.end(close), endToken: close });
}

/** At a `<<NAME`. */
export function parseHeredoc(reader: TokenReader): Expression {
  const open = reader.next();
  const start = reader.tokens.start(open);
  const flush = reader.tokens.text[start + 2] === "-";
  if (reader.rawStrings) {
    const { value, end } = readRaw(reader, open);
    const lines: LiteralPart[] = value.split(/(?<=\n)/).map((text) => ({
      kind: "literal",
      text,
      start,
      end,
    }));
    if (flush) dedent(lines);
    return { kind: "literal", value: lines.map((line) => line.text).join(""), start, end };
  }
  const parts = reader.nested(true, () => readParts(reader, T.CloseHeredoc));
  if (flush) dedent(parts);
  const close = reader.next();
  return build(reader, parts, { start, end: reader.tokens.end(close), endToken: close });
}

/** A whole source that is one template (a string of HCL's JSON syntax). */
export function parseBareTemplate(reader: TokenReader): Expression {
  const parts = reader.nested(true, () => readParts(reader, T.EndOfFile));
  return build(reader, parts, { start: 0, end: reader.source.text.length, endToken: reader.at() });
}

/** A quoted string without sequences, such as a block label. At the opening quote. */
export function parsePlainString(reader: TokenReader): { text: string; start: number; end: number } {
  const open = reader.next();
  const start = reader.tokens.start(open);
  if (reader.rawStrings) {
    const { value, end } = readRaw(reader, open);
    return { text: value, start, end };
  }
  let text = "";
  for (;;) {
    const type = reader.peek();
    const token = reader.next();
    if (type === T.CloseQuote) return { text: normalizeText(text), start, end: reader.tokens.end(token) };
    if (type === T.QuotedText) text += unescape(reader, token, true);
    else if (type === T.OpenInterpolation || type === T.OpenDirective) {
      const symbol = type === T.OpenInterpolation ? "$" : "%";
      reader.fail(
        "Invalid string literal",
        `Template sequences are not allowed in this string. To include a literal "${symbol}", double it (as "${symbol}${symbol}") to escape it.`,
        token,
      );
    } else reader.fail("Invalid string literal", "The string is not closed.", token, 'a closing quote (")');
  }
}

/** The text from an opening quote or heredoc mark to where it closes: what looks like a template there is just text. */
function readRaw(reader: TokenReader, open: number): { value: string; start: number; end: number } {
  const { tokens } = reader;
  const quoted = tokens.type(open) === T.OpenQuote;
  let depth = 1;
  for (let index = open + 1; index < tokens.count; index++) {
    const type = tokens.type(index);
    if (type === T.OpenQuote || type === T.OpenHeredoc) depth++;
    else if (type === T.CloseQuote || type === T.CloseHeredoc) depth--;
    if (depth > 0) continue;
    const from = tokens.end(open);
    const raw = tokens.text.slice(from, tokens.start(index));
    reader.index = index + 1;
    const value = quoted
      ? raw.replace(BACKSLASH, (match, offset: number) => unescapeBackslash(reader, match, from + offset))
      : raw;
    return { value: normalizeText(value), start: tokens.start(open), end: tokens.end(index) };
  }
  return reader.fail("Unterminated string", "No closing marker was found for the string.", open);
}

function readParts(reader: TokenReader, closing: TokenType): Part[] {
  const parts: Part[] = [];
  const { tokens } = reader;
  let trimNext = false;
  for (;;) {
    const type = reader.peek();
    if (type === closing) return parts;
    const token = reader.at();
    const start = tokens.start(token);
    const trim = trimNext;
    trimNext = false;
    if (type === T.QuotedText || type === T.HeredocText) {
      reader.next();
      const text = unescape(reader, token, type === T.QuotedText);
      parts.push({ kind: "literal", text: trim ? trimLeft(text) : text, start, end: tokens.end(token) });
    } else if (type === T.OpenInterpolation || type === T.OpenDirective) {
      reader.next();
      const previous = parts.at(-1);
      if (tokens.text.charCodeAt(tokens.end(token) - 1) === 0x7e && previous?.kind === "literal") {
        previous.text = trimRight(previous.text);
      }
      const part = reader.nested(
        false,
        () => type === T.OpenInterpolation ? readInterpolation(reader, start) : readDirective(reader, token),
      );
      parts.push(part);
      trimNext = tokens.text[tokens.start(reader.index - 1)] === "~";
    } else {
      reader.fail("Unterminated template string", "No closing marker was found for the string.", token);
    }
  }
}

const SPACE_LEFT = /^[\s\u0085]+/;
const SPACE_RIGHT = /[\s\u0085]+$/;

function trimLeft(text: string): string {
  return text.replace(SPACE_LEFT, "");
}

function trimRight(text: string): string {
  return text.replace(SPACE_RIGHT, "");
}

function readInterpolation(reader: TokenReader, start: number): Part {
  const inner = parseExpression(reader);
  closeSequence(reader, start, "interpolation");
  return { kind: "interpolation", inner, start, end: reader.lastEnd() };
}

function closeSequence(reader: TokenReader, start: number, what: string): void {
  const type = reader.peek();
  if (type === T.CloseSequence) {
    reader.next();
    return;
  }
  if (type === T.EndOfFile) {
    reader.failRange(
      `Unclosed template ${what} sequence`,
      `There is no closing brace for this ${what} sequence before the end of the file.`,
      start,
      start + 2,
    );
  }
  if (reader.inUnclosedString()) throw new SyntaxFailure();
  reader.fail(
    `Extra characters after ${what} expression`,
    `Expected a closing brace to end the ${what} expression, but found extra characters. To write a literal \${ or %{ for another language, double its first character: $\${ or %%{.`,
    reader.at(),
    '"}"',
  );
}

function readDirective(reader: TokenReader, open: number): Part {
  const { tokens } = reader;
  const start = tokens.start(open);
  if (reader.peek() !== T.Ident) {
    reader.fail(
      "Invalid template directive",
      'A template directive keyword ("if", "for", etc) is expected at the beginning of a %{ sequence.',
    );
  }
  const word = tokens.textOf(reader.next());
  switch (word) {
    case "if": {
      const condition = parseExpression(reader);
      closeSequence(reader, start, "directive");
      return { kind: "if", condition, start, end: reader.lastEnd() };
    }
    case "for": {
      const names = readForNames(reader);
      const condition = parseExpression(reader);
      closeSequence(reader, start, "directive");
      return { kind: "for", condition, names, start, end: reader.lastEnd() };
    }
    case "else":
    case "endif":
    case "endfor":
      closeSequence(reader, start, "directive");
      return { kind: word, start, end: reader.lastEnd() };
    default:
      return reader.fail(
        "Invalid template control keyword",
        `"${word}" is not a valid template control keyword.`,
        reader.index - 1,
        "if, else, endif, for or endfor",
      );
  }
}

function readForNames(reader: TokenReader): [string | undefined, string] {
  const problem = (detail: string): never => reader.fail("Invalid 'for' directive", detail);
  if (reader.peek() !== T.Ident) problem("For directive requires variable name after 'for'.");
  let value = reader.tokens.textOf(reader.next());
  let key: string | undefined;
  if (reader.accept(T.Comma)) {
    if (reader.peek() !== T.Ident) problem("For directive requires value variable name after comma.");
    key = value;
    value = reader.tokens.textOf(reader.next());
  }
  if (!reader.peekWord("in")) problem("For directive requires 'in' keyword after names.");
  reader.next();
  return [key === undefined ? undefined : normalizeText(key), normalizeText(value)];
}

/** Removes from every line of a `<<-` heredoc the spaces that all its lines begin with. */
function dedent(parts: readonly Part[]): void {
  let least = Infinity;
  let lineStart = true;
  const starts: LiteralPart[] = [];
  for (const part of parts) {
    if (lineStart) {
      lineStart = false;
      let spaces = 0;
      if (part.kind === "literal") {
        const rest = trimLeft(part.text);
        if (rest === "" && part.text.endsWith("\n")) spaces = Infinity;
        else {
          spaces = graphemes(part.text.slice(0, part.text.length - rest.length)).length;
          starts.push(part);
        }
      }
      least = Math.min(least, spaces);
    }
    if (part.kind === "literal" && part.text.endsWith("\n")) lineStart = true;
  }
  if (least === 0 || least === Infinity) return;
  for (const literal of starts) {
    const lead = literal.text.slice(0, literal.text.length - trimLeft(literal.text).length);
    const cut = graphemes(lead).slice(0, least).join("").length;
    literal.text = literal.text.slice(cut);
  }
}

interface Frame {
  readonly start: number;
  readonly end: number;
  readonly endToken: number;
}

function build(reader: TokenReader, parts: readonly Part[], frame: Frame): Expression {
  const only = parts[0];
  if (parts.length === 1 && only!.kind === "interpolation") {
    return { kind: "wrap", inner: only!.inner, start: frame.start, end: frame.end };
  }
  if (parts.every((part) => part.kind === "literal")) {
    const text = parts.map((part) => part.text).join("");
    const textStart = parts[0]?.start ?? Math.min(frame.start + 1, frame.end);
    return { kind: "literal", value: normalizeText(text), textStart, start: frame.start, end: frame.end };
  }
  const builder = new TemplateBuilder(reader, parts, frame.endToken);
  const built = builder.sequence([]);
  return { kind: "template", parts: built, start: frame.start, end: frame.end };
}

/** Turns the flat parts into nested conditionals and loops. */
class TemplateBuilder {
  #index = 0;

  constructor(readonly reader: TokenReader, readonly parts: readonly Part[], readonly endToken: number) {}

  /** Expressions up to one of the `ends` (left for the caller), or to the end if there are none. */
  sequence(ends: readonly Part["kind"][], opener?: Part): Expression[] {
    const out: Expression[] = [];
    for (;;) {
      const part = this.parts[this.#index];
      if (!part) {
        if (!opener) return out;
        const place = this.reader.source.range(opener.start, opener.end).start;
        return this.reader.fail(
          "Unexpected end of template",
          `The ${opener.kind} directive at ${this.reader.source.name}:${place.line},${place.column} is missing its corresponding end${opener.kind} directive.`,
          this.endToken,
        );
      }
      if (ends.includes(part.kind)) return out;
      out.push(this.#one(part));
    }
  }

  #one(part: Part): Expression {
    this.#index++;
    switch (part.kind) {
      case "literal":
        return { kind: "literal", value: part.text, start: part.start, end: part.end };
      case "interpolation":
        return part.inner;
      case "if":
        return this.#if(part);
      case "for":
        return this.#for(part);
      default:
        return this.reader.failRange(
          `Unexpected ${part.kind} directive`,
          "The control directives within this template are unbalanced.",
          part.start,
          part.end,
        );
    }
  }

  #body(parts: Expression[], start: number, end: number): Expression {
    return { kind: "template", parts, start, end };
  }

  #if(part: Part & { readonly kind: "if" | "else" | "endif" | "for" | "endfor" }): Expression {
    this.reader.enter();
    const whenTrue = this.sequence(["else", "endif"], part);
    let whenFalse: Expression[] = [];
    let last = this.parts[this.#index++]!;
    if (last.kind === "else") {
      whenFalse = this.sequence(["else", "endif"], part);
      last = this.parts[this.#index++]!;
      if (last.kind === "else") {
        const place = this.reader.source.range(part.start, part.end).start;
        this.reader.failRange(
          "Unexpected else directive",
          `Already in the else clause for the if started at ${this.reader.source.name}:${place.line},${place.column}.`,
          last.start,
          last.end,
        );
      }
    }
    this.reader.leave();
    return {
      kind: "conditional",
      condition: part.condition!,
      whenTrue: this.#body(whenTrue, part.end, last.start),
      whenFalse: this.#body(whenFalse, part.end, last.start),
      start: part.start,
      end: last.end,
    };
  }

  #for(part: Part & { readonly kind: "if" | "else" | "endif" | "for" | "endfor" }): Expression {
    this.reader.enter();
    const body = this.sequence(["endfor"], part);
    const last = this.parts[this.#index++]!;
    this.reader.leave();
    const [keyName, valueName] = part.names!;
    const inner: Expression = {
      kind: "for",
      keyName,
      valueName,
      collection: part.condition!,
      key: undefined,
      value: this.#body(body, part.end, last.start),
      condition: undefined,
      group: false,
      start: part.start,
      end: last.end,
    };
    return { kind: "join", inner, start: part.start, end: last.end };
  }
}

const TEXT_ESCAPES = /\$\$\{|%%\{|\\(?:u[0-9a-fA-F]{0,4}|U[0-9a-fA-F]{0,8}|[\s\S]|$)/gu;
const BACKSLASH = /\\(?:u[0-9a-fA-F]{0,4}|U[0-9a-fA-F]{0,8}|[\s\S]|$)/gu;

/** Beyond this length, texts are tried as JSON first, whose reader is much faster. */
const LONG_TEXT = 10_000;

/** Only escapes that JSON has too, with the same meaning. */
function isJsonText(raw: string): boolean {
  // deno-lint-ignore no-control-regex
  return !/[\x00-\x1f]|\$\$\{|%%\{|\\[^nrt"\\u]|\\u(?![0-9a-fA-F]{4})|\\u[dD][89a-fA-F]/.test(
    raw.replaceAll("\\\\", ""),
  );
}

/** The text of a literal token with its escapes resolved. */
function unescape(reader: TokenReader, token: number, quoted: boolean): string {
  const raw = reader.tokens.textOf(token);
  if (!/[\\$%]/.test(raw)) return raw;
  if (quoted && raw.length > LONG_TEXT && isJsonText(raw)) return JSON.parse(`"${raw}"`) as string;
  const pattern = quoted ? TEXT_ESCAPES : /\$\$\{|%%\{/g;
  return raw.replace(pattern, (match, offset: number) => {
    if (match[0] !== "\\") return match.slice(1);
    const start = reader.tokens.start(token) + offset;
    return unescapeBackslash(reader, match, start);
  });
}

const SIMPLE_ESCAPES: Record<string, string> = { n: "\n", r: "\r", t: "\t", '"': '"', "\\": "\\" };

function unescapeBackslash(reader: TokenReader, sequence: string, start: number): string {
  const problem = (detail: string): never =>
    reader.failRange(
      "Invalid escape sequence",
      detail,
      start,
      start + sequence.length,
      '\\n, \\r, \\t, \\", \\\\, \\uXXXX or \\UXXXXXXXX',
    );
  const selector = sequence[1];
  if (selector === undefined) {
    return problem("Backslash must be followed by an escape sequence selector character.");
  }
  const simple = SIMPLE_ESCAPES[selector];
  if (simple !== undefined) return simple;
  if (selector === "u" || selector === "U") {
    const digits = selector === "u" ? 4 : 8;
    if (sequence.length !== digits + 2) {
      const count = digits === 4 ? "four" : "eight";
      return problem(`The \\${selector} escape sequence must be followed by ${count} hexadecimal digits.`);
    }
    const code = parseInt(sequence.slice(2), 16);
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      return problem(`Cannot encode character U+${sequence.slice(2)} in UTF-8.`);
    }
    return String.fromCodePoint(code);
  }
  return problem(`The symbol "${sequence.slice(1)}" is not a valid escape sequence selector.`);
}
