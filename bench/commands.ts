// Whole commands, from exec to exit: what a person at a terminal waits for.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { commandOf, type Flavour, flavours, root, startAgent } from "./agent_process.ts";
import { Api, smallJob } from "./api.ts";
import { median, ms, type Row } from "./measure.ts";

const RUNS = 11;

/** Median wall time of a command; it must succeed. */
function time(flavour: Flavour, args: string[], env: Record<string, string> = {}): number {
  const [command, ...first] = commandOf(flavour);
  const samples: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const began = performance.now();
    const { status, stderr } = spawnSync(command!, [...first, ...args], {
      env: { ...process.env, ...env },
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`${args.join(" ")}: exit ${status} ${stderr}`);
    samples.push(performance.now() - began);
  }
  return median(samples);
}

export async function commands(): Promise<Row[]> {
  const rows: Row[] = [{ what: "`version`" }, { what: "`job run -output` of a small job" }, {
    what: "`job status`",
  }];
  const agent = await startAgent({ flavour: "bun", durable: false, client: false });
  const api = new Api(agent.address);
  await api.put("/v1/jobs", smallJob("web", {}));
  for (const flavour of flavours()) {
    const job = join(root, "examples", "hello.nomad.hcl");
    rows[0]![flavour] = ms(time(flavour, ["version"]));
    rows[1]![flavour] = ms(time(flavour, ["job", "run", "-output", job]));
    rows[2]![flavour] = ms(time(flavour, ["job", "status"], { NOMAD_ADDR: agent.address }));
  }
  api.close();
  await agent.end();
  return rows;
}
