// Proves every planted bug from seed 1 on and prints where it is found: `deno task sim:bugs [-- [--seeds N] part of a name …]`.
// The seeds printed belong into bugs.ts as `firstSeed`. Exit code 1 when one survives or is found by a rule that does
// not fit it.
import process from "node:process";
import { parseArgs } from "node:util";
import { Copy } from "./bug_runner.ts";
import { BUGS, SEEDS_MAX } from "./bugs.ts";

const { values: flags, positionals: names } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== "--"),
  options: { seeds: { type: "string", default: String(SEEDS_MAX) } },
  allowPositionals: true,
});
const chosen = BUGS.filter((bug) => names.length === 0 || names.some((name) => bug.name.includes(name)));
const copy = new Copy();
let survivors = 0;
try {
  for (const bug of chosen) {
    const startedMs = performance.now();
    const { profile, events } = bug;
    const found = await copy.run(bug, { profile, events, seeds: `1-${flags.seeds}` });
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    const fits = found !== null && bug.expect.includes(found.rule);
    if (!fits) survivors++;
    const how = found ? `seed ${found.seed}, event ${found.step}: ${found.rule}` : "NOT FOUND";
    console.log(`${bug.name}: ${how}${found && !fits ? " (WRONG RULE)" : ""} (${seconds} s)`);
    if (found) console.log(`    ${found.message.split("\n").slice(0, 12).join("\n    ")}`);
  }
} finally {
  copy.remove();
}
process.exit(survivors === 0 ? 0 : 1);
