// Functions between texts: base64, CSV, JSON, URLs. YAML has its own file.
import { Diagnostics, SourceFile } from "./diagnostics.ts";
import { encodeJson } from "./encode_json.ts";
import { type CallContext, FunctionError, type FunctionSpec, parameter } from "./function_types.ts";
import { type JsonNode, parseJsonSource } from "./json_syntax.ts";
import { listOf, normalizeText, NULL, objectOf, TupleValue, type Type, type Value } from "./value.ts";

const str = parameter("str", "string");

function base64Decode(text: string): string {
  const compact = text.replace(/[\r\n]/g, "");
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(compact)) {
    throw new FunctionError(`failed to decode base64 data '${text}'`);
  }
  try {
    return normalizeText(
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(compact, "base64")),
    );
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new FunctionError("the result of decoding the provided string is not valid UTF-8");
  }
}

function jsonValue(node: JsonNode): Value {
  switch (node.kind) {
    case "null":
      return NULL;
    case "bool":
    case "number":
      return node.value;
    case "string":
      return normalizeText(node.text);
    case "array":
      return new TupleValue(node.items.map(jsonValue));
    case "object":
      return objectOf(
        node.properties.map((property) => [normalizeText(property.name), jsonValue(property.value)]),
      );
  }
}

function jsonDecode(text: string, { budget }: CallContext): Value {
  budget.items(text.length >> 3);
  const diagnostics = new Diagnostics();
  const node = parseJsonSource(new SourceFile("json", text), diagnostics);
  if (node) return jsonValue(node);
  const first = diagnostics.list[0]!;
  const { line, column } = first.range!.start;
  throw new FunctionError(`${first.summary.toLowerCase()} at line ${line}, column ${column} of the text`);
}

/** Rows of fields, with Go's rules: quotes only around whole fields, blank lines skipped. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let at = 0;
  const problem = (what: string) =>
    new FunctionError(`parse error on line ${text.slice(0, at).split("\n").length}: ${what}`);
  while (at < text.length) {
    const blank = /\r?\n/y;
    blank.lastIndex = at;
    if (blank.test(text)) {
      at = blank.lastIndex;
      continue;
    }
    const row: string[] = [];
    for (;;) {
      let field = "";
      if (text[at] === '"') {
        const quoted = /"((?:[^"]|"")*)"/y;
        quoted.lastIndex = at;
        const match = quoted.exec(text);
        if (!match) throw problem('extraneous or missing " in quoted-field');
        field = match[1]!.replaceAll('""', '"').replaceAll("\r\n", "\n");
        at = quoted.lastIndex;
      } else {
        const bare = /[^,\n]*/y;
        bare.lastIndex = at;
        field = bare.exec(text)![0];
        if (field.includes('"')) throw problem('bare " in non-quoted field');
        at = bare.lastIndex;
        if (text[at] !== ",") field = field.replace(/\r$/, "");
      }
      row.push(field);
      if (text[at] === ",") {
        at++;
        continue;
      }
      if (at < text.length && !/^\r?(?:\n|$)/.test(text.slice(at, at + 2))) {
        throw problem('extraneous or missing " in quoted-field');
      }
      at = text.indexOf("\n", at) < 0 ? text.length : text.indexOf("\n", at) + 1;
      break;
    }
    rows.push(row);
  }
  return rows;
}

function csvDecode(text: string, { budget }: CallContext): Value {
  const [header, ...rows] = parseCsv(text);
  if (!header) throw new FunctionError("missing header line");
  const names = header.map(normalizeText);
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw new FunctionError(`duplicate column name "${repeated}"`);
  const type: Type = { kind: "object", attributes: new Map(names.map((name) => [name, "string" as const])) };
  budget.items(rows.length * (names.length + 1));
  const items = rows.map((row, i) => {
    if (row.length !== names.length) {
      throw new FunctionError(`record on line ${i + 2}: wrong number of fields`);
    }
    return objectOf(row.map((field, column) => [names[column]!, normalizeText(field)]));
  });
  return listOf(type, items);
}

export const ENCODING_FUNCTIONS: Record<string, FunctionSpec> = {
  base64decode: {
    doc: "The text that a base64 text stands for.",
    parameters: [str],
    call: ([text]) => base64Decode(text as string),
  },
  base64encode: {
    doc: "A text in base64.",
    parameters: [str],
    call: ([text]) => Buffer.from(text as string, "utf8").toString("base64"),
  },
  csvdecode: {
    doc: "A list of objects from a CSV text whose first line names the fields.",
    parameters: [str],
    call: ([text], context) => csvDecode(text as string, context),
  },
  jsondecode: {
    doc: "The value that a JSON text stands for.",
    parameters: [str],
    call: ([text], context) => jsonDecode(text as string, context),
  },
  jsonencode: {
    doc: "A value as JSON text.",
    parameters: [parameter("val", "dynamic", true)],
    call: ([value], { budget }) => encodeJson(value!, budget),
  },
  urlencode: {
    doc: "A text as it stands in a URL's query.",
    parameters: [str],
    call: ([text]) =>
      encodeURIComponent(text as string).replace(
        /[!'()*]/g,
        (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
      )
        .replaceAll("%20", "+"),
  },
};
