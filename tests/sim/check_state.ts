// The replicated state: every index is applied once, in order, with the same command, the same answer and the same changes
// on every server, whether it came by log or by snapshot.
//
// Two hashes. The chain goes with every apply: over the command, its answer and the records it changed, so it is equal
// at equal index or something differs; a server that loads a snapshot takes the chain of its index over. The whole state
// is hashed where a snapshot is taken or loaded and at every index that WHOLE_EVERY divides: each record once, whatever
// the order of rows. What readers cannot see of it (requests that carry an id) is compared at a run's end.
import { crc32 } from "node:zlib";
import type { Command } from "../../server/commands.ts";
import type { ApplyResult } from "../../server/log.ts";
import type { State } from "../../server/state.ts";
import type { Allocation } from "../../core/types.ts";
import type { Changes, StateReader, Table } from "../../server/state_reader.ts";
import { type Checker, SimFailure, type SimServer } from "./contract.ts";

const WHOLE_EVERY = 64;
/** Indexes of which hashes are kept. */
const KEPT = 100_000;

interface Link {
  index: number;
  chain: number;
  whole: number | null;
  command: Command;
  /** Who was first. */
  server: string;
}

interface Follower {
  index: number;
  /** Null: a snapshot came of an index that nobody was seen to apply. */
  chain: number | null;
  /** What the command under way changed, as text. */
  changed: string;
}

export class StateChecker implements Checker {
  readonly rule = "state";
  readonly #links = new Map<number, Link>();
  readonly #followers = new Map<string, Follower>();

  onStart(server: SimServer): void {
    const follower: Follower = { index: 0, chain: 0, changed: "" };
    this.#followers.set(server.id, follower);
    const state = server.server!.state;
    state.onChanges((changes) => {
      follower.changed = textOf(changes);
    });
    const snapshot = state.snapshot.bind(state);
    state.snapshot = () => {
      this.#checkWhole(server.id, state);
      return snapshot();
    };
  }

  onApply(server: SimServer, index: number, command: Command, result: ApplyResult): void {
    const follower = this.#followers.get(server.id)!;
    if (index !== follower.index + 1) {
      throw new SimFailure("apply once", `${server.id} applied ${index} after ${follower.index}`);
    }
    follower.index = index;
    const known = this.#links.get(index);
    if (known && known.command !== command && !isSame(known.command, command)) {
      throw new SimFailure(
        "state machine safety",
        `${server.id} applied ${command.kind} at ${index}, ${known.server} ${known.command.kind}: ` +
          `${JSON.stringify(command).slice(0, 300)} and ${JSON.stringify(known.command).slice(0, 300)}`,
      );
    }
    if (follower.chain === null) follower.chain = known?.chain ?? null;
    else {follower.chain = crc32(
        `${index}${command.kind}${answerOf(result)}${follower.changed}`,
        follower.chain,
      );}
    follower.changed = "";
    if (!known) this.#add({ index, chain: follower.chain ?? 0, whole: null, command, server: server.id });
    else if (follower.chain !== null && follower.chain !== known.chain) {
      throw new SimFailure(
        "state hash",
        `${command.kind} at ${index} changed something else on ${server.id} than on ${known.server}`,
      );
    }
    if (index % WHOLE_EVERY === 0) this.#checkWhole(server.id, server.server!.state);
  }

  #add(link: Link): void {
    this.#links.set(link.index, link);
    if (this.#links.size > KEPT) this.#links.delete(this.#links.keys().next().value!);
  }

  onRestore(server: SimServer, index: number): void {
    const follower = this.#followers.get(server.id)!;
    if (index < follower.index) {
      throw new SimFailure(
        "apply once",
        `${server.id} went back from ${follower.index} to a snapshot of ${index}`,
      );
    }
    follower.index = index;
    follower.chain = this.#links.get(index)?.chain ?? null;
    this.#checkWhole(server.id, server.server!.state);
  }

  #checkWhole(id: string, state: State): void {
    const { index } = state;
    const link = this.#links.get(index);
    if (!link) return;
    const whole = stateHash(state);
    link.whole ??= whole;
    if (link.whole !== whole) {
      throw new SimFailure(
        "state hash",
        `the state of ${id} at ${index} is not what another server had there`,
      );
    }
  }
}

function isSame(a: Command, b: Command): boolean {
  return a.kind === b.kind && JSON.stringify(a) === JSON.stringify(b);
}

function answerOf({ refused, repeated }: ApplyResult): string {
  return `${refused ? refused.message : ""}${repeated ? `again ${repeated.index}` : ""}`;
}

/** What tells one version of a record from another, for each record that changed. */
function textOf(changes: Changes): string {
  const parts: unknown[] = [];
  for (const { ID, ModifyIndex, JobModifyIndex, Version, Status, Stop } of changes.jobs) {
    parts.push(ID, ModifyIndex, JobModifyIndex, Version, Status, Stop);
  }
  for (const node of changes.nodes) {
    parts.push(node.ID, node.ModifyIndex, node.Status, node.SchedulingEligibility, node.StatusUpdatedAt);
  }
  for (const alloc of [...changes.allocs, ...changes.clientAllocs]) {
    parts.push(alloc.ID, alloc.ModifyIndex, alloc.AllocModifyIndex, alloc.DesiredStatus, alloc.ClientStatus);
    parts.push(alloc.NodeID, alloc.FollowupEvalID, alloc.NextAllocation, alloc.DeploymentStatus?.Healthy);
  }
  for (const { ID, ModifyIndex, Status, WaitUntil, BlockedEval } of changes.evals) {
    parts.push(ID, ModifyIndex, Status, WaitUntil, BlockedEval);
  }
  for (const { ID, ModifyIndex, Status, TaskGroups } of changes.deployments) {
    parts.push(ID, ModifyIndex, Status);
    for (const name in TaskGroups) {
      parts.push(TaskGroups[name]!.PlacedAllocs, TaskGroups[name]!.HealthyAllocs);
    }
  }
  for (const { JobID, ModifyIndex, Summary } of changes.summaries) {
    parts.push(JobID, ModifyIndex);
    for (const name in Summary) parts.push(...Object.values(Summary[name]!));
  }
  for (const { Name, ModifyIndex, Description } of changes.namespaces) {
    parts.push(Name, ModifyIndex, Description);
  }
  // A purge finds what it removes in the order of rows, which a snapshot does not keep.
  const removed = [...changes.removedJobs, ...changes.removedNodes, ...changes.removedAllocs].map(({ ID }) =>
    ID
  );
  parts.push(...removed.sort(), ...[...changes.removedEvals, ...changes.removedDeployments].sort());
  for (const { Name } of changes.removedNamespaces) parts.push(Name);
  return parts.join(" ");
}

const hashes = new WeakMap<object, number>();

/** Records are immutable, so each is hashed once. The order of its fields is nobody's business. */
function hashOf(record: object): number {
  let hash = hashes.get(record);
  if (hash === undefined) {
    const fields = Object.keys(record).sort();
    hash = crc32(JSON.stringify(fields.map((name) => [name, (record as Record<string, unknown>)[name]])));
    hashes.set(record, hash);
  }
  return hash;
}

/** An allocation's job, resources and metrics are shared by many: they are hashed once, too. */
function hashOfAlloc(alloc: Allocation): number {
  let hash = hashes.get(alloc);
  if (hash === undefined) {
    const { Job, AllocatedResources, Metrics, ...own } = alloc;
    const shared = [Job, AllocatedResources, Metrics].map((part) => part ? hashOf(part) : 0);
    hash = crc32(shared.join(" "), hashOf(own));
    hashes.set(alloc, hash);
  }
  return hash;
}

/** Over everything that the state tells its readers, whatever the order of its rows. */
export function stateHash(state: StateReader): number {
  let sum = 0;
  const add = (records: Iterable<object>) => {
    for (const record of records) sum += hashOf(record);
  };
  for (const alloc of state.allocs()) sum += hashOfAlloc(alloc);
  for (const job of state.jobs()) {
    add(state.jobVersions(job.Namespace, job.ID));
    add([state.jobSummary(job.Namespace, job.ID)!, state.scalingEvents(job.Namespace, job.ID)]);
    sum += (state.periodicLaunchMs(job.Namespace, job.ID) ?? 0) % 2 ** 32;
  }
  add(state.nodes());
  add(state.evals());
  add(state.deployments());
  add(state.namespaces());
  add(state.nodePools());
  add(state.services());
  add([state.schedulerConfig()]);
  for (const table of TABLES) sum += crc32(`${table} ${state.tableIndex(table)}`);
  return sum % 2 ** 48;
}

const TABLES: readonly Table[] = [
  "jobs",
  "job_summary",
  "job_versions",
  "nodes",
  "allocs",
  "evals",
  "deployment",
  "namespaces",
  "node_pools",
  "scheduler_config",
];

/** Also over what readers cannot see: for a run's end, because it writes the whole state out. */
export function fullStateHash(state: State): number {
  let sum = stateHash(state);
  for (const chunk of state.snapshot()) {
    // How allocations share objects tells where a state came from, not what it is: stateHash looks at them.
    if (!chunk.startsWith(`{"kind":"alloc`)) sum += crc32(chunk);
  }
  return sum % 2 ** 48;
}
