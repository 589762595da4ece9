// Scenarios as text: commands, a line of ----, what they print. One cluster a file, on a clock that only the file moves.
// REWRITE=1 writes what was printed into the file: read it before committing it.
//
//   node NAME KEY=VALUE …            cpu memory disk dc pool class driver meta.X attr.X
//   job ID TYPE [{group}] [{task}] [{job}]   JSON with the API's names, each laid over small defaults
//   stop ID [purge]      eval ID      promote|fail|pause|resume ID
//   report NAME|ID STATUS [healthy|unhealthy]     a device's news of all live allocations of that name or job
//   down|up|disconnect NODE      drain NODE [DEADLINE [ignore_system]]      undrain NODE      ineligible|eligible NODE
//   migrate NAME         advance DURATION
//   allocs|evals|deployments|failures|spread ID      node NAME (alone: shows it)
import { parseDuration } from "../../core/duration.ts";
import type { Allocation, AllocMetric, Node } from "../../core/types.ts";
import { jobEvaluation } from "../../server/evaluations.ts";
import { Cluster } from "./cluster.ts";
import { group, job, node, type NodeOptions, task } from "./fixtures.ts";

export interface Step {
  commands: string[];
  expected: string;
}

/** Splits a scenario into steps; comments stay with the commands they stand before. */
export function parseScenario(text: string): Step[] {
  return text.trimEnd().split(/\n\n+/).map((block) => {
    const [commands = "", expected = ""] = block.split(/^----\n?/m);
    return { commands: commands.split("\n").filter((line) => line !== ""), expected: expected.trimEnd() };
  });
}

export function formatScenario(steps: Step[]): string {
  return steps.map(({ commands, expected }) => {
    const head = commands.join("\n");
    return commands.every((line) => line.startsWith("#")) ? head : `${head}\n----\n${expected}`.trimEnd();
  }).join("\n\n") + "\n";
}

export async function runScenario(steps: Step[]): Promise<Step[]> {
  const runner = new Runner();
  const done: Step[] = [];
  for (const { commands } of steps) {
    const output: string[] = [];
    for (const line of commands) if (!line.startsWith("#")) output.push(...await runner.run(line));
    done.push({ commands, expected: output.join("\n") });
  }
  return done;
}

class Runner {
  readonly cluster = new Cluster();
  #nodes = 0;

  async run(line: string): Promise<string[]> {
    const words = line.match(/\{.*?\}(?=\s+\{|\s*$)|\S+/g) ?? [];
    const [command, ...args] = words as [string, ...string[]];
    const action = this.#actions[command];
    if (!action) throw new Error(`unknown command in scenario: ${line}`);
    return await action(args) ?? [];
  }

  #actions: Record<string, (args: string[]) => Promise<string[] | void>> = {
    node: (args) => this.#node(args),
    job: (args) => this.#job(args),
    stop: async ([id, purge]) => void await this.cluster.stop(id!, purge === "purge"),
    eval: (args) => this.#eval(args[0]!),
    report: (args) => this.#report(args),
    down: ([name]) => this.cluster.nodeStatus(this.#find(name!).ID, "down"),
    up: ([name]) => this.cluster.nodeStatus(this.#find(name!).ID, "ready"),
    disconnect: ([name]) => this.cluster.nodeStatus(this.#find(name!).ID, "disconnected"),
    drain: (args) => this.#drain(args),
    undrain: ([name]) => this.cluster.undrain(this.#find(name!).ID),
    eligible: ([name]) => this.cluster.eligibility(this.#find(name!).ID, "eligible"),
    ineligible: ([name]) => this.cluster.eligibility(this.#find(name!).ID, "ineligible"),
    migrate: ([name]) => this.#transition(name!, { Migrate: true }),
    reschedule: ([name]) => this.#transition(name!, { ForceReschedule: true }),
    promote: ([id]) => this.cluster.promote(id!),
    fail: ([id]) => this.cluster.setDeployment(id!, "failed"),
    pause: ([id]) => this.cluster.setDeployment(id!, "paused"),
    resume: ([id]) => this.cluster.setDeployment(id!, "running"),
    advance: ([duration]) => this.cluster.clock.advance(parseDuration(duration!) / 1e6),
    allocs: async ([id]) => await this.#allocs(id!),
    evals: async ([id]) => await this.#evals(id!),
    deployments: async ([id]) => await this.#deployments(id!),
    failures: async ([id]) => await this.#failures(id!),
    spread: async ([id]) => await this.#spread(id!),
  };

  #find(name: string): Node {
    for (const found of this.cluster.state.nodes()) if (found.Name === name) return found;
    throw new Error(`no node ${name}`);
  }

  async #node([name, ...settings]: string[]): Promise<string[] | void> {
    if (settings.length === 0 && [...this.cluster.state.nodes()].some((found) => found.Name === name)) {
      const found = this.#find(name!);
      const drain = found.Drain ? " draining" : "";
      return [`${name} ${found.Status} ${found.SchedulingEligibility}${drain}`];
    }
    const options: NodeOptions = { name: name!, meta: {}, attributes: {} };
    for (const setting of settings) {
      const [key, value] = setting.split("=") as [string, string];
      if (key.startsWith("meta.")) options.meta![key.slice(5)] = value;
      else if (key.startsWith("attr.")) options.attributes![key.slice(5)] = value;
      else if (key === "dc") options.datacenter = value;
      else if (key === "class") options.nodeClass = value;
      else if (key === "pool") options.pool = value;
      else if (key === "driver") options.drivers = value.split(",");
      else if (key === "cpu" || key === "memory" || key === "disk") options[key] = Number(value);
      else throw new Error(`unknown setting of a node: ${setting}`);
    }
    await this.cluster.addNodes(node(this.#nodes++, options));
  }

  async #job([id, type, ...json]: string[]): Promise<void> {
    const [ofGroup, ofTask, ofJob] = json.map((text) => JSON.parse(text) as Record<string, unknown>);
    await this.cluster.register(job(id!, {
      Type: type,
      TaskGroups: [group({ Tasks: [task(ofTask)], ...ofGroup })],
      ...ofJob,
    }));
  }

  async #eval(id: string): Promise<void> {
    const { state, stamp } = this.cluster;
    const evaluation = jobEvaluation(state.job("default", id)!, "job-register", stamp);
    this.cluster.apply({ kind: "eval.upsert", time: stamp.nowNs, evals: [evaluation] });
    await this.cluster.run();
  }

  async #report([what, status, health]: string[]): Promise<void> {
    const id = what!.split(".")[0]!;
    const allocs = this.cluster.allocs(id).filter((alloc) =>
      (what === id || alloc.Name === what) && !isOver(alloc) &&
      (alloc.DesiredStatus === "run" || status === "complete")
    );
    const more = health === undefined ? {} : { healthy: health === "healthy" };
    await this.cluster.report(allocs, status as Allocation["ClientStatus"], more);
  }

  async #drain([name, deadline = "1h", ignore]: string[]): Promise<void> {
    const deadlineNs = deadline === "force" ? -1 : parseDuration(deadline);
    await this.cluster.drain(this.#find(name!).ID, deadlineNs, ignore !== undefined);
  }

  async #transition(name: string, transition: { Migrate?: true; ForceReschedule?: true }): Promise<void> {
    const allocs = this.cluster.allocs(name.split(".")[0]!).filter((alloc) =>
      alloc.Name === name && alloc.DesiredStatus === "run" && alloc.NextAllocation === ""
    );
    await this.cluster.transition(allocs, transition);
  }

  /** Everything the job has had, oldest first within a name. */
  #allocs(id: string): string[] {
    const nodes = new Map([...this.cluster.state.nodes()].map((found) => [found.ID, found.Name]));
    return this.cluster.allocs(id)
      .sort((a, b) => a.Name.localeCompare(b.Name, "en", { numeric: true }) || a.CreateIndex - b.CreateIndex)
      .map((alloc) => {
        const marks = [
          alloc.DeploymentStatus?.Canary ? "canary" : "",
          alloc.DeploymentStatus?.Healthy === true ? "healthy" : "",
          alloc.DeploymentStatus?.Healthy === false ? "unhealthy" : "",
          alloc.DesiredDescription ? `(${alloc.DesiredDescription})` : "",
        ].filter((mark) => mark !== "");
        return [
          alloc.Name,
          `v${alloc.Job.Version}`,
          nodes.get(alloc.NodeID) ?? "gone",
          alloc.DesiredStatus,
          alloc.ClientStatus,
          ...marks,
        ].join(" ");
      });
  }

  /** Live allocations by node: for what does not depend on who is where. */
  #spread(id: string): string[] {
    const counts = new Map<string, number>();
    for (const found of this.cluster.state.nodes()) counts.set(found.ID, 0);
    for (const alloc of this.cluster.live(id)) counts.set(alloc.NodeID, (counts.get(alloc.NodeID) ?? 0) + 1);
    return [
      [...this.cluster.state.nodes()].map((found) => `${found.Name}=${counts.get(found.ID)}`).sort().join(
        " ",
      ),
    ];
  }

  #evals(id: string): string[] {
    return this.cluster.evals(id).sort((a, b) => a.CreateIndex - b.CreateIndex || (a.ID < b.ID ? -1 : 1)).map(
      (evaluation) => {
        const queued = Object.entries(evaluation.QueuedAllocations ?? {}).map(([name, n]) => `${name}=${n}`)
          .join(",");
        const text = evaluation.StatusDescription ? ` (${evaluation.StatusDescription})` : "";
        const blocked = evaluation.BlockedEval ? " → blocked" : "";
        return `${evaluation.TriggeredBy} ${evaluation.Status}${text}${
          queued ? ` queued ${queued}` : ""
        }${blocked}`;
      },
    );
  }

  #deployments(id: string): string[] {
    return [...this.cluster.state.deploymentsByJob("default", id)].sort((a, b) =>
      a.CreateIndex - b.CreateIndex
    )
      .map((deployment) => {
        const groups = Object.entries(deployment.TaskGroups).map(([name, state]) => {
          const canaries = state.DesiredCanaries > 0
            ? ` canaries ${state.PlacedCanaries?.length ?? 0}/${state.DesiredCanaries}${
              state.Promoted ? " promoted" : ""
            }`
            : "";
          return `${name}: desired ${state.DesiredTotal} placed ${state.PlacedAllocs} healthy ${state.HealthyAllocs} unhealthy ${state.UnhealthyAllocs}${canaries}`;
        });
        return `v${deployment.JobVersion} ${deployment.Status} (${deployment.StatusDescription}) ${
          groups.join("; ")
        }`;
      });
  }

  #failures(id: string): string[] {
    const evals = this.cluster.evals(id).sort((a, b) => a.CreateIndex - b.CreateIndex);
    const last = evals.findLast((evaluation) => evaluation.FailedTGAllocs !== null);
    if (!last) return ["none"];
    return Object.entries(last.FailedTGAllocs!).flatMap(([name, metric]) => [`${name}: ${describe(metric)}`]);
  }
}

function describe(metric: AllocMetric): string {
  const counts = (label: string, map: Record<string, number> | null) =>
    Object.entries(map ?? {}).sort().map(([key, n]) => `${label} ${JSON.stringify(key)} ${n}`);
  return [
    `evaluated ${metric.NodesEvaluated} filtered ${metric.NodesFiltered} exhausted ${metric.NodesExhausted}`,
    `coalesced ${metric.CoalescedFailures}`,
    ...counts("class", metric.ClassFiltered),
    ...counts("constraint", metric.ConstraintFiltered),
    ...counts("class exhausted", metric.ClassExhausted),
    ...counts("dimension", metric.DimensionExhausted),
  ].join(", ");
}

function isOver(alloc: Allocation): boolean {
  return alloc.ClientStatus === "complete" || alloc.ClientStatus === "failed" ||
    alloc.ClientStatus === "lost";
}
