// The whole test of the project: format, lint, types, then every test under Deno and under Bun. The last line is
// `N passed, N failed, N skipped`, added up from the junit reports of both runners. Exit 0 only if nothing failed.
// Arguments narrow it: `deno task test tests/raft` runs those paths only (format, lint and types are left out then).
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, setUp } from "./setup.ts";

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** A run that hangs fails; the whole takes minutes. */
const RUNNER_TIMEOUT_MS = 30 * 60_000;
const paths = process.argv.slice(2);
const tools = setUp();
const environment = { ...process.env, PATH: tools.path, NO_COLOR: "1" };
const reports = join(root, ".work", "reports");
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });

const total: Counts = { passed: 0, failed: 0, skipped: 0 };
if (paths.length === 0) {
  check("format", ["fmt", "--check", "--quiet"]);
  check("lint", ["lint", "--quiet"]);
  check("types", ["check", "--quiet", "."]);
}
const targets = paths.length > 0 ? paths : ["tests"];
runTests("Deno", tools.deno, [
  "test",
  "-A",
  "--no-check",
  "--parallel",
  "--junit-path",
  report("deno"),
  ...targets,
], "deno");
runTests(
  "Bun",
  tools.bun,
  [
    "test",
    "--timeout=120000",
    "--reporter=junit",
    `--reporter-outfile=${report("bun")}`,
    ...targets.map(bunPath),
  ],
  "bun",
);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 ? 1 : 0);

/** One of the checks that are not tests, counted as one. */
function check(name: string, args: string[]): void {
  console.log(`== ${name}`);
  const ok = spawnSync(tools.deno, args, { cwd: root, env: environment, stdio: "inherit" }).status === 0;
  if (ok) total.passed++;
  else total.failed++;
}

function runTests(name: string, command: string, args: string[], kind: string): void {
  console.log(`== tests under ${name}`);
  const { status } = spawnSync(command, args, {
    cwd: root,
    env: environment,
    stdio: "inherit",
    timeout: RUNNER_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  const counts = readReport(kind);
  // A runner that died before or beside its tests has failed, whatever it counted.
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  console.log(`${name}: ${counts.passed} of ${counts.passed + counts.failed + counts.skipped} tests passed`);
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}

function report(kind: string): string {
  return join(reports, `${kind}.xml`);
}

/** Counts the test cases of a junit report; one without cases is a failure. */
function readReport(kind: string): Counts {
  if (!readdirSync(reports).includes(`${kind}.xml`)) return { passed: 0, failed: 1, skipped: 0 };
  const xml = readFileSync(report(kind), "utf8");
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [, attributes, body] of xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)) {
    if (attributes === undefined) continue;
    if (/<(failure|error)\b/.test(body ?? "")) counts.failed++;
    else if (/<skipped\b/.test(body ?? "")) counts.skipped++;
    else counts.passed++;
  }
  if (counts.passed + counts.failed + counts.skipped === 0) counts.failed = 1;
  return counts;
}

/** Bun takes a bare word as a filter; a path must begin with a dot. */
function bunPath(path: string): string {
  return path.startsWith(".") ? path : `./${path}`;
}
