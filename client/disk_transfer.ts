// The data of an ephemeral disk on its way to another device: what migrates of an ended allocation as a tar stream
// (alloc/data and every task's local/), and taking it over through the device's connection to its servers, which find the
// device that has it.
//
// Invariants: nothing but those directories is packed or written, links that lead out of them are left behind; data
// comes whole or not at all. Best effort: an allocation starts without data that cannot be had.
import { createReadStream } from "node:fs";
import { chmod, chown, lstat, mkdir, readdir, readlink, rm } from "node:fs/promises";
import { dirname, isAbsolute, join, normalize, relative, resolve } from "node:path";
import process from "node:process";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Extract, Header, Pack } from "tar-stream";
import type { Clock } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import { type AllocDirs, taskDirs } from "./alloc_dir.ts";
import { Extraction } from "./unpack.ts";

/** One question lasts this long: servers answer when the allocation changes. */
const WAIT_MS = 60_000;
/** Servers may answer a little after the wait. */
const ANSWER_SLACK_MS = 15_000;
const RETRY_MS = 2_000;
/** In a row; servers may be electing, or this device may be cut off for a while. */
const FAILURES_MAX = 60;
/** Between two pieces of data. */
const SILENCE_MAX_MS = 60_000;

/** Names in the stream → directories here. */
function places(dirs: AllocDirs, tasks: readonly string[]): [string, string][] {
  return [
    ["alloc/data", dirs.data],
    ...tasks.map((task): [string, string] => [`${task}/local`, taskDirs(dirs.root, task).local]),
  ];
}

// --- Giving -------------------------------------------------------------------------------------------------------

/** What migrates of the allocation, as a tar stream. */
export function packDisk(dirs: AllocDirs, tasks: readonly string[]): ReadableStream<Uint8Array> {
  const pieces = packPieces(dirs, tasks);
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await pieces.return(undefined);
    },
  }, { highWaterMark: 0 });
}

async function* packPieces(dirs: AllocDirs, tasks: readonly string[]): AsyncGenerator<Uint8Array, void> {
  const { pack } = await import("tar-stream");
  const tar = pack();
  const filled = (async () => {
    for (const [name, dir] of places(dirs, tasks)) await packTree(tar, { name, path: dir, root: dir });
  })().then(() => tar.finalize(), (error: Error) => tar.destroy(error));
  try {
    for await (const piece of tar) yield piece as Uint8Array;
    await filled;
  } finally {
    tar.destroy();
  }
}

async function packTree(tar: Pack, at: { name: string; path: string; root: string }): Promise<void> {
  const { name, path, root } = at;
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (!found) return;
  const header = { name, mode: found.mode & 0o7777, uid: found.uid, gid: found.gid, mtime: found.mtime };
  if (found.isDirectory()) {
    tar.entry({ ...header, type: "directory" });
    for (const child of (await readdir(path)).sort()) {
      await packTree(tar, { name: `${name}/${child}`, path: join(path, child), root });
    }
  } else if (found.isSymbolicLink()) {
    const to = await readlink(path);
    if (!leadsOut(root, path, to)) tar.entry({ ...header, type: "symlink", linkname: to });
  } else if (found.isFile()) {
    await packFile(tar, { ...header, type: "file", size: found.size }, path);
  }
}

/** A file's bytes as they were counted: a tar cannot hold one that changes meanwhile. */
async function packFile(
  tar: Pack,
  header: Partial<Header> & { name: string; size: number },
  path: string,
): Promise<void> {
  if (header.size === 0) return void tar.entry(header, "");
  const entry = tar.entry(header);
  await pipeline(createReadStream(path, { end: header.size - 1 }), entry as unknown as NodeJS.WritableStream);
}

function leadsOut(root: string, path: string, to: string): boolean {
  const from = relative(root, resolve(dirname(path), to));
  return isAbsolute(to) || from === ".." || from.startsWith("../");
}

// --- Taking -------------------------------------------------------------------------------------------------------

export interface DiskSource {
  /** The servers' API, through the device's connection. */
  fetch(request: Request): Promise<Response>;
  clock: Clock;
  /** False once nobody wants the data any more. */
  isWanted(): boolean;
}

/**
 * Waits for the end of the allocation `previous` on its device and takes its data over into `to`. Returns null, or why
 * there is none; what had arrived is removed then.
 */
export async function fetchDisk(
  source: DiskSource,
  previous: string,
  to: AllocDirs,
  tasks: readonly string[],
): Promise<string | null> {
  const problem = await untilEnded(source, previous);
  if (problem !== null || !source.isWanted()) return problem;
  try {
    const deadline = new Deadline(source.clock);
    try {
      const path = `/v1/client/allocation/${previous}/snapshot`;
      const response = await source.fetch(new Request(`http://servers${path}`, { signal: deadline.signal }));
      deadline.extend(SILENCE_MAX_MS);
      if (!response.ok || !response.body) throw new Error((await response.text()).trim());
      await unpackDisk(watched(response.body, deadline), to, tasks);
    } finally {
      deadline.end();
    }
    return null;
  } catch (error) {
    for (const [, dir] of places(to, tasks)) await rm(dir, { recursive: true, force: true });
    return errorText(error);
  }
}

/** Fires when nothing came for too long. */
class Deadline {
  readonly #abort = new AbortController();
  #cancel: () => void;

  constructor(private readonly clock: Clock, firstMs = SILENCE_MAX_MS) {
    this.#cancel = this.#arm(firstMs);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  extend(ms: number): void {
    this.#cancel();
    this.#cancel = this.#arm(ms);
  }

  end(): void {
    this.#cancel();
  }

  #arm(ms: number): () => void {
    return this.clock.after(ms, () => this.#abort.abort(new Error("no answer in time")));
  }
}

/** Null when the allocation has ended on a device that can be asked for its data. */
async function untilEnded(source: DiskSource, id: string): Promise<string | null> {
  let failures = 0;
  for (let index = "0"; source.isWanted();) {
    const deadline = new Deadline(source.clock, WAIT_MS + ANSWER_SLACK_MS);
    try {
      const url = `http://servers/v1/allocation/${id}?index=${index}&wait=${WAIT_MS}ms`;
      const response = await source.fetch(new Request(url, { signal: deadline.signal }));
      if (response.status === 404) return "the servers do not know it any more";
      if (!response.ok) throw new Error((await response.text()).trim());
      index = response.headers.get("X-Nomad-Index") ?? "0";
      const { ClientStatus: status } = await response.json() as { ClientStatus: string };
      if (status === "complete" || status === "failed") return null;
      if (status === "lost" || status === "unknown") return "its device cannot be reached";
      failures = 0;
    } catch (error) {
      if (++failures >= FAILURES_MAX) return errorText(error);
      await new Promise<void>((resolve) => source.clock.after(RETRY_MS, resolve));
    } finally {
      deadline.end();
    }
  }
  return null;
}

async function* watched(body: ReadableStream<Uint8Array>, deadline: Deadline): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  const silent = new Promise<never>((_, reject) => {
    deadline.signal.addEventListener("abort", () => reject(deadline.signal.reason), { once: true });
  });
  // Nobody may be waiting when it fires.
  silent.catch(() => undefined);
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), silent]);
      if (done) return;
      deadline.extend(SILENCE_MAX_MS);
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Writes what `packDisk` gave. Throws for a stream that holds anything else, or that ends early. */
export async function unpackDisk(
  pieces: AsyncIterable<Uint8Array>,
  to: AllocDirs,
  tasks: readonly string[],
): Promise<void> {
  const { extract } = await import("tar-stream");
  await mkdir(to.root, { recursive: true, mode: 0o755 });
  const entries = extract();
  const source = Readable.from(pieces);
  const writer = new DiskWriter(to, tasks);
  // The reader of entries does not always hear of a source that breaks off: nobody may wait for it then.
  let breach: Error | undefined;
  const broken = new Promise<never>((_, reject) => {
    source.on("error", (error) => {
      breach = error;
      entries.destroy(error);
      reject(error);
    });
  });
  source.pipe(entries);
  try {
    await Promise.race([writer.write(entries), broken]);
  } catch (error) {
    await writer.stop();
    throw breach ?? error;
  }
}

type Entry = Extract extends AsyncIterable<infer E> ? E : never;

/** Writes entries one after the other; after `stop` it writes nothing any more. */
class DiskWriter {
  readonly #abort = new AbortController();
  readonly #known: string[];
  readonly #extraction: Extraction;
  #step: Promise<void> = Promise.resolve();

  constructor(to: AllocDirs, tasks: readonly string[]) {
    this.#known = places(to, tasks).map(([name]) => name);
    this.#extraction = new Extraction({ target: to.root, subdir: "", filesMax: Infinity });
  }

  async write(entries: Extract): Promise<void> {
    for await (const entry of entries) {
      this.#abort.signal.throwIfAborted();
      await (this.#step = this.#write(entry));
    }
  }

  /** Resolves when nothing is being written. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.allSettled([this.#step]);
  }

  async #write(entry: Entry): Promise<void> {
    const { name, size = 0, type, mode = 0o644, linkname } = entry.header;
    const clean = normalize(name).replace(/\/+$/, "");
    if (!this.#known.some((place) => clean === place || clean.startsWith(`${place}/`))) {
      throw new Error(`the data holds ${JSON.stringify(name)}, which does not belong to a disk`);
    }
    const path = this.#extraction.place(clean, size)!;
    if (type === "file") {
      await this.#extraction.file(path, entry as unknown as Readable, mode, this.#abort.signal);
    } else {
      if (type === "symlink") await this.#extraction.link(path, linkname ?? "");
      else await this.#extraction.directory(path);
      entry.resume();
    }
    if (type !== "symlink") await keepOwner(path, entry.header, mode);
  }
}

async function keepOwner(path: string, header: Header, mode: number): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, header.uid ?? 0, header.gid ?? 0);
  await chmod(path, mode);
}
