// From a path (or "-") to a job: reads the file, compiles HCL with its variables or takes JSON as it is, and keeps what
// was sent with it (the submission). Errors are those of `job run`, `plan` and `validate`.
import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { bool, list, string } from "./args.ts";
import type { Job, JobSubmission } from "../core/types.ts";
import { openError } from "./api.ts";
import type { Context } from "./command.ts";
import { CommandError } from "./errors.ts";
import { parseExact } from "./json_text.ts";

/** The flags of every command that reads a job file. */
export const sourceFlags = {
  "hcl2-strict": bool(
    "Whether a variable that is given but not declared in the file is an error. Defaults to true.",
    true,
  ),
  json: bool(
    "Read the file as JSON. When the outer object has a Job field, as `nomad job inspect` and `nomad job run -output` print it, that field is the job.",
  ),
  var: list("Value of a variable of the file, can be used multiple times.", "key=value"),
  "var-file": list("File with values of variables, can be used multiple times.", "path"),
  "vault-namespace": string("Vault namespace that is stored in the job before it is sent."),
};

interface SourceFlags {
  "hcl2-strict": boolean;
  json: boolean;
  var: string[];
  "var-file": string[];
  "vault-namespace": string;
}

/** A job as its file says it: most fields may be missing or null until the server fills them in. */
export type SourceJob = Partial<Job> & { ID: string };

export interface JobSource {
  job: SourceJob;
  submission: Pick<JobSubmission, "Source" | "Format" | "VariableFlags" | "Variables">;
}

/** Reads and compiles the job at `path`. Throws CommandError with exit code `code`. */
export async function readJobSource(
  context: Context,
  path: string,
  flags: SourceFlags,
  code = 1,
): Promise<JobSource> {
  try {
    const text = await readSource(context, path);
    const source = flags.json ? readJson(text) : await compile(context, path, text, flags);
    if (flags["vault-namespace"]) source.job.VaultNamespace = flags["vault-namespace"];
    return source;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw new CommandError(`Error getting job struct: ${error.message}`, code, { cause: error });
  }
}

async function readSource(context: Context, path: string): Promise<string> {
  if (path === "-") return await readStdin(context);
  const wrong = (why: string) =>
    new CommandError(`Error getting jobfile from ${JSON.stringify(path)}: ${why}`);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path) || path.startsWith("git::")) {
    throw wrong(
      'job files are read from this machine only; download the file first and give its path, or pipe it to "-"',
    );
  }
  const full = resolve(context.io.cwd, path);
  try {
    if ((await stat(full)).isDirectory()) throw wrong("source path must be a file");
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw wrong(`source path error: ${openError(full, error, "stat")}`);
  }
  try {
    return await readFile(full, "utf8");
  } catch (error) {
    throw wrong(openError(full, error));
  }
}

/** All of the standard input as text. */
export async function readStdin(context: Context): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of context.io.stdin.read()) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function readJson(text: string): JobSource {
  let value: unknown;
  try {
    value = parseExact(text);
  } catch (error) {
    throw new CommandError(`Failed to parse JSON job: ${(error as Error).message}`);
  }
  const outer = value as { Job?: unknown } | null;
  const job = outer && typeof outer === "object" && outer.Job ? outer.Job : outer;
  if (!job || typeof job !== "object" || Array.isArray(job)) {
    throw new CommandError(
      'Failed to parse JSON job: expected an object with the job, or with a "Job" field that holds it',
    );
  }
  return {
    job: job as SourceJob,
    submission: { Source: text, Format: "json", VariableFlags: null, Variables: "" },
  };
}

async function compile(context: Context, path: string, text: string, flags: SourceFlags): Promise<JobSource> {
  const { diskFiles, JobspecError, parseJob } = await import("../jobspec/jobspec.ts");
  const variableFlags: Record<string, string> = {};
  for (const assignment of flags.var) {
    const equals = assignment.indexOf("=");
    if (equals < 0) {
      throw new CommandError(
        `Error parsing job file from ${path}:\nInvalid -var option; the given -var option ${
          JSON.stringify(assignment)
        } must be a name and a value separated by an equals sign, as in -var key=value`,
      );
    }
    variableFlags[assignment.slice(0, equals)] = assignment.slice(equals + 1);
  }
  const varFiles: { name: string; source: string }[] = [];
  for (const name of flags["var-file"]) {
    try {
      varFiles.push({ name, source: await readFile(resolve(context.io.cwd, name), "utf8") });
    } catch (error) {
      throw new CommandError(
        `Error parsing job file from ${path}:\nunable to parse var file: Failed to read file; failed to read ${
          JSON.stringify(name)
        }: ${openError(name, error)}`,
      );
    }
  }
  try {
    const job = parseJob(text, {
      filename: path,
      variables: variableFlags,
      variableFiles: varFiles,
      environment: context.io.env,
      strict: flags["hcl2-strict"],
      readFile: diskFiles(context.io.cwd),
    }) as unknown as SourceJob;
    return {
      job,
      submission: {
        Source: text,
        Format: "hcl2",
        VariableFlags: flags.var.length > 0 ? variableFlags : null,
        Variables: varFiles.map((file) => file.source).join("\n"),
      },
    };
  } catch (error) {
    if (!(error instanceof JobspecError)) throw error;
    throw new CommandError(`Error parsing job file from ${path}:\n${error.message}`, 1, { cause: error });
  }
}

/** Region and namespace: the job's own win over flags and environment, as everywhere in Nomad. */
export function jobQuery(job: SourceJob): Record<string, string | undefined> {
  return { region: job.Region || undefined, namespace: job.Namespace || undefined };
}
