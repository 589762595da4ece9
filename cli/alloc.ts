// What acts on one allocation: `alloc checks`, `pause`, `restart`, `signal` and `stop`.
import { bool, string } from "./args.ts";
import { command } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { taskNames } from "./alloc_fs.ts";
import { type CheckStatus, queryChecks } from "./alloc_status.ts";
import { formatTimeMs } from "./format.ts";
import { monitorEval } from "./monitor_eval.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import type { FullAllocation } from "./records.ts";
import { resolveAlloc, resolveAllocStub } from "./resolve.ts";
import { formatKeyValues } from "./table.ts";

const verbose = bool("Show full information.");
const ACL_LIFECYCLE = `When ACLs are enabled, this command requires a token with the
'alloc-lifecycle', 'read-job', and 'list-jobs' capabilities for the
allocation's namespace.`;

export const allocChecks = command({
  form: "nomad alloc checks [options] <allocation>",
  about: `Shows the newest results of the health checks of an allocation's services.

When ACLs are enabled, this command requires a token with the 'read-job'
capability for the allocation's namespace.`,
  general: "all",
  title: "Checks Specific Options",
  flags: { ...dataFlags("check results"), verbose },
  async run(context) {
    const { flags, args, api, ui } = context;
    if (args.length !== 1) throw new UsageError("An allocation ID is required");
    const stub = await resolveAllocStub(context, args[0]!, flags.verbose);
    const query = { namespace: stub.Namespace || undefined };
    if (wantsData(flags)) {
      const read = api.get<unknown>(`/v1/client/allocation/${stub.ID}/checks`, { query });
      return await outputData(context, flags, await attempt("Error querying allocation checks", read));
    }
    const checks = await attempt("Error querying allocation checks", queryChecks(context, stub));
    ui.output(`Status of ${checks.length} Nomad Service Checks\n`);
    for (const check of checks) ui.output(`${formatCheck(check)}\n`);
    return 0;
  },
});

function formatCheck(check: CheckStatus): string {
  const pairs: [string, unknown][] = [
    ["ID", check.ID],
    ["Name", check.Check],
    ["Group", check.Group],
    ["Task", check.Task || "(group)"],
    ["Service", check.Service],
    ["Status", check.Status],
  ];
  if (check.StatusCode) pairs.push(["StatusCode", check.StatusCode]);
  pairs.push(["Mode", check.Mode]);
  if (check.Timestamp > 0) pairs.push(["Timestamp", formatTimeMs(check.Timestamp * 1000)]);
  pairs.push(["Output", check.Output]);
  return formatKeyValues(pairs.map(([key, value]) => [`${key} `, ` ${value}`]));
}

/** The task that an argument or a flag names, which the allocation has to have; "" for none. */
function knownTask(alloc: FullAllocation, named: string): string {
  if (named === "") return "";
  const names = taskNames(alloc);
  if (!names.includes(named)) {
    throw new CommandError(`Could not find task named: ${named}, found:\n${names.join("\n")}`);
  }
  return named;
}

export const allocRestart = command({
  form: "nomad alloc restart [options] <allocation> <task>",
  about: `Restarts the running tasks of an allocation, or one task of it, on the node where
they are.

${ACL_LIFECYCLE}`,
  general: "all",
  title: "Restart Specific Options",
  args: { min: 1, max: 2, complaint: "This command takes one or two arguments: <alloc-id> <task-name>" },
  flags: {
    "all-tasks": bool("Start tasks again that are done too."),
    task: string("The task, as a flag instead of an argument."),
    verbose,
  },
  async run(context) {
    const { flags, args, api } = context;
    const named = flags.task || (args[1] ?? "");
    if (flags["all-tasks"] && named !== "") {
      throw new CommandError("The -all-tasks option is not allowed when restarting a specific task.");
    }
    const alloc = await resolveAlloc(context, args[0]!, flags.verbose);
    const task = knownTask(alloc, named);
    await attempt(
      `Failed to restart ${task === "" ? "allocation" : "task"}:\n\n`,
      api.put(`/v1/client/allocation/${alloc.ID}/restart`, { TaskName: task, AllTasks: flags["all-tasks"] }, {
        query: { namespace: alloc.Namespace },
      }),
    );
    return 0;
  },
});

export const allocSignal = command({
  form: "nomad alloc signal [options] <allocation> <task>",
  about: `Sends a signal to the tasks of an allocation, or to one task of it.

${ACL_LIFECYCLE}`,
  general: "all",
  title: "Signal Specific Options",
  args: { min: 1, max: 2, complaint: "This command takes up to two arguments: <alloc-id> <task>" },
  flags: {
    s: string("The signal. Defaults to SIGKILL.", "signal", "SIGKILL"),
    task: string("The task, as a flag instead of an argument."),
    verbose,
  },
  async run(context) {
    const { flags, args, api } = context;
    const alloc = await resolveAlloc(context, args[0]!, flags.verbose);
    const task = knownTask(alloc, flags.task || (args[1] ?? ""));
    await attempt(
      "Error signalling allocation",
      api.put(`/v1/client/allocation/${alloc.ID}/signal`, { Signal: flags.s, Task: task }, {
        query: { namespace: alloc.Namespace },
      }),
    );
    return 0;
  },
});

export const allocPause = command({
  form: "nomad alloc pause [options] <allocation> <task>",
  about: `Pauses a task with a schedule, lets it run, or hands it back to its schedule.

When ACLs are enabled, this command requires a token with the 'submit-job' or
the 'pause-allocation' capability for the allocation's namespace.`,
  general: "all",
  title: "Pause Specific Options",
  args: { min: 1, max: 2, complaint: "This command takes up to two arguments: <alloc-id> <task>" },
  flags: {
    state: string("pause, run or scheduled. Defaults to pause.", "state", "pause"),
    status: bool("Show the state instead of setting it."),
    task: string("The task, as a flag instead of an argument."),
    verbose,
  },
  async run(context) {
    const { flags, args, api, ui } = context;
    if (!["pause", "run", "scheduled"].includes(flags.state)) {
      throw new CommandError(
        `Invalid -state ${JSON.stringify(flags.state)}: it must be pause, run or scheduled`,
      );
    }
    const alloc = await resolveAlloc(context, args[0]!, flags.verbose);
    const names = taskNames(alloc);
    const task = knownTask(alloc, flags.task || (args[1] ?? "")) || (names.length === 1 ? names[0]! : "");
    if (task === "") throw new UsageError(`A task is required; the allocation has ${names.join(", ")}`);
    const path = `/v1/client/allocation/${alloc.ID}/pause`;
    const query = { namespace: alloc.Namespace };
    if (flags.status) {
      const { data } = await attempt(
        "Error getting task pause state",
        api.get<unknown>(path, { query: { ...query, task } }),
      );
      ui.output(String(data));
      return 0;
    }
    await attempt(
      "Error setting pause state",
      api.put(path, { Task: task, ScheduleState: flags.state }, { query }),
    );
    return 0;
  },
});

export const allocStop = command({
  form: "nomad alloc stop [options] <allocation>",
  about: `Stops an allocation and lets the scheduler place it again, perhaps elsewhere.

${ACL_LIFECYCLE}`,
  general: "all",
  title: "Stop Specific Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <alloc-id>" },
  flags: {
    detach: bool("Return at once and print the ID of the evaluation instead of following it."),
    "no-shutdown-delay": bool("Ignore the shutdown_delay of group and tasks, so that all stops at once."),
    verbose,
  },
  async run(context) {
    const { flags, args, api, ui } = context;
    const alloc = await resolveAlloc(context, args[0]!, flags.verbose);
    const { data } = await attempt(
      "Error stopping allocation",
      api.put<{ EvalID: string }>(`/v1/allocation/${alloc.ID}/stop`, undefined, {
        query: { namespace: alloc.Namespace, no_shutdown_delay: flags["no-shutdown-delay"] || undefined },
      }),
    );
    if (flags.detach) {
      ui.output(data.EvalID);
      return 0;
    }
    return await monitorEval(context, data.EvalID, flags.verbose);
  },
});
