// kill -9 at any moment loses nothing that was acknowledged: a child process writes, is killed again and again, and
// after every restart each acknowledged write must be there, at its index.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { libsqlStorage } from "../../server/storage_libsql.ts";
import { testReplica } from "./helpers.ts";
import { MapMachine } from "./machine.ts";

const ROUNDS = 8;
const child = fileURLToPath(new URL("./crash_child.ts", import.meta.url));
/** The runtime that runs this test runs the child. */
const runtimeArgs = process.versions["bun"] ? [child] : ["run", "-A", "--no-check", child];

interface Ack {
  key: string;
  value: number;
  index: number;
}

/** Lets one child write until it has acknowledged `count` writes, then kills it at once. */
async function writeAndKill(path: string, round: number, count: number): Promise<Ack[]> {
  const writer = spawn(process.execPath, [...runtimeArgs, path, String(round)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  let seen = 0;
  writer.stdout.setEncoding("utf8");
  writer.stdout.on("data", (chunk: string) => {
    text += chunk;
    seen += chunk.split("\n").length - 1;
    if (seen > count) writer.kill("SIGKILL");
  });
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    writer.on("close", (...args) => resolve(args as [number | null, string | null]));
  });
  assert.deepEqual([code, signal], [null, "SIGKILL"], "the child ended by itself");
  // A line that the kill cut in half was not acknowledged to anybody.
  const lines = text.slice(0, text.lastIndexOf("\n")).split("\n");
  return lines.filter((l) => l.startsWith("ack ")).map((l) => {
    const [, key, value, index] = l.split(" ");
    return { key: key!, value: Number(value), index: Number(index) };
  });
}

test("libsql: kill -9 in a loop under load loses no acknowledged write", { timeout: 120_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), "nomad-crash-"));
  const path = join(dir, "raft.db");
  const acked = new Map<string, Ack>();
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (const ack of await writeAndKill(path, round, 50 + round * 97)) acked.set(ack.key, ack);
      const machine = new MapMachine();
      const replica = testReplica({ storage: libsqlStorage({ path }) });
      await replica.start(machine);
      for (const { key, value } of acked.values()) {
        assert.equal(
          machine.values.get(key),
          value,
          `${key} was acknowledged in a round up to ${round} and is lost`,
        );
      }
      // What came after the snapshot is applied one by one: there the index can be compared, too.
      for (const [index, text] of machine.history) {
        const command = JSON.parse(text) as { kind: string; id?: string };
        const ack = command.id === undefined ? undefined : acked.get(command.id);
        if (ack) assert.equal(ack.index, index);
      }
      await replica.stop();
    }
    assert.ok(acked.size > 1000, `only ${acked.size} writes were acknowledged`);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
