// Where a command's words go: results on stdout, errors and hints on stderr, colours only on a terminal (or when
// forced). On a terminal each message is wrapped in the escape codes of its kind, as the reference does it; on a pipe
// nothing is added. Writing never throws: a reader that went away is no error of ours.
import type { CliIo, OutputStream } from "./io.ts";

const CODES = {
  reset: "\x1b[0m",
  bold: "\x1b[1m",
  red: "\x1b[31m",
  green: "\x1b[32m",
  yellow: "\x1b[33m",
  blue: "\x1b[34m",
  magenta: "\x1b[35m",
  cyan: "\x1b[36m",
  lightYellow: "\x1b[93m",
} as const;

/** Escape codes by name; all empty when colours are off. */
export type Colours = { readonly [K in keyof typeof CODES]: string };

const NO_COLOURS = Object.freeze(
  Object.fromEntries(Object.keys(CODES).map((name) => [name, ""])),
) as unknown as Colours;

export interface UiOptions {
  noColour: boolean;
  forceColour: boolean;
}

export class Ui {
  readonly c: Colours;
  readonly #io: CliIo;
  readonly #wrap: boolean;
  #pending: Promise<void> = Promise.resolve();

  constructor(io: CliIo, options: UiOptions) {
    this.#io = io;
    this.#wrap = !options.noColour && io.stdout.isTty;
    this.c = !options.noColour && (options.forceColour || io.stdout.isTty) ? CODES : NO_COLOURS;
  }

  /** Whether output may be redrawn in place. */
  get isTerminal(): boolean {
    return this.#io.stdout.isTty;
  }

  get hasColours(): boolean {
    return this.c !== NO_COLOURS;
  }

  /** A result: one message, which may have many lines. */
  output(text: string): void {
    this.#line(this.#io.stdout, text, CODES.reset);
  }

  /** A result that stands as it is even on a terminal (progress headings). */
  info(text: string): void {
    this.#line(this.#io.stdout, text, "");
  }

  warn(text: string): void {
    this.#line(this.#io.stderr, text, "\x1b[93m");
  }

  error(text: string): void {
    this.#line(this.#io.stderr, text, "\x1b[91m");
  }

  /** A result with colours in it: they end where it ends. */
  coloured(text: string): void {
    this.output(text + this.c.reset);
  }

  /** A bold heading after an empty line. */
  heading(text: string): void {
    this.coloured(`\n${this.c.bold}${text}${this.c.reset}`);
  }

  /** Bytes as they come (logs, files, API bodies); resolves when they were taken. */
  write(data: string | Uint8Array, to: "stdout" | "stderr" = "stdout"): Promise<void> {
    return this.#write(this.#io[to], data);
  }

  /** Resolves when everything said so far was taken. */
  flush(): Promise<void> {
    return this.#pending;
  }

  #line(stream: OutputStream, text: string, colour: string): void {
    void this.#write(stream, this.#wrap && colour !== "" ? `${colour}${text}${CODES.reset}\n` : `${text}\n`);
  }

  #write(stream: OutputStream, data: string | Uint8Array): Promise<void> {
    const taken = stream.write(data);
    if (taken) this.#pending = this.#pending.then(() => taken);
    return this.#pending;
  }
}
