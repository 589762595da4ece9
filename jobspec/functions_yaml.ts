// yamlencode and yamldecode. Reading is the `yaml` package's work (syntax only); what a plain scalar means follows the
// reference: yes and y are true, dates become timestamps, 1_000 stays text.
// Invariant: aliases share values, and a document that unfolds to too many items is refused.
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  parseAllDocuments,
  type Scalar,
  type YAMLMap,
} from "yaml";
import type { Budget } from "./budget.ts";
import { convert } from "./convert.ts";
import { FunctionError, type FunctionSpec, parameter } from "./function_types.ts";
import { HclNumber } from "./number.ts";
import {
  isCollectionOfItems,
  normalizeText,
  NULL,
  NullValue,
  objectOf,
  ObjectValue,
  TupleValue,
  type Value,
} from "./value.ts";
import { encodeYaml } from "./yaml_encode.ts";

const TRUE = new Set(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"]);
const FALSE = new Set(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"]);
const NULLS = new Set(["", "~", "null", "Null", "NULL"]);
const INTEGER = /^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$/;
const FLOAT = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;
const TIMESTAMP =
  /^(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d+)?(Z|[+-]\d{2}:\d{2}))|(?: (\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d+)?))?$/;
const TAG = "tag:yaml.org,2002:";

function timestamp(text: string): string | undefined {
  const match = TIMESTAMP.exec(text);
  if (!match) return undefined;
  const two = (part: string | undefined) => (part ?? "0").padStart(2, "0");
  const [, year, month, day] = match;
  const time = [match[4] ?? match[8], match[5] ?? match[9], match[6] ?? match[10]];
  const date = `${year}-${two(month)}-${two(day)}`;
  const parsed = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(parsed.getTime()) || parsed.getUTCDate() !== Number(day)) return undefined;
  if (Number(time[0] ?? 0) > 23 || Number(time[1] ?? 0) > 59 || Number(time[2] ?? 0) > 59) return undefined;
  const zone = match[7] === "+00:00" || match[7] === "-00:00" ? "Z" : match[7] ?? "Z";
  return `${date}T${time.map(two).join(":")}${zone}`;
}

function numberOf(text: string): HclNumber | undefined {
  const plain = text.replaceAll("_", "");
  const decimal = HclNumber.parse(plain);
  if (decimal) return decimal;
  return /^0[xob]/i.test(plain) ? HclNumber.fromBigInt(BigInt(plain)) : undefined;
}

/** What a plain scalar without a tag means. */
function plainScalar(text: string): Value {
  if (TRUE.has(text)) return true;
  if (FALSE.has(text)) return false;
  if (NULLS.has(text)) return NULL;
  if (/^[+-]?\.(?:inf|Inf|INF)$/.test(text)) {
    return text.startsWith("-") ? HclNumber.negativeInfinity : HclNumber.positiveInfinity;
  }
  if (/^\.(?:nan|NaN|NAN)$/.test(text)) throw new FunctionError("floating point NaN is not supported");
  return timestamp(text) ?? (INTEGER.test(text) || FLOAT.test(text) ? numberOf(text) : undefined) ??
    normalizeText(text);
}

function taggedScalar(tag: string, text: string): Value {
  const wrong = () => new FunctionError(`cannot parse ${JSON.stringify(text)} as !!${tag}`);
  switch (tag) {
    case "str":
      return normalizeText(text);
    case "binary":
      if (!/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(text)) {
        throw new FunctionError(`cannot parse ${JSON.stringify(text)} as !!binary: not valid base64`);
      }
      return text;
    case "bool":
      if (TRUE.has(text)) return true;
      if (FALSE.has(text)) return false;
      throw wrong();
    case "int":
    case "float": {
      const number = numberOf(text);
      if (!number) throw wrong();
      return number;
    }
    case "null":
      return NULL;
    case "timestamp": {
      const time = timestamp(text);
      if (time === undefined) throw wrong();
      return time;
    }
    default:
      throw new FunctionError(`unsupported tag "!!${tag}"`);
  }
}

class YamlReader {
  readonly #anchors = new Map<string, Value>();

  constructor(readonly source: string, readonly budget: Budget) {}

  read(node: Node | null | undefined): Value {
    this.budget.items(1);
    if (!node) return NULL;
    if (isAlias(node)) {
      const value = this.#anchors.get(node.source);
      if (value === undefined) {
        throw new FunctionError(
          `reference to undefined anchor "${node.source}", or to a value from inside itself`,
        );
      }
      return value;
    }
    const value = isScalar(node)
      ? this.#scalar(node)
      : isMap(node)
      ? this.#map(node)
      : isSeq(node)
      ? new TupleValue(node.items.map((item) => this.read(item as Node | null)))
      : NULL;
    const { anchor } = node as { anchor?: string };
    if (anchor) this.#anchors.set(anchor, value);
    return value;
  }

  #scalar(node: Scalar): Value {
    const block = node.type === "BLOCK_LITERAL" || node.type === "BLOCK_FOLDED";
    const text = node.type === "PLAIN"
      ? node.source ?? ""
      : block
      ? this.#blockText(node)
      : String(node.value ?? "");
    const tag = node.tag?.startsWith(TAG) ? node.tag.slice(TAG.length) : node.tag;
    const quoted = node.type === "QUOTE_SINGLE" || node.type === "QUOTE_DOUBLE";
    if (tag !== undefined) {
      if (!node.tag?.startsWith(TAG)) throw new FunctionError(`unsupported tag "${tag}"`);
      // A quoted text that might mean something stays text, whatever its tag.
      const textual = quoted && tag !== "binary" && /^(?:[-+0-9yYnNtTfFoO~.]|$)/.test(text);
      return textual ? normalizeText(text) : taggedScalar(tag, text);
    }
    if (node.type === "PLAIN") return plainScalar(text);
    if (!block) return normalizeText(text);
    // As in the reference, a block is read as a plain scalar first: "yes" becomes "true", "0x10" "16", "~" null.
    const value = plainScalar(text);
    if (value instanceof HclNumber && value.infinity !== 0) return value.infinity < 0 ? "-Inf" : "+Inf";
    return value instanceof NullValue ? value : convert(value, "string");
  }

  /** A last line that no line end follows has none in the value either. */
  #blockText(node: Scalar): string {
    const text = String(node.value ?? "");
    const reachesEnd = (node.range?.[1] ?? 0) >= this.source.length && !/\n[ \t]*$/.test(this.source);
    return reachesEnd && text.endsWith("\n") ? text.slice(0, -1) : text;
  }

  #map(node: YAMLMap): Value {
    const entries = new Map<string, Value>();
    for (const pair of node.items as Pair<Node, Node | null>[]) {
      if (isScalar(pair.key) && pair.key.type === "PLAIN" && pair.key.source === "<<") {
        this.#merge(entries, this.read(pair.value));
        continue;
      }
      const key = this.read(pair.key);
      if (key instanceof NullValue || isCollectionOfItems(key) || key instanceof ObjectValue) {
        throw new FunctionError("only text, numbers and booleans can be keys of a mapping");
      }
      entries.set(convert(key, "string") as string, this.read(pair.value));
    }
    return objectOf(entries);
  }

  #merge(entries: Map<string, Value>, value: Value): void {
    if (value instanceof ObjectValue) { for (const [key, item] of value.entries) entries.set(key, item); }
    else if (value instanceof TupleValue) { for (const item of value.items) this.#merge(entries, item); }
    else throw new FunctionError("the value of a merge key must be a mapping or a sequence of mappings");
  }
}

const TEXT_MAX = 1024 * 1024;
const NESTING_MAX = 200;

/** The reader is recursive, so what nests too deeply is refused before. */
function checkSize(text: string): void {
  if (text.length > TEXT_MAX) throw new FunctionError(`the text has more than ${TEXT_MAX} characters`);
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (
      char === "[" || char === "{" || ((char === "-" || char === "?" || char === ":") && text[i + 1] === " ")
    ) {
      deepest = Math.max(deepest, ++depth);
    } else if (char === "]" || char === "}") depth--;
    else if (char === "\n") depth = 0;
  }
  const indent = Math.max(0, ...(text.match(/^ +/gm) ?? []).slice(0, 50_000).map((spaces) => spaces.length));
  if (deepest > NESTING_MAX || indent > NESTING_MAX * 8) throw new FunctionError("the text nests too deeply");
}

function decodeYaml(text: string, budget: Budget): Value {
  budget.items(text.length >> 3);
  checkSize(text);
  const documents = parseAllDocuments(text, {
    schema: "failsafe",
    resolveKnownTags: false,
    uniqueKeys: false,
    logLevel: "silent",
    strict: true,
  });
  if (!Array.isArray(documents) || documents.length === 0) {
    throw new FunctionError("missing start of document");
  }
  for (const document of documents) {
    const first = document.errors[0];
    if (first) throw new FunctionError(first.message.split("\n")[0]!.replace(/:$/, ""));
  }
  if (documents.length > 1) throw new FunctionError("only a single document is allowed");
  const contents = documents[0]!.contents as Node | null;
  if (contents === null && text.trim() === "") throw new FunctionError("missing start of document");
  return new YamlReader(text, budget).read(contents);
}

export const YAML_FUNCTIONS: Record<string, FunctionSpec> = {
  yamldecode: {
    doc: "The value that a YAML text stands for.",
    parameters: [parameter("src", "string")],
    call: ([text], { budget }) => decodeYaml(text as string, budget),
  },
  yamlencode: {
    doc: "A value as YAML text.",
    parameters: [parameter("value", "dynamic", true)],
    call: ([value], { budget }) => encodeYaml(value!, budget),
  },
};
