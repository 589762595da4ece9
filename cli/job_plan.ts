// `job plan`: what registering a job would change, without changing it. Exit codes: 0 no allocation is created or
// destroyed, 1 some are, 255 an error.
import type { JobDiff } from "../core/job_diff.ts";
import type { AllocMetric, DesiredUpdates } from "../core/types.ts";
import { bool, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { formatJobDiff } from "./diff.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { formatTimestamp, formatUntil, quote } from "./format.ts";
import { jsonBody, showWarnings } from "./job_run.ts";
import { jobQuery, readJobSource, sourceFlags } from "./job_source.ts";
import { parseExact } from "./json_text.ts";
import { outputData } from "./output.ts";
import { explainMetrics, failedCountText, failedGroups } from "./placement.ts";

interface PlanAnswer {
  Annotations: { DesiredTGUpdates: Record<string, DesiredUpdates> | null } | null;
  Diff: JobDiff | null;
  FailedTGAllocs: Record<string, AllocMetric> | null;
  JobModifyIndex: number;
  NextPeriodicLaunch: string | null;
  CreatedEvals: { TriggeredBy: string; WaitUntil: string | null }[] | null;
  Warnings: string;
}

const EXIT_CHANGES = 1;
const EXIT_ERROR = 255;

export const jobPlan = command({
  form: "nomad job plan [options] <path>",
  about: `Alias: nomad plan

Asks the scheduler what would happen if the job at <path> were registered, and
shows the difference to the job that runs. Nothing is changed. With "-" as path
the job is read from the standard input.

The modify index at the end can be given to \`nomad job run -check-index\`, so that
the job is only registered if nobody else changed it meanwhile.

Exit codes: 0 when no allocation would be created or destroyed, 1 when some
would, 255 on an error.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'plan-job' capability for the job's namespace.`,
  general: "all",
  title: "Plan Options",
  flags: {
    diff: bool("Show the difference to the running job. Defaults to true.", true),
    "json-output": bool("Print the scheduler's answer as JSON."),
    "policy-override": bool("Override soft mandatory Sentinel policies."),
    t: string("Format and display the plan using a Go template."),
    verbose: bool("Show the fields of added and removed parts too."),
    ...sourceFlags,
  },
  async run(context) {
    const { flags } = context;
    if (context.args.length !== 1) throw new UsageErrorWithCode("This command takes one argument: <path>");
    if (flags["json-output"] && flags.t !== "") {
      throw new CommandError("Both -json-output and -t formatting are not allowed", EXIT_ERROR);
    }
    const path = context.args[0]!;
    const { job } = await readJobSource(context, path, flags, EXIT_ERROR);
    const body = {
      Job: job,
      Diff: flags.diff,
      ...(flags["policy-override"] ? { PolicyOverride: true } : {}),
    };
    const answer = await attempt(
      "Error during plan",
      context.api.put<PlanAnswer>(`/v1/job/${encodeURIComponent(job.ID)}/plan`, jsonBody(body), {
        query: jobQuery(job),
      }),
      EXIT_ERROR,
    );
    if (flags["json-output"] || flags.t !== "") {
      const { Index: _, ...plan } = parseExact(answer.text) as Record<string, unknown>;
      await outputData(
        context,
        { json: flags["json-output"], t: flags.t },
        { value: plan },
        "*api.JobPlanResponse",
      );
    } else {
      show(context, answer.data, { ...flags, path, type: job.Type ?? "service" });
    }
    return exitCode(answer.data);
  },
});

class UsageErrorWithCode extends UsageError {
  constructor(message: string) {
    super(message, EXIT_ERROR);
  }
}

function exitCode(plan: PlanAnswer): number {
  if (plan.Diff?.Type === "None") return 0;
  for (const updates of Object.values(plan.Annotations?.DesiredTGUpdates ?? {})) {
    if (updates.Stop + updates.Place + updates.Migrate + updates.DestructiveUpdate + updates.Canary > 0) {
      return EXIT_CHANGES;
    }
  }
  return 0;
}

interface ShowOptions {
  diff: boolean;
  verbose: boolean;
  var: string[];
  "var-file": string[];
  "hcl2-strict": boolean;
  json: boolean;
  path: string;
  type: string;
}

function show(context: Context, plan: PlanAnswer, options: ShowOptions): void {
  const { ui } = context;
  const { c } = ui;
  if (options.diff && plan.Diff) {
    ui.output(`${formatJobDiff(plan.Diff, options.verbose, c).trimEnd()}${c.reset}\n`);
  }
  ui.coloured(`${c.bold}Scheduler dry-run:${c.reset}`);
  ui.coloured(dryRun(context, plan, options.type));
  ui.output("");
  if (plan.Warnings) showWarnings(context, plan.Warnings);
  const command = runCommandLine(plan.JobModifyIndex, options);
  ui.coloured(
    `${c.reset}${c.bold}Job Modify Index: ${plan.JobModifyIndex}${c.reset}\n` +
      `To submit the job with version verification run:\n\n${command}\n\n` +
      "When running the job with the check-index flag, the job will only be run if the\n" +
      "job modify index given matches the server-side version. If the index has\n" +
      "changed, another user has modified the job and the plan's results are\n" +
      "potentially invalid.",
  );
}

function runCommandLine(index: number, options: ShowOptions): string {
  const words = ["nomad job run", `-check-index ${index}`];
  if (options.json) words.push("-json");
  if (!options["hcl2-strict"]) words.push("-hcl2-strict=false");
  for (const assignment of options.var) words.push(`-var=${quote(assignment)}`);
  for (const file of options["var-file"]) words.push(`-var-file=${quote(file)}`);
  return [...words, options.path].join(" ");
}

/** What the scheduler would do, line by line. */
function dryRun(context: Context, plan: PlanAnswer, type: string): string {
  const { c } = context.ui;
  const lines: string[] = [];
  const failed = failedGroups(plan.FailedTGAllocs);
  if (failed.length === 0) {
    lines.push(`${c.bold}${c.green}- All tasks successfully allocated.${c.reset}`);
  } else {
    const what = type === "system" || type === "sysbatch" ? "allocations on all nodes" : "all allocations";
    lines.push(`${c.bold}${c.yellow}- WARNING: Failed to place ${what}.${c.reset}`);
    for (const [group, metric] of failed) {
      lines.push(`  ${c.yellow}Task Group ${quote(group)} (${failedCountText(metric)}):`);
      lines.push(`${c.reset}${c.yellow}${explainMetrics(metric, "    ").join("\n")}${c.reset}`);
    }
  }
  for (const evaluation of plan.CreatedEvals ?? []) {
    if (evaluation.TriggeredBy === "rolling-update") {
      lines.push(`${c.green}- Rolling update, next evaluation follows.${c.reset}`);
    }
  }
  if (plan.NextPeriodicLaunch && !plan.NextPeriodicLaunch.startsWith("0001-01-01")) {
    const at = Date.parse(plan.NextPeriodicLaunch);
    lines.push(
      `${c.green}- If submitted now, next periodic launch would be at ${
        formatTimestamp(plan.NextPeriodicLaunch)
      } (${formatUntil(at, context.now())}).${c.reset}`,
    );
  }
  return lines.join("\n");
}
