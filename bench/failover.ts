// How long nobody can write when the leader dies: three servers, writers on all of them, and the leader killed with -9
// again and again. The outage runs from the kill to the answer of the first write begun after it, as seen by a writer
// that goes on to the next server when one fails.
import process from "node:process";
import { type Flavour, flavours } from "./agent_process.ts";
import { ms, percentile, type Row } from "./measure.ts";
import { ServerCluster, type ServerProcess } from "./server_processes.ts";

/** FAILOVERS and FAILOVER_WRITERS set other numbers. */
const KILLS = Number(process.env["FAILOVERS"] ?? 20);
const WRITERS = Number(process.env["FAILOVER_WRITERS"] ?? 6);
/** A write is given up after this long; the next goes to the next server. */
const WRITE_MS = 2000;
const PAUSE_AFTER_FAILURE_MS = 10;

export async function failover(): Promise<Row[]> {
  const outage: Row = { what: `write outage after kill -9 of the leader (p50 / p99 / longest of ${KILLS})` };
  const load: Row = { what: `… writes/s before it, ${WRITERS} writers` };
  for (const flavour of flavours()) [outage[flavour], load[flavour]] = await measure(flavour);
  return [outage, load];
}

async function measure(flavour: Flavour): Promise<[string, string]> {
  const cluster = new ServerCluster(flavour, 3);
  try {
    await cluster.start();
    const writers = Array.from({ length: WRITERS }, (_, i) => new Writer(cluster.servers, i));
    const writing = writers.map((writer) => writer.run());
    const outages: number[] = [];
    const rates: number[] = [];
    for (let i = 0; i < KILLS; i++) {
      await cluster.healthy();
      const leader = await cluster.leader();
      rates.push(await rateOf(writers));
      outages.push(await outageOf(cluster, leader, writers));
      leader.start();
    }
    for (const writer of writers) writer.stop();
    await Promise.all(writing);
    const rate = rates.reduce((sum, each) => sum + each, 0) / rates.length;
    return [
      `${ms(percentile(outages, 50))} / ${ms(percentile(outages, 99))} / ${ms(Math.max(...outages))}`,
      `${Math.round(rate)}/s`,
    ];
  } finally {
    await cluster.destroy();
  }
}

async function rateOf(writers: Writer[]): Promise<number> {
  const count = () => writers.reduce((sum, writer) => sum + writer.done, 0);
  const [before, began] = [count(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return (count() - before) / (performance.now() - began) * 1000;
}

/** Kills the leader; the median of what the writers saw, so that one lucky writer does not make the figure. */
async function outageOf(cluster: ServerCluster, leader: ServerProcess, writers: Writer[]): Promise<number> {
  const killedAt = performance.now();
  await leader.kill();
  const seen = await Promise.all(writers.map((writer) => writer.firstAfter(killedAt)));
  await cluster.leader(cluster.servers.filter((server) => server !== leader));
  return percentile(seen, 50) - killedAt;
}

/** Writes without end, one after the other, each to another server when the last one failed. */
class Writer {
  done = 0;
  #running = true;
  #at: number;
  #waiting: { since: number; resolve: (at: number) => void }[] = [];

  constructor(readonly servers: readonly ServerProcess[], readonly number: number) {
    this.#at = number;
  }

  stop(): void {
    this.#running = false;
  }

  /** When the first write was answered that began after `since`. */
  firstAfter(since: number): Promise<number> {
    return new Promise((resolve) => this.#waiting.push({ since, resolve }));
  }

  async run(): Promise<void> {
    while (this.#running) {
      const began = performance.now();
      const ok = await this.#write(this.servers[this.#at % this.servers.length]!);
      if (!ok) {
        this.#at++;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_AFTER_FAILURE_MS));
        continue;
      }
      this.done++;
      for (const waiting of this.#waiting) if (began >= waiting.since) waiting.resolve(performance.now());
      this.#waiting = this.#waiting.filter((waiting) => began < waiting.since);
    }
  }

  async #write(server: ServerProcess): Promise<boolean> {
    const Name = `bench-${this.number}`;
    try {
      const response = await fetch(`${server.address}/v1/namespace/${Name}`, {
        method: "PUT",
        body: JSON.stringify({ Name, Description: `${this.done}` }),
        signal: AbortSignal.timeout(WRITE_MS),
      });
      await response.text();
      return response.ok;
    } catch (error) {
      void error; // Killed, or without a leader for too long: the next server is tried.
      return false;
    }
  }
}
