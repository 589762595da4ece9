// What a saved state holds, counted: records and their size as JSON by type, under the names that Nomad's `inspect` has.
// Knows the kinds of chunks (server/state_snapshot.ts) by their rows only; a kind it does not know counts under its own name.

type Row = Record<string, unknown>;
interface Chunk extends Row {
  kind: string;
  rows?: Row[];
}

export class SnapshotStats {
  bytes = 0;
  count = 0;
  #types = new Map<string, { count: number; bytes: number }>();

  add(text: string): void {
    const chunk = JSON.parse(text) as Chunk;
    switch (chunk.kind) {
      case "header":
        return this.#all("Index", chunk["indexes"]);
      case "cluster":
        return this.#cluster(chunk);
      case "jobs":
        for (const row of chunk.rows ?? []) this.#job(row);
        return;
      case "allocs":
        // What allocations of one chunk share counts with them, once.
        this.#all("Alloc", chunk.rows);
        this.#bytes("Alloc", chunk["resources"]);
        this.#bytes("Alloc", chunk["metrics"]);
        return;
      case "staged":
        return this.#all("StagedSnapshot", chunk["blocks"]);
      default:
        return this.#all(NAMES[chunk.kind] ?? chunk.kind, chunk.rows);
    }
  }

  /** The largest first. */
  rows(): { Count: number; Name: string; Sum: number }[] {
    const rows = [...this.#types].map(([Name, { count, bytes }]) => ({ Count: count, Name, Sum: bytes }));
    return rows.sort((a, b) => b.Sum - a.Sum || (a.Name < b.Name ? -1 : 1));
  }

  #cluster(chunk: Chunk): void {
    this.#all("Namespace", chunk["namespaces"]);
    this.#all("NodePool", chunk["pools"]);
    this.#one("SchedulerConfig", chunk["schedulerConfig"]);
    this.#one("AutopilotConfig", chunk["autopilotConfig"]);
    this.#one("ClusterMetadata", chunk["clusterId"]);
  }

  #job(row: Row): void {
    this.#one("Job", row["job"]);
    this.#all("JobVersion", row["versions"]);
    this.#all("JobSubmission", row["submissions"]);
    this.#one("JobSummary", row["summary"]);
    const scaling = row["scaling"] as Row | undefined;
    if (scaling && Object.keys(scaling).length > 0) this.#one("ScalingEvents", scaling);
    this.#one("PeriodicLaunch", row["launchMs"]);
  }

  #all(name: string, values: unknown): void {
    if (Array.isArray(values)) { for (const value of values) this.#one(name, value); }
  }

  #one(name: string, value: unknown): void {
    if (value === undefined || value === null || value === "") return;
    this.#bytes(name, value);
    this.count++;
    this.#types.get(name)!.count++;
  }

  #bytes(name: string, value: unknown): void {
    const bytes = Buffer.byteLength(JSON.stringify(value));
    this.bytes += bytes;
    const type = this.#types.get(name) ?? { count: 0, bytes: 0 };
    type.bytes += bytes;
    this.#types.set(name, type);
  }
}

const NAMES: Record<string, string> = {
  nodes: "Node",
  evals: "Eval",
  deployments: "Deployment",
  services: "ServiceRegistration",
  allocJobs: "AllocJob",
  requests: "Request",
};
