// The registration of a simulated device: Linux on amd64 with the drivers that benchmark jobs ask for, one of 50 racks,
// every third with a fast disk.
import { systemRandom } from "../core/env.ts";
import { NEW_NODE } from "../core/node.ts";
import type { Node } from "../core/types.ts";
import { NOMAD_VERSION } from "../core/version.ts";

export interface NodeSize {
  cpuMhz: number;
  memoryMb: number;
  datacenter: string;
}

export function simulatedNode(number: number, { cpuMhz, memoryMb, datacenter }: NodeSize): Node {
  return {
    ...NEW_NODE,
    ID: systemRandom.uuid(),
    SecretID: systemRandom.uuid(),
    Name: `sim-${number}`,
    Datacenter: datacenter,
    NodeClass: "",
    NodePool: "default",
    HTTPAddr: "127.0.0.1:0",
    Attributes: {
      "cpu.arch": "amd64",
      "kernel.name": "linux",
      "driver.raw_exec": "1",
      "driver.mock_driver": "1",
      "nomad.version": NOMAD_VERSION,
      "os.name": "debian",
    },
    Meta: { rack: `r${number % 50}`, ssd: String(number % 3 === 0) },
    NodeResources: {
      Cpu: { CpuShares: cpuMhz, TotalCpuCores: 8, ReservableCpuCores: [] },
      Memory: { MemoryMB: memoryMb },
      Disk: { DiskMB: 500_000 },
      Networks: [{ Mode: "host", Device: "eth0", CIDR: "127.0.0.1/32", IP: "127.0.0.1", MBits: 1000 }],
      NodeNetworks: [],
      Devices: null,
      MinDynamicPort: 20000,
      MaxDynamicPort: 32000,
      Processors: { Topology: null },
    },
    ReservedResources: {
      Cpu: { CpuShares: 0, ReservedCpuCores: null },
      Memory: { MemoryMB: 0 },
      Disk: { DiskMB: 0 },
      Networks: { ReservedHostPorts: "" },
    },
    Drivers: Object.fromEntries(["raw_exec", "mock_driver"].map((name) => [name, {
      Attributes: {},
      Detected: true,
      Healthy: true,
      HealthDescription: "Healthy",
      UpdateTime: new Date(0).toISOString(),
    }])),
    HostVolumes: {},
    HostNetworks: null,
    NodeMaxAllocs: 0,
  };
}
