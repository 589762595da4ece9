// `job restart`: restarts the tasks of a job, or places its allocations again, in batches.
import { parseDuration } from "../core/duration.ts";
import { bool, list, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, RequestError, UsageError } from "./errors.ts";
import { formatTimeMs, quote, shortId } from "./format.ts";
import { readLine } from "./prompt.ts";
import type { AllocStub } from "./records.ts";
import { newestFirst } from "./records.ts";
import { jobPath, resolveJob } from "./resolve.ts";

/** How long a replacement may take to appear and to run. */
const REPLACEMENT_WAIT_MS = 5 * 60_000;

export const jobRestart = command({
  form: "nomad job restart [options] <job>",
  about: `Restarts the running tasks of a job where they are, a batch at a time; with
-reschedule its allocations are stopped and placed again.

When ACLs are enabled, this command requires a token with the
'alloc-lifecycle' and 'read-job' capabilities for the job's namespace. The
'list-jobs' capability is required to run the command with a job prefix.`,
  general: "all",
  title: "Restart Options",
  args: { min: 1, max: 1, complaint: "This command takes one argument: <job>" },
  flags: {
    "all-tasks": bool("Start tasks again that are done too."),
    "batch-size": string(
      "How many allocations at once: a number or a percentage. Defaults to 1.",
      "n|n%",
      "1",
    ),
    "batch-wait": string('Time between two batches, or "ask". Defaults to 0s.', "duration|ask", "0s"),
    group: list("Only allocations of this group. May be given several times.", "group"),
    "no-shutdown-delay": bool("With -reschedule: ignore the shutdown_delay of groups and tasks."),
    "on-error": string('What to do after an error: "ask" or "fail". Defaults to ask.', "ask|fail", "ask"),
    reschedule: bool("Stop the allocations and let them be placed again."),
    task: list("Only this task. May be given several times.", "task"),
    verbose: bool("Display full information."),
    yes: bool("Answer yes to all questions."),
  },
  async run(context) {
    const { flags } = context;
    const plan = readPlan(context);
    const match = await resolveJob(context, context.args[0]!);
    const { data } = await attempt(
      `Error retrieving allocations for job ${quote(match.id)}`,
      context.api.get<AllocStub[] | null>(jobPath(match.id, "/allocations"), {
        query: { namespace: match.namespace },
      }),
    );
    const allocs = newestFirst(data ?? []).filter((alloc) =>
      (alloc.ClientStatus === "running" || (alloc.DesiredStatus === "run" && flags["all-tasks"])) &&
      (flags.group.length === 0 || flags.group.includes(alloc.TaskGroup)) &&
      (flags.task.length === 0 || flags.task.some((task) => alloc.TaskStates?.[task] !== undefined))
    );
    if (allocs.length === 0) {
      context.ui.output("No allocations to restart");
      return 0;
    }
    return await new Restart(context, plan, match.id, match.namespace).run(allocs);
  },
});

interface RestartFlags {
  "all-tasks": boolean;
  "batch-size": string;
  "batch-wait": string;
  group: string[];
  "no-shutdown-delay": boolean;
  "on-error": string;
  reschedule: boolean;
  task: string[];
  verbose: boolean;
  yes: boolean;
}

interface Plan {
  size: number;
  isPercent: boolean;
  /** Between batches; "ask" to be told. */
  waitMs: number | "ask";
  asksOnError: boolean;
}

function readPlan(context: Context<RestartFlags>): Plan {
  const { flags, io } = context;
  const size = /^(\d+)(%?)$/.exec(flags["batch-size"]);
  if (!size || Number(size[1]) === 0) {
    throw new UsageError(
      `Invalid -batch-size value ${
        quote(flags["batch-size"])
      }: batch size must be an integer or a percentage`,
    );
  }
  if (flags["on-error"] !== "ask" && flags["on-error"] !== "fail") {
    throw new UsageError(
      `Invalid -on-error value ${quote(flags["on-error"])}: valid options are "ask" and "fail"`,
    );
  }
  if (flags["all-tasks"] && flags.task.length > 0) {
    throw new UsageError("The -all-tasks option cannot be used with -task");
  }
  if (flags.reschedule && flags.task.length > 0) {
    throw new UsageError("The -reschedule option cannot be used with -task");
  }
  if (flags["no-shutdown-delay"] && !flags.reschedule) {
    throw new UsageError("The -no-shutdown-delay option can only be used with -reschedule");
  }
  const cannotAsk = !io.stdin.isTty && !flags.yes;
  for (const name of ["batch-wait", "on-error"] as const) {
    if (flags[name] === "ask" && cannotAsk) {
      throw new UsageError(
        `Invalid -${name} value "ask": "ask" cannot be used when terminal is not interactive`,
      );
    }
  }
  return {
    size: Number(size[1]),
    isPercent: size[2] === "%",
    waitMs: readWait(flags["batch-wait"]),
    asksOnError: flags["on-error"] === "ask" && !flags.yes,
  };
}

function readWait(text: string): number | "ask" {
  if (text === "ask") return "ask";
  try {
    return parseDuration(text) / 1e6;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new UsageError(`Invalid -batch-wait value ${quote(text)}: time: invalid duration ${quote(text)}`);
  }
}

class Restart {
  readonly #context: Context<RestartFlags>;
  readonly #plan: Plan;
  readonly #jobId: string;
  readonly #namespace: string;
  #failures: string[] = [];

  constructor(context: Context<RestartFlags>, plan: Plan, jobId: string, namespace: string) {
    this.#context = context;
    this.#plan = plan;
    this.#jobId = jobId;
    this.#namespace = namespace;
  }

  #heading(text: string): void {
    this.#context.ui.info(`==> ${formatTimeMs(this.#context.now())}: ${text}`);
  }

  #say(text: string): void {
    this.#context.ui.output(`    ${formatTimeMs(this.#context.now())}: ${text}`);
  }

  #id(id: string): string {
    return quote(shortId(id, this.#context.flags.verbose));
  }

  async run(allocs: AllocStub[]): Promise<number> {
    const { ui } = this.#context;
    const size = this.#plan.isPercent
      ? Math.max(1, Math.floor(allocs.length * this.#plan.size / 100))
      : this.#plan.size;
    this.#heading(`Restarting ${allocs.length} ${plural(allocs.length)}`);
    for (let start = 0, batch = 1; start < allocs.length; start += size, batch++) {
      if (start > 0 && !await this.#pause()) return 1;
      const members = allocs.slice(start, start + size);
      if (size > 1) {
        this.#heading(`Restarting ${ordinal(batch)} batch of ${members.length} ${plural(members.length)}`);
      }
      await this.#runBatch(members);
      if (this.#failures.length > 0 && !await this.#goesOnAfterError(start + size < allocs.length)) break;
    }
    if (this.#failures.length === 0) {
      this.#heading("Job restart finished");
      ui.output("\nJob restarted successfully!");
      return 0;
    }
    this.#heading("Job restart finished with errors");
    const count = this.#failures.length;
    ui.error(
      `\n${count} ${count === 1 ? "error" : "errors"} occurred while restarting job:\n` +
        this.#failures.map((text) => `* ${text}`).join("\n"),
    );
    return 1;
  }

  async #pause(): Promise<boolean> {
    const { waitMs } = this.#plan;
    if (waitMs === "ask") return this.#context.flags.yes || await this.#ask("Proceed with the next batch?");
    if (waitMs > 0) {
      this.#heading(`Waiting ${this.#context.flags["batch-wait"]} before restarting the next batch`);
      await this.#context.io.sleep(waitMs);
    }
    return true;
  }

  async #goesOnAfterError(isMore: boolean): Promise<boolean> {
    if (!isMore || !this.#plan.asksOnError) return false;
    return await this.#ask(`${this.#failures.at(-1)}\nGo on with the remaining allocations?`);
  }

  async #ask(question: string): Promise<boolean> {
    await this.#context.ui.write(`${question} [y/N] `);
    return (await readLine(this.#context))?.trim().toLowerCase() === "y";
  }

  async #runBatch(allocs: AllocStub[]): Promise<void> {
    await Promise.all(allocs.map(async (alloc) => {
      try {
        if (this.#context.flags.reschedule) await this.#reschedule(alloc);
        else await this.#restart(alloc);
      } catch (error) {
        if (!(error instanceof RequestError) && !(error instanceof CommandError)) throw error;
        this.#failures.push(`Error restarting allocation ${this.#id(alloc.ID)}: ${error.message}`);
      }
    }));
  }

  async #restart(alloc: AllocStub): Promise<void> {
    const { flags, api } = this.#context;
    const path = `/v1/client/allocation/${alloc.ID}/restart`;
    const query = { namespace: this.#namespace };
    const where = `allocation ${this.#id(alloc.ID)} for group ${quote(alloc.TaskGroup)}`;
    if (flags.task.length === 0) {
      this.#say(`Restarting ${flags["all-tasks"] ? "all" : "running"} tasks in ${where}`);
      await api.put(path, { TaskName: "", AllTasks: flags["all-tasks"] }, { query });
      return;
    }
    for (const task of flags.task.filter((name) => alloc.TaskStates?.[name] !== undefined)) {
      this.#say(`Restarting task ${quote(task)} in ${where}`);
      await api.put(path, { TaskName: task, AllTasks: false }, { query });
    }
  }

  /** Stops the allocation and waits until another one runs in its place. */
  async #reschedule(alloc: AllocStub): Promise<void> {
    const { flags, api, io } = this.#context;
    this.#say(`Rescheduling allocation ${this.#id(alloc.ID)} for group ${quote(alloc.TaskGroup)}`);
    await api.put(`/v1/allocation/${alloc.ID}/stop`, undefined, {
      query: {
        namespace: this.#namespace,
        reschedule: true,
        no_shutdown_delay: flags["no-shutdown-delay"] || undefined,
      },
    });
    const deadline = this.#context.now() + REPLACEMENT_WAIT_MS;
    let current = alloc.ID;
    while (this.#context.now() < deadline) {
      const { data } = await api.get<AllocStub>(`/v1/allocation/${current}`, {
        query: { namespace: this.#namespace },
      });
      if (data.NextAllocation) {
        this.#say(
          `Allocation ${this.#id(current)} replaced by ${this.#id(data.NextAllocation)}, waiting for ${
            this.#id(data.NextAllocation)
          } to start running`,
        );
        current = data.NextAllocation;
      } else if (current !== alloc.ID && data.ClientStatus === "running") {
        this.#say(`Allocation ${this.#id(current)} is "running"`);
        return;
      } else if (current !== alloc.ID && data.ClientStatus !== "pending") {
        throw new CommandError(
          `replacement ${this.#id(current)} of job ${quote(this.#jobId)} is ${quote(data.ClientStatus)}`,
        );
      } else {
        await io.sleep(200);
      }
    }
    throw new CommandError("no replacement ran within 5 minutes; see `nomad job status`");
  }
}

function plural(count: number): string {
  return count === 1 ? "allocation" : "allocations";
}

function ordinal(n: number): string {
  const tens = n % 100;
  const suffix = tens >= 11 && tens <= 13 ? "th" : (["th", "st", "nd", "rd"][n % 10] ?? "th");
  return `${n}${suffix}`;
}
