// `deployment list`, `status`, `promote`, `fail`, `pause`, `resume` and `unblock`.
import { bool, duration, list, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { formatDeployment } from "./deployment_text.ts";
import { attempt, UsageError } from "./errors.ts";
import { formatTimeMs, quote, shortId } from "./format.ts";
import { formatDeployments } from "./lists.ts";
import { monitorDeployment } from "./monitor_deployment.ts";
import { monitorEval } from "./monitor_eval.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import type { Deployment } from "./records.ts";
import { resolveDeployment } from "./resolve.ts";

const NS_PER_MS = 1e6;
const GO_TYPE = "*api.Deployment";

export const deploymentList = command({
  form: "nomad deployment list [options]",
  about: `Lists the deployments that the servers know.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the deployment's namespace.`,
  general: "all",
  title: "List Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: {
    ...dataFlags("deployments"),
    filter: string("Only deployments that this expression is true of."),
    verbose: bool("Display full information."),
  },
  async run(context) {
    const { flags } = context;
    const answer = await attempt(
      "Error retrieving deployments",
      context.api.get<Deployment[]>("/v1/deployments", { query: { filter: flags.filter || undefined } }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, GO_TYPE);
    context.ui.output(formatDeployments(answer.data ?? [], flags.verbose));
    return 0;
  },
});

export const deploymentStatus = command({
  form: "nomad deployment status [options] <deployment id>",
  about: `Shows a deployment, or with -monitor follows it until it is done.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the deployment's namespace.`,
  general: "all",
  title: "Status Options",
  flags: {
    ...dataFlags("deployment"),
    monitor: bool("Follow the deployment until it is done."),
    ui: bool("Open the job's deployments page in the browser."),
    verbose: bool("Display full information."),
    wait: duration("With -monitor: longest time between two looks. Defaults to 2s.", "duration", 2e9),
  },
  async run(context) {
    const { flags, args } = context;
    if (args.length > 1) throw new UsageError("This command takes at most one argument: <deployment id>");
    if (flags.monitor && wantsData(flags)) {
      throw new UsageError("The monitor flag cannot be used with the '-json' or '-t' flags");
    }
    if (args.length === 0) {
      const answer = await attempt(
        "Error retrieving deployments",
        context.api.get<Deployment[]>("/v1/deployments"),
      );
      if (wantsData(flags)) return await outputData(context, flags, answer, GO_TYPE);
      context.ui.output(formatDeployments(answer.data ?? [], flags.verbose));
      return 0;
    }
    return await showDeploymentStatus(context, args[0]!, flags);
  },
});

export interface DeploymentStatusFlags {
  json: boolean;
  t: string;
  monitor: boolean;
  ui: boolean;
  verbose: boolean;
  wait: number;
}

export async function showDeploymentStatus(
  context: Context,
  typed: string,
  flags: DeploymentStatusFlags,
): Promise<number> {
  const deployment = await resolveDeployment(context, typed, flags.verbose);
  const { ui } = context;
  if (wantsData(flags)) {
    const answer = await attempt(
      "Error retrieving deployment",
      context.api.get<Deployment>(`/v1/deployment/${deployment.ID}`),
    );
    return await outputData(context, flags, answer, GO_TYPE);
  }
  const page = `/ui/jobs/${encodeURIComponent(deployment.JobID)}/deployments`;
  const hint = (spaced = false) =>
    context.hint("View all deployments for this job in the Web UI", page, { open: flags.ui, spaced });
  if (flags.monitor) {
    await hint(true);
    ui.output(
      `${formatTimeMs(context.now())}: Monitoring deployment ${quote(shortId(deployment.ID, flags.verbose))}`,
    );
    const options = { verbose: flags.verbose, prefix: "", waitMs: flags.wait / NS_PER_MS };
    return await monitorDeployment(context, deployment.ID, options);
  }
  ui.coloured(formatDeployment(deployment, { verbose: flags.verbose, withJob: true, colours: ui.c }));
  await hint();
  return 0;
}

interface DeploymentChange {
  EvalID: string;
  RevertedJobVersion?: number | null;
}

const followFlags = {
  detach: bool("Return at once and print the ID of the evaluation instead of following it."),
  verbose: bool("Display full information."),
};
const ONE_ID = { min: 1, max: 1, complaint: "This command takes one argument: <deployment id>" };

/** Changes a deployment and follows the evaluation that comes of it. `said`: what to say first, if anything. */
async function change(
  context: Context<{ detach: boolean; verbose: boolean }>,
  what: { verb: string; route: string; body: object; said?: string },
): Promise<number> {
  const { flags, ui } = context;
  const deployment = await resolveDeployment(context, context.args[0]!, flags.verbose);
  const { data } = await attempt(
    `Error ${what.verb} deployment`,
    context.api.put<DeploymentChange>(`/v1/deployment/${what.route}/${deployment.ID}`, {
      DeploymentID: deployment.ID,
      ...what.body,
    }),
  );
  if (what.said) ui.output(`Deployment ${quote(deployment.ID)} ${what.said}`);
  if (data.RevertedJobVersion !== undefined && data.RevertedJobVersion !== null) {
    ui.output(`Job reverted to version ${data.RevertedJobVersion}`);
  }
  if (!data.EvalID) return 0;
  if (flags.detach) {
    ui.output(`Evaluation ID: ${data.EvalID}`);
    return 0;
  }
  if (what.said) ui.output("");
  return await monitorEval(context, data.EvalID, flags.verbose);
}

export const deploymentPromote = command({
  form: "nomad deployment promote [options] <deployment id>",
  about: `Promotes the canaries of a deployment, so that the rest of the job follows.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'promote-deployment' capability for the deployment's namespace, and
'list-jobs' and 'read-job'.`,
  general: "all",
  title: "Promote Options",
  args: ONE_ID,
  flags: {
    group: list("Only the canaries of this group. May be given several times.", "group"),
    ...followFlags,
  },
  run: (context) => {
    const { group } = context.flags;
    return change(context, {
      verb: "promoting",
      route: "promote",
      body: { All: group.length === 0, Groups: group.length === 0 ? null : group },
    });
  },
});

export const deploymentFail = command({
  form: "nomad deployment fail [options] <deployment id>",
  about: `Marks a deployment as failed; a job with auto_revert goes back to its last
stable version.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'fail-deployment' capability for the deployment's namespace, and 'read-job'.`,
  general: "all",
  title: "Fail Options",
  args: ONE_ID,
  flags: followFlags,
  run: (context) => change(context, { verb: "failing", route: "fail", body: {}, said: "failed" }),
});

export const deploymentPause = command({
  form: "nomad deployment pause [options] <deployment id>",
  about: `Pauses a deployment: nothing new is placed until it is resumed.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'pause-deployment' capability for the deployment's namespace, and
'read-job'.`,
  general: "all",
  title: "Pause Options",
  args: ONE_ID,
  flags: { verbose: bool("Display full information.") },
  async run(context) {
    const deployment = await resolveDeployment(context, context.args[0]!, context.flags.verbose);
    await attempt(
      "Error pausing deployment",
      context.api.put(`/v1/deployment/pause/${deployment.ID}`, { DeploymentID: deployment.ID, Pause: true }),
    );
    context.ui.output(`Deployment ${quote(deployment.ID)} paused`);
    return 0;
  },
});

export const deploymentResume = command({
  form: "nomad deployment resume [options] <deployment id>",
  about: `Resumes a paused deployment.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'pause-deployment' capability for the deployment's namespace, and
'read-job'.`,
  general: "all",
  title: "Resume Options",
  args: ONE_ID,
  flags: followFlags,
  run: (context) =>
    change(context, { verb: "resuming", route: "pause", body: { Pause: false }, said: "resumed" }),
});

export const deploymentUnblock = command({
  form: "nomad deployment unblock [options] <deployment id>",
  about: `Lets a deployment go on that waits for other regions.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'unblock-deployment' capability for the deployment's namespace, and
'read-job'.`,
  general: "all",
  title: "Unblock Options",
  args: ONE_ID,
  flags: followFlags,
  run: (context) => change(context, { verb: "unblocking", route: "unblock", body: {}, said: "unblocked" }),
});
