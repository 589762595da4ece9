// Brings what the project needs onto this machine, inside the project's folder: the pinned Deno and Bun (package.json,
// "engines"; from npm, into .tools/) and the dependencies (node_modules/). Run again it does nothing. Uses node:
// modules only, because it runs before anything is installed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Paths of the pinned runtimes. */
export interface Tools {
  deno: string;
  bun: string;
  /** PATH with both first. */
  path: string;
}

/** Installs what is missing and returns where the runtimes are. Throws with the failed command's output. */
export function setUp(): Tools {
  const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    engines: { deno: string; bun: string };
  };
  const folder = join(root, ".tools");
  const bin = join(folder, "node_modules", ".bin");
  const marker = join(folder, "installed.json");
  const wanted = JSON.stringify(engines);
  if (!existsSync(marker) || readFileSync(marker, "utf8") !== wanted) {
    console.log(`Setting up Deno ${engines.deno} and Bun ${engines.bun} in .tools/ …`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
    run("npm", [
      "install",
      "--no-save",
      "--no-audit",
      "--no-fund",
      `deno@${engines.deno}`,
      `bun@${engines.bun}`,
    ], folder);
    writeFileSync(marker, wanted);
  }
  const tools = { deno: join(bin, "deno"), bun: join(bin, "bun"), path: `${bin}:${process.env["PATH"]}` };
  const lock = join(root, "deno.lock");
  const installed = join(root, "node_modules", ".installed");
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
    console.log("Installing dependencies into node_modules/ …");
    run(tools.deno, ["install", "--frozen", "--quiet"], root);
    writeFileSync(installed, "");
  }
  return tools;
}

function run(command: string, args: string[], cwd: string): void {
  const result = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (result.status === 0) return;
  const why = result.error?.message ?? `${result.stdout}\n${result.stderr}`;
  throw new Error(`Cannot set up: \`${command} ${args.join(" ")}\` failed: ${why}`);
}

if (import.meta.main) setUp();
