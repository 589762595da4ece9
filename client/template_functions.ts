// The functions of consul-template that need nothing but their arguments, the task's environment and its files; Go's own
// are core's. Each takes its arguments in the order of the template and checks them.
import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { printValue } from "../core/go_template_functions.ts";
import { formatGoTime } from "./go_time.ts";

export interface FunctionContext {
  env: Record<string, string>;
  /** Reads a file of the task. Throws when it may not be read. */
  readFile(path: string): string;
  nowMs: number;
}

/** What these need; said when a template calls one. */
export const NEEDS_SERVER: Record<string, string> = {
  ...Object.fromEntries(
    [
      "key",
      "keyExists",
      "keyOrDefault",
      "ls",
      "safeLs",
      "tree",
      "safeTree",
      "service",
      "services",
      "node",
      "nodes",
    ]
      .concat(["datacenters", "connect", "caRoots", "caLeaf", "peerings", "exportedServices", "partitions"])
      .map((name) => [name, "Consul"]),
  ),
  ...Object.fromEntries(["secret", "secrets", "pkiCert"].map((name) => [name, "Vault"])),
  ...Object.fromEntries(
    ["nomadVar", "nomadVarList", "nomadVarListSafe", "nomadVarExists"].map((
      name,
    ) => [name, "Nomad variables"]),
  ),
  ...Object.fromEntries(["nomadService", "nomadServices"].map((name) => [name, "Nomad's service catalogue"])),
  plugin: "plugins",
};

type TemplateFunction = (args: unknown[], context: FunctionContext) => unknown;

// --- Argument checks -------------------------------------------------------------------------------------------

function text(args: unknown[], index: number): string {
  const value = args[index];
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new TypeError(`argument ${index + 1} must be text, it is ${printValue(value)}`);
}

function number(args: unknown[], index: number): number {
  const value = args[index];
  if (typeof value === "number") return value;
  throw new TypeError(`argument ${index + 1} must be a number, it is ${printValue(value)}`);
}

/** Functions of one text. */
const onText = (run: (value: string) => unknown): TemplateFunction => (args) => run(text(args, 0));

/** Arithmetic of consul-template takes the operand after the pipe first: `5 | subtract 2` is 3. */
const arithmetic = (run: (a: number, b: number) => number): TemplateFunction => (args) =>
  run(number(args, 1), number(args, 0));

const integer = (value: number): number => Math.trunc(value);

function divisor(value: number): number {
  if (value === 0) throw new RangeError("division by zero");
  return value;
}

// --- The functions ---------------------------------------------------------------------------------------------

const strings: Record<string, TemplateFunction> = {
  toLower: onText((value) => value.toLowerCase()),
  toUpper: onText((value) => value.toUpperCase()),
  toTitle: onText((value) =>
    value.replace(/(^|\s)(\S)/g, (_, space, letter) => space + letter.toUpperCase())
  ),
  trimSpace: onText((value) => value.trim()),
  trim: (args) => trimSet(text(args, 1), text(args, 0)),
  trimPrefix: (args) => {
    const [prefix, value] = [text(args, 0), text(args, 1)];
    return value.startsWith(prefix) ? value.slice(prefix.length) : value;
  },
  trimSuffix: (args) => {
    const [suffix, value] = [text(args, 0), text(args, 1)];
    return suffix !== "" && value.endsWith(suffix) ? value.slice(0, -suffix.length) : value;
  },
  split: (args) => text(args, 1) === "" ? [] : text(args, 1).split(text(args, 0)),
  join: (args) => list(args[1]).map(printValue).join(text(args, 0)),
  replaceAll: (args) => text(args, 2).replaceAll(text(args, 0), () => text(args, 1)),
  regexReplaceAll: (args) =>
    text(args, 2).replace(new RegExp(text(args, 0), "g"), text(args, 1).replace(/\$\{(\w+)\}/g, "$$$1")),
  regexMatch: (args) => new RegExp(text(args, 0)).test(text(args, 1)),
  contains: (args) =>
    typeof args[1] === "string" ? args[1].includes(text(args, 0)) : list(args[1]).includes(args[0]),
  in: (args) => list(args[0]).includes(args[1]),
  indent: (args) => text(args, 1).replace(/^(?=.)/gm, " ".repeat(number(args, 0))),
  loop: (args) => {
    const [from, to] = args.length === 1 ? [0, number(args, 0)] : [number(args, 0), number(args, 1)];
    return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
  },
};

const codecs: Record<string, TemplateFunction> = {
  base64Encode: onText((value) => Buffer.from(value).toString("base64")),
  base64Decode: onText((value) => Buffer.from(value, "base64").toString()),
  base64URLEncode: onText((value) => Buffer.from(value).toString("base64url")),
  base64URLDecode: onText((value) => Buffer.from(value, "base64url").toString()),
  md5sum: onText((value) => createHash("md5").update(value).digest("hex")),
  sha256Hex: onText((value) => createHash("sha256").update(value).digest("hex")),
  parseBool: onText((value) => {
    if (!/^(1|t|true|0|f|false)$/i.test(value)) {
      throw new SyntaxError(`${JSON.stringify(value)} is not a bool`);
    }
    return /^(1|t)/i.test(value);
  }),
  parseInt: onText((value) => {
    if (!/^[+-]?\d+$/.test(value)) throw new SyntaxError(`${JSON.stringify(value)} is not an integer`);
    return Number(value);
  }),
  parseUint: onText((value) => {
    if (!/^\d+$/.test(value)) throw new SyntaxError(`${JSON.stringify(value)} is not an unsigned integer`);
    return Number(value);
  }),
  parseFloat: onText((value) => {
    if (value.trim() === "" || Number.isNaN(Number(value))) {
      throw new SyntaxError(`${JSON.stringify(value)} is not a number`);
    }
    return Number(value);
  }),
  parseJSON: onText((value) => value === "" ? {} : JSON.parse(value)),
  toJSON: (args) => goJson(args[0], 0),
  toJSONPretty: (args) => goJson(args[0], 2),
};

const arithmetics: Record<string, TemplateFunction> = {
  add: arithmetic((a, b) => a + b),
  subtract: arithmetic((a, b) => a - b),
  multiply: arithmetic((a, b) => a * b),
  divide: arithmetic((a, b) =>
    Number.isInteger(a) && Number.isInteger(b) ? integer(a / divisor(b)) : a / divisor(b)
  ),
  modulo: arithmetic((a, b) => a % divisor(b)),
  minimum: arithmetic(Math.min),
  maximum: arithmetic(Math.max),
};

const world: Record<string, TemplateFunction> = {
  env: (args, { env }) => env[text(args, 0)] ?? "",
  envOrDefault: (args, { env }) => env[text(args, 0)] || text(args, 1),
  mustEnv: (args, { env }) => {
    const name = text(args, 0);
    if (!Object.hasOwn(env, name)) throw new RangeError(`the task has no variable ${JSON.stringify(name)}`);
    return env[name];
  },
  file: (args, { readFile }) => readFile(text(args, 0)),
  timestamp: (args, { nowMs }) => {
    if (args.length === 0) return `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
    if (args[0] === "unix") return String(Math.floor(nowMs / 1000));
    return formatGoTime(nowMs, text(args, 0));
  },
};

export const functions: Record<string, TemplateFunction> = {
  ...strings,
  ...codecs,
  ...arithmetics,
  ...world,
};

// --- Helpers ---------------------------------------------------------------------------------------------------

function list(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw new TypeError(`expected a list, got ${printValue(value)}`);
}

function trimSet(value: string, set: string): string {
  let [start, end] = [0, value.length];
  while (start < end && set.includes(value[start]!)) start++;
  while (end > start && set.includes(value[end - 1]!)) end--;
  return value.slice(start, end);
}

/** JSON as Go writes it: keys in order, and nothing that a browser could take for markup. */
function goJson(value: unknown, indent: number): string {
  const ordered = (item: unknown): unknown => {
    if (Array.isArray(item)) return item.map(ordered);
    if (item === null || typeof item !== "object") return item;
    return Object.fromEntries(
      Object.entries(item).sort(([a], [b]) => a < b ? -1 : 1).map(([key, inner]) => [key, ordered(inner)]),
    );
  };
  return JSON.stringify(ordered(value ?? null), null, indent)
    .replace(/[<>&\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
