// Text with {{actions}} → nodes. Positions are "line:column" as Go's errors give them.
import { isFunction, TemplateError } from "./template_functions.ts";

export type Operand =
  & { at: string; text: string }
  & (
    | { kind: "value"; value: unknown }
    | { kind: "dot" }
    | { kind: "field"; path: string[] }
    | { kind: "variable"; name: string; path: string[] }
    | { kind: "nested"; pipeline: Pipeline; path: string[] }
    | { kind: "function"; name: string }
  );

export type Command = Operand[];

export interface Pipeline {
  /** Variables that get the value. */
  declared: string[];
  /** `=` instead of `:=`. */
  assigns: boolean;
  commands: Command[];
}

export interface Block {
  kind: "if" | "with" | "range";
  pipeline: Pipeline;
  body: Node[];
  otherwise: Node[];
}

export type Action =
  & { at: string }
  & (
    | { kind: "print"; pipeline: Pipeline }
    | Block
    | { kind: "break" | "continue" }
    | { kind: "template"; name: string; pipeline: Pipeline | undefined }
  );

export type Node = { kind: "text"; text: string } | Action;

export interface TemplateSet {
  main: Node[];
  named: Map<string, Node[]>;
}

/** Throws TemplateError with line and reason. */
export function parseTemplate(text: string): TemplateSet {
  const parser = new Parser(scan(text));
  const named = new Map<string, Node[]>();
  const main = parser.list(named, false);
  return { main: main.nodes, named };
}

type Piece = { kind: "text"; text: string } | { kind: "action"; tokens: Token[]; at: string };

interface Token {
  kind: "word" | "field" | "variable" | "string" | "number" | "char" | "symbol";
  text: string;
  at: string;
  /** White space stood before it. */
  spaced: boolean;
}

/** Cuts the text at its actions and trims where they ask for it. */
function scan(text: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trimNext = false;
  while (at < text.length) {
    const open = text.indexOf("{{", at);
    let literal = open < 0 ? text.slice(at) : text.slice(at, open);
    if (trimNext) literal = literal.trimStart();
    trimNext = false;
    if (open < 0) {
      pieces.push({ kind: "text", text: literal });
      break;
    }
    const trimsLeft = /^\{\{-\s/.test(text.slice(open, open + 4));
    if (trimsLeft) literal = literal.trimEnd();
    if (literal !== "") pieces.push({ kind: "text", text: literal });
    const start = open + (trimsLeft ? 3 : 2);
    const comment = /^\s*\/\*[\s\S]*?\*\/\s*?(\s-)?\}\}/.exec(text.slice(start));
    if (comment) {
      at = start + comment[0].length;
      trimNext = comment[1] !== undefined;
      continue;
    }
    const { tokens, end, trimsRight } = readTokens(text, start);
    pieces.push({ kind: "action", tokens, at: position(text, start) });
    at = end;
    trimNext = trimsRight;
  }
  return pieces;
}

function position(text: string, offset: number): string {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return `${line}:${offset - (before.lastIndexOf("\n") + 1)}`;
}

const PATTERNS: [Token["kind"], RegExp][] = [
  ["string", /"(?:[^"\\\n]|\\.)*"/y],
  ["string", /`[^`]*`/y],
  ["char", /'(?:[^'\\\n]|\\.)+'/y],
  [
    "number",
    /[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])/y,
  ],
  ["field", /\.[\p{L}_][\p{L}\p{N}_]*/uy],
  ["variable", /\$[\p{L}\p{N}_]*/uy],
  ["word", /[\p{L}_][\p{L}\p{N}_]*/uy],
  ["symbol", /:=|[.|(),=]/y],
];

function readTokens(text: string, start: number): { tokens: Token[]; end: number; trimsRight: boolean } {
  const tokens: Token[] = [];
  let at = start;
  for (;;) {
    const space = /\s*/y;
    space.lastIndex = at;
    const gap = space.exec(text)![0].length;
    at += gap;
    if (gap > 0 && text.startsWith("-}}", at)) return { tokens, end: at + 3, trimsRight: true };
    if (text.startsWith("}}", at)) return { tokens, end: at + 2, trimsRight: false };
    if (at >= text.length) {
      throw new TemplateError(`template: :${position(text, start).split(":")[0]}: unclosed action`);
    }
    let found: Token | undefined;
    for (const [kind, pattern] of PATTERNS) {
      pattern.lastIndex = at;
      const match = pattern.exec(text);
      if (match) {
        found = { kind, text: match[0], at: position(text, at), spaced: gap > 0 };
        break;
      }
    }
    if (!found) {
      throw new TemplateError(
        `template: :${position(text, at).split(":")[0]}: unexpected ${JSON.stringify(text[at])} in command`,
      );
    }
    tokens.push(found);
    at += found.text.length;
  }
}

interface List {
  nodes: Node[];
  /** What ended it: "end", "else" with the rest of its action, or "" at the end of the text. */
  ended: "" | "end" | "else";
  rest: Token[];
  at: string;
}

class Parser {
  readonly #pieces: Piece[];
  #next = 0;
  #loops = 0;

  constructor(pieces: Piece[]) {
    this.#pieces = pieces;
  }

  list(named: Map<string, Node[]>, inner: boolean): List {
    const nodes: Node[] = [];
    while (this.#next < this.#pieces.length) {
      const piece = this.#pieces[this.#next++]!;
      if (piece.kind === "text") {
        nodes.push(piece);
        continue;
      }
      const [first, ...rest] = piece.tokens;
      if (!first) throw error(piece.at, "missing value for command");
      const word = first.kind === "word" ? first.text : "";
      if (word === "end" || word === "else") {
        if (!inner) throw error(piece.at, `unexpected {{${word}}}`);
        return { nodes, ended: word, rest, at: piece.at };
      }
      const node = this.#action(word, piece, rest, named);
      if (node) nodes.push(node);
    }
    if (inner) throw error(this.#lastAt(), "unexpected EOF");
    return { nodes, ended: "", rest: [], at: "" };
  }

  #lastAt(): string {
    const last = this.#pieces.findLast((piece) => piece.kind === "action");
    return last?.kind === "action" ? last.at : "1:0";
  }

  #action(
    word: string,
    piece: Piece & { kind: "action" },
    rest: Token[],
    named: Map<string, Node[]>,
  ): Action | undefined {
    const { at } = piece;
    switch (word) {
      case "if":
      case "with":
      case "range":
        return this.#control(word, rest, at, named);
      case "break":
      case "continue":
        if (this.#loops === 0) throw error(at, `{{${word}}} outside {{range}}`);
        return { kind: word, at };
      case "define":
        named.set(templateName(rest[0], at), this.#body(named, at));
        return undefined;
      case "block": {
        const name = templateName(rest[0], at);
        named.set(name, this.#body(named, at));
        return { kind: "template", name, pipeline: new PipelineReader(rest.slice(1), at).whole(), at };
      }
      case "template": {
        const name = templateName(rest[0], at);
        const argument = rest.slice(1);
        return {
          kind: "template",
          name,
          pipeline: argument.length ? new PipelineReader(argument, at).whole() : undefined,
          at,
        };
      }
      default:
        return { kind: "print", pipeline: new PipelineReader(piece.tokens, at).whole(), at };
    }
  }

  #body(named: Map<string, Node[]>, at: string): Node[] {
    const body = this.list(named, true);
    if (body.ended !== "end") throw error(at, "unexpected {{else}} in define clause");
    return body.nodes;
  }

  #control(kind: "if" | "with" | "range", tokens: Token[], at: string, named: Map<string, Node[]>): Action {
    const pipeline = new PipelineReader(tokens, at, kind === "range").whole();
    if (kind === "range") this.#loops++;
    const body = this.list(named, true);
    if (kind === "range") this.#loops--;
    let otherwise: Node[] = [];
    if (body.ended === "else") {
      const [next, ...rest] = body.rest;
      if (next?.kind === "word" && (next.text === "if" || next.text === "with") && kind !== "range") {
        otherwise = [this.#control(next.text, rest, body.at, named)];
      } else if (next) {
        throw error(body.at, `unexpected ${JSON.stringify(next.text)} in else`);
      } else {
        const last = this.list(named, true);
        if (last.ended !== "end") throw error(last.at, "expected end; found {{else}}");
        otherwise = last.nodes;
      }
    }
    return { kind, pipeline, body: body.nodes, otherwise, at };
  }
}

function templateName(token: Token | undefined, at: string): string {
  if (token?.kind !== "string") throw error(at, "missing template name");
  return unquote(token.text);
}

function error(at: string, text: string): TemplateError {
  return new TemplateError(`template: :${at.split(":")[0]}: ${text}`);
}

class PipelineReader {
  readonly #tokens: Token[];
  readonly #at: string;
  readonly #ranges: boolean;
  #next = 0;

  constructor(tokens: Token[], at: string, ranges = false) {
    this.#tokens = tokens;
    this.#at = at;
    this.#ranges = ranges;
  }

  whole(): Pipeline {
    const pipeline = this.#pipeline();
    const left = this.#tokens[this.#next];
    if (left) throw error(left.at, `unexpected ${JSON.stringify(left.text)} in command`);
    return pipeline;
  }

  #pipeline(): Pipeline {
    const { declared, assigns } = this.#declarations();
    const commands: Command[] = [this.#command()];
    while (this.#tokens[this.#next]?.text === "|") {
      this.#next++;
      commands.push(this.#command());
    }
    return { declared, assigns, commands };
  }

  #declarations(): { declared: string[]; assigns: boolean } {
    const [a, b, c, d] = this.#tokens.slice(this.#next, this.#next + 4);
    const isSign = (token: Token | undefined) =>
      token?.kind === "symbol" && (token.text === ":=" || token.text === "=");
    if (a?.kind === "variable" && isSign(b)) {
      this.#next += 2;
      return { declared: [a.text], assigns: b!.text === "=" };
    }
    if (this.#ranges && a?.kind === "variable" && b?.text === "," && c?.kind === "variable" && isSign(d)) {
      this.#next += 4;
      return { declared: [a.text, c.text], assigns: d!.text === "=" };
    }
    return { declared: [], assigns: false };
  }

  #command(): Command {
    const operands: Command = [];
    for (;;) {
      const token = this.#tokens[this.#next];
      if (
        !token || token.text === "|" && token.kind === "symbol" ||
        token.text === ")" && token.kind === "symbol"
      ) break;
      operands.push(this.#operand(token));
    }
    if (operands.length === 0) {
      throw error(this.#tokens[this.#next]?.at ?? this.#at, "missing value for command");
    }
    return operands;
  }

  #operand(token: Token): Operand {
    this.#next++;
    const { at, text } = token;
    switch (token.kind) {
      case "string":
        return { kind: "value", value: unquote(text), at, text };
      case "char":
        return {
          kind: "value",
          value: unquote(`"${text.slice(1, -1).replace(/^"$/, '\\"')}"`).codePointAt(0),
          at,
          text,
        };
      case "number":
        return { kind: "value", value: Number(text.replaceAll("_", "")), at, text };
      case "field":
        return { kind: "field", path: this.#path([text.slice(1)]), at, text };
      case "variable":
        return { kind: "variable", name: text, path: this.#path([]), at, text };
      case "word":
        return word(token);
      case "symbol":
        if (text === ".") return { kind: "dot", at, text };
        if (text === "(") {
          const pipeline = this.#pipeline();
          if (this.#tokens[this.#next]?.text !== ")") throw error(at, "unclosed left paren");
          this.#next++;
          return { kind: "nested", pipeline, path: this.#path([]), at, text };
        }
        throw error(at, `unexpected ${JSON.stringify(text)} in operand`);
    }
  }

  /** Fields written directly behind: `$x.A.B`. */
  #path(path: string[]): string[] {
    for (;;) {
      const token = this.#tokens[this.#next];
      if (token?.kind !== "field" || token.spaced) return path;
      path.push(token.text.slice(1));
      this.#next++;
    }
  }
}

function word(token: Token): Operand {
  const { at, text } = token;
  if (text === "true" || text === "false") return { kind: "value", value: text === "true", at, text };
  if (text === "nil") return { kind: "value", value: null, at, text };
  if (!isFunction(text)) throw error(at, `function ${JSON.stringify(text)} not defined`);
  return { kind: "function", name: text, at, text };
}

function unquote(text: string): string {
  if (text.startsWith("`")) return text.slice(1, -1);
  const escapes: Record<string, string> = {
    a: "\x07",
    b: "\b",
    f: "\f",
    n: "\n",
    r: "\r",
    t: "\t",
    v: "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
  };
  return text.slice(1, -1).replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))/g,
    (_, hex, u4, u8, octal, letter) => {
      if (letter !== undefined) return escapes[letter as string] ?? letter;
      return String.fromCodePoint(octal ? parseInt(octal, 8) : parseInt(hex ?? u4 ?? u8, 16));
    },
  );
}
