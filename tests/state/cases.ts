// Data-driven cases as text: "# name", an input, "----", what is expected, an empty line. The expected parts were
// recorded from a Nomad 2.0.5 run over its HTTP API; REWRITE=1 writes ours instead (read the difference before you
// commit it).
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import assert from "node:assert/strict";

export interface Case {
  name: string;
  input: string;
  expected: string;
}

/** Cases of a file beside this one. An expected part ends at the next "# " line. */
export function readCases(file: string): Case[] {
  const text = readFileSync(new URL(`data/${file}`, import.meta.url), "utf8");
  return text.split(/^# /m).slice(1).map((part) => {
    const end = part.indexOf("\n");
    const [input, expected] = part.slice(end + 1).split("\n----\n");
    return { name: part.slice(0, end), input: input!, expected: expected!.replace(/\n\n$/, "") };
  });
}

export function formatCases(cases: readonly Case[]): string {
  return cases.map(({ name, input, expected }) => `# ${name}\n${input}\n----\n${expected}\n\n`).join("");
}

/** Runs every case of a file; with REWRITE=1 writes what came out. */
export function runCases(file: string, run: (input: string) => string): void {
  const cases = readCases(file);
  assert.ok(cases.length > 0, `${file} holds cases`);
  if (process.env["REWRITE"] === "1") {
    const rewritten = cases.map((each) => ({ ...each, expected: run(each.input) }));
    writeFileSync(new URL(`data/${file}`, import.meta.url), formatCases(rewritten));
    return;
  }
  for (const { name, input, expected } of cases) assert.equal(run(input), expected, `${file}: ${name}`);
}

/** `path: JSON` of every leaf of a JSON value; empty values of networks are left out, as the API leaves them out. */
export function leaves(value: unknown, path = ""): Map<string, string> {
  const found = new Map<string, string>();
  if (value !== null && typeof value === "object" && Object.keys(value).length > 0) {
    for (const [key, child] of Object.entries(value)) {
      const next = Array.isArray(value) ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`;
      for (const [leaf, text] of leaves(child, next)) found.set(leaf, text);
    }
  } else if (
    !(path.includes("Networks") && (value === null || value === "" || value === 0 || value === false))
  ) {
    found.set(path, JSON.stringify(value));
  }
  return found;
}

/** What servers write or choose: never compared. */
const VOLATILE =
  /^(CreateIndex|ModifyIndex|JobModifyIndex|Status|SubmitTime|Version)$|Scaling\w*(\[\d+\])?\.(ID|CreateIndex|ModifyIndex)$/;

/** The leaves of `value` that `base` does not have alike, a line each. */
export function differences(base: unknown, value: unknown): string {
  const [left, right] = [leaves(base), leaves(value)];
  const lines: string[] = [];
  for (const path of [...new Set([...left.keys(), ...right.keys()])].sort()) {
    if (VOLATILE.test(path) || left.get(path) === right.get(path)) continue;
    lines.push(`${path}: ${right.get(path) ?? "(gone)"}`);
  }
  return lines.join("\n");
}

interface Diff {
  Name?: string;
  ID?: string;
  Type: string;
  Old?: string;
  New?: string;
  Annotations?: string[] | null;
  Updates?: Record<string, number> | null;
  Fields?: Diff[] | null;
  Objects?: Diff[] | null;
  TaskGroups?: Diff[] | null;
  Tasks?: Diff[] | null;
}

/** A plan's diff as a tree of text, siblings of one name in the order of their texts. */
export function diffTree(diff: unknown, indent = ""): string {
  const d = diff as Diff;
  const notes = [...d.Annotations ?? [], ...Object.entries(d.Updates ?? {}).map(([k, v]) => `${v} ${k}`)]
    .sort();
  const head = `${indent}${d.Type} ${d.Name ?? d.ID}${notes.length > 0 ? ` (${notes.join(", ")})` : ""}`;
  const lines: string[] = [];
  for (const field of d.Fields ?? []) {
    const note = field.Annotations ? ` (${field.Annotations.join(", ")})` : "";
    lines.push(
      `${indent}  ${field.Type} ${field.Name}: ${JSON.stringify(field.Old)} => ${
        JSON.stringify(field.New)
      }${note}`,
    );
  }
  const children = (list: Diff[] | null | undefined) =>
    (list ?? []).map((child) => diffTree(child, `${indent}  `));
  return [
    head,
    ...lines.sort(),
    ...children(d.Objects).sort(),
    ...children(d.TaskGroups),
    ...children(d.Tasks),
  ]
    .join("\n");
}
