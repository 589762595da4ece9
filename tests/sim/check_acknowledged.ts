// What was acknowledged: the write that a client was told of stands in the log at the index that it was told, the state in
// the end is what the last writes made of it, and a request with an id took effect once.
import type { Command } from "../../server/commands.ts";
import type { ApplyResult } from "../../server/log.ts";
import type { State } from "../../server/state.ts";
import { type Checker, type Operation, type SimCluster, SimFailure, type SimServer } from "./contract.ts";

interface Written {
  key: string;
  /** Null: deleted. */
  value: string | null;
}

/** A server remembers requests of callers for an hour and of other servers for a minute, by proposers' clocks. */
const AGE_MAX_NS = { caller: 3500e9, hop: 50e9 };

export class AcknowledgedChecker implements Checker {
  readonly rule = "acknowledged";
  #appliedTo = 0;
  /** Index → what its command wrote. */
  readonly #writes = new Map<number, Written[]>();
  /** Key → what the last command left there. */
  readonly #last = new Map<string, { value: string | null; index: number }>();
  readonly #requests = new Map<string, { index: number; time: number }>();

  onApply(server: SimServer, index: number, command: Command, result: ApplyResult): void {
    if (index <= this.#appliedTo) return;
    this.#appliedTo = index;
    if (command.request) this.#checkOnce(server, index, command.request, result);
    if (result.refused || result.repeated) return;
    const written = writesOf(command);
    if (written.length === 0) return;
    this.#writes.set(index, written);
    for (const { key, value } of written) this.#last.set(key, { value, index });
  }

  #checkOnce(
    server: SimServer,
    index: number,
    request: NonNullable<Command["request"]>,
    { repeated }: ApplyResult,
  ): void {
    const first = this.#requests.get(request.key);
    if (!first) {
      this.#requests.set(request.key, { index, time: request.time });
      return;
    }
    const age = request.time - first.time;
    if (!repeated && age < AGE_MAX_NS[request.hop ? "hop" : "caller"]) {
      throw new SimFailure(
        "request once",
        `${server.id} applied request ${request.key} at ${index}, which took effect at ${first.index} already`,
      );
    }
    if (repeated && repeated.index !== first.index) {
      throw new SimFailure(
        "request once",
        `request ${request.key} is answered with index ${repeated.index}, it took effect at ${first.index}`,
      );
    }
  }

  onOperationFinished({ ask, outcome, client }: Operation): void {
    if (outcome?.kind !== "ok" || (ask.kind !== "write" && ask.kind !== "cas")) return;
    const found = this.#writes.get(outcome.index);
    if (found?.some(({ key, value }) => key === ask.key && value === ask.value)) return;
    throw new SimFailure(
      "acknowledged",
      `${client} was told that it wrote "${ask.value}" to ${ask.key} at ${outcome.index}; the log there ` +
        (found ? `writes ${JSON.stringify(found)}` : "writes nothing of the kind"),
    );
  }

  end(cluster: SimCluster): void {
    for (const { id, server, ready } of cluster.servers.values()) {
      if (!ready || !server || server.state.index < this.#appliedTo) continue;
      for (const [key, { value, index }] of this.#last) {
        const found = valueOf(server.state, key);
        if (found !== value) {
          throw new SimFailure("lost write", `${id} has ${found} at ${key}, entry ${index} wrote ${value}`);
        }
      }
    }
  }
}

/** Of the keys that clients use (contract.ts). */
function writesOf(command: Command): Written[] {
  switch (command.kind) {
    case "job.register": {
      const value = command.job.Meta?.["value"];
      return value === undefined ? [] : [{ key: `job/${command.job.Namespace}/${command.job.ID}`, value }];
    }
    case "job.deregister":
      return command.id.startsWith("reg-")
        ? [{ key: `job/${command.namespace}/${command.id}`, value: null }]
        : [];
    case "namespace.upsert":
      return command.namespaces.map(({ Name, Description }) => ({
        key: `namespace/${Name}`,
        value: Description,
      }));
    case "namespace.delete":
      return command.names.map((name) => ({ key: `namespace/${name}`, value: null }));
    default:
      return [];
  }
}

function valueOf(state: State, key: string): string | null {
  const [kind, first, second] = key.split("/");
  if (kind === "namespace") return state.namespace(first!)?.Description ?? null;
  return state.job(first!, second!)?.Meta?.["value"] ?? null;
}
