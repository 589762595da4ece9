// A device's way to its servers: what retry_join names is looked up, again and again until a connection stands, and
// handed to the session, which dials. Looked up anew when the connection has been gone for a while: all servers may
// have moved behind a name or a provider meanwhile.
import type { Clock } from "../core/env.ts";
import { type Attempt, Joiner, type JoinerOptions } from "./joiner.ts";
import type { JoinSettings } from "./join_settings.ts";

/** What is needed of the device's session (client/session.ts). */
export interface DialingSession {
  readonly connected: boolean;
  /** More servers to try, at once when there is no connection. */
  offerServers(addresses: readonly string[]): void;
}

/** How long the session has for the servers of one attempt. */
const CONNECT_MS = 5_000;
const POLL_MS = 50;
export const RPC_PORT = 4647;

export type DeviceJoinOptions =
  & JoinSettings
  & Pick<JoinerOptions, "clock" | "logger" | "lookup" | "providers" | "onExhausted">;

export class DeviceJoin {
  readonly #o: DeviceJoinOptions;
  readonly #session: DialingSession;
  #joiner: Joiner;
  #cancel: (() => void) | null = null;
  #everConnected = false;
  /** Since the attempt under way began. */
  #wasConnected = false;
  #stopped = false;

  constructor(session: DialingSession, options: DeviceJoinOptions) {
    this.#o = options;
    this.#session = session;
    this.#joiner = this.#create(options.retryMax);
  }

  #create(retryMax: number): Joiner {
    return new Joiner({
      ...this.#o,
      retryMax,
      entries: this.#o.retryJoin,
      defaultPort: RPC_PORT,
      attempt: (addresses) => this.#attempt(addresses),
      // A device that once had servers never gives up: nobody may be there to start it again.
      onExhausted: (message) => this.#everConnected || this.#o.onExhausted(message),
    });
  }

  start(): void {
    if (this.#o.retryJoin.length > 0) this.#joiner.start();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
    this.#joiner.stop();
  }

  /** The session's connection came up or went down. */
  onConnection(connected: boolean): void {
    this.#cancel?.();
    this.#cancel = null;
    if (connected) this.#everConnected = this.#wasConnected = true;
    if (connected || this.#stopped || this.#o.retryJoin.length === 0) return;
    this.#cancel = this.#o.clock.after(this.#o.retryIntervalMs, () => {
      if (this.#session.connected || this.#stopped) return;
      this.#joiner.stop();
      this.#joiner = this.#create(0);
      this.#joiner.start();
    });
  }

  async #attempt(addresses: string[]): Promise<Attempt> {
    const { clock } = this.#o;
    this.#wasConnected = this.#session.connected;
    this.#session.offerServers(addresses);
    const endMs = clock.monotonicMs() + CONNECT_MS;
    while (!this.#session.connected && !this.#wasConnected && !this.#stopped && clock.monotonicMs() < endMs) {
      await pause(clock, POLL_MS);
    }
    if (this.#session.connected || this.#wasConnected) return "joined";
    return { failed: `no server answers at ${addresses.join(", ")}` };
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}
