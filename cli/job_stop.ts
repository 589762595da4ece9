// `job stop` and `job start`.
import type { Job } from "../core/types.ts";
import { bool, int } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, RequestError } from "./errors.ts";
import { quote } from "./format.ts";
import { monitorEval } from "./monitor_eval.ts";
import { confirm } from "./prompt.ts";
import type { JobChangeAnswer } from "./records.ts";
import { jobPath, resolveJob } from "./resolve.ts";

export const jobStop = command({
  form: "nomad job stop [options] <job>",
  about: `Alias: nomad stop

Stops one or more jobs: their allocations are shut down, and the command follows
the evaluation that does it. A prefix of an ID is enough; then the command asks
before it stops anything.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'deregister-job' capability for the job's namespace, and 'read-job'.`,
  general: "all",
  title: "Stop Options",
  args: { min: 1, max: Infinity, complaint: "This command takes at least one argument: <job>" },
  flags: {
    detach: bool(
      "Return after the stop was accepted and print the ID of the evaluation instead of following it.",
    ),
    "eval-priority": int(
      "Priority of the evaluation that this creates, 1 to 100. Defaults to the job's priority.",
    ),
    global: bool("Stop a multi-region job in all its regions."),
    "no-shutdown-delay": bool("Ignore the shutdown_delay of groups and tasks, so that all stops at once."),
    purge: bool("Forget the job at once instead of leaving it to the garbage collection."),
    verbose: bool("Display full information."),
    yes: bool("Answer yes to all questions."),
  },
  async run(context) {
    let worst = 0;
    for (const typed of context.args) worst = Math.max(worst, await stopOne(context, typed));
    return worst;
  },
});

interface StopFlags {
  detach: boolean;
  "eval-priority": number;
  global: boolean;
  "no-shutdown-delay": boolean;
  purge: boolean;
  verbose: boolean;
  yes: boolean;
}

/** Stops one job; what goes wrong with it does not keep the others from stopping. */
async function stopOne(context: Context<StopFlags>, typed: string): Promise<number> {
  const { flags, ui } = context;
  try {
    const match = await resolveJob(context, typed);
    if (match.byPrefix && !flags.yes) {
      const question = `Are you sure you want to stop job ${quote(match.id)}?`;
      const ended = await confirm(context, question, "Cancelling job stop");
      if (ended !== undefined) return ended;
    }
    const answer = await attempt(
      `Error deregistering job with id ${match.id} err`,
      context.api.delete<JobChangeAnswer>(jobPath(match.id), {
        query: {
          namespace: match.namespace,
          purge: flags.purge,
          global: flags.global,
          eval_priority: flags["eval-priority"],
          no_shutdown_delay: flags["no-shutdown-delay"],
        },
      }),
    );
    const evalId = answer.data.EvalID;
    // Stopping a periodic or parameterized job evaluates nothing.
    if (!evalId) return 0;
    if (flags.detach) {
      ui.output(evalId);
      return 0;
    }
    return await monitorEval(context, evalId, flags.verbose);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    ui.error(error.message);
    return error.code;
  }
}

export const jobStart = command({
  form: "nomad job start [options] <job>",
  about: `Alias: nomad start

Starts a stopped job again, with the specification it was stopped with, and
follows the evaluation and the deployment.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'register-job' capability for the job's namespace, and 'read-job'.`,
  general: "all",
  title: "Start Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job>" },
  flags: {
    detach: bool(
      "Return after the start was accepted and print the ID of the evaluation instead of following it.",
    ),
    verbose: bool("Display full information."),
  },
  async run(context) {
    const { flags, ui, api } = context;
    const match = await resolveJob(context, context.args[0]!);
    const query = { namespace: match.namespace };
    const { data: job } = await attempt("Error querying job", api.get<Job>(jobPath(match.id), { query }));
    if (!job.Stop) throw new CommandError(`Job ${quote(match.id)} has not been stopped`);
    const answer = await attempt(
      "Error registering job",
      api.put<JobChangeAnswer>("/v1/jobs", {
        Job: { ...job, Stop: false },
        ...await readSubmission(context, job),
      }, { query }),
    );
    if (!answer.data.EvalID) return 0;
    if (flags.detach) {
      ui.output(`Evaluation ID: ${answer.data.EvalID}`);
      return 0;
    }
    return await monitorEval(context, answer.data.EvalID, flags.verbose);
  },
});

/** What was sent with the version that is started again, so that its source stays known. */
async function readSubmission(context: Context, job: Job): Promise<{ Submission?: unknown }> {
  const path = jobPath(job.ID, "/submission");
  try {
    const { data } = await context.api.get<unknown>(path, {
      query: { namespace: job.Namespace, version: job.Version },
    });
    return data ? { Submission: data } : {};
  } catch (error) {
    // A job that was sent as JSON over the API has no source.
    if (error instanceof RequestError && error.status === 404) return {};
    throw error;
  }
}
