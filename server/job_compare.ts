// Whether two jobs are the same specification: deep equality over what users write, blind to what servers write.
import type { Job } from "../core/types.ts";

/** Fields of a Job that say nothing about what it specifies. */
const SERVER_FIELDS: ReadonlySet<string> = new Set<keyof Job>([
  "Stable",
  "Status",
  "StatusDescription",
  "Version",
  "SubmitTime",
  "CreateIndex",
  "ModifyIndex",
  "JobModifyIndex",
  "VersionTag",
  "NomadTokenID",
]);

export function sameSpec(a: Job, b: Job): boolean {
  if (a === b) return true;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  for (const key of keys) {
    if (SERVER_FIELDS.has(key)) continue;
    if (!deepEqual(a[key as keyof Job], b[key as keyof Job])) return false;
  }
  return true;
}

/** Structural equality of JSON values; a missing key is not null. */
export function deepEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  return keys.every((key) => Object.hasOwn(right, key) && deepEqual(left[key], right[key]));
}
