// The device: who it is, its one connection, and the allocations it runs. Wires session, fingerprints, runners, local
// state, garbage collection and the HTTP API together; every idea itself stands in the file named after it.
//
// Invariants: after `stop` tasks run on and nothing of the client does; an allocation has at most one runner; what
// local state knew at the start is recovered before servers are asked.
import { mkdir } from "node:fs/promises";
import type { Clock, Random } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { formatDuration } from "../core/duration.ts";
import type { AllocDelta } from "../core/protocol.ts";
import type { ClientStatus, Node } from "../core/types.ts";
import type { Driver } from "../drivers/driver.ts";
import { type AllocationHost, AllocationRunner } from "./allocation.ts";
import type { ClientConfig } from "./config.ts";
import { fingerprintNode, loadIdentity } from "./fingerprint.ts";
import { DriverWatch } from "./fingerprint_drivers.ts";
import { GarbageCollector } from "./gc.ts";
import {
  type DeviceAllocation,
  type LocalState,
  MemoryState,
  type StoredAllocation,
  type StoredState,
} from "./local_state.ts";
import { Session } from "./session.ts";
import type { Dial, DialOptions } from "./session_socket.ts";
import { visibleHostEnv } from "./task_spec.ts";

export { type ClientConfig, clientConfigDefaults } from "./config.ts";

/** How long the first registration waits for drivers that are slow to answer. */
const DRIVERS_FIRST_WAIT_MS = 250;

/** How long `stop` waits for starts under way (an image may be pulled for minutes): the next agent looks for them. */
const DETACH_MAX_MS = 1000;

export type ClientEvent =
  | { type: "connected"; server: string }
  | { type: "disconnected" }
  | { type: "node"; node: Node }
  | { type: "allocation"; id: string; status: ClientStatus; description: string };

export interface ClientOptions {
  config: ClientConfig;
  /** By name, as jobs name them. */
  drivers: Map<string, Driver>;
  clock: Clock;
  random: Random;
  logger: Logger;
  /** Certificates for the servers' rpc port; plain without them. */
  tls?: NonNullable<DialOptions["tls"]>;
  /** Replaces the network (simulation, tests). */
  dial?: Dial;
  /** Answers what servers may ask of the agent itself: its log (`/v1/agent/monitor`). */
  serveAgent?: (request: Request) => Response | Promise<Response>;
}

export class Client {
  readonly #options: ClientOptions;
  readonly #runners = new Map<string, AllocationRunner>();
  readonly #listeners = new Set<(event: ClientEvent) => void>();
  readonly #enabled: Map<string, Driver>;
  readonly #drivers: DriverWatch;
  readonly #gc: GarbageCollector;
  #node: Node | undefined;
  #session: Session | undefined;
  #state: LocalState = new MemoryState();
  #host: AllocationHost | undefined;
  #dynamicMeta: Record<string, string | null> = {};
  #staticMeta: Record<string, string> = {};
  #api: Promise<(request: Request) => Response | Promise<Response>> | undefined;
  #cancelFingerprint: (() => void) | undefined;
  #cutOff = new Map<string, () => void>();
  #lastStatus = new Map<string, string>();
  #running = false;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#enabled = enabledDrivers(options.drivers, options.config.options);
    this.#drivers = new DriverWatch({
      drivers: this.#enabled,
      clock: options.clock,
      onHealth: (driver, description) => this.#session?.event("Driver", description, { driver }),
    });
    this.#gc = new GarbageCollector({
      config: options.config,
      clock: options.clock,
      logger: options.logger,
      runners: () => [...this.#runners.values()],
      isConfirmed: (id) => this.#session?.isConfirmed(id) ?? false,
      destroy: (runner) => this.#destroy(runner),
    });
  }

  /** The node as it is registered. Throws before `start` resolved. */
  get node(): Node {
    if (!this.#node) throw new Error("The client has not started: await client.start() first");
    return this.#node;
  }

  get config(): ClientConfig {
    return this.#options.config;
  }

  get session(): Session {
    if (!this.#session) throw new Error("The client has not started: await client.start() first");
    return this.#session;
  }

  get allocations(): ReadonlyMap<string, AllocationRunner> {
    return this.#runners;
  }

  /** Recovers what ran before, then connects. Resolves when the node is known; the connection comes later. */
  async start(): Promise<void> {
    if (this.#running) throw new Error("The client runs already");
    this.#running = true;
    try {
      await this.#begin();
    } catch (error) {
      this.#running = false;
      await this.#state.close();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const { config, clock, random, logger } = this.#options;
    await mkdir(config.allocDir, { recursive: true, mode: 0o755 });
    const [identity, stored] = await Promise.all([
      loadIdentity(config.stateDir, { newId: () => random.uuid(), fromHost: !config.noHostUuid }),
      this.#openState(),
      this.#drivers.ask(DRIVERS_FIRST_WAIT_MS, () => this.#driversChanged()),
    ]);
    this.#dynamicMeta = stored.meta;
    const node = await fingerprintNode(config, identity);
    this.#staticMeta = node.Meta;
    this.#node = node;
    this.#rebuildNode();
    this.#session = new Session({
      // What is configured comes first: it may name another cluster by now.
      servers: [...new Set([...config.servers, ...stored.servers])],
      dial: this.#options.dial ?? await this.#realDial(),
      clock,
      random,
      logger,
      node: () => this.node,
      known: () => this.#known(),
      update: (id) => this.#runners.get(id)?.update,
      onAllocs: (delta) => this.#onAllocs(delta),
      onConnection: (connected) => this.#onConnection(connected),
      onServers: (servers) => this.#state.putServers(servers),
      onConfirmed: () => this.#gc.onConfirmed(),
      serve: (request) => this.#serve(request),
    });
    this.#host = {
      config,
      drivers: this.#enabled,
      clock,
      random,
      logger,
      state: this.#state,
      hostEnv: visibleHostEnv(process.env, config.envDenylist),
      services: this.#session,
      node: () => this.node,
      changed: (runner) => this.#allocationChanged(runner),
      local: (id) => this.#runners.get(id),
      allocations: () => [...this.#runners.values()],
      fetch: (request) => this.session.fetch(request),
    };
    this.#recover(stored.allocations);
    this.#session.start();
    this.#gc.start();
    this.#fingerprintLater();
  }

  /** Ends the connection and everything of the client; tasks run on. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    this.#cancelFingerprint?.();
    for (const cancel of this.#cutOff.values()) cancel();
    this.#gc.stop();
    this.#session?.stop();
    const detached = Promise.all([...this.#runners.values()].map((runner) => runner.detach()));
    let cancel = () => {};
    const patience = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(DETACH_MAX_MS, resolve);
    });
    await Promise.race([detached, patience]);
    cancel();
    try {
      await this.#state.flush();
    } finally {
      await this.#state.close();
    }
  }

  /** Ends every task and waits for it, before `stop`: what a `-dev` agent does when it leaves. */
  async killAll(): Promise<void> {
    for (const runner of this.#runners.values()) runner.kill();
    await Promise.all([...this.#runners.values()].map((runner) => runner.done()));
  }

  /** What servers ask over the connection. */
  #serve(request: Request): Response | Promise<Response> {
    const { serveAgent } = this.#options;
    const isMonitor = new URL(request.url).pathname === "/v1/agent/monitor";
    return isMonitor && serveAgent ? serveAgent(request) : this.fetch(request);
  }

  /** The device's own HTTP API (/v1/client/…): the agent's listener and servers (over the connection) both call it. */
  async fetch(request: Request): Promise<Response> {
    this.#api ??= import("./http.ts").then(({ clientApi }) => clientApi(this, this.#options.clock));
    return (await this.#api)(request);
  }

  /** Calls `listener` for every event from now on; the returned function ends it. */
  onEvent(listener: (event: ClientEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The `client` part of agent/self's stats. */
  get agentStats(): Record<string, string> {
    const session = this.#session;
    const since = session?.sinceContactMs ?? Infinity;
    return {
      node_id: this.node.ID,
      known_servers: session?.servers.join(",") ?? "",
      num_allocations: String(this.#runners.size),
      last_heartbeat: Number.isFinite(since) ? formatDuration(Math.round(since * 1e6)) : "never",
      heartbeat_ttl: formatDuration(Math.round((session?.heartbeatTtlMs ?? 0) * 1e6)),
    };
  }

  // --- Metadata ------------------------------------------------------------------------------------------------

  get metadata(): {
    Meta: Record<string, string>;
    Dynamic: Record<string, string | null>;
    Static: Record<string, string>;
  } {
    return { Meta: this.node.Meta, Dynamic: this.#dynamicMeta, Static: this.#staticMeta };
  }

  /** Sets (or with null hides) node metadata; kept over restarts. */
  applyMetadata(changes: Record<string, string | null>): void {
    const dynamic = { ...this.#dynamicMeta };
    for (const [key, value] of Object.entries(changes)) {
      // Removing what only exists dynamically leaves nothing to remember.
      if (value === null && !(key in this.#staticMeta)) delete dynamic[key];
      else dynamic[key] = value;
    }
    this.#dynamicMeta = dynamic;
    this.#state.putMeta(dynamic);
    this.#nodeChanged();
  }

  /** Ends the terminal allocation `id` for good. False when it is unknown or still runs. */
  async collect(id: string): Promise<boolean> {
    const runner = this.#runners.get(id);
    if (!runner?.isTerminal || !this.session.isConfirmed(id)) return false;
    await this.#destroy(runner);
    return true;
  }

  /** Removes every terminal allocation. */
  async collectAll(): Promise<void> {
    await this.#gc.collectAll();
  }

  // --- Node ----------------------------------------------------------------------------------------------------

  #rebuildNode(): void {
    const { drivers, attributes } = this.#drivers.result;
    const Meta = Object.fromEntries(
      Object.entries({ ...this.#staticMeta, ...this.#dynamicMeta })
        .filter((entry): entry is [string, string] => entry[1] !== null),
    );
    const base = Object.entries(this.node.Attributes).filter(([key]) => !key.startsWith("driver."));
    // In one order always: the record is compared as text.
    const all = [...base, ...Object.entries(attributes)].sort(([a], [b]) => a < b ? -1 : 1);
    this.#node = { ...this.node, Meta, Drivers: drivers, Attributes: Object.fromEntries(all) };
  }

  #nodeChanged(): void {
    this.#rebuildNode();
    this.#session?.nodeChanged();
    this.#emit({ type: "node", node: this.node });
  }

  #driversChanged(): void {
    if (this.#running && this.#session) this.#nodeChanged();
  }

  /** Drivers and network come and go while the device runs; servers hear of it only when something changed. */
  #fingerprintLater(): void {
    const { clock, config, logger } = this.#options;
    this.#cancelFingerprint = clock.after(config.fingerprintIntervalMs, async () => {
      const before = JSON.stringify(this.node);
      try {
        await this.#drivers.ask(config.fingerprintIntervalMs, () => this.#driversChanged());
        const { Attributes, NodeResources } = await fingerprintNode(config, {
          id: this.node.ID,
          secret: this.node.SecretID,
        });
        if (!this.#running) return;
        this.#node = { ...this.node, Attributes, NodeResources };
        this.#rebuildNode();
        if (JSON.stringify(this.node) !== before) this.#nodeChanged();
      } catch (error) {
        logger.warn("fingerprint failed", { error: errorText(error) });
      }
      if (this.#running) this.#fingerprintLater();
    });
  }

  // --- Allocations ---------------------------------------------------------------------------------------------

  #known(): Record<string, number> {
    return Object.fromEntries([...this.#runners].map(([id, runner]) => [id, runner.alloc.AllocModifyIndex]));
  }

  #recover(stored: StoredAllocation[]): void {
    for (const allocation of stored) {
      try {
        const runner = new AllocationRunner(this.#host!, allocation);
        this.#runners.set(runner.id, runner);
        this.#stopWhenCutOff(runner);
        runner.recover().catch((error) => this.#failed(runner, "cannot recover allocation", error));
      } catch (error) {
        this.#options.logger.error("stored allocation cannot be read", {
          alloc: allocation.alloc.ID,
          error: errorText(error),
        });
      }
    }
  }

  #onAllocs(delta: AllocDelta): void {
    for (const assignment of delta.upserts) {
      const { job, resources, ...rest } = assignment;
      const Job = delta.jobs[job];
      const AllocatedResources = delta.resources[resources];
      if (!Job || !AllocatedResources) {
        this.#options.logger.error("assignment without its job or resources was ignored", { alloc: rest.ID });
        continue;
      }
      this.#assign({ ...rest, Job, AllocatedResources });
    }
    for (const id of delta.removed) {
      const runner = this.#runners.get(id);
      if (!runner) continue;
      runner.kill();
      void runner.done().then(() => this.#destroy(runner));
    }
  }

  #assign(alloc: DeviceAllocation): void {
    const known = this.#runners.get(alloc.ID);
    if (known) {
      known.assign(alloc);
      // Servers gave this device up for a while: they need to hear that the allocation lives.
      if (alloc.ClientStatus === "unknown" || alloc.ClientStatus === "lost") this.session.repeat(alloc.ID);
      return;
    }
    try {
      const runner = new AllocationRunner(this.#host!, { alloc, tasks: {}, health: null });
      this.#runners.set(alloc.ID, runner);
      runner.start().catch((error) => this.#failed(runner, "cannot start allocation", error));
    } catch (error) {
      this.#options.logger.error("allocation was ignored", { alloc: alloc.ID, error: errorText(error) });
    }
  }

  #failed(runner: AllocationRunner, message: string, error: unknown): void {
    this.#options.logger.error(message, { alloc: runner.id, error: errorText(error) });
  }

  #allocationChanged(runner: AllocationRunner): void {
    if (!this.#running) return;
    // Servers learn nothing that this device could forget. A state that cannot be written has logged that itself.
    const report = () => this.#session?.changed(runner.id);
    this.#state.flush().then(report, report);
    const { status, description } = runner.status;
    if (this.#lastStatus.get(runner.id) === status) return;
    this.#lastStatus.set(runner.id, status);
    this.#emit({ type: "allocation", id: runner.id, status, description });
  }

  async #destroy(runner: AllocationRunner): Promise<void> {
    if (this.#runners.get(runner.id) !== runner) return;
    this.#runners.delete(runner.id);
    this.#lastStatus.delete(runner.id);
    this.#session?.forget(runner.id);
    try {
      await runner.destroy();
    } catch (error) {
      this.#failed(runner, "cannot remove the allocation's directory", error);
    }
  }

  // --- Connection ----------------------------------------------------------------------------------------------

  #onConnection(connected: boolean): void {
    if (connected) {
      for (const cancel of this.#cutOff.values()) cancel();
      this.#cutOff.clear();
      return this.#emit({ type: "connected", server: this.session.server });
    }
    if (this.#running) {
      for (const runner of this.#runners.values()) this.#stopWhenCutOff(runner);
    }
    this.#emit({ type: "disconnected" });
  }

  /** disconnect.stop_on_client_after: servers will have replaced it, so it must not run twice for ever. */
  #stopWhenCutOff(runner: AllocationRunner): void {
    const { Disconnect, StopAfterClientDisconnect } = runner.group;
    const afterNs = Disconnect?.StopOnClientAfter ?? StopAfterClientDisconnect;
    if (afterNs === null || afterNs === undefined || runner.isTerminal) return;
    this.#cutOff.set(runner.id, this.#options.clock.after(afterNs / 1e6, () => runner.kill()));
  }

  async #realDial(): Promise<Dial> {
    const { dialer } = await import("./session_socket.ts");
    const { tls } = this.#options;
    return await dialer({ handshakeTimeoutMs: 10_000, ...(tls ? { tls } : {}) });
  }

  async #openState(): Promise<StoredState> {
    const { stateDir } = this.#options.config;
    if (stateDir !== null) {
      const { openSqliteState } = await import("./local_state_sqlite.ts");
      this.#state = await openSqliteState(stateDir, this.#options.logger);
    }
    return await this.#state.load();
  }

  #emit(event: ClientEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** client.options "driver.allowlist" and "driver.denylist": names with commas. */
function enabledDrivers(drivers: Map<string, Driver>, options: Record<string, string>): Map<string, Driver> {
  const names = (key: string) =>
    (options[key] ?? "").split(",").map((name) => name.trim()).filter((name) => name !== "");
  const [allowed, denied] = [names("driver.allowlist"), names("driver.denylist")];
  return new Map(
    [...drivers].filter(([name]) =>
      (allowed.length === 0 || allowed.includes(name)) && !denied.includes(name)
    ),
  );
}
