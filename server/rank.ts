// Chooses a node for one allocation: goes through the candidates, passes over what is infeasible or full, scores the
// rest, takes the best, and notes what was taken so that the next choice of the same plan sees it.
//
// Without spread or affinity it looks at a sample, as Nomad does: the first log2(n) nodes (two for batch) that fit, in an order
// that differs from evaluation to evaluation. Otherwise it looks at all nodes (full_search.ts).
//
// Invariants: a choice fits in every dimension on top of state, plans in flight and this plan; all it adds to the
// overlay goes through one journal, which the run takes back at its end.
import type { Random } from "../core/env.ts";
import type { AllocatedResources, Allocation, AllocMetric, Job, Node, TaskGroup } from "../core/types.ts";
import { isClientTerminal, isServerTerminal } from "./alloc_sets.ts";
import { type AttributeColumn, attributeColumn, type Candidates } from "./candidates.ts";
import { demandOf, groupDemand } from "./demand.ts";
import { asksForInstances, assignInstances, devicesToFree } from "./devices.ts";
import { Distinct } from "./distinct.ts";
import { type Feasibility, feasibilityOf, perAllocVolumesCheck } from "./feasible.ts";
import { FullSearch } from "./full_search.ts";
import { matchesGlob } from "./glob.ts";
import { MetricTally, type ScoreRow, type SearchScope } from "./metrics.ts";
import type { Demand } from "./node_table.ts";
import { assignPorts, type PortAsk, portAskOf, type PortGrant, staticPortKeys } from "./ports.ts";
import { choosePreempted, hurtsLess, isPreemptible, preemptionEnabled, preemptionScore } from "./preempt.ts";
import { groupResources, resourcesInPlace, withGrants } from "./resources.ts";
import { Scoring } from "./scoring.ts";
import { memoryOversubscription } from "./scheduler_config.ts";
import { SlotCounts } from "./slot_counts.ts";
import type { StateReader } from "./state_reader.ts";
import { exhausted, portTaken, UsageJournal, type UsageOverlay } from "./usage.ts";

/** Nodes with a score of 0 or less that the sample passes over while it hopes for better ones. */
const SKIPPED_MAX = 3;
/** Nodes on which room could be made that are compared with each other. */
const PREEMPTIONS_COMPARED_MAX = 16;
/** Candidates that the metrics of a wide search name one by one. */
const DESCRIBED_MAX = 256;

export interface RankerInput {
  state: StateReader;
  overlay: UsageOverlay;
  job: Job;
  candidates: Candidates;
  algorithm: "binpack" | "spread";
  random: Random;
  /** Monotonic nanoseconds, for AllocationTime; left out where results must not depend on a clock. */
  stopwatchNs?: () => number;
}

export interface Wish {
  /** Index in the allocation's name, for per_alloc volumes. */
  index: number;
  /** Nodes where an earlier try failed. */
  penalty?: ReadonlySet<number>;
  /** The node to take if it can (sticky disks). */
  preferred?: number;
  /** The only node that may be taken (system jobs, updates in place). */
  only?: number;
  /** Keep metrics of a success. */
  metrics: boolean;
}

export interface Choice {
  slot: number;
  node: Node;
  resources: AllocatedResources;
  demand: Demand;
  metrics: AllocMetric | null;
  /** Allocations that must make room. */
  preempted: Allocation[];
}

type Found = Omit<Choice, "metrics">;

/** Everything about one group of the job that stays the same during the run. */
interface GroupSearch {
  group: TaskGroup;
  ask: { cpuMhz: number; memoryMb: number; diskMb: number };
  ports: PortAsk | null;
  hasStaticPorts: boolean;
  instances: boolean;
  perAllocVolumes: ((node: Node, index: number) => boolean) | null;
  feasibility: Feasibility;
  scoring: Scoring;
  /** The group's allocations by slot, the plan's included. */
  perSlot: SlotCounts;
  distinct: Distinct;
  full: FullSearch | null;
  resources: AllocatedResources;
  demand: Demand;
}

export class Ranker {
  readonly journal: UsageJournal;
  /** By the group's record: an older version of it, which a pending promotion keeps alive, asks for other things. */
  #groups = new Map<TaskGroup, GroupSearch>();
  /** Every live allocation of the job by slot, the plan's included. */
  #perSlot = new SlotCounts();
  /** The same by group. */
  #perGroup = new Map<string, SlotCounts>();
  #freed = new Set<string>();
  #start: number;
  #stride: number;
  #cursor = 0;
  #scope: SearchScope;

  constructor(private readonly input: RankerInput) {
    const { state, overlay, candidates, random, job } = input;
    overlay.fit(state.nodeTable);
    this.journal = new UsageJournal(overlay);
    const n = candidates.slots.length;
    this.#start = n > 0 ? random.int(n) : 0;
    this.#stride = n > 2 ? coprimeStride(n, random) : 1;
    this.#scope = {
      pool: isSystem(job) ? "" : job.NodePool,
      nodesInPool: n,
      byDatacenter: candidates.byDatacenter,
    };
  }

  get scope(): SearchScope {
    return this.#scope;
  }

  /** Counts an allocation of this job that lives on: it is another one's neighbour. */
  addLive(alloc: Allocation): void {
    const slot = this.input.state.nodeTable.slot(alloc.NodeID);
    if (slot < 0) return;
    this.#perSlot.add(slot, 1);
    this.#countAt(alloc.TaskGroup, slot, 1);
  }

  /** The plan stops this allocation: what it holds is free for the plan's own placements. */
  release(alloc: Allocation, wasLive: boolean): void {
    const slot = this.input.state.nodeTable.slot(alloc.NodeID);
    // What has ended holds nothing any more.
    if (slot < 0 || isClientTerminal(alloc)) return;
    this.journal.add(slot, demandOf(alloc.AllocatedResources), -1);
    this.#freed.add(alloc.ID);
    if (wasLive) this.#uncount(alloc, slot);
    this.#touch(slot);
  }

  /** Puts back what `release` gave (no replacement was found, so it goes on). */
  retain(alloc: Allocation): void {
    const slot = this.input.state.nodeTable.slot(alloc.NodeID);
    if (slot < 0) return;
    this.journal.add(slot, demandOf(alloc.AllocatedResources), 1);
    this.#freed.delete(alloc.ID);
    this.addLive(alloc);
    this.#touch(slot);
  }

  /** Takes over the group's new version on the same node, ports and instances kept; null when it does not fit there. */
  updateInPlace(
    alloc: Allocation,
    group: TaskGroup,
  ): { before: Demand; after: Demand; resources: AllocatedResources } | null {
    const { state: { nodeTable: table }, overlay, job } = this.input;
    const slot = table.slot(alloc.NodeID);
    const node = table.nodes[slot];
    if (!node || !inDatacenters(node, job)) return null;
    const search = this.#search(group);
    if (!search.feasibility.feasible(slot)) return null;
    const resources = resourcesInPlace(group, alloc.AllocatedResources, this.#oversubscribed());
    const before = demandOf(alloc.AllocatedResources);
    const after = demandOf(resources);
    this.journal.add(slot, before, -1);
    if (exhausted(table, overlay, slot, after)) {
      this.journal.add(slot, before, 1);
      return null;
    }
    this.journal.add(slot, after, 1);
    this.#touch(slot);
    return { before, after, resources };
  }

  #uncount(alloc: Allocation, slot: number): void {
    this.#perSlot.add(slot, -1);
    this.#countAt(alloc.TaskGroup, slot, -1);
  }

  #countAt(group: string, slot: number, sign: 1 | -1): void {
    this.#countsOf(group).add(slot, sign);
    for (const search of this.#groups.values()) {
      if (search.group.Name !== group) continue;
      search.scoring.count(slot, sign);
      search.distinct.count(slot, sign);
    }
  }

  #countsOf(group: string): SlotCounts {
    let counts = this.#perGroup.get(group);
    if (!counts) this.#perGroup.set(group, counts = new SlotCounts());
    return counts;
  }

  /** Classes looked at for the group, and whether its constraints look beyond classes. */
  eligibility(group: TaskGroup): { classes: Map<string, boolean>; escaped: boolean } {
    const { classes, escaped } = this.#search(group).feasibility;
    return { classes, escaped };
  }

  /** Whether the node could run the group at all, whatever is free on it. */
  accepts(group: TaskGroup, slot: number): boolean {
    const node = this.input.state.nodeTable.nodes[slot];
    return node !== undefined && inDatacenters(node, this.input.job) &&
      this.#search(group).feasibility.feasible(slot);
  }

  /** Finds a node; the choice is noted at once. With null comes the reason. */
  choose(group: TaskGroup, wish: Wish): { choice: Choice } | { choice: null; failure: AllocMetric } {
    const search = this.#search(group);
    const began = this.input.stopwatchNs?.() ?? 0;
    const tally = new MetricTally();
    const found = this.#find(search, wish, tally) ?? this.#findByPreemption(search, wish, tally);
    const elapsed = () => Math.round((this.input.stopwatchNs?.() ?? 0) - began);
    if (!found) return { choice: null, failure: tally.build(this.#scope, group, elapsed()) };
    const metrics = wish.metrics
      ? { ...tally.build(this.#scope, group, elapsed()), ResourcesExhausted: null }
      : null;
    this.#take(search, found);
    return { choice: { ...found, metrics } };
  }

  #find(search: GroupSearch, wish: Wish, tally: MetricTally): Found | null {
    if (wish.only !== undefined) return this.#findOn(search, wish.only, wish, tally);
    if (wish.preferred !== undefined && wish.preferred >= 0) {
      const there = this.#findOn(search, wish.preferred, wish, tally);
      if (there) return there;
    }
    if (search.scoring.wide && !wish.penalty?.size && !search.perAllocVolumes) {
      const found = this.#findFull(search, wish, tally);
      // A failure is explained by looking at every node once more.
      if (found) return found;
    }
    return this.#findSample(search, wish, tally);
  }

  #findOn(search: GroupSearch, slot: number, wish: Wish, tally: MetricTally): Found | null {
    if (!this.#usable(search, slot, wish, tally)) return null;
    if (wish.metrics) tally.row(this.#rowOf(search, slot));
    return this.#grant(search, slot, tally);
  }

  /** Makes room by evicting less important allocations, where the cluster allows that. */
  #findByPreemption(search: GroupSearch, wish: Wish, tally: MetricTally): Found | null {
    const { state, job, candidates } = this.input;
    if (!preemptionEnabled(job, state.schedulerConfig())) return null;
    let best: { slot: number; evicted: Allocation[]; row: ScoreRow } | null = null;
    const rows: ScoreRow[] = [];
    let looked = 0;
    for (const slot of wish.only !== undefined ? [wish.only] : candidates.slots) {
      const node = state.nodeTable.nodes[slot]!;
      looked++;
      if (!search.feasibility.feasible(slot) || search.distinct.reason(slot)) continue;
      if (search.perAllocVolumes && !search.perAllocVolumes(node, wish.index)) continue;
      const evicted = this.#evictable(search, slot, node);
      if (!evicted) continue;
      const row = this.#rowAfterEviction(search, slot, evicted, wish);
      rows.push(row);
      const [score, bestScore] = [row.NormScore, best?.row.NormScore ?? -Infinity];
      if (score > bestScore || (score === bestScore && hurtsLess(evicted, best!.evicted))) {
        best = { slot, evicted, row };
      }
      if (rows.length >= PREEMPTIONS_COMPARED_MAX) break;
    }
    const found = best && this.#evict(search, best.slot, best.evicted, tally);
    if (!found) return null;
    // The search that found no room is not the one that succeeded.
    tally.clear();
    tally.evaluated = looked;
    tally.rows = rows;
    return found;
  }

  /** The slot's score as if those that must make room were gone. */
  #rowAfterEviction(search: GroupSearch, slot: number, evicted: readonly Allocation[], wish: Wish): ScoreRow {
    const before = this.journal.length;
    for (const alloc of evicted) this.journal.add(slot, demandOf(alloc.AllocatedResources), -1);
    search.scoring.touch(slot);
    const score = preemptionScore(evicted);
    const row = isSystem(this.input.job)
      ? this.#rowOf(search, slot)
      : search.scoring.row(slot, wish.penalty?.has(slot) ?? false, score);
    this.journal.rollback(before);
    search.scoring.touch(slot);
    return row;
  }

  #evictable(search: GroupSearch, slot: number, node: Node): Allocation[] | null {
    const { state, overlay, job } = this.input;
    const { nodeTable: table } = state;
    const lack = {
      cpuMhz: table.cpuUsed[slot]! + overlay.cpu[slot]! + search.ask.cpuMhz - table.cpuTotal[slot]!,
      memoryMb: table.memoryUsed[slot]! + overlay.memory[slot]! + search.ask.memoryMb -
        table.memoryTotal[slot]!,
      diskMb: table.diskUsed[slot]! + overlay.disk[slot]! + search.ask.diskMb - table.diskTotal[slot]!,
      ports: search.ports
        ? staticPortKeys(search.ports, node).filter((key) => portTaken(table, overlay, slot, key))
        : [],
    };
    const running: Allocation[] = [];
    for (const alloc of state.allocsByNode(node.ID)) {
      if (isClientTerminal(alloc) || this.#freed.has(alloc.ID)) continue;
      if (isServerTerminal(alloc)) {
        // It is leaving already: evicting others in its place would be too much.
        const demand = demandOf(alloc.AllocatedResources);
        lack.cpuMhz -= demand.cpuMhz;
        lack.memoryMb -= demand.memoryMb;
        lack.diskMb -= demand.diskMb;
        lack.ports = lack.ports.filter((key) => !demand.ports.includes(key));
      } else if (alloc.JobID !== job.ID || alloc.Namespace !== job.Namespace) running.push(alloc);
    }
    const devices = search.instances ? this.#devicesToFree(search, slot, running) : [];
    if (!devices) return null;
    lack.ports.push(...devices);
    const evicted = choosePreempted(running, job.Priority, lack);
    return evicted && evicted.length > 0 ? evicted : null;
  }

  #devicesToFree(search: GroupSearch, slot: number, running: readonly Allocation[]): number[] | null {
    const { state: { nodeTable: table }, overlay, job } = this.input;
    const holders = new Map<number, number>();
    for (const alloc of running) {
      if (!isPreemptible(alloc, job.Priority)) continue;
      for (const key of demandOf(alloc.AllocatedResources).ports) holders.set(key, alloc.Job.Priority);
    }
    return devicesToFree(search.group, {
      node: table.nodes[slot]!,
      taken: (key) => portTaken(table, overlay, slot, key),
      holder: (key) => holders.get(key),
    });
  }

  #evict(search: GroupSearch, slot: number, evicted: Allocation[], tally: MetricTally): Found | null {
    const before = this.journal.length;
    for (const alloc of evicted) this.release(alloc, false);
    const granted = exhausted(this.input.state.nodeTable, this.input.overlay, slot, search.ask)
      ? null
      : this.#grant(search, slot, tally);
    if (granted) return { ...granted, preempted: evicted };
    this.journal.rollback(before);
    for (const alloc of evicted) this.#freed.delete(alloc.ID);
    this.#touch(slot);
    return null;
  }

  /** Where there is no choice of nodes only the fit is worth telling. */
  #rowOf(search: GroupSearch, slot: number): ScoreRow {
    const row = search.scoring.row(slot, false);
    if (!isSystem(this.input.job)) return row;
    const fit = search.scoring.fit(slot);
    return { ...row, Scores: { binpack: fit }, NormScore: fit };
  }

  #findSample(search: GroupSearch, wish: Wish, tally: MetricTally): Found | null {
    const { slots } = this.input.candidates;
    const n = slots.length;
    const limit = search.scoring.wide ? n : sampleSize(this.input.job, n);
    const tried: { slot: number; score: number }[] = [];
    const skipped: { slot: number; score: number }[] = [];
    let seen = 0;
    let best: Found | null = null;
    while (!best) {
      while (seen < n && tried.length < limit) {
        const slot = slots[(this.#start + this.#cursor * this.#stride) % n]!;
        this.#cursor = this.#cursor + 1 === n ? 0 : this.#cursor + 1;
        seen++;
        if (!this.#usable(search, slot, wish, tally)) continue;
        const penalty = wish.penalty?.has(slot) ?? false;
        const score = search.scoring.total(slot, penalty);
        if (wish.metrics) tally.row(search.scoring.row(slot, penalty));
        (score <= 0 && skipped.length < SKIPPED_MAX ? skipped : tried).push({ slot, score });
      }
      const pool = tried.length < limit || tried.length === 0 ? tried.concat(skipped.splice(0)) : tried;
      if (pool.length === 0) return null;
      best = this.#grantBest(search, pool, tally);
      tried.length = 0;
    }
    return best;
  }

  /** The best of the pool whose ports and instances can be given. */
  #grantBest(
    search: GroupSearch,
    pool: { slot: number; score: number }[],
    tally: MetricTally,
  ): Found | null {
    while (pool.length > 0) {
      let best = 0;
      for (let i = 1; i < pool.length; i++) if (pool[i]!.score > pool[best]!.score) best = i;
      const slot = pool.splice(best, 1)[0]!.slot;
      const granted = this.#grant(search, slot, tally);
      if (granted) return granted;
    }
    return null;
  }

  #findFull(search: GroupSearch, wish: Wish, tally: MetricTally): Found | null {
    const full = search.full ??= this.#buildFull(search);
    for (;;) {
      const slot = full.best();
      if (slot < 0) return null;
      if (wish.metrics) this.#describe(search, wish, tally, full);
      const granted = this.#grant(search, slot, tally);
      if (granted) return granted;
      tally.clear();
      full.remove(slot);
    }
  }

  /** What a walk over all nodes would have told: of many nodes only the best of each kind. */
  #describe(search: GroupSearch, wish: Wish, tally: MetricTally, full: FullSearch): void {
    const { slots } = this.input.candidates;
    if (slots.length > DESCRIBED_MAX) {
      tally.evaluated = slots.length;
      for (const top of full.tops()) tally.row(search.scoring.row(top, false));
      return;
    }
    for (const slot of slots) {
      if (this.#usable(search, slot, wish, tally)) tally.row(search.scoring.row(slot, false));
    }
  }

  #buildFull(search: GroupSearch): FullSearch {
    const { state: { nodeTable: table }, overlay, candidates } = this.input;
    const { scoring, distinct } = search;
    const columns = [...scoring.spreads, ...distinct.properties].map((term) => term.column);
    return new FullSearch({
      slots: candidates.slots,
      worth: (slot) => {
        if (!search.feasibility.feasible(slot) || distinct.hostTaken(slot)) return null;
        if (this.#full(slot) || exhausted(table, overlay, slot, search.ask)) return null;
        const anti = scoring.antiAffinity(slot);
        return {
          sum: scoring.fit(slot) + anti + scoring.affinity(slot),
          terms: 1 + (anti === 0 ? 0 : 1) + (scoring.hasAffinities ? 1 : 0),
          group: groupOf(columns, slot),
        };
      },
      spread: (slot) => distinct.propertyTaken(slot) ? null : scoring.spread(slot),
    });
  }

  /** Whether the slot could take one more of the group, ports and instances aside; says why not in the tally. */
  #usable(search: GroupSearch, slot: number, wish: Wish, tally: MetricTally): boolean {
    const { state: { nodeTable: table }, overlay } = this.input;
    tally.evaluated++;
    const reason = search.feasibility.reason(slot) ?? search.distinct.reason(slot);
    if (reason) {
      tally.filter(table.nodes[slot]!, reason);
      return false;
    }
    if (search.perAllocVolumes && !search.perAllocVolumes(table.nodes[slot]!, wish.index)) {
      tally.filter(table.nodes[slot]!, MISSING_VOLUMES);
      return false;
    }
    const dimension = this.#full(slot) ?? exhausted(table, overlay, slot, search.ask) ??
      (search.hasStaticPorts ? this.#portsOf(search, slot, true) as string | null : null);
    if (dimension === null) return true;
    tally.exhaust(table.nodes[slot]!, dimension);
    return false;
  }

  /** The node takes no more allocations, whatever their size (client option `node_max_allocs`). */
  #full(slot: number): string | null {
    const { state: { nodeTable: table }, overlay } = this.input;
    const max = table.allocsMax[slot]!;
    if (max === 0) return null;
    const count = table.allocCount[slot]! + overlay.allocs[slot]!;
    return count >= max ? "max allocation exceeded" : null;
  }

  /** Ports of the slot for the group; with `probe` only whether it can: null, or the reason why not. */
  #portsOf(search: GroupSearch, slot: number, probe: boolean): PortGrant | string | null {
    const { state: { nodeTable: table }, overlay, random } = this.input;
    const on = {
      node: table.nodes[slot]!,
      taken: (key: number) => portTaken(table, overlay, slot, key),
    };
    const grant = assignPorts(search.ports!, on, probe ? FIXED_RANDOM : random);
    return probe && typeof grant !== "string" ? null : grant;
  }

  #grant(search: GroupSearch, slot: number, tally: MetricTally): Found | null {
    const { state: { nodeTable: table }, overlay } = this.input;
    const node = table.nodes[slot]!;
    const plain = { slot, node, resources: search.resources, demand: search.demand, preempted: [] };
    if (!search.ports && !search.instances) return plain;
    const ports = search.ports ? this.#portsOf(search, slot, false) : null;
    if (typeof ports === "string") {
      tally.exhaust(node, ports, true);
      return null;
    }
    const instances = search.instances
      ? assignInstances(search.group, { node, taken: (key) => portTaken(table, overlay, slot, key) })
      : null;
    if (typeof instances === "string") {
      tally.exhaust(node, instances, true);
      return null;
    }
    const resources = withGrants(search.resources, ports, instances);
    // Whole cores are worth more than the group asked for in megahertz.
    const dimension = instances && exhausted(table, overlay, slot, demandOf(resources));
    if (dimension) {
      tally.exhaust(node, dimension, true);
      return null;
    }
    return { slot, node, resources, demand: demandOf(resources), preempted: [] };
  }

  #take(search: GroupSearch, found: Found): void {
    const { slot, demand } = found;
    this.journal.add(slot, demand, 1);
    this.#perSlot.add(slot, 1);
    this.#countAt(search.group.Name, slot, 1);
    this.#touch(slot);
  }

  /** What is known of the slot is out of date for every group. */
  #touch(slot: number): void {
    for (const search of this.#groups.values()) {
      search.scoring.touch(slot);
      search.full?.refresh(slot);
    }
  }

  #oversubscribed(): boolean {
    return memoryOversubscription(this.input.state, this.input.job.NodePool);
  }

  #search(group: TaskGroup): GroupSearch {
    const known = this.#groups.get(group);
    if (known) return known;
    const { state, overlay, job, algorithm } = this.input;
    const ask = groupDemand(group);
    const perSlot = this.#countsOf(group.Name);
    const ports = portAskOf(group);
    const resources = groupResources(group, this.#oversubscribed());
    const search: GroupSearch = {
      group,
      ask,
      ports,
      hasStaticPorts: ports !== null && hasStatic(ports),
      instances: asksForInstances(group),
      perAllocVolumes: perAllocVolumesCheck(group),
      feasibility: feasibilityOf(state, job, group),
      scoring: new Scoring({ state, overlay, algorithm, job, group, ask, perSlot }),
      perSlot,
      distinct: new Distinct({
        job,
        group,
        jobPerSlot: this.#perSlot,
        groupPerSlot: perSlot,
        column: (target) => attributeColumn(state, target),
      }),
      full: null,
      resources,
      demand: demandOf(resources),
    };
    for (const [slot, count] of perSlot.entries()) {
      search.scoring.count(slot, count);
      search.distinct.count(slot, count);
    }
    this.#groups.set(group, search);
    return search;
  }
}

/** The slot's values in all columns as one number. */
function groupOf(columns: readonly AttributeColumn[], slot: number): number {
  let group = 0;
  for (const column of columns) group = group * (column.values.length + 1) + column.ids[slot]! + 1;
  return group;
}

const MISSING_VOLUMES = { text: "missing compatible host volumes", ofClass: false, oncePerClass: false };

/** For trying only: the answer does not depend on which dynamic port is drawn. */
const FIXED_RANDOM: Random = { float: () => 0, int: () => 0, uuid: () => "" };

function hasStatic(ask: PortAsk): boolean {
  return [ask.group, ...ask.tasks.map((task) => task.network)].some((network) =>
    (network?.ReservedPorts?.length ?? 0) > 0
  );
}

/** How many fitting nodes are compared: the power of two choices for batch, log2(n) for the rest. */
function sampleSize(job: Job, nodes: number): number {
  if (job.Type === "batch" || nodes < 4) return 2;
  return Math.max(2, Math.ceil(Math.log2(nodes)));
}

/** A step that visits every one of n positions. */
function coprimeStride(n: number, random: Random): number {
  for (;;) {
    const stride = 1 + random.int(n - 1);
    if (gcd(stride, n) === 1) return stride;
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function isSystem(job: Job): boolean {
  return job.Type === "system" || job.Type === "sysbatch";
}

function inDatacenters(node: Node, job: Job): boolean {
  if (job.NodePool !== "all" && node.NodePool !== job.NodePool) return false;
  return job.Datacenters.some((glob) => matchesGlob(glob, node.Datacenter));
}
