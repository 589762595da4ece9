// Runs the scripts in testdata/: commands to a few Raft cores, and the trace they must leave. Blocks are
// `command lines / ---- / expected`. `REWRITE=1` writes what happens instead of comparing: read the difference before you commit it.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { ScriptCluster } from "./raft_script.ts";

const dir = new URL("./testdata/", import.meta.url);

for (const file of readdirSync(dir).filter((f) => f.endsWith(".txt")).sort()) {
  test(`raft script ${file}`, () => {
    const url = new URL(file, dir);
    const source = readFileSync(url, "utf8");
    const cluster = new ScriptCluster();
    const blocks = source.trimEnd().split(/\n\n+/).map((block) => {
      const [commands, expected] = block.split(/^----$/m);
      if (expected === undefined) return { text: block, same: true, got: block };
      const got = `${commands}----\n${cluster.run(commands!)}`.trimEnd();
      return { text: block, same: got === block.trimEnd(), got };
    });
    if (process.env["REWRITE"]) return writeFileSync(url, blocks.map((b) => b.got).join("\n\n") + "\n");
    for (const { text, got } of blocks) assert.equal(got, text.trimEnd());
  });
}
