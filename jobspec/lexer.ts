// Text → tokens of HCL's native syntax, comments and spaces included, so that the formatter can use the same tokens
// as the parser. Never reports problems and never throws: what it does not know becomes an Invalid token.
// Invariants: token offsets ascend; every character that is not a space or tab lies in a token; the last token is
// EndOfFile; no recursion, so nesting depth costs nothing here. Tokens live in typed arrays: a 10 MB file must not
// become millions of objects.

/** Token types. */
export const T = {
  EndOfFile: 0,
  Newline: 1,
  /** `#` and `//` comments include their line end, as it is theirs alone. */
  Comment: 2,
  Ident: 3,
  Number: 4,
  OpenQuote: 5,
  CloseQuote: 6,
  /** Literal text inside quotes, escapes not yet resolved. */
  QuotedText: 7,
  /** A line end inside quotes: always an error. */
  QuotedNewline: 8,
  /** `<<NAME` with its line end. */
  OpenHeredoc: 9,
  CloseHeredoc: 10,
  /** Literal text of a heredoc (one line, or a part of one) or of a bare template. */
  HeredocText: 11,
  /** `${` or `${~` */
  OpenInterpolation: 12,
  /** `%{` or `%{~` */
  OpenDirective: 13,
  /** `}` or `~}` at the end of either. */
  CloseSequence: 14,
  OpenBrace: 15,
  CloseBrace: 16,
  OpenBracket: 17,
  CloseBracket: 18,
  OpenParen: 19,
  CloseParen: 20,
  Equal: 21,
  EqualEqual: 22,
  NotEqual: 23,
  Less: 24,
  LessEqual: 25,
  Greater: 26,
  GreaterEqual: 27,
  And: 28,
  Or: 29,
  Bang: 30,
  Plus: 31,
  Minus: 32,
  Star: 33,
  Slash: 34,
  Percent: 35,
  Question: 36,
  Colon: 37,
  DoubleColon: 38,
  Comma: 39,
  Dot: 40,
  Ellipsis: 41,
  FatArrow: 42,
  Invalid: 43,
} as const;

export type TokenType = (typeof T)[keyof typeof T];

/** Growing parallel arrays of type, start and end. */
export class Tokens {
  types = new Uint8Array(1024);
  starts = new Int32Array(1024);
  ends = new Int32Array(1024);
  count = 0;

  constructor(readonly text: string) {}

  push(type: TokenType, start: number, end: number): void {
    if (this.count === this.types.length) this.#grow();
    this.types[this.count] = type;
    this.starts[this.count] = start;
    this.ends[this.count] = end;
    this.count++;
  }

  #grow(): void {
    const size = this.types.length * 2;
    const types = new Uint8Array(size);
    types.set(this.types);
    this.types = types;
    const starts = new Int32Array(size);
    starts.set(this.starts);
    this.starts = starts;
    const ends = new Int32Array(size);
    ends.set(this.ends);
    this.ends = ends;
  }

  type(index: number): TokenType {
    return this.types[index] as TokenType;
  }

  start(index: number): number {
    return this.starts[index]!;
  }

  end(index: number): number {
    return this.ends[index]!;
  }

  textOf(index: number): string {
    return this.text.slice(this.starts[index]!, this.ends[index]!);
  }
}

/** What the text is: a file or expression, or a template without quotes around it. */
export type LexMode = "normal" | "template";

interface Frame {
  readonly kind: "normal" | "quoted" | "heredoc" | "bare";
  /** Open braces of a `${ … }`; it ends at a `}` while this is 0. */
  braces: number;
  readonly marker: string;
  lineStart: boolean;
}

const IDENT = /[\p{ID_Start}_][\p{ID_Continue}-]*/uy;
const HEREDOC = /<<-?([\p{ID_Start}_][\p{ID_Continue}-]*)\r?\n/uy;

const SINGLE: Record<string, TokenType> = {
  "[": T.OpenBracket,
  "]": T.CloseBracket,
  "(": T.OpenParen,
  ")": T.CloseParen,
  ",": T.Comma,
  "*": T.Star,
  "/": T.Slash,
  "%": T.Percent,
  "+": T.Plus,
  "-": T.Minus,
  "?": T.Question,
  "=": T.Equal,
  "<": T.Less,
  ">": T.Greater,
  "!": T.Bang,
  ":": T.Colon,
  ".": T.Dot,
};

const DOUBLE: Record<string, TokenType> = {
  "==": T.EqualEqual,
  "!=": T.NotEqual,
  ">=": T.GreaterEqual,
  "<=": T.LessEqual,
  "&&": T.And,
  "||": T.Or,
  "::": T.DoubleColon,
  "=>": T.FatArrow,
};

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const DOLLAR = 0x24;
const PERCENT = 0x25;
const OPEN_BRACE = 0x7b;

/** More tokens than this make a tree that does not fit the memory a parser may take. */
export const TOKENS_MAX = 400_000;

/** Splits `text` into tokens. Stops when there are more than TOKENS_MAX. */
export function lex(text: string, mode: LexMode = "normal"): Tokens {
  return new Lexer(text, mode).run();
}

class Lexer {
  readonly #tokens: Tokens;
  readonly #stack: Frame[];
  #at = 0;

  constructor(readonly text: string, readonly mode: LexMode) {
    this.#tokens = new Tokens(text);
    this.#stack = [newFrame(mode === "normal" ? "normal" : "bare")];
    if (text.charCodeAt(0) === 0xfeff) this.#at = 1;
  }

  run(): Tokens {
    const length = this.text.length;
    while (this.#at < length && this.#tokens.count <= TOKENS_MAX) {
      const frame = this.#stack[this.#stack.length - 1]!;
      if (frame.kind === "normal") this.#normal(frame);
      else if (frame.kind === "quoted") this.#quoted();
      else this.#lines(frame);
    }
    this.#tokens.push(T.EndOfFile, length, length);
    return this.#tokens;
  }

  #take(type: TokenType, end: number): void {
    this.#tokens.push(type, this.#at, end);
    this.#at = end;
  }

  #normal(frame: Frame): void {
    const { text } = this;
    const code = text.charCodeAt(this.#at);
    if (code === 0x20 || code === 0x09) {
      this.#at++;
      return;
    }
    if (isIdentStart(code)) return this.#ident();
    if (code >= 0x30 && code <= 0x39) {
      return this.#take(T.Number, numberEnd(text, this.#at));
    }
    if (code === NEWLINE) return this.#take(T.Newline, this.#at + 1);
    if (code === RETURN && text.charCodeAt(this.#at + 1) === NEWLINE) {
      return this.#take(T.Newline, this.#at + 2);
    }
    if (code === 0x22) {
      this.#take(T.OpenQuote, this.#at + 1);
      this.#stack.push(newFrame("quoted"));
      return;
    }
    if (code === OPEN_BRACE) {
      frame.braces++;
      return this.#take(T.OpenBrace, this.#at + 1);
    }
    if (code === 0x7d) return this.#closeBrace(frame);
    if (
      code === 0x7e && text.charCodeAt(this.#at + 1) === 0x7d && frame.braces === 0 && this.#stack.length > 1
    ) {
      this.#take(T.CloseSequence, this.#at + 2);
      this.#stack.pop();
      return;
    }
    this.#symbol();
  }

  #closeBrace(frame: Frame): void {
    if (frame.braces === 0 && this.#stack.length > 1) {
      this.#take(T.CloseSequence, this.#at + 1);
      this.#stack.pop();
      return;
    }
    if (frame.braces > 0) frame.braces--;
    this.#take(T.CloseBrace, this.#at + 1);
  }

  #ident(): void {
    const { text } = this;
    let end = this.#at + 1;
    while (isIdentPart(text.charCodeAt(end))) end++;
    if (text.charCodeAt(this.#at) < 0x80 && !(text.charCodeAt(end) >= 0x80)) return this.#take(T.Ident, end);
    IDENT.lastIndex = this.#at;
    if (IDENT.test(text)) return this.#take(T.Ident, IDENT.lastIndex);
    this.#take(T.Invalid, this.#at + (text.codePointAt(this.#at)! > 0xffff ? 2 : 1));
  }

  #symbol(): void {
    const { text } = this;
    const char = text[this.#at]!;
    const pair = text.slice(this.#at, this.#at + 2);
    if (char === "#" || pair === "//") return this.#lineComment();
    if (pair === "/*") {
      const close = text.indexOf("*/", this.#at + 2);
      if (close >= 0) return this.#take(T.Comment, close + 2);
    }
    if (pair === "<<") {
      HEREDOC.lastIndex = this.#at;
      const match = HEREDOC.exec(text);
      if (match) {
        this.#take(T.OpenHeredoc, HEREDOC.lastIndex);
        this.#stack.push(newFrame("heredoc", match[1]!));
        return;
      }
    }
    if (pair === ".." && text[this.#at + 2] === ".") return this.#take(T.Ellipsis, this.#at + 3);
    const double = DOUBLE[pair];
    if (double !== undefined) return this.#take(double, this.#at + 2);
    this.#take(SINGLE[char] ?? T.Invalid, this.#at + 1);
  }

  #lineComment(): void {
    const newline = this.text.indexOf("\n", this.#at);
    this.#take(T.Comment, newline < 0 ? this.text.length : newline + 1);
  }

  /** `${` or `%{` at `at`: takes the opener and begins an expression. */
  #sequence(): void {
    const type = this.text.charCodeAt(this.#at) === DOLLAR ? T.OpenInterpolation : T.OpenDirective;
    this.#take(type, this.#at + (this.text[this.#at + 2] === "~" ? 3 : 2));
    this.#stack.push(newFrame("normal"));
  }

  #quoted(): void {
    const { text } = this;
    const end = this.#literalEnd(this.#at, true);
    if (end > this.#at) return this.#take(T.QuotedText, end);
    const code = text.charCodeAt(end);
    if (code === 0x22) {
      this.#take(T.CloseQuote, end + 1);
      this.#stack.pop();
    } else if (code === NEWLINE || code === RETURN) {
      // The string was not closed. Going on as if it had been keeps the rest of the file readable.
      this.#take(T.QuotedNewline, end + (text.startsWith("\r\n", end) ? 2 : 1));
      do this.#stack.pop(); while (
        this.#stack.length > 1 && this.#stack[this.#stack.length - 1]!.kind !== "heredoc"
      );
    } else this.#sequence();
  }

  #lines(frame: Frame): void {
    const { text } = this;
    if (frame.kind === "heredoc" && frame.lineStart) {
      const newline = text.indexOf("\n", this.#at);
      if (newline >= 0 && text.slice(this.#at, newline).trim() === frame.marker) {
        const end = text.charCodeAt(newline - 1) === RETURN ? newline - 1 : newline;
        this.#take(T.CloseHeredoc, end);
        this.#take(T.Newline, newline + 1);
        this.#stack.pop();
        return;
      }
    }
    const end = this.#literalEnd(this.#at, false);
    frame.lineStart = false;
    if (end === this.#at) return this.#sequence();
    frame.lineStart = text.charCodeAt(end - 1) === NEWLINE;
    this.#take(T.HeredocText, end);
  }

  /** Where literal text that begins at `at` ends: at a quote, line end (after it outside quotes) or sequence. */
  #literalEnd(at: number, quoted: boolean): number {
    const { text } = this;
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === DOLLAR || code === PERCENT) {
        const next = text.charCodeAt(at + 1);
        if (next === OPEN_BRACE) return at;
        if (next === code && text.charCodeAt(at + 2) === OPEN_BRACE) at += 2;
      } else if (code === NEWLINE) {
        return quoted ? at : at + 1;
      } else if (quoted) {
        if (code === 0x22 || code === RETURN) return at;
        if (code === 0x5c && at + 1 < text.length) {
          const next = text.charCodeAt(at + 1);
          if (next !== NEWLINE && next !== RETURN) at++;
        }
      }
    }
    return at;
  }
}

function newFrame(kind: Frame["kind"], marker = ""): Frame {
  return { kind, braces: 0, marker, lineStart: true };
}

/** Digits, dots and exponents; the last character is a digit. */
function numberEnd(text: string, start: number): number {
  const isDigit = (code: number) => code >= 0x30 && code <= 0x39;
  let end = start + 1;
  for (let at = end;; at++) {
    const code = text.charCodeAt(at);
    if (isDigit(code)) end = at + 1;
    else if (code === 0x65 || code === 0x45) {
      const sign = text.charCodeAt(at + 1);
      const digit = sign === 0x2b || sign === 0x2d ? at + 2 : at + 1;
      if (!isDigit(text.charCodeAt(digit))) return end;
      at = digit;
      end = at + 1;
    } else if (code !== 0x2e) return end;
  }
}

function isIdentStart(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || code === 0x5f || code >= 0x80;
}

function isIdentPart(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a) || (code >= 0x30 && code <= 0x39) ||
    code === 0x5f || code === 0x2d;
}
