// Where the fresh seeds of a test run begin: drawn from the sources that are simulated. So they are new with every change
// and the same for everybody who has it: a red run is no accident of one machine. SIM_SEED=N begins elsewhere;
// `deno task sim:long` draws new ones every time.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";

export function firstFreshSeed(): number {
  const hash = createHash("sha256");
  for (const room of ["core", "jobspec", "server", "tests/sim"]) {
    const folder = new URL(`../../${room}/`, import.meta.url);
    const files = readdirSync(folder).filter((name) => name.endsWith(".ts")).sort();
    for (const name of files) hash.update(readFileSync(new URL(name, folder)));
  }
  return Number(process.env["SIM_SEED"] ?? 0) || 1 + hash.digest().readUInt32BE() % 2 ** 31;
}
