// The parts a plan's diff is made of: field and object differences, and how records are compared field by field.
// What belongs to which record stands in job_diff.ts and job_diff_task.ts.
//
// Invariants: pure; lists come out in a fixed order (fields by name, sets by content), so that a diff has one text.
import type { DiffType, FieldDiff, ObjectDiff } from "../core/job_diff.ts";

type Loose = object | null | undefined;

/** Named texts of a record's plain fields. */
export type Flat = Map<string, string>;

/** The plain fields of `record` as texts; those that are objects become `Name[key]`. Unset ones are left out. */
export function flat(record: Loose, fields: readonly string[]): Flat {
  const texts: Flat = new Map();
  if (!record) return texts;
  for (const field of fields) {
    const value = (record as Record<string, unknown>)[field];
    if (value !== null && value !== undefined) flattenInto(texts, field, value);
  }
  return texts;
}

/** Everything in `value`, nested, as `name[key][0]`. */
export function flattenInto(texts: Flat, name: string, value: unknown): void {
  if (value === null || value === undefined) {
    texts.set(name, "nil");
  } else if (Array.isArray(value)) {
    value.forEach((element, i) => flattenInto(texts, `${name}[${i}]`, element));
  } else if (typeof value === "object") {
    for (const key of Object.keys(value)) {
      flattenInto(texts, `${name}[${key}]`, (value as Record<string, unknown>)[key]);
    }
  } else {
    texts.set(name, typeof value === "number" ? goNumber(value) : String(value));
  }
}

/** A number as Go prints it: large and tiny ones with an exponent of two digits. */
function goNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e21) return String(value);
  return String(value).replace(/e([+-])(\d)$/, "e$10$2");
}

/** Differences of two flat records, by name. `contextual`: equal fields are told too, as None. */
export function fieldDiffs(before: Flat, after: Flat, contextual: boolean): FieldDiff[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort(byBytes);
  const diffs: FieldDiff[] = [];
  for (const name of names) {
    const [old, now] = [before.get(name) ?? "", after.get(name) ?? ""];
    if (old === now && !contextual) continue;
    diffs.push({ Type: typeOf(old, now), Name: name, Old: old, New: now, Annotations: null });
  }
  return diffs;
}

function typeOf(old: string, now: string): DiffType {
  if (old === now) return "None";
  if (old === "") return "Added";
  return now === "" ? "Deleted" : "Edited";
}

export function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function isChange(diff: { Type: DiffType }): boolean {
  return diff.Type !== "None";
}

/** null instead of nothing, as the API has it. */
export function orNull<T>(list: T[]): T[] | null {
  return list.length > 0 ? list : null;
}

export interface Nested {
  fields: FieldDiff[];
  objects: ObjectDiff[];
}

/** One object's diff, or nothing when nothing changed in it. */
export function objectDiff(name: string, before: Loose, after: Loose, nested: Nested): ObjectDiff[] {
  if (!before && !after) return [];
  const type: DiffType = !before ? "Added" : !after ? "Deleted" : "Edited";
  if (type === "Edited" && !nested.fields.some(isChange) && !nested.objects.some(isChange)) return [];
  return [{ Type: type, Name: name, Fields: orNull(nested.fields), Objects: orNull(nested.objects) }];
}

/** An object of plain fields. */
export function plainDiff(
  name: string,
  before: Loose,
  after: Loose,
  fields: readonly string[],
  contextual: boolean,
): ObjectDiff[] {
  const nested = { fields: fieldDiffs(flat(before, fields), flat(after, fields), contextual), objects: [] };
  return objectDiff(name, before, after, nested);
}

/** Objects that are only there or not: what stands on one side is added or deleted, whole. */
export function setDiff<T extends object>(
  before: readonly T[] | null,
  after: readonly T[] | null,
  describe: (before: T | null, after: T | null) => ObjectDiff[],
  identity: (item: T) => string = (item) => JSON.stringify(item),
): ObjectDiff[] {
  const left = new Map((before ?? []).map((item) => [identity(item), item]));
  const right = new Map((after ?? []).map((item) => [identity(item), item]));
  const diffs: ObjectDiff[] = [];
  for (const [key, item] of right) if (!left.has(key)) diffs.push(...describe(null, item));
  for (const [key, item] of left) if (!right.has(key)) diffs.push(...describe(item, null));
  return sortObjects(diffs);
}

/** A list of texts as an object of its own, order aside. `contextual`: one that did not change is told too. */
export function textSetDiff(
  name: string,
  before: readonly string[] | null | undefined,
  after: readonly string[] | null | undefined,
  contextual = false,
): ObjectDiff[] {
  const [left, right] = [new Set(before ?? []), new Set(after ?? [])];
  const diffs: FieldDiff[] = [];
  const add = (Type: DiffType, Old: string, New: string) =>
    diffs.push({ Type, Name: name, Old, New, Annotations: null });
  for (const text of [...right].sort(byBytes)) if (!left.has(text)) add("Added", "", text);
  for (const text of [...left].sort(byBytes)) if (!right.has(text)) add("Deleted", text, "");
  const changed = diffs.length > 0;
  if (!changed && !contextual) return [];
  for (const text of [...left].sort(byBytes)) if (right.has(text) && contextual) add("None", text, text);
  if (diffs.length === 0) return [];
  const type: DiffType = !changed
    ? "None"
    : left.size === 0
    ? "Added"
    : right.size === 0
    ? "Deleted"
    : "Edited";
  return [{ Type: type, Name: name, Fields: diffs, Objects: null }];
}

/**
 * Lists whose items may change: equal ones are left out, the rest is compared item by item in order, the same `name`
 * first; what has no partner is added or deleted.
 */
export function pairDiff<T extends object>(
  before: readonly T[] | null,
  after: readonly T[] | null,
  describe: (before: T | null, after: T | null) => ObjectDiff[],
  name: (item: T) => string = () => "",
): ObjectDiff[] {
  const texts = (list: readonly T[] | null) => new Set((list ?? []).map((item) => JSON.stringify(item)));
  const [inBefore, inAfter] = [texts(before), texts(after)];
  const left = (before ?? []).filter((item) => !inAfter.has(JSON.stringify(item)));
  const right = (after ?? []).filter((item) => !inBefore.has(JSON.stringify(item)));
  const diffs: ObjectDiff[] = [];
  for (const item of [...left]) {
    const partner = right.find((other) => name(item) !== "" && name(other) === name(item));
    if (!partner) continue;
    diffs.push(...describe(item, partner));
    left.splice(left.indexOf(item), 1);
    right.splice(right.indexOf(partner), 1);
  }
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    diffs.push(...describe(left[i] ?? null, right[i] ?? null));
  }
  return sortObjects(diffs);
}

/** Added before deleted before edited, and by content. */
export function sortObjects(diffs: ObjectDiff[]): ObjectDiff[] {
  return diffs.sort((a, b) => byBytes(a.Type, b.Type) || byBytes(JSON.stringify(a), JSON.stringify(b)));
}
