// Reads a task's log as one stream over its numbered files `<task>.<stdout|stderr>.<n>`, from an offset counted from
// the start or the end, and follows it: over rotation to the next file, and past files that were removed for age.
// Also follows a single file for `fs/stream`. Only reads; drivers write.
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/env.ts";
import { ApiError } from "../core/errors.ts";
import type { Pieces } from "./frames.ts";

const PIECE_BYTES = 64 * 1024;
/** While somebody follows: how often the file is looked at, and how often the line is kept alive. */
const LOOK_EVERY_MS = 100;
const HEARTBEAT_MS = 1000;

export interface ReadFrom {
  /** Bytes from the start, or back from the end. */
  offset: number;
  origin: "start" | "end";
  follow: boolean;
}

interface LogFile {
  index: number;
  sizeBytes: number;
}

export interface LogSource extends ReadFrom {
  dir: string;
  task: string;
  type: "stdout" | "stderr";
  clock: Clock;
  signal: AbortSignal;
}

/** Throws ApiError 404 before the first piece when there is no log yet and nobody wants to follow. */
export async function readLog(source: LogSource): Promise<Pieces> {
  const files = await logFiles(source.dir, `${source.task}.${source.type}.`);
  if (files.length === 0 && !source.follow) {
    throw new ApiError(404, `task ${JSON.stringify(source.task)} not started yet. No logs available`);
  }
  return logPieces(source, files);
}

async function logFiles(dir: string, prefix: string): Promise<LogFile[]> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const found = await Promise.all(
    names.filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
      .map(async (name): Promise<LogFile[]> => {
        const size = await sizeOf(join(dir, name));
        return size === null ? [] : [{ index: Number(name.slice(prefix.length)), sizeBytes: size }];
      }),
  );
  return found.flat().sort((a, b) => a.index - b.index);
}

/** Null when the file is gone. */
async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Where reading begins: which file, and how far into it. */
export function findStart(files: LogFile[], from: ReadFrom): { index: number; position: number } {
  const total = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  let skip = from.origin === "start" ? from.offset : Math.max(0, total - from.offset);
  for (const file of files) {
    if (skip < file.sizeBytes || file === files.at(-1)) {
      return { index: file.index, position: Math.min(skip, file.sizeBytes) };
    }
    skip -= file.sizeBytes;
  }
  return { index: 0, position: 0 };
}

async function* logPieces(source: LogSource, files: LogFile[]): Pieces {
  const { dir, clock, signal } = source;
  const prefix = `${source.task}.${source.type}.`;
  let { index, position } = findStart(files, source);
  let quietMs = 0;
  while (!signal.aborted) {
    const name = `${prefix}${index}`;
    const before = position;
    for await (const data of readFrom(join(dir, name), position)) {
      position += data.length;
      yield { file: `alloc/logs/${name}`, data, offset: position };
      if (signal.aborted) return;
    }
    // A next file means that this one is complete: but look again, it may have grown since the last read.
    const next = (await logFiles(dir, prefix)).find((file) => file.index > index);
    if (next) {
      const size = await sizeOf(join(dir, name));
      if (size !== null && size > position) continue;
      index = next.index;
      position = 0;
      continue;
    }
    if (!source.follow) return;
    quietMs = position > before ? 0 : quietMs + LOOK_EVERY_MS;
    if (quietMs > 0 && quietMs % HEARTBEAT_MS === 0) yield null;
    await pause(clock, LOOK_EVERY_MS, signal);
  }
}

/** One file from `position` on, to its present end; nothing when it is gone. */
async function* readFrom(path: string, position: number): AsyncGenerator<Uint8Array, void, void> {
  const handle = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (!handle) return;
  try {
    for (let at = position;;) {
      const buffer = new Uint8Array(PIECE_BYTES);
      const { bytesRead } = await handle.read(buffer, 0, PIECE_BYTES, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

export interface FileSource extends ReadFrom {
  /** The file itself, and the name frames show. */
  path: string;
  shown: string;
  clock: Clock;
  signal: AbortSignal;
}

/** One file of any kind; when it shrinks while followed, reading goes on at its new end. */
export async function* filePieces(source: FileSource): Pieces {
  const { path, shown, clock, signal } = source;
  const size = await sizeOf(path) ?? 0;
  let position = source.origin === "start" ? source.offset : Math.max(0, size - source.offset);
  let quietMs = 0;
  while (!signal.aborted) {
    const before = position;
    for await (const data of readFrom(path, position)) {
      position += data.length;
      yield { file: shown, data, offset: position };
      if (signal.aborted) return;
    }
    if (!source.follow) return;
    const now = await sizeOf(path);
    if (now === null) {
      yield { file: shown, data: new Uint8Array(0), offset: position, event: "file deleted" };
      return;
    }
    if (now < position) {
      position = 0;
      yield { file: shown, data: new Uint8Array(0), offset: 0, event: "file truncated" };
      continue;
    }
    quietMs = position > before ? 0 : quietMs + LOOK_EVERY_MS;
    if (quietMs > 0 && quietMs % HEARTBEAT_MS === 0) yield null;
    await pause(clock, LOOK_EVERY_MS, signal);
  }
}

function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.after(delayMs, end);
    signal.addEventListener("abort", end, { once: true });
  });
}
