// The recorded cases: every valid file compiles to the recorded JSON, every invalid one fails at the recorded line for the
// recorded cause, every file of the formatter corpus comes out byte for byte.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { formatHcl, JobspecError, type Json, parseJob, parseJson } from "../../jobspec/jobspec.ts";
import { expectedText, loadCases, SHARED } from "./cases.ts";

for (const testCase of loadCases("valid")) {
  test(`valid ${testCase.name}: compiles to the recorded JSON`, () => {
    const expected = parseJson(expectedText(testCase, ".json")) as { Job: Json };
    assert.deepEqual(plain(parseJob(testCase.source, testCase.options)), plain(expected.Job));
  });
}

/** Without prototypes and class identities; bigint kept. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

interface Recorded {
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly summary: string;
}

/** The first problem of a recording: "FILE:LINE,COL-COL: Summary; Detail", or without a place. */
function firstProblem(text: string): Recorded {
  const match = /^(?:unable to parse var file: )?(?:(<nil>|:0,0-0)|([^\n]*?):(\d+),\d+-[\d,]+): ([^;\n]*);/m
    .exec(text);
  assert.ok(match, `the recording has a form this test does not know: ${text}`);
  const [, none, file, line, summary] = match;
  // The reference leaves out the name of a label that its tables do not name.
  const cause = summary!.replace("Missing  for", "Missing label for");
  return none === undefined
    ? { file, line: Number(line), summary: cause }
    : { file: undefined, line: undefined, summary: cause };
}

for (const testCase of loadCases("invalid")) {
  test(`invalid ${testCase.name}: fails at the recorded line for the recorded cause`, () => {
    const recorded = firstProblem(expectedText(testCase, ".txt"));
    if (testCase.missingFile !== undefined) {
      // Reading -var-file is the command line's work; the case must stay one that is about a missing file.
      assert.match(recorded.summary, /Failed to read file/);
      return;
    }
    const error = failure(() => parseJob(testCase.source, testCase.options));
    const first = error.diagnostics[0]!;
    assert.equal(first.summary, recorded.summary);
    if (recorded.line === undefined) return;
    assert.equal(first.file, recorded.file);
    assert.equal(first.range?.start.line, recorded.line);
  });
}

function failure(action: () => unknown): JobspecError {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof JobspecError, `threw ${String(error)}`);
    return error;
  }
  assert.fail("the file was accepted");
}

const FORMATTER = join(SHARED, "conformance", "hclfmt");
for (const file of readdirSync(FORMATTER).filter((name) => name.endsWith(".in.hcl"))) {
  test(`formatter ${file}: comes out byte for byte, and stays so`, () => {
    const expected = readFileSync(join(FORMATTER, file.replace(".in.hcl", ".out.hcl")), "utf8");
    const formatted = formatHcl(readFileSync(join(FORMATTER, file)));
    assert.equal(formatted, expected);
    assert.equal(formatHcl(formatted), expected);
  });
}
