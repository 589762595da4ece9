// Rotated log files whose writer outlives the agent. The writer is `split`, which numbers its pieces with letters in
// the run directory (`stdout.<from>.aaaaaa`, `…b`); a symbolic link made in advance under each of those names points
// to `<task>.stdout.<n>` beside it, so every piece is born under Nomad's name even while the agent is away. Pieces
// beyond the links made in advance are plain files and are moved to their name by the next look (harmless while
// split holds them open: same file, other name). A restarted task goes on in its newest file, as Nomad's does: split
// gets that file's content first, into a piece that takes the file's place once all of it is there, so that no reader
// sees it shrink. Oldest files are removed by the look too. Never reads or writes a byte of output.
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";

export type StreamName = "stdout" | "stderr";

export const SUFFIX_WIDTH = 6;
/** Links kept ready beyond the newest file; more rotations than this between two looks only delay a name. */
const LINKS_AHEAD = 16;
/** Made before the task starts; the rest follows with the first look. */
const LINKS_AT_START = 2;

/** 0 → "aaaaaa", 27 → "aaaabb": the order in which split names its pieces. */
export function splitSuffix(piece: number): string {
  let text = "";
  for (let i = 0, rest = piece; i < SUFFIX_WIDTH; i++, rest = Math.floor(rest / 26)) {
    text = String.fromCharCode(97 + rest % 26) + text;
  }
  return text;
}

/** Numbers n of the files `<task>.<stream>.<n>` in `dir`, ascending. */
export function logIndexes(dir: string, task: string, stream: StreamName): number[] {
  const prefix = `${task}.${stream}.`;
  const found: number[] = [];
  for (const name of existsSync(dir) ? readdirSync(dir) : []) {
    if (name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length))) {
      found.push(Number(name.slice(prefix.length)));
    }
  }
  return found.sort((a, b) => a - b);
}

export interface StreamPlace {
  dir: string;
  runDir: string;
  task: string;
  filesMax: number;
  fileSizeMaxBytes: number;
}

/** One stream of one start of a task. */
export class LogStream {
  readonly #place: StreamPlace;
  readonly #runDir: string;
  readonly stream: StreamName;
  /** Number of the first file of this start. */
  readonly from: number;
  #newest: number;
  #oldest: number;
  /** Files from the newest to below this number have their links. */
  #linkedBelow: number;
  /** True while the first piece, which repeats the newest file, has not taken that file's place. */
  #carrying = false;

  private constructor(place: StreamPlace, stream: StreamName, from: number, indexes: number[]) {
    this.#place = place;
    this.#runDir = place.runDir;
    this.stream = stream;
    this.from = from;
    this.#newest = Math.max(from, indexes.at(-1) ?? 0);
    this.#oldest = indexes[0] ?? from;
    this.#linkedBelow = from;
  }

  /**
   * Before a start: makes the first file and the first links, so that readers find it at once. With `carries`, goes on
   * in the newest file while it has room (the wrapper feeds `carry` to split first); otherwise begins a new one.
   */
  static begin(place: StreamPlace, stream: StreamName, carries: boolean): LogStream {
    const indexes = logIndexes(place.dir, place.task, stream);
    const last = indexes.at(-1);
    const size = last === undefined ? 0 : statSync(join(place.dir, `${place.task}.${stream}.${last}`)).size;
    const goesOn = size === 0 || (carries && size < place.fileSizeMaxBytes);
    const made = new LogStream(place, stream, last === undefined ? 0 : goesOn ? last : last + 1, indexes);
    made.#carrying = goesOn && size > 0;
    closeSync(openSync(made.path(made.from), "a"));
    // While carrying, a next file must not be seen before the newest one is whole: no links yet.
    if (!made.#carrying) made.#link(made.from, made.from + LINKS_AT_START);
    return made;
  }

  /** After the agent was away. */
  static resume(place: StreamPlace, stream: StreamName, from: number): LogStream {
    const made = new LogStream(place, stream, from, logIndexes(place.dir, place.task, stream));
    made.#carrying = lstatSync(made.#pieceFor(from), { throwIfNoEntry: false })?.isFile() ?? false;
    return made;
  }

  /** The file whose content split must get before anything else; "" for none. */
  get carry(): string {
    return this.#carrying ? this.path(this.from) : "";
  }

  /** What split is told to begin its names with. */
  get prefix(): string {
    return join(this.#runDir, `${this.stream}.${this.from}.`);
  }

  path(index: number): string {
    return join(this.#place.dir, `${this.#place.task}.${this.stream}.${index}`);
  }

  #pieceFor(index: number): string {
    return this.prefix + splitSuffix(index - this.from);
  }

  /**
   * Looks for new pieces: gives them their names, makes links ahead, removes the oldest files. One system call when
   * nothing is new, because it is done for every running task all the time.
   */
  tend(): void {
    if (this.#carrying && !this.#endCarrying()) return;
    if (this.#linkedBelow > this.#newest + 1 && !existsSync(this.path(this.#newest + 1))) return;
    if (!existsSync(this.#runDir)) return;
    while (this.#hasBegun(this.#newest + 1)) {
      rmSync(this.#pieceFor(this.#newest), { force: true });
      this.#newest++;
    }
    this.#link(Math.max(this.#linkedBelow, this.#newest + 1), this.#newest + 1 + LINKS_AHEAD);
    for (; this.#oldest <= this.#newest - Math.max(1, this.#place.filesMax); this.#oldest++) {
      rmSync(this.path(this.#oldest), { force: true });
    }
  }

  /** Puts the first piece in the newest file's place, as soon as it holds all of it. */
  #endCarrying(): boolean {
    const piece = this.#pieceFor(this.from);
    const size = lstatSync(piece, { throwIfNoEntry: false })?.size ?? 0;
    const held = statSync(this.path(this.from), { throwIfNoEntry: false })?.size ?? 0;
    if (size === 0 || size < held) return false;
    renameSync(piece, this.path(this.from));
    this.#carrying = false;
    return true;
  }

  /** True when split has opened this piece; a plain file gets its name here. */
  #hasBegun(index: number): boolean {
    const piece = this.#pieceFor(index);
    const stat = lstatSync(piece, { throwIfNoEntry: false });
    if (stat === undefined) return false;
    if (stat.isSymbolicLink()) return existsSync(this.path(index));
    renameSync(piece, this.path(index));
    return true;
  }

  /** Makes the links of the files `first` … `end - 1`; ends early where split was quicker. */
  #link(first: number, end: number): void {
    this.#linkedBelow = first;
    for (; this.#linkedBelow < end; this.#linkedBelow++) {
      const piece = this.#pieceFor(this.#linkedBelow);
      try {
        symlinkSync(this.path(this.#linkedBelow), piece);
      } catch (error) {
        if ((error as { code?: string }).code !== "EEXIST") throw error;
        // Linked by an earlier agent; a plain file is a piece already begun, which the next look moves.
        if (!lstatSync(piece).isSymbolicLink()) return;
      }
    }
  }
}
