// Writes a task's templates: source from the job or a file of the task, destination inside the task or the shared
// directory, with mode and owner; `env = true` reads the result as KEY=value lines for the task's environment. What
// templates here can see is fixed while a task runs, so nothing renders again and change_mode has no occasion to act.
import { readFileSync, realpathSync } from "node:fs";
import { chmod, chown, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, relative } from "node:path";
import type { Template } from "../core/types.ts";
import type { FilesInput } from "./task_files.ts";
import { lexicalPath, pathInTask } from "./task_files.ts";
import { renderTemplate } from "./template.ts";

/** Renders all; returns the variables of those with `env = true`. Throws an Error that names the template. */
export async function renderTemplates(input: FilesInput): Promise<Record<string, string>> {
  const variables: Record<string, string> = {};
  for (const template of input.task.Templates ?? []) {
    try {
      const content = await renderOne(input, template);
      if (template.Envvars) Object.assign(variables, parseEnvFile(content));
    } catch (error) {
      const name = template.DestPath || template.SourcePath;
      throw new Error(`${JSON.stringify(name)}: ${(error as Error).message}`, { cause: error });
    }
  }
  return variables;
}

async function renderOne(input: FilesInput, template: Template): Promise<string> {
  const source = template.SourcePath === ""
    ? template.EmbeddedTmpl
    : await readFile(sourcePath(input, input.env.text(template.SourcePath)), "utf8");
  const content = renderTemplate(source, {
    left: template.LeftDelim || "{{",
    right: template.RightDelim || "}}",
    errorOnMissingKey: template.ErrMissingKey,
    env: input.env.env,
    nowMs: input.nowMs,
    readFile: (path) => readFileSync(sourcePath(input, path), "utf8"),
  });
  const target = await pathInTask(input, input.env.text(template.DestPath));
  await mkdir(dirname(target), { recursive: true });
  // A task that reads meanwhile sees the old or the new file, never half of one.
  const unfinished = `${target}.unfinished`;
  await rm(unfinished, { force: true });
  await writeFile(unfinished, content, { mode: 0o600, flag: "wx" });
  await chmod(unfinished, parseInt(template.Perms || "0644", 8));
  const { Uid, Gid } = template;
  if ((Uid ?? -1) >= 0 || (Gid ?? -1) >= 0) {
    await chown(unfinished, Math.max(Uid ?? 0, 0), Math.max(Gid ?? 0, 0));
  }
  await rename(unfinished, target);
  return content;
}

/** Files that a template reads lie in the allocation, unless the device's configuration opens it up. */
function sourcePath(input: FilesInput, path: string): string {
  if (input.disableFileSandbox && path.startsWith("/")) return path;
  const mapped = lexicalPath(input, path);
  const real = realpathSync(mapped);
  if (relative(realpathSync(input.allocDirs.root), real).startsWith("..")) {
    throw new Error(`${JSON.stringify(path)} leads out of the allocation's directory`);
  }
  return real;
}

/** KEY=value lines: comments, `export`, and quotes as shells write them. Throws with the line's number. */
export function parseEnvFile(content: string): Record<string, string> {
  const variables: Record<string, string> = {};
  content.split("\n").forEach((line, index) => {
    const trimmed = line.trim();
    if (trimmed === "" || trimmed.startsWith("#")) return;
    const match = /^(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*)$/.exec(trimmed);
    if (!match) throw new SyntaxError(`env line ${index + 1} is not KEY=value`);
    variables[match[1]!] = unquote(match[2]!, index + 1);
  });
  return variables;
}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r" };

function unquote(value: string, line: number): string {
  const quote = value[0];
  if (quote !== '"' && quote !== "'") return value.replace(/\s+#.*$/, "").trim();
  const end = quote === "'" ? value.indexOf("'", 1) : value.search(/(?<!\\)"(?=\s*(#.*)?$)/);
  if (end < 1) throw new SyntaxError(`env line ${line} has an open quote`);
  const body = value.slice(1, end);
  return quote === "'" ? body : body.replace(/\\(.)/g, (_, letter: string) => ESCAPES[letter] ?? letter);
}
