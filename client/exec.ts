// `alloc exec` on the device: a command inside a running task, with JSON lines in both directions over one HTTP
// exchange (POST, both bodies stream). In: {stdin:{data|close}}, {tty_size:{width,height}}; out: {stdout:{data|close}},
// {stderr:{…}}, last {exited:true, result:{exit_code}}; data is base64 (api 361-363). Whoever speaks WebSocket to the
// user maps a frame to a line (agent/exec_socket.ts). The command ends when either side of the exchange breaks off.
import { Buffer } from "node:buffer";
import { ApiError, DriverError, errorText } from "../core/errors.ts";
import { NDJSON, readLines } from "../core/ndjson.ts";
import type { ExecSession } from "../drivers/driver.ts";
import type { AllocationRunner } from "./allocation.ts";

/** One line from the user's side; anything else in it (heartbeat) is passed over. */
interface InputFrame {
  stdin?: { data?: string; close?: boolean };
  tty_size?: { width: number; height: number };
}

/** Answers the POST. Throws ApiError whose text is the reason for the user. */
export async function execInTask(runner: AllocationRunner, request: Request): Promise<Response> {
  const query = new URL(request.url).searchParams;
  const tty = isTrue(query.get("tty"));
  const session = new RunningExec(await begin(runner, query, tty), tty);
  request.signal.addEventListener("abort", () => session.end(new Error("the user went away")), {
    once: true,
  });
  // The user may have gone while the command was being started.
  if (request.signal.aborted) session.end(new Error("the user went away"));
  void session.feed(request.body);
  return new Response(session.output(), { headers: { "Content-Type": NDJSON } });
}

/** As the API reads flags. */
function isTrue(text: string | null): boolean {
  return /^(1|t|T|TRUE|true|True)$/.test(text ?? "");
}

async function begin(runner: AllocationRunner, query: URLSearchParams, tty: boolean): Promise<ExecSession> {
  const task = runner.tasks.get(query.get("task") ?? "");
  // 500 although the caller erred: the reference's close code says so (api 364).
  if (!task) throw new ApiError(500, "task not found");
  const command = parseCommand(query.get("command") ?? "");
  if (!task.isRunning || !task.handle) {
    throw new ApiError(400, `task ${JSON.stringify(task.name)} is not running.`);
  }
  if (!task.driver?.capabilities.exec) {
    throw new ApiError(500, `driver ${JSON.stringify(task.task.Driver)} cannot execute commands in a task`);
  }
  try {
    return await task.driver.exec(task.handle, { command, tty, env: {} });
  } catch (error) {
    const hint = error instanceof DriverError && error.hint !== "" ? `: ${error.hint}` : "";
    throw new ApiError(500, `rpc error: code = Unknown desc = ${errorText(error)}${hint}`);
  }
}

function parseCommand(text: string): string[] {
  let command: unknown;
  try {
    command = JSON.parse(text);
  } catch (error) {
    throw new ApiError(400, `failed to parse command: ${errorText(error)}`);
  }
  if (!Array.isArray(command) || command.length === 0 || command.some((part) => typeof part !== "string")) {
    throw new ApiError(400, "failed to parse command: expected a JSON list of words, the program first");
  }
  return command;
}

class RunningExec {
  readonly #encoder = new TextEncoder();
  readonly #writer: WritableStreamDefaultWriter<object>;
  readonly #readable: ReadableStream<Uint8Array>;
  readonly #readers: ReadableStreamDefaultReader<Uint8Array>[] = [];
  readonly #exitCode: Promise<number>;
  #ended = false;

  constructor(private readonly session: ExecSession, private readonly tty: boolean) {
    this.#exitCode = session.exitCode;
    // Awaited after the output only: until then a failure must not count as nobody's.
    this.#exitCode.catch((toldLater) => void toldLater);
    // Its writable side takes one frame at a time: a slow reader holds the command up, not memory.
    const { readable, writable } = new TransformStream<object, Uint8Array>({
      transform: (frame, controller) =>
        controller.enqueue(this.#encoder.encode(`${JSON.stringify(frame)}\n`)),
    });
    this.#readable = readable;
    this.#writer = writable.getWriter();
    // Also when the command is silent, so that no write would notice that the reader went away.
    this.#writer.closed.catch((error) => this.end(error));
  }

  /** Carries the user's lines to the command; the end of them ends its input. */
  async feed(body: ReadableStream<Uint8Array> | null): Promise<void> {
    const stdin = this.session.stdin.getWriter();
    let open = true;
    try {
      for await (const line of body ? readLines(body.getReader()) : []) {
        const { stdin: input, tty_size: size } = JSON.parse(line) as InputFrame;
        // Without a terminal there is nothing that has a size.
        if (size && this.tty) await this.session.resize(size.width, size.height);
        if (input?.data && open) await stdin.write(new Uint8Array(Buffer.from(input.data, "base64")));
        if (input?.close && open) {
          open = false;
          await stdin.close();
        }
      }
      if (open && body) await stdin.close();
    } catch (error) {
      this.end(error);
    }
  }

  /** The command's output as lines; cancelling it kills the command. */
  output(): ReadableStream<Uint8Array> {
    this.#run().catch((error) => this.end(error));
    return this.#readable;
  }

  /** Kills the command unless it has ended by itself, and tells the reader why. */
  end(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const ignore = (alreadyEnded: unknown) => void alreadyEnded;
    this.session.kill().catch(ignore);
    // What a child in the background holds open is not waited for.
    for (const reader of this.#readers) reader.cancel().catch(ignore);
    this.#writer.abort(error).catch(ignore);
  }

  async #run(): Promise<void> {
    await Promise.all([this.#pump("stdout", this.session.stdout), this.#pump("stderr", this.session.stderr)]);
    const code = await this.#exitCode;
    if (this.#ended) return;
    // A terminal has one stream only.
    if (!this.tty) await this.#writer.write({ stderr: { close: true } });
    await this.#writer.write({ stdout: { close: true } });
    await this.#writer.write({ exited: true, result: code === 0 ? {} : { exit_code: code } });
    this.#ended = true;
    await this.#writer.close();
  }

  async #pump(name: "stdout" | "stderr", from: ReadableStream<Uint8Array>): Promise<void> {
    const reader = from.getReader();
    this.#readers.push(reader);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      await this.#writer.write({ [name]: { data: Buffer.from(value).toString("base64") } });
    }
  }
}
