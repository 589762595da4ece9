// What the compiler says about wrong input: where (file, line, column), what, why, what was expected, and a
// suggestion for a misspelt name. One form for the command line, the HTTP API and the library.
// Never throws for bad input itself: callers collect diagnostics and throw one JobspecError at the end.
// Invariants: offsets are UTF-16 indexes into the source text, lines count from 1, columns count grapheme
// clusters from 1; a diagnostic is immutable once made; the list never grows beyond `DIAGNOSTICS_MAX`.

/** More than this many problems help nobody; the rest is only counted. */
export const DIAGNOSTICS_MAX = 100;

/** A place in a file. `line` and `column` count from 1; `offset` from 0, in UTF-16 units. */
export interface Position {
  readonly offset: number;
  readonly line: number;
  readonly column: number;
}

export interface SourceRange {
  readonly start: Position;
  readonly end: Position;
}

/** One problem. `file` is "" and `range` undefined when there is no place (an unset variable, a missing job). */
export interface Diagnostic {
  readonly severity: "error" | "warning";
  /** A few words naming the kind of problem: "Unsupported argument". */
  readonly summary: string;
  /** A sentence or two: what is wrong and what to do. */
  readonly detail: string;
  readonly file: string;
  readonly range?: SourceRange;
  /** The text of the line where the range starts, without its line end. */
  readonly sourceLine?: string;
  /** What would have been right here. */
  readonly expected?: string;
  /** The nearest known name to a misspelt one. */
  readonly suggestion?: string;
}

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
// deno-lint-ignore no-control-regex
const ASCII_ONLY = /^[\x00-\x0c\x0e-\x7f]*$/;

/** Number of grapheme clusters, which is what columns and string lengths count. */
export function graphemeCount(text: string): number {
  if (ASCII_ONLY.test(text)) return text.length;
  let count = 0;
  for (const _ of segmenter.segment(text)) count++;
  return count;
}

/** The grapheme clusters of a text, in order. */
export function graphemes(text: string): string[] {
  if (ASCII_ONLY.test(text)) return text.split("");
  return Array.from(segmenter.segment(text), (part) => part.segment);
}

/** Longer lines are shown in part and measured in UTF-16 units. */
const LINE_LENGTH_MAX = 100_000;

/** A named text and the way from offsets to lines. A template inside a JSON string is a source with an `origin`. */
export class SourceFile {
  /** Starts of the lines found so far; lines are looked for only as far as somebody asked. */
  readonly #starts: number[] = [0];
  #complete = false;

  constructor(
    readonly name: string,
    readonly text: string,
    readonly origin?: { readonly file: SourceFile; readonly offset: number },
  ) {}

  #lineIndex(offset: number): number {
    const starts = this.#starts;
    while (!this.#complete && starts[starts.length - 1]! <= offset) {
      const newline = this.text.indexOf("\n", starts[starts.length - 1]!);
      if (newline < 0) this.#complete = true;
      else starts.push(newline + 1);
    }
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  position(offset: number): Position {
    if (this.origin) return this.origin.file.position(this.origin.offset + offset);
    const at = Math.max(0, Math.min(offset, this.text.length));
    const index = this.#lineIndex(at);
    const start = this.#starts[index]!;
    // A line of megabytes would make every message slow; its columns are then UTF-16 units.
    const column = at - start > LINE_LENGTH_MAX
      ? at - start + 1
      : graphemeCount(this.text.slice(start, at)) + 1;
    return { offset: at, line: index + 1, column };
  }

  range(start: number, end: number): SourceRange {
    return { start: this.position(start), end: this.position(Math.max(start, end)) };
  }

  /** The line that holds `offset`, without its line end. */
  lineText(offset: number): string {
    if (this.origin) return this.origin.file.lineText(this.origin.offset + offset);
    const start = this.#starts[this.#lineIndex(Math.max(0, Math.min(offset, this.text.length)))]!;
    const newline = this.text.indexOf("\n", start);
    const end = newline < 0 ? this.text.length : newline;
    const line = this.text.slice(start, Math.min(end, start + LINE_LENGTH_MAX));
    return line.endsWith("\r") ? line.slice(0, -1) : line;
  }
}

/** Where something stands: a source and two offsets. */
export interface Place {
  readonly source: SourceFile;
  readonly start: number;
  readonly end: number;
}

/** "file:line,col-col", as other definitions are cited inside messages. */
export function placeText(place: Place): string {
  const { start, end } = place.source.range(place.start, place.end);
  const tail = start.line === end.line ? `${end.column}` : `${end.line},${end.column}`;
  return `${place.source.name}:${start.line},${start.column}-${tail}`;
}

export interface DiagnosticDetails {
  readonly expected?: string;
  readonly suggestion?: string | undefined;
}

/** Collects problems. Passed through every phase, so that one run reports all of them. */
export class Diagnostics {
  readonly list: Diagnostic[] = [];
  /** Errors reported, also those beyond the kept ones. */
  errorCount = 0;

  error(place: Place | undefined, summary: string, detail: string, more: DiagnosticDetails = {}): void {
    this.errorCount++;
    if (this.list.length >= DIAGNOSTICS_MAX) return;
    const diagnostic: Diagnostic = {
      severity: "error",
      summary,
      detail,
      file: place?.source.name ?? "",
      ...(place && {
        range: place.source.range(place.start, place.end),
        sourceLine: place.source.lineText(place.start),
      }),
      ...(more.expected !== undefined && { expected: more.expected }),
      ...(more.suggestion !== undefined && { suggestion: more.suggestion }),
    };
    const last = this.list.at(-1);
    if (last && sameProblem(last, diagnostic)) this.errorCount--;
    else this.list.push(diagnostic);
  }

  get failed(): boolean {
    return this.errorCount > 0;
  }

  /** Throws everything found so far as one JobspecError, if anything was. */
  throwIfFailed(): void {
    if (this.failed) throw new JobspecError(sortByPlace(this.list), this.errorCount);
  }
}

function sameProblem(a: Diagnostic, b: Diagnostic): boolean {
  return a.file === b.file && a.summary === b.summary && a.detail === b.detail &&
    a.range?.start.offset === b.range?.start.offset;
}

/** By file in order of first mention, then by offset; problems without a place come last. */
function sortByPlace(list: readonly Diagnostic[]): Diagnostic[] {
  const files = [...new Set(list.map((d) => d.file))];
  const rank = (d: Diagnostic) => d.range ? files.indexOf(d.file) : files.length;
  return [...list].sort((a, b) =>
    rank(a) - rank(b) || (a.range?.start.offset ?? 0) - (b.range?.start.offset ?? 0)
  );
}

/**
 * Everything that is wrong with a job file (or another file of the same language). `message` is the whole text for a
 * person: every problem with its place, source line and caret.
 */
export class JobspecError extends Error {
  override readonly name = "JobspecError";

  constructor(readonly diagnostics: readonly Diagnostic[], readonly errorCount = diagnostics.length) {
    super(formatDiagnostics(diagnostics, errorCount));
  }
}

/** All problems as text, one after the other, each followed by its source line with a caret. */
export function formatDiagnostics(list: readonly Diagnostic[], errorCount = list.length): string {
  const parts = list.map(formatDiagnostic);
  if (errorCount > list.length) parts.push(`… and ${errorCount - list.length} more problems`);
  return parts.join("\n");
}

/** "file:line:column: Summary; Detail" with source line, caret and what was expected below it. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { file, range, summary, detail, sourceLine, expected, suggestion } = diagnostic;
  const place = range ? `${file}:${range.start.line}:${range.start.column}: ` : "";
  const hint = suggestion === undefined ? "" : ` Did you mean "${suggestion}"?`;
  const lines = [`${place}${summary}; ${detail}${hint}`];
  if (range && sourceLine !== undefined) lines.push(...snippet(range, sourceLine));
  if (expected !== undefined) lines.push(`  expected: ${expected}`);
  return lines.join("\n");
}

const SNIPPET_COLUMNS_MAX = 110;

function snippet(range: SourceRange, sourceLine: string): string[] {
  const cells = graphemes(sourceLine.slice(0, 20_000));
  const first = Math.min(range.start.column - 1, cells.length);
  const cut = first > SNIPPET_COLUMNS_MAX - 20 ? first - 40 : 0;
  const shown = cells.slice(cut, cut + SNIPPET_COLUMNS_MAX);
  const last = range.end.line === range.start.line ? range.end.column - 1 : cells.length;
  const width = Math.max(1, Math.min(last, cut + SNIPPET_COLUMNS_MAX) - first);
  const gutter = `  ${range.start.line} | `;
  // Tabs are kept in the pad so that the caret stands under its column whatever a terminal's tab width is.
  const pad = cells.slice(cut, first).map((cell) => cell === "\t" ? "\t" : " ".repeat(displayWidth(cell)))
    .join("");
  return [`${gutter}${shown.join("")}`, `${" ".repeat(gutter.length - 2)}| ${pad}${"^".repeat(width)}`];
}

/** Cells a grapheme takes on a terminal: two for East Asian wide characters and emoji. */
function displayWidth(cell: string): number {
  return /^(?:\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60])/u
      .test(cell)
    ? 2
    : 1;
}

/** The known name nearest to `given` (edit distance below 3), or undefined. */
export function suggestName(given: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = 3;
  for (const name of known) {
    if (Math.abs(name.length - given.length) >= bestDistance) continue;
    const distance = editDistance(given, name);
    if (distance < bestDistance && distance < Math.max(given.length, name.length)) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitution, previous[j]! + 1, current[j - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}
