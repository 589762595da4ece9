// Faults, one at a time, drawn from those that the seed's swarm has. Each ends by itself after a time drawn here, except
// what an operator must mend (operator.ts). Adding a kind: a name in swarm.ts, a function in the table here.
import type { Cluster } from "./cluster.ts";
import type { DeviceProcess } from "./device_process.ts";
import type { SimDisk } from "./disk.ts";
import type { ServerProcess } from "./server_process.ts";
import type { FaultKind } from "./swarm.ts";

export class Faults {
  readonly #cluster: Cluster;
  #active = true;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    if (cluster.swarm.faults.size > 0) this.#plan();
  }

  stop(): void {
    this.#active = false;
  }

  get #random() {
    return this.#cluster.world.random;
  }

  #plan(): void {
    const { world, swarm } = this.#cluster;
    world.schedule(this.#random.between(0, 2 * swarm.faultEveryMs), null, "fault", () => {
      if (!this.#active) return;
      const kind = this.#draw();
      world.mix(kind);
      this.#cluster.note(`fault: ${kind}`);
      this.#cluster.watchers.count(`fault ${kind}`);
      this.#kinds[kind]();
      this.#plan();
    });
  }

  #draw(): FaultKind {
    const { faults } = this.#cluster.swarm;
    let sum = 0;
    for (const weight of faults.values()) sum += weight;
    let dice = this.#random.float() * sum;
    for (const [kind, weight] of faults) if ((dice -= weight) < 0) return kind;
    return faults.keys().next().value!;
  }

  readonly #kinds: Record<FaultKind, () => void> = {
    partition: () => this.#partition({ oneWay: false }),
    oneWayPartition: () => this.#partition({ oneWay: true }),
    partialPartition: () => this.#cutPairs(),
    isolateLeader: () => this.#isolate(this.#cluster.leader?.id),
    crashServer: () => this.#crash(this.#anyServer()),
    crashLeader: () => this.#crash(this.#cluster.leader),
    restartAll: () => {
      for (const server of this.#servers()) this.#crash(server);
    },
    pauseServer: () =>
      this.#pause(this.#random.chance(0.4) ? this.#cluster.leader : this.#anyServer(), 20_000),
    slowDisk: () => this.#slowDisk(this.#anyServer()),
    fullDisk: () => this.#fillDisk(this.#anyServer()),
    bitRot: () => this.#damage(this.#anyServer(), (disk) => disk.rot()),
    tornTail: () => this.#damage(this.#anyServer(), (disk) => disk.tear()),
    oldDisk: () => this.#damage(this.#anyServer(), (disk) => disk.revert()),
    lostDisk: () => this.#loseDisk(this.#anyServer()),
    jumpClock: () => this.#jumpClock(),
    changeMembers: () => this.#operate(() => this.#cluster.operator.changeMembers()),
    starveLeader: () => this.#starve(this.#cluster.leader),
    hurryMembers: () => this.#operate(() => this.#cluster.operator.hurryMembers()),
    transferLeadership: () =>
      this.#operate(async () => await this.#cluster.leader?.server?.log.transferLeadership()),
    crashAgent: () => this.#crashDevice(this.#anyDevice(), { power: false }),
    cutDevicePower: () => this.#crashDevice(this.#anyDevice(), { power: true }),
    pauseDevice: () => this.#pause(this.#anyDevice(), 30_000),
    cutOffDevice: () => this.#isolate(this.#anyDevice().name),
    breakConnections: () => this.#cluster.network.breakSome(this.#random.float()),
  };

  #servers(): ServerProcess[] {
    return [...this.#cluster.servers.values()].filter((server) => !server.retired);
  }

  #anyServer(): ServerProcess {
    return this.#random.pick(this.#servers());
  }

  #anyDevice(): DeviceProcess {
    return this.#random.pick([...this.#cluster.devices.values()]);
  }

  #later(ms: number, label: string, run: () => void): void {
    this.#cluster.world.schedule(this.#random.tail(10, ms), null, label, run);
  }

  #operate(run: () => Promise<void>): void {
    run().catch((error: Error) => this.#cluster.note(`operator: ${error.message}`));
  }

  // ---- network ----

  #names(): string[] {
    return [
      ...this.#servers().map(({ id }) => id),
      ...[...this.#cluster.devices.values()].map(({ name }) => name),
    ];
  }

  #cut(pairs: [string, string][], longestMs: number): void {
    for (const [from, to] of pairs) this.#cluster.network.link(from, to).cut = true;
    this.#later(longestMs, "links mended", () => {
      for (const [from, to] of pairs) this.#cluster.network.link(from, to).cut = false;
    });
  }

  #partition({ oneWay }: { oneWay: boolean }): void {
    const names = [...this.#names(), "users"];
    const side = new Set(names.filter(() => this.#random.chance(0.5)));
    const pairs: [string, string][] = [];
    for (const a of names) {
      for (const b of names) {
        if (!side.has(a) || side.has(b)) continue;
        pairs.push([a, b]);
        if (!oneWay) pairs.push([b, a]);
      }
    }
    this.#cut(pairs, 20_000);
  }

  /** Some pairs of servers do not hear each other, though both hear others. */
  #cutPairs(): void {
    const servers = this.#servers();
    const pairs: [string, string][] = [];
    for (let i = 1 + this.#random.int(3); i > 0; i--) {
      const [a, b] = [this.#random.pick(servers).id, this.#random.pick(servers).id];
      if (a !== b) pairs.push([a, b], ...(this.#random.chance(0.5) ? [[b, a] as [string, string]] : []));
    }
    this.#cut(pairs, 20_000);
  }

  #isolate(name: string | undefined): void {
    if (!name) return;
    const others = this.#names().filter((other) => other !== name);
    this.#cut(others.flatMap((other) => [[name, other], [other, name]] as [string, string][]), 40_000);
  }

  // ---- servers ----

  #crash(server: ServerProcess | undefined): void {
    if (!server?.up) return;
    server.crash({ power: this.#random.chance(0.5) });
    this.#later(15_000, `${server.id} starts`, () => server.start());
  }

  #pause(process: ServerProcess | DeviceProcess | undefined, longestMs: number): void {
    if (!process?.up || process.paused) return;
    process.pause();
    this.#later(longestMs, `${process.machine.name} resumes`, () => process.resume());
  }

  /** It hears clients but hardly another server, and its timers are late: it finds out late that nobody follows it any more. */
  #starve(server: ServerProcess | undefined): void {
    if (!server) return;
    const others = this.#servers().map(({ id }) => id).filter((id) => id !== server.id);
    // Sometimes one still follows it, where that is no majority.
    if (others.length > 2 && this.#random.chance(0.5)) others.splice(this.#random.int(others.length), 1);
    this.#cut(
      others.flatMap((other) => [[server.id, other], [other, server.id]] as [string, string][]),
      20_000,
    );
    server.machine.skew.lateness = 8;
    this.#later(10_000, `${server.id} gets its share`, () => server.machine.skew.lateness = 1);
  }

  #slowDisk(server: ServerProcess): void {
    server.disk.slowness = this.#random.pick([5, 30, 300]);
    this.#later(20_000, `${server.id} disk recovers`, () => server.disk.slowness = 1);
  }

  #fillDisk(server: ServerProcess): void {
    server.disk.full = true;
    this.#later(15_000, `${server.id} disk has room`, () => server.disk.full = false);
  }

  /** Its disk is damaged while it is off; its next start finds it. */
  #damage(server: ServerProcess, damage: (disk: SimDisk) => boolean): void {
    if (!this.#cluster.operator.mayLoseDisk(server)) return;
    this.#crash(server);
    damage(server.disk);
  }

  /** The machine burns down; another one comes under another name. */
  #loseDisk(server: ServerProcess): void {
    if (!this.#cluster.operator.mayLoseDisk(server)) return;
    server.crash({ power: true });
    server.broken = true;
  }

  #jumpClock(): void {
    this.#anyServer().machine.skew.wallOffsetMs = this.#random.pick([-60_000, -5000, 0, 700, 60_000]);
  }

  // ---- devices ----

  #crashDevice(device: DeviceProcess, { power }: { power: boolean }): void {
    if (power) device.cutPower();
    else device.crashAgent();
    this.#later(40_000, `${device.name} starts`, () => device.start());
  }
}
