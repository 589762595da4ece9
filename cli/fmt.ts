// `fmt`: job files and configuration files in their canonical form, by the formatter of the job language.
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { formatHcl, JobspecError } from "../jobspec/jobspec.ts";
import { bool } from "./args.ts";
import { command, type Context } from "./command.ts";
import { UsageError } from "./errors.ts";
import { readStdin } from "./job_source.ts";

const EXTENSIONS = [".nomad", ".hcl"];

export const fmt = command({
  form: "nomad fmt [flags] paths ...",
  about: `Writes job files and configuration files in their canonical form. Of a directory
all *.nomad and *.hcl files are taken, and of the working directory when nothing
is named; "-" formats the standard input.`,
  general: "none",
  title: "Format Options",
  flags: {
    check: bool("Change nothing; exit with 1 if something is not in canonical form."),
    list: bool("Show the names of the files that are changed. Defaults to true.", true),
    recursive: bool("Go into directories of directories too."),
    write: bool("Write the files back; otherwise show the result. Defaults to true.", true),
  },
  async run(context) {
    const { args, flags } = context;
    const job: Job = {
      list: flags.list,
      write: flags.write && !flags.check,
      check: flags.check,
      changed: false,
      errors: [],
    };
    if (args.length === 1 && args[0] === "-") {
      await formatText(context, job, { name: "<stdin>", text: await readStdin(context), path: undefined });
    } else {
      for (const path of args.length > 0 ? args : ["."]) {
        await formatPath(context, job, path, flags.recursive);
      }
    }
    if (job.errors.length > 0) {
      context.ui.error(job.errors.join("\n"));
      return 1;
    }
    return flags.check && job.changed ? 1 : 0;
  },
});

interface Job {
  list: boolean;
  write: boolean;
  check: boolean;
  changed: boolean;
  errors: string[];
}

async function formatPath(context: Context, job: Job, path: string, recursive: boolean): Promise<void> {
  const full = resolve(context.io.cwd, path);
  let isDirectory: boolean;
  try {
    isDirectory = (await stat(full)).isDirectory();
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
    throw new UsageError(`1 error occurred:\n\t* No file or directory at ${path}\n\n`);
  }
  if (isDirectory) return await formatDirectory(context, job, path, recursive);
  if (!EXTENSIONS.some((extension) => path.endsWith(extension))) {
    throw new UsageError(`Only .nomad and .hcl files can be processed using nomad fmt: ${path} is neither`);
  }
  await formatText(context, job, { name: path, text: await readFile(full, "utf8"), path: full });
}

async function formatDirectory(context: Context, job: Job, path: string, recursive: boolean): Promise<void> {
  const entries = await readdir(resolve(context.io.cwd, path), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => a.name < b.name ? -1 : 1)) {
    const child = join(path, entry.name);
    if (entry.name.startsWith(".")) continue;
    if (entry.isDirectory()) {
      if (recursive) await formatDirectory(context, job, child, recursive);
    } else if (EXTENSIONS.some((extension) => entry.name.endsWith(extension))) {
      const full = resolve(context.io.cwd, child);
      await formatText(context, job, { name: child, text: await readFile(full, "utf8"), path: full });
    }
  }
}

interface Source {
  name: string;
  text: string;
  /** Undefined for the standard input. */
  path: string | undefined;
}

async function formatText(context: Context, job: Job, source: Source): Promise<void> {
  let formatted: string;
  try {
    formatted = formatHcl(source.text, { filename: source.name });
  } catch (error) {
    if (!(error instanceof JobspecError)) throw error;
    job.errors.push(`Error: ${error.message}`);
    return;
  }
  const isChanged = formatted !== source.text;
  job.changed ||= isChanged;
  if (isChanged && job.list && source.path !== undefined) context.ui.output(source.name);
  if (isChanged && job.write && source.path !== undefined) await writeFile(source.path, formatted);
  const shows = source.path === undefined ? !job.check : !job.write && !job.list;
  if (shows) await context.ui.write(formatted);
}
