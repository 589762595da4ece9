// What a person sees who wrote something wrong: every problem of the file, each with its place, source line, caret, what
// was expected and what was probably meant. And the same for files in JSON and for variables.
import assert from "node:assert/strict";
import { test } from "node:test";
import { JobspecError, parseJob, type ParseJobOptions } from "../../jobspec/jobspec.ts";

function failure(source: string, options: ParseJobOptions = {}): JobspecError {
  try {
    parseJob(source, { filename: "a.nomad.hcl", ...options });
  } catch (error) {
    if (error instanceof JobspecError) return error;
    throw error;
  }
  throw new Error("the job was accepted");
}

test("a file with many mistakes: all of them are reported at once, in order, each in full", () => {
  const { message } = failure(`job "a" {
  datacentres = ["dc1"]
  group "g" {
    count = "many"
\tupdate { max_paralel = 1 }
    netwrok {
      mode = "host"
    }
    task "u" {
      driver = "exec"
      resources { cpu = local.a }
      env { A = "日本 \${uper("x")}" }
    }
  }
}
`);
  assert.equal(
    message,
    `a.nomad.hcl:2:3: Unsupported argument; An argument named "datacentres" is not expected here. Did you mean "datacenters"?
  2 |   datacentres = ["dc1"]
    |   ^^^^^^^^^^^
a.nomad.hcl:4:14: Unsuitable value type; Unsuitable value: a number is required
  4 |     count = "many"
    |              ^^^^
  expected: a whole number
a.nomad.hcl:5:11: Unsupported argument; An argument named "max_paralel" is not expected here. Did you mean "max_parallel"?
  5 | \tupdate { max_paralel = 1 }
    | \t         ^^^^^^^^^^^
a.nomad.hcl:6:5: Unsupported block type; Blocks of type "netwrok" are not expected here. Did you mean "network"?
  6 |     netwrok {
    |     ^^^^^^^
a.nomad.hcl:11:30: Unsupported attribute; This object does not have an attribute named "a".
  11 |       resources { cpu = local.a }
     |                              ^^
a.nomad.hcl:12:23: Call to unknown function; There is no function named "uper". Did you mean "upper"?
  12 |       env { A = "日本 \${uper("x")}" }
     |                         ^^^^`,
  );
});

test("several syntax errors: the parser goes on after the first one", () => {
  const { diagnostics } = failure(`job "a" {
  group "g" {
    count =
    task "t" {
      driver = = "x"
    }
  }
}
job {
  x = "unterminated
}
`);
  assert.deepEqual(diagnostics.map((d) => d.range?.start.line), [3, 5, 10]);
});

test("diagnostics: carry the fields that programs need", () => {
  const [diagnostic, ...rest] = failure(`job "a" {\n  priorty = 70\n}\n`).diagnostics;
  assert.equal(rest.length, 0);
  assert.deepEqual({ ...diagnostic }, {
    severity: "error",
    summary: "Unsupported argument",
    detail: 'An argument named "priorty" is not expected here.',
    file: "a.nomad.hcl",
    range: {
      start: { offset: 12, line: 2, column: 3 },
      end: { offset: 19, line: 2, column: 10 },
    },
    sourceLine: "  priorty = 70",
    suggestion: "priority",
  });
});

test("columns: count grapheme clusters, also of emoji and combining marks", () => {
  const { diagnostics } = failure(`job "a" {\n  name = "👨‍👩‍👧e\u0301" + 1\n}\n`);
  assert.deepEqual(diagnostics.map((d) => [d.range?.start.line, d.range?.start.column]), [[2, 10]]);
  const later = failure(`job "a" {\n  name = "👨‍👩‍👧e\u0301\${nope()}"\n}\n`).diagnostics[0]!;
  assert.equal(later.range?.start.column, 15);
});

test("line ends: CRLF counts as one", () => {
  const { diagnostics } = failure(`job "a" {\r\n  x = 1\r\n  y = 2\r\n}\r\n`);
  assert.deepEqual(diagnostics.map((d) => [d.range?.start.line, d.sourceLine]), [[2, "  x = 1"], [
    3,
    "  y = 2",
  ]]);
});

test("variables: unset, wrong, undeclared and invalid ones are reported together", () => {
  const error = failure(
    `variable "n" {
  type = number
}
variable "m" {
  type = string
  validation {
    condition     = can(regex("^[a-z]{3}$", var.m))
    error_message = "Three letters."
  }
}
variable "u" {
}
job "a" {
}
`,
    { variables: { n: "x", m: "ab", zz: "1" } },
  );
  const text = error.message;
  assert.match(text, /Invalid argument value for -var variable; .* n .*a number is required/);
  assert.match(text, /Three letters\./);
  assert.match(text, /a\.nomad\.hcl:11:10: Unset variable "u"/);
  assert.match(text, /Undefined -var variable; A "zz" variable/);
});

test("a variable file with a mistake: the place is in that file", () => {
  const { diagnostics } = failure(`variable "n" {}\njob "a" {\n}\n`, {
    variableFiles: [{ name: "prod.vars", source: "n = 1\nx = [1,\n" }],
  });
  assert.equal(diagnostics[0]?.file, "prod.vars");
  assert.ok((diagnostics[0]?.range?.start.line ?? 0) >= 2);
});

test("cyclic locals: the message names the way round", () => {
  const { message } = failure(`locals {\n  a = local.b\n  b = local.a\n}\njob "a" {\n  name = local.a\n}\n`);
  assert.match(message, /local\.a → local\.b → local\.a/);
});

test("JSON: places and suggestions as in the native syntax", () => {
  const { message } = failure(
    '{"job": {"a": {\n  "datacentres": ["dc1"],\n  "group": {"g": {"count": "x"}}\n}}}',
    { filename: "a.json" },
  );
  assert.match(message, /^a\.json:2:3: Extraneous JSON object property; .*Did you mean "datacenters"\?$/m);
  assert.match(message, /^a\.json:3:28: Unsuitable value type; /m);
});

test("no job block: says so and how one looks", () => {
  assert.match(failure("").message, /A job block is required\.\n {2}expected: job "<name>" \{ … \}/);
});

test("very many mistakes: the first hundred are shown, the rest are counted", () => {
  const error = failure(
    `job "a" {\n${"  nope = 1\n".repeat(1)}${
      Array.from({ length: 250 }, (_, i) => `  nope${i} = 1\n`).join("")
    }}\n`,
  );
  assert.equal(error.diagnostics.length, 100);
  assert.equal(error.errorCount, 251);
  assert.match(error.message, /… and 151 more problems/);
});
