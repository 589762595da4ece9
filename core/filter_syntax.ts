// Reading the filter language of list routes: text → expression tree. A parser that tries alternatives in order and
// remembers the furthest place where it failed, because clients show its message. What expressions mean is in
// filter.ts.
//
// Invariants: reading ends for every input (bounded length and nesting); throws FilterError only.

/** Why an expression cannot be read or applied. The message is the whole text without a prefix. */
export class FilterError extends Error {
  override readonly name = "FilterError";
}

export interface Selector {
  path: string[];
  /** As it was written. */
  text: string;
}

export type MatchOperator =
  | "=="
  | "!="
  | "in"
  | "not in"
  | "is empty"
  | "is not empty"
  | "is nil"
  | "is not nil"
  | "matches"
  | "not matches";

export type Expression =
  | { kind: "or" | "and"; left: Expression; right: Expression }
  | { kind: "not"; inner: Expression }
  | { kind: "match"; selector: Selector; operator: MatchOperator; value: string }
  | { kind: "any" | "all"; selector: Selector; names: [string, string | null]; inner: Expression };

const EXPRESSION_MAX_CHARS = 16_384;
const NESTING_MAX = 100;

/** The tree of an expression. Throws FilterError with place and cause. */
export function parseFilter(text: string): Expression {
  if (text.length > EXPRESSION_MAX_CHARS) {
    throw new FilterError(`expression is longer than ${EXPRESSION_MAX_CHARS} characters`);
  }
  return new Parser(text).read();
}

/** Recursive descent with backtracking: every `try…` returns null and restores the position when it fails. */
class Parser {
  #at = 0;
  #depth = 0;
  #furthest = 0;
  #expected = new Set<string>();
  #errors = new Set<string>();

  constructor(private readonly text: string) {}

  read(): Expression {
    const found = this.#input();
    if (this.#errors.size > 0) throw new FilterError([...this.#errors].join("\n"));
    if (found) return found;
    const eof = this.#expected.delete("!.");
    const wanted = [...this.#expected].sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
    if (eof) wanted.push("EOF");
    const last = wanted.pop() ?? "EOF";
    const list = wanted.length > 0 ? `${wanted.join(", ")} or ${last}` : last;
    throw new FilterError(`${this.#place(this.#furthest)}: no match found, expected: ${list}`);
  }

  #place(at: number): string {
    const before = this.text.slice(0, at);
    const line = before.split("\n").length;
    const column = at - (before.lastIndexOf("\n") + 1) + 1;
    return `${line}:${column} (${at})`;
  }

  /** A mistake that no alternative can heal. */
  #mistake(rule: string, message: string, at = this.#at): void {
    this.#errors.add(`${this.#place(at)}: rule "${rule}": ${message}`);
  }

  #want(what: string): void {
    if (this.#at < this.#furthest) return;
    if (this.#at > this.#furthest) {
      this.#furthest = this.#at;
      this.#expected.clear();
    }
    this.#expected.add(what);
  }

  #literal(word: string): boolean {
    if (this.text.startsWith(word, this.#at)) {
      this.#at += word.length;
      return true;
    }
    this.#want(JSON.stringify(word));
    return false;
  }

  #oneOf(charset: RegExp, want: string): string | null {
    const char = this.text[this.#at];
    if (char !== undefined && charset.test(char)) {
      this.#at++;
      return char;
    }
    this.#want(want);
    return null;
  }

  #space(): boolean {
    let any = false;
    while (this.#oneOf(/[ \t\r\n]/, "[ \\t\\r\\n]") !== null) any = true;
    return any;
  }

  #end(): boolean {
    if (this.#at === this.text.length) return true;
    this.#want("!.");
    return false;
  }

  /** Runs one alternative; a null result puts the position back. */
  #alternative<T>(run: () => T | null): T | null {
    const start = this.#at;
    const found = run();
    if (found === null) this.#at = start;
    return found;
  }

  #first<T>(...alternatives: (() => T | null)[]): T | null {
    for (const run of alternatives) {
      const found = this.#alternative(run);
      if (found !== null) return found;
    }
    return null;
  }

  #input(): Expression | null {
    return this.#alternative(() => {
      this.#space();
      const found = this.#or();
      if (!found) return null;
      this.#space();
      return this.#end() ? found : null;
    });
  }

  #or(): Expression | null {
    if (++this.#depth > NESTING_MAX) {
      throw new FilterError(`expression is nested more than ${NESTING_MAX} levels deep`);
    }
    const left = this.#and() ?? this.#collection();
    const found = left && this.#binary("or", left, () => this.#or());
    this.#depth--;
    return found;
  }

  #and(): Expression | null {
    if (++this.#depth > NESTING_MAX) {
      throw new FilterError(`expression is nested more than ${NESTING_MAX} levels deep`);
    }
    const left = this.#not();
    const found = left && this.#binary("and", left, () => this.#and());
    this.#depth--;
    return found;
  }

  #binary(kind: "or" | "and", left: Expression, next: () => Expression | null): Expression {
    return this.#alternative<Expression>(() => {
      if (!this.#space() || !this.#literal(kind) || !this.#space()) return null;
      const right = next();
      return right && { kind, left, right };
    }) ?? left;
  }

  #not(): Expression | null {
    if (++this.#depth > NESTING_MAX) {
      throw new FilterError(`expression is nested more than ${NESTING_MAX} levels deep`);
    }
    const found = this.#first<Expression>(
      () => {
        if (!this.#literal("not") || !this.#space()) return null;
        const inner = this.#not();
        return inner && { kind: "not", inner };
      },
      () => this.#grouping(),
    );
    this.#depth--;
    return found;
  }

  #grouping(): Expression | null {
    return this.#first<Expression>(
      () => {
        if (!this.#literal("(")) return null;
        this.#space();
        const inner = this.#or();
        if (!inner) return null;
        this.#space();
        if (this.#literal(")")) return inner;
        this.#mistake("grouping", "Unmatched parentheses");
        return null;
      },
      () => this.#match(),
    );
  }

  #collection(): Expression | null {
    return this.#alternative<Expression>(() => {
      const kind = this.#literal("any") ? "any" : this.#literal("all") ? "all" : null;
      if (!kind || !this.#space()) return null;
      const selector = this.#selector();
      if (!selector || !this.#space() || !this.#literal("as") || !this.#space()) return null;
      const first = this.#literal("_") ? "_" : this.#identifier();
      if (first === null) return null;
      const second = this.#alternative(() => {
        this.#space();
        if (!this.#literal(",")) return null;
        this.#space();
        return this.#literal("_") ? "_" : this.#identifier();
      });
      this.#space();
      if (!this.#literal("{")) return null;
      this.#space();
      const inner = this.#or();
      if (!inner) return null;
      this.#space();
      return this.#literal("}") ? { kind, selector, names: [first, second], inner } : null;
    });
  }

  #match(): Expression | null {
    return this.#first<Expression>(
      () => {
        const selector = this.#selector();
        const operator = selector && this.#valueOperator();
        const value = operator && this.#value();
        return selector && operator && value
          ? { kind: "match", selector, operator, value: value.text }
          : null;
      },
      () => {
        const selector = this.#selector();
        const operator = selector && this.#bareOperator();
        return selector && operator ? { kind: "match", selector, operator, value: "" } : null;
      },
      () => {
        const value = this.#value();
        const operator = value && this.#inOperator();
        if (!value || !operator) return null;
        const selector = this.#selector();
        if (selector) return { kind: "match", selector, operator, value: value.text };
        this.#mistake("match", "Invalid selector");
        return null;
      },
    );
  }

  /** `words` between mandatory spaces, with a space before. */
  #words(...words: string[]): boolean {
    return this.#alternative(() => words.every((word) => this.#space() && this.#literal(word)) || null) ??
      false;
  }

  #valueOperator(): MatchOperator | null {
    const symbol = (word: string) =>
      this.#alternative(() => {
        this.#space();
        if (!this.#literal(word)) return null;
        this.#space();
        return true;
      });
    const word = (...words: string[]) =>
      this.#alternative(() => this.#words(...words) && this.#space() || null);
    if (symbol("==")) return "==";
    if (symbol("!=")) return "!=";
    if (word("contains")) return "in";
    if (word("not", "contains")) return "not in";
    if (word("matches")) return "matches";
    if (word("not", "matches")) return "not matches";
    return null;
  }

  #bareOperator(): MatchOperator | null {
    if (this.#words("is", "empty")) return "is empty";
    if (this.#words("is", "not", "empty")) return "is not empty";
    if (this.#words("is", "nil")) return "is nil";
    if (this.#words("is", "not", "nil")) return "is not nil";
    return null;
  }

  #inOperator(): "in" | "not in" | null {
    const word = (...words: string[]) =>
      this.#alternative(() => this.#words(...words) && this.#space() || null);
    if (word("in")) return "in";
    if (word("not", "in")) return "not in";
    return null;
  }

  #identifier(): string | null {
    const start = this.#at;
    if (this.#oneOf(/[a-zA-Z]/, "[a-zA-Z]") === null) return null;
    while (this.#oneOf(/[a-zA-Z0-9_/]/, "[a-zA-Z0-9_/]") !== null);
    return this.text.slice(start, this.#at);
  }

  #selector(): Selector | null {
    const start = this.#at;
    return this.#first<Selector>(
      () => {
        const first = this.#identifier();
        if (first === null) return null;
        const path = [first];
        for (;;) {
          const part = this.#first<string>(
            () => this.#literal(".") ? this.#identifier() : null,
            () => this.#index(),
            () => this.#literal(".") ? this.#digits() : null,
          );
          if (part === null) break;
          path.push(part);
        }
        return { path, text: this.text.slice(start, this.#at) };
      },
      () => this.#pointer(),
    );
  }

  #digits(): string | null {
    const start = this.#at;
    while (this.#oneOf(/[0-9]/, "[0-9]") !== null);
    return this.#at > start ? this.text.slice(start, this.#at) : null;
  }

  #index(): string | null {
    if (!this.#literal("[")) return null;
    this.#space();
    const at = this.#at;
    const key = this.#string();
    if (key === null) {
      this.#mistake("index", "Invalid index", at);
      return null;
    }
    this.#space();
    if (this.#literal("]")) return key;
    this.#mistake("index", "Unclosed index expression");
    return null;
  }

  /** `"/Attributes/kernel.name"`: a JSON pointer in quotes. */
  #pointer(): Selector | null {
    if (!this.#literal('"')) return null;
    const path: string[] = [];
    while (this.#literal("/")) {
      const start = this.#at;
      while (this.#oneOf(/[\p{L}\p{N}\-_.~:|]/u, "[\\pL\\pN-_.~:|]") !== null);
      if (this.#at === start) return null;
      path.push(this.text.slice(start, this.#at).replaceAll("~1", "/").replaceAll("~0", "~"));
    }
    if (path.length === 0 || !this.#literal('"')) return null;
    return { path, text: `/${path.join("/")}` };
  }

  #value(): { text: string } | null {
    return this.#first<{ text: string }>(
      () => this.#selector(),
      () => this.#number(),
      () => {
        const text = this.#string();
        return text === null ? null : { text };
      },
    );
  }

  #number(): { text: string } | null {
    const start = this.#at;
    this.#literal("-");
    if (!this.#literal("0")) {
      if (this.#oneOf(/[1-9]/, "[1-9]") === null) return null;
      this.#digits();
    }
    this.#alternative(() => this.#literal(".") ? this.#digits() : null);
    const next = this.text[this.#at];
    if (next !== undefined && !/[ \t\r\n)}]/.test(next)) {
      this.#mistake("number", "Invalid number literal");
      return null;
    }
    return { text: this.text.slice(start, this.#at) };
  }

  #string(): string | null {
    const start = this.#at;
    const quote = this.#literal("`") ? "`" : this.#literal('"') ? '"' : null;
    if (quote === null) return null;
    const end = this.text.indexOf(quote, this.#at);
    if (end < 0) {
      this.#at = this.text.length;
      this.#mistake("string", "Unterminated string literal");
      return null;
    }
    const body = this.text.slice(this.#at, end);
    this.#at = end + 1;
    if (quote === "`") return body;
    const text = unquote(body);
    if (text === null) this.#mistake("string", "invalid syntax", start);
    return text;
  }
}

const ESCAPES: Record<string, string> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
  '"': '"',
};

/** The inside of a double-quoted Go string; null when an escape is wrong. */
function unquote(body: string): string | null {
  let wrong = body.includes("\n");
  const text = body.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|([\s\S]?))/g,
    (_, hex?: string, u4?: string, u8?: string, octal?: string, char?: string) => {
      const code = hex ?? u4 ?? u8;
      if (code !== undefined) {
        const point = parseInt(code, 16);
        if (point <= 0x10ffff) return String.fromCodePoint(point);
      } else if (octal !== undefined) return String.fromCharCode(parseInt(octal, 8));
      else if (char !== undefined && ESCAPES[char] !== undefined) return ESCAPES[char];
      wrong = true;
      return "";
    },
  );
  return wrong ? null : text;
}
