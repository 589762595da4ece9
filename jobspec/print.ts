// A job's JSON → HCL, led by the same tables as the way in: what it prints compiles to the same JSON. For jobs whose
// source was not kept. Throws PrintError for the little that HCL has no words for.
import { job as jobTable } from "./blocks_job.ts";
import { formatHcl } from "./format.ts";
import type { Json } from "./json.ts";
import type { AttributeSpec, BlockTable, ChildSpec, FreeSpec } from "./table.ts";

/** The job has something that the native syntax cannot express (a key that is no name in a block of names). */
export class PrintError extends Error {
  override readonly name = "PrintError";
}

type JsonRecord = Record<string, Json>;

/** The HCL of a job's JSON, in canonical layout. Fields that only servers write are left out. */
export function jobToHcl(job: Readonly<Record<string, unknown>>): string {
  const lines = printBlock("job", jobTable, job as JsonRecord);
  return formatHcl(`${lines.join("\n")}\n`);
}

function isRecord(value: Json | undefined): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function printBlock(name: string, table: BlockTable, given: JsonRecord, key?: string): string[] {
  const restored = table.restore?.(given) ?? { record: given };
  const { record } = restored;
  const labels = table.labels.map((label, i) =>
    restored.labels?.[i] ?? String(label.field ? record[label.field] ?? key ?? "" : key ?? "")
  );
  const head = [name, ...labels.map(quoteLabel)].join(" ");
  const body = [
    ...printAttributes(table, record),
    ...printFree(table, record),
    ...printChildren(table, record),
  ];
  return [`${head} {`, ...body, "}"];
}

function printAttributes(table: BlockTable, record: JsonRecord): string[] {
  const lines: string[] = [];
  for (const [name, spec] of Object.entries(table.attributes)) {
    const value = spec.field ? record[spec.field] : undefined;
    if (value === undefined || (!spec.required && sameJson(value, spec.absent))) continue;
    lines.push(`${name} = ${printValue(value, spec)}`);
  }
  return lines;
}

function sameJson(a: Json, b: Json): boolean {
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => sameJson(item, b[i]!));
  }
  return a === b;
}

function printValue(value: Json, spec: AttributeSpec): string {
  if (spec.kind === "duration" && (typeof value === "number" || typeof value === "bigint")) {
    return quote(formatGoDuration(BigInt(value)));
  }
  return printJson(value);
}

function printChildren(table: BlockTable, record: JsonRecord): string[] {
  return Object.entries(table.blocks).flatMap(([name, spec]) => printChild(name, spec, record[spec.field]));
}

function printChild(name: string, spec: ChildSpec, value: Json | undefined): string[] {
  if (value === null || value === undefined) return [];
  const table = spec.table();
  if (spec.form === "one") return isRecord(value) ? printBlock(name, table, value) : [];
  if (spec.form === "list") {
    return (Array.isArray(value) ? value : []).flatMap((item) =>
      isRecord(item) ? printBlock(name, table, item) : []
    );
  }
  return Object.entries(isRecord(value) ? value : {}).flatMap(([key, item]) =>
    isRecord(item) ? printBlock(name, table, item, key) : []
  );
}

function printFree(table: BlockTable, record: JsonRecord): string[] {
  return Object.entries(table.free).flatMap(([name, spec]) => {
    const value = record[spec.field];
    return isRecord(value) ? printFreeBlock(name, spec, value) : [];
  });
}

const IDENTIFIER = /^[\p{ID_Start}_][\p{ID_Continue}-]*$/u;

function allNames(record: JsonRecord): boolean {
  return Object.keys(record).every((key) => IDENTIFIER.test(key));
}

function printFreeBlock(name: string, spec: FreeSpec, value: JsonRecord): string[] {
  if (!allNames(value)) {
    if (spec.alsoAttribute) return [`${name} = ${printJson(value)}`];
    const odd = Object.keys(value).find((key) => !IDENTIFIER.test(key));
    throw new PrintError(
      `Cannot write the job as HCL: the key ${
        JSON.stringify(odd)
      } of ${name} is no name, and ${name} takes only names. Use the JSON form of the job.`,
    );
  }
  if (spec.kind === "any") return [`${name} {`, ...printFreeBody(value), "}"];
  return [`${name} {`, ...Object.entries(value).map(([key, item]) => `${key} = ${printJson(item)}`), "}"];
}

/** Lists of objects become blocks, other values attributes; a bare object needs parentheses to stay one. */
function printFreeBody(value: JsonRecord): string[] {
  return Object.entries(value).flatMap(([key, item]) => {
    if (Array.isArray(item) && item.length > 0 && item.every((entry) => isRecord(entry) && allNames(entry))) {
      return item.flatMap((entry) => [`${key} {`, ...printFreeBody(entry as JsonRecord), "}"]);
    }
    return [`${key} = ${isRecord(item) ? `(${printJson(item)})` : printJson(item)}`];
  });
}

function printJson(value: Json): string {
  if (typeof value === "string") return printText(value);
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(printInline).join(", ")}]`;
  const entries = Object.entries(value).map(([key, item]) => `${quote(key)} = ${printInline(item)}`);
  return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
}

function printInline(value: Json): string {
  return typeof value === "string" ? quote(value) : printJson(value);
}

/** References for the node can stand as they are, if nothing after them would be drawn in. */
const SAFE_REFERENCE =
  /\$\$\{((?:attr|node|meta|env|device|secret)(?:\.[A-Za-z_][\w-]*)+|NOMAD_[A-Za-z_]\w*)\}(?! *\})/g;

function quote(text: string): string {
  return `"${escapeSequences(escapeText(text))}"`;
}

function escapeText(text: string): string {
  return text
    .replaceAll("\\", "\\\\")
    .replaceAll('"', '\\"')
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r")
    .replaceAll("\t", "\\t")
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x1f\x7f]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Labels take no references at all. */
function quoteLabel(text: string): string {
  return `"${escapeText(text).replace(/[$%](?=\{)/g, (symbol) => symbol + symbol)}"`;
}

function escapeSequences(text: string): string {
  return text.replace(/[$%](?=\{)/g, (symbol) => symbol + symbol).replace(
    SAFE_REFERENCE,
    (match, name: string, at: number, whole: string) => whole[at - 1] === "$" ? match : `\${${name}}`,
  );
}

/** Text of several lines as a heredoc, if it can be one. */
function printText(text: string): string {
  // deno-lint-ignore no-control-regex
  const plain = /\n[^]*\n$/.test(text) && !/[\x00-\x08\x0b-\x1f\x7f]/.test(text) && !/[ \t]\n/.test(text);
  if (!plain) return quote(text);
  let marker = "EOT";
  const lines = new Set(text.split("\n").map((line) => line.trim()));
  for (let i = 1; lines.has(marker); i++) marker = `EOT${i}`;
  return `<<${marker}\n${escapeSequences(text)}${marker}`;
}

const DURATION_UNITS: readonly (readonly [string, bigint])[] = [
  ["h", 3_600_000_000_000n],
  ["m", 60_000_000_000n],
  ["s", 1_000_000_000n],
  ["ms", 1_000_000n],
  ["us", 1_000n],
  ["ns", 1n],
];

function formatGoDuration(nanoseconds: bigint): string {
  if (nanoseconds === 0n) return "0s";
  let rest = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  let text = nanoseconds < 0n ? "-" : "";
  for (const [unit, size] of DURATION_UNITS) {
    const count = rest / size;
    if (count > 0n) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text;
}
