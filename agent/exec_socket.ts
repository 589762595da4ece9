// The WebSocket of `alloc exec` and `job action` (api 361-367). Each becomes one POST to the agent's own API, whose two
// bodies are JSON lines: a frame from the user is a line up, a line down is a frame to the user. Everything else (who
// may, which device, what command) is the API's; refusals come back as the reason of the close frame.
//
// Invariants: at most QUEUE_MAX_BYTES wait for the task's input and about OUTPUT_MAX_BYTES for the user's network; when
// the user is gone the POST is aborted, which ends the command.
import { errorText } from "../core/errors.ts";
import { NDJSON, readLines } from "../core/ndjson.ts";
import type { RequestInfo, ServerSocket } from "../core/runtime.ts";

/** A WebSocket cannot be told to wait, so who sends faster than the task reads is cut off here. */
const QUEUE_MAX_BYTES = 32 * 1024 * 1024;
/** Output is not read from the device while this much has not left yet. */
const OUTPUT_MAX_BYTES = 1024 * 1024;
const OUTPUT_POLL_MS = 10;
/** How often a sender that keeps count is told what was taken. */
const TAKEN_STEP_BYTES = 128 * 1024;
const HANDSHAKE_MAX_MS = 10_000;
/** A close frame holds 125 bytes, two of them its code. */
const REASON_MAX_BYTES = 123;

/** RFC 6455 §7.4.1: what the caller did wrong, and what failed here. */
const CLOSE_NORMAL = 1000;
const CLOSE_POLICY = 1008;
const CLOSE_TOO_BIG = 1009;
const CLOSE_ERROR = 1011;

const PATHS = /^\/v1\/(client\/allocation\/[^/]+\/exec|job\/.+\/action)$/;

type Handle = (request: Request) => Response | Promise<Response>;

/** Takes the request over when it opens such a WebSocket; null leaves it to the API. */
export function maybeExecSocket(request: Request, info: RequestInfo, handle: Handle): Response | null {
  // Cheap first: every request of the agent comes by here.
  if (!request.url.includes("/exec") && !request.url.includes("/action")) return null;
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return null;
  const url = new URL(request.url);
  if (request.method !== "GET" || !PATHS.test(url.pathname)) return null;
  if (isForeign(request.headers, url)) {
    return new Response(
      "Forbidden\nfailed to upgrade connection: a page of another origin may not run commands here",
      { status: 403, headers: { "Content-Type": "text/plain; charset=utf-8", Vary: "Origin" } },
    );
  }
  const session = new ExecSocket(request, url, handle);
  return info.upgrade({
    open: (socket) => session.open(socket),
    message: (_socket, data) => session.receive(data),
    close: () => session.end(),
  });
}

/** Browsers let any page open a WebSocket to any address, and say which page it is. */
function isForeign(headers: Headers, url: URL): boolean {
  const origin = headers.get("origin");
  if (origin === null || origin === "") return false;
  try {
    return new URL(origin).host.toLowerCase() !== (headers.get("host") ?? url.host).toLowerCase();
  } catch (malformed) {
    // "null" (a file, a sandbox) and worse are nobody that we know.
    void malformed;
    return true;
  }
}

class ExecSocket {
  readonly #abort = new AbortController();
  readonly #headers = new Headers({ "content-type": NDJSON });
  readonly #input = new InputQueue((taken) => this.#tellTaken(taken));
  #socket!: ServerSocket;
  #handshake: "needed" | "done";
  #handshakeTimer: ReturnType<typeof setTimeout> | undefined;
  /** The sender waits for what was taken (our command line does). */
  #keepsCount = false;
  #ended = false;

  constructor(request: Request, private readonly url: URL, private readonly handle: Handle) {
    for (const name of ["x-nomad-token", "authorization"]) {
      const value = request.headers.get(name);
      if (value !== null) this.#headers.set(name, value);
    }
    const wanted = url.searchParams.get("ws_handshake") ?? "";
    this.#handshake = /^(1|t|T|TRUE|true|True)$/.test(wanted) ? "needed" : "done";
  }

  open(socket: ServerSocket): void {
    this.#socket = socket;
    if (this.#handshake === "done") return void this.#run();
    this.#handshakeTimer = setTimeout(
      () =>
        this.#close(CLOSE_POLICY, "the handshake did not come in time: send {version: 1, auth_token} first"),
      HANDSHAKE_MAX_MS,
    );
  }

  receive(data: string | Uint8Array): void {
    if (this.#ended) return;
    const text = typeof data === "string" ? data : new TextDecoder().decode(data);
    let frame: unknown;
    try {
      frame = JSON.parse(text);
    } catch (error) {
      return this.#close(CLOSE_POLICY, `not a JSON frame: ${errorText(error)}`);
    }
    if (this.#handshake === "needed") return this.#shakeHands(frame);
    // Written anew: a frame may hold line breaks between its parts.
    if (this.#input.add(`${JSON.stringify(frame)}\n`)) return;
    this.#close(CLOSE_TOO_BIG, "input came faster than the task reads it: send it in smaller parts");
  }

  /** The user is gone, or everything was said. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#handshakeTimer);
    this.#input.close();
    this.#abort.abort(new Error("the user went away"));
  }

  #shakeHands(frame: unknown): void {
    const { version, auth_token, input_count } = (frame ?? {}) as Record<string, unknown>;
    if (version !== 1) return this.#close(CLOSE_POLICY, `unexpected handshake value: ${version ?? 0}`);
    clearTimeout(this.#handshakeTimer);
    this.#handshake = "done";
    if (typeof auth_token === "string" && auth_token !== "") {
      // Header values are bytes; what is none cannot be a token either.
      if (!/^[\x20-\x7e]+$/.test(auth_token)) return this.#close(CLOSE_POLICY, "auth_token is not a token");
      this.#headers.set("x-nomad-token", auth_token);
    }
    if (input_count === true) {
      this.#keepsCount = true;
      this.#tellTaken(0);
    }
    void this.#run();
  }

  #tellTaken(bytes: number): void {
    if (this.#keepsCount && !this.#ended) this.#socket.send(JSON.stringify({ input_taken: bytes }));
  }

  async #run(): Promise<void> {
    try {
      const response = await this.handle(this.#request());
      if (!response.ok) {
        const reason = (await response.text()).trim();
        return this.#close(response.status < 500 ? CLOSE_POLICY : CLOSE_ERROR, reason);
      }
      const output = response.body!.getReader();
      this.#abort.signal.addEventListener("abort", () => void output.cancel().catch(nobodyLeft));
      // The abort may have come while the answer was on its way.
      if (this.#ended) return void output.cancel().catch(nobodyLeft);
      for await (const line of readLines(output)) {
        if (this.#ended) break;
        this.#socket.send(line);
        while (this.#socket.bufferedBytes > OUTPUT_MAX_BYTES && !this.#ended) {
          await new Promise((wake) => setTimeout(wake, OUTPUT_POLL_MS));
        }
      }
      this.#close(CLOSE_NORMAL, "");
    } catch (error) {
      // After the user has gone this is the abort's own echo, and nobody is there to be told.
      this.#close(CLOSE_ERROR, errorText(error));
    }
  }

  #request(): Request {
    const init: RequestInit & { duplex: "half" } = {
      method: "POST",
      headers: this.#headers,
      body: this.#input.stream,
      signal: this.#abort.signal,
      duplex: "half",
    };
    return new Request(`http://agent${this.url.pathname}${this.url.search}`, init);
  }

  #close(code: number, reason: string): void {
    if (this.#ended) return;
    this.end();
    this.#socket.close(code, shorten(reason));
  }
}

/** What ended already cannot be cancelled, and need not be. */
function nobodyLeft(alreadyEnded: unknown): void {
  void alreadyEnded;
}

/** What fits into a close frame, whole characters only. */
function shorten(reason: string): string {
  const bytes = new TextEncoder().encode(reason);
  if (bytes.length <= REASON_MAX_BYTES) return reason;
  return new TextDecoder().decode(bytes.subarray(0, REASON_MAX_BYTES)).replace(/\uFFFD$/, "");
}

/** Lines on their way to the task, handed on as they are asked for. */
class InputQueue {
  readonly stream: ReadableStream<Uint8Array>;
  #lines: Uint8Array[] = [];
  #bytes = 0;
  #taken = 0;
  #told = 0;
  #closed = false;
  #wake: (() => void) | undefined;

  /** `onTaken` hears now and then how many bytes have left in all. */
  constructor(private readonly onTaken: (bytes: number) => void) {
    this.stream = new ReadableStream<Uint8Array>({
      pull: (controller) => this.#pull(controller),
      cancel: () => {
        this.#lines = [];
        this.#closed = true;
      },
    }, { highWaterMark: 0 });
  }

  /** False when there is no room. */
  add(line: string): boolean {
    if (this.#closed) return true;
    const bytes = new TextEncoder().encode(line);
    if (this.#bytes + bytes.length > QUEUE_MAX_BYTES) return false;
    this.#lines.push(bytes);
    this.#bytes += bytes.length;
    this.#wake?.();
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.#lines.length === 0 && !this.#closed) {
      await new Promise<void>((wake) => this.#wake = wake);
    }
    const line = this.#lines.shift();
    if (!line) return controller.close();
    this.#bytes -= line.length;
    this.#taken += line.length;
    controller.enqueue(line);
    if (this.#taken - this.#told < TAKEN_STEP_BYTES) return;
    this.#told = this.#taken;
    this.onTaken(this.#taken);
  }
}
