// Asks every driver what it is on this host and keeps the answers in the node's form. Slow drivers do not hold up the
// start: whoever does not answer in time appears undetected and is put right by a later update.
import type { Clock } from "../core/env.ts";
import type { DriverInfo } from "../core/types.ts";
import type { Driver, DriverFingerprint } from "../drivers/driver.ts";

export interface DriversFingerprint {
  drivers: Record<string, DriverInfo>;
  /** For the node's Attributes: "driver.raw_exec": "1" and what the driver adds. */
  attributes: Record<string, string>;
}

export class DriverWatch {
  #answers = new Map<string, { fingerprint: DriverFingerprint; updateTime: string }>();

  #since: string;

  constructor(
    private readonly options: {
      drivers: Map<string, Driver>;
      clock: Clock;
      /** A driver that was known became healthy or ceased to be. */
      onHealth(driver: string, description: string): void;
    },
  ) {
    this.#since = this.#now();
  }

  /** Asks all; resolves when all answered or after `timeoutMs`. Later answers call `onLate` if they are news. */
  async ask(timeoutMs: number, onLate: () => void): Promise<void> {
    let waiting = true;
    let cancel = () => {};
    const timeout = new Promise<void>((resolve) => cancel = this.options.clock.after(timeoutMs, resolve));
    const all = Promise.all([...this.options.drivers.values()].map(async (driver) => {
      const changed = this.#take(driver.name, await driver.fingerprint());
      if (changed && !waiting) onLate();
    }));
    await Promise.race([all, timeout]);
    cancel();
    waiting = false;
  }

  get result(): DriversFingerprint {
    const drivers: Record<string, DriverInfo> = {};
    const attributes: Record<string, string> = {};
    for (const name of this.options.drivers.keys()) {
      const answer = this.#answers.get(name);
      const fingerprint = answer?.fingerprint;
      drivers[name] = {
        Attributes: fingerprint?.attributes ?? {},
        Detected: fingerprint?.detected ?? false,
        Healthy: fingerprint?.healthy ?? false,
        HealthDescription: fingerprint?.description ?? "Waiting for the driver's first answer",
        UpdateTime: answer?.updateTime ?? this.#since,
      };
      if (!fingerprint?.detected) continue;
      attributes[`driver.${name}`] = "1";
      for (const [key, value] of Object.entries(fingerprint.attributes)) {
        if (key !== `driver.${name}`) attributes[key] = value;
      }
    }
    return { drivers, attributes };
  }

  #take(name: string, fingerprint: DriverFingerprint): boolean {
    const before = this.#answers.get(name);
    if (before && JSON.stringify(before.fingerprint) === JSON.stringify(fingerprint)) return false;
    this.#answers.set(name, { fingerprint, updateTime: this.#now() });
    if (before && before.fingerprint.healthy !== fingerprint.healthy) {
      this.options.onHealth(name, fingerprint.description);
    }
    return true;
  }

  #now(): string {
    return new Date(this.options.clock.nowMs()).toISOString();
  }
}
