// Reading /proc and /sys. Deno gives these only to a program that was granted everything; with narrower permissions
// they are read through `cat` and `ls`, which the permission to run programs covers. Slower, but the same text.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** Set at the first refusal, so that the direct way is not tried again and again. */
let denied = false;

/** The text of a file below /proc or /sys. Throws with the system's code (ENOENT …) when it cannot be read. */
export function readProcSync(path: string): string {
  if (!denied) {
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      if (!noteDenial(error)) throw error;
    }
  }
  return throughProgram("cat", path);
}

/** As readProcSync, without holding up others where the runtime allows it. */
export async function readProc(path: string): Promise<string> {
  if (!denied) {
    try {
      return await readFile(path, "utf8");
    } catch (error) {
      if (!noteDenial(error)) throw error;
    }
  }
  return throughProgram("cat", path);
}

/** True once a read was refused: whoever reads hundreds of files at once then asks one program for all of them. */
export function isProcDenied(): boolean {
  return denied;
}

/** Names in a folder below /proc or /sys. */
export function listProcSync(path: string): string[] {
  if (!denied) {
    try {
      return readdirSync(path);
    } catch (error) {
      if (!noteDenial(error)) throw error;
    }
  }
  return throughProgram("ls", path).split("\n").filter(Boolean);
}

/** Deno's refusal has a name of its own; a file of somebody else is EACCES and stays an error. */
function noteDenial(error: unknown): boolean {
  if ((error as Error).name !== "NotCapable" && (error as { code?: string }).code !== "ENOTCAPABLE") {
    return false;
  }
  return denied = true;
}

function throughProgram(program: string, path: string): string {
  const { status, stdout, stderr, error } = spawnSync(program, [path], {
    encoding: "utf8",
    env: { LC_ALL: "C" },
  });
  if (error) throw error;
  if (status === 0) return stdout;
  const code = /No such file|No such process/.test(stderr) ? "ENOENT" : "EACCES";
  throw Object.assign(new Error(`${code}: cannot read ${path}: ${stderr.trim()}`), { code });
}
