// The libpod REST API over Podman's unix socket: one method a call, JSON in and out, every call with a deadline. Turns
// what can go wrong into DriverError with a hint. Knows no task; knows the wire (streams, hijacked exec, frames).
import http from "node:http";
import type { Duplex } from "node:stream";
import { createReadStream } from "node:fs";
import { DriverError } from "../core/errors.ts";

const VERSION = "/v4.0.0/libpod";
const ANSWER_MS = 60_000;
/** Longest answer that is kept in memory. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;

export interface ApiAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  /** Parsed JSON, or the text where it is none; "" for an empty body. */
  body: unknown;
}

interface CallOptions {
  body?: unknown;
  /** A file sent as the body. */
  file?: string;
  headers?: Record<string, string>;
  /** 0 for none. */
  timeoutMs?: number;
  signal?: AbortSignal;
  /** Every line of the answer as it comes. */
  onLine?: (line: string) => void;
}

export class PodmanApi {
  readonly socketPath: string;
  readonly #timeoutMs: number;
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

  /** `socket` as "unix:///run/podman/podman.sock" or a plain path. */
  constructor(socket: string, timeoutMs = ANSWER_MS) {
    // Nomad's own documentation writes "unix://run/podman/io.podman", which means an absolute path too.
    this.socketPath = socket.replace(/^unix:(\/\/)?/, "").replace(/^\/*/, "/");
    this.#timeoutMs = timeoutMs;
  }

  /** Closes idle connections. */
  close(): void {
    this.#agent.destroy();
  }

  /** Any status is an answer here; rejects with DriverError when none comes. */
  call(op: string, method: string, path: string, options: CallOptions = {}): Promise<ApiAnswer> {
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    return new Promise((resolve, reject) => {
      const signal = options.signal;
      const request = http.request({
        socketPath: this.socketPath,
        path: VERSION + path,
        method,
        // Long calls take a connection of their own, so that they block no others.
        agent: options.onLine || timeoutMs === 0 || options.file ? false : this.#agent,
        headers: this.#headers(options),
      }, (response) => {
        readAnswer(response, options.onLine).then(resolve, (error) => reject(this.#failure(op, error)))
          .finally(release);
      });
      const timer = timeoutMs > 0
        ? setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs)
        : undefined;
      const abort = () => request.destroy(new Error("aborted"));
      const release = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
      };
      signal?.addEventListener("abort", abort, { once: true });
      request.on("error", (error) => {
        release();
        reject(this.#failure(op, error));
      });
      if (signal?.aborted) abort();
      if (options.file) {
        createReadStream(options.file).on("error", (error) => request.destroy(error)).pipe(request);
      } else request.end(options.body === undefined ? undefined : JSON.stringify(options.body));
    });
  }

  #headers(options: CallOptions): Record<string, string> {
    const type = options.file ? "application/x-tar" : "application/json";
    return { host: "podman", "content-type": type, ...options.headers };
  }

  /** As `call`, but any status other than 2xx (and those of `also`) is a DriverError in Podman's words. */
  async must(
    op: string,
    method: string,
    path: string,
    options: CallOptions & { also?: number[] } = {},
  ): Promise<ApiAnswer> {
    const answer = await this.call(op, method, path, options);
    if ((answer.status >= 200 && answer.status < 300) || options.also?.includes(answer.status)) return answer;
    throw new DriverError(op, `podman refused to ${op}: ${answerText(answer)}`, answer.status >= 500);
  }

  /** Starts an exec instance and takes its connection over. */
  hijack(op: string, path: string, body: unknown): Promise<{ socket: Duplex; head: Uint8Array }> {
    return new Promise((resolve, reject) => {
      const request = http.request({
        socketPath: this.socketPath,
        path: VERSION + path,
        method: "POST",
        agent: false,
        headers: { ...this.#headers({}), connection: "Upgrade", upgrade: "tcp" },
      });
      request.on("upgrade", (_response, socket, head) => resolve({ socket, head }));
      request.on("response", (response) => {
        readAnswer(response).then((answer) => {
          reject(new DriverError(op, `podman refused to ${op}: ${answerText(answer)}`, false));
        }, reject);
      });
      request.on("error", (error) => reject(this.#failure(op, error)));
      request.end(JSON.stringify(body));
    });
  }

  #failure(op: string, error: unknown): DriverError {
    if (error instanceof DriverError) return error;
    const { code = "", message } = error as { code?: string; message: string };
    const cause = { cause: error };
    if (["ENOENT", "ECONNREFUSED"].includes(code) || /No such file|not found|refused|ENOENT/i.test(message)) {
      const hint = 'start it (systemctl enable --now podman.socket) or set socket_path of plugin "podman"';
      return new DriverError(op, `podman missing: nothing answers on ${this.socketPath}`, true, hint, cause);
    }
    if (["EACCES", "EPERM"].includes(code)) {
      const hint = "run the agent as root or give it the rootless socket of its user";
      return new DriverError(op, `podman missing: no permission for ${this.socketPath}`, false, hint, cause);
    }
    return new DriverError(op, `podman failed to ${op}: ${message}`, true, "", cause);
  }
}

async function readAnswer(
  response: http.IncomingMessage,
  onLine?: (line: string) => void,
): Promise<ApiAnswer> {
  const decoder = new TextDecoder();
  let text = "";
  let rest = "";
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    const part = decoder.decode(chunk, { stream: true });
    if (!onLine) {
      text += part;
      if (text.length > ANSWER_BYTES_MAX) throw new Error(`the answer is over ${ANSWER_BYTES_MAX} bytes`);
      continue;
    }
    const lines = (rest + part).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") onLine(line);
    text = lines.at(-1) ?? text;
  }
  if (onLine && rest.trim() !== "") {
    onLine(rest);
    text = rest;
  }
  return { status: response.statusCode ?? 0, headers: response.headers, body: parse(text) };
}

function parse(text: string): unknown {
  if (text === "") return "";
  try {
    return JSON.parse(text);
  } catch (error) {
    // Some answers ("OK", "5") and some errors are plain text.
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

/** Podman's words for what went wrong. */
export function answerText(answer: ApiAnswer): string {
  const body = answer.body as { message?: string; cause?: string } | string;
  const text = typeof body === "string" ? body : body?.message ?? body?.cause ?? JSON.stringify(body);
  return text.trim() || `status ${answer.status}`;
}

/**
 * Cuts a hijacked stream without terminal into its parts: 8 bytes of header (stream 1 or 2, three zeros, length
 * big-endian), then the payload. Feed it chunks as they come.
 */
export class FrameReader {
  #rest = new Uint8Array(0);

  read(chunk: Uint8Array): { stream: number; bytes: Uint8Array }[] {
    const data = new Uint8Array(this.#rest.length + chunk.length);
    data.set(this.#rest);
    data.set(chunk, this.#rest.length);
    const frames: { stream: number; bytes: Uint8Array }[] = [];
    let at = 0;
    while (data.length - at >= 8) {
      const length = new DataView(data.buffer, at + 4, 4).getUint32(0);
      if (data.length - at - 8 < length) break;
      frames.push({ stream: data[at]!, bytes: data.slice(at + 8, at + 8 + length) });
      at += 8 + length;
    }
    this.#rest = data.slice(at);
    return frames;
  }
}
