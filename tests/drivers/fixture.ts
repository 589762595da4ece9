// What every driver test needs: allocation directories in a temp dir, task specs, reading rotated logs back, and a
// second runtime process that starts a task and can be killed like an agent.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ExitResult, TaskHandle, TaskSpec } from "../../drivers/driver.ts";
import type { Driver } from "../../drivers/driver.ts";
import { logIndexes, type StreamName } from "../../drivers/log_files.ts";
import type { PluginConfig } from "../../drivers/registry.ts";

export interface Place {
  root: string;
  /** A spec of one more start of the task "web". */
  spec(config: Record<string, unknown>, change?: Partial<TaskSpec>): TaskSpec;
  /** All that stands in the files of a stream, oldest first. */
  log(stream: StreamName): string;
  logBytes(stream: StreamName): Uint8Array[];
  remove(): void;
}

let starts = 0;

export function makePlace(logs: { filesMax?: number; fileSizeMaxBytes?: number } = {}): Place {
  const root = mkdtempSync(join(tmpdir(), "drivers-test-"));
  const dir = join(root, "alloc", "logs");
  for (
    const path of [
      dir,
      join(root, "alloc", "data"),
      join(root, "web", "local"),
      join(root, "web", "tmp"),
      join(root, "web", "secrets"),
    ]
  ) {
    mkdirSync(path, { recursive: true });
  }
  const allocId = crypto.randomUUID();
  const read = (stream: StreamName) =>
    logIndexes(dir, "web", stream).map((n) => new Uint8Array(readFileSync(join(dir, `web.${stream}.${n}`))));
  return {
    root,
    spec: (config, change = {}) => ({
      id: `${allocId}/web/${(process.pid * 1000 + starts++).toString(16).padStart(8, "0").slice(-8)}`,
      allocId,
      jobId: "example",
      namespace: "default",
      group: "group",
      task: "web",
      config,
      env: { PATH: "/usr/local/bin:/usr/bin:/bin", GREETING: 'it\'s "here"' },
      user: "",
      allocDir: root,
      taskDir: join(root, "web"),
      logs: {
        dir,
        filesMax: logs.filesMax ?? 10,
        fileSizeMaxBytes: logs.fileSizeMaxBytes ?? 10 * 1024 * 1024,
        disabled: false,
      },
      resources: { cpuMhz: 100, memoryMb: 64, memoryMaxMb: 0, cores: [] },
      networkMode: "",
      ports: [],
      mounts: [],
      dns: null,
      ...change,
    }),
    logBytes: read,
    log: (stream) => read(stream).map((bytes) => new TextDecoder().decode(bytes)).join(""),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** For `test`: Bun gives up after 5 s otherwise, which a busy machine takes easily. Says nothing about speed. */
export const PATIENCE = { timeout: 90_000 };

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits until `done` gives something true; fails the test with `what` after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  done: () => T | null | false | Promise<T | null | false>,
  timeoutMs = 15_000,
): Promise<T> {
  const begun = performance.now();
  for (;;) {
    const value = await done();
    if (value) return value;
    if (performance.now() - begun > timeoutMs) throw new Error(`Not within ${timeoutMs} ms: ${what}`);
    await sleep(20);
  }
}

export function wait(driver: Driver, handle: TaskHandle): Promise<ExitResult> {
  return driver.wait(handle, new AbortController().signal);
}

/** Starts `spec` in a runtime process of its own; `kill` is kill -9, as an agent may die. */
export async function startElsewhere(
  driver: string,
  plugins: PluginConfig,
  spec: TaskSpec,
): Promise<{ handle: TaskHandle; kill(): Promise<void> }> {
  const script = fileURLToPath(new URL("./agent_process.ts", import.meta.url));
  const before = process.versions["deno"] ? ["run", "-A", "--no-check"] : [];
  const child: ChildProcess = spawn(process.execPath, [...before, script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const gone = new Promise<void>((resolve) => child.on("exit", () => resolve()));
  child.stdin!.end(JSON.stringify({ driver, plugins, spec }));
  let text = "";
  const line = await new Promise<string>((resolve, reject) => {
    child.stdout!.on("data", (chunk: Uint8Array) => {
      text += new TextDecoder().decode(chunk);
      if (text.includes("\n")) resolve(text);
    });
    child.on("exit", (code) => reject(new Error(`The other process ended (${code}): ${text}`)));
  });
  const handle = JSON.parse(line) as TaskHandle;
  return {
    handle,
    async kill() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}
