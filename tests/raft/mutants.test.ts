// Do the tests of this room notice a broken core? Each mistake is a small edit of raft.ts; on a copy with it a checker of the
// fuzz speaks up, or a scenario fails. The simulation has mistakes of its own (tests/sim/bugs.ts); here are
// those that consensus alone must catch, in seconds.
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const STEPS = 3000;
const SEEDS_MAX = 1000;

interface Mutant {
  name: string;
  find: string;
  replace: string;
  /** What must notice it: the checkers of the fuzz, or a scenario that chance finds too rarely. */
  by: "fuzz" | "scenarios";
  /** The seed that found it last, tried first. */
  firstSeed?: number;
}

const MUTANTS: Mutant[] = [
  {
    name: "an old term's entry is committed by counting (§5.4.2)",
    find: "if (this.log.termAt(index) !== this.term || !this.log.commitTo(index)) return;",
    replace: "if (!this.log.commitTo(index)) return;",
    by: "fuzz",
  },
  {
    name: "a vote within a stored term is not stored",
    find: "|| durable.vote !== this.vote ||",
    replace: "||",
    by: "fuzz",
  },
  {
    // Counting it early by itself changes nothing: nobody is asked before it is durable, so nobody has answered.
    name: "votes are asked for before the own one is durable",
    find: 'this.#sendAfter(id, { type: "vote", lastIndex',
    replace: 'this.#send(id, { type: "vote", lastIndex',
    by: "fuzz",
  },
  {
    name: "the membership changes before the leader committed in its term",
    find:
      'if (!this.committedInTerm) return "the leader has not committed an entry of its term yet; try again";\n',
    replace: "",
    by: "fuzz",
  },
  {
    name: "the membership changes while another change is open",
    find:
      'if (this.log.config.index > this.log.commit) return "another membership change is under way; try again";\n',
    replace: "",
    by: "fuzz",
  },
  {
    name: "a server that lost entries votes",
    find: "const granted = free && !this.#abstains &&",
    replace: "const granted = free &&",
    by: "fuzz",
    firstSeed: 212,
  },
  {
    name: "a server that lost entries stops abstaining at the first append",
    find: "if (!abstain || (match < abstain.index && (log.termAt(match) ?? 0) <= abstain.term)) return;",
    replace: "if (!abstain) return;",
    by: "fuzz",
    firstSeed: 741,
  },
  {
    name: "abstaining is forgotten by a restart",
    find: "        ...(this.abstain ? { abstain: this.abstain } : {}),\n",
    replace: "",
    by: "fuzz",
  },
  {
    name: "a heartbeat commits what stands in the place of lost entries",
    find: "const held = this.abstain ? Math.min(this.#agreed, this.log.lastIndex) : this.log.lastIndex;",
    replace: "const held = this.log.lastIndex;",
    by: "scenarios",
  },
  {
    name: "the leader never sends again what a follower lost",
    find:
      '      p.match = Math.min(p.match, m.match);\n      if (p.state !== "snapshot") p.becomeProbe(m.match + 1);\n',
    replace: "",
    by: "fuzz",
  },
];

/** The room and what it needs, with one edit; gone when `run` is done. */
async function withCopy(mutant: Mutant | null, run: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "nomad-mutant-"));
  try {
    for (const part of ["core", "server", "tests/raft", "package.json"]) {
      cpSync(join(root, part), join(folder, part), { recursive: true });
    }
    const path = join(folder, "server", "raft.ts");
    const source = readFileSync(path, "utf8");
    if (mutant) {
      assert.equal(
        source.split(mutant.find).length,
        2,
        `"${mutant.find}" is not found exactly once: bring it in line`,
      );
      writeFileSync(path, source.replace(mutant.find, () => mutant.replace));
    }
    await run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const load = <T>(folder: string, file: string) =>
  import(pathToFileURL(join(folder, "tests", "raft", file)).href) as Promise<T>;

/** What the checkers say first, "" when they say nothing. */
async function fuzz(folder: string, seeds: number, first = 1): Promise<string> {
  const { FuzzCluster } = await load<typeof import("./fuzz_cluster.ts")>(folder, "fuzz_cluster.ts");
  for (let i = 0; i < seeds; i++) {
    const seed = (first - 1 + i) % seeds + 1;
    try {
      const cluster = new FuzzCluster({ seed });
      for (let i = 0; i < STEPS; i++) cluster.step();
      cluster.converge();
    } catch (error) {
      return `seed ${seed}: ${(error as Error).message.split("\n")[0]}`;
    }
  }
  return "";
}

/** The first scenario that throws. */
async function scenarios(folder: string): Promise<string> {
  for (
    const [name, run] of Object.entries(await load<Record<string, () => void>>(folder, "loss_scenarios.ts"))
  ) {
    try {
      run();
    } catch (error) {
      return `${name}: ${(error as Error).message}`;
    }
  }
  return "";
}

for (const mutant of MUTANTS) {
  test(`raft mutant: ${mutant.name}`, { timeout: 600_000 }, async () => {
    await withCopy(mutant, async (folder) => {
      const found = mutant.by === "fuzz"
        ? await fuzz(folder, SEEDS_MAX, mutant.firstSeed)
        : await scenarios(folder);
      if (process.env["SEEDS"]) console.log(found);
      assert.notEqual(found, "", "nothing noticed it");
    });
  });
}

test("raft mutant: none, and nothing is noticed", { timeout: 600_000 }, async () => {
  await withCopy(null, async (folder) => {
    assert.deepEqual([await scenarios(folder), await fuzz(folder, 20)], ["", ""]);
  });
});
