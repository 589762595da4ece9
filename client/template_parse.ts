// Reads the language of templates (Go's text/template as far as job files use it) into a tree: text, output, if, with,
// range, variables, pipelines. Knows no function. What it cannot read it refuses with line and column.

export type Expr =
  | { kind: "literal"; value: string | number | boolean | null }
  /** `.A.B` (base "dot"), `$x.A` (a variable's name), `(…).A`. */
  | { kind: "field"; base: Expr | "dot" | { variable: string }; path: string[] }
  | { kind: "call"; name: string; args: Expr[]; at: Place }
  | { kind: "pipe"; stages: Expr[] };

export interface Place {
  line: number;
  column: number;
}

export type Node =
  | { kind: "text"; text: string }
  | { kind: "output"; expr: Expr }
  | { kind: "set"; name: string; declare: boolean; expr: Expr }
  | { kind: "if"; test: Expr; name: string | null; then: Node[]; otherwise: Node[] }
  | { kind: "with"; value: Expr; name: string | null; then: Node[]; otherwise: Node[] }
  | { kind: "range"; over: Expr; key: string | null; value: string | null; body: Node[]; otherwise: Node[] }
  | { kind: "break" }
  | { kind: "continue" };

export class TemplateError extends Error {
  override readonly name = "TemplateError";
  constructor(message: string, at?: Place) {
    super(at ? `line ${at.line}, column ${at.column}: ${message}` : message);
  }
}

interface Token {
  kind: "text" | "open" | "close" | "word" | "field" | "variable" | "string" | "number" | "punct";
  text: string;
  at: Place;
}

/** Text → tree. Throws TemplateError. */
export function parseTemplate(text: string, delims: { left: string; right: string }): Node[] {
  const parser = new Parser(lex(text, delims));
  const nodes = parser.nodes();
  parser.expectEnd();
  return nodes;
}

// --- Tokens ----------------------------------------------------------------------------------------------------

function lex(text: string, { left, right }: { left: string; right: string }): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let trimNext = false;
  const place = (index: number): Place => {
    const before = text.slice(0, index);
    return { line: before.split("\n").length, column: index - before.lastIndexOf("\n") };
  };
  while (at < text.length) {
    const open = text.indexOf(left, at);
    let plain = open < 0 ? text.slice(at) : text.slice(at, open);
    if (trimNext) plain = plain.trimStart();
    trimNext = false;
    if (open < 0) {
      if (plain !== "") tokens.push({ kind: "text", text: plain, at: place(at) });
      break;
    }
    let inner = open + left.length;
    if (text[inner] === "-" && /\s/.test(text[inner + 1] ?? "")) {
      plain = plain.trimEnd();
      inner++;
    }
    if (plain !== "") tokens.push({ kind: "text", text: plain, at: place(at) });
    const comment = new RegExp(`^\\s*/\\*[\\s\\S]*?\\*/(\\s+-)?${escape(right)}`).exec(text.slice(inner));
    if (comment) {
      trimNext = comment[1] !== undefined;
      at = inner + comment[0].length;
      continue;
    }
    tokens.push({ kind: "open", text: left, at: place(open) });
    const end = lexAction(text, { from: inner, right, place }, tokens);
    trimNext = end.trim;
    at = end.at;
  }
  return tokens;
}

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

const LEXEMES: [Token["kind"], RegExp][] = [
  ["string", /^"(?:[^"\\\n]|\\.)*"/],
  ["string", /^`[^`]*`/],
  ["string", /^'(?:[^'\\\n]|\\.)+'/],
  ["variable", /^\$\w*/],
  ["field", /^\.[A-Za-z_]\w*/],
  ["number", /^[+-]?(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/],
  ["word", /^[A-Za-z_]\w*/],
  ["punct", /^(?::=|[=|().,])/],
];

function lexAction(
  text: string,
  { from, right, place }: { from: number; right: string; place(index: number): Place },
  tokens: Token[],
): { at: number; trim: boolean } {
  let at = from;
  for (;;) {
    const space = /^\s*/.exec(text.slice(at))![0].length;
    const rest = text.slice(at + space);
    const trim = space > 0 && rest.startsWith(`-${right}`);
    if (trim || rest.startsWith(right)) {
      tokens.push({ kind: "close", text: right, at: place(at) });
      return { at: at + space + right.length + (trim ? 1 : 0), trim };
    }
    // A field directly after something belongs to it: "(f).X"; after a space it is an argument.
    at += space;
    if (rest === "") throw new TemplateError(`action is not closed, ${right} is missing`, place(from));
    const found = LEXEMES.map(([kind, pattern]) => ({ kind, match: pattern.exec(rest) })).find((f) =>
      f.match
    );
    if (!found) throw new TemplateError(`unexpected ${JSON.stringify(rest[0])}`, place(at));
    const lexeme = found.match![0];
    tokens.push({
      kind: found.kind,
      text: space > 0 && found.kind === "field" ? ` ${lexeme}` : lexeme,
      at: place(at),
    });
    at += lexeme.length;
  }
}

// --- Tree ------------------------------------------------------------------------------------------------------

const REFUSED = ["define", "template", "block"];

class Parser {
  #at = 0;

  constructor(private readonly tokens: Token[]) {}

  expectEnd(): void {
    const token = this.tokens[this.#at];
    if (token) throw new TemplateError(`unexpected ${this.#word() ?? token.text}`, token.at);
  }

  /** Until the end, or an `else` or `end` of whoever called. */
  nodes(): Node[] {
    const out: Node[] = [];
    for (let token = this.tokens[this.#at]; token; token = this.tokens[this.#at]) {
      if (token.kind === "text") {
        this.#at++;
        out.push({ kind: "text", text: token.text });
        continue;
      }
      const word = this.#word();
      if (word === "end" || word === "else") break;
      this.#at++;
      out.push(this.#action());
    }
    return out;
  }

  /** The word after an opening delimiter, without taking it. */
  #word(): string | undefined {
    const next = this.tokens[this.#at + 1];
    return next?.kind === "word" ? next.text : undefined;
  }

  #action(): Node {
    const token = this.#peek();
    if (token.kind === "word") {
      if (REFUSED.includes(token.text)) {
        throw new TemplateError(`{{ ${token.text} }} is not supported by this device`, token.at);
      }
      switch (token.text) {
        case "if":
          this.#at++;
          return this.#conditional("if");
        case "with":
          this.#at++;
          return this.#conditional("with");
        case "range":
          this.#at++;
          return this.#range();
        case "break":
        case "continue":
          this.#at++;
          this.#close();
          return { kind: token.text };
      }
    }
    const assigned = this.#assignment();
    const expr = this.#pipeline();
    this.#close();
    return assigned ? { kind: "set", ...assigned, expr } : { kind: "output", expr };
  }

  /** `$x :=` or `$x =`. */
  #assignment(): { name: string; declare: boolean } | null {
    const [variable, operator] = [this.tokens[this.#at], this.tokens[this.#at + 1]];
    if (variable?.kind !== "variable" || operator?.kind !== "punct") return null;
    if (operator.text !== ":=" && operator.text !== "=") return null;
    this.#at += 2;
    return { name: variable.text, declare: operator.text === ":=" };
  }

  #conditional(kind: "if" | "with"): Node {
    const name = this.#assignment()?.name ?? null;
    const expr = this.#pipeline();
    this.#close();
    const then = this.nodes();
    const otherwise = this.#otherwise(kind);
    return kind === "if"
      ? { kind, test: expr, name, then, otherwise }
      : { kind, value: expr, name, then, otherwise };
  }

  #range(): Node {
    let key: string | null = null;
    let value: string | null = null;
    const [first, comma, second] = this.tokens.slice(this.#at, this.#at + 3);
    if (first?.kind === "variable" && comma?.text === "," && second?.kind === "variable") {
      key = first.text;
      this.#at += 2;
    }
    value = this.#assignment()?.name ?? null;
    const over = this.#pipeline();
    this.#close();
    const body = this.nodes();
    return { kind: "range", over, key, value, body, otherwise: this.#otherwise("range") };
  }

  /** After a body: `else`, `else if …`, `else with …`, or `end`. */
  #otherwise(kind: string): Node[] {
    if (!this.tokens[this.#at]) throw new TemplateError(`{{ ${kind} }} has no {{ end }}`);
    this.#at++;
    const word = this.#peek().text;
    this.#at++;
    if (word === "end") {
      this.#close();
      return [];
    }
    const next = this.#peek();
    if (next.kind === "word" && (next.text === "if" || next.text === "with")) {
      this.#at++;
      return [this.#conditional(next.text)];
    }
    this.#close();
    const nodes = this.nodes();
    this.#otherwise(kind);
    return nodes;
  }

  #pipeline(): Expr {
    const stages = [this.#command()];
    while (this.tokens[this.#at]?.text === "|") {
      this.#at++;
      stages.push(this.#command());
    }
    return stages.length === 1 ? stages[0]! : { kind: "pipe", stages };
  }

  /** `name arg arg`, or one operand. */
  #command(): Expr {
    const token = this.#peek();
    const isCall = token.kind === "word" && !["true", "false", "nil"].includes(token.text);
    if (!isCall) return this.#operand();
    this.#at++;
    const args: Expr[] = [];
    while (this.#startsOperand()) args.push(this.#operand());
    return { kind: "call", name: token.text, args, at: token.at };
  }

  #startsOperand(): boolean {
    const token = this.tokens[this.#at];
    if (!token) return false;
    return token.kind === "punct"
      ? token.text === "(" || token.text === "."
      : !["close", "text"].includes(token.kind);
  }

  #operand(): Expr {
    const token = this.#peek();
    this.#at++;
    switch (token.kind) {
      case "string":
        return { kind: "literal", value: unquote(token) };
      case "number":
        return { kind: "literal", value: Number(token.text) };
      case "variable":
        return { kind: "field", base: { variable: token.text }, path: this.#path() };
      case "field":
        return { kind: "field", base: "dot", path: [token.text.trim().slice(1), ...this.#path()] };
      case "word":
        if (token.text === "true" || token.text === "false") {
          return { kind: "literal", value: token.text === "true" };
        }
        if (token.text === "nil") return { kind: "literal", value: null };
        return { kind: "call", name: token.text, args: [], at: token.at };
      case "punct":
        if (token.text === ".") return { kind: "field", base: "dot", path: [] };
        if (token.text === "(") {
          const inner = this.#pipeline();
          const close = this.#peek();
          if (close.text !== ")") throw new TemplateError("expected )", close.at);
          this.#at++;
          const path = this.#path();
          return path.length === 0 ? inner : { kind: "field", base: inner, path };
        }
    }
    throw new TemplateError(`unexpected ${JSON.stringify(token.text)}`, token.at);
  }

  /** Fields that follow without a space. */
  #path(): string[] {
    const path: string[] = [];
    for (let token = this.tokens[this.#at]; token?.kind === "field"; token = this.tokens[this.#at]) {
      if (token.text.startsWith(" ")) break;
      path.push(token.text.slice(1));
      this.#at++;
    }
    return path;
  }

  #close(): void {
    const token = this.#peek();
    if (token.kind !== "close") throw new TemplateError(`unexpected ${JSON.stringify(token.text)}`, token.at);
    this.#at++;
  }

  #peek(): Token {
    const token = this.tokens[this.#at];
    if (!token) throw new TemplateError("unexpected end of the template", this.tokens.at(-1)?.at);
    return token;
  }
}

function unquote(token: Token): string | number {
  const body = token.text.slice(1, -1);
  if (token.text.startsWith("`")) return body;
  if (token.text.startsWith("'")) return unescape(body, token).codePointAt(0)!;
  return unescape(body, token);
}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r", '"': '"', "'": "'", "\\": "\\" };

function unescape(body: string, token: Token): string {
  return body.replace(/\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))/g, (whole, unicode, hex, letter) => {
    if (unicode ?? hex) return String.fromCodePoint(parseInt(unicode ?? hex, 16));
    const found = ESCAPES[letter as string];
    if (found === undefined) throw new TemplateError(`unknown escape ${whole}`, token.at);
    return found;
  });
}
