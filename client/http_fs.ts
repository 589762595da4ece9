// Routes of the device's files and logs (api 400-426). Errors of cat and readat arrive as 200 with the error's text,
// because that is how the reference answers and its clients read it.
import { Hono } from "hono";
import type { Context } from "hono";
import type { Clock } from "../core/env.ts";
import { ApiError, errorText } from "../core/errors.ts";
import type { AllocationRunner } from "./allocation.ts";
import { contentType, listFiles, openFile, resolveReadable, statFile } from "./fs.ts";
import { encodePieces } from "./frames.ts";
import { filePieces, type ReadFrom, readLog } from "./logs.ts";

export interface FsRoutes {
  /** Throws ApiError 404 for an unknown allocation. */
  find(allocId: string): AllocationRunner;
  clock: Clock;
}

/** What a task wrote is never run by a browser that looks at it. */
const UNTRUSTED = {
  "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
  "X-Content-Type-Options": "nosniff",
  "X-Xss-Protection": "1; mode=block",
};

export function fsApi(routes: FsRoutes): Hono {
  const app = new Hono();
  const on = (op: string, handle: (c: Context, runner: AllocationRunner) => Promise<Response>) => {
    app.all(`/${op}/:alloc`, (c) => handle(c, routes.find(c.req.param("alloc"))));
    for (const bare of [`/${op}`, `/${op}/`]) {
      app.all(bare, () => {
        throw new ApiError(400, "must provide a valid alloc id");
      });
    }
  };
  on("ls", async (c, runner) => c.json(await listFiles(runner.dirs.root, c.req.query("path") || "/")));
  on("stat", async (c, runner) => c.json(await statFile(runner.dirs.root, filePath(c))));
  on("cat", (c, runner) => cat(runner, filePath(c)));
  on("readat", (c, runner) => readAt(c, runner));
  on("stream", (c, runner) => stream(c, runner, routes.clock));
  on("logs", (c, runner) => logs(c, runner, routes.clock));
  app.all("*", () => {
    throw new ApiError(404, "Invalid method");
  });
  return app;
}

function filePath(c: Context): string {
  const path = c.req.query("path") ?? "";
  if (path === "") throw new ApiError(400, "must provide a file name");
  return path;
}

/** cat and readat: the error's text with status 200. */
async function untrusted(body: () => Promise<Response>): Promise<Response> {
  try {
    return await body();
  } catch (error) {
    return new Response(errorText(error), { headers: { "Content-Type": "text/plain; charset=utf-8" } });
  }
}

function cat(runner: AllocationRunner, path: string): Promise<Response> {
  return untrusted(() => serve(runner, path, 0, Infinity));
}

function readAt(c: Context, runner: AllocationRunner): Promise<Response> {
  const path = filePath(c);
  return untrusted(() =>
    serve(
      runner,
      path,
      parseInteger(c.req.query("offset"), "offset"),
      parseInteger(c.req.query("limit"), "limit"),
    )
  );
}

/** Bytes [offset, offset + limit) of a file as it is now. */
async function serve(
  runner: AllocationRunner,
  path: string,
  offset: number,
  limit: number,
): Promise<Response> {
  const { handle, file, sizeBytes } = await openFile(runner.dirs.root, path);
  const end = Math.min(sizeBytes, offset + limit);
  const length = Math.max(0, end - offset);
  const found = await contentType(file);
  const headers = {
    ...UNTRUSTED,
    "Content-Type": found.startsWith("text/html") ? "text/plain" : found,
    "Content-Length": String(length),
  };
  let at = offset;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const buffer = new Uint8Array(Math.min(64 * 1024, end - at));
      const { bytesRead } = buffer.length === 0
        ? { bytesRead: 0 }
        : await handle.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) {
        await handle.close();
        return controller.close();
      }
      at += bytesRead;
      controller.enqueue(buffer.subarray(0, bytesRead));
    },
    cancel: () => handle.close(),
  }, { highWaterMark: 0 });
  return new Response(body, { headers });
}

async function stream(c: Context, runner: AllocationRunner, clock: Clock): Promise<Response> {
  const shown = filePath(c);
  const from = readFromQuery(c, true);
  const { handle } = await openFile(runner.dirs.root, shown);
  await handle.close();
  const path = await resolveReadable(runner.dirs.root, shown);
  const pieces = filePieces({ ...from, path, shown, clock, signal: c.req.raw.signal });
  return new Response(encodePieces(pieces, false), {
    headers: { "Content-Type": "text/plain; charset=utf-8" },
  });
}

async function logs(c: Context, runner: AllocationRunner, clock: Clock): Promise<Response> {
  const task = c.req.query("task") ?? "";
  const type = c.req.query("type") ?? "";
  if (task === "") throw new ApiError(400, "must provide task name");
  const follow = parseBool(c.req.query("follow"), "follow", false);
  const plain = parseBool(c.req.query("plain"), "plain", false);
  if (type !== "stdout" && type !== "stderr") {
    throw new ApiError(400, "must provide log type (stdout/stderr)");
  }
  const from = { ...readFromQuery(c, false), follow };
  const runnerTask = runner.tasks.get(task);
  if (!runnerTask) throw new ApiError(400, `unknown task name ${JSON.stringify(task)}`);
  if (runnerTask.task.LogConfig.Disabled) {
    throw new ApiError(
      400,
      `log collection of task ${JSON.stringify(task)} is disabled in its job (logs block)`,
    );
  }
  const pieces = await readLog({
    ...from,
    dir: runner.dirs.logs,
    task,
    type,
    clock,
    signal: c.req.raw.signal,
  });
  return new Response(encodePieces(pieces, plain), {
    headers: { "Content-Type": plain ? "text/plain" : "application/json" },
  });
}

function readFromQuery(c: Context, followDefault: boolean): ReadFrom {
  const text = c.req.query("offset") ?? "";
  const offset = text === "" ? 0 : parseInteger(text, "offset");
  const origin = c.req.query("origin") || "start";
  if (origin !== "start" && origin !== "end") throw new ApiError(400, "origin must be start or end");
  return { offset, origin, follow: parseBool(c.req.query("follow"), "follow", followDefault) };
}

/** Go's error text: API clients print it. */
function parseInteger(text: string | undefined, name: string): number {
  if (text !== undefined && /^[+-]?\d+$/.test(text)) {
    const value = Number(text);
    if (value < 0) throw new ApiError(400, `${name} must be zero or more`);
    return value;
  }
  throw new ApiError(
    400,
    `error parsing ${name}: strconv.ParseInt: parsing ${JSON.stringify(text ?? "")}: invalid syntax`,
  );
}

const BOOLS: Record<string, boolean> = {
  "1": true,
  t: true,
  T: true,
  true: true,
  TRUE: true,
  True: true,
  "0": false,
  f: false,
  F: false,
  false: false,
  FALSE: false,
  False: false,
};

function parseBool(text: string | undefined, name: string, fallback: boolean): boolean {
  if (text === undefined || text === "") return fallback;
  const value = BOOLS[text];
  if (value === undefined) {
    throw new ApiError(
      400,
      `failed to parse ${name} field to boolean: strconv.ParseBool: parsing ${
        JSON.stringify(text)
      }: invalid syntax`,
    );
  }
  return value;
}
