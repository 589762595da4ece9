// What is put into a task's directory before it starts, in Nomad's order: the dispatch payload, artifacts, templates.
// Loaded only for tasks that have one of them; artifact and template code again only when needed.
import { mkdir, realpath, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { errorText } from "../core/errors.ts";
import type { Job, Node, Task } from "../core/types.ts";
import type { AllocDirs, TaskDirs } from "./alloc_dir.ts";
import type { TaskEnv } from "./env.ts";
import * as events from "./task_events.ts";
import type { Draft } from "./task_events.ts";
import { PrepareError } from "./task_runner.ts";

export interface FilesInput {
  task: Task;
  job: Job;
  dirs: TaskDirs;
  allocDirs: AllocDirs;
  env: TaskEnv;
  node: Node;
  note(draft: Draft): void;
  signal: AbortSignal;
  nowMs: number;
  disableFileSandbox: boolean;
  /** True before a restart that renders templates again: payload and artifacts are there. */
  again: boolean;
}

/** Writes all files; returns the variables that templates with `env = true` made. */
export async function prepareFiles(input: FilesInput): Promise<Record<string, string>> {
  const { task } = input;
  if (task.DispatchPayload && !input.again) await writePayload(input, task.DispatchPayload.File);
  if (task.Artifacts?.length && !input.again) {
    const { fetchArtifact } = await import("./artifact.ts");
    input.note(events.downloadingArtifacts());
    for (const artifact of task.Artifacts) {
      await fetchArtifact(input, input.env.deep(artifact)).catch((error) => {
        const text = `failed to download artifact ${JSON.stringify(artifact.GetterSource)}: ${
          errorText(error)
        }`;
        throw new PrepareError(events.artifactFailed(text), "retry", { cause: error });
      });
    }
  }
  if (!task.Templates?.length) return {};
  const { renderTemplates } = await import("./template_files.ts");
  return await renderTemplates(input).catch((error) => {
    throw new PrepareError(events.templateFailed(errorText(error)), "fatal", { cause: error });
  });
}

async function writePayload(input: FilesInput, file: string): Promise<void> {
  try {
    const path = await pathInTask(input, insideTask(input.dirs.local, file));
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    await writeFile(path, Buffer.from(input.job.Payload ?? "", "base64"), { flag: "wx" });
  } catch (error) {
    throw new PrepareError(events.setupFailure(`dispatch_payload: ${errorText(error)}`), "unrecoverable", {
      cause: error,
    });
  }
}

/** Joins a path a job names to its root. Throws when it leads out of it. */
function insideTask(root: string, path: string): string {
  const joined = join(root, path);
  if (relative(root, joined).startsWith("..")) {
    throw new Error(`path ${JSON.stringify(path)} leads out of the task's directory; keep it below it`);
  }
  return joined;
}

/**
 * Where on the device a path of the job lies. Throws when it leads out of the allocation, also through a symbolic link
 * that the task made: the agent writes with more rights than the task has.
 */
export async function pathInTask(
  input: Pick<FilesInput, "dirs" | "allocDirs">,
  path: string,
): Promise<string> {
  const place = lexicalPath(input, path);
  const root = await realpath(input.allocDirs.root);
  for (let existing = dirname(place);; existing = dirname(existing)) {
    const real = await realpath(existing).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (real === null) continue;
    if (relative(root, real).startsWith("..")) {
      throw new Error(`path ${JSON.stringify(path)} leads out of the allocation through a symbolic link`);
    }
    return place;
  }
}

/** Paths as the task sees them ("/local/x", "local/x", "/alloc/x", or real ones) → paths on the device. */
export function lexicalPath(input: Pick<FilesInput, "dirs" | "allocDirs">, path: string): string {
  for (const root of [input.dirs.task, input.allocDirs.shared]) {
    if (path === root || path.startsWith(`${root}/`)) return insideTask(root, relative(root, path));
  }
  const shared = /^(?:\/|\.\.\/)?alloc\/(.*)$/.exec(path);
  if (shared && (path.startsWith("/") || path.startsWith(".."))) {
    return insideTask(input.allocDirs.shared, shared[1]!);
  }
  return insideTask(input.dirs.task, path);
}
