// Commands inside a running container: creates an exec instance, takes its connection over and turns it into an
// ExecSession. Without a terminal the connection carries framed stdout and stderr; with one it is raw.
import type { Duplex } from "node:stream";
import { constants } from "node:os";
import { DriverError } from "../core/errors.ts";
import type { ExecSession } from "./driver.ts";
import { FrameReader, type PodmanApi } from "./podman_api.ts";
import { sendSignal } from "./process_tree.ts";

interface ExecInspect {
  Running: boolean;
  ExitCode: number;
  Pid: number;
}

/** How long Podman may take to note an exit after the streams closed. */
const EXIT_MS = 10_000;

export async function execInContainer(
  api: PodmanApi,
  containerId: string,
  options: { command: string[]; tty: boolean; env: Record<string, string> },
): Promise<ExecSession> {
  if (options.command.length === 0) throw new DriverError("exec", "Cannot exec: no command given", false);
  const created = await api.must("exec", "POST", `/containers/${containerId}/exec`, {
    body: {
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: options.tty,
      Cmd: options.command,
      Env: Object.entries(options.env).map(([name, value]) => `${name}=${value}`),
    },
  });
  const id = (created.body as { Id: string }).Id;
  const { socket, head } = await api.hijack("exec", `/exec/${id}/start`, { Detach: false, Tty: options.tty });
  const closed = new Promise<void>((resolve) => {
    socket.on("close", resolve);
    socket.on("end", resolve);
  });
  const { stdout, stderr } = outputs(socket, head, options.tty);
  const inspect = async () => (await api.must("exec", "GET", `/exec/${id}/json`)).body as ExecInspect;
  return {
    stdin: inputOf(socket),
    stdout,
    stderr,
    exitCode: closed.then(() => exitCode(inspect)),
    async resize(columns, rows) {
      if (!options.tty) throw new DriverError("exec", "Cannot resize: this exec has no terminal", false);
      await api.must("resize", "POST", `/exec/${id}/resize?h=${rows}&w=${columns}`, { also: [409] });
    },
    async kill() {
      const { Pid, Running } = await inspect();
      if (Running && Pid > 0) sendSignal(Pid, constants.signals.SIGKILL);
      socket.destroy();
    },
  };
}

async function exitCode(inspect: () => Promise<ExecInspect>): Promise<number> {
  const begun = performance.now();
  for (let stepMs = 5;; stepMs = Math.min(100, stepMs * 2)) {
    const { Running, ExitCode } = await inspect();
    if (!Running) return ExitCode;
    if (performance.now() - begun > EXIT_MS) {
      throw new DriverError("exec", "The command's streams ended, but Podman says it still runs", true);
    }
    await new Promise((resolve) => setTimeout(resolve, stepMs));
  }
}

/** Closing it half-closes the connection, which Podman passes on as the end of stdin. */
function inputOf(socket: Duplex): WritableStream<Uint8Array> {
  let gone = false;
  socket.on("error", () => gone = true);
  socket.on("close", () => gone = true);
  return new WritableStream<Uint8Array>({
    write: (chunk) =>
      new Promise<void>((resolve) => {
        if (gone || socket.destroyed) return resolve();
        socket.write(chunk, () => resolve());
      }),
    close: () => {
      if (!gone && !socket.destroyed) socket.end();
    },
    abort: () => void socket.destroy(),
  });
}

function outputs(
  socket: Duplex,
  head: Uint8Array,
  tty: boolean,
): { stdout: ReadableStream<Uint8Array>; stderr: ReadableStream<Uint8Array> } {
  const frames = new FrameReader();
  const controllers: ReadableStreamDefaultController<Uint8Array>[] = [];
  let open = true;
  const take = (chunk: Uint8Array) => {
    if (!open) return;
    const parts = tty ? [{ stream: 1, bytes: new Uint8Array(chunk) }] : frames.read(chunk);
    for (const { stream, bytes } of parts) controllers[stream === 2 ? 1 : 0]?.enqueue(bytes);
    if (controllers.some((one) => (one.desiredSize ?? 1) <= 0)) socket.pause();
  };
  const end = () => {
    if (open) { for (const one of controllers) one.close(); }
    open = false;
  };
  const source = () =>
    new ReadableStream<Uint8Array>({
      start: (controller) => void controllers.push(controller),
      pull: () => void socket.resume(),
      cancel: () => {
        open = false;
        socket.destroy();
      },
    }, { highWaterMark: 64 });
  const [stdout, stderr] = [source(), source()];
  if (head.length > 0) take(head);
  socket.on("data", take);
  socket.on("end", end);
  socket.on("close", end);
  socket.on("error", end);
  return { stdout, stderr };
}
