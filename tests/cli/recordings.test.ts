// The reference's recordings, replayed: each command runs against a fake agent that answers with the data that stood
// behind the recording (taken from the `-json` recordings of the same moment), at the time of the recording. What is
// printed must be the same to the last space; only the agent's address differs.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { validateConfig } from "../../agent/validate.ts";
import { fixtures } from "./fixtures.ts";
import { HINTS, type Routes, runCli, type RunOptions, withAgent } from "./harness.ts";
import { FILES, RECORDED_ADDRESS, RECORDED_CWD, type Recording, recording, shellWords } from "./recording.ts";

const directory = mkdtempSync(join(tmpdir(), "nomad-cli-"));
cpSync(FILES, directory, { recursive: true });
after(() => rmSync(directory, { recursive: true, force: true }));

interface Case extends RunOptions {
  routes?: Routes;
  /** The recorded agent did not want its web page named. */
  noHints?: boolean;
  /** Only the beginning of stderr is the same: ours says more. */
  saysMore?: boolean;
  /** Changes both outputs before they are compared. */
  normalise?: (text: string) => string;
}

async function replay(number: string, options: Case = {}): Promise<void> {
  const recorded = recording(number);
  const routes = { ...(options.noHints ? {} : HINTS), ...options.routes };
  await withAgent(routes, async (agent) => {
    const run = await runCli(shellWords(recorded.command), {
      cwd: directory,
      ...options,
      env: { NOMAD_ADDR: agent.address, ...options.env },
    });
    const shown = (text: string) => {
      const own = text.replaceAll(agent.address, RECORDED_ADDRESS).replaceAll(directory, RECORDED_CWD);
      return options.normalise ? options.normalise(own) : own;
    };
    compare(recorded, {
      code: run.code,
      stdout: shown(run.stdout),
      stderr: shown(run.stderr),
      terminal: shown(run.terminal),
    }, options);
  });
}

function compare(
  recorded: Recording,
  run: { code: number; stdout: string; stderr: string; terminal: string },
  options: Case,
): void {
  const expected = (text: string) => options.normalise ? options.normalise(text) : text;
  if (recorded.terminal !== "") {
    assert.equal(run.terminal, expected(recorded.terminal));
  } else {
    assert.equal(run.stdout, expected(recorded.stdout));
    if (options.saysMore) assert.ok(run.stderr.startsWith(expected(recorded.stderr)), run.stderr);
    else assert.equal(run.stderr, expected(recorded.stderr));
  }
  assert.equal(run.code, recorded.code);
}

function replayed(number: string, options: Case | (() => Case) = {}): void {
  test(`recording ${recording(number).name}`, () =>
    replay(number, typeof options === "function" ? options() : options));
}

// --- Words that need no agent -------------------------------------------------------------------------------------

for (
  const number of ["001", "002", "003", "004", "005", "008", "010", "011", "012", "016"]
) {
  replayed(number);
}
// `job wait` is our own.
for (const number of ["006", "007", "009"]) {
  replayed(number, { normalise: (text) => text.replace(/^ +wait +Wait until .*\n?/m, "") });
}
replayed("013", { env: { NOMAD_ADDR: "http://127.0.0.1:1" }, saysMore: true });
replayed("014", { env: { NOMAD_ADDR: "http://127.0.0.1:1" }, saysMore: true });
replayed("015", { env: { NOMAD_ADDR: "127.0.0.1:14646" }, saysMore: true });
replayed("465", { env: { NOMAD_ADDR: "https://127.0.0.1:14646", NOMAD_CACERT: "/opt/nope.pem" } });

test("recordings 020 and 021: job init writes once", async () => {
  await replay("020");
  await replay("021");
});
replayed("022");
replayed("023");
replayed("536");
replayed("028");
replayed("029");
replayed("037");
replayed("098");

replayed("420");
replayed("487", {
  validateConfig: (paths) => validateConfig(paths.map((path) => join(directory, path))),
  saysMore: true,
});
replayed("537");
replayed("538", { stdin: 'job "x" {\n group "g" {\ncount=1\n}\n}\n' });
replayed("158");

// The compiler's diagnostics are our own; place, cause and the way to them are the reference's.
for (const number of ["027", "033", "035"]) {
  test(`recording ${recording(number).name}: the same place and cause`, async () => {
    const recorded = recording(number);
    const run = await runCli(shellWords(recorded.command), { cwd: directory });
    const [first, second] = recorded.stderr.split("\n");
    assert.equal(run.stderr.split("\n")[0], first);
    const [, line, column, cause] = /^bad\.hcl:(\d+),(\d+)-\d+: (.*)$/.exec(second!)!;
    assert.equal(run.stderr.split("\n")[1], `bad.hcl:${line}:${column}: ${cause}`);
    assert.equal(run.code, recorded.code);
  });
}

// --- Against the data of the recordings ------------------------------------------------------------------------------

for (const [number, options] of Object.entries(fixtures())) replayed(number, options);
