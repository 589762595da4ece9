// Text with {{actions}} → nodes: the reader of go_template.ts. Positions are "line:column" as Go's errors give them.
import { parseFailure } from "./go_template_error.ts";

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

export interface ParseOptions {
  /** Delimiters of actions. */
  left: string;
  right: string;
  /** Why this name cannot be called; null when it can. */
  whyUnknown(name: string): string | null;
}

/** Throws TemplateError with line and reason. */
export function parseTemplate(text: string, options: ParseOptions): TemplateSet {
  const parser = new Parser(scan(text, options), options);
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
function scan(text: string, { left, right }: ParseOptions): Piece[] {
  const trimmed = new RegExp(String.raw`^${literally(left)}-\s`);
  const comments = new RegExp(String.raw`^\s*/\*[\s\S]*?\*/\s*?(\s-)?${literally(right)}`);
  const pieces: Piece[] = [];
  let at = 0;
  let trimNext = false;
  while (at < text.length) {
    const open = text.indexOf(left, at);
    let literal = open < 0 ? text.slice(at) : text.slice(at, open);
    if (trimNext) literal = literal.trimStart();
    trimNext = false;
    if (open < 0) {
      pieces.push({ kind: "text", text: literal });
      break;
    }
    const trimsLeft = trimmed.test(text.slice(open, open + left.length + 2));
    if (trimsLeft) literal = literal.trimEnd();
    if (literal !== "") pieces.push({ kind: "text", text: literal });
    const start = open + left.length + (trimsLeft ? 1 : 0);
    const comment = comments.exec(text.slice(start));
    if (comment) {
      at = start + comment[0].length;
      trimNext = comment[1] !== undefined;
      continue;
    }
    const { tokens, end, trimsRight } = readTokens(text, start, right);
    pieces.push({ kind: "action", tokens, at: position(text, start) });
    at = end;
    trimNext = trimsRight;
  }
  return pieces;
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
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

function readTokens(
  text: string,
  start: number,
  right: string,
): { tokens: Token[]; end: number; trimsRight: boolean } {
  const tokens: Token[] = [];
  let at = start;
  for (;;) {
    const space = /\s*/y;
    space.lastIndex = at;
    const gap = space.exec(text)![0].length;
    at += gap;
    if (gap > 0 && text.startsWith(`-${right}`, at)) {
      return { tokens, end: at + 1 + right.length, trimsRight: true };
    }
    if (text.startsWith(right, at)) return { tokens, end: at + right.length, trimsRight: false };
    if (at >= text.length) throw parseFailure(position(text, start), "unclosed action");
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
      throw parseFailure(position(text, at), `unexpected ${JSON.stringify(text[at])} in command`);
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
  readonly #options: ParseOptions;
  #next = 0;
  #loops = 0;

  constructor(pieces: Piece[], options: ParseOptions) {
    this.#pieces = pieces;
    this.#options = options;
  }

  #pipeline(tokens: Token[], at: string, ranges = false): Pipeline {
    return new PipelineReader(tokens, at, this.#options, ranges).whole();
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
      if (!first) throw parseFailure(piece.at, "missing value for command");
      const word = first.kind === "word" ? first.text : "";
      if (word === "end" || word === "else") {
        if (!inner) throw parseFailure(piece.at, `unexpected {{${word}}}`);
        return { nodes, ended: word, rest, at: piece.at };
      }
      const node = this.#action(word, piece, rest, named);
      if (node) nodes.push(node);
    }
    if (inner) throw parseFailure(this.#lastAt(), "unexpected EOF");
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
        if (this.#loops === 0) throw parseFailure(at, `{{${word}}} outside {{range}}`);
        return { kind: word, at };
      case "define":
        named.set(templateName(rest[0], at), this.#body(named, at));
        return undefined;
      case "block": {
        const name = templateName(rest[0], at);
        named.set(name, this.#body(named, at));
        return { kind: "template", name, pipeline: this.#pipeline(rest.slice(1), at), at };
      }
      case "template": {
        const name = templateName(rest[0], at);
        const argument = rest.slice(1);
        return {
          kind: "template",
          name,
          pipeline: argument.length ? this.#pipeline(argument, at) : undefined,
          at,
        };
      }
      default:
        return { kind: "print", pipeline: this.#pipeline(piece.tokens, at), at };
    }
  }

  #body(named: Map<string, Node[]>, at: string): Node[] {
    const body = this.list(named, true);
    if (body.ended !== "end") throw parseFailure(at, "unexpected {{else}} in define clause");
    return body.nodes;
  }

  #control(kind: "if" | "with" | "range", tokens: Token[], at: string, named: Map<string, Node[]>): Action {
    const pipeline = this.#pipeline(tokens, at, kind === "range");
    if (kind === "range") this.#loops++;
    const body = this.list(named, true);
    if (kind === "range") this.#loops--;
    let otherwise: Node[] = [];
    if (body.ended === "else") {
      const [next, ...rest] = body.rest;
      if (next?.kind === "word" && (next.text === "if" || next.text === "with") && kind !== "range") {
        otherwise = [this.#control(next.text, rest, body.at, named)];
      } else if (next) {
        throw parseFailure(body.at, `unexpected ${JSON.stringify(next.text)} in else`);
      } else {
        const last = this.list(named, true);
        if (last.ended !== "end") throw parseFailure(last.at, "expected end; found {{else}}");
        otherwise = last.nodes;
      }
    }
    return { kind, pipeline, body: body.nodes, otherwise, at };
  }
}

function templateName(token: Token | undefined, at: string): string {
  if (token?.kind !== "string") throw parseFailure(at, "missing template name");
  return unquote(token.text);
}

class PipelineReader {
  #next = 0;

  constructor(
    readonly tokens: Token[],
    readonly at: string,
    readonly options: ParseOptions,
    readonly ranges: boolean,
  ) {}

  whole(): Pipeline {
    const pipeline = this.#pipeline();
    const left = this.tokens[this.#next];
    if (left) throw parseFailure(left.at, `unexpected ${JSON.stringify(left.text)} in command`);
    return pipeline;
  }

  #pipeline(): Pipeline {
    const { declared, assigns } = this.#declarations();
    const commands: Command[] = [this.#command()];
    while (this.tokens[this.#next]?.text === "|") {
      this.#next++;
      commands.push(this.#command());
    }
    return { declared, assigns, commands };
  }

  #declarations(): { declared: string[]; assigns: boolean } {
    const [a, b, c, d] = this.tokens.slice(this.#next, this.#next + 4);
    const isSign = (token: Token | undefined) =>
      token?.kind === "symbol" && (token.text === ":=" || token.text === "=");
    if (a?.kind === "variable" && isSign(b)) {
      this.#next += 2;
      return { declared: [a.text], assigns: b!.text === "=" };
    }
    if (this.ranges && a?.kind === "variable" && b?.text === "," && c?.kind === "variable" && isSign(d)) {
      this.#next += 4;
      return { declared: [a.text, c.text], assigns: d!.text === "=" };
    }
    return { declared: [], assigns: false };
  }

  #command(): Command {
    const operands: Command = [];
    for (;;) {
      const token = this.tokens[this.#next];
      if (
        !token || token.text === "|" && token.kind === "symbol" ||
        token.text === ")" && token.kind === "symbol"
      ) break;
      operands.push(this.#operand(token));
    }
    if (operands.length === 0) {
      throw parseFailure(this.tokens[this.#next]?.at ?? this.at, "missing value for command");
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
        return this.#word(token);
      case "symbol":
        if (text === ".") return { kind: "dot", at, text };
        if (text === "(") {
          const pipeline = this.#pipeline();
          if (this.tokens[this.#next]?.text !== ")") throw parseFailure(at, "unclosed left paren");
          this.#next++;
          return { kind: "nested", pipeline, path: this.#path([]), at, text };
        }
        throw parseFailure(at, `unexpected ${JSON.stringify(text)} in operand`);
    }
  }

  #word({ at, text }: Token): Operand {
    if (text === "true" || text === "false") return { kind: "value", value: text === "true", at, text };
    if (text === "nil") return { kind: "value", value: null, at, text };
    const why = this.options.whyUnknown(text);
    if (why !== null) throw parseFailure(at, why);
    return { kind: "function", name: text, at, text };
  }

  /** Fields written directly behind: `$x.A.B`. */
  #path(path: string[]): string[] {
    for (;;) {
      const token = this.tokens[this.#next];
      if (token?.kind !== "field" || token.spaced) return path;
      path.push(token.text.slice(1));
      this.#next++;
    }
  }
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
