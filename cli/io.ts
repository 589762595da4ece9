// What a command may touch of the outside: streams, environment, terminal, clock. Nothing in cli/ reaches for process
// globals, so a test runs a command in its own process and sees all that it wrote. cli/process_io.ts makes the real one.
import type { AgentFlags } from "./agent.ts";

export interface OutputStream {
  /** Resolves when the bytes were taken; a closed pipe is not an error. */
  write(data: string | Uint8Array): void | Promise<void>;
  isTty: boolean;
}

export interface InputStream {
  isTty: boolean;
  /** Chunks until the end of the input. One reader at a time. */
  read(): AsyncIterable<Uint8Array>;
  /** On a terminal: keys come one by one and are not shown. */
  setRawMode(on: boolean): void;
}

export interface CliIo {
  stdout: OutputStream;
  stderr: OutputStream;
  stdin: InputStream;
  env: Record<string, string | undefined>;
  /** Directory that relative paths start at. */
  cwd: string;
  /** Size of the terminal in cells; 80 × 24 where there is none. */
  terminalSize(): { columns: number; rows: number };
  onResize(listener: () => void): () => void;
  /** Ctrl-C and SIGTERM; the returned function takes the listener away again. */
  onInterrupt(listener: () => void): () => void;
  /** Milliseconds since 1970. */
  nowMs(): number;
  sleep(ms: number): Promise<void>;
  /** Opens an address in the user's browser. */
  openBrowser(url: string): Promise<void>;
  /** Runs the agent until it is told to stop; its exit code. Given by mod.ts, so that cli/ never imports a server. */
  runAgent(flags: AgentFlags): Promise<number>;
  /** Reads configuration files as the agent would; throws ConfigError for what it would not start with. */
  validateConfig(paths: string[]): Promise<{ warnings: string[] }>;
}
