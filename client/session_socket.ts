// The device's WebSocket as the session sees it: text and byte frames, open and close. Plain connections use the
// runtime's own WebSocket; TLS with certificates of our own needs the `ws` package, which is loaded only then (8 MB on
// Deno). The simulation brings its own.
import { errorText } from "../core/errors.ts";
import { DEVICE_PATH } from "../core/protocol.ts";

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

/** A `Dial` over real sockets. */
export async function dialer(options: DialOptions): Promise<Dial> {
  return options.tls ? await secureDialer(options, options.tls) : plainDial;
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

async function secureDialer(options: DialOptions, tls: NonNullable<DialOptions["tls"]>): Promise<Dial> {
  const { default: SecureSocket } = await import("ws");
  return (server, events) => {
    const socket = new SecureSocket(`wss://${server}${DEVICE_PATH}`, {
      handshakeTimeout: options.handshakeTimeoutMs,
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
    const isOpen = () => socket.readyState === SecureSocket.OPEN;
    return {
      send: (data) => {
        if (isOpen()) socket.send(data);
      },
      close: (reason) =>
        isOpen() ? socket.close(1000, reason.slice(0, REASON_MAX_CHARS)) : socket.terminate(),
    };
  };
}
