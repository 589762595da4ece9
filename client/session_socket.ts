// The device's WebSocket as the session sees it: text and byte frames, open and close. The real one is the `ws` package;
// the simulation brings its own.
import { errorText } from "../core/errors.ts";
import { DEVICE_PATH } from "../core/protocol.ts";
import { runtime } from "../core/runtime.ts";

export interface SocketEvents {
  open(): void;
  text(data: string): void;
  bytes(data: Uint8Array): void;
  /** Once, also when it never opened. */
  close(reason: string): void;
}

export interface DeviceSocket {
  send(data: string | Uint8Array): void;
  close(reason: string): void;
}

/** Begins to connect to `host:port`; everything else comes through `events`. */
export type Dial = (server: string, events: SocketEvents) => DeviceSocket;

export interface DialOptions {
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
  const { tls, handshakeTimeoutMs } = options;
  if (runtime.name === "bun" && !tls) return plainDial;
  const { WebSocket } = await import("ws");
  return (server, events) => {
    const socket = new WebSocket(`${tls ? "wss" : "ws"}://${server}${DEVICE_PATH}`, {
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
    };
  };
}

const plainDial: Dial = (server, events) => {
  const socket = new WebSocket(`ws://${server}${DEVICE_PATH}`);
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
  };
};
