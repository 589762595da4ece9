// `job allocs`, `job deployments` and `job scaling-events`: lists that belong to one job.
import { bool } from "./args.ts";
import { command } from "./command.ts";
import { formatDeployment } from "./deployment_text.ts";
import { attempt } from "./errors.ts";
import { formatTimeNs, shortId } from "./format.ts";
import { formatDeployments, formatJobAllocs } from "./lists.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import type { AllocStub, Deployment } from "./records.ts";
import { jobPath, resolveJob } from "./resolve.ts";
import { formatTable } from "./table.ts";

const ONE_JOB = { min: 1, max: 1, complaint: "This command takes one argument: <job>" };
const ACL_NOTE = `When ACLs are enabled, this command requires a token with the 'read-job'
capability for the job's namespace. The 'list-jobs' capability is required to
run the command with a job prefix instead of the exact job ID.`;

export const jobAllocs = command({
  form: "nomad job allocs [options] <job>",
  about: `Lists the allocations of a job.\n\n${ACL_NOTE}`,
  general: "all",
  title: "Allocs Options",
  args: ONE_JOB,
  flags: {
    all: bool("Show the allocations of older jobs with this ID too."),
    ...dataFlags("allocations"),
    verbose: bool("Display full information."),
  },
  async run(context) {
    const { flags } = context;
    const job = await resolveJob(context, context.args[0]!);
    const answer = await attempt(
      "Error retrieving allocations",
      context.api.get<AllocStub[]>(jobPath(job.id, "/allocations"), {
        query: { namespace: job.namespace, all: flags.all },
      }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.AllocationListStub");
    context.ui.output(formatJobAllocs(answer.data ?? [], flags.verbose, context.now()));
    return 0;
  },
});

export const jobDeployments = command({
  form: "nomad job deployments [options] <job>",
  about: `Lists the deployments of a job, or shows the latest one.\n\n${ACL_NOTE}`,
  general: "all",
  title: "Deployments Options",
  args: ONE_JOB,
  flags: {
    all: bool("Show the deployments of older jobs with this ID too."),
    ...dataFlags("deployments"),
    latest: bool("Show only the latest deployment."),
    verbose: bool("Display full information."),
  },
  async run(context) {
    const { flags, ui } = context;
    const job = await resolveJob(context, context.args[0]!);
    const query = { namespace: job.namespace };
    if (flags.latest) {
      const answer = await attempt(
        "Error retrieving deployments",
        context.api.get<Deployment | null>(jobPath(job.id, "/deployment"), { query }),
      );
      if (wantsData(flags)) return await outputData(context, flags, answer, "*api.Deployment");
      ui.coloured(
        answer.data
          ? formatDeployment(answer.data, { verbose: flags.verbose, withJob: true, colours: ui.c })
          : "No deployment found",
      );
      return 0;
    }
    const answer = await attempt(
      "Error retrieving deployments",
      context.api.get<Deployment[]>(jobPath(job.id, "/deployments"), { query: { ...query, all: flags.all } }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.Deployment");
    ui.output(formatDeployments(answer.data ?? [], flags.verbose));
    return 0;
  },
});

interface ScaleStatus {
  TaskGroups: Record<string, { Events: ScalingEvent[] | null }> | null;
}

interface ScalingEvent {
  Time: number;
  Count: number | null;
  PreviousCount: number;
  Error: boolean;
  Message: string;
  EvalID: string | null;
}

export const jobScalingEvents = command({
  form: "nomad job scaling-events [options] <args>",
  about: `Lists the newest scaling events of a job.

When ACLs are enabled, this command requires a token with either the
'read-job' or 'read-job-scaling' capability for the job's namespace. The
'list-jobs' capability is required to run the command with a job prefix.`,
  general: "all",
  title: "Scaling-Events Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job_id>" },
  flags: { verbose: bool("Display full information.") },
  async run(context) {
    const job = await resolveJob(context, context.args[0]!);
    const { data } = await attempt(
      "Error listing scaling events",
      context.api.get<ScaleStatus>(jobPath(job.id, "/scale"), { query: { namespace: job.namespace } }),
    );
    const events = Object.entries(data.TaskGroups ?? {})
      .flatMap(([group, status]) => (status.Events ?? []).map((event) => ({ group, ...event })))
      .sort((a, b) => b.Time - a.Time);
    if (events.length === 0) {
      context.ui.output("No events found");
      return 0;
    }
    const { verbose } = context.flags;
    context.ui.output(formatTable([
      [
        "Task Group",
        "Count",
        "PrevCount",
        ...(verbose ? ["Error", "Message"] : []),
        ...(verbose ? ["Eval ID"] : []),
        "Date",
      ],
      ...events.map((event) => [
        event.group,
        event.Count,
        event.PreviousCount,
        ...(verbose ? [event.Error, event.Message] : []),
        ...(verbose ? [shortId(event.EvalID ?? "", true)] : []),
        formatTimeNs(event.Time),
      ]),
    ]));
    return 0;
  },
});
