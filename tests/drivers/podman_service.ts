// A Podman API service of the tests' own, on a socket in a temp dir, with the image made by scripts/podman_setup.sh.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually } from "./fixture.ts";

export function podmanService() {
  const dir = mkdtempSync(join(tmpdir(), "podman-test-"));
  const path = join(dir, "podman.sock");
  let child: ChildProcess | null = null;
  let ready: Promise<void> | null = null;
  return {
    socket: `unix://${path}`,
    dir,
    /** Starts it once, however often it is called (Bun gives hooks no more than 5 s, so tests call it). */
    start(): Promise<void> {
      ready ??= begin();
      return ready;
    },
    /** Ends the service and begins a new one on the same socket. */
    async restart(): Promise<void> {
      await end();
      await begin();
    },
    async stop(): Promise<void> {
      await end();
      rmSync(dir, { recursive: true, force: true });
    },
  };

  async function begin(): Promise<void> {
    const setup = fileURLToPath(new URL("../../scripts/podman_setup.sh", import.meta.url));
    const made = spawnSync("/bin/sh", [setup], { encoding: "utf8" });
    if (made.status !== 0) throw new Error(`podman_setup.sh failed: ${made.stdout}${made.stderr}`);
    child = spawn("podman", ["system", "service", "--time=0", `unix://${path}`], { stdio: "ignore" });
    await eventually("Podman's socket", () => existsSync(path));
  }

  async function end(): Promise<void> {
    const ending = child;
    if (ending === null) return;
    const gone = new Promise((resolve) => ending.on("exit", resolve));
    if (ending.exitCode === null && ending.signalCode === null) {
      ending.kill("SIGKILL");
      await gone;
    }
    rmSync(path, { force: true });
    child = null;
  }
}
