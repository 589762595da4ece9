// Seeds of faults over Raft cores, see fuzz_cluster.ts. The simulation of whole servers comes on top of this; here only
// consensus is under test. A failure names its seed: `SEED=n` runs that one alone, `SEEDS=n` runs more of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FuzzCluster } from "./fuzz_cluster.ts";

/** Seeds that once failed; kept for ever. 7121: two leaders of one term after a crash of the only member. */
const SAVED = [7121];
const one = process.env["SEED"];
const count = Number(process.env["SEEDS"] ?? 150);
const seeds = one ? [Number(one)] : [...Array.from({ length: count }, (_, i) => i + 1), ...SAVED];
const STEPS = 3000;

test(
  `raft: ${seeds.length} seeds of faults break no rule, and the cluster converges`,
  { timeout: 600_000 },
  () => {
    const sums = { acknowledged: 0, reads: 0, snapshots: 0, members: 0, losses: 0 };
    for (const seed of seeds) {
      const cluster = new FuzzCluster({ seed });
      try {
        for (let i = 0; i < STEPS; i++) cluster.step();
        cluster.converge();
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
      sums.acknowledged += cluster.acknowledged;
      sums.reads += cluster.confirmedReads;
      sums.snapshots += cluster.snapshotsInstalled;
      sums.members += cluster.membershipChanges;
      sums.losses += cluster.losses;
    }
    if (one) return;
    if (process.env["SEEDS"]) console.log(JSON.stringify(sums));
    // The faults must not be so many that nothing is tested.
    assert.ok(sums.acknowledged > seeds.length * 20, JSON.stringify(sums));
    assert.ok(sums.reads > seeds.length * 2, JSON.stringify(sums));
    assert.ok(sums.snapshots > seeds.length / 6, JSON.stringify(sums));
    assert.ok(sums.members > seeds.length / 2, JSON.stringify(sums));
    assert.ok(sums.losses > seeds.length / 2, JSON.stringify(sums));
  },
);
