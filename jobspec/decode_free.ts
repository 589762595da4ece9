// Blocks of the user's own names: driver configurations and policies (anything), env, meta and headers (texts).
// Follows the reference's shapes: a nested block is always a list, labels nest, an attribute whose value is written
// as an object is a list too (so that `labels { … }` and `labels = { … }` are the same to a driver).
import { rawContent } from "./body_content.ts";
import { decodeAttribute, setOwn, startOf, valueToJson } from "./decode_value.ts";
import type { Evaluator } from "./expression.ts";
import type { Json } from "./json.ts";
import type { Block, Body } from "./syntax.ts";
import { containsUnknown, NullValue } from "./value.ts";

const NO_BLOCKS = new Map<string, number>();

/** A body of anything. Nulls at its top are left out. */
export function decodeFreeForm(body: Body, evaluator: Evaluator): Json {
  return freeBody(body, evaluator, true);
}

function freeBody(body: Body, evaluator: Evaluator, dropNulls: boolean): Json {
  const raw = rawContent(body, NO_BLOCKS, evaluator);
  const out: Record<string, Json> = {};
  for (const attribute of raw.attributes) {
    const own = evaluator.forSource(attribute.source);
    const value = own.evaluate(attribute.expression);
    if (containsUnknown(value) || (dropNulls && value instanceof NullValue)) continue;
    const json = freeValue(value, attribute.expression, own);
    if (json === undefined) continue;
    setOwn(out, attribute.name, attribute.expression.kind === "object" ? [json] : json);
  }
  const lists = new Map<string, Json[]>();
  for (const block of raw.blocks) {
    const list = lists.get(block.type) ?? [];
    list.push(labelled(block, freeBody(block.body, evaluator.forSource(block.source), false)));
    lists.set(block.type, list);
  }
  // Blocks win over an attribute of their name.
  for (const [name, list] of lists) setOwn(out, name, list);
  return out;
}

function freeValue(
  value: Parameters<typeof valueToJson>[0],
  node: Block["body"]["attributes"][number]["expression"],
  evaluator: Evaluator,
): Json | undefined {
  try {
    return valueToJson(value);
  } catch (error) {
    evaluator.fail(startOf(node), "Unsuitable value type", (error as Error).message);
    return undefined;
  }
}

/** `nic "a" "b" {}` → {"a": [{"b": [{}]}]} */
function labelled(block: Block, content: Json): Json {
  let item = content;
  for (let i = block.labels.length - 1; i >= 0; i--) item = { [block.labels[i]!.text]: [item] };
  return item;
}

/** A body of texts (or lists of texts) under the user's own names. */
export function decodeTextMap(body: Body, evaluator: Evaluator, kind: "stringMap" | "stringsMap"): Json {
  const raw = rawContent(body, NO_BLOCKS, evaluator);
  const out: Record<string, Json> = {};
  const spec = {
    field: "",
    kind: kind === "stringMap" ? "string" as const : "strings" as const,
    nullable: kind === "stringsMap",
    absent: null,
    required: false,
    doc: "",
  };
  for (const attribute of raw.attributes) {
    const value = decodeAttribute(attribute, spec, evaluator, false);
    if (value !== undefined) setOwn(out, attribute.name, value);
  }
  for (const block of raw.blocks) {
    const wanted = kind === "stringMap" ? "string" : "list of string";
    evaluator.options.diagnostics.error(
      { source: block.source, start: block.open, end: block.open + 1 },
      "Unsuitable value type",
      `Unsuitable value: ${wanted} required, but have tuple: a block cannot stand here.`,
      { expected: `${block.type} = …` },
    );
  }
  return out;
}
