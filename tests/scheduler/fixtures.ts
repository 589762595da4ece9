// Nodes, jobs and a seeded random for the scheduler's tests. Jobs go through the same canonicalisation as at the door.
import { formatUuid, type Random } from "../../core/env.ts";
import type { Job, Node } from "../../core/types.ts";
import { computedClass } from "../../server/computed_class.ts";
import { canonicalizeJob } from "../../server/job_canonical.ts";
import { makeNode } from "../state/fixtures.ts";

/** xorshift128: equal seeds give equal numbers and ids. */
export class SeededRandom implements Random {
  #s: Uint32Array;

  constructor(seed: number) {
    this.#s = Uint32Array.of(seed | 1, 0x9e3779b9, seed ^ 0x7f4a7c15, 0x2545f491);
    for (let i = 0; i < 16; i++) this.#next();
  }

  float(): number {
    return this.#next() / 2 ** 32;
  }

  int(below: number): number {
    return Math.floor(this.float() * below);
  }

  uuid(): string {
    const bytes = new Uint8Array(16);
    for (let i = 0; i < 4; i++) new DataView(bytes.buffer).setUint32(i * 4, this.#next());
    return formatUuid(bytes);
  }

  #next(): number {
    const s = this.#s;
    let t = s[3]!;
    t ^= t << 11;
    t ^= t >>> 8;
    s[3] = s[2]!;
    s[2] = s[1]!;
    s[1] = s[0]!;
    s[0] = (t ^ s[0]! ^ (s[0]! >>> 19)) >>> 0;
    return s[0]!;
  }
}

export interface NodeOptions {
  name?: string;
  cpu?: number;
  memory?: number;
  disk?: number;
  datacenter?: string;
  pool?: string;
  nodeClass?: string;
  drivers?: string[];
  attributes?: Record<string, string>;
  meta?: Record<string, string>;
  more?: Partial<Node>;
}

export function node(n: number, options: NodeOptions = {}): Node {
  const base = makeNode(n);
  const ip = `10.0.${n >> 8}.${n & 255}`;
  const made: Node = {
    ...base,
    Name: options.name ?? `n${n}`,
    Datacenter: options.datacenter ?? "dc1",
    NodePool: options.pool ?? "default",
    NodeClass: options.nodeClass ?? "",
    ComputedClass: "",
    Attributes: { "kernel.name": "linux", "cpu.arch": "amd64", ...options.attributes },
    Meta: options.meta ?? {},
    NodeResources: {
      ...base.NodeResources,
      Cpu: { CpuShares: options.cpu ?? 4000, TotalCpuCores: 4, ReservableCpuCores: [0, 1, 2, 3] },
      Memory: { MemoryMB: options.memory ?? 8000 },
      Disk: { DiskMB: options.disk ?? 100_000 },
      NodeNetworks: [{
        Mode: "host",
        Device: "eth0",
        MacAddress: "",
        Speed: 1000,
        Addresses: [{ Family: "ipv4", Alias: "default", Address: ip, ReservedPorts: "", Gateway: "" }],
      }],
    },
    Drivers: Object.fromEntries((options.drivers ?? ["raw_exec", "mock_driver"]).map((name) => [name, {
      Attributes: {},
      Detected: true,
      Healthy: true,
      HealthDescription: "Healthy",
      UpdateTime: "2026-11-22T00:00:00Z",
    }])),
    ...options.more,
  };
  return { ...made, ComputedClass: computedClass(made) };
}

/** A job from API-shaped JSON; one group "g" with one task "t" unless it says otherwise. */
export function job(id: string, fields: Record<string, unknown> = {}): Job {
  return canonicalizeJob({
    ID: id,
    Name: id,
    Type: "service",
    Datacenters: ["*"],
    TaskGroups: [group()],
    ...fields,
  }, { region: "global", namespace: "default" });
}

export function group(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return { Name: "g", Count: 1, Tasks: [task()], ...fields };
}

export function task(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    Name: "t",
    Driver: "mock_driver",
    Config: { run_for: "1h" },
    Resources: { CPU: 100, MemoryMB: 100 },
    ...fields,
  };
}
