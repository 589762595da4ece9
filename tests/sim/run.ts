// One run of one seed: a safety phase with faults, then everything heals and the cluster must converge. Gives back what
// happened; never throws because of the product.
import { allCheckers } from "./checkers.ts";
import { type Checker, SimFailure, type SimOptions, type SimResult } from "./contract.ts";
import { Cluster } from "./cluster.ts";
import { summary, unsettled } from "./convergence.ts";
import { Faults } from "./faults.ts";

/** Simulated time within which a healed cluster must settle; it is looked at so often. */
const SETTLE_MAX_MS = 10 * 60_000;
const LOOK_MS = 2000;

export async function runSeed(options: SimOptions): Promise<SimResult> {
  const checkers: Checker[] = (options.checkers ?? allCheckers)();
  const cluster = new Cluster({
    seed: options.seed,
    checkers,
    plant: options.plant ?? { name: "" },
    profile: options.profile ?? "full",
  });
  if (options.verbose) cluster.world.print = (line) => console.log(line);
  const unhandled = (error: unknown) => cluster.fail(error);
  process.on("unhandledRejection", unhandled);
  let failure: unknown = null;
  try {
    await play(cluster, options.events);
  } catch (error) {
    failure = error;
  } finally {
    process.off("unhandledRejection", unhandled);
  }
  const { world, watchers } = cluster;
  return {
    seed: options.seed,
    failure: failure === null ? null : describe(failure, world.step),
    events: world.step,
    trace: world.trace,
    counts: { ...watchers.counts, simulatedMs: Math.round(world.nowMs) },
  };
}

async function play(cluster: Cluster, events: number): Promise<void> {
  const { world } = cluster;
  const step = async () => {
    if (!await world.next()) throw new SimFailure("stuck", "nothing is left to happen");
    if (cluster.failure !== null) throw cluster.failure;
    cluster.afterStep();
    if (cluster.failure !== null) throw cluster.failure;
  };
  cluster.begin();
  const faults = new Faults(cluster);
  while (world.step < events) await step();

  cluster.phase = "liveness";
  cluster.note("the faults are over");
  faults.stop();
  cluster.operator.healAll();
  await settle(cluster, step);
  cluster.phase = "done";
  cluster.watchers.end(cluster);
}

async function settle(cluster: Cluster, step: () => Promise<void>): Promise<void> {
  const { world } = cluster;
  const endMs = world.nowMs + SETTLE_MAX_MS;
  for (let why = "not looked at yet"; why !== "";) {
    if (world.nowMs > endMs) {
      const lines = ["", ...summary(cluster)].join("\n    ");
      throw new SimFailure("liveness", `The cluster did not settle: ${why}${lines}`);
    }
    const untilMs = world.nowMs + LOOK_MS;
    while (world.nowMs < untilMs) await step();
    // A server that was starting when the faults ended may only now find that its disk is damaged.
    cluster.operator.healAll();
    cluster.operator.tidyUp().catch((error: Error) => cluster.note(`operator: ${error.message}`));
    why = unsettled(cluster);
    cluster.note(`unsettled: ${why}`);
  }
}

function describe(failure: unknown, step: number): NonNullable<SimResult["failure"]> {
  const error = failure instanceof Error ? failure : new Error(String(failure));
  const rule = failure instanceof SimFailure
    ? failure.rule
    : failure instanceof Error
    ? "exception"
    : "thrown";
  return { rule, message: error.message, step, stack: error.stack ?? "" };
}
