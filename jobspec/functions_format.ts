// format and formatlist: printf-like verbs over values. Widths and precisions of strings count grapheme clusters; numbers
// follow Go's formatting of big integers and floats.
// Invariant: the size of a padded field is asked of the budget before it is made.
import { convert, ConvertError } from "./convert.ts";
import { graphemes } from "./diagnostics.ts";
import { encodeJson } from "./encode_json.ts";
import {
  ArgumentError,
  type CallContext,
  FunctionError,
  type FunctionSpec,
  parameter,
} from "./function_types.ts";
import { HclNumber } from "./number.ts";
import { listOf, normalizeText, NullValue, SequenceValue, TupleValue, type Value } from "./value.ts";

interface Verb {
  readonly raw: string;
  readonly offset: number;
  readonly argument: number;
  readonly mode: string;
  readonly flags: string;
  readonly width: number | undefined;
  readonly precision: number | undefined;
}

const VERB = /%([0#\-+ ]*)([1-9]\d*)?(?:\.(\d*))?(?:\[([1-9]\d*)\])?([a-zA-Z])/y;

/** The text of a format string with its arguments. `offset` is the index of the first argument in the call. */
function formatText(format: string, args: readonly Value[], context: CallContext): string {
  const out: string[] = [];
  let next = 1;
  let highest = 0;
  for (let at = 0; at < format.length;) {
    const percent = format.indexOf("%", at);
    if (percent < 0) {
      out.push(format.slice(at));
      break;
    }
    out.push(format.slice(at, percent));
    if (format[percent + 1] === "%") {
      out.push("%");
      at = percent + 2;
      continue;
    }
    const verb = parseVerb(format, percent, next);
    out.push(formatOne(verb, args, context));
    highest = Math.max(highest, verb.argument);
    next = verb.argument + 1;
    at = percent + verb.raw.length;
  }
  if (highest < args.length) {
    const used = highest === 0 ? "no verbs in format string" : `only ${highest} used by format string`;
    throw new ArgumentError(highest + 1, `too many arguments; ${used}`);
  }
  return out.join("");
}

function parseVerb(format: string, at: number, next: number): Verb {
  VERB.lastIndex = at;
  const match = VERB.exec(format);
  if (!match) {
    const bad = Array.from(format.slice(at + 1, at + 40)).find((char) => !/[0-9#\-+ .[\]]/.test(char));
    if (bad === undefined) {
      throw new FunctionError(`invalid format string starting at offset ${format.length}`);
    }
    throw new FunctionError(
      `unrecognized format character ${JSON.stringify(bad)} at offset ${format.indexOf(bad, at)}`,
    );
  }
  const [raw, flags, width, precision, argument, mode] = match;
  return {
    raw,
    offset: at,
    argument: argument === undefined ? next : Number(argument),
    mode: mode!,
    flags: flags!,
    width: width === undefined ? undefined : Number(width),
    precision: precision === undefined ? undefined : Number(precision || "0"),
  };
}

function formatOne(verb: Verb, args: readonly Value[], context: CallContext): string {
  const value = args[verb.argument - 1];
  const name = JSON.stringify(verb.raw);
  if (value === undefined) {
    throw new FunctionError(
      `not enough arguments for ${name} at ${verb.offset}: need index ${verb.argument} but have ${args.length} total`,
    );
  }
  context.budget.text(verb.width ?? 0);
  context.budget.text(verb.precision ?? 0);
  if ((verb.precision ?? 0) > PRECISION_MAX) throw new FunctionError(`the precision of ${name} is too large`);
  const unsupported = (why: string) =>
    new FunctionError(`unsupported value for ${name} at ${verb.offset}: ${why}`);
  if (verb.mode !== "v" && value instanceof NullValue) throw unsupported("null value cannot be formatted");
  try {
    switch (verb.mode) {
      case "v":
        return pad(verb, defaultText(verb, value, context));
      case "t":
        return String(convert(value, "bool"));
      case "b":
      case "d":
      case "o":
      case "x":
      case "X":
        return integerText(verb, convert(value, "number") as HclNumber, unsupported);
      case "e":
      case "E":
      case "f":
      case "g":
      case "G":
        return floatText(verb, convert(value, "number") as HclNumber);
      case "s":
      case "q": {
        const text = cut(convert(value, "string") as string, verb.precision);
        return pad(verb, verb.mode === "s" ? text : encodeJson(text, context.budget));
      }
    }
  } catch (error) {
    if (error instanceof ConvertError) throw unsupported(error.message);
    throw error;
  }
  throw new FunctionError(`unsupported format verb '${verb.mode}' in ${name} at offset ${verb.offset}`);
}

const PRECISION_MAX = 100_000;

function cut(text: string, precision: number | undefined): string {
  return precision ? graphemes(text).slice(0, precision).join("") : text;
}

function defaultText(verb: Verb, value: Value, context: CallContext): string {
  if (!verb.flags.includes("#")) {
    if (typeof value === "string") return value;
    if (value instanceof HclNumber) return general(value, undefined, "e");
  }
  return encodeJson(value, context.budget);
}

function pad(verb: Verb, text: string): string {
  const missing = (verb.width ?? 0) - graphemes(text).length;
  if (missing <= 0) return text;
  const fill = (verb.flags.includes("0") ? "0" : " ").repeat(missing);
  return verb.flags.includes("-") ? text + fill : fill + text;
}

function signOf(verb: Verb, negative: boolean): string {
  if (negative) return "-";
  return verb.flags.includes("+") ? "+" : verb.flags.includes(" ") ? " " : "";
}

/** Sign and prefix, zeros, digits, put into the width as Go does. */
function field(verb: Verb, head: string, digits: string, zeroPadding: boolean): string {
  const missing = Math.max(0, (verb.width ?? 0) - head.length - digits.length);
  if (verb.flags.includes("-")) return head + digits + " ".repeat(missing);
  if (verb.flags.includes("0") && zeroPadding) return head + "0".repeat(missing) + digits;
  return " ".repeat(missing) + head + digits;
}

const BASES: Record<string, number> = { b: 2, d: 10, o: 8, x: 16, X: 16 };
const PREFIXES: Record<string, string> = { b: "0b", o: "0", x: "0x", X: "0X" };

function integerText(verb: Verb, value: HclNumber, unsupported: (why: string) => FunctionError): string {
  if (!value.isInteger) throw unsupported("an integer is required");
  const whole = value.toBigInt();
  let digits = (whole < 0n ? -whole : whole).toString(BASES[verb.mode]!);
  if (verb.mode === "X") digits = digits.toUpperCase();
  if (verb.precision !== undefined) {
    digits = whole === 0n && verb.precision === 0 ? "" : digits.padStart(verb.precision, "0");
  }
  const prefix = verb.flags.includes("#") ? PREFIXES[verb.mode] ?? "" : "";
  return field(verb, signOf(verb, whole < 0n) + prefix, digits, verb.precision === undefined);
}

function floatText(verb: Verb, value: HclNumber): string {
  if (value.infinity !== 0) {
    const sign = value.infinity < 0 ? "-" : "+";
    return field({ ...verb, flags: verb.flags.replace("0", "") }, sign, "Inf", false);
  }
  const magnitude = value.isNegative ? value.negate() : value;
  const sign = signOf(verb, value.isNegative);
  const { mode } = verb;
  if (mode === "f") return field(verb, sign, magnitude.toFixed(verb.precision ?? 6), true);
  if (mode === "e" || mode === "E") {
    const [digits, point] = magnitude.significant((verb.precision ?? 6) + 1);
    return field(verb, sign, scientific(digits, point, mode), true);
  }
  return field(verb, sign, general(magnitude, verb.precision, mode === "g" ? "e" : "E"), true);
}

function scientific(digits: string, point: number, letter: string): string {
  const exponent = /^0+$/.test(digits) ? 0 : point - 1;
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
  const size = String(Math.abs(exponent)).padStart(2, "0");
  return `${digits[0]}${fraction}${letter}${exponent < 0 ? "-" : "+"}${size}`;
}

/** %g: the exponent form for very large and very small numbers. */
function general(value: HclNumber, precision: number | undefined, letter: string): string {
  if (value.infinity !== 0) return value.toString();
  if (value.isNegative) return `-${general(value.negate(), precision, letter)}`;
  let [digits, point] = precision === undefined
    ? (value.sign === 0 ? ["0", 1] as [string, number] : value.shortest())
    : value.significant(Math.max(1, precision));
  digits = digits.replace(/0+$/, "") || "0";
  let limit = precision === undefined ? 6 : Math.max(1, precision);
  if (precision !== undefined && limit > digits.length && digits.length >= point) limit = digits.length;
  const exponent = point - 1;
  if (value.sign !== 0 && (exponent < -4 || exponent >= limit)) return scientific(digits, point, letter);
  if (point <= 0) return `0.${"0".repeat(-point)}${digits}`;
  if (digits.length <= point) return digits.padEnd(point, "0");
  return `${digits.slice(0, point)}.${digits.slice(point)}`;
}

function formatList([format, ...args]: readonly Value[], context: CallContext): Value {
  const text = (values: readonly Value[]) => normalizeText(formatText(format as string, values, context));
  if (args.length === 0) return listOf("string", [text([])]);
  let length = -1;
  let chooser = -1;
  const lists = args.map((arg, i) => {
    if (!(arg instanceof SequenceValue || arg instanceof TupleValue)) return undefined;
    if (length >= 0 && arg.items.length !== length) {
      throw new ArgumentError(
        i + 1,
        `argument ${i + 1} has length ${arg.items.length}, which is inconsistent with argument ${
          chooser + 1
        } of length ${length}`,
      );
    }
    if (length < 0) [length, chooser] = [arg.items.length, i];
    return arg.items;
  });
  const rounds = length < 0 ? 1 : length;
  context.budget.items(rounds * (args.length + 1));
  const results: string[] = [];
  for (let round = 0; round < rounds; round++) {
    try {
      results.push(text(args.map((arg, i) => lists[i]?.[round] ?? arg)));
      context.budget.text(results[round]!.length);
    } catch (error) {
      if (error instanceof FunctionError) {
        throw new FunctionError(`error on format iteration ${round}: ${error.message}`);
      }
      throw error;
    }
  }
  return listOf("string", results);
}

export const FORMAT_FUNCTIONS: Record<string, FunctionSpec> = {
  format: {
    doc: "A text with verbs such as %s, %d and %v replaced by arguments.",
    parameters: [parameter("format", "string")],
    rest: parameter("args", "dynamic", true),
    call: ([format, ...args], context) => normalizeText(formatText(format as string, args, context)),
  },
  formatlist: {
    doc: "As format, once for each item of its list arguments.",
    parameters: [parameter("format", "string")],
    rest: parameter("args", "dynamic", true),
    call: formatList,
  },
};
