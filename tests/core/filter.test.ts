// The filter language against what the reference answered to the same expressions (asked of a running agent).
import test from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { compileFilter as compile, FilterError } from "../../core/filter.ts";

const compileFilter = (expression: string) =>
  compile(expression, (pattern) => (text) => new RegExp(pattern).test(text));

const NODE = {
  ID: "4f42ada6-4da2-2799-2153-a53c68857f70",
  Name: "ref-a",
  Status: "ready",
  Datacenter: "dc1",
  CreateIndex: 8,
  Draining: false,
  Attributes: { "kernel.name": "linux", arch: "amd64" },
  Drivers: { raw_exec: { Healthy: true, Attributes: {} } },
  Links: {},
  Meta: null,
  NodeResources: { Cpu: { CpuShares: 4000 }, Networks: null },
  Events: [{ Message: "Node registered", Subsystem: "Cluster" }],
  Tags: ["v1", "app"],
  LastDrain: null,
  DrainStrategy: null,
};

/** The message of the FilterError that reading or applying gives, or "" for none. */
function complaint(expression: string): string {
  try {
    compileFilter(expression)(NODE);
    return "";
  } catch (error) {
    assert.ok(error instanceof FilterError, String(error));
    return error.message;
  }
}

const READING: [string, string][] = [
  ["Nope == ", '1:9 (8): no match found, expected: "-", "0", "\\"", "`", [ \\t\\r\\n], [1-9] or [a-zA-Z]'],
  [
    " ",
    '1:2 (1): no match found, expected: "(", "-", "0", "\\"", "`", "all", "any", "not", [ \\t\\r\\n], [1-9] or [a-zA-Z]',
  ],
  ["Status", '1:7 (6): no match found, expected: "!=", ".", "==", "[", [ \\t\\r\\n] or [a-zA-Z0-9_/]'],
  ['Status == "', '1:12 (11): rule "string": Unterminated string literal'],
  ["Status is", "1:10 (9): no match found, expected: [ \\t\\r\\n]"],
  ["Status is empt", '1:11 (10): no match found, expected: "empty", "nil", "not" or [ \\t\\r\\n]'],
  ['Status == "ready" foo', '1:19 (18): no match found, expected: "and", "or", [ \\t\\r\\n] or EOF'],
  ['Status == "ready" and', "1:22 (21): no match found, expected: [ \\t\\r\\n]"],
  [
    'Status == "ready" and ',
    '1:23 (22): no match found, expected: "(", "-", "0", "\\"", "`", "not", [ \\t\\r\\n], [1-9] or [a-zA-Z]',
  ],
  ['(Status == "ready"', '1:19 (18): rule "grouping": Unmatched parentheses'],
  ["not", '1:4 (3): no match found, expected: "!=", ".", "==", "[", [ \\t\\r\\n] or [a-zA-Z0-9_/]'],
  [
    "not ",
    '1:5 (4): no match found, expected: "!=", "(", "-", "0", "==", "\\"", "`", "contains", "in", "is", "matches", "not", [ \\t\\r\\n], [1-9] or [a-zA-Z]',
  ],
  [
    'Status = "x"',
    '1:8 (7): no match found, expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \\t\\r\\n]',
  ],
  [
    'Status > "x"',
    '1:8 (7): no match found, expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \\t\\r\\n]',
  ],
  ['"x" in', "1:7 (6): no match found, expected: [ \\t\\r\\n]"],
  ['"x" in "', '1:8 (7): rule "match": Invalid selector'],
  ['Status in "x"', '1:11 (10): rule "match": Invalid selector'],
  ['Events[0].Message == "x"', '1:8 (7): rule "index": Invalid index'],
  ["123abc == x", '1:4 (3): rule "number": Invalid number literal'],
  ['Status == "re\\"ady"', '1:11 (10): rule "string": invalid syntax'],
];

for (const [expression, message] of READING) {
  test(`compileFilter says where it cannot read ${JSON.stringify(expression)}`, () => {
    assert.equal(complaint(expression), message);
  });
}

const APPLYING: [string, boolean | string][] = [
  ["Status == ready", true],
  ["Status == `ready`", true],
  ['Status == "\\u0072eady"', true],
  ['Status != "ready"', false],
  ['Status matches "ea"', true],
  ['Status not matches "^ea"', true],
  ['Status contains "rea"', true],
  ['"rea" in Status', true],
  ['"x" not in Status', true],
  ["Status in Name", false],
  ['Tags contains "v1"', true],
  ['"v2" in Tags', false],
  ['Attributes contains "kernel.name"', true],
  ['Attributes["kernel.name"] == "linux"', true],
  ['"/Attributes/kernel.name" == linux', true],
  ["Attributes.foo == x", false],
  ["Attributes.foo != x", true],
  ["Attributes.foo is empty", true],
  ["Attributes.foo is not empty", false],
  ['Attributes.foo matches "x"', false],
  ['Attributes.foo not contains "x"', true],
  [
    "Attributes.foo.bar == x",
    'error finding value in datum: /Attributes/foo/bar at part 1: couldn\'t find key "foo"',
  ],
  ["CreateIndex == 8", true],
  ["NodeResources.Cpu.CpuShares == 4000", true],
  ["Drivers.raw_exec.Healthy == true", true],
  ["Drivers.zzz == true", false],
  ["Meta.owner == x", false],
  ["Meta.owner is empty", true],
  [
    "Drivers.raw_exec.Zzz == true",
    'error finding value in datum: /Drivers/raw_exec/Zzz at part 2: couldn\'t find key: struct field with name "Zzz"',
  ],
  ["Events is empty", false],
  ['"/Events/0/Message" == "Node registered"', true],
  ['Events["0"].Message == "Node registered"', true],
  [
    'Events.Message == "x"',
    'error finding value in datum: /Events/Message at part 1: couldn\'t convert value "Message" to type int',
  ],
  ['Events == "x"', "unable to find suitable primitive comparison function for matching"],
  ['any Events as e { e.Message == "Node registered" }', true],
  ['all Events as e { e.Message == "x" }', false],
  ['any Attributes as k { k == "kernel.name" }', true],
  ['any Attributes as k, v { v == "linux" }', true],
  ['any Attributes as _, v { v == "plan9" }', false],
  ['any Status as s { s == "x" }', "Status is not a list or a map"],
  ["CreateIndex is empty", 'cannot perform is-empty operations on type int for selector: "CreateIndex"'],
  ["Links is empty", true],
  ["LastDrain is nil", true],
  ["LastDrain is not nil", false],
  [
    "DrainStrategy.Deadline == 5",
    "error finding value in datum: /DrainStrategy/Deadline: at part 1, invalid value kind: invalid",
  ],
  [
    'Nope == "x"',
    'error finding value in datum: /Nope at part 0: couldn\'t find key: struct field with name "Nope"',
  ],
  ['Status == "x" and Nope == "y"', false],
  ['Status == "ready" or Nope == "y"', true],
  ['Status == "ready" or (Name == "x" and not Name == "y")', true],
  ["not not Status == ready", true],
  [
    "Draining == maybe",
    'error getting match value in expression: strconv.ParseBool: parsing "maybe": invalid syntax',
  ],
];

for (const [expression, expected] of APPLYING) {
  test(`compileFilter applies ${expression}`, () => {
    if (typeof expected === "string") assert.equal(complaint(expression), expected);
    else assert.equal(compileFilter(expression)(NODE), expected);
  });
}

test("compileFilter never throws anything but FilterError, and always ends", () => {
  const words = [
    "Status",
    "==",
    "!=",
    "and",
    "or",
    "not",
    "(",
    ")",
    '"',
    "is",
    "empty",
    "in",
    " ",
    "any",
    "as",
    "{",
    "}",
    "[",
    "1",
    ".",
    "`",
  ];
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constantFrom(...words), fc.string()), { maxLength: 20 }), (parts) => {
      complaint(parts.join(" "));
      complaint(parts.join(""));
    }),
    { numRuns: 500 },
  );
});

test("compileFilter: and, or, not obey their laws", () => {
  const atom = fc.constantFrom(
    "Status == ready",
    "Status == down",
    "Name == `ref-a`",
    'Tags contains "v1"',
    "Links is not empty",
  );
  fc.assert(fc.property(atom, atom, (a, b) => {
    const of = (text: string) => compileFilter(text)(NODE);
    assert.equal(of(`${a} and ${b}`), of(a) && of(b));
    assert.equal(of(`${a} or ${b}`), of(a) || of(b));
    assert.equal(of(`not (${a} and ${b})`), of(`(not ${a}) or not ${b}`));
  }));
});

test("compileFilter refuses what would be too deep or too long", () => {
  assert.match(complaint(`${"(".repeat(500)}Status == x${")".repeat(500)}`), /nested more than/);
  assert.match(complaint(`Status == "${"x".repeat(20_000)}"`), /longer than/);
});
