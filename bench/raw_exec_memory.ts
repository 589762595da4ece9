// Private memory that a running raw_exec task costs besides itself: wrapper and both log writers, from smaps_rollup.
// Starts N tasks (default 20), prints one line with KB a task and what it is made of, ends them.
// deno run -A bench/raw_exec_memory.ts [N]   ·   bun bench/raw_exec_memory.ts [N]
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TaskHandle, TaskSpec } from "../drivers/driver.ts";
import { listProcesses, readArguments } from "../drivers/proc.ts";
import { createDrivers } from "../drivers/registry.ts";

const count = Number(process.argv[2] ?? 20);
const driver = createDrivers({}, { rawExecEnabled: true }).get("raw_exec")!;
await driver.fingerprint();
const root = mkdtempSync(join(tmpdir(), "raw-exec-memory-"));
const handles: TaskHandle[] = [];
const agentBefore = privateKb(process.pid);
const startsMs: number[] = [];
for (let i = 0; i < count; i++) {
  const begun = performance.now();
  handles.push(await driver.start(makeSpec(i), () => undefined));
  startsMs.push(performance.now() - begun);
}
await new Promise((resolve) => setTimeout(resolve, 1500));

const kinds: Record<string, number> = { wrapper: 0, writers: 0 };
for (const handle of handles) {
  const state = handle.state as { pid: number; runDir: string };
  kinds["wrapper"]! += privateKb(state.pid);
  for (const { pid, ppid } of listProcesses()) {
    if (ppid !== state.pid) continue;
    if (readArguments(pid).some((word) => word.startsWith(state.runDir))) kinds["writers"]! += privateKb(pid);
  }
}
const each = (kb: number) => (kb / count).toFixed(0);
const sum = kinds["wrapper"]! + kinds["writers"]!;
startsMs.sort((a, b) => a - b);
console.log(
  `raw_exec: ${each(sum)} KB private a task (wrapper ${each(kinds["wrapper"]!)}, two log writers ` +
    `${each(kinds["writers"]!)}; agent grew by ${
      each(privateKb(process.pid) - agentBefore)
    }) over ${count} tasks; ` +
    `start p50 ${startsMs[count >> 1]!.toFixed(1)} ms, max ${startsMs.at(-1)!.toFixed(1)} ms`,
);
for (const handle of handles) {
  await driver.stop(handle, { killSignal: "SIGKILL", timeoutMs: 1000 });
  await driver.destroy(handle);
}
rmSync(root, { recursive: true, force: true });
process.exit(sum / count <= 512 ? 0 : 1);

function privateKb(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return [...text.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce(
    (total, match) => total + Number(match[1]),
    0,
  );
}

function makeSpec(i: number): TaskSpec {
  const allocDir = join(root, String(i));
  const logs = join(allocDir, "alloc", "logs");
  mkdirSync(logs, { recursive: true });
  mkdirSync(join(allocDir, "web", "local"), { recursive: true });
  return {
    id: `${i}/web/00000000`,
    allocId: String(i),
    jobId: "bench",
    namespace: "default",
    group: "group",
    task: "web",
    // Has written to both streams, so that both writers have touched their buffers.
    config: { command: "/bin/sh", args: ["-c", "echo out; echo err >&2; exec sleep 600"] },
    env: { PATH: "/usr/bin:/bin" },
    user: "",
    allocDir,
    taskDir: join(allocDir, "web"),
    logs: { dir: logs, filesMax: 10, fileSizeMaxBytes: 10 * 1024 * 1024, disabled: false },
    resources: { cpuMhz: 100, memoryMb: 32, memoryMaxMb: 0, cores: [] },
    networkMode: "",
    ports: [],
    mounts: [],
    dns: null,
  };
}
