// `eval list`, `eval status` and `eval delete`.
import { formatDuration } from "../core/duration.ts";
import type { PlanAnnotations } from "../core/types.ts";
import { bool, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { formatAge, formatTimeNs, quote, shortId } from "./format.ts";
import { formatAllocs, formatEvals, placementFailureText } from "./lists.ts";
import { monitorEval } from "./monitor_eval.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { pageFlags, pageQuery, showNextPage } from "./pages.ts";
import { explainMetrics, failedCountText, failedGroups } from "./placement.ts";
import { confirm } from "./prompt.ts";
import type { AllocStub, EvalStub, FullEvaluation } from "./records.ts";
import { newestFirst } from "./records.ts";
import { resolveEval } from "./resolve.ts";
import { formatKeyValues, formatTable } from "./table.ts";

export const evalList = command({
  form: "nomad eval list [options]",
  about: `Lists the evaluations that the servers know.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the requested namespace.`,
  general: "all",
  title: "Eval List Options",
  hints: true,
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: {
    ...dataFlags("evaluations"),
    ...pageFlags,
    job: string("Only evaluations of this job."),
    status: string("Only evaluations with this status."),
    ui: bool("Open the evaluations page in the browser."),
    verbose: bool("Display full information."),
  },
  async run(context) {
    const { flags } = context;
    const answer = await attempt(
      "Error querying evaluations",
      context.api.get<EvalStub[]>("/v1/evaluations", {
        query: { ...pageQuery(flags), job: flags.job || undefined, status: flags.status || undefined },
      }),
    );
    if (wantsData(flags)) return await outputData(context, flags, answer, "*api.Evaluation");
    const evals = answer.data ?? [];
    context.ui.output(evals.length === 0 ? "No evals found" : formatEvals(evals, flags.verbose));
    showNextPage(context, "nomad eval list", answer.nextToken);
    await context.hint("View evaluations in the Web UI", "/ui/evaluations", { open: flags.ui });
    return 0;
  },
});

export const evalStatus = command({
  form: "nomad eval status [options] <evaluation>",
  about: `Shows an evaluation: what it was for, what it placed, and why it could not
place the rest.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the evaluation's namespace.`,
  general: "all",
  title: "Eval Status Options",
  flags: {
    ...dataFlags("the evaluation"),
    monitor: bool("Follow the evaluation until it is done."),
    ui: bool("Open the evaluation's page in the browser."),
    verbose: bool("Show full information."),
  },
  async run(context) {
    const { flags } = context;
    if (context.args.length === 0 && wantsData(flags)) {
      const answer = await attempt("Error querying evaluations", context.api.get<unknown>("/v1/evaluations"));
      return await outputData(context, flags, answer, "*api.Evaluation");
    }
    if (context.args.length !== 1) throw new UsageError("This command takes one argument");
    return await showEvalStatus(context, context.args[0]!, flags);
  },
});

export interface EvalStatusFlags {
  json: boolean;
  t: string;
  monitor: boolean;
  ui: boolean;
  verbose: boolean;
}

export async function showEvalStatus(
  context: Context,
  typed: string,
  flags: EvalStatusFlags,
): Promise<number> {
  const stub = await resolveEval(context, typed, flags.verbose);
  if (flags.monitor) return await monitorEval(context, stub.ID, flags.verbose);
  const read = attempt(
    "Error querying evaluation",
    context.api.get<FullEvaluation>(`/v1/evaluation/${stub.ID}`, { query: { related: true } }),
  );
  if (wantsData(flags)) return await outputData(context, flags, await read, "*api.Evaluation");
  context.askForHints();
  const [answer, allocs] = await Promise.all([
    read,
    attempt(
      "Error querying related allocations",
      context.api.get<AllocStub[]>(`/v1/evaluation/${stub.ID}/allocations`),
    ),
  ]);
  showEval(context, answer.data, allocs.data ?? [], flags.verbose);
  const page = `/ui/evaluations?currentEval=${stub.ID}`;
  await context.hint("View evaluation details in the Web UI", page, { open: flags.ui });
  return 0;
}

function showEval(context: Context, evaluation: FullEvaluation, allocs: AllocStub[], verbose: boolean): void {
  const { ui } = context;
  ui.output(formatKeyValues(evalPairs(context, evaluation, verbose)));
  const related = evaluation.RelatedEvals ?? [];
  if (related.length > 0) {
    ui.heading("Related Evaluations");
    ui.output(formatTable([
      ["ID", "Priority", "Triggered By", "Node ID", "Status", "Description"],
      ...newestFirst(related).map((other) => [
        shortId(other.ID, verbose),
        other.Priority,
        other.TriggeredBy,
        shortId(other.NodeID ?? "", verbose),
        other.Status,
        other.StatusDescription,
      ]),
    ]));
  }
  if (evaluation.PlanAnnotations) showPlan(context, evaluation.PlanAnnotations, verbose);
  if (allocs.length > 0) {
    ui.heading("Placed Allocations");
    ui.output(formatAllocs(allocs, { verbose, nowMs: context.now() }));
  }
  showFailures(context, evaluation, verbose);
}

function evalPairs(context: Context, evaluation: FullEvaluation, verbose: boolean): [string, unknown][] {
  const id = (text: string | undefined) => shortId(text ?? "", verbose);
  const time = (ns: number | undefined) =>
    verbose ? formatTimeNs(ns ?? 0) : formatAge(ns ?? 0, context.now());
  const pairs: [string, unknown][] = [
    ["ID", id(evaluation.ID)],
    ["Create Time", time(evaluation.CreateTime)],
    ["Modify Time", time(evaluation.ModifyTime)],
    ["Status", evaluation.Status],
    ["Status Description", evaluation.StatusDescription || evaluation.Status],
    ["Type", evaluation.Type],
    ["TriggeredBy", evaluation.TriggeredBy],
  ];
  if (evaluation.NodeID) pairs.push(["Node ID", id(evaluation.NodeID)]);
  if (evaluation.JobID) pairs.push(["Job ID", evaluation.JobID], ["Namespace", evaluation.Namespace]);
  pairs.push(
    ["Priority", evaluation.Priority],
    ["Placement Failures", placementFailureText(evaluation)],
    ["Previous Eval", id(evaluation.PreviousEval)],
    ["Next Eval", id(evaluation.NextEval)],
    ["Blocked Eval", id(evaluation.BlockedEval)],
  );
  if (evaluation.Wait) pairs.push(["Wait", formatDuration(evaluation.Wait)]);
  if (evaluation.WaitUntil && !evaluation.WaitUntil.startsWith("0001-")) {
    pairs.push(["Wait Until", evaluation.WaitUntil]);
  }
  return pairs;
}

function showPlan(context: Context, annotations: PlanAnnotations, verbose: boolean): void {
  const groups = Object.entries(annotations.DesiredTGUpdates ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
  if (groups.length === 0) return;
  const more = [
    "Migrate",
    "Canary",
    "Preemptions",
    "Reschedule Now",
    "Reschedule Later",
    "Disconnect",
    "Reconnect",
  ];
  context.ui.heading("Plan Annotations");
  context.ui.output(formatTable([
    ["Task Group", "Ignore", "Place", "Stop", "InPlace", "Destructive", ...(verbose ? more : [])],
    ...groups.map(([name, updates]) => [
      name,
      updates.Ignore,
      updates.Place,
      updates.Stop,
      updates.InPlaceUpdate,
      updates.DestructiveUpdate,
      ...(verbose
        ? [
          updates.Migrate,
          updates.Canary,
          updates.Preemptions,
          updates.RescheduleNow,
          updates.RescheduleLater,
          updates.Disconnect,
          updates.Reconnect,
        ]
        : []),
    ]),
  ]));
}

function showFailures(context: Context, evaluation: FullEvaluation, verbose: boolean): void {
  const { ui } = context;
  const failed = failedGroups(evaluation.FailedTGAllocs);
  if (failed.length === 0) return;
  ui.heading("Failed Placements");
  for (const [group, metric] of failed) {
    ui.output(
      [`Task Group ${quote(group)} (${failedCountText(metric)}):`, ...explainMetrics(metric, "  ", verbose)]
        .join("\n"),
    );
  }
  if (evaluation.BlockedEval) {
    ui.output(
      `\nEvaluation ${
        quote(shortId(evaluation.BlockedEval, verbose))
      } waiting for additional capacity to place remainder`,
    );
  }
}

export const evalDelete = command({
  form: "nomad eval delete [options] <evaluation>",
  about: `Deletes evaluations, by ID or by a filter. The scheduler has to be paused
before, with \`nomad operator scheduler set-config -pause-eval-broker=true\`.

When ACLs are enabled, this command requires a management token.`,
  general: "noNamespace",
  title: "Eval Delete Options",
  flags: {
    filter: string("Delete all evaluations that this expression is true of."),
    yes: bool("Answer yes to the question whether to delete them."),
  },
  async run(context) {
    const { flags, args, api, ui } = context;
    if (args.length > 1 || (args.length === 1) === (flags.filter !== "")) {
      throw new CommandError(
        args.length === 0
          ? "Error validating command args and flags: evaluation ID or filter flag required"
          : "Error validating command args and flags: evaluation ID and filter flag cannot be used together",
      );
    }
    const { data } = await attempt(
      "Error querying scheduler configuration",
      api.get<{ SchedulerConfig: { PauseEvalBroker: boolean } }>("/v1/operator/scheduler/configuration"),
    );
    if (!data.SchedulerConfig.PauseEvalBroker) {
      ui.error("Eval broker is not paused");
      ui.output(
        'To delete evaluations you must first pause the eval broker by running "nomad operator scheduler set-config -pause-eval-broker=true"',
      );
      ui.output(
        'After the deletion is complete, unpause the eval broker by running "nomad operator scheduler set-config -pause-eval-broker=false"',
      );
      return 1;
    }
    return args.length === 1 ? await deleteOne(context, args[0]!) : await deleteFiltered(context);
  },
});

async function deleteOne(context: Context<{ yes: boolean }>, typed: string): Promise<number> {
  const stub = await resolveEval(context, typed, true);
  const { api, ui, flags } = context;
  if (!flags.yes) {
    const ended = await confirm(
      context,
      "Are you sure you want to delete 1 eval?",
      "Cancelling eval deletion",
    );
    if (ended !== undefined) return ended;
  }
  await attempt("Error deleting evaluation", api.delete("/v1/evaluations", { body: { EvalIDs: [stub.ID] } }));
  ui.output("Successfully deleted 1 evaluation");
  return 0;
}

async function deleteFiltered(context: Context<{ yes: boolean; filter: string }>): Promise<number> {
  const { api, ui, flags } = context;
  const count = await attempt(
    "Error querying evaluations",
    api.get<{ Count: number }>("/v1/evaluations/count", { query: { filter: flags.filter } }),
  );
  if (count.data.Count === 0) {
    ui.output("No evals matched the filter");
    return 0;
  }
  if (!flags.yes) {
    const question = `Are you sure you want to delete ${count.data.Count} evals?`;
    const ended = await confirm(context, question, "Cancelling eval deletion");
    if (ended !== undefined) return ended;
  }
  const { data } = await attempt(
    "Error deleting evaluations",
    api.delete<{ Count: number }>("/v1/evaluations", { body: { Filter: flags.filter } }),
  );
  ui.output(`Successfully deleted ${data.Count} ${data.Count === 1 ? "evaluation" : "evaluations"}`);
  return 0;
}
