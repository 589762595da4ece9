// Every file in tests/scenarios: cluster, job, event, expected allocations. REWRITE=1 rewrites them.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { formatScenario, parseScenario, runScenario } from "./scenario.ts";

const folder = join(dirname(fileURLToPath(import.meta.url)), "../scenarios");

for (const file of readdirSync(folder).filter((name) => name.endsWith(".txt")).sort()) {
  test(`scenario ${file}`, async () => {
    const path = join(folder, file);
    const text = readFileSync(path, "utf8");
    const printed = formatScenario(await runScenario(parseScenario(text)));
    if (process.env["REWRITE"] === "1") writeFileSync(path, printed);
    else assert.equal(printed, text);
  });
}
