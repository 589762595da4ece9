// The agent's log: consola with Nomad's line form, or JSON lines, to standard output and a file; and what
// /v1/agent/monitor follows. Levels can change while it runs (SIGHUP).
import { createWriteStream, type WriteStream } from "node:fs";
import { type ConsolaInstance, createConsola, type LogObject } from "consola/core";
import type { Logger } from "../core/logger.ts";
import type { LogLevel } from "./config.ts";

/** consola's numbers: 0 error, 1 warn, 3 info, 4 debug, 5 trace. */
const CONSOLA_LEVEL: Record<LogLevel, number> = { OFF: -999, ERROR: 0, WARN: 1, INFO: 3, DEBUG: 4, TRACE: 5 };
const LABEL: Record<string, string> = {
  error: "ERROR",
  warn: "WARN",
  info: "INFO",
  debug: "DEBUG",
  trace: "TRACE",
};

export interface LogLine {
  level: LogLevel;
  text: string;
  json: string;
}

export interface LogOptions {
  level: LogLevel;
  json: boolean;
  /** "" for none. */
  file: string;
  /** Where lines go besides the file; undefined for nowhere (an embedded agent that only raises events). */
  write: ((line: string) => void) | undefined;
}

export class AgentLog {
  #consola: ConsolaInstance;
  #listeners = new Set<(line: LogLine) => void>();
  #file: WriteStream | undefined;

  constructor(private readonly options: LogOptions) {
    if (options.file) this.#file = createWriteStream(options.file, { flags: "a", mode: 0o600 });
    // Monitors may ask for more than the log shows, so everything reaches the reporter.
    this.#consola = createConsola({ level: 5, reporters: [{ log: (entry) => this.#report(entry) }] });
  }

  get level(): LogLevel {
    return this.options.level;
  }

  setLevel(level: LogLevel): void {
    this.options.level = level;
  }

  /** A logger whose lines carry `module` ("nomad", "client", "http" …). */
  module(module: string): Logger {
    const tagged = this.#consola.withTag(module);
    return {
      debug: (message, fields) => tagged.debug(message, fields),
      info: (message, fields) => tagged.info(message, fields),
      warn: (message, fields) => tagged.warn(message, fields),
      error: (message, fields) => tagged.error(message, fields),
    };
  }

  /** Follows every line down to TRACE; the returned function stops it. */
  follow(listener: (line: LogLine) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#file?.end();
  }

  #report(entry: LogObject): void {
    const level = (LABEL[entry.type] ?? "INFO") as LogLevel;
    const shown = CONSOLA_LEVEL[level] <= CONSOLA_LEVEL[this.options.level];
    if (!shown && this.#listeners.size === 0) return;
    const [message, fields] = entry.args as [string, Record<string, unknown> | undefined];
    const line: LogLine = {
      level,
      text: textLine(entry.date, level, entry.tag, message, fields),
      json: jsonLine(entry.date, level, entry.tag, message, fields),
    };
    for (const listener of this.#listeners) listener(line);
    if (!shown) return;
    const written = `${this.options.json ? line.json : line.text}\n`;
    this.options.write?.(this.options.json ? written : `    ${written}`);
    this.#file?.write(written);
  }
}

function textLine(
  date: Date,
  level: string,
  tag: string,
  message: string,
  fields?: Record<string, unknown>,
): string {
  const pairs = Object.entries(fields ?? {}).map(([key, value]) => ` ${key}=${fieldText(value)}`).join("");
  return `${date.toISOString()} ${`[${level}]`.padEnd(7)} ${tag}: ${message}${pairs ? `:${pairs}` : ""}`;
}

function fieldText(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.message);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /[\s"=]/.test(text) && typeof value === "string" ? JSON.stringify(text) : text;
}

function jsonLine(
  date: Date,
  level: string,
  tag: string,
  message: string,
  fields?: Record<string, unknown>,
): string {
  const plain = Object.entries(fields ?? {}).map((
    [key, value],
  ) => [key, value instanceof Error ? value.message : value]);
  return JSON.stringify({
    "@level": level.toLowerCase(),
    "@message": message,
    "@module": tag,
    "@timestamp": date.toISOString(),
    ...Object.fromEntries(plain),
  });
}
