// Expressions: operators, literals, traversals, calls, constructors, `for`, splats. Templates are in
// parse_template.ts, bodies in parser.ts. Reports what is wrong through the reader and gives the item up.
// Invariant: recursion is bounded by the reader's nesting limit; chains of operators and steps are loops.
import { T, type TokenType } from "./lexer.ts";
import { HclNumber, NumberError } from "./number.ts";
import { parseHeredoc, parseQuoted } from "./parse_template.ts";
import type { BinaryOperator, Expression, ObjectItem, Step } from "./syntax.ts";
import type { TokenReader } from "./token_reader.ts";
import { normalizeText, NULL } from "./value.ts";

const BINARY: Partial<Record<TokenType, readonly [BinaryOperator, number]>> = {
  [T.Or]: ["||", 1],
  [T.And]: ["&&", 2],
  [T.EqualEqual]: ["==", 3],
  [T.NotEqual]: ["!=", 3],
  [T.Greater]: [">", 4],
  [T.GreaterEqual]: [">=", 4],
  [T.Less]: ["<", 4],
  [T.LessEqual]: ["<=", 4],
  [T.Plus]: ["+", 5],
  [T.Minus]: ["-", 5],
  [T.Star]: ["*", 6],
  [T.Slash]: ["/", 6],
  [T.Percent]: ["%", 6],
};

const EXPRESSION_EXPECTED =
  "a value: a string, number, true, false, null, list, object, reference or function call";

export function parseExpression(reader: TokenReader): Expression {
  reader.enter();
  const condition = parseBinary(reader, 1);
  let result = condition;
  if (reader.accept(T.Question)) {
    const whenTrue = parseExpression(reader);
    if (!reader.accept(T.Colon)) {
      reader.fail(
        "Missing false expression in conditional",
        "The conditional operator (...?...:...) requires a false expression, delimited by a colon.",
        reader.at(),
        'a colon (":")',
      );
    }
    const whenFalse = parseExpression(reader);
    result = {
      kind: "conditional",
      condition,
      whenTrue,
      whenFalse,
      start: condition.start,
      end: whenFalse.end,
    };
  }
  reader.leave();
  return result;
}

/** Precedence climbing; equal precedence associates to the left. */
function parseBinary(reader: TokenReader, least: number): Expression {
  let left = parseOperand(reader);
  for (;;) {
    const operator = BINARY[reader.peek()];
    if (!operator || operator[1] < least) return left;
    reader.next();
    const right = parseBinary(reader, operator[1] + 1);
    left = { kind: "binary", operator: operator[0], left, right, start: left.start, end: right.end };
  }
}

function parseOperand(reader: TokenReader): Expression {
  const type = reader.peek();
  if (type === T.Minus || type === T.Bang) {
    const start = reader.tokens.start(reader.next());
    reader.enter();
    const operand = parseOperand(reader);
    reader.leave();
    return { kind: "unary", operator: type === T.Minus ? "-" : "!", operand, start, end: operand.end };
  }
  return parseSteps(reader, parseTerm(reader));
}

function parseTerm(reader: TokenReader): Expression {
  switch (reader.peek()) {
    case T.Ident:
      return parseName(reader);
    case T.Number:
      return parseNumber(reader);
    case T.OpenQuote:
      return parseQuoted(reader);
    case T.OpenHeredoc:
      return parseHeredoc(reader);
    case T.OpenParen:
      return parseParens(reader);
    case T.OpenBracket:
      return parseTuple(reader);
    case T.OpenBrace:
      return parseObject(reader);
    default:
      return reader.fail(
        "Invalid expression",
        "Expected the start of an expression, but found an invalid expression token.",
        reader.at(),
        EXPRESSION_EXPECTED,
      );
  }
}

function parseNumber(reader: TokenReader): Expression {
  const token = reader.next();
  const start = reader.tokens.start(token);
  const end = reader.tokens.end(token);
  const text = reader.tokens.textOf(token);
  try {
    const value = HclNumber.parse(text);
    if (value) return { kind: "literal", value, start, end };
  } catch (error) {
    if (!(error instanceof NumberError)) throw error;
    return reader.fail(
      "Invalid number literal",
      `Cannot use ${text.slice(0, 40)} as a number: ${error.message}.`,
      token,
    );
  }
  return reader.fail(
    "Invalid number literal",
    `Failed to recognize the value of the number literal ${text}.`,
    token,
  );
}

function parseName(reader: TokenReader): Expression {
  const token = reader.next();
  const { tokens } = reader;
  const start = tokens.start(token);
  let name = tokens.textOf(token);
  while (reader.peek() === T.DoubleColon) {
    reader.next();
    if (reader.peek() !== T.Ident) {
      reader.fail("Missing function name", "A function name is required after the :: separator.");
    }
    name += `::${tokens.textOf(reader.next())}`;
    if (reader.peek() !== T.DoubleColon && reader.peek() !== T.OpenParen) {
      reader.fail("Missing open parenthesis", "Function names with :: must be called, with parentheses.");
    }
  }
  const end = reader.lastEnd();
  if (reader.peek() === T.OpenParen) return parseCall(reader, normalizeText(name), start, end);
  if (name === "true" || name === "false") return { kind: "literal", value: name === "true", start, end };
  if (name === "null") return { kind: "literal", value: NULL, start, end };
  return { kind: "traversal", root: normalizeText(name), rootEnd: end, steps: [], start, end };
}

function parseCall(reader: TokenReader, name: string, start: number, nameEnd: number): Expression {
  return reader.nested(false, () => {
    const open = reader.next();
    const args: Expression[] = [];
    let expand = false;
    while (reader.peek() !== T.CloseParen) {
      args.push(parseExpression(reader));
      const type = reader.peek();
      if (type === T.Comma) {
        reader.next();
      } else if (type === T.Ellipsis) {
        const ellipsis = reader.next();
        expand = true;
        if (reader.peek() !== T.CloseParen) {
          reader.fail(
            "Missing closing parenthesis",
            "An expanded function argument (with ...) must be immediately followed by closing parentheses.",
            ellipsis,
          );
        }
      } else if (type === T.EndOfFile) {
        reader.fail(
          "Unterminated function call",
          "There is no closing parenthesis for this function call.",
          open,
        );
      } else if (type !== T.CloseParen) {
        reader.fail(
          "Missing argument separator",
          "A comma is required to separate each function argument from the next.",
          reader.at(),
          'a comma or ")"',
        );
      }
    }
    const close = reader.next();
    return {
      kind: "call",
      name,
      nameEnd,
      args,
      expand,
      closeParen: reader.tokens.start(close),
      start,
      end: reader.tokens.end(close),
    };
  });
}

function parseParens(reader: TokenReader): Expression {
  return reader.nested(false, () => {
    const open = reader.next();
    const inner = parseExpression(reader);
    if (reader.peek() !== T.CloseParen) {
      reader.fail(
        "Unbalanced parentheses",
        "Expected a closing parenthesis to terminate the expression.",
        reader.at(),
        'an operator or ")"',
      );
    }
    const close = reader.next();
    return { kind: "parens", inner, start: reader.tokens.start(open), end: reader.tokens.end(close) };
  });
}

function parseTuple(reader: TokenReader): Expression {
  return reader.nested(false, () => {
    const open = reader.next();
    if (reader.peekWord("for")) return parseFor(reader, open, T.CloseBracket);
    const items: Expression[] = [];
    while (reader.peek() !== T.CloseBracket) {
      if (reader.peek() === T.EndOfFile) unterminated(reader, "tuple", "bracket", open);
      items.push(parseExpression(reader));
      const type = reader.peek();
      if (type === T.Comma) reader.next();
      else if (type === T.EndOfFile) unterminated(reader, "tuple", "bracket", open);
      else if (type !== T.CloseBracket) {
        reader.fail(
          "Missing item separator",
          "Expected a comma to mark the beginning of the next item.",
          reader.at(),
          'a comma or "]"',
        );
      }
    }
    const close = reader.next();
    return { kind: "tuple", items, start: reader.tokens.start(open), end: reader.tokens.end(close) };
  });
}

function unterminated(reader: TokenReader, what: string, bracket: string, open: number): never {
  reader.fail(
    `Unterminated ${what} constructor expression`,
    `There is no corresponding closing ${bracket} before the end of the file. This may be caused by incorrect ${bracket} nesting elsewhere in this file.`,
    open,
  );
}

function parseObject(reader: TokenReader): Expression {
  return reader.nested(true, () => {
    const open = reader.next();
    skipNewlines(reader);
    if (reader.peekWord("for")) {
      return reader.nested(false, () => parseFor(reader, open, T.CloseBrace));
    }
    const items: ObjectItem[] = [];
    for (;;) {
      skipNewlines(reader);
      if (reader.peek() === T.CloseBrace) break;
      if (reader.peek() === T.EndOfFile) unterminated(reader, "object", "brace", open);
      items.push(parseObjectItem(reader));
      const type = reader.peek();
      if (type === T.Comma || type === T.Newline) reader.next();
      else if (type === T.EndOfFile) unterminated(reader, "object", "brace", open);
      else if (type !== T.CloseBrace) {
        reader.fail(
          "Missing attribute separator",
          "Expected a newline or comma to mark the beginning of the next attribute.",
          reader.at(),
          'a comma, a line end or "}"',
        );
      }
    }
    const close = reader.next();
    return { kind: "object", items, start: reader.tokens.start(open), end: reader.tokens.end(close) };
  });
}

function skipNewlines(reader: TokenReader): void {
  while (reader.peek() === T.Newline) reader.next();
}

function parseObjectItem(reader: TokenReader): ObjectItem {
  const inner = parseExpression(reader);
  const bare = inner.kind === "traversal" && inner.steps.length === 0
    ? inner.root
    : inner.kind === "literal" && typeof inner.value !== "string" && !(inner.value instanceof HclNumber)
    ? reader.source.text.slice(inner.start, inner.end)
    : undefined;
  const key: Expression = { kind: "key", inner, name: bare, start: inner.start, end: inner.end };
  const type = reader.peek();
  if (type !== T.Equal && type !== T.Colon) {
    if (type === T.Newline || type === T.Comma || type === T.CloseBrace) {
      reader.fail(
        "Missing attribute value",
        'Expected an attribute value, introduced by an equals sign ("=").',
        reader.at(),
        '"=" and a value',
      );
    }
    reader.fail(
      "Missing key/value separator",
      'Expected an equals sign ("=") to mark the beginning of the attribute value.',
      reader.at(),
      '"=" or ":"',
    );
  }
  reader.next();
  return { key, value: parseExpression(reader) };
}

/** After the opening bracket, at the word `for`. */
function parseFor(reader: TokenReader, open: number, closing: TokenType): Expression {
  const problem = (detail: string): never => reader.fail("Invalid 'for' expression", detail);
  const { tokens } = reader;
  const object = closing === T.CloseBrace;
  reader.next();
  if (reader.peek() !== T.Ident) problem("For expression requires variable name after 'for'.");
  let valueName = tokens.textOf(reader.next());
  let keyName: string | undefined;
  if (reader.accept(T.Comma)) {
    if (reader.peek() !== T.Ident) problem("For expression requires value variable name after comma.");
    keyName = valueName;
    valueName = tokens.textOf(reader.next());
  }
  if (!reader.peekWord("in")) {
    problem("For expression requires the 'in' keyword after its name declarations.");
  }
  reader.next();
  const collection = parseExpression(reader);
  if (!reader.accept(T.Colon)) problem("For expression requires a colon after the collection expression.");
  let value = parseExpression(reader);
  let key: Expression | undefined;
  if (reader.peek() === T.FatArrow) {
    if (!object) problem("Key expression is not valid when building a tuple.");
    reader.next();
    key = value;
    value = parseExpression(reader);
  } else if (object) problem("Key expression is required when building an object.");
  let group = false;
  if (reader.peek() === T.Ellipsis) {
    if (!object) problem("Grouping ellipsis (...) cannot be used when building a tuple.");
    reader.next();
    group = true;
  }
  let condition: Expression | undefined;
  if (reader.peekWord("if")) {
    reader.next();
    condition = parseExpression(reader);
  }
  if (reader.peek() !== closing) problem("Extra characters after the end of the 'for' expression.");
  const close = reader.next();
  return {
    kind: "for",
    keyName: keyName === undefined ? undefined : normalizeText(keyName),
    valueName: normalizeText(valueName),
    collection,
    key,
    value,
    condition,
    group,
    start: tokens.start(open),
    end: tokens.end(close),
  };
}

/** `.name`, `[key]`, `.*` and `[*]` after a term. */
function parseSteps(reader: TokenReader, from: Expression): Expression {
  let result = from;
  for (;;) {
    const type = reader.peek();
    if (type === T.Dot) {
      const dot = reader.next();
      if (reader.peek() === T.Star) {
        const star = reader.next();
        result = parseAttributeSplat(reader, result, star);
      } else {
        result = withStep(result, parseDotStep(reader, reader.tokens.start(dot)));
      }
    } else if (type === T.OpenBracket) {
      const done = parseBracket(reader, result);
      if (done.splat) return done.result;
      result = done.result;
    } else return result;
  }
}

function withStep(from: Expression, step: Step): Expression {
  const end = step.end;
  if (from.kind === "traversal" || from.kind === "relative") {
    (from.steps as Step[]).push(step);
    return { ...from, end };
  }
  return { kind: "relative", from, steps: [step], start: from.start, end };
}

function parseDotStep(reader: TokenReader, start: number): Step {
  const type = reader.peek();
  if (type === T.Ident) {
    const token = reader.next();
    const name = normalizeText(reader.tokens.textOf(token));
    return { kind: "attribute", name, start, end: reader.tokens.end(token) };
  }
  if (type === T.Number) {
    const token = reader.next();
    const digits = reader.tokens.textOf(token);
    if (!/^\d{1,15}$/.test(digits)) {
      // `list.0.1` reads as the number 0.1.
      reader.fail(
        "Invalid legacy index syntax",
        "When using the legacy index syntax, chaining two indexes together is not permitted. Use the proper index syntax instead, like [0][1].",
        token,
      );
    }
    const end = reader.tokens.end(token);
    return { kind: "index", key: HclNumber.of(Number(digits)), legacy: true, start, end };
  }
  return reader.fail(
    "Invalid attribute name",
    "An attribute name is required after a dot.",
    reader.at(),
    "a name",
  );
}

/** `x.*.a.b`: only names and legacy indexes belong to the splat. */
function parseAttributeSplat(reader: TokenReader, from: Expression, star: number): Expression {
  const marker = reader.tokens.start(star);
  let each: Expression = { kind: "item", start: marker, end: reader.tokens.end(star) };
  while (reader.peek() === T.Dot) {
    const dot = reader.next();
    if (reader.peek() === T.Star) {
      reader.fail(
        "Nested splat expression not allowed",
        "A splat expression (*) cannot be used inside another attribute-only splat expression.",
      );
    }
    each = withStep(each, parseDotStep(reader, reader.tokens.start(dot)));
  }
  return { kind: "splat", from, each, marker, start: from.start, end: each.end };
}

function parseBracket(reader: TokenReader, from: Expression): { result: Expression; splat: boolean } {
  const { tokens } = reader;
  const parsed = reader.nested(false, (): { result: Expression; splat?: number } => {
    const open = reader.next();
    if (reader.peek() === T.Star) {
      const star = reader.next();
      if (reader.peek() !== T.CloseBracket) {
        reader.fail(
          "Missing close bracket on splat index",
          'The star for a full splat operator must be immediately followed by a closing bracket ("]").',
          reader.matching(T.OpenBracket, T.CloseBracket),
        );
      }
      reader.next();
      return { result: from, splat: tokens.start(star) };
    }
    const key = parseExpression(reader);
    if (reader.peek() !== T.CloseBracket) {
      reader.fail(
        "Missing close bracket on index",
        'The index operator must end with a closing bracket ("]").',
        reader.matching(T.OpenBracket, T.CloseBracket),
        '"]"',
      );
    }
    const end = tokens.end(reader.next());
    const start = tokens.start(open);
    if (key.kind === "literal" && (typeof key.value === "string" || key.value instanceof HclNumber)) {
      return { result: withStep(from, { kind: "index", key: key.value, legacy: false, start, end }) };
    }
    return { result: { kind: "index", collection: from, key, open: start, start: from.start, end } };
  });
  if (parsed.splat === undefined) return { result: parsed.result, splat: false };
  const item: Expression = { kind: "item", start: parsed.splat, end: parsed.splat + 1 };
  const each = parseSteps(reader, item);
  const result: Expression = {
    kind: "splat",
    from,
    each,
    marker: parsed.splat,
    start: from.start,
    end: each === item ? reader.lastEnd() : each.end,
  };
  return { result, splat: true };
}
