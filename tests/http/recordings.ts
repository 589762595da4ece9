// The recordings of the reference's API and how they are replayed against a live cluster: what was recorded under one
// set of ids is asked under the live ones.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { StateReader } from "../../server/state_reader.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const RECORDINGS = join(HERE, "../../../shared/conformance/api/recordings");

export interface Recording {
  number: string;
  name: string;
  request: {
    agent: string;
    method: string;
    path: string;
    headers?: Record<string, string>;
    body?: unknown;
    bodyText?: string;
  };
  response: {
    status: number;
    headers: Record<string, string>;
    body?: unknown;
    bodyText?: string;
    ndjson?: unknown[];
  };
}

export function loadRecordings(): Recording[] {
  return readdirSync(RECORDINGS).filter((name) => name.endsWith(".json")).sort().map((name) => ({
    ...JSON.parse(readFileSync(join(RECORDINGS, name), "utf8")) as Omit<Recording, "number">,
    number: name.slice(0, 3),
  }));
}

interface Known {
  kind: "alloc" | "deployment" | "eval";
  JobID: string;
  version: number | null;
  ClientStatus: string;
  DesiredStatus: string;
  TriggeredBy: string;
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

/** Finds for every recorded id the live record that plays its part. */
export class Ids {
  #known = new Map<string, Known>();
  #live = new Map<string, string>();

  constructor(recordings: readonly Recording[], private readonly state: StateReader) {
    for (const recording of recordings) this.#learn(recording.response.body);
  }

  /** The recorded text with live ids in place of recorded ones. */
  translate(text: string): string {
    return text.replace(UUID, (id) => this.live(id))
      .replace(/_nomad-task-[0-9a-f-]{36}-group-app-web-http-http/g, (found) => this.#service(found))
      .replace(/(prefix=)([0-9a-f]{4,8})(?=$|&)/g, (_, lead, prefix) => lead + this.#livePrefix(prefix))
      .replace(/(param(?:%2F|\/)dispatch-)pfx-\d+-[0-9a-f]{8}/g, (found) => this.#dispatched(found));
  }

  pair(recorded: string, live: string): void {
    this.#live.set(recorded, live);
  }

  live(id: string): string {
    const paired = this.#live.get(id);
    if (paired) return paired;
    const known = this.#known.get(id);
    if (!known) return id;
    const found = this.#find(known);
    if (found) this.#live.set(id, found);
    return found ?? id;
  }

  #livePrefix(prefix: string): string {
    for (const id of this.#known.keys()) {
      if (id.startsWith(prefix)) return this.live(id).slice(0, prefix.length);
    }
    return prefix;
  }

  #dispatched(text: string): string {
    const escaped = text.includes("%2F");
    for (const job of this.state.jobs("default")) {
      if (job.ID.startsWith("param/dispatch-pfx-")) return escaped ? job.ID.replace("/", "%2F") : job.ID;
    }
    return text;
  }

  #service(text: string): string {
    for (const service of this.state.servicesByName("default", "web-http")) return service.ID;
    return text;
  }

  #find(known: Known): string | undefined {
    if (known.kind === "deployment") {
      for (const one of this.state.deploymentsByJob("default", known.JobID)) {
        if (one.JobVersion === known.version) return one.ID;
      }
      return undefined;
    }
    if (known.kind === "eval") {
      const evals = [...this.state.evalsByJob("default", known.JobID)];
      return (evals.find((one) => one.TriggeredBy === known.TriggeredBy) ?? evals[0])?.ID;
    }
    const score = (alloc: { ClientStatus: string; DesiredStatus: string }) =>
      (alloc.ClientStatus === known.ClientStatus ? 2 : 0) +
      (alloc.DesiredStatus === known.DesiredStatus ? 1 : 0);
    const allocs = [...this.state.allocsByJob("default", known.JobID)].sort((a, b) => score(b) - score(a));
    return allocs[0]?.ID;
  }

  #learn(value: unknown): void {
    if (Array.isArray(value)) return value.forEach((item) => this.#learn(item));
    if (typeof value !== "object" || value === null) return;
    const record = value as Record<string, unknown>;
    const text = (key: string) => typeof record[key] === "string" ? record[key] as string : "";
    const id = text("ID");
    if (id.length !== 36 || this.#known.has(id)) return;
    const kind = "JobSpecModifyIndex" in record
      ? "deployment"
      : "TriggeredBy" in record
      ? "eval"
      : "TaskGroup" in record
      ? "alloc"
      : null;
    if (!kind) return;
    this.#known.set(id, {
      kind,
      JobID: text("JobID"),
      version: typeof record.JobVersion === "number" ? record.JobVersion : null,
      ClientStatus: text("ClientStatus"),
      DesiredStatus: text("DesiredStatus"),
      TriggeredBy: text("TriggeredBy"),
    });
  }
}
