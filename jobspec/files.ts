// The files that functions such as file() and fileset() may read: the disk, below a base directory for relative
// paths, as `job run` has it. Callers that must not touch files (the HTTP endpoint) pass no reader at all.
// Throws errors whose message is for the person who wrote the job file.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, resolve } from "node:path";
import { type FileReader, FunctionError } from "./function_types.ts";
import { globMatcher } from "./glob.ts";

const FILE_BYTES_MAX = 16 * 1024 * 1024;
const GLOB_ENTRIES_MAX = 100_000;

/** Reads from the disk; relative paths are below `baseDir`. */
export function diskFiles(baseDir: string): FileReader {
  const at = (path: string) => isAbsolute(path) ? path : resolve(baseDir, path);
  return {
    readBytes(path) {
      const full = at(path);
      const stat = statSync(full, { throwIfNoEntry: false });
      if (!stat) throw new FunctionError(`no file exists at ${path}`);
      if (stat.isDirectory()) throw new FunctionError(`failed to read ${path}: it is a directory`);
      // A pipe or a device could give bytes for ever, or none.
      if (!stat.isFile()) throw new FunctionError(`failed to read ${path}: it is not a regular file`);
      if (stat.size > FILE_BYTES_MAX) {
        throw new FunctionError(
          `failed to read ${path}: it has ${stat.size} bytes, more than ${FILE_BYTES_MAX}`,
        );
      }
      return readFileSync(full);
    },
    exists(path) {
      const stat = statSync(at(path), { throwIfNoEntry: false });
      if (!stat) return false;
      if (stat.isFile()) return true;
      throw new FunctionError(
        `${path} is not a regular file, but ${stat.isDirectory() ? "a directory" : "something else"}`,
      );
    },
    glob: (directory, pattern) => listFiles(at(directory), pattern),
    absolute: at,
    homeDirectory: homedir,
  };
}

function listFiles(root: string, pattern: string): string[] {
  const matches = globMatcher(pattern);
  const found: string[] = [];
  const pending = [""];
  let seen = 0;
  while (pending.length > 0) {
    const directory = pending.pop()!;
    const full = directory === "" ? root : `${root}/${directory}`;
    if (!statSync(full, { throwIfNoEntry: false })?.isDirectory()) continue;
    for (const entry of readdirSync(full, { withFileTypes: true })) {
      if (++seen > GLOB_ENTRIES_MAX) {
        throw new FunctionError(`more than ${GLOB_ENTRIES_MAX} files below ${root}`);
      }
      const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory()) pending.push(path);
      else if (matches(path) && statSync(`${root}/${path}`, { throwIfNoEntry: false })?.isFile()) {
        found.push(path);
      }
    }
  }
  return found.sort();
}
