// Passes one device's connection on to the leader, for a device that cannot reach the leader itself (it is behind NAT, or
// only one server is published). Looks into nothing but the greeting: who the device is and what it says is the
// leader's business.
//
// Invariants: what waits for the leader's side is bounded; when one side ends the other does, with its reason; a
// greeting is passed on without its wish, so that no two servers pass a device around.
import type { Dial, DialledSocket } from "../core/dial.ts";
import type { DeviceMessage } from "../core/protocol.ts";
import type { ServerSocket } from "../core/runtime.ts";

/** What one side may be behind the other. */
const BUFFERED_MAX_BYTES = 32 * 1024 * 1024;
const EARLY_MAX_BYTES = 1024 * 1024;

export class Relay {
  #up: DialledSocket | undefined;
  /** What came before the leader's side was open; null once it is. */
  #early: (string | Uint8Array)[] | null;
  #earlyBytes = 0;
  #ended = false;

  constructor(
    dial: Dial,
    leader: string,
    private readonly device: ServerSocket,
    hello: Extract<DeviceMessage, { t: "hello" }>,
  ) {
    const { relay: _, ...greeting } = hello;
    this.#early = [JSON.stringify(greeting)];
    this.#up = dial(leader, {
      open: () => this.#onOpen(),
      text: (data) => this.#down(data),
      bytes: (data) => this.#down(data),
      close: (reason) => this.end(`the leader's side ended: ${reason}`),
    });
  }

  /** From the device to the leader. */
  send(data: string | Uint8Array): void {
    if (this.#ended) return;
    if (this.#early) {
      this.#earlyBytes += data.length;
      if (this.#earlyBytes > EARLY_MAX_BYTES) {
        return this.end("too much was said before the leader was reached");
      }
      // The frame's buffer may belong to the socket: keep a copy.
      this.#early.push(typeof data === "string" ? data : data.slice());
      return;
    }
    this.#up!.send(data);
    if ((this.#up!.bufferedBytes ?? 0) > BUFFERED_MAX_BYTES) this.end("the leader is too far behind");
  }

  end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#up?.close(reason);
    this.device.close(1012, reason.slice(0, 100));
  }

  #onOpen(): void {
    const early = this.#early ?? [];
    this.#early = null;
    for (const data of early) this.#up!.send(data);
  }

  #down(data: string | Uint8Array): void {
    if (this.#ended) return;
    this.device.send(data);
    if (this.device.bufferedBytes > BUFFERED_MAX_BYTES) this.end("the device is too far behind");
  }
}
