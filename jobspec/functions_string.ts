// Functions on strings. format and formatlist are in functions_format.ts, regular expressions in regex.ts. Lengths and positions
// count grapheme clusters; upper and lower change single letters only (ß stays ß), as the reference does.
import { graphemes } from "./diagnostics.ts";
import { ArgumentError, FunctionError, type FunctionSpec, parameter } from "./function_types.ts";
import { itemsOf, wholeNumber } from "./functions_collection.ts";
import { HclNumber } from "./number.ts";
import { compileRegex, RegexError, replaceAll } from "./regex.ts";
import { compareText, listOf, normalizeText, NullValue, type Type, type Value } from "./value.ts";

const str = parameter("str", "string");
const strings: Type = { kind: "list", element: "string" };

/** Upper-case letters of letters whose upper case is, in full, several letters. */
const SIMPLE_UPPER = new Map<number, number>([
  [0x1fb3, 0x1fbc],
  [0x1fc3, 0x1fcc],
  [0x1ff3, 0x1ffc],
]);
for (const base of [0x1f80, 0x1f90, 0x1fa0]) {
  for (let i = 0; i < 8; i++) SIMPLE_UPPER.set(base + i, base + 8 + i);
}

// deno-lint-ignore no-control-regex
const ASCII = /^[\x00-\x7f]*$/;

export function toUpper(text: string): string {
  if (ASCII.test(text)) return text.toUpperCase();
  return Array.from(text, (char) => {
    const simple = SIMPLE_UPPER.get(char.codePointAt(0)!);
    if (simple !== undefined) return String.fromCodePoint(simple);
    const upper = char.toUpperCase();
    return [...upper].length === 1 ? upper : char;
  }).join("");
}

function toLower(text: string): string {
  if (ASCII.test(text)) return text.toLowerCase();
  return Array.from(text, (char) => {
    if (char === "\u0130") return "i";
    const lower = char.toLowerCase();
    return [...lower].length === 1 ? lower : char;
  }).join("");
}

/** Letters whose title case is not their upper case. */
const TITLE_CASE = new Map(
  [...["ǄǅǆǇǈǉǊǋǌǱǲǳ"].join("")].map((char, i, all) => [char, all[i - (i % 3) + 1]!]),
);

/** The first letter of every word in upper case; letters, digits and `_` make words. */
function title(text: string): string {
  let previous = " ";
  return Array.from(text, (char) => {
    const starts = !/[\p{L}\p{N}_]/u.test(previous) &&
      (previous.codePointAt(0)! < 0x80 || /[\s\u0085]/.test(previous));
    previous = char;
    return starts ? TITLE_CASE.get(char) ?? toUpper(char) : char;
  }).join("");
}

function substr([text, offsetNumber, lengthNumber]: readonly Value[]): Value {
  const cells = graphemes(text as string);
  let offset = wholeNumber(offsetNumber, "invalid offset", 1);
  const length = wholeNumber(lengthNumber, "invalid length", 2);
  // Counted from the end, a length of 0 means all the rest, as a negative one does.
  const toEnd = length < 0 || (length === 0 && offset < 0);
  if (offset < 0) offset = Math.max(0, offset + cells.length);
  return cells.slice(offset, toEnd ? undefined : offset + length).join("");
}

function trimChars(text: string, cutset: string): string {
  const cut = new Set(cutset);
  const chars = Array.from(text);
  let start = 0;
  let end = chars.length;
  while (start < end && cut.has(chars[start]!)) start++;
  while (end > start && cut.has(chars[end - 1]!)) end--;
  return chars.slice(start, end).join("");
}

function join(args: readonly Value[], budget: { text(units: number): void }): Value {
  const separator = args[0] as string;
  const items: string[] = [];
  args.slice(1).forEach((list, i) => {
    for (const [position, item] of itemsOf(list)!.entries()) {
      if (item instanceof NullValue) {
        throw new ArgumentError(
          i + 1,
          `element ${position} of list ${i + 1} is null; cannot concatenate null values`,
        );
      }
      items.push(item as string);
    }
  });
  budget.text(items.reduce((sum, item) => sum + item.length + separator.length, 0));
  return normalizeText(items.join(separator));
}

/** Occurrences of a text, counted so that the size of a replacement is known before it is made. */
function countOf(text: string, part: string): number {
  if (part === "") return [...text].length + 1;
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

function replace([text, part, by]: readonly Value[], budget: { text(units: number): void }): Value {
  const source = text as string;
  const count = countOf(source, part as string);
  budget.text(source.length + count * (by as string).length);
  if (part === "") return normalizeText((by as string) + Array.from(source, (char) => char + by).join(""));
  return normalizeText(source.split(part as string).join(by as string));
}

function regexReplace([text, pattern, by]: readonly Value[], budget: { text(units: number): void }): Value {
  try {
    const regex = compileRegex(pattern as string);
    return normalizeText(replaceAll(regex, text as string, by as string, (units) => budget.text(units)));
  } catch (error) {
    if (error instanceof RegexError) throw new FunctionError(`error parsing regexp: ${error.message}`);
    throw error;
  }
}

export const STRING_FUNCTIONS: Record<string, FunctionSpec> = {
  chomp: {
    doc: "Removes line ends from the end of a text.",
    parameters: [str],
    call: ([text]) => (text as string).replace(/(?:\r\n?|\n)*$/, ""),
  },
  indent: {
    doc: "Puts spaces before every line but the first.",
    parameters: [parameter("spaces", "number"), str],
    call([count, text], { budget }) {
      const spaces = wholeNumber(count, "invalid number of spaces", 0);
      if (spaces < 0) throw new ArgumentError(0, "the number of spaces must not be negative");
      budget.text((text as string).length + spaces * countOf(text as string, "\n"));
      return (text as string).replaceAll("\n", `\n${" ".repeat(spaces)}`);
    },
  },
  join: {
    doc: "The items of lists of strings put together with a separator.",
    parameters: [parameter("separator", "string")],
    rest: parameter("lists", strings),
    call(args, { budget }) {
      if (args.length < 2) throw new FunctionError("at least two arguments are required");
      return join(args, budget);
    },
  },
  lower: {
    doc: "Letters in lower case.",
    parameters: [str],
    call: ([text]) => normalizeText(toLower(text as string)),
  },
  regex_replace: {
    doc: "Replaces what a regular expression (RE2 syntax) matches; $1 and ${name} stand for groups.",
    parameters: [str, parameter("pattern", "string"), parameter("replace", "string")],
    call: (args, { budget }) => regexReplace(args, budget),
  },
  replace: {
    doc: "Replaces a text wherever it occurs.",
    parameters: [str, parameter("substr", "string"), parameter("replace", "string")],
    call: (args, { budget }) => replace(args, budget),
  },
  reverse: {
    doc: "A text backwards.",
    parameters: [str],
    call: ([text]) => normalizeText(graphemes(text as string).reverse().join("")),
  },
  split: {
    doc: "The parts of a text between separators.",
    parameters: [parameter("separator", "string"), str],
    call([separator, text], { budget }) {
      budget.items(countOf(text as string, separator as string));
      const parts = separator === ""
        ? Array.from(text as string)
        : (text as string).split(separator as string);
      return listOf("string", parts.map(normalizeText));
    },
  },
  strlen: {
    doc: "The number of characters (grapheme clusters).",
    parameters: [str],
    call: ([text]) => HclNumber.count(graphemes(text as string).length),
  },
  strrev: {
    doc: "A text backwards.",
    parameters: [str],
    call: ([text]) => normalizeText(graphemes(text as string).reverse().join("")),
  },
  sort: {
    doc: "A list of strings in the order of their bytes.",
    parameters: [parameter("list", strings)],
    call([list]) {
      const items = itemsOf(list)!;
      items.forEach((item, i) => {
        if (item instanceof NullValue) {
          throw new FunctionError(`given list element ${i} is null; a null string cannot be sorted`);
        }
      });
      return listOf("string", [...items].sort((a, b) => compareText(a as string, b as string)));
    },
  },
  substr: {
    doc: "A part of a text: from an offset (negative: from the end), of a length (negative: to the end).",
    parameters: [str, parameter("offset", "number"), parameter("length", "number")],
    call: substr,
  },
  title: {
    doc: "The first letter of every word in upper case.",
    parameters: [str],
    call: ([text]) => normalizeText(title(text as string)),
  },
  trim: {
    doc: "Removes the given characters from both ends.",
    parameters: [str, parameter("cutset", "string")],
    call: ([text, cutset]) => normalizeText(trimChars(text as string, cutset as string)),
  },
  trimprefix: {
    doc: "Removes a prefix.",
    parameters: [str, parameter("prefix", "string")],
    call: ([text, prefix]) =>
      (text as string).startsWith(prefix as string)
        ? (text as string).slice((prefix as string).length)
        : text!,
  },
  trimspace: {
    doc: "Removes white space from both ends.",
    parameters: [str],
    call: ([text]) => (text as string).replace(/^[\s\u0085]+|[\s\u0085]+$/g, ""),
  },
  trimsuffix: {
    doc: "Removes a suffix.",
    parameters: [str, parameter("suffix", "string")],
    call: ([text, suffix]) =>
      suffix !== "" && (text as string).endsWith(suffix as string)
        ? (text as string).slice(0, -(suffix as string).length)
        : text!,
  },
  upper: {
    doc: "Letters in upper case.",
    parameters: [str],
    call: ([text]) => normalizeText(toUpper(text as string)),
  },
};
