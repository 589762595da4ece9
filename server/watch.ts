// Blocking queries: who waits for a table or a single object to change. A change wakes everyone who waits on what it
// touched in one pass; with nobody waiting it costs a few set look-ups.
//
// Lists wait on tables (state_reader.ts). Single objects wait on keys, `<kind>:<name>`:
//   job:NS/ID  summary:NS/ID  job-allocs:NS/ID  job-evals:NS/ID  job-deployments:NS/ID
//   alloc:ID  node:ID  eval:ID  deployment:ID  node-allocs:ID  eval-allocs:ID  deployment-allocs:ID
//   service:NS/NAME  alloc-services:ID  namespace:NAME  pool:NAME
// A key may be waited on before its object exists and is woken when it goes away too. `node:` is not woken by reports
// on allocations (they leave the node's ModifyIndex).
//
// Invariant: between reading an index and calling `wait` the caller does not await, so no change is missed.
import type { Clock } from "../core/env.ts";
import type { Allocation } from "../core/types.ts";
import type { Changes, Table } from "./state_reader.ts";

export interface WaitSpec {
  tables?: readonly Table[];
  keys?: readonly string[];
  /** Only a change above this index wakes: one may wait for an index that is still to come. */
  minIndex: number;
  timeoutMs: number;
  signal?: AbortSignal;
}

export type WaitResult = "changed" | "timeout" | "aborted";

interface Waiter {
  minIndex: number;
  wake(result: WaitResult): void;
}

export class Watch {
  #tables = new Map<Table, Set<Waiter>>();
  /** kind → name → waiters. */
  #keys = new Map<string, Map<string, Set<Waiter>>>();
  #waiting = 0;

  constructor(private readonly clock: Clock) {}

  /** How many wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Resolves when one of `tables` or `keys` changes, the time is over or the signal fires. Never rejects. */
  wait(spec: WaitSpec): Promise<WaitResult> {
    if (spec.signal?.aborted) return Promise.resolve("aborted");
    return new Promise((resolve) => {
      const onAbort = () => waiter.wake("aborted");
      const waiter: Waiter = {
        minIndex: spec.minIndex,
        wake: (result) => {
          cancel();
          spec.signal?.removeEventListener("abort", onAbort);
          this.#remove(spec, waiter);
          resolve(result);
        },
      };
      const cancel = this.clock.after(spec.timeoutMs, () => waiter.wake("timeout"));
      spec.signal?.addEventListener("abort", onAbort);
      this.#add(spec, waiter);
    });
  }

  /** Wakes everyone: the whole state was replaced, or the server stops. */
  wakeAll(): void {
    const all = new Set<Waiter>();
    for (const waiters of this.#tables.values()) for (const waiter of waiters) all.add(waiter);
    for (const names of this.#keys.values()) {
      for (const waiters of names.values()) for (const waiter of waiters) all.add(waiter);
    }
    for (const waiter of all) waiter.wake("changed");
  }

  /** Wakes who waits on what changed. Give it to State.onChanges. */
  readonly notify = (changes: Changes): void => {
    if (this.#waiting === 0) return;
    for (const table of changes.tables) this.#wake(this.#tables.get(table), changes.index);
    if (this.#keys.size > 0) this.#notifyKeys(changes);
  };

  #notifyKeys(c: Changes): void {
    const { index } = c;
    for (const job of c.jobs) this.#wakeKey("job", `${job.Namespace}/${job.ID}`, index);
    for (const job of c.removedJobs) {
      this.#wakeKey("job", `${job.Namespace}/${job.ID}`, index);
      this.#wakeKey("summary", `${job.Namespace}/${job.ID}`, index);
    }
    for (const summary of c.summaries) {
      this.#wakeKey("summary", `${summary.Namespace}/${summary.JobID}`, index);
    }
    for (const node of c.nodes) this.#wakeKey("node", node.ID, index);
    for (const node of c.removedNodes) this.#wakeKey("node", node.ID, index);
    this.#notifyAllocs(c.allocs, index);
    this.#notifyAllocs(c.clientAllocs, index);
    this.#notifyAllocs(c.removedAllocs, index);
    for (const evaluation of c.evals) {
      this.#wakeKey("eval", evaluation.ID, index);
      this.#wakeKey("job-evals", `${evaluation.Namespace}/${evaluation.JobID}`, index);
    }
    for (const id of c.removedEvals) this.#wakeKey("eval", id, index);
    for (const deployment of c.deployments) {
      this.#wakeKey("deployment", deployment.ID, index);
      this.#wakeKey("job-deployments", `${deployment.Namespace}/${deployment.JobID}`, index);
    }
    for (const id of c.removedDeployments) this.#wakeKey("deployment", id, index);
    for (const service of [...c.services, ...c.removedServices]) {
      this.#wakeKey("service", `${service.Namespace}/${service.ServiceName}`, index);
      this.#wakeKey("alloc-services", service.AllocID, index);
    }
    for (const { Name } of [...c.namespaces, ...c.removedNamespaces]) this.#wakeKey("namespace", Name, index);
    for (const { Name } of [...c.nodePools, ...c.removedNodePools]) this.#wakeKey("pool", Name, index);
  }

  #notifyAllocs(allocs: readonly Allocation[], index: number): void {
    let last: Allocation | undefined;
    for (const alloc of allocs) {
      this.#wakeKey("alloc", alloc.ID, index);
      this.#wakeKey("node-allocs", alloc.NodeID, index);
      if (last?.JobID !== alloc.JobID || last.Namespace !== alloc.Namespace) {
        this.#wakeKey("job-allocs", `${alloc.Namespace}/${alloc.JobID}`, index);
      }
      if (last?.EvalID !== alloc.EvalID) this.#wakeKey("eval-allocs", alloc.EvalID, index);
      if (last?.DeploymentID !== alloc.DeploymentID) {
        this.#wakeKey("deployment-allocs", alloc.DeploymentID, index);
      }
      last = alloc;
    }
  }

  #wakeKey(kind: string, name: string, index: number): void {
    const names = this.#keys.get(kind);
    if (names !== undefined) this.#wake(names.get(name), index);
  }

  #wake(waiters: Set<Waiter> | undefined, index: number): void {
    if (waiters === undefined) return;
    for (const waiter of [...waiters]) if (index > waiter.minIndex) waiter.wake("changed");
  }

  #add(spec: WaitSpec, waiter: Waiter): void {
    this.#waiting++;
    for (const table of spec.tables ?? []) {
      const waiters = this.#tables.get(table);
      if (waiters) waiters.add(waiter);
      else this.#tables.set(table, new Set([waiter]));
    }
    for (const key of spec.keys ?? []) {
      const [kind, name] = splitKey(key);
      const names = this.#keys.get(kind) ?? new Map<string, Set<Waiter>>();
      this.#keys.set(kind, names);
      const waiters = names.get(name);
      if (waiters) waiters.add(waiter);
      else names.set(name, new Set([waiter]));
    }
  }

  #remove(spec: WaitSpec, waiter: Waiter): void {
    this.#waiting--;
    for (const table of spec.tables ?? []) {
      const waiters = this.#tables.get(table);
      waiters?.delete(waiter);
      if (waiters?.size === 0) this.#tables.delete(table);
    }
    for (const key of spec.keys ?? []) {
      const [kind, name] = splitKey(key);
      const names = this.#keys.get(kind);
      const waiters = names?.get(name);
      waiters?.delete(waiter);
      if (waiters?.size === 0) names!.delete(name);
      if (names?.size === 0) this.#keys.delete(kind);
    }
  }
}

function splitKey(key: string): [kind: string, name: string] {
  const colon = key.indexOf(":");
  return [key.slice(0, colon), key.slice(colon + 1)];
}
