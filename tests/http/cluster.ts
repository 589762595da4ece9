// The rig with the leader's real loops (scheduler, deployments, drains, garbage collection) and simulated devices: each
// takes its allocations from the state's changes and reports on them at once, healthy, as a device would.
import { systemClock, systemRandom } from "../../core/env.ts";
import { silentLogger } from "../../core/logger.ts";
import type { AllocUpdate } from "../../core/protocol.ts";
import { BLANK_EVENT } from "../../core/types.ts";
import type { Allocation, Job, Node, ServiceRegistration, TaskEvent, TaskState } from "../../core/types.ts";
import { Leader } from "../../server/leader.ts";
import { Reports } from "../../server/reports.ts";
import type { Changes } from "../../server/state_reader.ts";
import { AGENT, Rig, testNode } from "./rig.ts";

/** What a simulated task does; picked by job ID. */
export type Behaviour = "runs" | "completes" | "fails" | "unhealthy" | "undecided";

export class Cluster extends Rig {
  readonly leader: Leader;
  readonly #reports: Reports;
  readonly #reported = new Map<string, string>();
  /** While true devices hear of nothing. */
  held = false;
  /** Nodes whose device answers. */
  readonly live = new Set<string>();
  behaviour: (job: Job) => Behaviour = (job) =>
    job.Type === "batch" || job.Type === "sysbatch" ? "completes" : "runs";

  constructor() {
    super({ agent: { ...AGENT, servers: () => ["127.0.0.1:4647"] } });
    (this.context as { random: typeof systemRandom }).random = systemRandom;
    this.leader = new Leader(this.context, silentLogger);
    this.context.dryRun = (job, options) => this.leader.dryRun(job, options);
    this.context.collectGarbage = () => this.leader.collectGarbage();
    this.#reports = new Reports({
      state: this.state,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      propose: (command) => this.propose(command),
    });
    this.state.onChanges((changes) => {
      this.leader.onChanges(changes);
      this.#onChanges(changes);
    });
    this.leader.start();
  }

  stop(): void {
    this.leader.stop();
    this.#reports.stop();
  }

  async addDevice(fields: Partial<Node>): Promise<void> {
    const node = testNode(fields);
    this.live.add(node.ID);
    await this.propose({ kind: "node.register", time: Date.now() * 1e6, node });
    this.leader.beat(node.ID);
  }

  /** Waits until `holds`, or fails with what it waited for. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (let tries = 0; !holds(); tries++) {
      if (tries > 500) throw new Error(`Waited in vain until ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Devices hear of what they missed. */
  release(): void {
    this.held = false;
    for (const alloc of [...this.state.allocs()]) this.#act(alloc.ID);
  }

  /** Devices decide on the health of what runs and was left undecided. */
  async judge(): Promise<void> {
    for (const alloc of [...this.state.allocs()]) {
      if (alloc.ClientStatus !== "running" || alloc.DeploymentStatus?.Healthy != null) continue;
      if (alloc.DeploymentID !== "") this.#report(alloc, "running", "Tasks are running");
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /** Until no evaluation is pending and every allocation was reported on as far as it goes. */
  settled(): Promise<void> {
    return this.until("the cluster settles", () => {
      for (const evaluation of this.state.evals()) {
        if (evaluation.Status === "pending" && (evaluation.WaitUntil ?? "") <= new Date().toISOString()) {
          return false;
        }
      }
      for (const deployment of this.state.deployments()) {
        const groups = Object.values(deployment.TaskGroups);
        const done = groups.every((group) => group.HealthyAllocs >= group.DesiredTotal);
        if (deployment.Status === "running" && done) return false;
      }
      for (const alloc of this.held ? [] : this.state.allocs()) {
        if (!this.live.has(alloc.NodeID)) continue;
        const stopping = alloc.DesiredStatus !== "run";
        const ended = ["complete", "failed", "lost"].includes(alloc.ClientStatus);
        const ends = ["completes", "fails"].includes(this.behaviour(alloc.Job));
        if (stopping || ends ? !ended : alloc.ClientStatus === "pending") return false;
      }
      return true;
    });
  }

  #onChanges(changes: Changes): void {
    for (const alloc of changes.allocs) {
      if (this.live.has(alloc.NodeID)) setTimeout(() => this.#act(alloc.ID), 1);
    }
  }

  /** Brings the allocation to where its desired status and its job's behaviour want it. */
  #act(id: string): void {
    const alloc = this.state.alloc(id);
    if (!alloc || !this.live.has(alloc.NodeID)) return;
    const ended = ["complete", "failed", "lost"].includes(alloc.ClientStatus);
    const wanted = alloc.DesiredStatus !== "run" ? "stop" : "run";
    // An in-place update asks for its health anew.
    const told = `${wanted} ${alloc.DeploymentID}`;
    if (ended || this.held || this.#reported.get(id) === told) return;
    this.#reported.set(id, told);
    if (wanted === "stop") return this.#report(alloc, "complete", "All tasks have completed");
    this.#report(alloc, "running", "Tasks are running");
    const behaviour = this.behaviour(alloc.Job);
    if (behaviour === "completes") {
      setTimeout(() => this.#report(alloc, "complete", "All tasks have completed"), 5);
    }
    if (behaviour === "fails") setTimeout(() => this.#report(alloc, "failed", "Failed tasks"), 5);
  }

  #report(alloc: Allocation, status: AllocUpdate["ClientStatus"], description: string): void {
    const behaviour = this.behaviour(alloc.Job);
    const healthy = status === "running" && behaviour === "runs";
    const unhealthy = status === "failed" || (status === "running" && behaviour === "unhealthy");
    // Drains wait for the health of replacements too, so services have one without a deployment.
    const decides = (alloc.DeploymentID !== "" || alloc.Job.Type === "service") && (healthy || unhealthy);
    const states = Object.keys(alloc.AllocatedResources.Tasks).map((task) => [task, taskState(status)]);
    const update: AllocUpdate = {
      ID: alloc.ID,
      ClientStatus: status,
      ClientDescription: description,
      TaskStates: Object.fromEntries(states),
      DeploymentStatus: decides ? { Healthy: healthy, Timestamp: new Date().toISOString() } : null,
      NetworkStatus: { InterfaceName: "", Address: "", AddressIPv6: "", DNS: null },
    };
    this.#reports.add([update], () => {
      if (status === "running") void this.#registerServices(alloc);
    });
  }

  async #registerServices(alloc: Allocation): Promise<void> {
    const node = this.state.node(alloc.NodeID);
    const group = alloc.Job.TaskGroups.find((one) => one.Name === alloc.TaskGroup);
    const services = (group?.Services ?? []).filter((service) => service.Provider === "nomad");
    if (!node || services.length === 0) return;
    await this.propose({
      kind: "service.upsert",
      services: services.map((service): ServiceRegistration => ({
        ID: `_nomad-task-${alloc.ID}-group-${alloc.TaskGroup}-${service.Name}-${service.PortLabel}`,
        ServiceName: service.Name,
        Namespace: alloc.Namespace,
        NodeID: alloc.NodeID,
        Datacenter: node.Datacenter,
        JobID: alloc.JobID,
        AllocID: alloc.ID,
        Tags: (service.Tags ?? []).map((tag) => tag.replace("${NOMAD_GROUP_NAME}", alloc.TaskGroup)),
        Address: "192.0.2.2",
        Port: alloc.AllocatedResources.Shared.Ports?.[0]?.Value ?? 0,
        CreateIndex: 0,
        ModifyIndex: 0,
      })),
    });
  }
}

function taskState(status: AllocUpdate["ClientStatus"]): TaskState {
  const now = new Date().toISOString();
  const ended = status !== "running";
  const events = [
    taskEvent("Received", "Task received by client"),
    taskEvent("Started", "Task started by client"),
  ];
  if (ended) events.push(taskEvent("Terminated", "Exit Code: 0"));
  return {
    State: ended ? "dead" : "running",
    Failed: status === "failed",
    Restarts: status === "failed" ? 1 : 0,
    LastRestart: status === "failed" ? now : null,
    StartedAt: now,
    FinishedAt: ended ? now : null,
    Paused: "",
    Events: events,
  };
}

function taskEvent(type: string, message: string): TaskEvent {
  return {
    ...BLANK_EVENT,
    Type: type,
    Time: Date.now() * 1e6,
    DisplayMessage: message,
  };
}
