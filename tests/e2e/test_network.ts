// A network that can be cut: every server in a network namespace of its own, all on one bridge that the test is on too.
// Links are cut by dropping what arrives from an address, in one direction or both. Needs root; `TestNetwork.create`
// gives null where that is not allowed, and says why.
import { spawnSync } from "node:child_process";
import process from "node:process";

export interface Place {
  host: string;
  prefix: readonly string[];
}

let networks = 0;

export class TestNetwork {
  readonly places: Place[] = [];
  readonly #bridge: string;

  private constructor(readonly id: string, readonly prefix: string) {
    this.#bridge = `br${id}`;
  }

  /** `count` namespaces, or null when this user may not make them. */
  static create(count: number): TestNetwork | null {
    const id = `e2e${process.pid.toString(36)}${networks++}`;
    const network = new TestNetwork(id, `10.${64 + (process.pid >> 8) % 64}.${process.pid % 256}`);
    try {
      network.#make(count);
      return network;
    } catch (error) {
      network.destroy();
      console.log(`No network namespaces here: ${(error as Error).message.trim()}`);
      return null;
    }
  }

  #make(count: number): void {
    ip("link", "add", this.#bridge, "type", "bridge");
    ip("addr", "add", `${this.prefix}.254/24`, "dev", this.#bridge);
    ip("link", "set", this.#bridge, "up");
    for (let i = 1; i <= count; i++) {
      const [namespace, outside, host] = [`${this.id}n${i}`, `${this.id}o${i}`, `${this.prefix}.${i}`];
      ip("netns", "add", namespace);
      this.places.push({ host, prefix: ["ip", "netns", "exec", namespace] });
      ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace);
      ip("link", "set", outside, "master", this.#bridge, "up");
      const inside = (...args: string[]) => ip("-n", namespace, ...args);
      inside("link", "set", "lo", "up");
      inside("addr", "add", `${host}/24`, "dev", "eth0");
      inside("link", "set", "eth0", "up");
      command([...this.places.at(-1)!.prefix, "iptables", "-L"]);
    }
  }

  /** Nothing that `from` sends reaches `to` any more. */
  cutOneWay(from: number, to: number): void {
    const source = this.places[from]!.host;
    command([...this.places[to]!.prefix, "iptables", "-A", "INPUT", "-s", source, "-j", "DROP"]);
  }

  cut(a: number, b: number): void {
    this.cutOneWay(a, b);
    this.cutOneWay(b, a);
  }

  /** From all other servers; the test itself still reaches it. */
  isolate(one: number): void {
    this.places.forEach((_, other) => other !== one && this.cut(one, other));
  }

  /** All links carry everything again. */
  heal(): void {
    for (const { prefix } of this.places) command([...prefix, "iptables", "-F", "INPUT"]);
  }

  /** Ends it all; the ends of links go with their namespaces. */
  destroy(): void {
    for (const { prefix } of this.places) spawnSync("ip", ["netns", "del", prefix[3]!]);
    spawnSync("ip", ["link", "del", this.#bridge]);
  }
}

function ip(...args: string[]): void {
  command(["ip", ...args]);
}

function command([program, ...args]: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program!, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr ?? ""}${error?.message ?? ""}`);
}
