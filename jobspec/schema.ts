// JSON Schema of the job JSON and the reference page of the job language, both made from the tables the compiler
// uses, so that neither can tell anything else than the compiler does. Pure: text in, text out.
import { job } from "./blocks_job.ts";
import { FUNCTIONS } from "./functions.ts";
import type { Json } from "./json.ts";
import type { AttributeSpec, BlockTable, FreeSpec, ValueKind } from "./table.ts";
import { variableTable } from "./variables.ts";

type JsonObject = { [key: string]: Json };

const KIND_SCHEMA: Record<ValueKind, JsonObject> = {
  string: { type: "string" },
  bool: { type: "boolean" },
  int: { type: "integer" },
  int8: { type: "integer", minimum: -128, maximum: 127 },
  uint8: { type: "integer", minimum: 0, maximum: 255 },
  uint16: { type: "integer", minimum: 0, maximum: 65535 },
  uint32: { type: "integer", minimum: 0, maximum: 4294967295 },
  uint64: { type: "integer", minimum: 0 },
  number: { type: "number" },
  duration: { type: "integer", description: "nanoseconds" },
  durationMs: { type: "number", description: "milliseconds" },
  bytes: { type: "integer", description: "bytes" },
  megabytes: { type: "integer", description: "MB of 2^20 bytes" },
  strings: { type: "array", items: { type: "string" } },
  uint16s: { type: "array", items: { type: "integer", minimum: 0, maximum: 65535 } },
  stringMap: { type: "object", additionalProperties: { type: "string" } },
  stringsMap: {
    type: "object",
    additionalProperties: { type: ["array", "null"], items: { type: "string" } },
  },
  any: {},
};

function nullable(schema: JsonObject): JsonObject {
  return typeof schema["type"] === "string"
    ? { ...schema, type: [schema["type"], "null"] }
    : { anyOf: [schema, { type: "null" }] };
}

function describe(schema: JsonObject, doc: string): JsonObject {
  const unit = schema["description"];
  return { ...schema, description: typeof unit === "string" ? `${doc} In ${unit}.` : doc };
}

function attributeSchema(spec: AttributeSpec): JsonObject {
  const base = { ...KIND_SCHEMA[spec.kind] };
  const schema = spec.kind === "any" ? base : spec.nullable || spec.absent === null ? nullable(base) : base;
  const described = describe(schema, spec.doc);
  return spec.values ? { ...described, examples: [...spec.values] } : described;
}

function freeSchema(spec: FreeSpec): JsonObject {
  const schema = spec.kind === "any" ? { type: "object" } : KIND_SCHEMA[spec.kind];
  return describe(nullable(schema), spec.doc);
}

function constantSchema(value: Json): JsonObject {
  if (value === null) {
    return { description: "Written by the servers; null in a job that was not registered." };
  }
  return { type: typeof value === "number" ? "integer" : typeof value === "boolean" ? "boolean" : "string" };
}

/** Fields that `finish` functions add or take away; the tables cannot say so themselves. */
const FINISHED: Record<string, { readonly add?: JsonObject; readonly drop?: readonly string[] }> = {
  job: { drop: ["Vault", "Secrets", "Tasks"] },
  group: { drop: ["Vault", "Secrets"] },
  network: { drop: ["Ports"], add: { DynamicPorts: { $ref: "#/definitions/ports" } } },
  periodic: { add: { SpecType: { type: ["string", "null"], description: "cron." } } },
  task: { add: { Identity: { anyOf: [{ $ref: "#/definitions/identity" }, { type: "null" }] } } },
};

class SchemaWriter {
  readonly definitions: JsonObject = {};
  readonly #names = new Map<BlockTable, string>();

  /** The definition's name; two tables of one name (a service of a gateway) get numbers. */
  reference(table: BlockTable): string {
    const known = this.#names.get(table);
    if (known) return known;
    let name = table.name;
    for (let i = 2; Object.hasOwn(this.definitions, name); i++) name = `${table.name}_${i}`;
    this.#names.set(table, name);
    this.definitions[name] = {};
    this.definitions[name] = this.#object(table);
    return name;
  }

  #object(table: BlockTable): JsonObject {
    const properties: JsonObject = {};
    for (const label of table.labels) {
      if (label.field) properties[label.field] = { type: "string", description: "The label." };
    }
    for (const spec of Object.values(table.attributes)) {
      if (spec.field) properties[spec.field] = attributeSchema(spec);
    }
    for (const spec of Object.values(table.blocks)) {
      const inner: JsonObject = { $ref: `#/definitions/${this.reference(spec.table())}` };
      const schema: JsonObject = spec.form === "one"
        ? inner
        : spec.form === "list"
        ? { type: "array", items: inner }
        : { type: "object", additionalProperties: inner };
      properties[spec.field] = { description: spec.doc, anyOf: [schema, { type: "null" }] };
    }
    for (const spec of Object.values(table.free)) properties[spec.field] = freeSchema(spec);
    for (const [field, value] of Object.entries(table.constants)) properties[field] = constantSchema(value);
    const finished = FINISHED[table.name];
    for (const field of finished?.drop ?? []) delete properties[field];
    Object.assign(properties, finished?.add);
    if (table.name === "network") {
      this.definitions["ports"] = {
        anyOf: [{ type: "array", items: { $ref: "#/definitions/port" } }, { type: "null" }],
      };
    }
    return { type: "object", description: table.doc, properties, additionalProperties: false };
  }
}

/** The JSON Schema (draft 7) of what `job run -output` prints and `PUT /v1/jobs` takes. */
export function jobJsonSchema(): Json {
  const writer = new SchemaWriter();
  const name = writer.reference(job);
  const reference = { $ref: `#/definitions/${name}` };
  return {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "Job",
    description:
      "The JSON form of a job, generated from the tables of the job language (scripts/generate_schema.ts).",
    anyOf: [
      { type: "object", required: ["Job"], properties: { Job: reference } },
      reference,
    ],
    definitions: writer.definitions,
  };
}

const KIND_NAMES: Record<ValueKind, string> = {
  string: "string",
  bool: "bool",
  int: "integer",
  int8: "integer (-128 to 127)",
  uint8: "integer (0 to 255)",
  uint16: "integer (0 to 65535)",
  uint32: "integer (not negative)",
  uint64: "integer (not negative)",
  number: "number",
  duration: "duration",
  durationMs: "duration",
  bytes: "size",
  megabytes: "size or MB",
  strings: "list of strings",
  uint16s: "list of integers (0 to 65535)",
  stringMap: "map of strings",
  stringsMap: "map of lists of strings",
  any: "anything",
};

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

function attributeRow(name: string, spec: AttributeSpec): string {
  const values = spec.values ? ` One of: ${spec.values.map((value) => `\`${value}\``).join(", ")}.` : "";
  const absent = spec.required
    ? "required"
    : spec.absent === null
    ? ""
    : `\`${JSON.stringify(spec.absent)}\``;
  const field = spec.field ? `\`${spec.field}\`` : "";
  return `| \`${name}\` | ${KIND_NAMES[spec.kind]} | ${absent} | ${field} | ${cell(spec.doc + values)} |`;
}

function header(table: BlockTable, name = table.name): string {
  return [name, ...table.labels.map((label) => `"<${label.name || "label"}>"`)].join(" ");
}

/** Sections of a table and everything below it, each once. */
function sections(table: BlockTable, path: string, done: Set<BlockTable>): string[] {
  if (done.has(table)) return [];
  done.add(table);
  const lines = [`### ${path}`, "", table.doc, ""];
  const attributes = Object.entries(table.attributes);
  if (attributes.length > 0) {
    lines.push("| argument | type | when absent | field | |", "| --- | --- | --- | --- | --- |");
    lines.push(...attributes.map(([name, spec]) => attributeRow(name, spec)), "");
  }
  const inner: string[] = [];
  for (const [name, spec] of Object.entries(table.free)) {
    const form = spec.alsoAttribute ? `\`${name} { … }\` or \`${name} = { … }\`` : `\`${name} { … }\``;
    const kind = spec.kind === "any" ? "anything" : spec.kind === "stringMap" ? "texts" : "lists of texts";
    inner.push(`- ${form}: ${spec.doc} Names are yours, values are ${kind}.`);
  }
  const below: string[] = [];
  for (const [name, spec] of Object.entries(table.blocks)) {
    const many = spec.form === "one" ? "at most once" : "any number";
    const child = spec.table();
    inner.push(`- \`${header(child, name)} { … }\` (${many}): ${spec.doc}`);
    below.push(...sections(child, `${path} › ${name}`, done));
  }
  if (inner.length > 0) lines.push(...inner, "");
  return [...lines, ...below];
}

/** The reference page: blocks, variables, functions. */
export function jobLanguagePage(introduction: string): string {
  const done = new Set<BlockTable>();
  const lines = [introduction.trimEnd(), "", "## Blocks", "", ...sections(job, "job", done)];
  lines.push(
    "## Variables",
    "",
    ...sections(variableTable, "variable", done),
    "## Functions",
    "",
    "| call | |",
    "| --- | --- |",
  );
  for (const [name, spec] of FUNCTIONS) {
    const names = [
      ...spec.parameters.map((parameter) => parameter.name),
      ...(spec.rest ? [`${spec.rest.name}…`] : []),
    ];
    lines.push(`| \`${name}(${names.join(", ")})\` | ${cell(spec.doc)} |`);
  }
  return `${lines.join("\n").trimEnd()}\n`;
}
