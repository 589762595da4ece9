// What changes a job that is there: `job dispatch`, `eval`, `periodic force`, `promote`, `revert` and `scale`.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { openError } from "./api.ts";
import { bool, int, list, string, uint } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { quote, shortId } from "./format.ts";
import { readStdin } from "./job_source.ts";
import { monitorEval } from "./monitor_eval.ts";
import type { Deployment, JobChangeAnswer } from "./records.ts";
import { jobPath, resolveJob } from "./resolve.ts";
import { formatKeyValues } from "./table.ts";

const followFlags = {
  detach: bool("Return at once and print the ID of the evaluation instead of following it."),
  verbose: bool("Display full information."),
};

interface FollowFlags {
  detach: boolean;
  verbose: boolean;
}

/** Follows the evaluation of a change, or names it. `said` comes before the name. */
async function follow(context: Context<FollowFlags>, evalId: string, said?: string): Promise<number> {
  const { flags, ui } = context;
  if (!evalId) return 0;
  if (!flags.detach) return await monitorEval(context, evalId, flags.verbose);
  if (said) ui.output(said);
  ui.output(`Evaluation ID: ${evalId}`);
  return 0;
}

export const jobDispatch = command({
  form: "nomad job dispatch [options] <parameterized job> [input source]",
  about: `Starts an instance of a parameterized job, with metadata and a payload read from
a file, or with "-" from the standard input.

When ACLs are enabled, this command requires a token with the 'dispatch-job'
capability for the job's namespace. The 'list-jobs' capability is required to
run the command with a job prefix, 'read-job' to follow the evaluation.`,
  general: "all",
  title: "Dispatch Options",
  args: {
    min: 1,
    max: 2,
    complaint: "This command takes one or two argument: <parameterized job> [input source]",
  },
  flags: {
    detach: followFlags.detach,
    "id-prefix-template": string("Text that is put into the ID of the instance.", "text"),
    "idempotency-token": string("A token that makes sure that only one instance with it runs.", "token"),
    meta: list("Metadata of the instance. May be given several times.", "key=value"),
    priority: int("Priority of the instance. Defaults to the job's priority.", "1-100"),
    ui: bool("Open the instance's page in the browser."),
    verbose: followFlags.verbose,
    wait: bool("Wait until the instance is done and exit with 1 if it failed."),
  },
  async run(context) {
    const { flags, args, api, ui } = context;
    const meta = readMeta(flags.meta);
    const payload = await readPayload(context, args[1]);
    const match = await resolveJob(context, args[0]!, { kind: "parameterized" });
    const { data } = await attempt(
      "Failed to dispatch job",
      api.put<JobChangeAnswer & { DispatchedJobID: string }>(jobPath(match.id, "/dispatch"), {
        JobID: match.id,
        Payload: payload,
        Meta: meta,
        IdPrefixTemplate: flags["id-prefix-template"],
        Priority: flags.priority,
      }, {
        query: { namespace: match.namespace, idempotency_token: flags["idempotency-token"] || undefined },
      }),
    );
    const pairs: [string, unknown][] = [["Dispatched Job ID", data.DispatchedJobID]];
    if (data.EvalID) pairs.push(["Evaluation ID", shortId(data.EvalID, flags.verbose)]);
    ui.output(formatKeyValues(pairs));
    if (!data.EvalID || (flags.detach && !flags.wait)) return 0;
    const page = `/ui/jobs/${encodeURIComponent(data.DispatchedJobID)}@${match.namespace}`;
    await context.hint("View this job in the Web UI", page, { open: flags.ui, spaced: true });
    ui.output("");
    const code = await monitorEval(context, data.EvalID, flags.verbose);
    return flags.wait && code === 0 ? await waitForEnd(context, data.DispatchedJobID, match.namespace) : code;
  },
});

function readMeta(pairs: string[]): Record<string, string> {
  const meta: Record<string, string> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    if (equals < 0) throw new CommandError(`Error parsing meta value: ${pair}`);
    meta[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
  return meta;
}

/** Base64 of the payload; empty for none. */
async function readPayload(context: Context, path: string | undefined): Promise<string> {
  if (path === undefined) return "";
  if (path === "-") return Buffer.from(await readStdin(context), "utf8").toString("base64");
  try {
    return (await readFile(resolve(context.io.cwd, path))).toString("base64");
  } catch (error) {
    throw new CommandError(`Error reading input data: ${openError(path, error)}`);
  }
}

/** 0 when all allocations of an instance completed, 1 when one failed. */
async function waitForEnd(context: Context, id: string, namespace: string): Promise<number> {
  let index = 0;
  for (;;) {
    const answer = await attempt(
      "Error querying job allocations",
      context.api.get<{ ClientStatus: string }[]>(
        jobPath(id, "/allocations"),
        index > 0 ? { query: { namespace }, index, waitMs: 10_000 } : { query: { namespace } },
      ),
    );
    index = answer.index;
    const statuses = (answer.data ?? []).map((alloc) => alloc.ClientStatus);
    if (statuses.length > 0 && statuses.every((status) => status === "complete")) return 0;
    if (statuses.some((status) => status === "failed" || status === "lost")) return 1;
    if (index === 0) await context.io.sleep(1000);
  }
}

export const jobEval = command({
  form: "nomad job eval [options] <job_id>",
  about: `Evaluates a job again, as if it had been registered again.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'evaluate-job' capability for the job's namespace, and 'read-job'.`,
  general: "all",
  title: "Eval Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job>" },
  flags: {
    "force-reschedule": bool("Place failed allocations again, even if their job allows no more attempts."),
    ...followFlags,
  },
  async run(context) {
    const { flags } = context;
    const match = await resolveJob(context, context.args[0]!);
    const { data } = await attempt(
      "Error evaluating job",
      context.api.put<JobChangeAnswer>(jobPath(match.id, "/evaluate"), {
        JobID: match.id,
        EvalOptions: { ForceReschedule: flags["force-reschedule"] },
      }, { query: { namespace: match.namespace } }),
    );
    if (!flags.detach) return await monitorEval(context, data.EvalID, flags.verbose);
    context.ui.output(`Created eval ID: ${quote(shortId(data.EvalID, flags.verbose))} `);
    return 0;
  },
});

export const jobPeriodicForce = command({
  form: "nomad job periodic force <job id>",
  about: `Launches a periodic job now, outside its schedule.

When ACLs are enabled, this command requires a token with the 'submit-job', the
'dispatch-job' or the 'force-periodic-job' capability for the job's namespace,
and 'list-jobs' and 'read-job'.`,
  general: "all",
  title: "Periodic Force Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job id>" },
  flags: { ...followFlags },
  async run(context) {
    const match = await resolveJob(context, context.args[0]!, { kind: "periodic" });
    const { data } = await attempt(
      `Error forcing periodic job ${quote(match.id)}`,
      context.api.put<JobChangeAnswer>(jobPath(match.id, "/periodic/force"), undefined, {
        query: { namespace: match.namespace },
      }),
    );
    return await follow(context, data.EvalID, "Force periodic successful");
  },
});

export const jobPromote = command({
  form: "nomad job promote [options] <job id>",
  about: `Promotes the canaries of a job's newest deployment, so that the rest of the job
follows.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'promote-deployment' capability for the job's namespace, and 'list-jobs' and
'read-job'.`,
  general: "all",
  title: "Promote Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job id>" },
  flags: {
    group: list("Only the canaries of this group. May be given several times.", "group"),
    ...followFlags,
  },
  async run(context) {
    const { flags, api } = context;
    const match = await resolveJob(context, context.args[0]!);
    const query = { namespace: match.namespace };
    const latest = await attempt(
      "Error retrieving deployment",
      api.get<Deployment | null>(jobPath(match.id, "/deployment"), { query }),
    );
    if (!latest.data) throw new CommandError(`Job ${quote(match.id)} has no deployment to promote`);
    const id = latest.data.ID;
    const { data } = await attempt(
      `Error promoting deployment ${quote(id)} for job ${quote(match.id)}`,
      api.put<JobChangeAnswer>(`/v1/deployment/promote/${id}`, {
        DeploymentID: id,
        All: flags.group.length === 0,
        Groups: flags.group.length === 0 ? null : flags.group,
      }, { query }),
    );
    return await follow(context, data.EvalID);
  },
});

export const jobRevert = command({
  form: "nomad job revert [options] <job> <version|tag>",
  about: `Makes an older version of a job the newest. \`nomad job history\` lists them.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'revert-job' capability for the job's namespace, and 'list-jobs'.`,
  general: "all",
  title: "Revert Options",
  args: { min: 2, max: 2, complaint: "This command takes two arguments: <job> <version|tag>" },
  flags: { ...followFlags },
  async run(context) {
    const { api, args } = context;
    const match = await resolveJob(context, args[0]!);
    const query = { namespace: match.namespace };
    const version = /^\d+$/.test(args[1]!) ? Number(args[1]) : await versionOfTag(context, match, args[1]!);
    const { data } = await attempt(
      "Error retrieving job versions",
      api.put<JobChangeAnswer>(jobPath(match.id, "/revert"), { JobID: match.id, JobVersion: version }, {
        query,
      }),
    );
    return await follow(context, data.EvalID);
  },
});

async function versionOfTag(
  context: Context,
  match: { id: string; namespace: string },
  tag: string,
): Promise<number> {
  const { data } = await attempt(
    "Error retrieving job versions",
    context.api.get<{ Versions: { Version: number; VersionTag: { Name: string } | null }[] }>(
      jobPath(match.id, "/versions"),
      { query: { namespace: match.namespace } },
    ),
  );
  const found = data.Versions.find((job) => job.VersionTag?.Name === tag);
  if (!found) {
    throw new CommandError(`Error retrieving job versions: version tag ${tag} not found for job ${match.id}`);
  }
  return found.Version;
}

export const jobScale = command({
  form: "nomad job scale [options] <job> [<group>] <count>",
  about: `Changes how many instances of a group there are. The group may be left out when
the job has only one.

When ACLs are enabled, this command requires a token with the 'read-job-scaling'
and either the 'scale-job' or 'submit-job' capabilities for the job's namespace.`,
  general: "all",
  title: "Scale Options",
  flags: {
    "check-index": uint("Scale only if the job's modify index is this one; 0 turns the check off.", "index"),
    ...followFlags,
  },
  async run(context) {
    const { args, api, flags } = context;
    if (args.length < 2 || args.length > 3) {
      throw new UsageError("Command requires at least two arguments and no more than three");
    }
    const countText = args.at(-1)!;
    if (!/^[+-]?\d+$/.test(countText)) {
      throw new CommandError(
        `Failed to convert count string to int: strconv.Atoi: parsing ${quote(countText)}: invalid syntax`,
      );
    }
    const match = await resolveJob(context, args[0]!);
    const query = { namespace: match.namespace };
    const group = await scaledGroup(context, match, args.length === 3 ? args[1]! : undefined);
    const { data } = await attempt(
      "Error submitting scaling request",
      api.put<JobChangeAnswer>(jobPath(match.id, "/scale"), {
        Count: Number(countText),
        Target: { Job: match.id, Group: group },
        Message: "submitted using the Nomad CLI",
        PolicyOverride: false,
        ...(flags["check-index"] ? { EnforceIndex: true, JobModifyIndex: flags["check-index"] } : {}),
      }, { query }),
    );
    return await follow(context, data.EvalID, "Job scale successful");
  },
});

/** The named group, or the only one. */
async function scaledGroup(
  context: Context,
  match: { id: string; namespace: string },
  named: string | undefined,
): Promise<string> {
  const { data } = await attempt(
    "Error querying job",
    context.api.get<{ TaskGroups: Record<string, unknown> | null }>(jobPath(match.id, "/scale"), {
      query: { namespace: match.namespace },
    }),
  );
  const groups = Object.keys(data.TaskGroups ?? {});
  if (named === undefined) {
    if (groups.length === 1) return groups[0]!;
    throw new CommandError(`Group name required: the job has the groups ${groups.sort().join(", ")}`);
  }
  if (!groups.includes(named)) throw new CommandError(`Group ${named} not found within job`);
  return named;
}
