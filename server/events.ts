// The event stream: what every command changed, told in Nomad's events. The buffer keeps the last entries so that a
// reader can begin a little in the past. An entry is only the list of changed records; events and their JSON text are
// made when the first reader comes to them, once for all readers, and never when nobody reads.
//
// Invariants: readers see entries in the order of the log, none twice. A reader that falls too far behind is dropped
// with an error; it never holds up anyone and never makes the buffer grow without bound.
import type { Allocation, Deployment, Evaluation, Job, Node } from "../core/types.ts";
import type { Changes } from "./state_reader.ts";

/** Entries a reader may be behind. */
const LAG_MAX = 8192;

/** How records look in payloads; the HTTP room gives the same shapes as its routes. */
export interface EventViews {
  job(job: Job): unknown;
  evaluation(evaluation: Evaluation): unknown;
  deployment(deployment: Deployment): unknown;
  allocation(alloc: Allocation): unknown;
  /** Must not show the node's secret. */
  node(node: Node): unknown;
}

const PLAIN_VIEWS: EventViews = {
  job: (job) => job,
  evaluation: (evaluation) => evaluation,
  deployment: (deployment) => deployment,
  allocation: ({ Job: _, ...alloc }) => alloc,
  node: ({ SecretID: _, ...node }) => node,
};

/** One event; `text` is its JSON, made once. */
export class StreamEvent {
  #text: string | undefined;
  #payload: () => unknown;

  constructor(
    readonly index: number,
    readonly topic: string,
    readonly type: string,
    readonly key: string,
    readonly namespace: string,
    readonly filterKeys: readonly string[] | null,
    payload: () => unknown,
  ) {
    this.#payload = payload;
  }

  get text(): string {
    return this.#text ??= JSON.stringify({
      Topic: this.topic,
      Type: this.type,
      Key: this.key,
      Namespace: this.namespace,
      FilterKeys: this.filterKeys,
      Index: this.index,
      Payload: this.#payload(),
    });
  }
}

export interface EventBatch {
  index: number;
  events: StreamEvent[];
}

export interface EventRequest {
  /** Begins with the entry of this index, or the oldest kept if that is gone; 0 replays all that is kept. */
  index: number;
  /** Topic → keys; "*" for any. Empty: everything. */
  topics: ReadonlyMap<string, readonly string[]>;
  /** "*" for all. */
  namespace: string;
}

interface Entry {
  number: number;
  changes: Changes;
  events: StreamEvent[] | null;
  next: Entry | null;
}

/** The reader was too slow: it has missed events and must begin anew. */
export class SlowReaderError extends Error {
  override readonly name = "SlowReaderError";
}

export class EventBuffer {
  #first: Entry | null = null;
  #last: Entry | null = null;
  #length = 0;
  #number = 0;
  #subscriptions = new Set<EventSubscription>();

  constructor(private readonly size: number, private readonly views: EventViews = PLAIN_VIEWS) {}

  /** Readers there are. */
  get readers(): number {
    return this.#subscriptions.size;
  }

  /** Takes what a command changed. Give it to State.onChanges. */
  readonly add = (changes: Changes): void => {
    if (changes.eventType === "") return;
    const entry: Entry = { number: ++this.#number, changes, events: null, next: null };
    if (this.#last) this.#last.next = entry;
    else this.#first = entry;
    this.#last = entry;
    if (++this.#length > this.size) {
      this.#first = this.#first!.next;
      this.#length--;
    }
    for (const subscription of this.#subscriptions) subscription.arrived(entry);
  };

  /** Forgets everything and ends all readers: a snapshot replaced the state. */
  reset(): void {
    this.#first = this.#last = null;
    this.#length = 0;
    const reason = new SlowReaderError("The server's state was replaced by a snapshot; subscribe again");
    for (const subscription of [...this.#subscriptions]) subscription.fail(reason);
  }

  subscribe(request: EventRequest): EventSubscription {
    let entry = this.#first;
    while (entry && entry.changes.index < request.index) entry = entry.next;
    const subscription = new EventSubscription(request, entry, (found) => this.#events(found), () => {
      this.#subscriptions.delete(subscription);
    });
    this.#subscriptions.add(subscription);
    return subscription;
  }

  #events(entry: Entry): StreamEvent[] {
    return entry.events ??= [...eventsOf(entry.changes, this.views)];
  }
}

/** One reader. Iterate it; `close` ends the iteration. */
export class EventSubscription implements AsyncIterable<EventBatch> {
  #next: Entry | null;
  #wake: (() => void) | null = null;
  #closed = false;
  #error: Error | null = null;

  constructor(
    private readonly request: EventRequest,
    first: Entry | null,
    private readonly eventsOf: (entry: Entry) => StreamEvent[],
    private readonly onClose: () => void,
  ) {
    this.#next = first;
  }

  /** The buffer has a new entry. */
  arrived(entry: Entry): void {
    this.#next ??= entry;
    if (entry.number - this.#next.number > LAG_MAX) {
      this.fail(
        new SlowReaderError(
          `Reader dropped: more than ${LAG_MAX} entries behind; read faster or subscribe again`,
        ),
      );
    }
    this.#wake?.();
  }

  fail(error: Error): void {
    this.#error = error;
    this.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#next = null;
    this.onClose();
    this.#wake?.();
  }

  /** The next entry with events for this reader; null when it was closed. Throws SlowReaderError. */
  async next(): Promise<EventBatch | null> {
    while (true) {
      const batch = this.#take();
      if (batch) return batch;
      if (this.#error) throw this.#error;
      if (this.#closed) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = null;
    }
  }

  /** Walks over entries that hold nothing for this reader. */
  #take(): EventBatch | null {
    while (this.#next) {
      const entry = this.#next;
      this.#next = entry.next;
      const events = this.eventsOf(entry).filter((event) => wants(this.request, event));
      if (events.length > 0) return { index: entry.changes.index, events };
    }
    return null;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<EventBatch> {
    try {
      for (let batch = await this.next(); batch; batch = await this.next()) yield batch;
    } finally {
      this.close();
    }
  }
}

function wants({ topics, namespace }: EventRequest, event: StreamEvent): boolean {
  if (namespace !== "*" && event.namespace !== "" && event.namespace !== namespace) return false;
  if (topics.size === 0) return true;
  return matches(topics.get(event.topic), event) || matches(topics.get("*"), event);
}

function matches(keys: readonly string[] | undefined, event: StreamEvent): boolean {
  if (!keys) return false;
  return keys.some((key) => key === "*" || key === event.key || (event.filterKeys?.includes(key) ?? false));
}

function* eventsOf(c: Changes, views: EventViews): Iterable<StreamEvent> {
  const { index, eventType: type } = c;
  const jobFirst = type.startsWith("Job");
  if (jobFirst) yield* jobEvents(c, views);
  for (const e of c.evals) {
    yield new StreamEvent(
      index,
      "Evaluation",
      type,
      e.ID,
      e.Namespace,
      [e.JobID, e.DeploymentID],
      () => ({ Evaluation: views.evaluation(e) }),
    );
  }
  for (const d of c.deployments) {
    yield new StreamEvent(
      index,
      "Deployment",
      type,
      d.ID,
      d.Namespace,
      [d.JobID],
      () => ({ Deployment: views.deployment(d) }),
    );
  }
  yield* allocEvents(c, views);
  if (!jobFirst) yield* jobEvents(c, views);
  yield* nodeEvents(c, views);
  yield* clusterEvents(c);
}

function* jobEvents(c: Changes, views: EventViews): Iterable<StreamEvent> {
  for (const job of c.jobs) {
    yield new StreamEvent(
      c.index,
      "Job",
      c.eventType,
      job.ID,
      job.Namespace,
      null,
      () => ({ Job: views.job(job) }),
    );
  }
  for (const job of c.removedJobs) {
    yield new StreamEvent(c.index, "Job", c.eventType, job.ID, job.Namespace, null, () => ({
      Deleted: true,
      Job: views.job(job),
    }));
  }
}

function* allocEvents(c: Changes, views: EventViews): Iterable<StreamEvent> {
  for (const allocs of [c.allocs, c.clientAllocs]) {
    for (const a of allocs) {
      yield new StreamEvent(
        c.index,
        "Allocation",
        c.eventType,
        a.ID,
        a.Namespace,
        [a.JobID, a.DeploymentID],
        () => ({ Allocation: views.allocation(a) }),
      );
    }
  }
}

function* nodeEvents(c: Changes, views: EventViews): Iterable<StreamEvent> {
  for (const nodes of [c.nodes, c.reportedNodes, c.removedNodes]) {
    for (const node of nodes) {
      yield new StreamEvent(
        c.index,
        "Node",
        c.eventType,
        node.ID,
        "",
        null,
        () => ({ Node: views.node(node) }),
      );
    }
  }
}

function* clusterEvents(c: Changes): Iterable<StreamEvent> {
  const { index } = c;
  const services = [[c.services, "ServiceRegistration"], [
    c.removedServices,
    "ServiceDeregistration",
  ]] as const;
  for (const [records, type] of services) {
    for (const s of records) {
      const keys = [s.JobID, s.ServiceName];
      yield new StreamEvent(index, "Service", type, s.ID, s.Namespace, keys, () => ({ Service: s }));
    }
  }
  const pools = [[c.nodePools, "NodePoolUpserted"], [c.removedNodePools, "NodePoolDeleted"]] as const;
  for (const [records, type] of pools) {
    for (const pool of records) {
      yield new StreamEvent(index, "NodePool", type, pool.Name, "", null, () => ({ NodePool: pool }));
    }
  }
  const spaces = [[c.namespaces, "NamespaceUpserted"], [c.removedNamespaces, "NamespaceDeleted"]] as const;
  for (const [records, type] of spaces) {
    for (const namespace of records) {
      yield new StreamEvent(
        index,
        "Namespace",
        type,
        namespace.Name,
        "",
        null,
        () => ({ Namespace: namespace }),
      );
    }
  }
}
