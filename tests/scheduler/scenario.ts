// Scenarios as text: commands, a line of ----, what they print. One cluster a file, on a clock that only the file moves.
// REWRITE=1 writes what was printed into the file: read it before committing it.
//
//   node NAME KEY=VALUE …            cpu memory disk dc pool class driver meta.X attr.X; volume=NAME[:ro] device=V/T/N:COUNT
//                                    address.NETWORK=IP ports=RESERVED allocs=MAX
//   job ID TYPE [{group}] [{task}] [{job}]   JSON with the API's names, each laid over small defaults
//   stop ID [purge]      eval ID      promote|fail|pause|resume ID
//   report NAME|ID STATUS [healthy|unhealthy]     a device's news of all live allocations of that name or job
//   down|up|disconnect NODE      drain NODE [DEADLINE [ignore_system]]      undrain NODE      ineligible|eligible NODE
//   migrate NAME         advance DURATION       revert ID VERSION      gc      leader (another one takes over)
//   config|pool NAME KEY=VALUE …     algorithm oversubscription; config also pause and preempt.TYPE
//   allocs|evals|deployments|failures|spread|scores|given|versions ID      jobs      node NAME (alone: shows it)
//   plan ID TYPE [{group}] [{task}] [{job}]  what `job plan` would say
import { parseDuration } from "../../core/duration.ts";
import type { Allocation, AllocMetric, Job, Node, NodeDevice } from "../../core/types.ts";
import { computedClass } from "../../server/computed_class.ts";
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
    config: (args) => this.#config(args),
    pool: (args) => this.#pool(args),
    revert: ([id, version]) => this.#revert(id!, Number(version)),
    gc: () => this.cluster.loops.collectGarbage(),
    leader: () => this.#changeLeader(),
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
    scores: async ([id]) => await this.#scores(id!),
    given: async ([id]) => await this.#given(id!),
    versions: async ([id]) => await this.#versions(id!),
    jobs: async () => await this.#jobs(),
    plan: async (args) => await this.#plan(args),
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
    const more: NodeMore = { addresses: [], volumes: {}, devices: [], reservedPorts: "", allocsMax: 0 };
    for (const setting of settings) {
      const [key, value] = setting.split("=") as [string, string];
      if (key.startsWith("meta.")) options.meta![key.slice(5)] = value;
      else if (key.startsWith("attr.")) options.attributes![key.slice(5)] = value;
      else if (key === "dc") options.datacenter = value;
      else if (key === "class") options.nodeClass = value;
      else if (key === "pool") options.pool = value;
      else if (key === "driver") options.drivers = value.split(",");
      else if (key.startsWith("address.")) addAddress(more, key.slice(8), value);
      else if (key === "volume") addVolume(more, value);
      else if (key === "device") addDevice(more, value);
      else if (key === "ports") more.reservedPorts = value;
      else if (key === "allocs") more.allocsMax = Number(value);
      else if (key === "cpu" || key === "memory" || key === "disk") options[key] = Number(value);
      else throw new Error(`unknown setting of a node: ${setting}`);
    }
    await this.cluster.addNodes(withMore(node(this.#nodes++, options), more));
  }

  async #job(args: string[]): Promise<void> {
    await this.cluster.register(readJob(args));
  }

  #plan(args: string[]): string[] {
    const { evaluation, failed } = this.cluster.loops.dryRun(readJob(args), { annotate: true });
    const updates =
      (evaluation.PlanAnnotations as { DesiredTGUpdates: Record<string, object> }).DesiredTGUpdates;
    const lines = Object.entries(updates).map(([name, counts]) => {
      const said = Object.entries(counts).filter(([, n]) => n > 0).map(([what, n]) => `${what} ${n}`);
      return `${name}: ${said.join(", ") || "nothing"}`;
    });
    return [...lines, ...Object.entries(failed).map(([name, metric]) => `${name}: ${describe(metric)}`)];
  }

  async #config(settings: string[]): Promise<void> {
    const config = structuredClone(this.cluster.state.schedulerConfig());
    for (const setting of settings) {
      const [key, value] = setting.split("=") as [string, string];
      const isOn = value === "true";
      if (key === "algorithm") config.SchedulerAlgorithm = value as "binpack" | "spread";
      else if (key === "oversubscription") config.MemoryOversubscriptionEnabled = isOn;
      else if (key === "pause") config.PauseEvalBroker = isOn;
      else if (key === "preempt.service") config.PreemptionConfig.ServiceSchedulerEnabled = isOn;
      else if (key === "preempt.batch") config.PreemptionConfig.BatchSchedulerEnabled = isOn;
      else if (key === "preempt.system") config.PreemptionConfig.SystemSchedulerEnabled = isOn;
      else if (key === "preempt.sysbatch") config.PreemptionConfig.SysBatchSchedulerEnabled = isOn;
      else throw new Error(`unknown setting of the scheduler: ${setting}`);
    }
    this.cluster.apply({ kind: "scheduler.config", time: this.cluster.stamp.nowNs, config });
    await this.cluster.run();
  }

  async #pool([name, ...settings]: string[]): Promise<void> {
    const values = Object.fromEntries(settings.map((setting) => setting.split("=") as [string, string]));
    const { algorithm = "", oversubscription } = values;
    this.cluster.apply({
      kind: "pool.upsert",
      time: this.cluster.stamp.nowNs,
      pools: [{
        Name: name!,
        Description: "",
        Meta: null,
        NodeIdentityTTL: 0,
        SchedulerConfiguration: {
          SchedulerAlgorithm: algorithm,
          MemoryOversubscriptionEnabled: oversubscription === undefined ? null : oversubscription === "true",
        },
        CreateIndex: 0,
        ModifyIndex: 0,
      }],
    });
    await this.cluster.run();
  }

  async #revert(id: string, version: number): Promise<void> {
    const old = [...this.cluster.state.jobVersions("default", id)].find((one) => one.Version === version);
    if (!old) throw new Error(`job ${id} has no version ${version}`);
    await this.cluster.register(old);
  }

  async #changeLeader(): Promise<void> {
    this.cluster.loops.stop();
    this.cluster.loops.start();
    await this.cluster.run();
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

  /** Why live allocations are where they are: the terms of each node that was compared. */
  #scores(id: string): string[] {
    const names = new Map([...this.cluster.state.nodes()].map((found) => [found.ID, found.Name]));
    return this.cluster.live(id).flatMap((alloc) =>
      (alloc.Metrics?.ScoreMetaData ?? []).map((row) => {
        const terms = Object.entries(row.Scores).filter(([, score]) => score !== 0)
          .map(([term, score]) => `${term} ${score.toFixed(3)}`);
        const chosen = row.NodeID === alloc.NodeID ? " ←" : "";
        return `${alloc.Name} ${names.get(row.NodeID)} ${row.NormScore.toFixed(3)} (${
          terms.join(", ")
        })${chosen}`;
      })
    );
  }

  /** Ports, cores and devices that live allocations were given; dynamic ports without their number. */
  #given(id: string): string[] {
    return this.cluster.live(id).map(({ Name, AllocatedResources: { Shared, Tasks } }) => {
      const ports = (Shared.Ports ?? []).map((port) =>
        `${port.Label}=${port.HostIP}:${port.Value >= 20_000 ? "dynamic" : port.Value}`
      );
      const tasks = Object.values(Tasks).flatMap((one) => [
        ...(one.Cpu.ReservedCores ? [`cores ${one.Cpu.ReservedCores} (${one.Cpu.CpuShares} MHz)`] : []),
        ...(one.Memory.MemoryMaxMB > 0 ? [`memory ${one.Memory.MemoryMB} to ${one.Memory.MemoryMaxMB}`] : []),
        ...(one.Devices ?? []).map((device) =>
          `${device.Vendor}/${device.Type}/${device.Name} ${device.DeviceIDs}`
        ),
      ]);
      return `${Name}: ${[...ports, ...tasks].join(", ")}`;
    });
  }

  #versions(id: string): string[] {
    return [...this.cluster.state.jobVersions("default", id)].sort((a, b) => a.Version - b.Version)
      .map((one) => `v${one.Version}${one.Stable ? " stable" : ""}`);
  }

  #jobs(): string[] {
    return [...this.cluster.state.jobs()].map((one) => `${one.ID} ${one.Status}`).sort();
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

function readJob([id, type, ...json]: string[]): Job {
  const [ofGroup, ofTask, ofJob] = json.map((text) => JSON.parse(text) as Record<string, unknown>);
  return job(id!, {
    Type: type,
    TaskGroups: [group({ Tasks: [task(ofTask)], ...ofGroup })],
    ...ofJob,
  });
}

/** What a node has besides the usual. */
interface NodeMore {
  addresses: { Family: string; Alias: string; Address: string; ReservedPorts: string; Gateway: string }[];
  volumes: Node["HostVolumes"];
  devices: NodeDevice[];
  reservedPorts: string;
  allocsMax: number;
}

function addAddress(more: NodeMore, alias: string, ip: string): void {
  more.addresses.push({ Family: "ipv4", Alias: alias, Address: ip, ReservedPorts: "", Gateway: "" });
}

function addVolume(more: NodeMore, text: string): void {
  const [Name = "", mode] = text.split(":");
  more.volumes[Name] = { ID: "", Name, Path: `/srv/${Name}`, ReadOnly: mode === "ro" };
}

function addDevice(more: NodeMore, text: string): void {
  const [name = "", count] = text.split(":");
  const [Vendor = "", Type = "", Name = ""] = name.split("/");
  const Instances = Array.from({ length: Number(count) }, (_, i) => ({
    ID: `${Name}-${i}`,
    Healthy: true,
    HealthDescription: "",
  }));
  more.devices.push({ Vendor, Type, Name, Instances, Attributes: { size: { Int: Name.length, Unit: "" } } });
}

function withMore(base: Node, more: NodeMore): Node {
  const resources = base.NodeResources;
  const [network] = resources.NodeNetworks!;
  const Addresses = [...network!.Addresses ?? [], ...more.addresses];
  const made: Node = {
    ...base,
    NodeMaxAllocs: more.allocsMax,
    HostVolumes: more.volumes,
    ReservedResources: {
      ...base.ReservedResources,
      Networks: { ...base.ReservedResources.Networks, ReservedHostPorts: more.reservedPorts },
    },
    NodeResources: {
      ...resources,
      Devices: more.devices.length > 0 ? more.devices : null,
      NodeNetworks: [{ ...network!, Addresses }],
    },
  };
  return { ...made, ComputedClass: computedClass(made) };
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
