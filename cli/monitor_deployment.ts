// Follows a deployment until it is done. On a pipe one block is appended for every change; on a terminal the block is
// redrawn in place under a spinner. A failed deployment that is rolled back is followed into the rollback.
import type { Deployment } from "../core/types.ts";
import type { Context } from "./command.ts";
import { formatDeployment, isDeploymentDone } from "./deployment_text.ts";
import { RequestError } from "./errors.ts";
import { formatTimeMs, quote, shortId } from "./format.ts";

export interface DeploymentMonitorOptions {
  verbose: boolean;
  /** Stands before the first line of each block on a pipe. */
  prefix: string;
  /** Longest wait for news. */
  waitMs?: number;
}

const WAIT_MS = 2000;
const FRAME_MS = 100;
/** How long a rollback may take to begin. */
const ROLLBACK_WAIT_MS = 5000;
const SPINNER = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const ERASE_LINE = "\x1b[0G\x1b[2K";

/** 0 when it succeeded, 1 when it failed, was cancelled or could not be read. */
export async function monitorDeployment(
  context: Context,
  deploymentId: string,
  options: DeploymentMonitorOptions,
): Promise<number> {
  const screen: Screen = context.ui.isTerminal && context.ui.hasColours
    ? new LiveScreen(context, deploymentId, options.verbose)
    : new AppendingScreen(context, options);
  let deployment: Deployment;
  try {
    deployment = await followToEnd(context, deploymentId, screen, options.waitMs ?? WAIT_MS);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    context.ui.error(`Error fetching deployment: ${error.message}${error.hint ? `\n${error.hint}` : ""}`);
    return 1;
  } finally {
    screen.close();
  }
  if (
    deployment.Status === "failed" && Object.values(deployment.TaskGroups).some((group) => group.AutoRevert)
  ) {
    await followRollback(context, deployment, options);
  }
  return deployment.Status === "successful" || deployment.Status === "blocked" ? 0 : 1;
}

async function followToEnd(
  context: Context,
  id: string,
  screen: Screen,
  waitMs: number,
): Promise<Deployment> {
  let index = 0;
  for (;;) {
    const answer = await context.api.get<Deployment>(
      `/v1/deployment/${id}`,
      index > 0 ? { index, waitMs } : {},
    );
    if (answer.index !== index) screen.show(answer.data);
    index = answer.index;
    if (isDeploymentDone(answer.data)) return answer.data;
  }
}

/** The deployment that puts the last stable version back, if one begins. */
async function followRollback(
  context: Context,
  failed: Deployment,
  options: DeploymentMonitorOptions,
): Promise<void> {
  const path = `/v1/job/${encodeURIComponent(failed.JobID)}/deployment`;
  for (let waitedMs = 0; waitedMs <= ROLLBACK_WAIT_MS; waitedMs += 500) {
    const { data } = await context.api.get<Deployment | null>(path, {
      query: { namespace: failed.Namespace },
    });
    if (data && data.ID !== failed.ID) {
      context.ui.output("");
      await monitorDeployment(context, data.ID, options);
      return;
    }
    await context.io.sleep(500);
  }
}

interface Screen {
  show(deployment: Deployment): void;
  close(): void;
}

class AppendingScreen implements Screen {
  readonly #context: Context;
  readonly #options: DeploymentMonitorOptions;

  constructor(context: Context, options: DeploymentMonitorOptions) {
    this.#context = context;
    this.#options = options;
  }

  show(deployment: Deployment): void {
    const { ui } = this.#context;
    const text = formatDeployment(deployment, {
      verbose: this.#options.verbose,
      withJob: true,
      colours: ui.c,
    });
    ui.output(`${this.#options.prefix}\n${formatTimeMs(this.#context.now())}\n${text}`);
  }

  close(): void {}
}

class LiveScreen implements Screen {
  readonly #context: Context;
  readonly #name: string;
  readonly #verbose: boolean;
  #deployment: Deployment | undefined;
  #frame = 0;
  #lines = 0;
  #closed = false;

  constructor(context: Context, id: string, verbose: boolean) {
    this.#context = context;
    this.#name = quote(shortId(id, verbose));
    this.#verbose = verbose;
    void this.#spin();
  }

  async #spin(): Promise<void> {
    while (!this.#closed) {
      this.#draw(`${SPINNER[++this.#frame % SPINNER.length]} Deployment ${this.#name} in progress...`);
      await this.#context.io.sleep(FRAME_MS);
    }
  }

  show(deployment: Deployment): void {
    this.#deployment = deployment;
  }

  close(): void {
    this.#closed = true;
    const status = this.#deployment?.Status;
    if (status) this.#draw(`${status === "successful" ? "✓" : "!"} Deployment ${this.#name} ${status}`);
    void this.#context.ui.write("\n");
  }

  #draw(title: string): void {
    const erase = this.#lines === 0 ? "" : (`${ERASE_LINE}\x1b[1A`).repeat(this.#lines - 1) + ERASE_LINE;
    const body = this.#deployment ? this.#body(this.#deployment) : [];
    const lines = [`  ${title}`, ...body.map((line) => `    ${line}`)];
    this.#lines = lines.length;
    void this.#context.ui.write(
      `${erase}${lines.join("\n")}${body.length > 0 ? this.#context.ui.c.reset : ""}`,
    );
  }

  #body(deployment: Deployment): string[] {
    const { ui } = this.#context;
    const text = formatDeployment(deployment, { verbose: this.#verbose, withJob: true, colours: ui.c });
    return ["", formatTimeMs(this.#context.now()), ...text.split("\n")];
  }
}
