// The rules of the house (../shared/DESIGN.md), checked on the source: who may import whom, where runtime names may
// stand, what pure modules never touch, how long a file may be, what never stands in a committed file.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const ROOMS = [
  "core",
  "jobspec",
  "server",
  "client",
  "drivers",
  "cli",
  "config",
  "ui",
  "bench",
  "scripts",
  "examples",
];

/** Which rooms a room's files may import from, besides their own; agent/ wires them all. "." is the root. */
const MAY_IMPORT: Record<string, string[]> = {
  core: [],
  jobspec: ["core"],
  server: ["core", "jobspec"],
  client: ["core"],
  drivers: ["core"],
  cli: ["core", "jobspec"],
  ui: ["core"],
};

/** Single files that may import one file of another room: contracts, and shapes that the agent fills in. */
const EXCEPTIONS = new Set([
  "client → drivers/driver.ts",
]);

/** Modules without clock, random numbers, timers, network or await. */
const PURE = [
  /^server\/raft(_(log|progress|types|config))?\.ts$/,
  /^server\/(state|reconcile|feasible|rank|schedule|generic|system|broker|blocked|constraint|ports)\w*\.ts$/,
  /^client\/task\.ts$/,
  /^server\/gossip(_(table|probes|types|codec))?\.ts$/,
];

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

const files = ROOMS.flatMap((room) => {
  try {
    return sources(room);
  } catch (missing) {
    assert.equal((missing as { code?: string }).code, "ENOENT");
    return [];
  }
});
const text = (file: string) => readFileSync(join(root, file), "utf8");
/** The source without comments and without the contents of strings. */
const code = (file: string) =>
  text(file).replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "").replace(
    /"(?:[^"\\\n]|\\.)*"/g,
    '""',
  );

test("rooms import only what they may", () => {
  const wrong: string[] = [];
  for (const file of files) {
    const room = file.split("/")[0]!;
    const allowed = MAY_IMPORT[room];
    if (!allowed) continue;
    for (const [, target] of text(file).matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
      const imported = relative(root, resolve(root, dirname(file), target!));
      const importedRoom = imported.includes("/") ? imported.split("/")[0]! : ".";
      if (importedRoom === room || allowed.includes(importedRoom)) continue;
      if (!EXCEPTIONS.has(`${room} → ${imported}`)) wrong.push(`${file} imports ${imported}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("runtime names stand in core/runtime.ts only", () => {
  const rooms = /^(core|jobspec|server|client|drivers|cli|agent|ui)\//;
  const wrong = files.filter((file) => rooms.test(file) && file !== "core/runtime.ts")
    .filter((file) => /\b(Deno|Bun)\.[a-zA-Z]|hono\/(deno|bun)/.test(code(file)));
  assert.deepEqual(wrong, []);
});

test("pure modules touch no clock, random number, timer, network or promise", () => {
  const impure =
    /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bset(Timeout|Interval|Immediate)\b|\bfetch\(|\bawait\b|\basync\b/;
  const pure = files.filter((file) => PURE.some((pattern) => pattern.test(file)));
  assert.ok(pure.length > 5, "the list of pure modules names real files");
  assert.deepEqual(pure.filter((file) => impure.test(code(file))), []);
});

test("servers and sessions take time and chance from what they are given: the simulation brings its own", () => {
  const leaks =
    /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|(^|[^.\w])set(Timeout|Interval|Immediate)\b|\bperformance\.now\b|\brandom(UUID|Bytes)\b|\bsystem(Clock|Random)\b/m;
  // Keys and nonces must come from the system; the log's turns and a saved state's are the real ones by default.
  const excepted = /^server\/(gossip_(crypto|http|keyring)|replica|saved_state)\.ts$/;
  const wrong = files.filter((file) => /^server\/|^client\/(session|health)\.ts$/.test(file))
    .filter((file) => !excepted.test(file) && leaks.test(code(file)));
  assert.deepEqual(wrong, []);
});

test("no file passes the wall of 1,000 lines", () => {
  const long = [...files, ...sources("tests")].filter((file) => text(file).split("\n").length > 1000);
  assert.deepEqual(long, []);
});

test("every module opens with what it owns", () => {
  const silent = files.filter((file) => !/^(#![^\n]*\n)?(\/\/|\/\*\*)/.test(text(file)));
  assert.deepEqual(silent, []);
});

test("no swallowed errors, no marks of unfinished work, no paths or hosts of a machine", () => {
  const marks = /catch\s*(\(\w*\))?\s*\{\s*\}|\b(TODO|FIXME|XXX|HACK)\b|registry\.npmjs|\/work\/main/;
  const self = "tests/house/rules.test.ts";
  const wrong = [...files, ...sources("tests")].filter((file) => file !== self && marks.test(text(file)));
  assert.deepEqual(wrong, []);
});
