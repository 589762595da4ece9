// What callers pass along with a job file: variables from every source and their order, strictness, files, names; and
// what they get: a plain record that keeps integers beyond 2^53, and HCL again from it.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  diskFiles,
  JobspecError,
  jobToHcl,
  parseJob,
  type ParseJobOptions,
  parseJson,
  PrintError,
  stringifyJson,
} from "../../jobspec/jobspec.ts";

/** The metadata of a job that says `v` is this expression. */
function meta(expression: string, options: ParseJobOptions = {}, head = ""): unknown {
  const job = parseJob(`${head}job "j" {\n  meta {\n    v = ${expression}\n  }\n}\n`, options);
  return (job["Meta"] as Record<string, string>)["v"];
}

const DECLARED = 'variable "v" {\n  type    = string\n  default = "default"\n}\n';

test("variables: default, environment, files in order, -var: the later wins", () => {
  const environment = { NOMAD_VAR_v: "environment" };
  const first = { name: "a.vars", source: 'v = "first"\n' };
  const second = { name: "b.json", source: '{"v": "second"}' };
  const steps: [ParseJobOptions, string][] = [
    [{}, "default"],
    [{ environment }, "environment"],
    [{ environment, variableFiles: [first] }, "first"],
    [{ environment, variableFiles: [first, second] }, "second"],
    [{ environment, variableFiles: [first, second], variables: { v: "flag" } }, "flag"],
  ];
  for (const [options, expected] of steps) assert.equal(meta("var.v", options, DECLARED), expected);
});

test("variables: text for a string is taken as it stands, for other types it is an expression", () => {
  assert.equal(meta("var.v", { variables: { v: "[1" } }, DECLARED), "[1");
  const list = 'variable "v" {\n  type = list(number)\n}\n';
  assert.equal(meta("max(var.v...)", { variables: { v: "[1, 3, 2]" } }, list), "3");
  assert.throws(() => meta("max(var.v...)", { variables: { v: "[1" } }, list), JobspecError);
});

test("variables: a default or a file may calculate, also with for, but refers to nothing", () => {
  const source = 'v = join("", [])\n';
  assert.throws(
    () => meta("1", { variableFiles: [{ name: "f", source }] }, DECLARED),
    /Function calls not allowed/,
  );
  const calculated = { name: "f", source: 'v = "${1 + 1}%{ for x in ["a", "b"] }${x}%{ endfor }"\n' };
  assert.equal(meta("var.v", { variableFiles: [calculated] }, DECLARED), "2ab");
  assert.equal(
    meta('join("-", var.v)', {}, 'variable "v" {\n  default = [for x in ["a"]: "${x}${x}"]\n}\n'),
    "aa",
  );
  const file = { name: "f", source: "v = [for x in [1]: y]\n" };
  assert.throws(() => meta("1", { variableFiles: [file] }, DECLARED), /Variables may not be used here/);
});

test("variables: a file sets them and declares none", () => {
  const declares = ['variable "w" {\n}\n', '{"variable": {"w": {"default": 1}}}'];
  for (const source of declares) {
    assert.throws(
      () => meta("1", { variableFiles: [{ name: "f", source }] }, DECLARED),
      /declaration in a \.var file/,
    );
  }
});

test("variables: values for undeclared ones are refused, unless not strict; the environment's never are", () => {
  assert.throws(() => meta("1", { variables: { nope: "1" } }), /"nope" variable/);
  assert.equal(meta("1", { variables: { nope: "1" }, strict: false }), "1");
  assert.throws(() => meta("1", { variableFiles: [{ name: "f", source: "nope = 1\n" }] }), JobspecError);
  assert.equal(meta("1", { variableFiles: [{ name: "f", source: "nope = 1\n" }], strict: false }), "1");
  assert.equal(meta("1", { environment: { NOMAD_VAR_nope: "1" } }), "1");
});

test("environment: is not looked at unless it is given", () => {
  assert.throws(() => meta("var.v", {}, 'variable "v" {\n}\n'), /Unset variable "v"/);
});

test("files: relative to the base directory; what is no regular file or too big is refused", () => {
  const directory = mkdtempSync(join(tmpdir(), "jobspec-"));
  try {
    writeFileSync(join(directory, "a.txt"), "hello");
    writeFileSync(join(directory, "b.tpl"), "${x} and ${upper(x)}");
    writeFileSync(join(directory, "big"), new Uint8Array(17 * 1024 * 1024));
    writeFileSync(join(directory, "bad"), Uint8Array.of(0xff));
    const options = { readFile: diskFiles(directory) };
    assert.equal(meta('file("a.txt")', options), "hello");
    assert.equal(meta('file("./a.txt")', options), "hello");
    assert.equal(meta('join(",", fileset(".", "*.t*"))', options), "a.txt,b.tpl");
    assert.equal(meta('fileexists("nope")', options), "false");
    const wrong = ["nope", "big", "bad", ".", "/dev/zero"];
    for (const name of wrong) assert.throws(() => meta(`file("${name}")`, options), JobspecError, name);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("random: uuidv4 takes its bytes from the caller", () => {
  const random = (count: number) => new Uint8Array(count).fill(0xab);
  assert.equal(meta("uuidv4()", { random }), "abababab-abab-4bab-abab-abababababab");
  assert.match(String(meta("uuidv4()")), /^[0-9a-f-]{36}$/);
});

test("source: bytes and text mean the same, with or without a byte-order mark", () => {
  const source = 'job "größe" {\n}\n';
  assert.deepEqual(parseJob(new TextEncoder().encode(source)), parseJob(source));
  assert.deepEqual(parseJob(new TextEncoder().encode(`\ufeff${source}`)), parseJob(source));
  assert.throws(() => parseJob(`\n\ufeff${source}`), JobspecError);
});

test("integers beyond 2^53: survive from the file to the JSON text and back", () => {
  const job = parseJob(
    'job "j" {\n  group "g" {\n    disconnect {\n      lost_after = 9223372036854775807\n    }\n  }\n}\n',
  );
  const text = stringifyJson(job);
  assert.match(text, /"LostAfter":9223372036854775807/);
  assert.equal(stringifyJson(parseJson(text)), text);
});

test("jobToHcl: a job as people write it, without what only the server writes", () => {
  const source = `job "hello" {
  datacenters = ["dc1"]

  group "main" {
    count = 2

    task "hello" {
      driver = "raw_exec"

      config {
        command = "/bin/echo"
        args    = ["\${NOMAD_TASK_NAME}"]
      }

      resources {
        cpu = 100
      }
    }
  }
}
`;
  const job = parseJob(source);
  const printed = jobToHcl({ ...job, ModifyIndex: 7, Status: "running", SubmitTime: 5 });
  assert.deepEqual(parseJob(printed), job);
  assert.doesNotMatch(printed, /running|modify_index/i);
});

test("jobToHcl: what HCL has no words for is an error, not a loss", () => {
  const job = { ...parseJob('job "j" {\n}\n'), Meta: { "": "x" } };
  let printed: string;
  try {
    printed = jobToHcl(job);
  } catch (error) {
    assert.ok(error instanceof PrintError);
    return;
  }
  assert.deepEqual(parseJob(printed), job);
});
