// Files made to hurt: huge, deeply nested, cyclic, exploding in functions. Each must end in a JobspecError (or a job) and in the
// bounds of time and memory that the language promises. Time is only checked with a wide margin, so that a busy
// machine does not fail the test; the exact figures are the bench's.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { formatHcl, JobspecError, parseJob } from "../../jobspec/jobspec.ts";

const HANG_MS = 20_000;
const MEGABYTES = 10_000_000;

function meta(expression: string): string {
  return `job "j" {\n  meta = {\n    k = ${expression}\n  }\n}\n`;
}

function locals(count: number, first: string, next: (previous: string) => string): string {
  const lines = Array.from({ length: count }, (_, i) => `  a${i + 1} = ${next(`local.a${i}`)}`);
  return `locals {\n  a0 = ${first}\n${lines.join("\n")}\n}\n${meta(`local.a${count}`)}`;
}

const lines = (count: number) => `join("", [for i in range(${count}): "\\n"])`;

/** Source by name, with what the message must say. */
const REFUSED: Record<string, readonly [() => string | Uint8Array, RegExp]> = {
  "10 MB of attributes": [() => "a=1\n".repeat(MEGABYTES / 4), /File too large.*400000 tokens/],
  "10 MB of line ends": [() => "\n".repeat(MEGABYTES), /File too large/],
  "10 MB of brackets": [() => `a = ${"[".repeat(MEGABYTES)}`, /File too large/],
  "10 MB of one number": [() => meta("1".repeat(MEGABYTES)), /more than 10000 digits/],
  "10 MB of one name": [() => "x".repeat(MEGABYTES), /Argument or block definition required/],
  "10 MB of wrong characters": [() => "@".repeat(MEGABYTES), /File too large/],
  "10 MB of additions": [() => meta(`1${"+1".repeat(MEGABYTES / 2)}`), /File too large/],
  "10 MB of JSON": [
    () => `{"job":{"j":{"meta":{"k":[${"1,".repeat(MEGABYTES / 2)}1]}}}}`,
    /400000 JSON values/,
  ],
  "13 MB": [() => "#".repeat(13 * 1024 * 1024), /File too large; The file has 13631488 bytes/],
  "10,000 nested lists": [() => meta("[".repeat(10_000) + "]".repeat(10_000)), /Nesting too deep/],
  "10,000 nested parentheses": [() => meta("(".repeat(10_000)), /Nesting too deep/],
  "10,000 signs": [() => meta(`${"-".repeat(10_000)}1`), /Nesting too deep/],
  "10,000 conditionals": [() => meta(`${"true ? 1 : ".repeat(10_000)}1`), /Nesting too deep/],
  "10,000 nested blocks": [() => "a {\n".repeat(10_000) + "}\n".repeat(10_000), /Nesting too deep/],
  "10,000 nested templates": [
    () => meta('"${'.repeat(10_000) + "1" + '}"'.repeat(10_000)),
    /Nesting too deep/,
  ],
  "10,000 nested directives": [
    () => meta(`"${"%{if true}".repeat(10_000)}${"%{endif}".repeat(10_000)}"`),
    /Nesting too deep/,
  ],
  "10,000 nested JSON objects": [() => '{"a":'.repeat(10_000), /Nesting too deep/],
  "1 GB by format": [() => meta('format("%1000000000s", "x")'), /24 MiB of text/],
  "1 GB by doubling": [() => locals(30, '"0123456789"', (a) => `"\${${a}}\${${a}}"`), /24 MiB of text/],
  "1 GB by replace": [() => locals(12, '"aaaaaaaaaa"', (a) => `replace(${a}, "a", ${a})`), /24 MiB of text/],
  "1 GB by indent": [() => meta(`indent(1000000, ${lines(1000)})`), /24 MiB of text/],
  "2^60 items by sharing": [() => locals(60, "[1]", (a) => `[${a}, ${a}]`), /more than 250000 parts/],
  "10^9 iterations": [
    () => meta("[for a in range(1000): [for b in range(1000): [for c in range(1000): a]]]"),
    /300000 list items|600000 steps/,
  ],
  "10^9 combinations": [
    () => meta("setproduct(range(1000), range(1000), range(1000))"),
    /1000000000 combinations/,
  ],
  "10^6 dynamic tasks": [
    () =>
      'job "j" {\n dynamic "group" {\n  for_each = range(1000)\n  labels = [group.value]\n  content {\n' +
      '   dynamic "task" {\n    for_each = range(1000)\n    labels = [task.value]\n    content {}\n   }\n  }\n }\n}\n',
    /600000 steps|300000 list items/,
  ],
  "a thousand bcrypt hashes": [() => meta('[for i in range(1000): bcrypt("x", 12)]'), /600000 steps/],
  "a bcrypt cost of 31": [() => meta('bcrypt("x", 31)'), /cost 31 is not allowed/],
  "a number of a billion digits": [() => meta("1e1000000000"), /more than 10000 digits/],
  "squaring sixty times": [() => locals(60, "1.1", (a) => `${a} * ${a}`), /too large or too small/],
  "aliases of aliases": [
    () => {
      const rows = Array.from(
        { length: 9 },
        (_, i) => `k${i + 1}: &k${i + 1} [${Array(9).fill(`*k${i}`).join(", ")}]`,
      );
      return meta(`jsonencode(yamldecode(${JSON.stringify(["k0: &k0 [x]", ...rows].join("\n"))}))`);
    },
    /more than 250000 parts/,
  ],
  "deep YAML": [
    () => meta(`jsonencode(yamldecode(join("", [for i in range(1000): "[[[[[[[["])))`),
    /nests too deeply/,
  ],
  "deep JSON": [
    () => meta(`jsonencode(jsondecode(join("", [for i in range(1000): "[[[[[[[["])))`),
    /nesting too deep/,
  ],
  "a regular expression of a million states": [
    () => meta('regex_replace("a", "((a{1000}){1000}){1000}", "x")'),
    /expression too large/,
  ],
  "two locals in a circle": [
    () => 'locals {\n a = "${local.b}x"\n b = "${local.a}y"\n}\njob "j" {}\n',
    /refers to itself \(local\.a → local\.b → local\.a\)/,
  ],
  "two thousand locals in a circle": [
    () =>
      `locals {\n${
        Array.from({ length: 2000 }, (_, i) => ` a${i} = local.a${(i + 1) % 2000}`).join("\n")
      }\n}\njob "j" {}\n`,
    /chain of local values/,
  ],
  "bytes that are not UTF-8": [
    () => new Uint8Array([0x6a, 0x6f, 0x62, 0x20, 0xff, 0xfe, 0x0a]),
    /^input\.hcl:1:5: Invalid character encoding/,
  ],
  "a NUL character": [() => 'job "x" {\0}', /NUL character/],
};

for (const [name, [source, message]] of Object.entries(REFUSED)) {
  test(`hostile: ${name} ends in a clear error`, () => {
    const text = source();
    const started = performance.now();
    assert.throws(() => parseJob(text), (error) => {
      assert.ok(error instanceof JobspecError, String(error));
      assert.match(error.message, message);
      return true;
    });
    assert.ok(performance.now() - started < HANG_MS);
  });
}

/** Large but honest: compiled, not refused. */
const ACCEPTED: Record<string, () => string> = {
  "a string of 10 MB": () => meta(`"${"x".repeat(MEGABYTES)}"`),
  "a comment of 10 MB": () => `#${"x".repeat(MEGABYTES)}\njob "j" {}\n`,
  "a million escapes": () => meta(`"${"\\u0041".repeat(1_000_000)}"`),
  "a heredoc of 100,000 lines": () => meta(`<<EOT\n${"a line of text\n".repeat(100_000)}EOT\n`),
  "1,000 groups": () =>
    `job "j" {\n${
      Array.from({ length: 1000 }, (_, i) => `group "g${i}" {\n task "t" {\n driver = "x"\n }\n}`).join("\n")
    }\n}\n`,
  "a sum of 10,000 numbers": () => meta(`1${" + 1".repeat(10_000)}`),
  "a pattern that backtracks for ever elsewhere": () =>
    meta('regex_replace(join("", [for i in range(1000): "aaaa"]), "(a|a)*(a|aa)+$b", "x")'),
};

for (const [name, source] of Object.entries(ACCEPTED)) {
  test(`hostile: ${name} is compiled`, () => {
    const started = performance.now();
    parseJob(source());
    assert.ok(performance.now() - started < HANG_MS);
  });
}

test("formatHcl: huge and deep files end in a clear error or in a layout", () => {
  assert.throws(() => formatHcl("a=1\n".repeat(MEGABYTES / 4)), /File too large/);
  assert.throws(() => formatHcl("a {\n".repeat(10_000)), /Nesting too deep/);
  assert.equal(formatHcl(`a="${"x".repeat(MEGABYTES)}"\n`).length, MEGABYTES + 7);
});

test("parseJob: reads no file without a reader", () => {
  for (
    const call of [
      'file("/etc/passwd")',
      'fileexists("/etc/passwd")',
      'fileset("/", "*")',
      'filebase64("/etc/passwd")',
      'abspath(".")',
      'pathexpand("~")',
    ]
  ) {
    assert.throws(() => parseJob(meta(`jsonencode(${call})`)), /filesystem function disabled/);
  }
});

test("parseJob: the worst files stay below 256 MB in a process of their own", () => {
  const script = join(dirname(fileURLToPath(import.meta.url)), "hostile_process.ts");
  const args = process.versions["bun"] ? ["run", script] : ["run", "-A", script];
  const report = JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8" })) as Record<
    string,
    number
  >;
  for (const [name, megabytes] of Object.entries(report)) {
    assert.ok(megabytes < 256, `${name}: ${megabytes} MB`);
  }
  assert.ok(Object.keys(report).length >= 4);
});
