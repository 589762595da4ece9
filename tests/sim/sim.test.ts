// The simulation in the test run: every saved seed, 200 fresh ones, and that a seed always gives the same story, on
// both runtimes. A failure names its seed: `deno task sim -- --seed N --events M --verbose` replays it, SIM_SEED=N makes
// the fresh ones begin there.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { SimResult } from "./contract.ts";
import { firstFreshSeed } from "./fresh.ts";
import { runSeed } from "./run.ts";

const FRESH = 200;
const FRESH_EVENTS = 5000;
/** So many seeds are one test: short enough to see where it is, long enough to start quickly. */
const BATCH = 25;
/** Far beyond what a busy machine needs. */
const PATIENT = { timeout: 600_000 };

const first = firstFreshSeed();
const sums: Record<string, number> = {};

async function mustHold(seed: number, events: number, reason = ""): Promise<SimResult> {
  const result = await runSeed({ seed, events });
  for (const [name, count] of Object.entries(result.counts)) sums[name] = (sums[name] ?? 0) + count;
  const { failure } = result;
  if (failure) {
    assert.fail(
      `seed ${seed}${
        reason && ` (${reason})`
      }: ${failure.rule} at event ${failure.step}: ${failure.message}\n` +
        `replay: deno task sim -- --seed ${seed} --events ${events} --verbose`,
    );
  }
  return result;
}

describe("simulation: saved seeds", () => {
  const lines = readFileSync(new URL("seeds.txt", import.meta.url), "utf8").split("\n");
  for (const line of lines.filter((each) => each !== "" && !each.startsWith("#"))) {
    const [seed, events, ...reason] = line.split(" ");
    test(`seed ${seed}: ${reason.join(" ")}`, PATIENT, async () => {
      await mustHold(Number(seed), Number(events), reason.join(" "));
    });
  }
});

describe(`simulation: ${FRESH} fresh seeds from ${first}`, () => {
  for (let from = first; from < first + FRESH; from += BATCH) {
    test(`seeds ${from} to ${from + BATCH - 1}`, PATIENT, async () => {
      for (let seed = from; seed < from + BATCH; seed++) await mustHold(seed, FRESH_EVENTS);
    });
  }

  test("they have seen what the simulation is for", () => {
    const least: Record<string, number> = {
      elections: FRESH,
      crashes: FRESH,
      placements: 10 * FRESH,
      "tasks started": FRESH,
      "operations ok": 20 * FRESH,
      // Rare: far below what is usual, so that only their absence is a failure.
      restores: 1,
      "snapshots installed": 1,
      "servers replaced": 1,
      "device crashes": 50,
    };
    for (const [what, count] of Object.entries(least)) {
      assert.ok((sums[what] ?? 0) >= count, `${what}: ${sums[what]}, at least ${count} were expected`);
    }
  });
});

test("simulation: a seed always gives the same trace, on both runtimes", PATIENT, async () => {
  const [seed, events] = [11, 4000];
  const mine = await runSeed({ seed, events });
  assert.equal((await runSeed({ seed, events })).trace, mine.trace, "in one process");
  const unwatched = await runSeed({ seed, events, checkers: () => [] });
  assert.equal(unwatched.trace, mine.trace, "checkers only watch");
  assert.notEqual(
    (await runSeed({ seed: seed + 1, events })).trace,
    mine.trace,
    "another seed, another story",
  );
  const script = fileURLToPath(new URL("main.ts", import.meta.url));
  const args = [script, "--seed", String(seed), "--events", String(events)];
  for (const [runtime, before] of [["deno", ["run", "-A", "--no-check"]], ["bun", []]] as const) {
    const { stdout, error } = spawnSync(runtime, [...before, ...args], { encoding: "utf8" });
    // A machine may have one of the two only: then it agrees with itself.
    if ((error as NodeJS.ErrnoException | undefined)?.code === "ENOENT") continue;
    assert.match(stdout, new RegExp(`"trace": "${mine.trace}"`), `on ${runtime}`);
  }
});
