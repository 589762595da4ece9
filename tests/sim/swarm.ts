// What one seed is made of: how many servers, devices and clients, how the network and the disks behave, and which faults
// there are. Each run has some faults and not others (swarm testing): a run with all of them is all elections and
// finds little.
import type { ServerTuning } from "./server_process.ts";
import type { DeviceFaults } from "./device_process.ts";
import type { DiskFaults } from "./disk.ts";
import type { LinkFaults } from "./network.ts";
import type { SimRandom } from "./random.ts";

export const FAULT_KINDS = [
  "partition",
  "oneWayPartition",
  "partialPartition",
  "isolateLeader",
  "crashServer",
  "crashLeader",
  "restartAll",
  "pauseServer",
  "slowDisk",
  "fullDisk",
  "bitRot",
  "tornTail",
  "oldDisk",
  "lostDisk",
  "jumpClock",
  "changeMembers",
  "transferLeadership",
  "crashAgent",
  "cutDevicePower",
  "pauseDevice",
  "cutOffDevice",
  "breakConnections",
] as const;
/** Some only where nothing else happens, see drawLogSwarm. */
export type FaultKind = (typeof FAULT_KINDS)[number] | "hurryMembers" | "starveLeader";

export interface Swarm {
  servers: number;
  devices: number;
  clients: number;
  /** Clients on top that only read. */
  readers: number;
  /** Clients repeat writes whose outcome they do not know, with an id. */
  triesAgain: boolean;
  /** Mean of a client's pause between two operations, and of the traffic's. */
  thinkMs: number;
  trafficMs: number;
  network: LinkFaults;
  disk: DiskFaults;
  device: DeviceFaults;
  tuning: ServerTuning;
  turnDelayMs: number;
  /** Clocks run this much faster or slower at most, and are this much off. */
  driftMax: number;
  wallOffsetMaxMs: number;
  /** Mean time between two faults; the kinds that there are, with weights. */
  faultEveryMs: number;
  faults: Map<FaultKind, number>;
}

export function drawSwarm(random: SimRandom): Swarm {
  const some = (value: number) => random.chance(0.5) ? random.float() * value : 0;
  const codec = random.chance(0.25);
  return {
    servers: random.pick([1, 3, 3, 3, 3, 3, 5, 5]),
    devices: 3 + random.int(4),
    clients: 2 + random.int(4),
    readers: 0,
    triesAgain: false,
    thinkMs: random.pick([20, 60, 200]),
    trafficMs: random.pick([150, 400, 1000]),
    network: {
      latencyMs: random.pick([0.1, 0.5, 2, 20]),
      jitterMs: random.pick([0.5, 5, 50]),
      drop: some(0.1),
      double: some(0.1),
      straggle: some(0.05),
      codec,
      damage: codec ? some(0.02) : 0,
    },
    disk: {
      latencyMs: random.pick([0.2, 1, 5]),
      jitterMs: random.pick([1, 10, 100]),
      refuse: random.chance(0.2) ? 0.02 * random.float() : 0,
    },
    device: {
      taskFailure: some(0.2),
      startMs: random.pick([50, 500, 3000]),
      stopMs: random.pick([50, 500, 3000]),
    },
    tuning: {
      snapshotThreshold: random.pick([20, 100, 500]),
      snapshotIntervalMs: random.pick([0, 1000, 10_000]),
      trailingLogs: random.pick([0, 5, 50, 500]),
    },
    turnDelayMs: random.chance(0.3) ? random.pick([0.5, 5, 40]) : 0,
    driftMax: random.pick([0, 0.001, 0.05]),
    wallOffsetMaxMs: random.pick([0, 0, 1000, 30_000]),
    faultEveryMs: random.pick([300, 1000, 3000]),
    faults: drawFaults(random),
  };
}

/** For rules of the log alone: no devices, and clients and faults close together. */
export function drawLogSwarm(random: SimRandom): Swarm {
  const swarm = drawSwarm(random);
  const faults = new Map<FaultKind, number>();
  for (let kinds = 1 + random.int(4); kinds > 0; kinds--) {
    faults.set(random.pick(LOG_FAULTS), 0.2 + random.float());
  }
  if (random.chance(0.4)) faults.set("hurryMembers", 0.5);
  return {
    ...swarm,
    servers: random.pick([2, 3, 3, 3, 4, 5]),
    devices: 0,
    thinkMs: random.pick([5, 20, 60]),
    tuning: random.chance(0.5)
      ? swarm.tuning
      : { snapshotThreshold: 10, snapshotIntervalMs: 0, trailingLogs: 2 },
    clients: 3 + random.int(4),
    readers: random.int(4),
    // Mostly time enough between two faults for an election and some writes.
    faultEveryMs: random.pick([200, 600, 1500, 4000]),
    faults,
    triesAgain: random.chance(0.4),
  };
}

const LOG_FAULTS: readonly FaultKind[] = [
  "partition",
  "oneWayPartition",
  "partialPartition",
  "isolateLeader",
  "crashServer",
  "crashLeader",
  "restartAll",
  "pauseServer",
  "slowDisk",
  "fullDisk",
  "changeMembers",
  "hurryMembers",
  "starveLeader",
  "transferLeadership",
];

function drawFaults(random: SimRandom): Map<FaultKind, number> {
  const share = random.pick([0.15, 0.3, 0.5]);
  const faults = new Map<FaultKind, number>();
  for (const kind of FAULT_KINDS) if (random.chance(share)) faults.set(kind, 0.2 + random.float());
  return faults;
}
