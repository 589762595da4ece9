// `alloc exec` on the device: a command inside a running task, with JSON lines in both directions over one HTTP
// exchange (POST, both bodies stream). In: {stdin:{data|close}}, {tty_size:{width,height}}; out: {stdout:{data|close}},
// {stderr:{…}}, last {exited:true, result:{exit_code}}; data is base64 (api 361-363). Whoever speaks WebSocket to the
// user maps a frame to a line. The command ends when the reader goes away.
import { Buffer } from "node:buffer";
import { ApiError, DriverError, errorText } from "../core/errors.ts";
import type { ExecSession } from "../drivers/driver.ts";
import type { AllocationRunner } from "./allocation.ts";

/** One line from the user's side; anything else in it (handshake, heartbeat) is passed over. */
interface InputFrame {
  stdin?: { data?: string; close?: boolean };
  tty_size?: { width: number; height: number };
}

const LINE_MAX_CHARS = 1024 * 1024;

/** Answers the POST. Throws ApiError whose text is the reason for the user. */
export async function execInTask(runner: AllocationRunner, request: Request): Promise<Response> {
  const query = new URL(request.url).searchParams;
  const session = await begin(runner, query);
  request.signal.addEventListener("abort", () => end(session), { once: true });
  void feed(session, request.body);
  return new Response(output(session, query.get("tty") === "true"), {
    headers: { "Content-Type": "application/x-ndjson" },
  });
}

async function begin(runner: AllocationRunner, query: URLSearchParams): Promise<ExecSession> {
  const task = runner.tasks.get(query.get("task") ?? "");
  if (!task) throw new ApiError(404, "task not found");
  const command = parseCommand(query.get("command") ?? "");
  if (!task.isRunning || !task.handle) {
    throw new ApiError(500, `task ${JSON.stringify(task.name)} is not running`);
  }
  if (!task.driver?.capabilities.exec) {
    throw new ApiError(500, `driver ${JSON.stringify(task.task.Driver)} cannot execute commands in a task`);
  }
  try {
    return await task.driver.exec(task.handle, { command, tty: query.get("tty") === "true", env: {} });
  } catch (error) {
    const hint = error instanceof DriverError && error.hint !== "" ? `: ${error.hint}` : "";
    throw new ApiError(500, errorText(error) + hint);
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

/** Carries the user's lines to the command; ends with the body or with the command. */
async function feed(session: ExecSession, body: ReadableStream<Uint8Array> | null): Promise<void> {
  const stdin = session.stdin.getWriter();
  try {
    for await (const line of lines(body)) {
      const frame = JSON.parse(line) as InputFrame;
      if (frame.tty_size) await session.resize(frame.tty_size.width, frame.tty_size.height);
      if (frame.stdin?.data) await stdin.write(new Uint8Array(Buffer.from(frame.stdin.data, "base64")));
      if (frame.stdin?.close) await stdin.close();
    }
  } catch (inputEnded) {
    // The command ended first, or the user's side broke off: then reading its output ends, which ends the command.
    void inputEnded;
  }
}

async function* lines(body: ReadableStream<Uint8Array> | null): AsyncGenerator<string, void, void> {
  if (!body) return;
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = parts.pop()!;
    if (rest.length > LINE_MAX_CHARS) throw new RangeError("exec frame is too long");
    yield* parts.filter((line) => line.trim() !== "");
  }
}

/** Ends the command; that it has ended by itself meanwhile is no error. */
function end(session: ExecSession): void {
  session.kill().catch((alreadyEnded) => void alreadyEnded);
}

/** The command's output as lines; cancelling it kills the command. */
function output(session: ExecSession, tty: boolean): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const { readable, writable } = new TransformStream<object, Uint8Array>({
    transform(frame, controller) {
      controller.enqueue(encoder.encode(`${JSON.stringify(frame)}\n`));
    },
  });
  const writer = writable.getWriter();
  const pump = async (name: "stdout" | "stderr", from: ReadableStream<Uint8Array>) => {
    const reader = from.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      await writer.write({ [name]: { data: Buffer.from(value).toString("base64") } });
    }
  };
  const run = async () => {
    await Promise.all([pump("stdout", session.stdout), pump("stderr", session.stderr)]);
    const code = await session.exitCode;
    // A terminal has one stream only.
    if (!tty) await writer.write({ stderr: { close: true } });
    await writer.write({ stdout: { close: true } });
    await writer.write({ exited: true, result: code === 0 ? {} : { exit_code: code } });
    await writer.close();
  };
  // Also when the command is silent, so that no write would notice.
  writer.closed.catch(() => end(session));
  run().catch((error) => writer.abort(error).catch(() => end(session)));
  return readable;
}
