// The recordings of the reference's command line: header, then the streams.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const CONFORMANCE = join(dirname(fileURLToPath(import.meta.url)), "../../../shared/conformance");
const RECORDINGS = join(CONFORMANCE, "cli/recordings");
/** The agent's address when the recordings were made. */
export const RECORDED_ADDRESS = "http://127.0.0.1:14646";
export const RECORDED_CWD = "/opt/work";

export interface Recording {
  name: string;
  /** As it stands behind the prompt. */
  command: string;
  code: number;
  stdout: string;
  stderr: string;
  /** Raw stream of a terminal, when it was one. */
  terminal: string;
}

const names = readdirSync(RECORDINGS);

/** The recording with this number. */
export function recording(number: string): Recording {
  const name = names.find((each) => each.startsWith(`${number}-`))!;
  const text = readFileSync(join(RECORDINGS, name), "utf8");
  const part = (from: string, to?: string) => {
    const at = text.indexOf(from);
    if (at < 0) return "";
    const rest = text.slice(at + from.length);
    return (to ? rest.slice(0, rest.indexOf(to)) : rest).replace(/\(no newline at end\)\n$/, "").replace(
      /^$/,
      "",
    );
  };
  const bare = (stream: string) => text.includes("(no newline at end)") ? stream.replace(/\n$/, "") : stream;
  return {
    name: name.replace(/\.txt$/, ""),
    command: /^\$ nomad ?(.*)$/m.exec(text)![1]!,
    code: Number(/^# exit code: (-?\d+)$/m.exec(text)![1]),
    stdout: bare(part("--- stdout ---\n", "--- stderr ---")),
    stderr: part("--- stderr ---\n"),
    terminal: part("--- terminal output (raw, ANSI sequences kept) ---\n").replaceAll("\r\n", "\n"),
  };
}

/** What a `-json` recording printed. */
export function recordedJson<T>(number: string): T {
  return JSON.parse(recording(number).stdout) as T;
}

/** The same, as the server must send it for the numbers to stay exact. */
export function recordedRaw(number: string): string {
  return `RAW:${recording(number).stdout}`;
}

/** A recording of the HTTP API by its number: the body of its answer. */
export function recordedBody<T>(number: string): T {
  const directory = join(CONFORMANCE, "api/recordings");
  const name = readdirSync(directory).find((each) => each.startsWith(`${number}-`))!;
  return (JSON.parse(readFileSync(join(directory, name), "utf8")) as { response: { body: T } }).response.body;
}

export const FILES = join(RECORDINGS, "files");

/** Splits a command line as a shell does: spaces, single and double quotes. */
export function shellWords(line: string): string[] {
  const words: string[] = [];
  for (const match of line.matchAll(/((?:[^\s'"]|'[^']*'|"[^"]*")+)/g)) {
    words.push(match[1]!.replace(/'([^']*)'|"([^"]*)"/g, (_, single, double) => single ?? double));
  }
  return words;
}
