// Plants a bug: copies what the simulator imports to a directory of its own, edits one place there and runs the simulator
// in a process of the same runtime. The project's own files are never touched.
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Edit, PlantedBug } from "./bugs.ts";
import type { Profile } from "./contract.ts";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const CHILD = "tests/sim/bug_child.ts";

export interface Found {
  seed: number;
  rule: string;
  message: string;
  step: number;
}

export interface Hunt {
  profile: Profile;
  events: number;
  /** "7", "1-1000" or "3,7,20", in this order. */
  seeds: string;
}

/** Every file that `entry` imports, directly or not, from the project's root. */
export function importsOf(entry: string, root = ROOT): string[] {
  const found = new Set<string>();
  const visit = (file: string) => {
    if (found.has(file)) return;
    found.add(file);
    if (!/\.tsx?$/.test(file)) return;
    const text = readFileSync(join(root, file), "utf8");
    for (const [, target] of text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
      visit(relative(root, resolve(root, dirname(file), target!)));
    }
  };
  visit(entry);
  return [...found];
}

/** `source` with the edit made. */
export function planted(source: string, { find, replace, file }: Edit, name: string): string {
  const count = source.split(find).length - 1;
  if (count !== 1) {
    throw new Error(
      `The planted bug "${name}" is stale: its text stands ${count} times in ${file}, not once. Bring it in line ` +
        `with the source in tests/sim/bugs.ts:\n${find}`,
    );
  }
  return source.replace(find, () => replace);
}

/** A copy of the sources, in which one bug at a time is planted. */
export class Copy {
  readonly #dir = mkdtempSync(join(tmpdir(), "planted-"));

  constructor() {
    for (const file of importsOf(CHILD)) {
      mkdirSync(dirname(join(this.#dir, file)), { recursive: true });
      cpSync(join(ROOT, file), join(this.#dir, file));
    }
    for (const file of ["package.json", "deno.json"]) cpSync(join(ROOT, file), join(this.#dir, file));
    symlinkSync(join(ROOT, "node_modules"), join(this.#dir, "node_modules"));
  }

  /** Runs seeds with the bug (null: none) until one fails. */
  async run(bug: PlantedBug | null, hunt: Hunt): Promise<Found | null> {
    const before = new Map<string, string>();
    for (const edit of bug?.edits ?? []) {
      const path = join(this.#dir, edit.file);
      const source = readFileSync(path, "utf8");
      if (!before.has(path)) before.set(path, source);
      writeFileSync(path, planted(source, edit, bug!.name));
    }
    try {
      return await this.#simulate(hunt);
    } finally {
      for (const [path, source] of before) writeFileSync(path, source);
    }
  }

  async #simulate({ profile, events, seeds }: Hunt): Promise<Found | null> {
    const runtime = process.versions["bun"] ? [] : ["run", "-A", "--no-check"];
    const args = [...runtime, CHILD, profile, String(events), seeds];
    const child = spawn(process.execPath, args, {
      cwd: this.#dir,
      stdio: ["ignore", "pipe", "pipe"],
      // What the runtime compiles of this copy goes with it.
      env: { ...process.env, DENO_DIR: join(this.#dir, "compiled") },
    });
    let output = "";
    let errors = "";
    child.stdout.on("data", (data) => output += data);
    child.stderr.on("data", (data) => errors += data);
    const code = await new Promise<number | null>((done) => child.on("close", done));
    if (code !== 0) throw new Error(`The simulator ended with ${code}:\n${output}${errors}`);
    return JSON.parse(output.trim().split("\n").at(-1)!) as Found | null;
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
