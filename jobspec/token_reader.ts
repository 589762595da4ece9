// A cursor over tokens for the parser: hides comments, hides line ends where they mean nothing (inside brackets), and
// turns what it finds wrong into one diagnostic and a SyntaxFailure that the nearest item catches.
// Invariant: after a failure nothing of the failed item is reported again.
import type { Diagnostics, SourceFile } from "./diagnostics.ts";
import { T, type Tokens, type TokenType } from "./lexer.ts";

/** Ends the parsing of one attribute or block. It has been reported (or deliberately not). */
export class SyntaxFailure extends Error {
  override readonly name = "SyntaxFailure";
}

/** Deeper nesting than this is refused: it is never meant, and the stack must not overflow. */
export const NESTING_MAX = 250;

export class TokenReader {
  index = 0;
  #newlines: boolean[] = [true];
  #depth = 0;
  /** First token of the attribute or block that is being parsed. */
  itemStart = 0;

  constructor(
    readonly source: SourceFile,
    readonly tokens: Tokens,
    readonly diagnostics: Diagnostics,
    /** Strings are no templates: `${` is text in them (files of the HCL1 family). */
    readonly rawStrings = false,
  ) {}

  /** Type of the next token that matters; a comment that ends a line counts as the line's end. */
  peek(): TokenType {
    const { tokens } = this;
    const newlines = this.#newlines[this.#newlines.length - 1]!;
    for (;;) {
      const type = tokens.type(this.index);
      if (type === T.Comment) {
        const endsLine = tokens.text.charCodeAt(tokens.end(this.index) - 1) === 0x0a;
        if (endsLine && newlines) return T.Newline;
        this.index++;
      } else if (type === T.Newline && !newlines) this.index++;
      else return type;
    }
  }

  /** Index of the next token that matters. */
  at(): number {
    this.peek();
    return this.index;
  }

  /** Moves past the next token and returns its index. */
  next(): number {
    const type = this.peek();
    const index = this.index;
    if (type !== T.EndOfFile) this.index++;
    return index;
  }

  accept(type: TokenType): boolean {
    if (this.peek() !== type) return false;
    this.index++;
    return true;
  }

  /** Whether the next token is this bare word. */
  peekWord(word: string): boolean {
    return this.peek() === T.Ident && this.tokens.textOf(this.index) === word;
  }

  start(): number {
    return this.tokens.start(this.at());
  }

  /** End of the token before the cursor. */
  lastEnd(): number {
    let index = this.index - 1;
    while (index > 0 && this.tokens.type(index) === T.Comment) index--;
    return index < 0 ? 0 : this.tokens.end(index);
  }

  /** Runs `action` with line ends significant or not, and counts a level of nesting. */
  nested<R>(newlines: boolean, action: () => R): R {
    this.enter();
    this.#newlines.push(newlines);
    try {
      return action();
    } finally {
      this.#newlines.pop();
      this.leave();
    }
  }

  enter(): void {
    if (++this.#depth > NESTING_MAX) {
      this.fail("Nesting too deep", `Brackets and blocks may be nested ${NESTING_MAX} levels deep at most.`);
    }
  }

  leave(): void {
    this.#depth--;
  }

  /** State of nesting, restored after a failure. */
  mark(): { readonly depth: number; readonly newlines: number } {
    return { depth: this.#depth, newlines: this.#newlines.length };
  }

  restore(mark: { readonly depth: number; readonly newlines: number }): void {
    this.#depth = mark.depth;
    this.#newlines.length = mark.newlines;
  }

  /** Reports at the next token (or at token `index`) and gives the item up. */
  fail(summary: string, detail: string, index = this.at(), expected?: string): never {
    this.failRange(summary, detail, this.tokens.start(index), this.tokens.end(index), expected);
  }

  failRange(summary: string, detail: string, start: number, end: number, expected?: string): never {
    // A character that is no token was reported already, and is what the parser stumbles over.
    if (!this.#sawInvalid()) {
      this.diagnostics.error(
        { source: this.source, start, end },
        summary,
        detail,
        expected ? { expected } : {},
      );
    }
    throw new SyntaxFailure();
  }

  /** The closing token that balances what is open here, or the end of the file. */
  matching(opening: TokenType, closing: TokenType): number {
    let depth = 0;
    for (let i = this.at(); i < this.tokens.count; i++) {
      const type = this.tokens.type(i);
      if (type === opening) depth++;
      else if (type === closing && depth-- === 0) return i;
    }
    return this.tokens.count - 1;
  }

  /** Whether the string that is being read was never closed on its line: reported already, by the lexer's findings. */
  inUnclosedString(): boolean {
    let depth = 0;
    for (let i = this.index; i < this.tokens.count; i++) {
      const type = this.tokens.type(i);
      if (type === T.QuotedNewline) return true;
      if (type === T.OpenQuote || type === T.OpenHeredoc) depth++;
      else if ((type === T.CloseQuote || type === T.CloseHeredoc) && depth-- === 0) return false;
    }
    return false;
  }

  #sawInvalid(): boolean {
    const last = Math.min(this.index + 1, this.tokens.count - 1);
    for (let i = this.itemStart; i <= last; i++) {
      const type = this.tokens.type(i);
      if (type === T.Invalid || type === T.QuotedNewline) return true;
    }
    return false;
  }
}

/** Reports every character that belongs to no token and every quoted string that runs over its line. */
export function reportInvalidTokens(source: SourceFile, tokens: Tokens, diagnostics: Diagnostics): void {
  for (let i = 0; i < tokens.count; i++) {
    const type = tokens.type(i);
    if (type !== T.Invalid && type !== T.QuotedNewline) continue;
    const place = { source, start: tokens.start(i), end: tokens.end(i) };
    if (type === T.QuotedNewline) {
      diagnostics.error(
        place,
        "Invalid multi-line string",
        "Quoted strings may not be split over multiple lines. Close the string, write \\n for a line break, or use a heredoc (<<EOT).",
        { expected: 'a closing quote (")' },
      );
    } else {
      const [summary, detail] = invalidCharacter(tokens.textOf(i));
      diagnostics.error(place, summary, detail);
    }
  }
}

function invalidCharacter(text: string): [string, string] {
  switch (text) {
    case "&":
    case "|":
    case "^":
    case "~":
      return ["Unsupported operator", "Bitwise operators are not supported. Use && and || for logic."];
    case "`":
      return [
        "Invalid character",
        'The "`" character is not valid. Use double quotes, or a heredoc (<<EOT) for several lines.',
      ];
    case "'":
      return ["Invalid character", 'Single quotes are not valid. Use double quotes (") to enclose strings.'];
    case ";":
      return [
        "Invalid character",
        'The ";" character is not valid. Use line ends to separate arguments and blocks, commas to separate items.',
      ];
    case "\0":
      return ["Invalid character", "A NUL character is not valid: the file seems not to be text."];
    case "\ufffd":
      return ["Invalid character encoding", "The file must be UTF-8 text."];
    default:
      return ["Invalid character", `The character ${JSON.stringify(text)} is not used within the language.`];
  }
}
