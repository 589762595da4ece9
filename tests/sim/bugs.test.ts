// The simulator proves something only if it finds bugs that are there. Each planted one (bugs.ts) must be caught within
// SEEDS_MAX seeds by a rule that fits it, and the same seeds must pass on the sources as they are.
//
// The seed that found a bug last time is tried first; when code around it changed and it does not any more, all seeds
// are tried from 1 on. `deno task sim:bugs` tells the seeds anew.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Copy, type Found, planted } from "./bug_runner.ts";
import { BUGS, type PlantedBug, SEEDS_MAX } from "./bugs.ts";

/** Far beyond what a busy machine needs. */
const PATIENT = { timeout: 1_800_000 };
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

test("planted bugs: there are enough, each edit fits the sources, and each says what finds it", () => {
  assert.ok(BUGS.length >= 10);
  assert.equal(new Set(BUGS.map(({ name }) => name)).size, BUGS.length);
  for (const bug of BUGS) {
    const sources = new Map<string, string>();
    for (const edit of bug.edits) {
      const source = sources.get(edit.file) ?? readFileSync(join(ROOT, edit.file), "utf8");
      sources.set(edit.file, planted(source, edit, bug.name));
    }
    assert.ok(bug.expect.length > 0 && bug.firstSeed >= 1 && bug.firstSeed <= SEEDS_MAX, bug.name);
  }
});

describe("planted bugs", () => {
  const copy = new Copy();
  const caught: { bug: PlantedBug; seed: number }[] = [];
  after(() => copy.remove());

  for (const bug of BUGS) {
    const { name, profile, events, firstSeed, expect } = bug;
    test(`planted bugs: "${name}" is caught`, PATIENT, async () => {
      const fits = (found: Found | null) => found !== null && expect.includes(found.rule);
      let found = await copy.run(bug, { profile, events, seeds: String(firstSeed) });
      if (!fits(found)) found = await copy.run(bug, { profile, events, seeds: `1-${SEEDS_MAX}` });
      assert.ok(found, `${SEEDS_MAX} seeds passed, though ${bug.why}`);
      assert.ok(
        fits(found),
        `seed ${found.seed} breaks "${found.rule}", expected ${expect}: ${found.message}`,
      );
      caught.push({ bug, seed: found.seed });
    });
  }

  test("planted bugs: the same seeds pass without them", PATIENT, async () => {
    assert.equal(caught.length, BUGS.length, "every bug was caught");
    for (const profile of ["log", "full"] as const) {
      const own = caught.filter(({ bug }) => bug.profile === profile);
      const seeds = [...new Set(own.map(({ seed }) => seed))].join(",");
      const found = await copy.run(null, { profile, events: own[0]!.bug.events, seeds });
      assert.equal(found, null, JSON.stringify(found));
    }
  });
});
