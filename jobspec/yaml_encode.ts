// Values → YAML text, byte for byte as the reference's yamlencode: block style, every string quoted (or literal, when it has
// line ends), keys sorted, lines folded after column 80.
// Invariant: the output depends on the value alone.
import type { Budget } from "./budget.ts";
import { HclNumber } from "./number.ts";
import {
  MapValue,
  NullValue,
  ObjectValue,
  SequenceValue,
  sortedEntries,
  TupleValue,
  type Value,
} from "./value.ts";

const WIDTH = 80;
/** Longer keys (in bytes) are written with a question mark. */
const SIMPLE_KEY_BYTES_MAX = 128;

export function encodeYaml(value: Value, budget: Budget): string {
  const writer = new YamlWriter(budget);
  writer.node(value, { indent: -1, inMapping: false });
  return writer.finish(value);
}

interface Place {
  /** Indentation of the collection that holds the node; -1 at the root. */
  readonly indent: number;
  /** The node is the value of a mapping, after its colon. */
  readonly inMapping: boolean;
}

class YamlWriter {
  #out = "";
  #column = 0;

  constructor(readonly budget: Budget) {}

  finish(root: Value): string {
    if (this.#column > 0) this.#newline();
    const plain = root instanceof HclNumber || typeof root === "boolean" || root instanceof NullValue;
    return this.#out + (plain ? "...\n" : "");
  }

  #write(text: string): void {
    this.budget.text(text.length);
    this.#out += text;
    this.#column += [...text].length;
  }

  #newline(): void {
    this.#out += "\n";
    this.#column = 0;
  }

  #lineAt(indent: number): void {
    if (this.#column > 0) this.#newline();
    this.#write(" ".repeat(indent));
  }

  node(value: Value, place: Place): void {
    if (value instanceof ObjectValue || value instanceof MapValue) this.#mapping(sortedEntries(value), place);
    else if (value instanceof TupleValue || value instanceof SequenceValue) {
      this.#sequence(value.items, place);
    } else {
      if (place.inMapping) this.#write(" ");
      this.#scalar(value, place.indent < 0 ? 2 : place.indent + 2, false);
    }
  }

  #mapping(entries: readonly [string, Value][], place: Place): void {
    if (entries.length === 0) return this.#write(place.inMapping ? " {}" : "{}");
    const indent = place.indent < 0 ? 0 : place.indent + 2;
    entries.forEach(([key, item], i) => {
      this.budget.items(1);
      this.#start(i, indent, place);
      const simple = !key.includes("\n") && Buffer.byteLength(key) <= SIMPLE_KEY_BYTES_MAX;
      if (simple) this.#scalar(key, indent, true);
      else {
        this.#write("? ");
        this.#scalar(key, indent + 2, false);
        this.#lineAt(indent);
      }
      this.#write(":");
      this.node(item, { indent, inMapping: true });
    });
  }

  #sequence(items: readonly Value[], place: Place): void {
    if (items.length === 0) return this.#write(place.inMapping ? " []" : "[]");
    const indent = place.indent < 0 ? 0 : place.inMapping ? place.indent : place.indent + 2;
    items.forEach((item, i) => {
      this.budget.items(1);
      this.#start(i, indent, place);
      this.#write("-");
      const scalar = typeof item === "string" || typeof item === "boolean" || item instanceof HclNumber ||
        item instanceof NullValue;
      this.#write(scalar || isEmpty(item) ? " " : " ".repeat(indent + 2 - this.#column));
      this.node(item, { indent, inMapping: false });
    });
  }

  /** The first item of a collection inside a sequence stands on the line of its dash. */
  #start(index: number, indent: number, place: Place): void {
    if (index === 0 && !place.inMapping && this.#column === indent) return;
    this.#lineAt(indent);
  }

  #scalar(value: Value, indent: number, isKey: boolean): void {
    if (typeof value !== "string") {
      return this.#write(value instanceof NullValue ? "null" : String(value));
    }
    if (value.includes("\n") && !isKey && allowsLiteral(value)) return this.#literal(value, indent);
    this.#quoted(value, indent, isKey);
  }

  #literal(text: string, indent: number): void {
    const hint = text.startsWith(" ") || text.startsWith("\n") ? "2" : "";
    const chomp = !text.endsWith("\n") ? "-" : text === "\n" || text.endsWith("\n\n") ? "+" : "";
    this.#write(`|${hint}${chomp}`);
    this.#newline();
    const lines = text.split("\n");
    lines.forEach((line, i) => {
      if (line !== "") this.#write(" ".repeat(indent) + line);
      if (i < lines.length - 1) this.#newline();
    });
  }

  #quoted(text: string, indent: number, isKey: boolean): void {
    this.#write('"');
    const chars = Array.from(text);
    let spaces = false;
    chars.forEach((char, i) => {
      const escape = escapeOf(char);
      if (escape !== undefined) {
        this.#write(escape);
        spaces = false;
      } else if (char === " " && !isKey && !spaces && this.#column > WIDTH && i > 0 && i < chars.length - 1) {
        this.#newline();
        this.#write(" ".repeat(indent) + (chars[i + 1] === " " ? "\\" : ""));
        spaces = true;
      } else {
        this.#write(char);
        spaces = char === " ";
      }
    });
    this.#write('"');
  }
}

function isEmpty(value: Value): boolean {
  if (value instanceof ObjectValue || value instanceof MapValue) return value.entries.size === 0;
  return (value instanceof TupleValue || value instanceof SequenceValue) && value.items.length === 0;
}

/** What the emitter of the reference calls printable; it does not count astral characters. */
function isPrintable(char: string): boolean {
  const code = char.codePointAt(0)!;
  return code === 0x0a || (code >= 0x20 && code <= 0x7e) || (code >= 0xa0 && code <= 0xd7ff) ||
    (code >= 0xe000 && code <= 0xfffd && code !== 0xfeff);
}

function allowsLiteral(text: string): boolean {
  return !text.endsWith(" ") && !/ [\n\r\u0085\u2028\u2029]/.test(text) &&
    Array.from(text).every(isPrintable);
}

const NAMED_ESCAPES: Record<string, string> = {
  "\0": "\\0",
  "\x07": "\\a",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r",
  "\x1b": "\\e",
  '"': '\\"',
  "\\": "\\\\",
  "\u0085": "\\N",
  "\u00a0": "\\_",
  "\u2028": "\\L",
  "\u2029": "\\P",
};

function escapeOf(char: string): string | undefined {
  const breaks = char === "\n" || char === "\r" || char === "\u0085" || char === "\u2028" ||
    char === "\u2029";
  if (isPrintable(char) && !breaks && char !== '"' && char !== "\\") return undefined;
  const named = NAMED_ESCAPES[char];
  if (named !== undefined) return named;
  const code = char.codePointAt(0)!;
  const hex = code.toString(16).toUpperCase();
  if (code <= 0xff) return `\\x${hex.padStart(2, "0")}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
