// Follows an evaluation, and the deployment it starts, until both are done: what `job run` and its relatives print
// unless -detach. Exit codes: 0 done, 1 an error or a failed deployment, 2 something could not be placed.
import type { Evaluation } from "../core/types.ts";

import { formatTimeMs, quote, shortId } from "./format.ts";
import { formatDuration } from "../core/duration.ts";
import type { Context } from "./command.ts";
import { RequestError } from "./errors.ts";
import { monitorDeployment } from "./monitor_deployment.ts";
import { explainMetrics, failedCountText, failedGroups } from "./placement.ts";
import type { AllocStub } from "./records.ts";

/** How long one question waits for news before allocations are looked at again. */
const POLL_MS = 1000;

const EXIT_NOT_PLACED = 2;

interface Seen {
  status: string;
  deployment: string;
  allocs: Map<string, string>;
}

/** Monitors the evaluation `evalId` (whole id) and what comes of it. */
export async function monitorEval(context: Context, evalId: string, verbose: boolean): Promise<number> {
  return await new EvalMonitor(context, verbose).follow(evalId);
}

class EvalMonitor {
  readonly #context: Context;
  readonly #verbose: boolean;

  constructor(context: Context, verbose: boolean) {
    this.#context = context;
    this.#verbose = verbose;
  }

  #heading(text: string): void {
    this.#context.ui.info(`==> ${formatTimeMs(this.#context.now())}: ${text}`);
  }

  #say(text: string): void {
    this.#context.ui.output(`    ${formatTimeMs(this.#context.now())}: ${text}`);
  }

  #id(id: string): string {
    return quote(shortId(id, this.#verbose));
  }

  async follow(evalId: string): Promise<number> {
    this.#heading(`Monitoring evaluation ${this.#id(evalId)}`);
    const seen: Seen = { status: "", deployment: "", allocs: new Map() };
    let index = 0;
    for (;;) {
      let evaluation: Evaluation;
      let allocs: AllocStub[];
      try {
        const { api } = this.#context;
        const answer = await api.get<Evaluation>(
          `/v1/evaluation/${evalId}`,
          index > 0 ? { index, waitMs: POLL_MS } : {},
        );
        evaluation = answer.data;
        index = answer.index;
        allocs = (await api.get<AllocStub[]>(`/v1/evaluation/${evalId}/allocations`)).data ?? [];
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        const why = error.status === 404
          ? `No evaluation with id ${quote(evalId)} found`
          : `Error reading evaluation: ${error.message}`;
        this.#context.ui.error(error.hint ? `${why}\n${error.hint}` : why);
        return 1;
      }
      this.#report(seen, evaluation, allocs);
      if (["complete", "failed", "canceled"].includes(evaluation.Status)) {
        return await this.#finish(evaluation);
      }
    }
  }

  /** Says what changed since the last look. */
  #report(seen: Seen, evaluation: Evaluation, allocs: AllocStub[]): void {
    if (seen.status === "") {
      const source = evaluation.NodeID
        ? `by node ${this.#id(evaluation.NodeID)}`
        : evaluation.JobID
        ? `by job ${quote(evaluation.JobID)}`
        : `by ${evaluation.TriggeredBy}`;
      this.#say(`Evaluation triggered ${source}`);
      seen.status = "pending";
    }
    if (evaluation.DeploymentID && !seen.deployment) {
      seen.deployment = evaluation.DeploymentID;
      this.#say(`Evaluation within deployment: ${this.#id(evaluation.DeploymentID)}`);
    }
    for (const alloc of allocs) this.#reportAlloc(seen, evaluation, alloc);
    if (seen.status !== evaluation.Status) {
      this.#say(`Evaluation status changed: ${quote(seen.status)} -> ${quote(evaluation.Status)}`);
      seen.status = evaluation.Status;
    }
  }

  #reportAlloc(seen: Seen, evaluation: Evaluation, alloc: AllocStub): void {
    const before = seen.allocs.get(alloc.ID);
    seen.allocs.set(alloc.ID, alloc.ClientStatus);
    if (before === undefined) {
      const verb = alloc.CreateIndex < evaluation.CreateIndex
        ? "modified"
        : alloc.DesiredStatus === "run"
        ? "created"
        : undefined;
      if (verb) {
        this.#say(
          `Allocation ${this.#id(alloc.ID)} ${verb}: node ${this.#id(alloc.NodeID)}, group ${
            quote(alloc.TaskGroup)
          }`,
        );
      }
    } else if (before !== alloc.ClientStatus) {
      const why = alloc.ClientDescription ? ` (${alloc.ClientDescription})` : "";
      this.#say(
        `Allocation ${this.#id(alloc.ID)} status changed: ${quote(before)} -> ${
          quote(alloc.ClientStatus)
        }${why}`,
      );
    }
  }

  async #finish(evaluation: Evaluation): Promise<number> {
    const failed = failedGroups(evaluation.FailedTGAllocs);
    const done = `Evaluation ${this.#id(evaluation.ID)} finished with status ${quote(evaluation.Status)}`;
    this.#heading(failed.length === 0 ? done : `${done} but failed to place all allocations:`);
    for (const [group, metric] of failed) {
      this.#say(
        [`Task Group ${quote(group)} (${failedCountText(metric)}):`, ...explainMetrics(metric, "      ")]
          .join("\n"),
      );
    }
    if (evaluation.BlockedEval) {
      this.#say(
        `Evaluation ${this.#id(evaluation.BlockedEval)} waiting for additional capacity to place remainder`,
      );
    }
    if (evaluation.NextEval) return await this.#followNext(evaluation);
    if (evaluation.DeploymentID) {
      this.#heading(`Monitoring deployment ${this.#id(evaluation.DeploymentID)}`);
      const deployed = await monitorDeployment(this.#context, evaluation.DeploymentID, {
        verbose: this.#verbose,
        prefix: "    ",
      });
      if (deployed !== 0) return deployed;
    }
    return failed.length > 0 ? EXIT_NOT_PLACED : 0;
  }

  /** An evaluation that was put off: its successor is what matters. */
  async #followNext(evaluation: Evaluation): Promise<number> {
    const waitMs = Math.max(0, (evaluation.Wait ?? 0) / 1e6);
    if (waitMs > 0) {
      this.#heading(
        `Monitoring next evaluation ${this.#id(evaluation.NextEval)} in ${
          formatDuration(Math.round(waitMs) * 1e6)
        }`,
      );
      await this.#context.io.sleep(waitMs);
    }
    return await this.follow(evaluation.NextEval);
  }
}
