// The public API as load generators use it: works against any compatible server. Keeps connections alive.
import { Agent, request } from "node:http";

export class Api {
  #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  constructor(readonly address: string) {}

  /** Sends one request; rejects unless the answer is 2xx. Returns the body and the index header. */
  call(method: string, path: string, body?: unknown): Promise<{ body: string; index: number }> {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers = text === undefined
        ? {}
        : { "Content-Type": "application/json", "Content-Length": String(Buffer.byteLength(text)) };
      const sent = request(`${this.address}${path}`, { method, agent: this.#agent, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const answer = Buffer.concat(chunks).toString();
          if (response.statusCode! >= 300) {
            return reject(new Error(`${method} ${path}: ${response.statusCode} ${answer}`));
          }
          resolve({ body: answer, index: Number(response.headers["x-nomad-index"] ?? 0) });
        });
      });
      sent.on("error", reject);
      sent.end(text);
    });
  }

  async get<T>(path: string): Promise<T> {
    return JSON.parse((await this.call("GET", path)).body) as T;
  }

  async put<T>(path: string, body: unknown): Promise<T> {
    return JSON.parse((await this.call("PUT", path, body)).body) as T;
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** A job as small as the API takes it. */
export function smallJob(id: string, options: {
  count?: number;
  driver?: string;
  config?: Record<string, unknown>;
  type?: "service" | "batch" | "system";
  cpu?: number;
  memoryMb?: number;
}): { Job: Record<string, unknown> } {
  return {
    Job: {
      ID: id,
      Name: id,
      Type: options.type ?? "service",
      Datacenters: ["dc1"],
      ...(options.type === "batch" ? {} : { Update: { MaxParallel: 0 } }),
      TaskGroups: [{
        Name: "g",
        Count: options.count ?? 1,
        EphemeralDisk: { SizeMB: 10 },
        Tasks: [{
          Name: "t",
          Driver: options.driver ?? "raw_exec",
          Config: options.config ?? { command: "/bin/sleep", args: ["100000"] },
          Resources: { CPU: options.cpu ?? 20, MemoryMB: options.memoryMb ?? 10 },
          LogConfig: { MaxFiles: 1, MaxFileSizeMB: 1 },
        }],
      }],
    },
  };
}

/** Calls `task` `total` times from `callers` at once; returns calls per second. */
export async function rate(
  callers: number,
  total: number,
  task: (n: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const started = performance.now();
  await Promise.all(Array.from({ length: callers }, async () => {
    while (next < total) await task(next++);
  }));
  return total / ((performance.now() - started) / 1000);
}
