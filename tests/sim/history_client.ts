// Clients whose whole history is kept, for the checker of linearizability: registers written, compared and set, deleted and
// read through the real HTTP API of any server. A register is a parameterized job (it is never scheduled) or a
// namespace; its value stands in the job's Meta or in the namespace's description.
//
// Invariants: one operation of a client at a time; an answer that leaves open what happened is `unknown`, and the client
// goes on under a new name.
import type { Ask, Operation, Outcome } from "./contract.ts";
import type { Answer, Call } from "./network.ts";
import type { SimRandom } from "./random.ts";

/** What a client needs of its world. */
export interface ClientHost {
  random: SimRandom;
  nowMs(): number;
  step(): number;
  /** A new number each time, from 1. */
  nextId(): number;
  /** This client never writes. */
  readsOnly: boolean;
  /** It repeats writes of unknown outcome, with an id. */
  triesAgain: boolean;
  /** Servers that may be asked, by name. */
  servers(): string[];
  call(server: string, call: Call): Promise<Answer>;
  started(operation: Operation): void;
  finished(operation: Operation): void;
}

const TRIES = 4;
const JOB_KEYS = 3;
const NAMESPACE_KEYS = 2;

export class HistoryClient {
  #generation = 0;
  #server = "";
  /** JobModifyIndex as this client last saw it. */
  #known = new Map<string, number>();

  constructor(private readonly name: string, private readonly host: ClientHost) {}

  /** Runs one operation to its end. */
  async run(): Promise<void> {
    const { host } = this;
    const { random } = host;
    // Mostly the server that answered last, so that one client talks to leaders, followers and the dead.
    const servers = host.servers();
    if (!servers.includes(this.#server) || random.chance(0.1)) this.#server = random.pick(servers);
    const id = host.nextId();
    const operation: Operation = {
      id,
      client: `${this.name}.${this.#generation}`,
      server: this.#server,
      ask: this.#choose(`v${id}`),
      invokedMs: host.nowMs(),
      invokedStep: host.step(),
      outcome: null,
      finishedMs: 0,
      finishedStep: 0,
    };
    host.started(operation);
    const { ask } = operation;
    operation.outcome = await this.#perform(ask, id);
    operation.finishedMs = host.nowMs();
    operation.finishedStep = host.step();
    if (operation.outcome.kind === "unknown") this.#generation++;
    else this.#learn(ask, operation.outcome);
    host.finished(operation);
  }

  /** A client that tries again sends its write with an id, to whichever server, until it knows what became of it. */
  async #perform(ask: Ask, id: number): Promise<Outcome> {
    const { host } = this;
    const call = callFor(ask);
    if (!host.triesAgain || ask.kind === "read") return await this.#once(ask, call);
    call.headers = { "Idempotency-Key": `operation-${id}` };
    let outcome = await this.#once(ask, call);
    for (let tries = 1; tries < TRIES && outcome.kind === "unknown"; tries++) {
      this.#server = host.random.pick(host.servers());
      outcome = await this.#once(ask, call);
    }
    return outcome;
  }

  async #once(ask: Ask, call: Call): Promise<Outcome> {
    try {
      return outcomeOf(ask, await this.host.call(this.#server, call));
    } catch (error) {
      this.#server = "";
      return { kind: "unknown", message: (error as Error).message };
    }
  }

  #learn(ask: Ask, outcome: Outcome): void {
    if (outcome.kind === "ok") this.#known.set(ask.key, outcome.value === null ? 0 : outcome.index);
    else this.#known.delete(ask.key);
  }

  #choose(value: string): Ask {
    const { random } = this.host;
    const isJob = random.chance(0.7);
    const key = isJob
      ? `job/default/reg-${random.int(JOB_KEYS)}`
      : `namespace/ns-${random.int(NAMESPACE_KEYS)}`;
    if (this.host.readsOnly) return { kind: "read", key, consistency: "consistent" };
    const dice = random.float();
    if (dice < 0.45) {
      const consistency = random.chance(0.7) ? "consistent" : random.pick(["default", "stale"] as const);
      return { kind: "read", key, consistency };
    }
    if (dice < 0.6 && isJob) return { kind: "cas", key, index: this.#known.get(key) ?? 0, value };
    if (dice < 0.65) return { kind: "delete", key };
    return { kind: "write", key, value };
  }
}

function callFor(ask: Ask): Call {
  const [kind, ...rest] = ask.key.split("/");
  const name = rest.at(-1)!;
  const path = kind === "job" ? `/v1/job/${name}` : `/v1/namespace/${name}`;
  switch (ask.kind) {
    case "read":
      return { method: "GET", path: ask.consistency === "default" ? path : `${path}?${ask.consistency}` };
    case "delete":
      return { method: "DELETE", path: kind === "job" ? `${path}?purge=true` : path };
    case "write":
      if (kind === "job") return register({ Job: registerJob(name, ask.value) });
      return {
        method: "PUT",
        path: "/v1/namespace",
        body: JSON.stringify({ Name: name, Description: ask.value }),
      };
    case "cas":
      return register({
        Job: registerJob(name, ask.value),
        EnforceIndex: true,
        JobModifyIndex: ask.index,
      });
  }
}

function register(body: unknown): Call {
  return { method: "PUT", path: "/v1/jobs", body: JSON.stringify(body) };
}

function registerJob(id: string, value: string): Record<string, unknown> {
  return {
    ID: id,
    Name: id,
    Type: "batch",
    Datacenters: ["*"],
    ParameterizedJob: { Payload: "optional" },
    Meta: { value },
    TaskGroups: [{
      Name: "g",
      Count: 1,
      Tasks: [{ Name: "t", Driver: "mock_driver", Config: { run_for: "1s" } }],
    }],
  };
}

/** Refusals that come with status 500, as in the reference. */
const REFUSALS =
  /^Enforcing job modify index|^(Namespace|namespace) .*(not found|does not exist|doesn't exist)|has non-terminal jobs/;

function outcomeOf(ask: Ask, { status, headers, text }: Answer): Outcome {
  const index = Number(headers["x-nomad-index"] ?? 0);
  if (status === 200) {
    if (ask.kind === "delete") return { kind: "ok", value: null, index };
    const body = text === "" ? {} : JSON.parse(text) as Record<string, unknown>;
    if (ask.kind !== "read") {
      return { kind: "ok", value: ask.value, index: Number(body["JobModifyIndex"] ?? index) };
    }
    if (ask.key.startsWith("namespace/")) return { kind: "ok", value: String(body["Description"]), index };
    const { value } = body["Meta"] as { value: string };
    return { kind: "ok", value, index: body["JobModifyIndex"] as number };
  }
  if (status === 404 && ask.kind === "read") return { kind: "ok", value: null, index };
  if (status < 500 || REFUSALS.test(text)) return { kind: "refused", status, message: text };
  return { kind: "unknown", message: `${status} ${text}` };
}
