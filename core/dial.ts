// A WebSocket as the side that dials sees it: text and byte frames, open and close. Devices and servers dial servers
// with it; the simulation brings its own.
import { errorText } from "./errors.ts";
import { runtime } from "./runtime.ts";

export interface SocketEvents {
  open(): void;
  text(data: string): void;
  bytes(data: Uint8Array): void;
  /** Once, also when it never opened. */
  close(reason: string): void;
}

export interface DialledSocket {
  send(data: string | Uint8Array): void;
  close(reason: string): void;
  /** Bytes handed to `send` that the network has not taken yet, where it can be told. */
  readonly bufferedBytes?: number;
}

/** Begins to connect to `host:port`; everything else comes through `events`. */
export type Dial = (server: string, events: SocketEvents) => DialledSocket;

export interface DialOptions {
  /** What to ask the server for: DEVICE_PATH, SERVER_PATH. */
  path: string;
  /** PEM, for TLS; plain WebSocket without them. */
  tls?: { ca: string; cert: string; key: string; servername: string };
  handshakeTimeoutMs: number;
}

/** A close frame holds no longer reason. */
const REASON_MAX_CHARS = 100;

/**
 * A `Dial` over real sockets. On Bun a plain connection is the runtime's own WebSocket (2 MB less). Everywhere else it is
 * the `ws` package: it takes certificates, and it turns Nagle's algorithm off, which Deno's own WebSocket leaves on
 * (40 ms a report against delayed acknowledgements).
 */
export async function dialer(options: DialOptions): Promise<Dial> {
  const { path, tls, handshakeTimeoutMs } = options;
  if (runtime.name === "bun" && !tls) return (server, events) => plainDial(server, path, events);
  const { WebSocket } = await import("ws");
  return (server, events) => {
    const socket = new WebSocket(`${tls ? "wss" : "ws"}://${server}${path}`, {
      handshakeTimeout: handshakeTimeoutMs,
      perMessageDeflate: false,
      ...tls,
    });
    socket.binaryType = "arraybuffer";
    let failure = "";
    socket.on("open", () => events.open());
    socket.on("message", (data, isBinary) => {
      if (isBinary) events.bytes(new Uint8Array(data as ArrayBuffer));
      else events.text(data.toString());
    });
    socket.on("error", (error) => failure = errorText(error));
    socket.on("close", (_code, reason) => events.close(failure || reason?.toString() || "connection closed"));
    const isOpen = () => socket.readyState === WebSocket.OPEN;
    return {
      send: (data) => {
        if (isOpen()) socket.send(data);
      },
      close: (reason) =>
        isOpen() ? socket.close(1000, reason.slice(0, REASON_MAX_CHARS)) : socket.terminate(),
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
    };
  };
}

function plainDial(server: string, path: string, events: SocketEvents): DialledSocket {
  const socket = new WebSocket(`ws://${server}${path}`);
  socket.binaryType = "arraybuffer";
  let failure = "";
  socket.onopen = () => events.open();
  socket.onmessage = ({ data }) => {
    if (typeof data === "string") events.text(data);
    else events.bytes(new Uint8Array(data as ArrayBuffer));
  };
  socket.onerror = (event) => {
    const { message, error } = event as ErrorEvent;
    failure = message || (error ? errorText(error) : "") || "cannot connect";
  };
  socket.onclose = ({ reason }) => events.close(failure || reason || "connection closed");
  return {
    send: (data) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(data as string | Uint8Array<ArrayBuffer>);
    },
    close: (reason) => socket.close(1000, reason.slice(0, REASON_MAX_CHARS)),
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
  };
}
