// Three whole server processes on this machine, ours or the reference's, that found one cluster. Ended by their ids.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { commandOf, cpuSecondsOf, type Flavour, freePorts } from "./agent_process.ts";

export interface ClusterProcess {
  /** URL of the leader's API. */
  leader: string;
  cpuSeconds(): number;
  end(): Promise<void>;
}

export async function startCluster(flavour: Flavour, servers = 3): Promise<ClusterProcess> {
  const folder = mkdtempSync(join(tmpdir(), "bench-cluster-"));
  const ports = await freePorts(3 * servers);
  const serf = Array.from({ length: servers }, (_, i) => `127.0.0.1:${ports[3 * i + 2]}`);
  const children = Array.from({ length: servers }, (_, i) => {
    const file = join(folder, `s${i}.hcl`);
    const own = ports.slice(3 * i, 3 * i + 3) as [number, number, number];
    writeFileSync(file, configuration(`s${i}`, folder, own, serf));
    const [command, ...args] = commandOf(flavour);
    return spawn(command!, [...args, "agent", "-config", file], { stdio: "ignore", cwd: folder });
  });
  const end = async () => {
    await Promise.all(children.map((child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      process.kill(child.pid!, "SIGKILL");
      return ended;
    }));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const rpc = await leaderOf(ports[0]!);
    const at = Array.from({ length: servers }, (_, i) => i).find((i) =>
      rpc.endsWith(`:${ports[3 * i + 1]}`)
    )!;
    return {
      leader: `http://127.0.0.1:${ports[3 * at]}`,
      cpuSeconds: () => children.reduce((sum, child) => sum + cpuSecondsOf(child.pid!), 0),
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** The leader's rpc address, once all servers have found together. */
async function leaderOf(http: number): Promise<string> {
  for (const endMs = performance.now() + 90_000; performance.now() < endMs;) {
    try {
      const signal = AbortSignal.timeout(2000);
      const peers = await (await fetch(`http://127.0.0.1:${http}/v1/status/peers`, { signal }))
        .json() as string[];
      const leader = await (await fetch(`http://127.0.0.1:${http}/v1/status/leader`, { signal }))
        .json() as string;
      if (peers.length === 3 && leader !== "") return leader;
    } catch (notYet) {
      void notYet;
    }
    await new Promise((wake) => setTimeout(wake, 100));
  }
  throw new Error("the three servers did not found a cluster within 90 s");
}

function configuration(
  name: string,
  folder: string,
  ports: [number, number, number],
  join_: string[],
): string {
  const [http, rpc, serf] = ports;
  return `name      = "${name}"
data_dir  = "${folder}/${name}"
bind_addr = "127.0.0.1"
log_level = "ERROR"
ports {
  http = ${http}
  rpc  = ${rpc}
  serf = ${serf}
}
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1:${serf}"
}
server {
  enabled          = true
  bootstrap_expect = 3
  server_join {
    retry_join     = ${JSON.stringify(join_)}
    retry_interval = "1s"
  }
}
`;
}
