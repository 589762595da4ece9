// What the fixtures of the replayed recordings share: their form, the identities in the recordings, and the records
// that several of them show.
import { formatJson, parseExact } from "../../cli/json_text.ts";
import { type Answer, type Routes, type RunOptions } from "./harness.ts";

export interface Fixture extends RunOptions {
  routes: Routes;
  noHints?: boolean;
  saysMore?: boolean;
  normalise?: (text: string) => string;
}

export type Json = Record<string, unknown>;

export const ALLOC = "e4b5fb55-0bdc-b4c2-0fd2-bbbdfbc8cabf";

export const NODE_A = "4f42ada6-4da2-2799-2153-a53c68857f70";

export const NODE_B = "224d62fe-c41d-f25c-736f-01c70cc64f5d";

export const at = (text: string) => Date.parse(text);

export const json = (value: unknown): Answer => ({ json: value });

export interface JobStatusJson {
  Allocations: Json[];
  Evaluations: Json[];
  LatestDeployment: Json | null;
  Summary: Json;
}

export function jobStub(id: string, type: string, status: string, submitted: string): Json {
  const [kind, variant] = type.split("/");
  return {
    ID: id,
    Name: id,
    Namespace: "default",
    Type: kind,
    Periodic: variant === "periodic",
    ParameterizedJob: variant === "parameterized",
    Priority: 50,
    Status: status,
    Stop: false,
    SubmitTime: at(submitted) * 1e6,
    ParentID: "",
  };
}

export const STUBS = [
  jobStub("cbatch", "batch", "dead", "2026-11-22T04:18:04Z"),
  jobStub("ccron", "batch/periodic", "running", "2026-11-22T04:18:25Z"),
  jobStub("cparam", "batch/parameterized", "running", "2026-11-22T04:18:25Z"),
  jobStub("csys", "system", "running", "2026-11-22T04:18:25Z"),
  jobStub("ctoobig", "service", "running", "2026-11-22T04:18:05Z"),
  jobStub("cweb", "service", "running", "2026-11-22T04:17:55Z"),
  jobStub("rej", "service", "running", "2026-11-22T04:09:17Z"),
  jobStub("web", "service", "running", "2026-11-22T04:06:07Z"),
];

export function evalStub(ID: string, TriggeredBy: string, JobID: string, CreateIndex: number): Json {
  return { ID, Priority: 50, TriggeredBy, JobID, Namespace: "default", Status: "complete", CreateIndex };
}

export const MEMORY_FAILURE: Json = {
  NodesEvaluated: 2,
  NodesExhausted: 2,
  ClassExhausted: { "class-a": 1, "class-b": 1 },
  DimensionExhausted: { memory: 2 },
  CoalescedFailures: 0,
};

/** The reference prints the keys of maps in no order: both sides get one. */
export function sortKeys(text: string): string {
  const start = text.search(/^[[{]/m);
  return start < 0 ? text : text.slice(0, start) + formatJson(parseExact(text.slice(start)));
}
