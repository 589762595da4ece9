// The jobs and nodes of a simulation: small, varied, drawn from the seed. API-shaped JSON; times are short, so that a run
// sees deployments, reschedules and lost devices to their end.
import type { Node } from "../../core/types.ts";
import { node } from "../scheduler/fixtures.ts";
import type { SimRandom } from "./random.ts";

const SECOND = 1e9;
/** Jobs are scaled to this at most. */
export const SCALE_MAX = 3;

export type JobKind = "service" | "batch" | "system" | "sysbatch";

/** Job ids by kind, a few of each, so that they are changed again and again. */
export const JOB_IDS: Record<JobKind, readonly string[]> = {
  service: ["web", "api", "cache", "queue"],
  batch: ["sum", "index"],
  system: ["agent"],
  sysbatch: ["sweep"],
};

export function drawJob(random: SimRandom, kind: JobKind, stamp: string): Record<string, unknown> {
  const id = random.pick(JOB_IDS[kind]);
  const isService = kind === "service";
  return {
    ID: id,
    Name: id,
    Type: kind,
    Datacenters: ["*"],
    Priority: random.pick([30, 50, 50, 70]),
    // A change of it replaces every allocation; without one only counts change.
    Meta: random.chance(0.4) ? { release: stamp } : { release: "1" },
    TaskGroups: [drawGroup(random, kind)],
    ...(isService ? { Update: drawUpdate(random) } : {}),
    ...(isService && random.chance(0.3) ? { Spreads: [{ Attribute: "${node.unique.id}", Weight: 50 }] } : {}),
  };
}

function drawGroup(random: SimRandom, kind: JobKind): Record<string, unknown> {
  const isService = kind === "service";
  const count = kind === "system" || kind === "sysbatch" ? 1 : 1 + random.int(isService ? 5 : 3);
  // There are three nodes at least.
  const apart = isService && count <= SCALE_MAX && random.chance(0.1);
  return {
    Name: "g",
    Count: count,
    RestartPolicy: { Attempts: 0, Interval: 10 * SECOND, Delay: SECOND, Mode: "fail" },
    ...(isService || kind === "batch" ? { ReschedulePolicy: drawReschedule(random, isService) } : {}),
    ...(isService
      ? {
        Migrate: {
          MaxParallel: 1,
          HealthCheck: "task_states",
          MinHealthyTime: SECOND,
          HealthyDeadline: 20 * SECOND,
        },
      }
      : {}),
    ...(isService && random.chance(0.4) ? { Disconnect: drawDisconnect(random) } : {}),
    ...(isService && random.chance(0.3)
      ? { Networks: [{ Mode: "host", DynamicPorts: [{ Label: "http" }] }] }
      : {}),
    ...(apart ? { Constraints: [{ Operand: "distinct_hosts" }] } : {}),
    Tasks: [{
      Name: "t",
      Driver: "mock_driver",
      Config: { run_for: "1h" },
      Resources: { CPU: 100 + 50 * random.int(5), MemoryMB: 64 + 64 * random.int(4) },
    }],
  };
}

function drawReschedule(random: SimRandom, unlimited: boolean): Record<string, unknown> {
  const delay = (5 + random.int(4)) * SECOND;
  return unlimited
    ? { Unlimited: true, Delay: delay, DelayFunction: "constant", MaxDelay: 0, Attempts: 0, Interval: 0 }
    : { Unlimited: false, Attempts: 2, Interval: 3600 * SECOND, Delay: delay, DelayFunction: "constant" };
}

function drawDisconnect(random: SimRandom): Record<string, unknown> {
  return {
    LostAfter: (5 + random.int(30)) * SECOND,
    Replace: random.chance(0.7),
    Reconcile: random.pick(["best_score", "longest_running", "keep_original", "keep_replacement"]),
  };
}

function drawUpdate(random: SimRandom): Record<string, unknown> {
  const canaries = random.chance(0.25) ? 1 : 0;
  return {
    MaxParallel: 1 + random.int(2),
    HealthCheck: "task_states",
    MinHealthyTime: SECOND,
    HealthyDeadline: 20 * SECOND,
    ProgressDeadline: 40 * SECOND,
    Stagger: SECOND,
    AutoRevert: random.chance(0.4),
    Canary: canaries,
    AutoPromote: canaries > 0,
  };
}

/** Room for all jobs together on half of the nodes. */
export function drawNode(random: SimRandom, number: number): Node {
  const base = node(number, { cpu: 6000, memory: 8000 });
  return {
    ...base,
    ID: random.uuid(),
    SecretID: random.uuid(),
    Name: `d${number + 1}`,
    Status: "initializing",
    ComputedClass: "",
  };
}
