// `job validate` checks a job file; `job inspect` shows what the servers have of a job.
import type { Job, JobSubmission } from "../core/types.ts";
import { bool, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, failure, RequestError } from "./errors.ts";
import { quote } from "./format.ts";
import { jsonBody, showWarnings } from "./job_run.ts";
import { jobQuery, readJobSource, sourceFlags, type SourceJob } from "./job_source.ts";
import { formatJson, parseExact } from "./json_text.ts";
import { outputData, wantsData } from "./output.ts";
import { type JobMatch, jobPath, resolveJob } from "./resolve.ts";

export const jobValidate = command({
  form: "nomad job validate [options] <path>",
  about: `Alias: nomad validate

Checks that the job file at <path> is a valid job. With "-" as path the job is
read from the standard input. Syntax, variables and structure are checked here;
the rest is checked by an agent.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the job's namespace.`,
  general: "all",
  title: "Validate Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <path>" },
  flags: { ...sourceFlags },
  async run(context) {
    const { job } = await readJobSource(context, context.args[0]!, context.flags);
    return await validate(context, job);
  },
});

interface ValidateAnswer {
  ValidationErrors: string[] | null;
  Error: string;
  Warnings: string;
  DriverConfigValidated: boolean;
}

async function validate(context: Context, job: SourceJob): Promise<number> {
  const { ui } = context;
  let answer: ValidateAnswer;
  try {
    answer = (await context.api.put<ValidateAnswer>("/v1/validate/job", jsonBody({ Job: job }), {
      query: jobQuery(job),
    })).data;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    if (error.status !== 0) throw failure("Error validating job", error);
    ui.warn(`${error.message}\nOnly the file's syntax, variables and structure were checked.`);
    answer = { ValidationErrors: null, Error: "", Warnings: "", DriverConfigValidated: false };
  }
  if (!answer.DriverConfigValidated) {
    const text =
      "Driver configuration not validated since connection to Nomad agent couldn't be established.";
    ui.coloured(`${ui.c.bold}${ui.c.yellow}${text}${ui.c.reset}\n`);
  }
  if (answer.Error) throw new CommandError(`Job validation errors:\n${answer.Error}`);
  if ((answer.ValidationErrors ?? []).length > 0) {
    throw new CommandError(`Job validation errors:\n${answer.ValidationErrors!.join("\n")}`);
  }
  if (answer.Warnings) showWarnings(context, answer.Warnings);
  ui.coloured(`${ui.c.bold}${ui.c.green}Job validation successful${ui.c.reset}`);
  return 0;
}

export const jobInspect = command({
  form: "nomad job inspect [options] <job>",
  about: `Alias: nomad inspect

Shows the specification of a job that the servers have, as JSON or as the HCL
that was submitted.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the job's namespace. The 'list-jobs' capability is required to
run the command with a job prefix instead of the exact job ID.`,
  general: "all",
  title: "Inspect Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job>" },
  flags: {
    hcl: bool("Print the HCL that was submitted."),
    json: bool("Output the job in its JSON format."),
    t: string("Format and display job using a Go template."),
    version: string("Inspect this version of the job, by number."),
    "with-vars": bool("With -hcl: print the variables that were submitted too."),
  },
  async run(context) {
    const { flags } = context;
    if (flags.hcl && (flags.json || flags.t !== "")) {
      throw new CommandError("The -hcl flag cannot be combined with -json or -t");
    }
    if (flags["with-vars"] && !flags.hcl) throw new CommandError("can only use -with-vars with -hcl");
    const match = await resolveJob(context, context.args[0]!);
    if (flags.hcl) return await inspectSource(context, match);
    const job = await readVersion(context, match);
    const value = wantsData(flags) ? job : { Job: job };
    return await outputData(context, flags, { value }, "*api.Job");
  },
});

interface InspectFlags {
  version: string;
  "with-vars": boolean;
}

/** The job, or the version of it that -version names, with its numbers as they came. */
async function readVersion(context: Context<InspectFlags>, match: JobMatch): Promise<unknown> {
  const query = { namespace: match.namespace };
  const { version } = context.flags;
  if (version === "") {
    return parseExact(
      (await attempt("Error inspecting job", context.api.get<Job>(jobPath(match.id), { query }))).text,
    );
  }
  const wanted = parseVersion(version);
  const answer = await attempt(
    "Error inspecting job",
    context.api.get<unknown>(jobPath(match.id, "/versions"), { query: { ...query, diffs: false } }),
  );
  const versions = (parseExact(answer.text) as { Versions: { Version: number }[] }).Versions;
  const found = versions.find((job) => job.Version === wanted);
  if (!found) {
    throw new CommandError(
      `Error inspecting job: job ${quote(match.id)} with version ${wanted} couldn't be found`,
    );
  }
  return found;
}

export function parseVersion(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new CommandError(
    `Error parsing version value ${quote(text)}: strconv.ParseUint: parsing ${quote(text)}: invalid syntax`,
  );
}

async function inspectSource(context: Context<InspectFlags>, match: JobMatch): Promise<number> {
  const { flags, ui } = context;
  const query = { namespace: match.namespace };
  const version = flags.version === ""
    ? (await attempt("Error inspecting job", context.api.get<Job>(jobPath(match.id), { query }))).data.Version
    : parseVersion(flags.version);
  const submission = await readSubmission(context, match, version ?? 0);
  if (submission?.Format !== "hcl2" && submission?.Format !== "hcl") {
    ui.output(await printHcl(context, match));
    ui.warn("\nThe job was not submitted as HCL: this is made of its specification.");
    return 0;
  }
  ui.output(submission.Source);
  if (flags["with-vars"]) showVariables(context, match, submission);
  return 0;
}

/** What was submitted; undefined when the servers do not know it. */
async function readSubmission(
  context: Context,
  match: JobMatch,
  version: number,
): Promise<JobSubmission | undefined> {
  try {
    const query = { namespace: match.namespace, version };
    return (await context.api.get<JobSubmission>(jobPath(match.id, "/submission"), { query })).data;
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    if (error.status === 404) return undefined;
    throw failure("Error inspecting job", error);
  }
}

/** The HCL that says what the servers have. */
async function printHcl(context: Context<InspectFlags>, match: JobMatch): Promise<string> {
  const { jobToHcl, parseJson, PrintError } = await import("../jobspec/jobspec.ts");
  const job = await readVersion(context, match);
  try {
    return jobToHcl(parseJson(formatJson(job)) as Record<string, unknown>).trimEnd();
  } catch (error) {
    if (!(error instanceof PrintError)) throw error;
    throw new CommandError(
      `Error inspecting job: no HCL source is known of it, and its specification cannot be written as HCL: ${error.message}`,
    );
  }
}

/** How to run the job again with the variables it was submitted with. */
function showVariables(context: Context, match: JobMatch, submission: JobSubmission): void {
  const given = Object.entries(submission.VariableFlags ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
  const flags = given.map(([name, value]) => ` -var ${shellQuote(`${name}=${value}`)}`).join("");
  const file = submission.Variables === "" ? "" : " -var-file variables.hcl";
  context.ui.warn(
    `\nTo run this job as originally submitted:\n\n$ nomad job inspect -namespace ${match.namespace} -hcl ${match.id} |\n` +
      `    nomad job run -namespace ${match.namespace}${flags}${file} -\n`,
  );
  if (file) context.ui.warn(`with these lines as variables.hcl:\n\n${submission.Variables}`);
}

function shellQuote(text: string): string {
  return /^[\w.,:=@%/+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
