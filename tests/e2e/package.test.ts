// The installed package: packed, added to an empty folder with Bun, run as `bunx nomad`, and imported. It is about Bun's
// own tools, so it is a test under Bun only; the pinned `bun` comes first on PATH.
import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { allocWith, isDeno, root, run, shellJob, TestAgent } from "./harness.ts";

/** A copy of the sources to build in, so that the checkout stays as it is. */
function copySources(target: string): void {
  mkdirSync(target);
  for (const name of readdirSync(root)) {
    if (["node_modules", ".git", ".tools", ".work", "dist"].includes(name)) continue;
    cpSync(join(root, name), join(target, name), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(target, "node_modules"));
}

async function must(command: string[], cwd: string): Promise<string> {
  const output = await run(command, { cwd, timeoutMs: 240_000 });
  assert.equal(output.code, 0, `${command.join(" ")}\n${output.stdout}\n${output.stderr}`);
  return output.stdout;
}

if (!isDeno) {
  test("package: packed and installed, `bunx nomad` runs agents in memory and on disk, and it can be imported", async () => {
    const folder = mkdtempSync(join(tmpdir(), "package-"));
    const sources = join(folder, "sources");
    const app = join(folder, "app");
    try {
      copySources(sources);
      await must([process.execPath, "scripts/build.ts"], sources);
      await must(["npm", "pack", "--ignore-scripts", "--pack-destination", folder], sources);
      const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))!;
      mkdirSync(app);
      writeFileSync(join(app, "package.json"), "{}");
      await must(["bun", "add", join(folder, tarball)], app);
      assert.ok(existsSync(join(app, "node_modules", ".bin", "nomad")));
      assert.match(await must(["bunx", "--no-install", "nomad", "version"], app), /^Nomad v\d/);

      for (const durable of [false, true]) {
        const command = [process.execPath, join(app, "node_modules", "nomad-edge", "dist", "nomad.mjs")];
        const agent = new TestAgent({ durable, command });
        try {
          await agent.start();
          await agent.put("/v1/jobs", shellJob("once", "echo packaged", { type: "batch" }));
          await allocWith(agent, "once", "complete");
        } finally {
          await agent.destroy();
        }
      }

      writeFileSync(
        join(app, "use.mjs"),
        `import { parseJob, Agent } from "nomad-edge";
        console.log(parseJob('job "x" {\\n group "g" {\\n task "t" {\\n driver = "d"\\n }\\n }\\n}').ID, typeof Agent);`,
      );
      assert.equal((await must(["bun", "use.mjs"], app)).trim(), "x function");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
