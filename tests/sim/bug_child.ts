// Runs seeds until one fails; started by bug_runner.ts in a copy of the sources that holds a planted bug. Arguments:
// profile, events, seeds ("7", "1-1000" or "3,7,20"). Prints one line of JSON: the failure, or null when every seed passed.
import { writeSync } from "node:fs";
import process from "node:process";
import type { Profile } from "./contract.ts";
import { runSeed } from "./run.ts";

const [profile, events, seeds] = process.argv.slice(2);
let found: { seed: number; rule: string; message: string; step: number } | null = null;
for (const seed of listOf(seeds!)) {
  const { failure } = await runSeed({ seed, events: Number(events), profile: profile as Profile });
  if (!failure) continue;
  found = { seed, rule: failure.rule, message: failure.message, step: failure.step };
  break;
}
writeSync(1, `${JSON.stringify(found)}\n`);
process.exit(0);

function* listOf(text: string): Iterable<number> {
  for (const part of text.split(",")) {
    const [first, last] = part.split("-").map(Number);
    for (let seed = first!; seed <= (last ?? first!); seed++) yield seed;
  }
}
