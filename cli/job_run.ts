// `job run`: registers a job and follows its evaluation and deployment.
import { bool, int, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, RequestError } from "./errors.ts";
import { formatTimeMs, formatUntil } from "./format.ts";
import { jobQuery, type JobSource, readJobSource, sourceFlags, type SourceJob } from "./job_source.ts";
import { formatJson } from "./json_text.ts";
import { monitorEval } from "./monitor_eval.ts";
import type { JobChangeAnswer } from "./records.ts";

export const jobRun = command({
  form: "nomad job run [options] <path>",
  about: `Alias: nomad run

Registers the job that the file at <path> describes, or updates it. With "-" as
path the job is read from the standard input.

After that the command follows what the scheduler does with it, and the
deployment if there is one; Ctrl-C ends the following, not the job.

Exit codes: 0 when everything was placed, 2 when something could not be placed,
1 for any other error and for a failed deployment.

A region that the job file names wins over -region and NOMAD_REGION.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'register-job' capability for the job's namespace.`,
  general: "all",
  title: "Run Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <path>" },
  flags: {
    "check-index": string(
      "Register the job only if its modify index on the server is this one; 0 means that the job must not exist yet. The index is what `nomad job plan` prints.",
    ),
    "consul-namespace": string("Consul namespace that is stored in the job before it is sent."),
    detach: bool("Return after the registration and print the ID of the evaluation instead of following it."),
    "eval-priority": int(
      "Priority of the evaluation that this creates, 1 to 100. Defaults to the job's priority.",
    ),
    output: bool("Print the JSON that would be sent, and send nothing."),
    "policy-override": bool("Override soft mandatory Sentinel policies."),
    "preserve-counts": bool("Keep the counts that the job's groups have on the server."),
    "preserve-resources": bool("Keep the resources that the job's tasks have on the server."),
    ui: bool("Open the job's page in the browser."),
    verbose: bool("Display full information."),
    ...sourceFlags,
  },
  async run(context) {
    const { flags, ui } = context;
    const source = await readJobSource(context, context.args[0]!, flags);
    if (flags["consul-namespace"]) source.job.ConsulNamespace = flags["consul-namespace"];
    if (flags.output) {
      const { orderJob } = await import("./job_order.ts");
      ui.info(formatJson({ Job: orderJob(source.job) }, { sortKeys: false, escapeHtml: true }));
      return 0;
    }
    const index = readCheckIndex(flags["check-index"]);
    context.askForHints();
    const answer = await register(context, source, index, flags);
    if (answer.Warnings) showWarnings(context, answer.Warnings);
    return await follow(context, source.job, answer, flags);
  },
});

/** The index of -check-index; undefined when it was not given. */
function readCheckIndex(text: string): number | undefined {
  if (text === "") return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new CommandError(
    `Error parsing check-index value ${JSON.stringify(text)}: strconv.ParseUint: parsing ${
      JSON.stringify(text)
    }: invalid syntax`,
  );
}

interface RunFlags {
  detach: boolean;
  verbose: boolean;
  ui: boolean;
  "eval-priority": number;
  "policy-override": boolean;
  "preserve-counts": boolean;
  "preserve-resources": boolean;
}

async function register(
  context: Context,
  source: JobSource,
  index: number | undefined,
  flags: RunFlags,
): Promise<JobChangeAnswer> {
  const body = {
    Job: source.job,
    Submission: source.submission,
    ...(index === undefined ? {} : { EnforceIndex: true, JobModifyIndex: index }),
    ...(flags["eval-priority"] ? { EvalPriority: flags["eval-priority"] } : {}),
    ...(flags["policy-override"] ? { PolicyOverride: true } : {}),
    ...(flags["preserve-counts"] ? { PreserveCounts: true } : {}),
    ...(flags["preserve-resources"] ? { PreserveResources: true } : {}),
  };
  const request = context.api.put<JobChangeAnswer>("/v1/jobs", jsonBody(body), {
    query: jobQuery(source.job),
  });
  try {
    return (await attempt("Error submitting job", request)).data;
  } catch (error) {
    const cause = error instanceof CommandError ? error.cause : undefined;
    const conflict = cause instanceof RequestError ? /Enforcing job modify index.*/.exec(cause.body) : null;
    if (conflict) throw new CommandError(`${conflict[0]}\nJob not updated`);
    throw error;
  }
}

/** Bodies go out with big integers digit for digit. */
export function jsonBody(value: unknown): Uint8Array {
  return new TextEncoder().encode(formatJson(value, { indent: 0, sortKeys: false }));
}

export function showWarnings(context: Context, warnings: string): void {
  const { c } = context.ui;
  context.ui.coloured(`${c.bold}${c.yellow}Job Warnings:\n${warnings}${c.reset}\n`);
}

async function follow(
  context: Context,
  job: SourceJob,
  answer: JobChangeAnswer,
  flags: RunFlags,
): Promise<number> {
  const namespace = job.Namespace || context.namespace;
  const page = `/ui/jobs/${encodeURIComponent(job.ID)}@${namespace}`;
  const hint = (spaced = false) =>
    context.hint("View this job in the Web UI", page, { open: flags.ui, spaced });
  const hasNoEval = Boolean(job.Periodic) || Boolean(job.ParameterizedJob) || isMultiregion(job);
  if (flags.detach || hasNoEval) {
    context.ui.output("Job registration successful");
    if (job.Periodic && !job.ParameterizedJob) await showNextLaunch(context, job, namespace);
    else if (!job.ParameterizedJob) context.ui.output(`Evaluation ID: ${answer.EvalID}`);
    await hint();
    return 0;
  }
  await hint(true);
  return await monitorEval(context, answer.EvalID, flags.verbose);
}

function isMultiregion(job: SourceJob): boolean {
  return job.Multiregion !== null && job.Multiregion !== undefined;
}

/** When a periodic job will run next, as the server works it out. */
async function showNextLaunch(context: Context, job: SourceJob, namespace: string): Promise<void> {
  const next = await nextLaunchMs(context, job, namespace);
  if (next === undefined) return;
  context.ui.output(
    `Approximate next launch time: ${formatTimeMs(next)} (${formatUntil(next, context.now())})`,
  );
}

async function nextLaunchMs(
  context: Context,
  job: SourceJob,
  namespace: string,
): Promise<number | undefined> {
  const { nextPeriodicLaunch } = await import("./periodic.ts");
  const { data } = await context.api.get<{ Periodic: Parameters<typeof nextPeriodicLaunch>[0] }>(
    `/v1/job/${encodeURIComponent(job.ID)}`,
    { query: { namespace } },
  );
  return nextPeriodicLaunch(data.Periodic, context.now());
}
