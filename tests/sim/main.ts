// The simulation from the command line:
//   deno task sim -- --seed N --events M [--verbose]    one seed
//     --profile log                                      no devices and no scheduling: the log alone
//   deno task sim -- --count C [--seed FIRST]           some seeds
//   deno task sim:long                                  fresh seeds until stopped
// Exit codes name the failure: see EXIT_CODES; 1 is a rule that has no number, 2 a wrong call.
import process from "node:process";
import { parseArgs } from "node:util";
import type { Profile, SimResult } from "./contract.ts";
import { runSeed } from "./run.ts";

const EXIT_CODES: Record<string, number> = { liveness: 3, stuck: 4, exception: 5, stopped: 6 };

const { values: flags } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== "--"),
  options: {
    seed: { type: "string" },
    events: { type: "string", default: "20000" },
    count: { type: "string", default: "1" },
    long: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
    profile: { type: "string", default: "full" },
  },
});

const profile: Profile = flags.profile === "log" ? "log" : "full";
const events = Number(flags.events);
const first = flags.seed === undefined ? Date.now() % 2 ** 31 : Number(flags.seed);
const count = flags.long ? Infinity : Number(flags.count);
if (![events, first, count].every((n) => n > 0) || flags.profile !== profile) {
  console.error("Seed, events and count are positive numbers; profiles are full and log");
  process.exit(2);
}

const started = performance.now();
let total = 0;
let failed: SimResult | null = null;
for (let seed = first; seed < first + count; seed++) {
  if (count === 1 || flags.verbose) console.log(`seed ${seed}`);
  const result = await runSeed({ seed, events, profile, verbose: flags.verbose });
  total += result.events;
  if (result.failure) {
    failed ??= result;
    console.log(
      `seed ${seed} FAILED: ${result.failure.rule} at event ${result.failure.step}: ${result.failure.message}`,
    );
    console.log(
      `  replay: deno task sim -- --seed ${seed} --events ${events}${
        profile === "log" ? " --profile log" : ""
      } --verbose`,
    );
    if (count === 1) console.log(result.failure.stack);
  }
  if (count === 1) console.log(JSON.stringify({ ...result, failure: undefined }, null, 1));
}
const seconds = (performance.now() - started) / 1000;
console.log(`${total} events in ${seconds.toFixed(1)} s: ${Math.round(total / seconds * 60)} a minute`);
process.exit(failed ? EXIT_CODES[failed.failure!.rule] ?? 1 : 0);
