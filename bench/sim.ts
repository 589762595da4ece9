// How fast the cluster simulation runs on one core: whole runs of fixed seeds, faults, checkers and all.
import process from "node:process";
import { runSeed } from "../tests/sim/run.ts";
import { megabytes, type Row, seconds } from "./measure.ts";

const SEEDS = 20;
const EVENTS = 20_000;

export async function simulation(): Promise<Row[]> {
  const before = process.cpuUsage();
  const started = performance.now();
  let events = 0;
  let simulatedMs = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await runSeed({ seed, events: EVENTS });
    if (result.failure) throw new Error(`seed ${seed}: ${result.failure.rule}: ${result.failure.message}`);
    events += result.events;
    simulatedMs += result.counts["simulatedMs"]!;
  }
  const wall = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(before);
  const cpu = (user + system) / 1e6;
  return [{
    what: `${SEEDS} seeds, ${events.toLocaleString("en")} events, ${
      seconds(simulatedMs / 1000)
    } of simulated time`,
    "events/min": Math.round(events / wall * 60).toLocaleString("en"),
    wall: seconds(wall),
    // Collecting garbage has threads of its own: of one core it is this at least.
    "events/CPU min": Math.round(events / cpu * 60).toLocaleString("en"),
    CPU: seconds(cpu),
    memory: megabytes(process.memoryUsage().rss / 1e6),
  }];
}
