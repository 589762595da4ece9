// The device's WebSocket as the session sees it: text and byte frames, open and close. The real one uses the `ws`
// package (it takes certificates and headers, which the global WebSocket of the runtimes does not); the simulation
// brings its own.
import WebSocket from "ws";
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

/** A `Dial` over real sockets. */
export function dialer(options: DialOptions): Dial {
  return (server, events) => {
    const { tls } = options;
    const socket = new WebSocket(`${tls ? "wss" : "ws"}://${server}${DEVICE_PATH}`, {
      handshakeTimeout: options.handshakeTimeoutMs,
      perMessageDeflate: false,
      ...(tls ?? {}),
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
    return {
      send: (data) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(data);
      },
      close: (reason) =>
        socket.readyState === WebSocket.OPEN ? socket.close(1000, reason) : socket.terminate(),
    };
  };
}
