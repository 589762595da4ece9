// The device's WebSocket as the session sees it: core/dial.ts at the path for devices.
import { type Dial, dialer as dialerOf, type DialOptions as CoreDialOptions } from "../core/dial.ts";
import { DEVICE_PATH } from "../core/protocol.ts";

export type { Dial, DialledSocket as DeviceSocket, SocketEvents } from "../core/dial.ts";
export type DialOptions = Omit<CoreDialOptions, "path">;

/** A `Dial` over real sockets. */
export function dialer(options: DialOptions): Promise<Dial> {
  return dialerOf({ ...options, path: DEVICE_PATH });
}
