// The real CliIo: this process's streams, environment, terminal and signals.
import process from "node:process";
import type { CliIo, OutputStream } from "./io.ts";

/** What the agent does comes from mod.ts, so that no command but `agent` loads a server. */
export function processIo(runAgent: CliIo["runAgent"], validateConfig: CliIo["validateConfig"]): CliIo {
  return {
    stdout: output(process.stdout),
    stderr: output(process.stderr),
    stdin: {
      get isTty() {
        return process.stdin.isTTY === true;
      },
      read: readStdin,
      setRawMode(on) {
        if (process.stdin.isTTY) process.stdin.setRawMode(on);
      },
    },
    env: process.env,
    cwd: process.cwd(),
    terminalSize: () => ({ columns: process.stdout.columns ?? 80, rows: process.stdout.rows ?? 24 }),
    onResize(listener) {
      process.stdout.on("resize", listener);
      return () => process.stdout.removeListener("resize", listener);
    },
    onInterrupt(listener) {
      process.on("SIGINT", listener);
      process.on("SIGTERM", listener);
      return () => {
        process.removeListener("SIGINT", listener);
        process.removeListener("SIGTERM", listener);
      };
    },
    nowMs: () => Date.now(),
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    openBrowser,
    runAgent,
    validateConfig,
  };
}

function output(stream: NodeJS.WriteStream): OutputStream {
  let isClosed = false;
  // `nomad … | head` closes the pipe early: the rest goes nowhere, and that is no error.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    isClosed = true;
  });
  return {
    get isTty() {
      return stream.isTTY === true;
    },
    write: (data) =>
      new Promise((resolve) => {
        if (isClosed) resolve();
        else stream.write(data, () => resolve());
      }),
  };
}

async function* readStdin(): AsyncIterable<Uint8Array> {
  for await (const chunk of process.stdin) {
    yield typeof chunk === "string" ? Buffer.from(chunk, "utf8") : chunk as Uint8Array;
  }
}

async function openBrowser(url: string): Promise<void> {
  const { spawn } = await import("node:child_process");
  const [program, ...args] = process.platform === "darwin"
    ? ["open", url]
    : process.platform === "win32"
    ? ["cmd", "/c", "start", "", url]
    : ["xdg-open", url];
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program!, args, { stdio: "ignore", detached: true });
    child.on("error", (error) => reject(new Error(`Error opening URL: ${error.message}`, { cause: error })));
    child.on("spawn", () => {
      child.unref();
      resolve();
    });
  });
}
