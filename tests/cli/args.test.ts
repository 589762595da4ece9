import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bool,
  duration,
  FlagError,
  int,
  list,
  nearestName,
  optionalBool,
  parseArgs,
  string,
} from "../../cli/args.ts";

const FLAGS = {
  detach: bool("x"),
  diff: bool("x", true),
  token: string("x"),
  n: int("x", "", -1),
  var: list("x"),
  wait: duration("x"),
  pause: optionalBool("x"),
};

const parse = (...words: string[]) => parseArgs(words, FLAGS);

test("parseArgs takes one or two dashes, = or the next word", () => {
  for (const words of [["-token=a"], ["--token=a"], ["-token", "a"], ["--token", "a"]]) {
    assert.equal(parse(...words).values["token"], "a");
  }
  assert.equal(parse("-token=a=b").values["token"], "a=b");
});

test("parseArgs takes flags before and after arguments, and a dash as an argument", () => {
  const parsed = parse("web", "-detach", "-", "--", "-n");
  assert.deepEqual(parsed.args, ["web", "-", "-n"]);
  assert.equal(parsed.values["detach"], true);
  assert.deepEqual(parsed.given, ["detach"]);
});

test("parseArgs keeps every value of a repeated flag and the last of others", () => {
  const parsed = parse("-var", "a=1", "-var=b=2", "-token", "x", "-token", "y");
  assert.deepEqual(parsed.values["var"], ["a=1", "b=2"]);
  assert.equal(parsed.values["token"], "y");
});

test("parseArgs reads bools only with =", () => {
  assert.equal(parse("-diff=false").values["diff"], false);
  assert.deepEqual(parse("-detach", "false").args, ["false"]);
  assert.throws(() => parse("-detach=maybe"), {
    message: 'invalid boolean value "maybe" for -detach: parse error',
  });
});

test("parseArgs reads numbers and durations and refuses others", () => {
  assert.equal(parse("-n", "-5").values["n"], -5);
  assert.equal(parse("-wait=1m30s").values["wait"], 90e9);
  assert.throws(() => parse("-n=x"), { message: 'invalid value "x" for flag -n: parse error' });
  assert.throws(() => parse("-wait=5"), { message: 'invalid value "5" for flag -wait: parse error' });
});

test("parseArgs leaves what was not given apart from false", () => {
  assert.equal(parse().values["pause"], undefined);
  assert.equal(parse("-pause=false").values["pause"], false);
  assert.throws(() => parse("-pause"), { message: "flag needs an argument: -pause" });
});

test("parseArgs refuses what is not defined, with a suggestion", () => {
  assert.throws(() => parse("-zzz"), new FlagError("flag provided but not defined: -zzz"));
  assert.throws(() => parse("-detahc"), {
    message: "flag provided but not defined: -detahc\nDid you mean -detach?",
  });
  assert.throws(() => parse("---x"), { message: "bad flag syntax: ---x" });
  assert.throws(() => parse("-token"), { message: "flag needs an argument: -token" });
});

test("parseArgs stops where the rest is somebody else's", () => {
  const parsed = parseArgs(["-n", "1", "abc", "/bin/sh", "-c", "echo -n"], FLAGS, { argsMax: 2 });
  assert.deepEqual(parsed.args, ["abc", "/bin/sh", "-c", "echo -n"]);
  assert.equal(parsed.values["n"], 1);
});

test("parseArgs finds help in every spelling", () => {
  for (const word of ["-h", "-help", "--help"]) assert.equal(parse("web", word).help, true);
  assert.equal(parse("--", "-h").help, false);
});

test("nearestName finds misspelt names and nothing far away", () => {
  assert.equal(nearestName("verbos", ["verbose", "version"]), "verbose");
  assert.equal(nearestName("jsno", ["json"]), "json");
  assert.equal(nearestName("abcdef", ["verbose"]), undefined);
});
