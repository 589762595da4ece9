// A process for crash.test.ts: writes through a replica on libsql as fast as it can and prints every acknowledged write.
// Arguments: database path, number of the run. Ends by kill -9 only.
import { writeSync } from "node:fs";
import { libsqlStorage } from "../../server/storage_libsql.ts";
import { testReplica } from "./helpers.ts";
import { MapMachine, put } from "./machine.ts";

const [path, run] = process.argv.slice(2);
const machine = new MapMachine();
const replica = testReplica({
  storage: libsqlStorage({ path: path! }),
  tuning: { snapshotThreshold: 300, trailingLogs: 20 },
});
await replica.start(machine);
writeSync(1, `ready ${machine.values.size}\n`);

async function writer(name: string): Promise<void> {
  for (let i = 0;; i++) {
    const key = `${run}-${name}-${i}`;
    const { index } = await replica.propose(put(key, i));
    writeSync(1, `ack ${key} ${i} ${index}\n`); // Straight into the pipe: a buffered line would prove nothing.
  }
}
await Promise.all(Array.from({ length: 8 }, (_, i) => writer(`w${i}`)));
