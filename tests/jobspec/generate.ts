// Random valid job files and expressions, made from the compiler's own tables: every block, attribute and value kind can
// come up. Used by the properties, and by hand to compare with the reference.
import fc from "fast-check";
import { job } from "../../jobspec/blocks_job.ts";
import type { AttributeSpec, BlockTable, FreeSpec, ValueKind } from "../../jobspec/table.ts";

const word = fc.constantFrom("a", "bee", "c-3", "d_4", "größe", "x1", "zz");
const textPart = fc.constantFrom(
  "plain",
  "",
  "two words",
  "ünï → 日本",
  "e\u0301",
  "🚀",
  'q\\"q',
  "\\n",
  "\\t",
  "\\\\",
  "$${x}",
  "%%{y}",
  "$ ",
  "5% ",
  "{ }",
  "# no comment",
  "\\u00e9",
);
const reference = fc.constantFrom(
  "attr.kernel.name",
  "node.unique.id",
  "NOMAD_PORT_http",
  'env["HOME"]',
  "meta.a-b",
);

export interface Expressions {
  readonly text: fc.Arbitrary<string>;
  readonly number: fc.Arbitrary<string>;
  readonly truth: fc.Arbitrary<string>;
  readonly list: fc.Arbitrary<string>;
  readonly object: fc.Arbitrary<string>;
  readonly any: fc.Arbitrary<string>;
}

function call(name: string, ...args: fc.Arbitrary<string>[]): fc.Arbitrary<string> {
  return fc.tuple(...args).map((values) => `${name}(${values.join(", ")})`);
}

/** Expressions by the type they have; all evaluate without an error. */
export const { text, number, truth, list, object, any }: Expressions = fc.letrec<{
  text: string;
  number: string;
  truth: string;
  list: string;
  object: string;
  any: string;
}>((tie) => {
  const small = fc.integer({ min: 0, max: 5 }).map(String);
  const interpolated = fc.tuple(
    textPart,
    fc.oneof(tie("text"), tie("number"), tie("truth"), reference),
    textPart,
  )
    .map(([before, inner, after]) => `"${before}\${${inner}}${after}"`);
  const conditional = (inner: fc.Arbitrary<string>) =>
    fc.tuple(tie("truth"), inner, inner).map(([test, yes, no]) => `(${test} ? ${yes} : ${no})`);
  const binary = (inner: fc.Arbitrary<string>, ...operators: string[]) =>
    fc.tuple(inner, fc.constantFrom(...operators), inner).map(([a, op, b]) => `(${a} ${op} ${b})`);
  return {
    text: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      textPart.map((part) => `"${part}"`),
      interpolated,
      call("upper", tie("text")),
      call("lower", tie("text")),
      call("trimspace", tie("text")),
      call("strrev", tie("text")),
      call("replace", tie("text"), fc.constant('"a"'), tie("text")),
      call("substr", tie("text"), small, small),
      call("jsonencode", tie("any")),
      call("md5", tie("text")),
      call("base64encode", tie("text")),
      call("join", fc.constant('","'), tie("list")),
      call("format", fc.constant('"%v|%5s|%q"'), tie("any"), tie("text"), tie("text")),
      conditional(tie("text")),
      fc.tuple(tie("list"), tie("text")).map(([items, other]) =>
        `"%{ for v in ${items} ~} \${v}\${${other}} %{ endfor }"`
      ),
      fc.tuple(tie("truth"), textPart).map(([test, part]) => `"%{ if ${test} }${part}%{ else }no%{ endif }"`),
    ),
    number: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.integer({ min: -1000, max: 100_000 }).map((n) => n < 0 ? `(${n})` : String(n)),
      fc.constantFrom("0.1", "2.50", "1e3", "1e-4", "123456789012345678901234567890", "9007199254740993"),
      binary(tie("number"), "+", "-", "*"),
      call("length", tie("list")),
      call("strlen", tie("text")),
      call("abs", tie("number")),
      call("max", tie("number"), tie("number")),
      call("floor", tie("number")),
      conditional(tie("number")),
    ),
    truth: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.constantFrom("true", "false"),
      binary(tie("truth"), "&&", "||", "==", "!="),
      binary(tie("number"), "<", "<=", ">", ">=", "==", "!="),
      binary(tie("text"), "==", "!="),
      tie("truth").map((value) => `!${value}`),
      call("can", tie("any")),
      call("contains", tie("list"), tie("text")),
    ),
    list: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.array(tie("text"), { maxLength: 3 }).map((items) => `[${items.join(", ")}]`),
      call("split", fc.constant('","'), tie("text")),
      call("distinct", tie("list")),
      call("concat", tie("list"), tie("list")),
      call("sort", tie("list")),
      tie("list").map((items) => `[for i, v in ${items} : upper(v) if i % 2 == 0]`),
      call("keys", tie("object")),
    ),
    object: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.array(fc.tuple(word, tie("any")), { maxLength: 3 })
        .map((entries) => `{ ${entries.map(([key, value]) => `"${key}" = ${value}`).join(", ")} }`),
      call("merge", tie("object"), tie("object")),
      tie("list").map((items) => `{ for i, v in ${items} : "k\${i}" => v }`),
    ),
    any: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      tie("text"),
      tie("number"),
      tie("truth"),
      tie("list"),
      tie("object"),
      fc.constant("null"),
    ),
  };
});

const duration = fc.constantFrom('"30s"', '"1h30m"', '"0"', '"-5s"', '"1.5s"', "1500000000", '"${1 + 1}m"');

function literalOf(kind: ValueKind): fc.Arbitrary<string> {
  const strings = fc.oneof(fc.array(text, { maxLength: 2 }).map((items) => `[${items.join(", ")}]`), list);
  switch (kind) {
    case "string":
      return fc.oneof(
        text,
        reference.map((name) => `"\${${name}}"`),
        fc.integer().map(String),
        fc.constant("true"),
      );
    case "bool":
      return fc.oneof(truth, fc.constantFrom('"true"', '"false"', '"1"'));
    case "duration":
    case "durationMs":
      return duration;
    case "strings":
      return strings;
    case "uint16s":
      return fc.array(fc.integer({ min: 0, max: 65535 }), { maxLength: 3 }).map((items) =>
        `[${items.join(", ")}]`
      );
    case "stringMap":
      return fc.array(fc.tuple(word, text), { maxLength: 2 })
        .map((entries) => `{ ${entries.map(([key, value]) => `"${key}" = ${value}`).join(", ")} }`);
    case "stringsMap":
      return fc.array(fc.tuple(word, strings), { maxLength: 2 })
        .map((entries) => `{ ${entries.map(([key, value]) => `"${key}" = ${value}`).join(", ")} }`);
    case "number":
      return number;
    case "any":
      return any;
    case "int8":
      return fc.integer({ min: -128, max: 127 }).map(String);
    case "int":
      return fc.oneof(
        fc.integer({ min: -1000, max: 1_000_000 }).map(String),
        fc.constantFrom('"7"', "9007199254740993", "2 * 3"),
      );
    default:
      return fc.oneof(fc.integer({ min: 0, max: 255 }).map(String), fc.constant('"5"'));
  }
}

type Lines = string[];

function indent(lines: Lines): Lines {
  return lines.map((line) => `  ${line}`);
}

/** Present with one chance in `odds`. */
function sometimes(odds: number, lines: fc.Arbitrary<Lines>): fc.Arbitrary<Lines> {
  return fc.nat(odds - 1).chain((roll) => roll === 0 ? lines : fc.constant([]));
}

function attribute(name: string, spec: AttributeSpec): fc.Arbitrary<Lines> {
  const value = spec.nullable && !spec.required && spec.kind !== "duration"
    ? fc.oneof({ weight: 9, arbitrary: literalOf(spec.kind) }, { weight: 1, arbitrary: fc.constant("null") })
    : literalOf(spec.kind);
  const line = value.map((written) => [`${name} = ${written}`]);
  return spec.required ? line : sometimes(3, line);
}

function freeBody(spec: FreeSpec, depth: number): fc.Arbitrary<Lines> {
  if (spec.kind === "stringsMap") {
    return fc.uniqueArray(word, { maxLength: 2 }).chain((names) =>
      fc.tuple(...names.map(() => list)).map((values) => names.map((name, i) => `${name} = ${values[i]}`))
    );
  }
  const value = spec.kind === "any" ? any : fc.oneof(text, number, truth);
  const attributes = fc.uniqueArray(word, { maxLength: 3 }).chain((names) =>
    fc.tuple(...names.map(() => value)).map((values) => names.map((name, i) => `${name} = ${values[i]}`))
  );
  if (spec.kind !== "any" || depth > 2) return attributes;
  const nested = fc.tuple(
    fc.constantFrom("blk", "opt"),
    fc.array(word, { maxLength: 2 }),
    freeBody(spec, depth + 1),
  )
    .map((
      [name, labels, body],
    ) => [`${name}${labels.map((label) => ` "${label}"`).join("")} {`, ...indent(body), "}"]);
  return fc.tuple(attributes, fc.array(nested, { maxLength: 2 })).map((
    [own, blocks],
  ) => [...own, ...blocks.flat()]);
}

function free(name: string, spec: FreeSpec): fc.Arbitrary<Lines> {
  return sometimes(4, freeBody(spec, 0).map((body) => [`${name} {`, ...indent(body), "}"]));
}

/** Values that the tables cannot tell: what `finish` functions check. */
const RESTRICTED: Record<string, Record<string, fc.Arbitrary<string>>> = {
  scaling: { type: fc.constant('""'), max: fc.integer({ min: 1, max: 9 }).map(String) },
};

function body(table: BlockTable, depth: number): fc.Arbitrary<Lines> {
  const parts: fc.Arbitrary<Lines>[] = [];
  for (const [name, spec] of Object.entries(table.attributes)) {
    const restricted = RESTRICTED[table.name]?.[name];
    parts.push(restricted ? restricted.map((value) => [`${name} = ${value}`]) : attribute(name, spec));
  }
  for (const [name, spec] of Object.entries(table.free)) parts.push(free(name, spec));
  for (const [name, spec] of Object.entries(table.blocks)) {
    const child = spec.table();
    // Each level down has fewer blocks, so that a job stays of a readable size.
    const odds = name === "group" || name === "task" ? 2 : 3 + depth;
    const count = spec.form === "one" || spec.uniqueLabels ? 1 : 2;
    const blocks = fc.array(blockOf(name, child, depth + 1), { minLength: 1, maxLength: count });
    parts.push(sometimes(odds, blocks.map((items) => items.flat())));
  }
  return fc.tuple(...parts).map((lines) => lines.flat());
}

function labelOf(name: string): fc.Arbitrary<string> {
  return name === "scaling" ? fc.constantFrom("cpu", "mem") : word;
}

function blockOf(name: string, table: BlockTable, depth: number): fc.Arbitrary<Lines> {
  const labels = fc.tuple(...table.labels.map(() => labelOf(name)));
  return fc.tuple(labels, body(table, depth)).map(([texts, lines]) => [
    `${name}${texts.map((label) => ` "${label}"`).join("")} {`,
    ...indent(lines),
    "}",
  ]);
}

/** A whole job file. */
export const jobFile: fc.Arbitrary<string> = blockOf("job", job, 0).map((lines) => `${lines.join("\n")}\n`);
