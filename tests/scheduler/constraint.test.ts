// Operators and targets of constraints, and the two flavours of versions.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compileConstraint } from "../../server/constraint.ts";
import { matchesGlob } from "../../server/glob.ts";
import { compileVersionConstraint } from "../../server/version_constraint.ts";
import { node } from "./fixtures.ts";

const one = node(1, {
  name: "alpha",
  datacenter: "dc1",
  nodeClass: "big",
  attributes: {
    "kernel.version": "6.18.44-fc",
    "cpu.numcores": "8",
    "os.signals": "SIGHUP,SIGINT,SIGTERM",
    "free": "2.5",
  },
  meta: { rack: "r1", empty: "" },
});

function holds(LTarget: string, Operand: string, RTarget: string): boolean {
  return compileConstraint({ LTarget, Operand, RTarget }).holds(one);
}

const TRUE: [string, string, string][] = [
  ["${attr.kernel.name}", "=", "linux"],
  ["${node.datacenter}", "is", "dc1"],
  ["${node.class}", "==", "big"],
  ["${node.unique.name}", "=", "alpha"],
  ["${node.pool}", "=", "default"],
  ["${meta.rack}", "!=", "r2"],
  ["${meta.absent}", "!=", "r2"],
  ["${meta.rack}", "not", "r2"],
  ["literal", "=", "literal"],
  ["${attr.cpu.numcores}", "<", "16"],
  ["${attr.cpu.numcores}", ">=", "8"],
  ["${attr.free}", ">", "2.25"],
  ["${meta.rack}", "<", "r2"],
  ["${attr.kernel.version}", "regexp", "^6\\.\\d+"],
  ["${node.unique.name}", "regexp", "(?i)^ALPHA$"],
  ["${attr.kernel.version}", "version", ">= 6.18.44-fc"],
  ["${attr.os.signals}", "set_contains", "SIGHUP, SIGTERM"],
  ["${attr.os.signals}", "set_contains_all", "SIGINT"],
  ["${attr.os.signals}", "set_contains_any", "SIGKILL,SIGINT"],
  ["${meta.empty}", "is_set", ""],
  ["${meta.absent}", "is_not_set", ""],
  ["", "distinct_hosts", "true"],
];

const FALSE: [string, string, string][] = [
  ["${attr.kernel.name}", "=", "darwin"],
  ["${meta.absent}", "=", "r1"],
  ["${meta.absent}", "=", "${meta.other}"],
  ["${attr.cpu.numcores}", ">", "16"],
  ["${meta.absent}", "<", "1"],
  ["${attr.kernel.version}", "regexp", "("],
  ["${attr.kernel.version}", "version", "not a version"],
  ["${attr.os.signals}", "set_contains", "SIGHUP,SIGKILL"],
  ["${meta.absent}", "set_contains_any", "x"],
  ["${meta.absent}", "is_set", ""],
  ["${node.unknown}", "=", "x"],
  ["${attr.kernel.name}", "sounds_like", "linux"],
];

for (const [left, operand, right] of TRUE) {
  test(`constraint ${left} ${operand} ${right} holds`, () => assert.equal(holds(left, operand, right), true));
}
for (const [left, operand, right] of FALSE) {
  test(`constraint ${left} ${operand} ${right} does not hold`, () =>
    assert.equal(holds(left, operand, right), false));
}

test("constraint: what is unique to a node escapes its class", () => {
  assert.equal(compileConstraint({ LTarget: "${node.unique.id}", Operand: "=", RTarget: "x" }).escapes, true);
  assert.equal(compileConstraint({ LTarget: "${meta.unique.id}", Operand: "=", RTarget: "x" }).escapes, true);
  assert.equal(
    compileConstraint({ LTarget: "${attr.kernel.name}", Operand: "=", RTarget: "x" }).escapes,
    false,
  );
});

const VERSIONS: ["version" | "semver", string, string, boolean][] = [
  ["version", ">= 1.2", "1.2.0", true],
  ["version", ">= 1.0, < 2.0", "1.9.9", true],
  ["version", ">= 1.0, < 2.0", "2.0", false],
  ["version", "~> 1.2", "1.9", true],
  ["version", "~> 1.2", "2.0", false],
  ["version", "~> 1.2.3", "1.2.9", true],
  ["version", "~> 1.2.3", "1.3.0", false],
  ["version", "1.2.3", "1.2.3", true],
  ["version", "!= 1.2.3", "1.2.4", true],
  ["version", ">= 1.0", "1.1.0-beta", false],
  ["version", ">= 1.1.0-alpha", "1.1.0-beta", true],
  ["semver", ">= 1.0", "1.1.0-beta", true],
  ["semver", ">= 1.1.0", "1.1.0-beta", false],
  ["semver", ">= 1.0.0-alpha.1", "1.0.0-alpha.beta", true],
  ["semver", "> 1.0.0-alpha.2", "1.0.0-alpha.10", true],
  ["version", "> v1.0", "v1.0.1+build7", true],
];

for (const [flavour, wanted, version, expected] of VERSIONS) {
  test(`${flavour} constraint ${wanted} and ${version}`, () => {
    assert.equal(compileVersionConstraint(wanted, flavour)!(version), expected);
  });
}

test("version constraint: nonsense is no constraint, semver knows no ~>", () => {
  assert.equal(compileVersionConstraint(">> 1", "version"), null);
  assert.equal(compileVersionConstraint("~> 1.2", "semver"), null);
});

test("matchesGlob: stars stand for any run of characters", () => {
  for (
    const [pattern, text] of [["*", "dc1"], ["dc*", "dc1"], ["*1", "dc1"], ["d*1", "dc1"], ["*c*", "dc1"], [
      "dc1",
      "dc1",
    ]]
  ) {
    assert.ok(matchesGlob(pattern!, text!), pattern);
  }
  for (const [pattern, text] of [["dc", "dc1"], ["x*", "dc1"], ["a*a", "a"], ["d*2", "dc1"], ["", "dc1"]]) {
    assert.ok(!matchesGlob(pattern!, text!), pattern);
  }
});
