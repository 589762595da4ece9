// Bodies: attributes and blocks of HCL's native syntax, with recovery, so that one run reports the syntax errors of
// the whole file. The HCL1-like files (agent configuration, policies) use the same parser with `loose` on.
// Invariants: never throws for wrong input; a broken item is left out of the tree and reported exactly once; when
// brackets do not balance to the end of the file the rest is not guessed at.
import { Diagnostics, placeText, SourceFile } from "./diagnostics.ts";
import { lex, T, type Tokens, TOKENS_MAX } from "./lexer.ts";
import { parseExpression } from "./parse_expression.ts";
import { parseBareTemplate, parsePlainString } from "./parse_template.ts";
import type { Attribute, Block, Body, Expression, Label } from "./syntax.ts";
import { reportInvalidTokens, SyntaxFailure, TokenReader } from "./token_reader.ts";
import { normalizeText } from "./value.ts";

export interface ParseOptions {
  /** HCL1 rules: quoted names, several items on a line, commas between items, `key "label" = value`; strings are no templates. */
  readonly loose?: boolean;
}

/** Parses a file. Problems go to `diagnostics`; what could be read is returned. */
export function parseBody(source: SourceFile, diagnostics: Diagnostics, options: ParseOptions = {}): Body {
  const tokens = lex(source.text);
  const empty: Body = { attributes: [], blocks: [], source, start: 0, missingAt: 0 };
  if (!usable(source, tokens, diagnostics)) return empty;
  const loose = options.loose ?? false;
  return new BodyParser(new TokenReader(source, tokens, diagnostics, loose), loose).file();
}

/** Reports what is no token; false when there are too many of them. */
function usable(source: SourceFile, tokens: Tokens, diagnostics: Diagnostics): boolean {
  if (tokens.count > TOKENS_MAX) {
    diagnostics.error(
      { source, start: 0, end: 0 },
      "File too large",
      `The file has more than ${TOKENS_MAX} tokens (words, signs, lines of text).`,
    );
    return false;
  }
  reportInvalidTokens(source, tokens, diagnostics);
  return true;
}

/** Parses a text that is one expression, such as a value of -var. Undefined after a reported error. */
export function parseExpressionText(source: SourceFile, diagnostics: Diagnostics): Expression | undefined {
  const tokens = lex(source.text);
  if (!usable(source, tokens, diagnostics)) return undefined;
  const reader = new TokenReader(source, tokens, diagnostics);
  try {
    return reader.nested(false, () => {
      const expression = parseExpression(reader);
      if (reader.peek() !== T.EndOfFile) {
        reader.fail(
          "Extra characters after expression",
          "An expression was successfully parsed, but extra characters were found after it.",
        );
      }
      return expression;
    });
  } catch (error) {
    if (error instanceof SyntaxFailure) return undefined;
    throw error;
  }
}

/** Parses a text that is one template without quotes around it. Undefined after a reported error. */
export function parseTemplateText(source: SourceFile, diagnostics: Diagnostics): Expression | undefined {
  const tokens = lex(source.text, "template");
  if (!usable(source, tokens, diagnostics)) return undefined;
  const reader = new TokenReader(source, tokens, diagnostics);
  try {
    return parseBareTemplate(reader);
  } catch (error) {
    if (error instanceof SyntaxFailure) return undefined;
    throw error;
  }
}

const ITEM_REQUIRED = "An argument or block definition is required here.";

/** Thrown when the rest of the file cannot be read because its brackets do not balance. */
class Unbalanced extends Error {}

const CLOSERS: ReadonlyMap<number, number> = new Map<number, number>([
  [T.OpenBrace, T.CloseBrace],
  [T.OpenBracket, T.CloseBracket],
  [T.OpenParen, T.CloseParen],
  [T.OpenInterpolation, T.CloseSequence],
  [T.OpenDirective, T.CloseSequence],
  [T.OpenQuote, T.CloseQuote],
  [T.OpenHeredoc, T.CloseHeredoc],
]);
const ALL_CLOSERS: ReadonlySet<number> = new Set(CLOSERS.values());
/** What an unclosed quoted string leaves open: quotes and the sequences inside them. */
const QUOTE_CLOSERS: ReadonlySet<number> = new Set([T.CloseQuote, T.CloseSequence]);

class BodyParser {
  constructor(readonly reader: TokenReader, readonly loose: boolean) {}

  file(): Body {
    const attributes: Attribute[] = [];
    const blocks: Block[] = [];
    try {
      this.#items(attributes, blocks, T.EndOfFile);
    } catch (error) {
      if (!(error instanceof Unbalanced)) throw error;
    }
    return { attributes, blocks, source: this.reader.source, start: 0, missingAt: 0 };
  }

  #items(attributes: Attribute[], blocks: Block[], closing: typeof T.EndOfFile | typeof T.CloseBrace): void {
    const { reader } = this;
    const seen = new Map<string, Attribute>();
    for (;;) {
      const type = reader.peek();
      if (type === closing || type === T.EndOfFile) return;
      if (type === T.Newline || (this.loose && type === T.Comma)) {
        reader.next();
        continue;
      }
      const mark = reader.mark();
      reader.itemStart = reader.index;
      const first = reader.index;
      try {
        const item = this.#item();
        if ("expression" in item) this.#addAttribute(item, attributes, seen);
        else blocks.push(item);
      } catch (error) {
        if (!(error instanceof SyntaxFailure)) throw error;
        reader.restore(mark);
        this.#recover(first);
      }
    }
  }

  #addAttribute(attribute: Attribute, attributes: Attribute[], seen: Map<string, Attribute>): void {
    const earlier = seen.get(attribute.name);
    if (earlier && !this.loose) {
      const { source } = this.reader;
      const where = placeText({ source, start: earlier.nameStart, end: earlier.nameEnd });
      this.reader.diagnostics.error(
        { source, start: attribute.nameStart, end: attribute.nameEnd },
        "Attribute redefined",
        `The argument "${attribute.name}" was already set at ${where}. Each argument may be set only once.`,
      );
      return;
    }
    seen.set(attribute.name, attribute);
    attributes.push(attribute);
  }

  /** Skips what is left of a broken item: to the line end (or closing brace) that its brackets balance at. */
  #recover(first: number): void {
    const { reader } = this;
    const { tokens } = reader;
    const open: number[] = [];
    for (let i = first; i < tokens.count; i++) {
      const type = tokens.type(i);
      const closer = CLOSERS.get(type);
      if (closer !== undefined) open.push(closer);
      else if (ALL_CLOSERS.has(type)) {
        // A closing brace without an opener ends the enclosing block, unless it is itself the broken item.
        if (open.length === 0 && i > first) {
          if (type !== T.CloseBrace) throw new Unbalanced();
          reader.index = i;
          return;
        }
        if (open.length > 0 && open.pop() !== type) throw new Unbalanced();
      } else if (type === T.QuotedNewline) {
        // Quotes that an unclosed string left open mean nothing.
        while (open.length > 0 && QUOTE_CLOSERS.has(open[open.length - 1]!)) open.pop();
        if (open.length === 0) {
          reader.index = i + 1;
          return;
        }
      } else if (open.length === 0 && i >= reader.index && this.#endsLine(i)) {
        reader.index = i;
        return;
      }
    }
    throw new Unbalanced();
  }

  #endsLine(index: number): boolean {
    const { tokens } = this.reader;
    const type = tokens.type(index);
    return type === T.Newline ||
      (type === T.Comment && tokens.text.charCodeAt(tokens.end(index) - 1) === 0x0a);
  }

  #item(): Attribute | Block {
    const { reader } = this;
    const { tokens } = reader;
    const type = reader.peek();
    if (type === T.OpenQuote && this.loose) {
      const name = parsePlainString(reader);
      return this.#afterName(name.text, name.start, name.end);
    }
    if (type === T.OpenQuote) reader.fail("Invalid argument name", "Argument names must not be quoted.");
    if (type !== T.Ident) {
      reader.fail("Argument or block definition required", ITEM_REQUIRED, reader.at(), "a name");
    }
    const token = reader.next();
    return this.#afterName(normalizeText(tokens.textOf(token)), tokens.start(token), tokens.end(token));
  }

  #afterName(name: string, nameStart: number, nameEnd: number): Attribute | Block {
    const { reader } = this;
    switch (reader.peek()) {
      case T.Equal:
        return this.#attribute(name, nameStart, nameEnd, false);
      case T.Colon:
        if (this.loose) return this.#attribute(name, nameStart, nameEnd, false);
        break;
      case T.OpenQuote:
      case T.OpenBrace:
      case T.Ident:
        return this.#block(name, nameStart, nameEnd);
    }
    return reader.failRange(
      "Argument or block definition required",
      `${ITEM_REQUIRED} To set an argument, use the equals sign "=" to introduce the argument value.`,
      nameStart,
      nameEnd,
      `"${name} = …" or "${name} { … }"`,
    );
  }

  /** At the `=`. */
  #attribute(name: string, nameStart: number, nameEnd: number, singleLine: boolean): Attribute {
    const { reader } = this;
    reader.next();
    const expression = parseExpression(reader);
    const end = reader.lastEnd();
    const type = reader.peek();
    const ended = type === T.Newline || type === T.EndOfFile || singleLine ||
      (this.loose && (type === T.Comma || type === T.CloseBrace || type === T.Ident || type === T.OpenQuote));
    if (!ended) {
      reader.fail(
        "Missing newline after argument",
        "An argument definition must end with a newline.",
        reader.at(),
        "a line end",
      );
    }
    return { name, nameStart, nameEnd, expression, source: reader.source, end };
  }

  #labels(): Label[] {
    const { reader } = this;
    const labels: Label[] = [];
    for (;;) {
      const type = reader.peek();
      if (type === T.OpenQuote) labels.push(parsePlainString(reader));
      else if (type === T.Ident) {
        const token = reader.next();
        const { tokens } = reader;
        labels.push({
          text: normalizeText(tokens.textOf(token)),
          start: tokens.start(token),
          end: tokens.end(token),
        });
      } else if (type === T.OpenBrace) return labels;
      else if (type === T.Equal) {
        reader.fail(
          "Invalid block definition",
          'The equals sign "=" indicates an argument definition, and must not be used when defining a block.',
        );
      } else if (type === T.Newline) {
        reader.fail(
          "Invalid block definition",
          'A block definition must have block content delimited by "{" and "}", starting on the same line as the block header.',
        );
      } else {
        reader.fail(
          "Invalid block definition",
          'Either a quoted string block label or an opening brace ("{") is expected here.',
          reader.at(),
          'a label or "{"',
        );
      }
    }
  }

  #block(type: string, typeStart: number, typeEnd: number): Block {
    const { reader } = this;
    const labels = this.#labels();
    reader.enter();
    const open = reader.next();
    const openStart = reader.tokens.start(open);
    const attributes: Attribute[] = [];
    const blocks: Block[] = [];
    const next = reader.peek();
    if (this.loose || next === T.Newline) {
      this.#items(attributes, blocks, T.CloseBrace);
      if (reader.peek() === T.EndOfFile) this.#unclosed(open);
    } else if (next === T.EndOfFile) this.#unclosed(open);
    else if (next !== T.CloseBrace) attributes.push(this.#singleLine());
    const close = reader.next();
    reader.leave();
    const after = reader.peek();
    if (after !== T.Newline && after !== T.EndOfFile && !this.loose) {
      reader.fail(
        "Missing newline after block definition",
        "A block definition must end with a newline.",
        reader.at(),
        "a line end",
      );
    }
    const { source } = reader;
    const missingAt = reader.tokens.end(open);
    const body: Body = { attributes, blocks, source, start: openStart, missingAt };
    return { type, typeStart, typeEnd, labels, open: openStart, end: reader.tokens.end(close), body, source };
  }

  #unclosed(open: number): never {
    const { source, tokens, diagnostics } = this.reader;
    // After something wrong inside, this is most likely its consequence.
    if (diagnostics.list.some(({ range }) => range && range.start.offset > tokens.start(open))) {
      throw new Unbalanced();
    }
    diagnostics.error(
      { source, start: tokens.start(open), end: tokens.end(open) },
      "Unclosed configuration block",
      "There is no closing brace for this block before the end of the file. This may be caused by incorrect brace nesting elsewhere in this file.",
      { expected: '"}"' },
    );
    throw new Unbalanced();
  }

  /** The one argument of `block { name = value }`. */
  #singleLine(): Attribute {
    const { reader } = this;
    const { tokens } = reader;
    if (reader.peek() !== T.Ident) {
      if (reader.peek() === T.OpenQuote) {
        reader.fail("Invalid argument name", "Argument names must not be quoted.");
      }
      reader.fail("Argument or block definition required", ITEM_REQUIRED);
    }
    const token = reader.next();
    const name = tokens.textOf(token);
    if (reader.peek() !== T.Equal) {
      reader.fail(
        "Argument definition required",
        `A single-line block definition can contain only a single argument. If you meant to define argument "${name}", use an equals sign to assign it a value. To define a nested block, place it on a line of its own within its parent block.`,
        token,
      );
    }
    const attribute = this.#attribute(normalizeText(name), tokens.start(token), tokens.end(token), true);
    if (reader.peek() !== T.CloseBrace) {
      reader.fail(
        "Invalid single-argument block definition",
        "An argument definition on the same line as its containing block creates a single-line block definition, which must also be closed on the same line. Place the block's closing brace immediately after the argument definition.",
        reader.at(),
        '"}"',
      );
    }
    return attribute;
  }
}
