// Turns plans into log entries: checks each node once more against state and the plans in flight, leaves out what does
// not fit (a part is committed, the evaluation runs again), proposes the rest, and holds what it takes until it is applied.
//
// Invariant: every placement between its proposal and its apply is in the overlay, so that no other plan can count on
// the same room; the hold ends in the very call that applies the plan.
import { isClientTerminal } from "./alloc_sets.ts";
import type { Command } from "./commands.ts";
import { demandOf } from "./demand.ts";
import { changesNothing, type Hold, type Plan } from "./plan_builder.ts";
import type { Changes, StateReader } from "./state_reader.ts";
import { exhausted, portTaken, UsageJournal, UsageOverlay } from "./usage.ts";

export interface PlanQueueOptions {
  state: StateReader;
  nowNs(): number;
  propose(command: Command, options?: { patient?: boolean }): Promise<{ index: number }>;
}

/** `rejected`: placements that were left out because their node is full or gone. */
export interface Committed {
  index: number;
  rejected: number;
}

export class PlanQueue {
  readonly overlay = new UsageOverlay();
  #inFlight = new Map<string, Hold[]>();

  constructor(private readonly options: PlanQueueOptions) {}

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Resolves when the plan is durable and applied. Rejects like `propose`. */
  async submit(plan: Plan): Promise<Committed> {
    const { result } = plan;
    if (changesNothing(result)) {
      const { index } = await this.options.propose({
        kind: "eval.upsert",
        time: this.options.nowNs(),
        evals: result.evals,
      }, { patient: true });
      return { index, rejected: 0 };
    }
    const rejected = this.#reserve(plan);
    try {
      const { index } = await this.options.propose({
        kind: "plan",
        time: this.options.nowNs(),
        plan: plan.result,
      });
      return { index, rejected };
    } finally {
      this.#release(result.evalId);
    }
  }

  /** Must hear of every apply before anything schedules on the new state. */
  onChanges(changes: Changes): void {
    if (this.#inFlight.size === 0) return;
    for (const evaluation of changes.evals) this.#release(evaluation.ID);
  }

  /** Forgets all holds: leadership is gone. */
  clear(): void {
    for (const id of [...this.#inFlight.keys()]) this.#release(id);
  }

  #release(evalId: string): void {
    const holds = this.#inFlight.get(evalId);
    if (!holds) return;
    this.#inFlight.delete(evalId);
    for (const { slot, demand, sign } of holds) this.overlay.add(slot, demand, sign === 1 ? -1 : 1);
  }

  /** Holds what fits and cuts the rest out of the plan; returns how many placements were cut. */
  #reserve(plan: Plan): number {
    const { state } = this.options;
    this.overlay.fit(state.nodeTable);
    const freed = new UsageJournal(this.overlay);
    for (const { id } of [...plan.result.stops, ...plan.result.preemptions]) {
      const alloc = state.alloc(id);
      const slot = alloc ? state.nodeTable.slot(alloc.NodeID) : -1;
      if (!alloc || slot < 0 || isClientTerminal(alloc)) continue;
      freed.add(slot, demandOf(alloc.AllocatedResources), -1);
    }
    const kept: Hold[] = [];
    const rejected = new Set<string>();
    for (const hold of plan.holds) {
      if (hold.placement !== null && !this.#fits(hold)) {
        rejected.add(hold.placement);
        continue;
      }
      this.overlay.add(hold.slot, hold.demand, hold.sign);
      kept.push(hold);
    }
    freed.rollback();
    this.#inFlight.set(plan.result.evalId, kept);
    if (rejected.size > 0) this.#cut(plan, rejected);
    return rejected.size;
  }

  #fits({ slot, demand }: Hold): boolean {
    const { nodeTable: table } = this.options.state;
    if (table.nodes[slot] === undefined || table.ready[slot] === 0) return false;
    if (exhausted(table, this.overlay, slot, demand)) return false;
    return demand.ports.every((port) => !portTaken(table, this.overlay, slot, port));
  }

  /** Leaves out placements and the stops that only made room for them; the evaluation stays open. */
  #cut(plan: Plan, rejected: Set<string>): void {
    const { result } = plan;
    const all = plan.allAtOnce;
    const gone = result.placements.filter((placement) => all || rejected.has(placement.id));
    const previous = new Set(gone.map((placement) => placement.previous));
    result.placements = all ? [] : result.placements.filter((placement) => !rejected.has(placement.id));
    result.stops = result.stops.filter((stop) => !previous.has(stop.id));
    result.preemptions = result.preemptions.filter(({ by }) =>
      !gone.some((placement) => placement.id === by)
    );
    if (all) {
      result.inPlace = [];
      result.stops = [];
      const holds = this.#inFlight.get(result.evalId)!;
      for (const { slot, demand, sign } of holds.splice(0)) {
        this.overlay.add(slot, demand, sign === 1 ? -1 : 1);
      }
    }
    plan.more = true;
    const open = { ...plan.evaluation, Status: "pending" as const, BlockedEval: "", FailedTGAllocs: null };
    result.evals = [open, ...plan.created.filter((evaluation) => evaluation.Status !== "blocked")];
    plan.evaluation = open;
  }
}
