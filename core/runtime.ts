// The one file that knows which runtime this is: listening for HTTP and WebSocket, and what else has no common form.
// Deno and Bun each have a native server that is 1.5 to 3 times faster and half the memory of node:http, so both are
// used behind one small contract. Everything else in the project sees Request, Response and ServerSocket.

import process from "node:process";

// The little of each runtime's globals that is used here; the project is checked without either's type library.
interface DenoGlobal {
  version: { deno: string };
  serve(
    options: { hostname: string; port: number; onListen(): void; onError(error: unknown): Response },
    handler: (request: Request, info: { remoteAddr: { hostname?: string } }) => Response | Promise<Response>,
  ): { addr: { hostname: string; port: number }; shutdown(): Promise<void>; finished: Promise<void> };
  upgradeWebSocket(
    request: Request,
    options: { idleTimeout: number },
  ): { socket: WebSocket; response: Response };
}
interface BunSocket {
  data: { handlers: SocketHandlers; socket?: ServerSocket };
  remoteAddress: string;
  send(data: string | Uint8Array): number;
  close(code?: number, reason?: string): void;
  getBufferedAmount(): number;
}
interface BunServer {
  hostname: string;
  port: number;
  stop(closeActive: boolean): Promise<void>;
  upgrade(request: Request, options: { data: unknown }): boolean;
  requestIP(request: Request): { address: string } | null;
}
interface BunGlobal {
  version: string;
  serve(options: unknown): BunServer;
  gc(synchronously: boolean): void;
  shrink(): void;
}

const deno = (globalThis as { Deno?: DenoGlobal }).Deno;
const bun = (globalThis as { Bun?: BunGlobal }).Bun;

/** Which runtime this is and its version, as shown by `agent-info`. */
export const runtime: { name: "deno" | "bun" | "node"; version: string } = deno
  ? { name: "deno", version: deno.version.deno }
  : bun
  ? { name: "bun", version: bun.version }
  : { name: "node", version: process.version.slice(1) };

/** A heap above this is left to the engine: a full collection of it would hold up heartbeats. */
const SMALL_HEAP_BYTES = 40 * 2 ** 20;

/** One full collection: gives back what starting up has left behind. Does nothing to a large heap. */
export async function releaseMemory(): Promise<void> {
  if (process.memoryUsage().heapUsed > SMALL_HEAP_BYTES) return;
  if (bun) {
    bun.gc(true);
    bun.shrink();
    return;
  }
  const [{ setFlagsFromString }, { runInNewContext }] = await Promise.all([
    import("node:v8"),
    import("node:vm"),
  ]);
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  setFlagsFromString("--no-expose-gc");
}

export interface SocketHandlers {
  open(socket: ServerSocket): void;
  message(socket: ServerSocket, data: string | Uint8Array): void;
  close(socket: ServerSocket): void;
}

/** The server's end of a WebSocket. */
export interface ServerSocket {
  send(data: string | Uint8Array): void;
  close(code: number, reason: string): void;
  /** Bytes handed to `send` that the network has not taken yet. */
  readonly bufferedBytes: number;
}

export interface RequestInfo {
  remoteAddress: string;
  /** Turns the request into a WebSocket; the handler returns the response it gives. */
  upgrade(handlers: SocketHandlers): Response;
}

export interface Listener {
  hostname: string;
  /** The real port when 0 was asked for. */
  port: number;
  /** Stops listening and ends open connections. */
  close(): Promise<void>;
}

export interface ListenOptions {
  hostname: string;
  port: number;
  /** May answer later; what it throws becomes a 500 with the error's text. */
  fetch(request: Request, info: RequestInfo): Response | Promise<Response>;
}

/** Listens for HTTP and WebSocket. Rejects with the system's error (EADDRINUSE …) when it cannot. */
export function listen(options: ListenOptions): Promise<Listener> {
  if (deno) return listenDeno(deno, options);
  if (bun) return listenBun(bun, options);
  return Promise.reject(new Error("This program runs on Deno or Bun: start it with `deno run -A` or `bun`"));
}

const failed = (error: unknown) =>
  new Response(error instanceof Error ? error.message : String(error), { status: 500 });

function listenDeno(deno: DenoGlobal, options: ListenOptions): Promise<Listener> {
  const sockets = new Set<WebSocket>();
  return new Promise((resolve, reject) => {
    try {
      const server = deno.serve({
        hostname: options.hostname,
        port: options.port,
        onListen: () => undefined,
        onError: failed,
      }, (request, info) => {
        const requestInfo: RequestInfo = {
          remoteAddress: info.remoteAddr.hostname ?? "",
          upgrade: (handlers) => upgradeDeno(deno, request, handlers, sockets),
        };
        return withHonestSignal(request, () => options.fetch(request, requestInfo));
      });
      resolve({
        hostname: server.addr.hostname,
        port: server.addr.port,
        async close() {
          for (const socket of sockets) socket.close(1001, "agent is stopping");
          // Requests that hang (blocking queries, streams) are not waited for beyond this.
          await Promise.race([server.shutdown(), new Promise((done) => setTimeout(done, 500))]);
        },
      });
    } catch (error) {
      reject(error);
    }
  });
}

/**
 * Deno's own signal also fires after a success; the one that handlers see fires only while no answer was given. What
 * happens to a streamed body afterwards, its `cancel` tells.
 */
async function withHonestSignal(
  request: Request,
  handle: () => Response | Promise<Response>,
): Promise<Response> {
  const nativeSignal = () => Reflect.get(Request.prototype, "signal", request) as AbortSignal;
  let answered = false;
  let controller: AbortController | undefined;
  Object.defineProperty(request, "signal", {
    get() {
      if (controller) return controller.signal;
      const own = controller = new AbortController();
      nativeSignal().addEventListener(
        "abort",
        () => answered || own.abort(new Error("the caller went away")),
      );
      return own.signal;
    },
  });
  try {
    return await handle();
  } finally {
    answered = true;
  }
}

function upgradeDeno(
  deno: DenoGlobal,
  request: Request,
  handlers: SocketHandlers,
  sockets: Set<WebSocket>,
): Response {
  const { socket: ws, response } = deno.upgradeWebSocket(request, { idleTimeout: 0 });
  ws.binaryType = "arraybuffer";
  const socket: ServerSocket = {
    send(data) {
      if (ws.readyState === WebSocket.OPEN) ws.send(data as string);
    },
    close: (code, reason) => ws.close(code, reason),
    get bufferedBytes() {
      return ws.bufferedAmount;
    },
  };
  ws.onopen = () => {
    sockets.add(ws);
    handlers.open(socket);
  };
  ws.onmessage = (event) =>
    handlers.message(socket, typeof event.data === "string" ? event.data : new Uint8Array(event.data));
  ws.onclose = () => {
    sockets.delete(ws);
    handlers.close(socket);
  };
  // An error is followed by onclose, which is what the handlers are told.
  ws.onerror = (event) => event.preventDefault();
  return response;
}

/** A caller of HTTP/1.0 need not name a host: Bun then gives the path alone, which no URL parser takes. */
function withHost(request: Request): Request {
  const { url } = request;
  return url.startsWith("/") ? new Request(`http://localhost${url}`, request) : request;
}

/** What `upgrade` hands back on Bun, where the socket is already taken over. */
const UPGRADED = new Response(null);

function listenBun(bun: BunGlobal, options: ListenOptions): Promise<Listener> {
  const server = bun.serve({
    hostname: options.hostname,
    port: options.port,
    idleTimeout: 0,
    development: false,
    // Without development Bun would share the port with a second agent and say nothing.
    reusePort: false,
    // Above all that routes take (a saved state is the largest), so that their own 413 is what a caller sees.
    maxRequestBodySize: 2 ** 32,
    error: failed,
    async fetch(request: Request, server: BunServer) {
      const response = await options.fetch(withHost(request), {
        remoteAddress: server.requestIP(request)?.address ?? "",
        upgrade(handlers) {
          if (server.upgrade(request, { data: { handlers } })) return UPGRADED;
          return new Response("A WebSocket upgrade was expected", { status: 400 });
        },
      });
      return response === UPGRADED ? undefined : response;
    },
    websocket: {
      idleTimeout: 0,
      maxPayloadLength: 64 * 1024 * 1024,
      backpressureLimit: 64 * 1024 * 1024,
      open(ws: BunSocket) {
        const socket: ServerSocket = {
          send: (data) => void ws.send(data),
          close: (code, reason) => ws.close(code, reason),
          get bufferedBytes() {
            return ws.getBufferedAmount();
          },
        };
        ws.data.socket = socket;
        ws.data.handlers.open(socket);
      },
      message: (ws: BunSocket, data: string | Uint8Array) => ws.data.handlers.message(ws.data.socket!, data),
      close: (ws: BunSocket) => ws.data.handlers.close(ws.data.socket!),
    },
  });
  return Promise.resolve({
    hostname: server.hostname,
    port: server.port,
    close: () => server.stop(true),
  });
}
