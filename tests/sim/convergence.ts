// What must be true some time after the last fault, and why it is not yet. Looks at the real state of real servers and at
// what really runs on devices; changes nothing.
import type { Allocation, Job } from "../../core/types.ts";
import { fullStateHash } from "./check_state.ts";
import type { Cluster } from "./cluster.ts";
import type { ServerProcess } from "./server_process.ts";

/** The first thing that still differs from a settled cluster, "" when nothing does. Cheap things first. */
export function unsettled(cluster: Cluster): string {
  const leader = cluster.leader;
  if (!leader) return "no server leads";
  if (!cluster.operator.isIdle) return "the operator still replaces a server";
  if (!cluster.quiet) return "clients wait for answers";
  return serversDiffer(cluster, leader) || devicesDiffer(cluster, leader) || workIsOpen(leader) ||
    jobsDiffer(leader) || statesDiffer(cluster, leader);
}

function serversDiffer(cluster: Cluster, leader: ServerProcess): string {
  const { log, term, config } = leader.raft!;
  for (const { id } of config.servers) {
    const server = cluster.servers.get(id)!;
    if (!server.ready) return `${id} is not running`;
    const own = server.raft!;
    if (own.term !== term) return `${id} is in term ${own.term}, the leader ${leader.id} in ${term}`;
    if (server.applied !== log.lastIndex || own.log.commit !== log.lastIndex) {
      return `${id} applied ${server.applied} of ${log.lastIndex}`;
    }
  }
  return "";
}

function devicesDiffer(cluster: Cluster, leader: ServerProcess): string {
  const { state } = leader.server!;
  for (const device of cluster.devices.values()) {
    const node = state.node(device.id);
    if (!node) return `${device.name} is not registered`;
    if (node.Status !== "ready") return `${device.name} is ${node.Status}`;
    if (node.SchedulingEligibility !== "eligible" || node.DrainStrategy) {
      return `${device.name} is not eligible`;
    }
    if (device.connectedTo === "") return `${device.name} is not connected`;
    const wanted = new Map<string, Allocation>();
    for (const alloc of state.allocsByNode(device.id)) {
      if (alloc.DesiredStatus === "run" && !hasEnded(alloc)) wanted.set(alloc.ID, alloc);
    }
    for (const [id, alloc] of wanted) {
      if (!device.running.has(id)) {
        return `${device.name} does not run ${alloc.Name} (${id}, ${alloc.ClientStatus})`;
      }
    }
    for (const [id, task] of device.running) {
      if (!wanted.has(id)) return `${device.name} runs ${task.allocName} (${id}), which it should not`;
    }
  }
  return "";
}

function hasEnded(alloc: Allocation): boolean {
  return ["complete", "failed", "lost"].includes(alloc.ClientStatus);
}

function workIsOpen({ server }: ServerProcess): string {
  for (const evaluation of server!.state.evals()) {
    if (evaluation.Status === "pending") {
      return `evaluation ${evaluation.ID} of ${evaluation.JobID} (${evaluation.TriggeredBy}) is pending`;
    }
    if (evaluation.Status === "blocked") {
      return `evaluation ${evaluation.ID} of ${evaluation.JobID} is blocked`;
    }
  }
  for (const deployment of server!.state.deployments()) {
    if (deployment.Status === "running" || deployment.Status === "pending") {
      return `deployment ${deployment.ID} of ${deployment.JobID} is ${deployment.Status}`;
    }
  }
  return "";
}

function jobsDiffer({ server }: ServerProcess): string {
  const { state } = server!;
  for (const job of state.jobs()) {
    if (job.ParameterizedJob || job.Periodic) continue;
    const running = [...state.allocsByJob(job.Namespace, job.ID)].filter((alloc) =>
      alloc.DesiredStatus === "run" && alloc.ClientStatus === "running"
    );
    // A version whose deployment failed gets no further allocations, as in the reference.
    const latest = state.latestDeployment(job.Namespace, job.ID);
    if (latest?.Status === "failed" && latest.JobVersion === job.Version && !job.Stop) continue;
    const difference = jobDiffers(job, running, state.nodeCount);
    if (difference) return `job ${job.ID} (${job.Type}, version ${job.Version}): ${difference}`;
  }
  return "";
}

function jobDiffers(job: Job, running: Allocation[], nodes: number): string {
  if (job.Stop) return running.length > 0 ? `is stopped, ${running.length} allocations run` : "";
  if (job.Type === "batch" || job.Type === "sysbatch") {
    return running.length > 0 ? `${running.length} allocations still run` : "";
  }
  const wanted = job.Type === "system" ? nodes : job.TaskGroups[0]!.Count;
  if (running.length !== wanted) return `${running.length} of ${wanted} allocations run`;
  // Names may stand twice where canaries were promoted while the count grew, as in the reference.
  return "";
}

function statesDiffer(cluster: Cluster, leader: ServerProcess): string {
  const hash = fullStateHash(leader.server!.state);
  for (const { id } of leader.raft!.config.servers) {
    const { state } = cluster.servers.get(id)!.server!;
    if (fullStateHash(state) !== hash) return `the state of ${id} differs from the leader's`;
  }
  return "";
}

/** One line a server and device, for a failure's report. */
export function summary(cluster: Cluster): string[] {
  const servers = [...cluster.servers.values()].map((server) => {
    const { id, raft, broken, retired, ready, paused, applied } = server;
    const flags = Object.entries({ broken, retired, ready, paused }).filter(([, on]) => on).map(([name]) =>
      name
    );
    if (!raft) return `${id} ${flags.join(" ") || "down"}`;
    const { config, lastIndex, commit } = raft.log;
    const members = config.config.servers.map((member) => member.voter ? member.id : `(${member.id})`);
    return `${id} ${flags.join(" ")} ${raft.role} term ${raft.term} last ${lastIndex} commit ${commit} ` +
      `applied ${applied} members ${members.join(",")} @${config.index}`;
  });
  const devices = [...cluster.devices.values()].map((device) =>
    `${device.name} ${device.up ? "up" : "down"} connected to ${
      device.connectedTo || "nobody"
    }, runs ${device.running.size}`
  );
  return [...servers, ...devices];
}
