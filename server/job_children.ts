// Jobs that other jobs bring forth: dispatched instances of parameterized jobs and launches of periodic ones. Pure:
// ids and times come in.
import type { Job } from "../core/types.ts";

const PAYLOAD_MAX_BYTES = 16 * 1024;

/** A copy of `parent` as a job of its own under `id`. */
export function childOf(parent: Job, id: string): Job {
  return {
    ...parent,
    ID: id,
    Name: id,
    ParentID: parent.ID,
    Stop: false,
    Stable: false,
    Status: "pending",
    StatusDescription: "",
    Version: 0,
    VersionTag: null,
    CreateIndex: 0,
    ModifyIndex: 0,
    JobModifyIndex: 0,
  };
}

/** Why `parent` cannot be dispatched with these; null when it can. `payload` is base64. */
export function dispatchProblem(
  parent: Job,
  { payload, meta }: { payload: string | null; meta: Record<string, string> },
): string | null {
  const config = parent.ParameterizedJob;
  if (!config || parent.Dispatched) {
    return `Specified job ${JSON.stringify(parent.ID)} is not a parameterized job`;
  }
  if (parent.Stop) return `Specified job ${JSON.stringify(parent.ID)} is stopped`;
  const size = payload ? Math.floor(payload.replace(/=+$/, "").length * 3 / 4) : 0;
  if (config.Payload === "required" && size === 0) {
    return "Payload is not provided but required by parameterized job";
  }
  if (config.Payload === "forbidden" && size > 0) {
    return "Payload provided but forbidden by parameterized job";
  }
  if (size > PAYLOAD_MAX_BYTES) return `Payload exceeds maximum size; ${size} > ${PAYLOAD_MAX_BYTES}`;
  const required = config.MetaRequired ?? [];
  const permitted = new Set([...required, ...config.MetaOptional ?? []]);
  const strange = Object.keys(meta).filter((key) => !permitted.has(key)).sort();
  if (strange.length > 0) {
    return `Dispatch request included unpermitted metadata keys: [${strange.join(" ")}]`;
  }
  const absent = required.filter((key) => !Object.hasOwn(meta, key)).sort();
  return absent.length > 0 ? `Dispatch did not provide required meta keys: [${absent.join(" ")}]` : null;
}
