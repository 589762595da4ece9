// Go's built-in template functions, truth and printing: the functions of go_template.ts. Integers beyond 2^53 arrive as ExactNumber
// and print digit for digit.
import { Buffer } from "node:buffer";
import { ExactNumber } from "./exact_number.ts";

/** Arguments in the order of the template, the piped one last. What it throws becomes a TemplateError with its place. */
export type TemplateFunction = (args: unknown[]) => unknown;

const BUILTINS: Record<string, TemplateFunction> = {
  and: (args) => args.find((value) => !isTruthy(value)) ?? args.at(-1),
  or: (args) => args.find(isTruthy) ?? args.at(-1),
  not: ([value]) => !isTruthy(value),
  len: ([value]) => length(value),
  index: ([value, ...keys]) => keys.reduce(element, value),
  slice: ([value, from = 0, to]) => slice(value, Number(from), to === undefined ? undefined : Number(to)),
  print: (args) => print(args),
  println: (args) => args.map(printValue).join(" ") + "\n",
  printf: ([format, ...args]) => printf(String(format), args),
  html: (args) => escapeHtml(print(args)),
  js: (args) => escapeJs(print(args)),
  urlquery: (args) => encodeURIComponent(print(args)).replaceAll("%20", "+"),
  eq: ([first, ...rest]) => {
    if (rest.length === 0) throw new TypeError("missing argument for comparison");
    return rest.some((value) => isEqual(first, value));
  },
  ne: ([a, b]) => !isEqual(a, b),
  lt: ([a, b]) => order(a, b) < 0,
  le: ([a, b]) => order(a, b) <= 0,
  gt: ([a, b]) => order(a, b) > 0,
  ge: ([a, b]) => order(a, b) >= 0,
};

const ARGUMENTS: Record<string, [min: number, max: number]> = {
  not: [1, 1],
  len: [1, 1],
  index: [1, Infinity],
  slice: [1, 3],
  printf: [1, Infinity],
  eq: [1, Infinity],
  ne: [2, 2],
  lt: [2, 2],
  le: [2, 2],
  gt: [2, 2],
  ge: [2, 2],
};

/** The built-in of this name, which checks how many arguments it gets. */
export function builtin(name: string): TemplateFunction | undefined {
  if (!Object.hasOwn(BUILTINS, name)) return undefined;
  const [min, max] = ARGUMENTS[name] ?? [0, Infinity];
  return (args) => {
    if (args.length >= min && args.length <= max) return BUILTINS[name]!(args);
    const want = min === max ? String(min) : args.length < min ? `at least ${min}` : `at most ${max}`;
    throw new ArgumentsError(`wrong number of args for ${name}: want ${want} got ${args.length}`);
  };
}

/** A call that Go refuses before it calls. */
export class ArgumentsError extends Error {
  override readonly name = "ArgumentsError";
}

/** Go's truth: not zero, not empty, not nil. */
export function isTruthy(value: unknown): boolean {
  if (value === null || value === undefined) return false;
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof ExactNumber) return true;
  if (typeof value === "object") return Object.keys(value).length > 0;
  return Boolean(value);
}

/** As `%v` prints it. */
export function printValue(value: unknown): string {
  if (value === undefined) return "<no value>";
  if (value === null) return "<nil>";
  if (value instanceof ExactNumber) return value.text;
  if (typeof value === "number") return printNumber(value);
  if (Array.isArray(value)) return `[${value.map(printValue).join(" ")}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
    return `map[${entries.map(([key, entry]) => `${key}:${printValue(entry)}`).join(" ")}]`;
  }
  return String(value);
}

function printNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e21) return BigInt(value).toString();
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e21)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return String(value);
}

/** Go's Sprint: spaces between operands when neither is a string. */
function print(args: unknown[]): string {
  let out = "";
  args.forEach((value, i) => {
    if (i > 0 && typeof value !== "string" && typeof args[i - 1] !== "string") out += " ";
    out += printValue(value);
  });
  return out;
}

function length(value: unknown): number {
  if (typeof value === "string") return new TextEncoder().encode(value).length;
  if (Array.isArray(value)) return value.length;
  if (value === null || value === undefined) return 0;
  if (typeof value === "object" && !(value instanceof ExactNumber)) return Object.keys(value).length;
  throw new TypeError(`len of type ${goType(value)}`);
}

function element(value: unknown, key: unknown): unknown {
  if (value === null || value === undefined) throw new TypeError("index of untyped nil");
  if (Array.isArray(value) || typeof value === "string") {
    if (typeof key !== "number") {
      throw new TypeError(`cannot index slice/array with type ${goType(key)}`);
    }
    if (key < 0 || key >= value.length) throw new TypeError(`reflect: slice index out of range`);
    return typeof value === "string" ? new TextEncoder().encode(value)[key] : value[key];
  }
  if (typeof value === "object" && !(value instanceof ExactNumber)) {
    const name = String(key);
    return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
  }
  throw new TypeError(`can't index item of type ${goType(value)}`);
}

function slice(value: unknown, from: number, to: number | undefined): unknown {
  if (typeof value !== "string" && !Array.isArray(value)) {
    throw new TypeError(`can't slice item of type ${goType(value)}`);
  }
  const end = to ?? value.length;
  if (from < 0 || end > value.length || from > end) {
    throw new TypeError(`index out of range: ${to ?? from}`);
  }
  return value.slice(from, end);
}

/** What Go would call the value's type. */
export function goType(value: unknown): string {
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float64";
  if (value instanceof ExactNumber) return "int64";
  return Array.isArray(value) ? "[]interface {}" : "map[string]interface {}";
}

function isEqual(a: unknown, b: unknown): boolean {
  if (a === null || a === undefined || b === null || b === undefined) return (a ?? null) === (b ?? null);
  if (isNumber(a) && isNumber(b)) return order(a, b) === 0;
  if (typeof a !== typeof b || typeof a === "object") {
    throw new TypeError("incompatible types for comparison");
  }
  return a === b;
}

function isNumber(value: unknown): boolean {
  return typeof value === "number" || value instanceof ExactNumber;
}

function order(a: unknown, b: unknown): number {
  if (isNumber(a) && isNumber(b)) {
    if (a instanceof ExactNumber || b instanceof ExactNumber) {
      const [x, y] = [toBigInt(a), toBigInt(b)];
      return x < y ? -1 : x > y ? 1 : 0;
    }
    return (a as number) - (b as number);
  }
  if (typeof a === "string" && typeof b === "string") return a < b ? -1 : a > b ? 1 : 0;
  throw new TypeError(
    typeof a === "boolean" || typeof b === "boolean" || typeof a === "object"
      ? "invalid type for comparison"
      : "incompatible types for comparison",
  );
}

function toBigInt(value: unknown): bigint {
  if (value instanceof ExactNumber && /^-?\d+$/.test(value.text)) return BigInt(value.text);
  return BigInt(Math.trunc(Number(value instanceof ExactNumber ? value.text : value)));
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    '"': "&#34;",
    "'": "&#39;",
  };
  return text.replace(/[<>&"']/g, (c) => entities[c]!).replaceAll("\0", "\uFFFD");
}

function escapeJs(text: string): string {
  const names: Record<string, string> = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
  };
  return text.replace(
    // deno-lint-ignore no-control-regex
    /[\\'"<>&=\x00-\x1f]/g,
    (c) => names[c] ?? `\\u00${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

/** Go's Printf for the verbs that make sense on JSON: %v %+v %s %q %d %f %g %e %t %x %X %o %b %c %T %%. */
export function printf(format: string, args: unknown[]): string {
  let next = 0;
  const text = format.replace(
    /%([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*))?([a-zA-Z%])/g,
    (_, flags: string, width: string | undefined, precision: string | undefined, verb: string) => {
      if (verb === "%") return "%";
      const size = (spec: string | undefined) =>
        spec === "*" ? Number(args[next++]) : spec ? Number(spec) : undefined;
      const w = size(width);
      const p = size(precision);
      if (next >= args.length) return `%!${verb}(MISSING)`;
      return pad(formatVerb(verb, flags, p, args[next++]), flags, w, verb);
    },
  );
  if (next >= args.length) return text;
  return `${text}%!(EXTRA ${
    args.slice(next).map((value) => `${goType(value)}=${printValue(value)}`).join(", ")
  })`;
}

function pad(text: string, flags: string, width: number | undefined, verb: string): string {
  const missing = (width ?? 0) - [...text].length;
  if (missing <= 0) return text;
  if (flags.includes("-")) return text + " ".repeat(missing);
  if (flags.includes("0") && "dfgexXob".includes(verb)) {
    const sign = /^[+-]/.exec(text)?.[0] ?? "";
    return sign + "0".repeat(missing) + text.slice(sign.length);
  }
  return " ".repeat(missing) + text;
}

function formatVerb(verb: string, flags: string, precision: number | undefined, value: unknown): string {
  const wrong = () => `%!${verb}(${goType(value)}=${printValue(value)})`;
  const signed = (text: string) => flags.includes("+") && !text.startsWith("-") ? `+${text}` : text;
  switch (verb) {
    case "v":
      return flags.includes("#") && typeof value === "string" ? JSON.stringify(value) : printValue(value);
    case "s":
      if (typeof value === "number" || typeof value === "boolean") return wrong();
      return precision === undefined
        ? printValue(value)
        : [...printValue(value)].slice(0, precision).join("");
    case "q":
      return typeof value === "string" ? JSON.stringify(value) : wrong();
    case "t":
      return typeof value === "boolean" ? String(value) : wrong();
    case "T":
      return goType(value);
    case "d":
      return value instanceof ExactNumber || Number.isInteger(value) ? signed(printValue(value)) : wrong();
    case "c":
      return Number.isInteger(value) ? String.fromCodePoint(value as number) : wrong();
    case "f":
    case "F":
      return isNumber(value) ? signed(Number(printValue(value)).toFixed(precision ?? 6)) : wrong();
    case "e":
      return isNumber(value)
        ? signed(Number(printValue(value)).toExponential(precision ?? 6)).replace(/e([+-])(\d)$/, "e$10$2")
        : wrong();
    case "g":
      return isNumber(value) ? signed(printNumber(Number(printValue(value)))) : wrong();
    case "x":
    case "X":
    case "o":
    case "b": {
      const radix = verb === "o" ? 8 : verb === "b" ? 2 : 16;
      const text = typeof value === "string" && radix === 16
        ? Buffer.from(value, "utf8").toString("hex")
        : Number.isInteger(value)
        ? (value as number).toString(radix)
        : undefined;
      return text === undefined ? wrong() : verb === "X" ? text.toUpperCase() : text;
    }
    default:
      return wrong();
  }
}
