// Loads the recorded cases of the job language from ../shared/conformance: inputs, arguments, expected results.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { diskFiles } from "../../jobspec/files.ts";
import type { ParseJobOptions } from "../../jobspec/jobspec.ts";

export const SHARED = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..", "shared");
const ROOT = join(SHARED, "conformance", "jobspec");

export interface Case {
  readonly name: string;
  readonly source: Uint8Array;
  readonly options: ParseJobOptions;
  /** A -var-file that could not be read: the command line reports it, not the compiler. */
  readonly missingFile: string | undefined;
  readonly directory: string;
}

function lines(path: string): string[] {
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").filter((line) => line !== "") : [];
}

/** -var and -var-file arguments, also when flag and value are two arguments. */
function readArguments(
  directory: string,
  args: readonly string[],
): Partial<ParseJobOptions> & { missing?: string } {
  const variables: Record<string, string> = {};
  const variableFiles: { name: string; source: string }[] = [];
  let strict = true;
  let missing: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const flag = /^--?([a-z0-9-]+)(?:=([\s\S]*))?$/.exec(args[i]!)!;
    const value = flag[2] ?? args[++i]!;
    if (flag[1] === "var") {
      const equals = value.indexOf("=");
      variables[value.slice(0, equals)] = value.slice(equals + 1);
    } else if (flag[1] === "var-file") {
      const path = join(directory, value);
      if (existsSync(path)) variableFiles.push({ name: value, source: readFileSync(path, "utf8") });
      else missing = value;
    } else if (flag[1] === "hcl2-strict") strict = value !== "false";
    else throw new Error(`The case uses a flag this loader does not know: ${args[i]}`);
  }
  return { variables, variableFiles, strict, ...(missing !== undefined && { missing }) };
}

export function loadCases(kind: "valid" | "invalid"): Case[] {
  const directory = join(ROOT, kind);
  const names = readdirSync(directory).filter((file) => file.endsWith(".nomad.hcl")).sort();
  return names.map((file) => {
    const name = file.slice(0, -".nomad.hcl".length);
    const { missing, ...args } = readArguments(directory, lines(join(directory, `${name}.args`)));
    const environment = Object.fromEntries(
      lines(join(directory, `${name}.env`)).map((
        line,
      ) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
    return {
      name,
      directory,
      source: readFileSync(join(directory, file)),
      options: { filename: file, environment, readFile: diskFiles(directory), ...args },
      missingFile: missing,
    };
  });
}

export function expectedText(testCase: Case, extension: string): string {
  return readFileSync(join(testCase.directory, testCase.name + extension), "utf8");
}
