// `alloc exec` and `job action`: a command inside a task, with this terminal at its ends. Frames are those of the exec
// WebSocket: stdin, stdout and stderr in base64, sizes of the terminal, the exit code at the end.
import type { default as WebSocket } from "ws";
import { bool, type Flag, string } from "./args.ts";
import { onlyTask, pickAlloc, taskNames } from "./alloc_fs.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import type { FullAllocation } from "./records.ts";
import { allocOfJob, readAlloc, resolveAlloc, resolveJob } from "./resolve.ts";

const terminalFlags = {
  e: string('Escape character of terminal sessions, "none" for no escapes. Defaults to ~.', "character", "~"),
  i: bool("Pass the standard input on. Defaults to true.", true),
};

/** On a terminal -t is on unless it is given. */
const tty: Flag<boolean | undefined> = {
  kind: "bool",
  fallback: undefined,
  help: "Give the command a terminal. Defaults to true when the standard input is one.",
  hint: "",
};

export const allocExec = command({
  form: "nomad alloc exec [options] <allocation> <command>",
  about: `Alias: nomad exec

Runs a command in the environment of a running task, and exits with its exit
code. In a terminal session ~. at the beginning of a line ends it.

When ACLs are enabled, this command requires a token with the 'alloc-exec',
'read-job', and 'list-jobs' capabilities for the allocation's namespace; for
drivers without isolation also 'alloc-node-exec'.`,
  general: "all",
  title: "Exec Specific Options",
  argsMax: 2,
  flags: {
    ...terminalFlags,
    group: string("With -job: pick an allocation of this group."),
    job: bool("The first argument is a job: pick one of its allocations, a running one if there is one."),
    t: tty,
    task: string("The task; may be left out when there is only one."),
  },
  async run(context) {
    const { flags, args } = context;
    if (args.length === 0) {
      throw new UsageError(flags.job ? "A job ID is required" : "An allocation ID is required");
    }
    if (args.length === 1) throw new UsageError("A command is required");
    const alloc = await pickAlloc(context, args[0]!, { ...flags, verbose: false }, flags.task);
    const task = knownTask(alloc, flags.task);
    const path = `/v1/client/allocation/${alloc.ID}/exec`;
    return await runSession(context, path, {
      task,
      command: JSON.stringify(args.slice(1)),
      namespace: alloc.Namespace,
    });
  },
});

export const jobAction = command({
  form: "nomad job action [options] <action>",
  about: `Alias: nomad action

Runs an action that a task of a job defines, in a running allocation, and exits
with its exit code.

When ACLs are enabled, this command requires a token with the 'alloc-exec',
'read-job', and 'list-jobs' capabilities for the job's namespace.`,
  general: "noNamespace",
  title: "Action Specific Options",
  args: { min: 1, max: 1, complaint: "An action name is required" },
  flags: {
    alloc: string("The allocation to run it in.", "id"),
    ...terminalFlags,
    group: string("Run it in an allocation of this group.", "name"),
    job: string("The job whose action it is. Needed.", "id"),
    t: tty,
    task: string("The task whose action it is. Needed.", "name"),
  },
  async run(context) {
    const { flags, args } = context;
    if (flags.job === "") throw new UsageError("A job ID is required");
    if (flags.alloc === "" && flags.group === "") {
      throw new UsageError("A group name is required if no allocation is provided");
    }
    if (flags.task === "") throw new UsageError("A task name is required");
    const match = await resolveJob(context, flags.job);
    const alloc = flags.alloc !== "" ? await resolveAlloc(context, flags.alloc, false) : (await attempt(
      "Error querying allocation",
      readAlloc(context.api, await allocOfJob(context, match.id, flags.group, flags.task)),
    )).data;
    const path = `/v1/job/${encodeURIComponent(match.id)}/action`;
    return await runSession(context, path, {
      action: args[0]!,
      task: flags.task,
      allocID: alloc.ID,
      namespace: match.namespace,
    });
  },
});

function knownTask(alloc: FullAllocation, named: string): string {
  if (named === "") return onlyTask(alloc, "");
  const names = taskNames(alloc);
  if (names.includes(named)) return named;
  throw new CommandError(`Could not find task named: ${named}, found:\n${names.join("\n")}`);
}

interface SessionFlags {
  e: string;
  i: boolean;
  t: boolean | undefined;
}

async function runSession(
  context: Context<SessionFlags>,
  path: string,
  query: Record<string, string>,
): Promise<number> {
  const { flags, io } = context;
  if (flags.e !== "none" && [...flags.e].length !== 1) {
    throw new UsageError("-e requires 'none' or a single character");
  }
  const withTty = flags.t ?? (flags.i && io.stdin.isTty && io.stdout.isTty);
  const socket = await openSocket(context, path, { ...query, tty: String(withTty), ws_handshake: "true" });
  return await new Session(context, socket, withTty).run();
}

async function openSocket(context: Context, path: string, query: Record<string, string>): Promise<WebSocket> {
  const { default: WebSocket } = await import("ws");
  const { api } = context;
  const url = api.url(path, { query });
  const target = api.socketPath
    ? `ws+unix://${api.socketPath}:${url.pathname}${url.search}`
    : url.href.replace(/^http/, "ws");
  const socket = new WebSocket(target, { headers: api.headers(), ...await api.tls() });
  await new Promise<void>((resolve, reject) => {
    socket.once("open", () => resolve());
    socket.once(
      "error",
      (error: Error) => reject(new CommandError(`failed to exec into task: ${error.message}`)),
    );
    socket.once("unexpected-response", (_request, response) => {
      let body = "";
      response.on("data", (chunk: Uint8Array) => body += Buffer.from(chunk).toString("utf8"));
      response.on("end", () =>
        reject(
          new CommandError(
            `failed to exec into task: Unexpected response code: ${response.statusCode} (${body.trim()})`,
          ),
        ));
    });
  });
  return socket;
}

interface Frame {
  stdout?: { data?: string; close?: boolean };
  stderr?: { data?: string; close?: boolean };
  /** Bytes of our frames that have left the agent towards the task; only agents of this project count. */
  input_taken?: number;
  exited?: boolean;
  result?: { exit_code?: number };
}

/** Input goes out in frames of this size, however it was read. */
const INPUT_FRAME_BYTES = 48 * 1024;
/** How far input may run ahead of the task, where the agent counts. */
const INPUT_AHEAD_MAX_BYTES = 1024 * 1024;

class Session {
  readonly #context: Context<SessionFlags>;
  readonly #socket: WebSocket;
  readonly #tty: boolean;
  #ended = false;
  /** Bytes of frames since the handshake. */
  #sentBytes = 0;
  /** Of those, what the task has taken; Infinity where nobody counts. */
  #takenBytes = Infinity;
  #wake: (() => void) | undefined;

  constructor(context: Context<SessionFlags>, socket: WebSocket, tty: boolean) {
    this.#context = context;
    this.#socket = socket;
    this.#tty = tty;
  }

  #send(frame: object): void {
    if (this.#ended || this.#socket.readyState !== 1) return;
    const text = JSON.stringify(frame);
    // As the agent counts: a frame is a line, all of it ASCII.
    this.#sentBytes += text.length + 1;
    this.#socket.send(text);
  }

  #onTaken(bytes: number): void {
    this.#takenBytes = bytes;
    this.#wake?.();
  }

  async #sendInput(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += INPUT_FRAME_BYTES) {
      while (this.#sentBytes - this.#takenBytes > INPUT_AHEAD_MAX_BYTES && !this.#ended) {
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
      const part = data.subarray(at, at + INPUT_FRAME_BYTES);
      this.#send({ stdin: { data: Buffer.from(part).toString("base64") } });
    }
  }

  async run(): Promise<number> {
    const { io } = this.#context;
    const token = this.#context.api.headers()["X-Nomad-Token"] ?? "";
    this.#send({ version: 1, auth_token: token, input_count: true });
    this.#sentBytes = 0;
    const releases: (() => void)[] = [];
    if (this.#tty) {
      this.#sendSize();
      releases.push(io.onResize(() => this.#sendSize()));
      if (io.stdin.isTty) {
        io.stdin.setRawMode(true);
        releases.push(() => io.stdin.setRawMode(false));
      }
    }
    try {
      const ended = this.#untilEnd();
      void this.#pumpInput();
      return await ended;
    } finally {
      this.#ended = true;
      this.#wake?.();
      for (const release of releases) release();
      this.#socket.close();
    }
  }

  #sendSize(): void {
    const { columns, rows } = this.#context.io.terminalSize();
    this.#send({ tty_size: { width: columns, height: rows } });
  }

  #untilEnd(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#socket.on("message", (data) => {
        const frame = JSON.parse(String(data)) as Frame;
        if (frame.stdout?.data) {
          void this.#context.ui.write(Buffer.from(frame.stdout.data, "base64"), "stdout");
        }
        if (frame.stderr?.data) {
          void this.#context.ui.write(Buffer.from(frame.stderr.data, "base64"), "stderr");
        }
        if (frame.input_taken !== undefined) this.#onTaken(frame.input_taken);
        if (frame.exited) resolve(frame.result?.exit_code ?? 0);
      });
      this.#socket.on("close", (_code, reason) => {
        const why = String(reason) || "the connection was closed; look at the agent's log and try again";
        reject(new CommandError(`failed to exec into task: ${why}`));
      });
      this.#socket.on(
        "error",
        (error: Error) => reject(new CommandError(`failed to exec into task: ${error.message}`)),
      );
    });
  }

  async #pumpInput(): Promise<void> {
    const { flags, io } = this.#context;
    if (flags.i) {
      const escape = this.#tty && flags.e !== "none" ? new EscapeFilter(flags.e) : undefined;
      for await (const chunk of io.stdin.read()) {
        if (this.#ended) return;
        const { data, quits } = escape ? escape.filter(chunk) : { data: chunk, quits: false };
        await this.#sendInput(data);
        if (quits) {
          this.#socket.close(1000, "session ended by its escape sequence");
          return;
        }
      }
    }
    this.#send({ stdin: { close: true } });
  }
}

/** Finds "~." at the beginning of a line; "~~" there is one "~". */
class EscapeFilter {
  readonly #escape: number;
  #atLineStart = true;
  #pending = false;

  constructor(character: string) {
    this.#escape = character.charCodeAt(0);
  }

  filter(chunk: Uint8Array): { data: Uint8Array; quits: boolean } {
    const out: number[] = [];
    for (const byte of chunk) {
      if (this.#pending) {
        this.#pending = false;
        if (byte === 46) return { data: Uint8Array.from(out), quits: true };
        out.push(this.#escape);
        if (byte === this.#escape) continue;
      } else if (this.#atLineStart && byte === this.#escape) {
        this.#pending = true;
        continue;
      }
      out.push(byte);
      this.#atLineStart = byte === 10 || byte === 13;
    }
    return { data: Uint8Array.from(out), quits: false };
  }
}
