// Fresh seeds of the log alone: elections, members, snapshots and clients, without devices and scheduling. What the planted
// bugs are found in must be silent on the sources as they are.
import assert from "node:assert/strict";
import { test } from "node:test";
import { firstFreshSeed } from "./fresh.ts";
import { runSeed } from "./run.ts";

const FRESH = 60;
const EVENTS = 4000;
const first = firstFreshSeed();

test(`simulation of the log: ${FRESH} fresh seeds from ${first}`, { timeout: 600_000 }, async () => {
  const sums: Record<string, number> = {};
  for (let seed = first; seed < first + FRESH; seed++) {
    const { failure, counts } = await runSeed({ seed, events: EVENTS, profile: "log" });
    for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
    const replay = `deno task sim -- --seed ${seed} --events ${EVENTS} --profile log --verbose`;
    if (failure) assert.fail(`seed ${seed}: ${failure.rule}: ${failure.message}\nreplay: ${replay}`);
  }
  for (
    const [name, least] of [["elections", FRESH], ["operations ok", 20 * FRESH], [
      "crashes",
      FRESH / 2,
    ]] as const
  ) {
    assert.ok((sums[name] ?? 0) >= least, `${name}: ${sums[name]}, at least ${least} were expected`);
  }
});
