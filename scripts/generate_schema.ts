// Writes docs/job.schema.json and docs/jobspec.md from the tables of the job language. Run it after every change of a
// table, then `deno fmt docs`; a test compares the files with what this would write, layout aside.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { stringifyJson } from "../jobspec/json.ts";
import { jobJsonSchema, jobLanguagePage } from "../jobspec/schema.ts";

const DOCS = join(dirname(fileURLToPath(import.meta.url)), "..", "docs");
const INTRODUCTION = join(dirname(fileURLToPath(import.meta.url)), "jobspec_introduction.md");

/** Paths and contents of the generated files. */
export function generatedDocuments(): { path: string; content: string }[] {
  return [
    { path: join(DOCS, "job.schema.json"), content: `${stringifyJson(jobJsonSchema(), 1)}\n` },
    { path: join(DOCS, "jobspec.md"), content: jobLanguagePage(readFileSync(INTRODUCTION, "utf8")) },
  ];
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const { path, content } of generatedDocuments()) writeFileSync(path, content);
}
