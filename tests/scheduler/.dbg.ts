import { readFileSync } from "node:fs";
import { formatScenario, parseScenario, runScenario } from "./scenario.ts";
console.log(formatScenario(await runScenario(parseScenario(readFileSync(process.argv[2]!, "utf8")))));
