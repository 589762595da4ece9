// The run directory of one start of a task: where it stands, and the state that a driver leaves in it before it starts
// anything. A client that dies during a start knows only the start's id and the log directory ("starting" handle);
// with this file its successor finds what was begun.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TaskHandle } from "./driver.ts";
import { isGone } from "./proc.ts";

const STATE_NAME = "state.json";

/** `.<task>.<hex>` beside the logs. `id` is `<allocation>/<task>/<hex>`. */
export function runDirOf(logsDir: string, id: string): string {
  const [, task, hex] = id.split("/");
  return join(logsDir, `.${task}.${hex}`);
}

/** True for a handle that the client stored before the start and could not complete. */
export function isStarting(handle: TaskHandle): boolean {
  return handle.state["starting"] === true;
}

/** The run directory of a starting handle. */
export function runDirOfStarting(handle: TaskHandle): string {
  return runDirOf(String(handle.state["logsDir"]), handle.id);
}

/** Written whole: a successor reads all of it or nothing. */
export function saveState(runDir: string, state: Record<string, unknown>): void {
  const path = join(runDir, STATE_NAME);
  writeFileSync(`${path}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** null when the start did not come that far. */
export function loadState(runDir: string): Record<string, unknown> | null {
  try {
    return JSON.parse(readFileSync(join(runDir, STATE_NAME), "utf8")) as Record<string, unknown>;
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}
