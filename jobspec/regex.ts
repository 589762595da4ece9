// Regular expressions in RE2's syntax, matched in time linear to the text: a hostile pattern cannot hang the server.
// A small parser to instructions and a thread simulation (Pike). Leftmost-first, as Go's regexp.
// Invariants: the program of one pattern has at most PROGRAM_MAX instructions; threads of one step are distinct.

/** The pattern is wrong; `message` says what, in the words that RE2 users know. */
export class RegexError extends Error {
  override readonly name = "RegexError";
}

const PROGRAM_MAX = 20_000;
const REPEAT_MAX = 1000;
const NESTING_MAX = 200;

type Test = (code: number) => boolean;

type Instruction =
  | { readonly op: "char"; readonly test: Test; next: number }
  | { readonly op: "split"; next: number; other: number }
  | { readonly op: "save"; readonly slot: number; next: number }
  | { readonly op: "assert"; readonly kind: AssertKind; next: number }
  | { readonly op: "match"; next: number };

type AssertKind = "textStart" | "textEnd" | "lineStart" | "lineEnd" | "word" | "notWord";

type Node =
  | { readonly kind: "empty" }
  | { readonly kind: "char"; readonly test: Test }
  | { readonly kind: "assert"; readonly assert: AssertKind }
  | { readonly kind: "sequence" | "choice"; readonly items: readonly Node[] }
  | { readonly kind: "group"; readonly index: number; readonly inner: Node }
  | {
    readonly kind: "repeat";
    readonly inner: Node;
    readonly least: number;
    readonly most: number;
    readonly lazy: boolean;
  };

export interface Regex {
  readonly program: readonly Instruction[];
  readonly groupCount: number;
  readonly names: ReadonlyMap<string, number>;
}

interface Flags {
  readonly fold: boolean;
  readonly multiline: boolean;
  readonly dotAll: boolean;
  readonly swapLazy: boolean;
}

/** Compiles, or throws RegexError. */
export function compileRegex(pattern: string): Regex {
  const parser = new RegexParser(pattern);
  const node = parser.parse();
  const program: Instruction[] = [];
  emit(program, { kind: "group", index: 0, inner: node });
  program.push({ op: "match", next: 0 });
  return { program, groupCount: parser.groups + 1, names: parser.names };
}

class RegexParser {
  #at = 0;
  #depth = 0;
  readonly #chars: string[];
  groups = 0;
  readonly names = new Map<string, number>();
  #flags: Flags = { fold: false, multiline: false, dotAll: false, swapLazy: false };

  constructor(readonly pattern: string) {
    this.#chars = Array.from(pattern);
  }

  parse(): Node {
    const node = this.#choice();
    if (this.#at < this.#chars.length) throw new RegexError(`unexpected ): \`${this.pattern}\``);
    return node;
  }

  #peek(): string | undefined {
    return this.#chars[this.#at];
  }

  #accept(text: string): boolean {
    if (this.#chars.slice(this.#at, this.#at + text.length).join("") !== text) return false;
    this.#at += text.length;
    return true;
  }

  #choice(): Node {
    const items = [this.#sequence()];
    while (this.#accept("|")) items.push(this.#sequence());
    return items.length === 1 ? items[0]! : { kind: "choice", items };
  }

  #sequence(): Node {
    const items: Node[] = [];
    for (let char = this.#peek(); char !== undefined && char !== "|" && char !== ")"; char = this.#peek()) {
      if (this.#accept("\\Q")) {
        items.push(...this.#quoted());
        continue;
      }
      const item = this.#atom();
      if (item) items.push(this.#repeats(item));
    }
    return items.length === 1
      ? items[0]!
      : items.length === 0
      ? { kind: "empty" }
      : { kind: "sequence", items };
  }

  #quoted(): Node[] {
    const items: Node[] = [];
    while (this.#at < this.#chars.length && !this.#accept("\\E")) {
      items.push({ kind: "char", test: this.#literal(this.#chars[this.#at++]!) });
    }
    return items;
  }

  #repeats(item: Node): Node {
    let repeated = false;
    for (;;) {
      const start = this.#at;
      const bounds = this.#bounds();
      if (!bounds) return item;
      const lazy = this.#accept("?") !== this.#flags.swapLazy;
      if (repeated) {
        throw new RegexError(
          `invalid nested repetition operator: \`${this.#chars.slice(start - 1, this.#at).join("")}\``,
        );
      }
      repeated = true;
      item = { kind: "repeat", inner: item, least: bounds[0], most: bounds[1], lazy };
    }
  }

  #bounds(): [number, number] | undefined {
    if (this.#accept("*")) return [0, Infinity];
    if (this.#accept("+")) return [1, Infinity];
    if (this.#accept("?")) return [0, 1];
    if (this.#peek() !== "{") return undefined;
    const match = /^\{(\d+)(,(\d*))?\}/.exec(this.#chars.slice(this.#at, this.#at + 20).join(""));
    if (!match) return undefined;
    const least = Number(match[1]);
    const most = match[2] === undefined ? least : match[3] === "" ? Infinity : Number(match[3]);
    if (least > REPEAT_MAX || (most !== Infinity && most > REPEAT_MAX) || most < least) {
      throw new RegexError(`invalid repeat count: \`${match[0]}\``);
    }
    this.#at += match[0].length;
    return [least, most];
  }

  #atom(): Node | undefined {
    const char = this.#chars[this.#at++]!;
    switch (char) {
      case "(":
        return this.#group();
      case "[":
        return { kind: "char", test: this.#class() };
      case ".":
        return { kind: "char", test: this.#flags.dotAll ? () => true : (code) => code !== 0x0a };
      case "^":
        return { kind: "assert", assert: this.#flags.multiline ? "lineStart" : "textStart" };
      case "$":
        return { kind: "assert", assert: this.#flags.multiline ? "lineEnd" : "textEnd" };
      case "\\":
        return this.#escape();
      case "*":
      case "+":
      case "?":
        throw new RegexError(`missing argument to repetition operator: \`${char}\``);
      default:
        return { kind: "char", test: this.#literal(char) };
    }
  }

  #literal(char: string): Test {
    return foldTest(char.codePointAt(0)!, this.#flags.fold);
  }

  #group(): Node | undefined {
    if (++this.#depth > NESTING_MAX) throw new RegexError("expression nests too deeply");
    const saved = this.#flags;
    let index: number | undefined;
    if (this.#accept("?")) {
      const named = /^P?<([^>]*)>/.exec(this.#chars.slice(this.#at).join(""));
      if (named) {
        const name = named[1]!;
        if (!/^\w+$/.test(name)) throw new RegexError(`invalid named capture: \`(?${named[0]}\``);
        if (this.names.has(name)) throw new RegexError(`duplicate capture group name: \`${name}\``);
        this.#at += Array.from(named[0]).length;
        index = ++this.groups;
        this.names.set(name, index);
      } else if (this.#readFlags()) {
        this.#depth--;
        return undefined;
      }
    } else index = ++this.groups;
    const inner = this.#choice();
    if (!this.#accept(")")) throw new RegexError(`missing closing ): \`${this.pattern}\``);
    this.#flags = saved;
    this.#depth--;
    return index === undefined ? inner : { kind: "group", index, inner };
  }

  /** `(?i)` → true (flags hold to the end of the group), `(?i:` → false (an inner group follows). */
  #readFlags(): boolean {
    let negative = false;
    const flags = { ...this.#flags };
    const start = this.#at;
    for (;;) {
      const char = this.#chars[this.#at++];
      if (char === "i") flags.fold = !negative;
      else if (char === "m") flags.multiline = !negative;
      else if (char === "s") flags.dotAll = !negative;
      else if (char === "U") flags.swapLazy = !negative;
      else if (char === "-" && !negative) negative = true;
      else if (char === ":" || char === ")") {
        this.#flags = flags;
        return char === ")";
      } else {
        throw new RegexError(
          char === undefined
            ? `missing closing ): \`${this.pattern}\``
            : `invalid or unsupported Perl syntax: \`(?${this.#chars.slice(start, this.#at).join("")}\``,
        );
      }
    }
  }

  #escape(): Node {
    const char = this.#chars[this.#at];
    if (char === undefined) throw new RegexError("trailing backslash at end of expression: ``");
    const asserts: Record<string, AssertKind> = { A: "textStart", z: "textEnd", b: "word", B: "notWord" };
    const assert = asserts[char];
    if (assert) {
      this.#at++;
      return { kind: "assert", assert };
    }
    return { kind: "char", test: this.#escapedClass() ?? foldTest(this.#escapedChar(), this.#flags.fold) };
  }

  /** \d \w \s \pL …; undefined if the escape stands for one character. */
  #escapedClass(): Test | undefined {
    const char = this.#chars[this.#at]!;
    const perl = PERL_CLASSES[char.toLowerCase()];
    if (perl && "dwsDWS".includes(char)) {
      this.#at++;
      return char === char.toLowerCase() ? perl : (code) => !perl(code);
    }
    if (char !== "p" && char !== "P") return undefined;
    const match = /^[pP](?:\{(\^?)([A-Za-z_]+)\}|([A-Z]))/.exec(
      this.#chars.slice(this.#at, this.#at + 60).join(""),
    );
    const name = match?.[2] ?? match?.[3];
    if (!match || !name) throw new RegexError(`invalid character class range: \`\\${char}\``);
    this.#at += match[0].length;
    const negated = (char === "P") !== (match[1] === "^");
    const test = unicodeClass(name);
    return negated ? (code) => !test(code) : test;
  }

  #escapedChar(): number {
    const char = this.#chars[this.#at++]!;
    const controls: Record<string, number> = { a: 7, f: 12, t: 9, n: 10, r: 13, v: 11 };
    const control = controls[char];
    if (control !== undefined) return control;
    if (char === "x") return this.#hex();
    if (char === "0" || (/[1-7]/.test(char) && /[0-7]/.test(this.#peek() ?? ""))) {
      const digits = /^[0-7]{0,2}/.exec(this.#chars.slice(this.#at, this.#at + 2).join(""))![0];
      this.#at += digits.length;
      return parseInt(char + digits, 8);
    }
    if (char.codePointAt(0)! < 0x80 && !/[A-Za-z0-9]/.test(char)) return char.codePointAt(0)!;
    throw new RegexError(`invalid escape sequence: \`\\${char}\``);
  }

  #hex(): number {
    const match = /^(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{2}))/.exec(
      this.#chars.slice(this.#at, this.#at + 8).join(""),
    );
    if (!match) throw new RegexError("invalid escape sequence: `\\x`");
    this.#at += match[0].length;
    return parseInt(match[1] ?? match[2]!, 16);
  }

  #class(): Test {
    const start = this.#at - 1;
    const negated = this.#accept("^");
    const tests: Test[] = [];
    const missing = () => new RegexError(`missing closing ]: \`${this.#chars.slice(start).join("")}\``);
    for (let first = true; first || this.#peek() !== "]"; first = false) {
      if (this.#peek() === undefined) throw missing();
      const posix = /^\[:(\^?)(\w+):\]/.exec(this.#chars.slice(this.#at, this.#at + 20).join(""));
      if (posix) {
        const named = POSIX_CLASSES[posix[2]!];
        if (!named) throw new RegexError(`invalid character class range: \`${posix[0]}\``);
        tests.push(posix[1] ? (code) => !named(code) : named);
        this.#at += posix[0].length;
        continue;
      }
      tests.push(this.#classItem());
    }
    this.#at++;
    return negated
      ? (code) => !tests.some((test) => test(code))
      : tests.length === 1
      ? tests[0]!
      : (code) => tests.some((test) => test(code));
  }

  #classItem(): Test {
    const start = this.#at;
    if (this.#peek() === "\\") {
      this.#at++;
      if (this.#peek() === undefined) throw new RegexError("trailing backslash at end of expression: ``");
      const named = this.#escapedClass();
      if (named) return named;
      this.#at--;
    }
    const low = this.#classChar();
    if (
      this.#peek() !== "-" || this.#chars[this.#at + 1] === "]" || this.#chars[this.#at + 1] === undefined
    ) {
      return foldTest(low, this.#flags.fold);
    }
    this.#at++;
    const high = this.#classChar();
    if (high < low) {
      throw new RegexError(
        `invalid character class range: \`${this.#chars.slice(start, this.#at).join("")}\``,
      );
    }
    if (!this.#flags.fold) return (code) => code >= low && code <= high;
    return (code) => foldings(code).some((other) => other >= low && other <= high);
  }

  #classChar(): number {
    const char = this.#chars[this.#at++]!;
    return char === "\\" ? this.#escapedChar() : char.codePointAt(0)!;
  }
}

function isWord(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || code === 0x5f ||
    (code >= 0x61 && code <= 0x7a);
}

const PERL_CLASSES: Record<string, Test> = {
  d: (code) => code >= 0x30 && code <= 0x39,
  w: isWord,
  s: (code) => code === 0x20 || code === 9 || code === 10 || code === 12 || code === 13,
};

function charClass(source: string): Test {
  const pattern = new RegExp(`^${source}$`);
  return (code) => code < 0x80 && pattern.test(String.fromCharCode(code));
}

const POSIX_CLASSES: Record<string, Test> = {
  alnum: charClass("[0-9A-Za-z]"),
  alpha: charClass("[A-Za-z]"),
  ascii: (code) => code < 0x80,
  blank: charClass("[\\t ]"),
  cntrl: (code) => code < 0x20 || code === 0x7f,
  digit: charClass("[0-9]"),
  graph: (code) => code > 0x20 && code < 0x7f,
  lower: charClass("[a-z]"),
  print: (code) => code >= 0x20 && code < 0x7f,
  punct: charClass("[!-/:-@\\[-`{-~]"),
  space: charClass("[\\t\\n\\v\\f\\r ]"),
  upper: charClass("[A-Z]"),
  word: isWord,
  xdigit: charClass("[0-9A-Fa-f]"),
};

function unicodeClass(name: string): Test {
  if (name === "Any") return () => true;
  let pattern: RegExp;
  try {
    pattern = name.length <= 2 ? new RegExp(`^\\p{${name}}$`, "u") : new RegExp(`^\\p{Script=${name}}$`, "u");
  } catch (error) {
    if (error instanceof SyntaxError) throw new RegexError(`invalid character class range: \`\\p{${name}}\``);
    throw error;
  }
  return (code) => pattern.test(String.fromCodePoint(code));
}

/** A letter with its other cases. */
function foldings(code: number): number[] {
  const char = String.fromCodePoint(code);
  const others = [char.toLowerCase(), char.toUpperCase()].filter((other) => [...other].length === 1);
  const codes = [code, ...others.map((other) => other.codePointAt(0)!)];
  if (code === 0x212a || char === "k" || char === "K") codes.push(0x6b, 0x4b, 0x212a);
  if (code === 0x17f || char === "s" || char === "S") codes.push(0x73, 0x53, 0x17f);
  return codes;
}

function foldTest(wanted: number, fold: boolean): Test {
  if (!fold) return (code) => code === wanted;
  const codes = foldings(wanted);
  return (code) => codes.includes(code);
}

function push(program: Instruction[], instruction: Instruction): number {
  if (program.length >= PROGRAM_MAX) throw new RegexError("expression too large");
  program.push(instruction);
  return program.length - 1;
}

/** Appends the instructions of a node; they fall through to what follows. */
function emit(program: Instruction[], node: Node): void {
  switch (node.kind) {
    case "empty":
      return;
    case "char":
      push(program, { op: "char", test: node.test, next: program.length + 1 });
      return;
    case "assert":
      push(program, { op: "assert", kind: node.assert, next: program.length + 1 });
      return;
    case "sequence":
      for (const item of node.items) emit(program, item);
      return;
    case "choice":
      return emitChoice(program, node.items);
    case "group":
      push(program, { op: "save", slot: node.index * 2, next: program.length + 1 });
      emit(program, node.inner);
      push(program, { op: "save", slot: node.index * 2 + 1, next: program.length + 1 });
      return;
    case "repeat":
      return emitRepeat(program, node);
  }
}

function emitChoice(program: Instruction[], items: readonly Node[]): void {
  const exits: Instruction[] = [];
  items.forEach((item, i) => {
    if (i === items.length - 1) return emit(program, item);
    const split: Instruction & { op: "split" } = { op: "split", next: program.length + 1, other: 0 };
    push(program, split);
    emit(program, item);
    const exit: Instruction & { op: "split" } = { op: "split", next: 0, other: -1 };
    push(program, exit);
    exits.push(exit);
    split.other = program.length;
  });
  for (const exit of exits) exit.next = program.length;
}

function emitRepeat(program: Instruction[], node: Node & { kind: "repeat" }): void {
  for (let i = 0; i < node.least; i++) emit(program, node.inner);
  const optional = (): Instruction & { op: "split" } => {
    const split: Instruction & { op: "split" } = { op: "split", next: 0, other: 0 };
    push(program, split);
    return split;
  };
  const route = (split: Instruction & { op: "split" }, into: number, past: number): void => {
    split.next = node.lazy ? past : into;
    split.other = node.lazy ? into : past;
  };
  if (node.most === Infinity) {
    const at = program.length;
    const split = optional();
    emit(program, node.inner);
    push(program, { op: "split", next: at, other: -1 });
    return route(split, at + 1, program.length);
  }
  const splits: [Instruction & { op: "split" }, number][] = [];
  for (let i = node.least; i < node.most; i++) {
    const split = optional();
    splits.push([split, program.length]);
    emit(program, node.inner);
  }
  for (const [split, into] of splits) route(split, into, program.length);
}

interface Thread {
  readonly pc: number;
  readonly slots: readonly number[];
}

class Matcher {
  readonly #codes: number[];
  readonly #starts: number[];

  constructor(readonly regex: Regex, text: string) {
    this.#codes = [];
    this.#starts = [];
    let at = 0;
    for (const char of text) {
      this.#codes.push(char.codePointAt(0)!);
      this.#starts.push(at);
      at += char.length;
    }
    this.#starts.push(at);
  }

  get length(): number {
    return this.#codes.length;
  }

  /** UTF-16 offset of a code point position. */
  offset(position: number): number {
    return this.#starts[position]!;
  }

  #holds(kind: AssertKind, at: number): boolean {
    const before = this.#codes[at - 1];
    const after = this.#codes[at];
    switch (kind) {
      case "textStart":
        return at === 0;
      case "textEnd":
        return after === undefined;
      case "lineStart":
        return before === undefined || before === 0x0a;
      case "lineEnd":
        return after === undefined || after === 0x0a;
      case "word":
      case "notWord": {
        const boundary = (before !== undefined && isWord(before)) !== (after !== undefined && isWord(after));
        return boundary === (kind === "word");
      }
    }
  }

  /** Follows instructions that take no character, depth first in order of preference. */
  #add(list: Thread[], seen: Uint8Array, thread: Thread, at: number): void {
    const pending: Thread[] = [thread];
    while (pending.length > 0) {
      const { pc, slots } = pending.pop()!;
      if (seen[pc]) continue;
      seen[pc] = 1;
      const instruction = this.regex.program[pc]!;
      if (instruction.op === "split") {
        if (instruction.other >= 0) pending.push({ pc: instruction.other, slots });
        pending.push({ pc: instruction.next, slots });
      } else if (instruction.op === "save") {
        const saved = [...slots];
        saved[instruction.slot] = at;
        pending.push({ pc: instruction.next, slots: saved });
      } else if (instruction.op === "assert") {
        if (this.#holds(instruction.kind, at)) pending.push({ pc: instruction.next, slots });
      } else list.push({ pc, slots });
    }
  }

  /** Code point positions of the groups of the first match at or after `from`; `spend` is told the work done. */
  match(from: number, spend: (units: number) => void): readonly number[] | undefined {
    const { program } = this.regex;
    const empty = new Array<number>(this.regex.groupCount * 2).fill(-1);
    let threads: Thread[] = [];
    let found: readonly number[] | undefined;
    let seen = new Uint8Array(program.length);
    for (let at = from; at <= this.#codes.length; at++) {
      if (!found) this.#add(threads, seen, { pc: 0, slots: empty }, at);
      if (threads.length === 0 && found) break;
      spend(threads.length);
      const next: Thread[] = [];
      const nextSeen = new Uint8Array(program.length);
      const code = this.#codes[at];
      for (const { pc, slots } of threads) {
        const instruction = program[pc]!;
        if (instruction.op === "match") {
          found = slots;
          break;
        }
        if (instruction.op === "char" && code !== undefined && instruction.test(code)) {
          this.#add(next, nextSeen, { pc: instruction.next, slots }, at + 1);
        }
      }
      threads = next;
      seen = nextSeen;
    }
    return found;
  }
}

/** Replaces every match. In `template`, $1, ${1}, $name and ${name} stand for groups and $$ for a dollar. */
export function replaceAll(
  regex: Regex,
  text: string,
  template: string,
  spend: (units: number) => void,
): string {
  const matcher = new Matcher(regex, text);
  const out: string[] = [];
  let copied = 0;
  let previousEnd = -1;
  for (let at = 0; at <= matcher.length;) {
    const slots = matcher.match(at, spend);
    if (!slots) break;
    const start = slots[0]!;
    const end = slots[1]!;
    // An empty match right after another match does not count.
    if (end > start || start !== previousEnd) {
      out.push(text.slice(matcher.offset(copied), matcher.offset(start)));
      const group = (index: number) =>
        (slots[index * 2] ?? -1) < 0
          ? ""
          : text.slice(matcher.offset(slots[index * 2]!), matcher.offset(slots[index * 2 + 1]!));
      const replacement = expandTemplate(template, regex, group);
      spend(replacement.length);
      out.push(replacement);
      copied = end;
    }
    previousEnd = end;
    at = end > at ? end : at + 1;
    if (end === start && start >= at) at = start + 1;
  }
  out.push(text.slice(matcher.offset(copied)));
  return out.join("");
}

function expandTemplate(template: string, regex: Regex, group: (index: number) => string): string {
  return template.replace(/\$(?:\$|\{(\w+)\}|(\w+))/g, (match, braced?: string, bare?: string) => {
    if (match === "$$") return "$";
    const name = braced ?? bare!;
    const index = /^\d+$/.test(name) ? Number(name) : regex.names.get(name);
    return index === undefined || index >= regex.groupCount ? "" : group(index);
  });
}

/** Whether the whole text matches. */
export function matchesWhole(regex: Regex, text: string): boolean {
  const slots = new Matcher(regex, text).match(0, () => {});
  return slots !== undefined && slots[0] === 0 && slots[1] === Array.from(text).length;
}
