// Regular expressions of users: RE2's language, linear time.
import test from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { linearRegexp } from "../../server/linear_regexp.ts";

test("linearRegexp matches anywhere unless anchored, with RE2's flags", () => {
  assert.equal(linearRegexp("ea")("ready"), true);
  assert.equal(linearRegexp("^ea")("ready"), false);
  assert.equal(linearRegexp("re.*y$")("ready"), true);
  assert.equal(linearRegexp("(?i)READY")("ready"), true);
  assert.equal(linearRegexp("a|dy$")("ready"), true);
  assert.equal(linearRegexp("^(web|api)-[0-9]+$")("api-12"), true);
  assert.equal(linearRegexp("x\\ny")("a\nx\ny"), true);
});

test("linearRegexp refuses what cannot be read", () => {
  assert.throws(() => linearRegexp("["));
  assert.throws(() => linearRegexp("(?=x)"));
});

test("linearRegexp ends on patterns that make others backtrack for ever", () => {
  assert.equal(linearRegexp("(a+)+$")("a".repeat(2_000) + "b"), false);
  assert.equal(linearRegexp("(x*)*(x*)*y")("x".repeat(500)), false);
});

test("linearRegexp agrees with the runtime's engine on plain patterns", () => {
  const text = fc.stringMatching(/^[ab1 .:-]{0,12}$/);
  const pattern = fc.constantFrom("a", "^a", "b$", "a.*b", "^a.+b$", "(a|b)+1", "[ab]{2}", "a?b", "1\\.1");
  fc.assert(fc.property(pattern, text, (source, value) => {
    assert.equal(linearRegexp(source)(value), new RegExp(source).test(value), `${source} on ${value}`);
  }));
});
