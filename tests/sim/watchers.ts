// The checkers of one run as one: every hook is passed on to those that have it. Counts what happened beside them, so that
// a run which tested nothing is seen.
import type { Command } from "../../server/commands.ts";
import type { ApplyResult } from "../../server/log.ts";
import type { Role } from "../../server/raft_types.ts";
import type { StorageWrite } from "../../server/storage.ts";
import type { Checker, Operation, SimCluster, SimDevice, SimServer, SimTask } from "./contract.ts";

export class Watchers {
  readonly counts: Record<string, number> = {};
  readonly #steppers: Checker[];
  readonly #appliers: Checker[];

  constructor(readonly checkers: readonly Checker[]) {
    this.#steppers = checkers.filter((checker) => checker.onStep);
    this.#appliers = checkers.filter((checker) => checker.onApply);
  }

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  begin(cluster: SimCluster): void {
    for (const checker of this.checkers) checker.begin?.(cluster);
  }

  start(server: SimServer): void {
    this.count("starts");
    for (const checker of this.checkers) checker.onStart?.(server);
  }

  crash(server: SimServer): void {
    this.count("crashes");
    for (const checker of this.checkers) checker.onCrash?.(server);
  }

  role(server: SimServer, role: Role, term: number): void {
    if (role === "leader") this.count("elections");
    for (const checker of this.checkers) checker.onRole?.(server, role, term);
  }

  apply(server: SimServer, index: number, command: Command, result: ApplyResult): void {
    this.count("applied");
    if (command.kind === "plan") this.count("placements", command.plan.placements.length);
    for (const checker of this.#appliers) checker.onApply!(server, index, command, result);
  }

  restore(server: SimServer, index: number): void {
    this.count("restores");
    for (const checker of this.checkers) checker.onRestore?.(server, index);
  }

  persist(server: SimServer, batch: StorageWrite): void {
    this.count("writes");
    if (batch.install) this.count("snapshots installed");
    for (const checker of this.checkers) checker.onPersist?.(server, batch);
  }

  operationStarted(operation: Operation): void {
    this.count("operations");
    for (const checker of this.checkers) checker.onOperationStarted?.(operation);
  }

  operationFinished(operation: Operation): void {
    this.count(`operations ${operation.outcome?.kind}`);
    for (const checker of this.checkers) checker.onOperationFinished?.(operation);
  }

  taskStarted(device: SimDevice, task: SimTask): void {
    this.count("tasks started");
    for (const checker of this.checkers) checker.onTaskStarted?.(device, task);
  }

  taskStopped(device: SimDevice, task: SimTask): void {
    for (const checker of this.checkers) checker.onTaskStopped?.(device, task);
  }

  step(cluster: SimCluster): void {
    for (const checker of this.#steppers) checker.onStep!(cluster);
  }

  end(cluster: SimCluster): void {
    for (const checker of this.checkers) checker.end?.(cluster);
  }
}
