// The device's part of the HTTP API (api 345-366, 427-440): usage of allocations and host, restarts, signals, checks,
// metadata, garbage collection; files and logs stand in http_fs.ts. Authorisation happens before: in the agent's HTTP
// edge or in the server that forwards. Loaded with the first request.
import { Hono } from "hono";
import type { Context } from "hono";
import type { Clock } from "../core/env.ts";
import { ApiError, DriverError, errorText } from "../core/errors.ts";
import type { AllocationRunner } from "./allocation.ts";
import { allocationStats } from "./allocation_stats.ts";
import type { Client } from "./client.ts";
import { fsApi } from "./http_fs.ts";
import type { Override } from "./schedule.ts";
import { HostStats, TaskStats } from "./stats.ts";

const NOT_COLLECTABLE = "No such allocation on client, or allocation not eligible for GC";

/** A Request → Response function over the running client. */
export function clientApi(client: Client, clock: Clock): (request: Request) => Promise<Response> {
  const app = new Hono();
  const find = (id: string): AllocationRunner => {
    const runner = client.allocations.get(id);
    if (!runner) throw new ApiError(404, `Unknown allocation ${JSON.stringify(id)}`);
    return runner;
  };
  const mhzPerCore = Number(client.node.Attributes["cpu.frequency"] ?? 0);
  const host = new HostStats({ allocDir: client.config.allocDir, mhzPerCore });
  const tasks = new TaskStats(mhzPerCore);

  app.route("/v1/client/fs", fsApi({ find, clock }));
  app.get("/v1/client/stats", async (c) => c.json(await host.read(clock.nowMs())));
  app.all("/v1/client/stats", async (c) => c.json(await host.read(clock.nowMs())));
  app.all("/v1/client/gc", async () => {
    await client.collectAll();
    return new Response(null, { status: 200 });
  });
  app.get("/v1/client/metadata", (c) => c.json(client.metadata));
  app.post("/v1/client/metadata", (c) => applyMetadata(c, client));
  app.all("/v1/client/metadata", invalidMethod);
  app.all("/v1/client/identity", noIdentity);
  app.all("/v1/client/identity/renew", noIdentity);

  const alloc = "/v1/client/allocation/:id";
  app.all(`${alloc}/stats`, async (c) => {
    return c.json(await allocationStats(find(c.req.param("id")), tasks, c.req.query("task") ?? ""));
  });
  app.all(`${alloc}/checks`, (c) => c.json(find(c.req.param("id")).services?.results ?? {}));
  app.on(["PUT", "POST"], `${alloc}/signal`, (c) => signal(c, find(c.req.param("id"))));
  app.all(`${alloc}/signal`, invalidMethod);
  app.all(`${alloc}/restart`, (c) => restart(c, find(c.req.param("id"))));
  app.all(`${alloc}/gc`, async (c) => {
    if (!(await client.collect(c.req.param("id")))) throw new ApiError(500, NOT_COLLECTABLE);
    return new Response(null, { status: 200 });
  });
  app.all(`${alloc}/pause`, (c) => pause(c, find));
  app.post(`${alloc}/exec`, async (c) => {
    const { execInTask } = await import("./exec.ts");
    return await execInTask(find(c.req.param("id")), c.req.raw);
  });
  app.all(`${alloc}/exec`, () => {
    throw new ApiError(500, "websocket connection not found in context");
  });
  app.all(`${alloc}/snapshot`, async (c) => await snapshot(find(c.req.param("id"))));
  app.all(`${alloc}/*`, () => {
    throw new ApiError(404, "resource not found");
  });
  app.notFound(() => plain(404, "Invalid method"));
  app.onError((error) =>
    error instanceof ApiError ? plain(error.status, error.message) : plain(500, errorText(error))
  );
  return async (request) => await app.fetch(request);
}

const plain = (status: number, text: string): Response =>
  new Response(text, { status, headers: { "Content-Type": "text/plain; charset=utf-8" } });

function invalidMethod(): never {
  throw new ApiError(405, "Invalid method");
}

function noIdentity(): never {
  throw new ApiError(501, "Node identities are not supported by this device: its session is its identity");
}

/** The body as an object; {} when there is none. Keys match whatever their case, as everywhere in the API. */
async function readBody(c: Context): Promise<Record<string, unknown>> {
  const text = await c.req.text();
  if (text.trim() === "") return {};
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new ApiError(400, `Request body is not JSON: ${errorText(error)}`);
  }
  if (body === null || typeof body !== "object" || Array.isArray(body)) {
    throw new ApiError(400, "Request body must be a JSON object");
  }
  return Object.fromEntries(Object.entries(body).map(([key, value]) => [key.toLowerCase(), value]));
}

function stringOf(body: Record<string, unknown>, key: string): string {
  const value = body[key.toLowerCase()] ?? "";
  if (typeof value !== "string") throw new ApiError(400, `${key} must be a string`);
  return value;
}

async function signal(c: Context, runner: AllocationRunner): Promise<Response> {
  const body = await readBody(c);
  const name = stringOf(body, "Signal");
  await runner.signal(stringOf(body, "Task"), name === "" ? "SIGKILL" : name).catch((error) => {
    throw new ApiError(
      500,
      error instanceof DriverError && error.hint ? `${error.message}: ${error.hint}` : errorText(error),
    );
  });
  return c.json({ Index: 0 });
}

/** The data that migrates to a successor on another device. */
async function snapshot(runner: AllocationRunner): Promise<Response> {
  if (!runner.isTerminal) {
    throw new ApiError(500, "the allocation still runs: its data can be taken when all its tasks have ended");
  }
  const { packDisk } = await import("./disk_transfer.ts");
  const body = packDisk(runner.dirs, [...runner.tasks.keys()]);
  return new Response(body, { headers: { "Content-Type": "application/x-tar" } });
}

async function restart(c: Context, runner: AllocationRunner): Promise<Response> {
  const body = await readBody(c);
  try {
    runner.restart(stringOf(body, "TaskName"), body.alltasks === true);
  } catch (error) {
    throw error instanceof ApiError ? error : new ApiError(500, errorText(error));
  }
  return c.json({ Index: 0 });
}

/**
 * The schedule of a task, set aside by hand or followed again. For tasks without one the answers are the reference's
 * (api 358, 359), which has schedules in its Enterprise version only.
 */
async function pause(c: Context, find: (id: string) => AllocationRunner): Promise<Response> {
  const isWrite = c.req.method === "PUT" || c.req.method === "POST";
  const body = isWrite ? await readBody(c) : {};
  const wanted = isWrite ? stringOf(body, "ScheduleState") || "scheduled" : "";
  if (isWrite && wanted !== "run" && wanted !== "pause" && wanted !== "scheduled") {
    throw new ApiError(400, "Not a valid task schedule state");
  }
  const runner = find(c.req.param("id") ?? "");
  const name = (isWrite ? stringOf(body, "Task") : c.req.query("task")) || [...runner.tasks.keys()][0]!;
  const task = runner.tasks.get(name);
  if (!task) throw new ApiError(500, `Could not find task runner for task: ${name}`);
  if (!task.task.Schedule) throw new ApiError(500, "Enterprise only");
  if (isWrite) runner.schedules.override(task, wanted as Override);
  return c.json(isWrite ? { Index: 0 } : task.machine.api.Paused || "scheduled");
}

const META_KEY = /^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*$/;

async function applyMetadata(c: Context, client: Client): Promise<Response> {
  const { meta } = await readBody(c);
  if (meta === null || typeof meta !== "object" || Array.isArray(meta)) {
    throw new ApiError(400, "Meta must be an object of strings, null removes a key");
  }
  for (const [key, value] of Object.entries(meta as Record<string, unknown>)) {
    if (!META_KEY.test(key)) {
      throw new ApiError(
        400,
        `${JSON.stringify(key)} is invalid; metadata keys must be valid dotted hcl identifiers`,
      );
    }
    if (value !== null && typeof value !== "string") {
      throw new ApiError(400, `Meta ${JSON.stringify(key)} must be a string or null`);
    }
  }
  client.applyMetadata(meta as Record<string, string | null>);
  return c.json(client.metadata);
}
