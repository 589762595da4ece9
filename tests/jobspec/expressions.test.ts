// Recorded expressions: what the reference makes of `meta = { k = EXPRESSION }`. testdata/expressions.txt has cases of the form
// expression, "----", then "= JSON text of the value" or "! LINE SUMMARY" (line 1 is the expression's first). The answers
// were recorded from the reference, so there is nothing to rewrite from our own output.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { diskFiles, JobspecError, parseJob } from "../../jobspec/jobspec.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
/** Lines of the job file before the expression. */
const LINES_BEFORE = 2;

interface Recorded {
  readonly expression: string;
  readonly expected: string;
}

function readCases(): Recorded[] {
  const text = readFileSync(join(HERE, "testdata", "expressions.txt"), "utf8");
  return [...text.matchAll(/([^]+?)\n----\n([=!] .*)\n\n?/g)].map((match) => ({
    expression: match[1]!,
    expected: match[2]!,
  }));
}

/** What we make of it, in the form of the file. */
function evaluate(expression: string): string {
  const source = `job "j" {\n meta = {\n  k = ${expression}\n }\n}\n`;
  try {
    const job = parseJob(source, { readFile: diskFiles(HERE) });
    return `= ${JSON.stringify((job["Meta"] as Record<string, string>)["k"])}`;
  } catch (error) {
    if (!(error instanceof JobspecError)) throw error;
    const first = error.diagnostics[0]!;
    return `! ${first.range!.start.line - LINES_BEFORE} ${first.summary}`;
  }
}

const cases = readCases();

test("expressions: the file of recorded cases is read whole", () => {
  assert.ok(cases.length > 500, `only ${cases.length} cases`);
});

for (const { expression, expected } of cases) {
  test(`expression ${JSON.stringify(expression).slice(1, 80)}`, () => {
    assert.equal(evaluate(expression), expected);
  });
}
