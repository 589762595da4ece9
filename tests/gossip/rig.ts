// Memberships of real servers in this process: each with a listener of its own on loopback, a log that can be read, and
// optionally a data dir. Everything that a test starts, `stopAll` ends.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom } from "../../core/env.ts";
import type { Logger } from "../../core/logger.ts";
import { formatHostPort } from "../../core/resolve.ts";
import { listen, type Listener } from "../../core/runtime.ts";
import { createMembership, type GossipNode, type MembershipOptions } from "../../server/gossip_node.ts";

/** Timings of a test that waits for failures: a fifth of the real ones. */
export const QUICK = {
  probeIntervalMs: 150,
  probeTimeoutMs: 300,
  gossipIntervalMs: 50,
  syncIntervalMs: 3_000,
  reconnectIntervalMs: 500,
  conflictGraceMs: 500,
};

export class TestServer {
  constructor(
    readonly node: GossipNode,
    readonly listener: Listener,
    readonly name: string,
    readonly lines: string[],
  ) {}

  get address(): string {
    return formatHostPort({ host: this.node.self.host, port: this.listener.port });
  }

  /** "name=status" of all but itself, sorted. */
  get view(): string {
    return this.node.members().slice(1).map(({ name, status }) => `${name}=${status}`).sort().join(" ");
  }

  logged(pattern: RegExp): boolean {
    return this.lines.some((line) => pattern.test(line));
  }
}

const running = new Set<TestServer>();
const folders: string[] = [];

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "gossip-"));
  folders.push(folder);
  return folder;
}

export async function startServer(
  name: string,
  options: Partial<MembershipOptions> & { port?: number; hostname?: string } = {},
): Promise<TestServer> {
  let node: GossipNode | undefined = undefined;
  const listener = await listen({
    hostname: options.hostname ?? "127.0.0.1",
    port: options.port ?? 0,
    fetch: (request, info) =>
      node ? node.handle(request, info.remoteAddress) : new Response(null, { status: 503 }),
  });
  const lines: string[] = [];
  const write = (level: string) => (message: string, fields?: Record<string, unknown>) =>
    void lines.push(`${level} ${message} ${fields ? JSON.stringify(fields) : ""}`);
  const logger: Logger = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
  };
  node = await createMembership({
    name: `${name}.global`,
    advertise: { host: options.hostname ?? "127.0.0.1", port: listener.port },
    tags: { role: "nomad", id: name },
    dataDir: null,
    encrypt: "",
    rejoinAfterLeave: false,
    clock: systemClock,
    random: systemRandom,
    logger,
    tuning: QUICK,
    ...options,
  });
  const server = new TestServer(node, listener, name, lines);
  running.add(server);
  await node.start();
  return server;
}

/** Ends it as a kill does: nobody is told. */
export async function killServer(server: TestServer): Promise<void> {
  running.delete(server);
  await server.node.stop();
  await server.listener.close();
}

export async function stopAll(): Promise<void> {
  await Promise.all([...running].map(killServer));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** Waits until `condition` holds. */
export async function until(
  condition: () => boolean,
  what: string | (() => string),
  timeoutMs = 30_000,
): Promise<void> {
  for (const end = performance.now() + timeoutMs; performance.now() < end;) {
    if (condition()) return;
    await new Promise((wake) => setTimeout(wake, 20));
  }
  throw new Error(`Waited ${timeoutMs} ms for ${typeof what === "string" ? what : what()}`);
}

/** Waits until every one of them sees exactly the others, all alive. */
export function untilWhole(servers: TestServer[]): Promise<void> {
  const wanted = (server: TestServer) =>
    servers.filter((other) => other !== server).map((other) => `${other.name}.global=alive`).sort().join(" ");
  return until(
    () => servers.every((server) => server.view === wanted(server)),
    () =>
      `${servers.length} servers that see each other: ${servers.map((each) => `[${each.view}]`).join(" ")}`,
  );
}
