// The generated documents are current, and the schema fits what the compiler makes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { test } from "node:test";
import type { Json } from "../../jobspec/jobspec.ts";
import { parseJob } from "../../jobspec/jobspec.ts";
import { jobJsonSchema } from "../../jobspec/schema.ts";
import { generatedDocuments } from "../../scripts/generate_schema.ts";
import { loadCases } from "./cases.ts";

/** Text without the layout that the formatter chooses. */
function bare(text: string): string {
  return text.replaceAll(/-{3,}/g, "---").replaceAll(/\s+/g, " ").trim();
}

for (const { path, content } of generatedDocuments()) {
  test(`${basename(path)}: is what the tables say (else run scripts/generate_schema.ts and deno fmt docs)`, () => {
    const written = readFileSync(path, "utf8");
    if (path.endsWith(".json")) assert.deepEqual(JSON.parse(written), JSON.parse(content));
    else assert.equal(bare(written), bare(content));
  });
}

interface Schema {
  $ref?: string;
  anyOf?: Schema[];
  type?: string | string[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  minimum?: number;
  maximum?: number;
}

class Checker {
  constructor(readonly root: { definitions: Record<string, Schema> }) {}

  /** The first thing that does not fit, or undefined. Covers what the generated schema uses of draft 7. */
  problem(schema: Schema, value: unknown, path: string): string | undefined {
    if (schema.$ref) {
      return this.problem(this.root.definitions[schema.$ref.replace("#/definitions/", "")]!, value, path);
    }
    if (schema.anyOf) {
      const problems = schema.anyOf.map((option) => this.problem(option, value, path));
      return problems.includes(undefined) ? undefined : problems.join("; ");
    }
    if (schema.type !== undefined && ![schema.type].flat().some((type) => isType(value, type))) {
      return `${path}: ${String(value)} is not ${[schema.type].flat().join(" or ")}`;
    }
    if (
      typeof value === "number" &&
      (value < (schema.minimum ?? -Infinity) || value > (schema.maximum ?? Infinity))
    ) {
      return `${path}: ${value} is out of range`;
    }
    if (Array.isArray(value)) {
      for (const [i, item] of value.entries()) {
        const found = schema.items && this.problem(schema.items, item, `${path}[${i}]`);
        if (found) return found;
      }
    } else if (typeof value === "object" && value !== null) return this.#objectProblem(schema, value, path);
    return undefined;
  }

  #objectProblem(schema: Schema, value: object, path: string): string | undefined {
    for (const [key, item] of Object.entries(value)) {
      const own = schema.properties?.[key];
      const rest = schema.additionalProperties;
      if (!own && rest === false) return `${path}: the schema has no ${key}`;
      const inner = own ?? (typeof rest === "object" ? rest : undefined);
      const found = inner && this.problem(inner, item, `${path}.${key}`);
      if (found) return found;
    }
    return undefined;
  }
}

function isType(value: unknown, type: string): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  if (type === "integer") return typeof value === "bigint" || Number.isInteger(value);
  const found: string = typeof value;
  return found === type;
}

test("job.schema.json: accepts every job of the corpus and knows every field", () => {
  const schema = jobJsonSchema() as unknown as { definitions: Record<string, Schema> };
  const checker = new Checker(schema);
  for (const testCase of loadCases("valid")) {
    const job = parseJob(testCase.source, testCase.options) as unknown as Json;
    assert.equal(checker.problem({ $ref: "#/definitions/job" }, job, testCase.name), undefined);
  }
});

test("job.schema.json: refuses a job with a wrong type or an unknown field", () => {
  const checker = new Checker(jobJsonSchema() as unknown as { definitions: Record<string, Schema> });
  const reference = { $ref: "#/definitions/job" };
  assert.match(checker.problem(reference, { Priority: "high" }, "job")!, /Priority/);
  assert.match(checker.problem(reference, { Prio: 1 }, "job")!, /Prio/);
});
