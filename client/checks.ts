// One service check: asks by HTTP, TCP or a command inside the task at its interval and remembers the last answer.
// Restarts the task through `restart` when check_restart says so. One timer or one question under way, never both.
import { connect } from "node:net";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Clock, Random } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import type { ServiceCheck } from "../core/types.ts";
import type { ExecSession } from "../drivers/driver.ts";
import { hostPort } from "./env.ts";

/** As `/v1/client/allocation/:id/checks` has it (api 346). */
export interface CheckResult {
  ID: string;
  Mode: "healthiness" | "readiness";
  Status: "pending" | "success" | "failure";
  StatusCode?: number;
  Output: string;
  Timestamp: number;
  Group: string;
  Task?: string;
  Service: string;
  Check: string;
}

export interface CheckOptions {
  id: string;
  check: ServiceCheck;
  service: string;
  /** "" for a service of the group. */
  task: string;
  /** The allocation's name. */
  group: string;
  target: { ip: string; port: number };
  text(value: string): string;
  clock: Clock;
  random: Random;
  exec: ((command: string[]) => Promise<ExecSession>) | null;
  changed(): void;
  restart(): void;
}

interface Answer {
  passes: boolean;
  output: string;
  statusCode?: number;
}

const OUTPUT_MAX_CHARS = 3 * 1024;

const DIAL_ERRORS: Record<string, string> = {
  ECONNREFUSED: "connect: connection refused",
  EHOSTUNREACH: "connect: no route to host",
  ENETUNREACH: "connect: network is unreachable",
  ETIMEDOUT: "i/o timeout",
};

const titleCase = (method: string): string => method[0]! + method.slice(1).toLowerCase();

export class CheckRunner {
  result: CheckResult;
  #cancel: (() => void) | undefined;
  #abort = new AbortController();
  /** Failures in a row, for check_restart. */
  #failures = 0;
  /** Answers in a row that differ from the shown status, for success_before_passing and its sisters. */
  #streak = 0;
  #graceUntilMs: number;

  constructor(private readonly options: CheckOptions) {
    const { check, clock } = options;
    this.result = {
      ID: options.id,
      Mode: check.OnUpdate === "ignore" || check.OnUpdate === "ignore_warnings" ? "readiness" : "healthiness",
      Status: check.InitialStatus === "passing" ? "success" : "pending",
      Output: "nomad: waiting to run",
      Timestamp: Math.floor(clock.nowMs() / 1000),
      Group: options.group,
      ...(options.task === "" ? {} : { Task: options.task }),
      Service: options.service,
      Check: check.Name,
    };
    this.#graceUntilMs = clock.nowMs() + (check.CheckRestart?.Grace ?? 0) / 1e6;
    void this.#ask();
  }

  stop(): void {
    this.#cancel?.();
    this.#abort.abort();
  }

  async #ask(): Promise<void> {
    const answer = await this.#question().catch((error): Answer => ({
      passes: false,
      output: this.#failure(error),
    }));
    if (this.#abort.signal.aborted) return;
    this.#record(answer);
    // A little jitter keeps a thousand checks from asking in step.
    const intervalMs = Math.max(1000, this.options.check.Interval / 1e6);
    const jitterMs = this.options.random.float() * intervalMs * 0.05;
    this.#cancel = this.options.clock.after(intervalMs + jitterMs, () => void this.#ask());
  }

  #record(answer: Answer): void {
    const { check, clock } = this.options;
    const status = this.#settled(answer.passes);
    const changed = status !== this.result.Status;
    this.result = {
      ...this.result,
      Status: status,
      Output: answer.output.slice(0, OUTPUT_MAX_CHARS),
      Timestamp: Math.floor(clock.nowMs() / 1000),
      ...(answer.statusCode === undefined ? {} : { StatusCode: answer.statusCode }),
    };
    this.#failures = answer.passes ? 0 : this.#failures + 1;
    if (changed) this.options.changed();
    const limit = check.CheckRestart?.Limit ?? 0;
    if (limit === 0 || this.#failures < limit || clock.nowMs() < this.#graceUntilMs) return;
    this.#failures = 0;
    this.#graceUntilMs = clock.nowMs() + check.CheckRestart!.Grace / 1e6;
    this.options.restart();
  }

  /** The status to show: some checks must answer several times alike before it changes. */
  #settled(passes: boolean): CheckResult["Status"] {
    const { check } = this.options;
    const next = passes ? "success" : "failure";
    if (next === this.result.Status) {
      this.#streak = 0;
      return next;
    }
    this.#streak++;
    const needed = passes ? check.SuccessBeforePassing : check.FailuresBeforeCritical;
    if (this.#streak <= needed - (passes ? 1 : 0)) return this.result.Status;
    this.#streak = 0;
    return next;
  }

  #question(): Promise<Answer> {
    switch (this.options.check.Type) {
      case "http":
        return this.#http();
      case "tcp":
        return this.#tcp();
      case "script":
        return this.#script();
      default:
        return Promise.reject(
          new Error(
            `check type ${JSON.stringify(this.options.check.Type)} is not supported: use http or tcp`,
          ),
        );
    }
  }

  /** In the reference's words: they are what `alloc checks` shows. */
  #failure(error: NodeJS.ErrnoException): string {
    const { check, target, text } = this.options;
    const address = hostPort(target.ip, target.port);
    const reason = DIAL_ERRORS[error.code ?? ""];
    const dial = reason ? `dial tcp ${address}: ${reason}` : errorText(error);
    if (check.Type !== "http") return dial;
    const url = `${check.Protocol === "https" ? "https" : "http"}://${address}${text(check.Path) || "/"}`;
    return `nomad: ${titleCase(check.Method || "GET")} ${JSON.stringify(url)}: ${dial}`;
  }

  #http(): Promise<Answer> {
    const { check, target, text } = this.options;
    const secure = check.Protocol === "https";
    const send = secure ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = send({
        host: target.ip,
        port: target.port,
        path: text(check.Path) || "/",
        method: check.Method || "GET",
        headers: Object.fromEntries(Object.entries(check.Header ?? {}).map(([k, v]) => [k, v.map(text)])),
        timeout: this.#timeoutMs,
        signal: this.#abort.signal,
        agent: false,
        ...(secure
          ? {
            rejectUnauthorized: !check.TLSSkipVerify,
            ...(check.TLSServerName && { servername: check.TLSServerName }),
          }
          : {}),
      }, (response) => {
        const status = response.statusCode ?? 0;
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          if (body.length < OUTPUT_MAX_CHARS) body += chunk;
        });
        response.on("error", reject);
        response.on("end", () => {
          const passes = status >= 200 && status < 300;
          resolve({ passes, statusCode: status, output: passes ? "nomad: http ok" : body });
        });
      });
      request.on("timeout", () => request.destroy(new Error(`no answer within ${this.#timeoutMs} ms`)));
      request.on("error", reject);
      request.end(check.Body === "" ? undefined : text(check.Body));
    });
  }

  #tcp(): Promise<Answer> {
    const { target } = this.options;
    return new Promise((resolve, reject) => {
      const socket = connect({ host: target.ip, port: target.port });
      socket.setTimeout(this.#timeoutMs, () => socket.destroy(new Error("connection timed out")));
      socket.once("connect", () => {
        socket.destroy();
        resolve({ passes: true, output: "nomad: tcp ok" });
      });
      socket.once("error", reject);
    });
  }

  async #script(): Promise<Answer> {
    const { check, exec, text } = this.options;
    if (!exec) throw new Error("script checks need a task whose driver can execute commands");
    const session = await exec([text(check.Command), ...(check.Args ?? []).map(text)]);
    await session.stdin.close();
    const cancel = this.options.clock.after(this.#timeoutMs, () => void session.kill());
    try {
      const [output, , exitCode] = await Promise.all([
        new Response(session.stdout).text(),
        new Response(session.stderr).text(),
        session.exitCode,
      ]);
      return { passes: exitCode === 0, output };
    } finally {
      cancel();
    }
  }

  get #timeoutMs(): number {
    return Math.max(1000, this.options.check.Timeout / 1e6);
  }
}
