// `job wait`: stands until a job that ends by itself has ended, and exits with the job's own result, so that scripts can
// put jobs in an order. Nomad has no such command.
//
// Invariants: asks with blocking queries, never on a timer; says how the job ended only after the servers call it dead,
// so that no replacement of a failed allocation can still change the result.
import type { Job, TaskState } from "../core/types.ts";
import { duration } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, RequestError } from "./errors.ts";
import { quote, shortId } from "./format.ts";
import type { AllocStub } from "./records.ts";
import { type JobMatch, jobPath, resolveJob } from "./resolve.ts";

/** What timeout(1) exits with. */
const TIMED_OUT = 124;
/** One blocking query lasts this long at most; servers cut longer ones. */
const QUERY_MS = 5 * 60_000;

export const jobWait = command({
  form: "nomad job wait [options] <job>",
  about: `Waits until a job has ended and exits with the job's own result: 0 when all of it
completed, else with the exit code of the task that failed. It exits with 1 when
the job was stopped before its end, was lost, or failed without an exit code, and
with 124 when it still runs after -timeout.

It works on what ends by itself: batch and sysbatch jobs, and the instances of
periodic and parameterized jobs. A failed allocation that is still to be
rescheduled does not end the wait.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the job's namespace. The 'list-jobs' capability is required to
run the command with a job prefix.`,
  general: "all",
  title: "Wait Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job>" },
  flags: {
    timeout: duration("Give up and exit with 124 after this long. By default it waits for ever.", "duration"),
  },
  async run(context) {
    const match = await resolveJob(context, context.args[0]!);
    const job = await untilDead(context, match, context.flags.timeout / 1e6);
    if (job === null) {
      const text = `Job ${quote(match.id)} has not ended: it still runs, -timeout only ended the waiting`;
      throw new CommandError(text, TIMED_OUT);
    }
    return await tellResult(context, job);
  },
});

/** The dead job; null when the time ran out before. */
async function untilDead(context: Context, match: JobMatch, timeoutMs: number): Promise<Job | null> {
  const began = performance.now();
  const leftMs = () => timeoutMs === 0 ? Infinity : timeoutMs - (performance.now() - began);
  for (let index = 0;;) {
    const answer = await attempt(
      "Error querying job",
      context.api.get<Job>(jobPath(match.id), {
        query: { namespace: match.namespace },
        ...(index > 0 ? { index, waitMs: Math.ceil(Math.min(leftMs(), QUERY_MS)) } : {}),
      }).catch((error) => {
        if (!(error instanceof RequestError) || error.status !== 404) throw error;
        throw new CommandError(`Job ${quote(match.id)} was purged before its result was known`);
      }),
    );
    const job = answer.data;
    if (index === 0) checkEnds(job);
    if (job.Status === "dead") return job;
    if (leftMs() <= 0) return null;
    index = Math.max(answer.index, 1);
  }
}

function checkEnds(job: Job): void {
  const name = `Job ${quote(job.ID)}`;
  if (job.Type !== "batch" && job.Type !== "sysbatch") {
    const text =
      `${name} is of type ${job.Type}, which has no end of its own: only batch and sysbatch jobs ` +
      "can be waited for. `nomad job run` follows a deployment until it is healthy";
    throw new CommandError(text);
  }
  const kind = job.Periodic ? "periodic" : job.ParameterizedJob && !job.Dispatched ? "parameterized" : "";
  if (kind === "") return;
  const text = `${name} is ${kind} and never ends: wait for one of its instances, which \`nomad job status ` +
    `${job.ID}\` lists`;
  throw new CommandError(text);
}

async function tellResult(context: Context, job: Job): Promise<number> {
  const { data } = await attempt(
    "Error querying job allocations",
    context.api.get<AllocStub[]>(jobPath(job.ID, "/allocations"), {
      query: { namespace: job.Namespace },
    }),
  );
  const last = (data ?? []).filter((alloc) =>
    alloc.NextAllocation === "" && alloc.JobVersion === job.Version
  );
  const failed = last.filter((alloc) => alloc.ClientStatus !== "complete" || anyFailed(alloc) !== undefined);
  const name = `Job ${quote(job.ID)}`;
  if (failed.length === 0) {
    const stopped = last.some((alloc) => alloc.DesiredStatus !== "run" && !ranToItsEnd(alloc));
    if (stopped || (job.Stop && last.length === 0)) {
      throw new CommandError(`${name} was stopped before its end`);
    }
    const count = `${last.length} allocation${last.length === 1 ? "" : "s"}`;
    context.ui.output(`${name} ended: ${count} complete`);
    return 0;
  }
  for (const alloc of failed) {
    context.ui.error(`Allocation ${quote(shortId(alloc.ID, false))} (${alloc.Name}) ${howItEnded(alloc)}`);
  }
  throw new CommandError(`${name} failed`, Math.max(...failed.map(exitCodeOf)));
}

/** Name and state of a task that failed. */
function anyFailed(alloc: AllocStub): [string, TaskState] | undefined {
  return Object.entries(alloc.TaskStates ?? {}).find(([, state]) => state.Failed);
}

/** None of its tasks was killed: a stop that came later changed nothing. */
function ranToItsEnd(alloc: AllocStub): boolean {
  const states = Object.values(alloc.TaskStates ?? {});
  return states.length > 0 && states.every((state) => lastExit(state)?.ExitCode === 0);
}

type Exit = NonNullable<TaskState["Events"]>[number];

function lastExit(state: TaskState): Exit | undefined {
  return (state.Events ?? []).findLast((event) => event.Type === "Terminated");
}

function howItEnded(alloc: AllocStub): string {
  const failed = anyFailed(alloc);
  if (!failed) return `is ${alloc.ClientStatus}`;
  const [task, state] = failed;
  const last = state.Events?.at(-1)?.DisplayMessage ?? "";
  const exit = lastExit(state);
  const why = exit ? exit.DisplayMessage : last;
  return `failed in task ${quote(task)}${why ? `: ${why}` : ""}`;
}

/** 1 where no task ended by itself with a code; 128 and the signal for one that was killed, as a shell has it. */
function exitCodeOf(alloc: AllocStub): number {
  const exit = anyFailed(alloc) && lastExit(anyFailed(alloc)![1]);
  if (!exit) return 1;
  const code = exit.ExitCode || (exit.Signal ? 128 + exit.Signal : 1);
  return code > 0 && code < 256 ? code : 1;
}
