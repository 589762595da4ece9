// Brings a container's output from Podman's log file (k8s-file: `<time> <stream> <F|P> <text>`) into the task's rotated
// files. Podman writes that file whether the agent is there or not, so nothing is lost; nothing is doubled, because the
// rotated files themselves are the account: after a restart, reading begins at the last checkpoint and skips exactly as
// many bytes of each stream as were written since. What is behind a checkpoint is given back to the disk.
import { spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, read, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { StreamName } from "./log_files.ts";
import { isGone } from "./proc.ts";
import { type LogPosition, RotatingWriter } from "./rotating_writer.ts";
import { findProgram } from "./wrapper.ts";

export interface PodmanLogPlace {
  dir: string;
  task: string;
  filesMax: number;
  fileSizeMaxBytes: number;
  runDir: string;
}

/** All bytes of the source before `source` stand in the rotated files before these positions. */
interface Checkpoint {
  source: number;
  stdout: LogPosition;
  stderr: LogPosition;
}

export const SOURCE_NAME = "container.log";
const CHECKPOINT_NAME = "checkpoint.json";
const READ_BYTES = 256 * 1024;
const CHECKPOINT_BYTES = 1024 * 1024;
/** Consumed source is punched out of the file in steps of this size. */
const PUNCH_BYTES = 8 * 1024 * 1024;

export class PodmanLogs {
  readonly #place: PodmanLogPlace;
  readonly #log: Logger;
  readonly #writers: Record<StreamName, RotatingWriter>;
  readonly #parser = new LogLines();
  #file: number | null = null;
  #at = 0;
  #checkpoint: Checkpoint | null = null;
  #skip: Record<StreamName, number> = { stdout: 0, stderr: 0 };
  #punched = 0;
  #turn: Promise<void> = Promise.resolve();

  constructor(place: PodmanLogPlace, log: Logger) {
    this.#place = place;
    this.#log = log;
    this.#writers = {
      stdout: new RotatingWriter(place, "stdout"),
      stderr: new RotatingWriter(place, "stderr"),
    };
  }

  /** Before the container starts: the positions where its output begins. */
  async begin(): Promise<void> {
    await this.#saveCheckpoint(0);
  }

  /** After the agent was away: works out what already stands in the files. */
  async resume(): Promise<void> {
    const text = readOptional(join(this.#place.runDir, CHECKPOINT_NAME));
    if (text === null) return this.begin();
    const checkpoint = JSON.parse(text) as Checkpoint;
    this.#checkpoint = checkpoint;
    this.#at = checkpoint.source;
    this.#punched = checkpoint.source;
    for (const stream of ["stdout", "stderr"] as const) {
      const writer = this.#writers[stream];
      this.#skip[stream] = writer.bytesBetween(checkpoint[stream], await writer.position());
    }
  }

  /** Cheap look (2 µs): is there something to bring over? */
  hasMore(): boolean {
    this.#file ??= openOptional(join(this.#place.runDir, SOURCE_NAME));
    return this.#file !== null && fstatSync(this.#file).size > this.#at;
  }

  /** Brings over all that is there now. Calls queue up; a failure (disk full) is logged and tried again by the next. */
  drain(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#drain()).catch((error) => {
      this.#log.warn("Cannot write a container's log", { task: this.#place.task, error: errorText(error) });
      return this.#rewind();
    });
    return this.#turn;
  }

  async #drain(): Promise<void> {
    while (this.hasMore()) {
      const chunk = await readAt(this.#file!, this.#at, READ_BYTES);
      if (chunk.length === 0) return;
      const parts = this.#parser.read(chunk);
      for (const stream of ["stdout", "stderr"] as const) {
        const bytes = this.#withoutSkipped(stream, join2(parts.filter((part) => part.stream === stream)));
        if (bytes.length > 0) await this.#writers[stream].write(bytes);
      }
      this.#at += chunk.length;
      const whole = this.#at - this.#parser.pending;
      if (whole - (this.#checkpoint?.source ?? 0) >= CHECKPOINT_BYTES) await this.#saveCheckpoint(whole);
    }
  }

  #withoutSkipped(stream: StreamName, bytes: Uint8Array): Uint8Array {
    const skipped = Math.min(this.#skip[stream], bytes.length);
    this.#skip[stream] -= skipped;
    return bytes.subarray(skipped);
  }

  /** After a failed write: as after a restart, from the checkpoint. */
  async #rewind(): Promise<void> {
    this.#parser.reset();
    await this.resume();
  }

  async #saveCheckpoint(source: number): Promise<void> {
    const [stdout, stderr] = [await this.#writers.stdout.position(), await this.#writers.stderr.position()];
    this.#checkpoint = { source, stdout, stderr };
    const path = join(this.#place.runDir, CHECKPOINT_NAME);
    writeFileSync(`${path}.new`, JSON.stringify(this.#checkpoint));
    renameSync(`${path}.new`, path);
    this.#giveBack(source);
  }

  /** The file keeps its length and offsets; the blocks behind the checkpoint become a hole. */
  #giveBack(source: number): void {
    const end = Math.floor(source / PUNCH_BYTES) * PUNCH_BYTES;
    const fallocate = end > this.#punched ? findProgram("fallocate") : null;
    if (fallocate === null) return;
    this.#punched = end;
    const args = [
      "--punch-hole",
      "--offset",
      "0",
      "--length",
      String(end),
      join(this.#place.runDir, SOURCE_NAME),
    ];
    const child = spawn(fallocate, args, { stdio: "ignore" });
    // A file system that knows no holes keeps the file whole: no byte is wrong, only more disk is used.
    child.on("error", (error) => this.#log.debug("Cannot punch a log file", { error: error.message }));
  }

  async close(): Promise<void> {
    await this.#turn;
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }
}

/** Reads Podman's log lines out of chunks that end anywhere. */
export class LogLines {
  #rest: Uint8Array = new Uint8Array(0);

  /** Bytes read that are not yet a whole line. */
  get pending(): number {
    return this.#rest.length;
  }

  reset(): void {
    this.#rest = new Uint8Array(0);
  }

  read(chunk: Uint8Array): { stream: StreamName; bytes: Uint8Array }[] {
    const data = this.#rest.length === 0 ? chunk : join2([{ bytes: this.#rest }, { bytes: chunk }]);
    const found: { stream: StreamName; bytes: Uint8Array }[] = [];
    let at = 0;
    for (let end = data.indexOf(10, at); end >= 0; end = data.indexOf(10, at)) {
      const part = parseLine(data.subarray(at, end + 1));
      if (part) found.push(part);
      at = end + 1;
    }
    this.#rest = data.slice(at);
    return found;
  }
}

/** `line` ends with its newline, which belongs to the output only where the line is whole ("F"). */
function parseLine(line: Uint8Array): { stream: StreamName; bytes: Uint8Array } | null {
  const space = line.indexOf(32);
  const stream = new TextDecoder().decode(line.subarray(space + 1, space + 7));
  if (space < 0 || (stream !== "stdout" && stream !== "stderr")) return null;
  const whole = line[space + 8] === 70;
  return { stream, bytes: line.subarray(space + 10, whole ? line.length : line.length - 1) };
}

function join2(parts: { bytes: Uint8Array }[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes.length, 0));
  let at = 0;
  for (const { bytes } of parts) {
    joined.set(bytes, at);
    at += bytes.length;
  }
  return joined;
}

function readAt(file: number, position: number, length: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(length);
  return new Promise((resolve, reject) => {
    read(
      file,
      buffer,
      0,
      length,
      position,
      (error, count) => error ? reject(error) : resolve(buffer.subarray(0, count)),
    );
  });
}

function openOptional(path: string): number | null {
  try {
    return openSync(path, "r");
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

function readOptional(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}
