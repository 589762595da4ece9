// Renders the templates of a task into its directory. Refuses what it cannot render.
import type { FilesInput } from "./task_files.ts";
export function renderTemplates(_input: FilesInput): Promise<Record<string, string>> {
  return Promise.reject(new Error("this device cannot render templates yet"));
}
