// Gossip between agents that are processes, asked over the command line: members, keys, a server that may not join, one
// that is killed, one that leaves when it is stopped.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { generateGossipKey } from "../../server/gossip_crypto.ts";
import { type Output, program, run } from "../e2e/harness.ts";

const folder = mkdtempSync(join(tmpdir(), "gossip-processes-"));
const servers: Process[] = [];
after(async () => {
  await Promise.all(servers.map((server) => server.end("SIGKILL")));
  rmSync(folder, { recursive: true, force: true });
});

class Process {
  log = "";
  code: number | null = null;
  #child: ChildProcess | null = null;
  #gone: Promise<void> = Promise.resolve();

  constructor(readonly name: string, readonly settings: string) {}

  start(): void {
    const file = join(folder, `${this.name}.hcl`);
    writeFileSync(
      file,
      `
name      = "${this.name}"
data_dir  = "${folder}/${this.name}"
bind_addr = "127.0.0.1"
log_level = "DEBUG"
leave_on_terminate = true
ports {
  http = 0
  rpc  = 0
  serf = 0
}
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
server {
  enabled = true
  ${this.settings}
}
`,
    );
    const [command, ...args] = program;
    const child = this.#child = spawn(command!, [...args, "agent", "-config", file], {
      stdio: ["ignore", "pipe", "pipe"],
      cwd: folder,
    });
    servers.push(this);
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (chunk: Uint8Array) => this.log += new TextDecoder().decode(chunk));
    }
    this.#gone = new Promise((done) =>
      child.on("close", (code) => {
        this.code = code;
        this.#child = null;
        done();
      })
    );
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child?.pid) process.kill(this.#child.pid, signal);
    await this.#gone;
  }

  #bound(kind: string): string {
    const address = new RegExp(`Bind Addrs:.*${kind}: \\[?([0-9.]+:\\d+)`).exec(this.log)?.[1];
    if (!address) throw new Error(`${this.name} has not started:\n${this.log}`);
    return address;
  }

  get serf(): string {
    return this.#bound("Serf");
  }

  nomad(...args: string[]): Promise<Output> {
    return run([...program, ...args], { env: { NOMAD_ADDR: `http://${this.#bound("HTTP")}` } });
  }

  /** Waits until its log holds `pattern`. */
  async says(pattern: RegExp): Promise<void> {
    const what = () => `${this.name} to say ${pattern}:\n${this.log.slice(-3000)}`;
    await until(() => {
      if (this.code !== null) throw new Error(`It ended with ${this.code} before ${what()}`);
      return pattern.test(this.log);
    }, what);
  }

  /** "name status" of every member, as the command line shows them, once it is `wanted`. */
  async untilMembers(...wanted: string[]): Promise<void> {
    let last = "";
    await until(async () => {
      const { stdout, stderr } = await this.nomad("server", "members");
      last = stdout + stderr;
      const rows = stdout.split("\n").slice(1).filter(Boolean).map((row) => row.split(/\s+/));
      return rows.map((row) => `${row[0]} ${row[3]}`).join(", ") === wanted.join(", ");
    }, () => `the members ${wanted.join(", ")}: ${last}`);
  }
}

async function until(
  condition: () => boolean | Promise<boolean>,
  what: () => string,
  timeoutMs = 60_000,
): Promise<void> {
  for (const end = performance.now() + timeoutMs; performance.now() < end;) {
    if (await condition()) return;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error(`Waited ${timeoutMs} ms for ${what()}`);
}

test("servers that are processes: keys, intruders, a kill, a leave, force-leave", async () => {
  const [key, wrong, next] = [generateGossipKey(), generateGossipKey(), generateGossipKey()];
  const a = new Process("a", `bootstrap_expect = 1\n  encrypt = "${key}"`);
  a.start();
  await a.says(/Nomad agent started/);
  const joining = (encrypt: string) => `
  ${encrypt}
  server_join {
    retry_join     = ["${a.serf}"]
    retry_interval = "1s"
  }`;
  const b = new Process("b", joining(`encrypt = "${key}"`));
  const c = new Process("c", joining(`encrypt = "${key}"`));
  const stranger = new Process("stranger", joining(`encrypt = "${wrong}"`));
  const bare = new Process("bare", joining(""));
  for (const server of [b, c, stranger, bare]) server.start();

  await a.untilMembers("a.global alive", "b.global alive", "c.global alive");
  await stranger.says(
    /\[WARN\].*join failed: .*it has none of the keys that this server encrypts with: set server\.encrypt/,
  );
  await bare.says(
    /\[WARN\].*join failed: .*its gossip is encrypted and this server has no key: set server\.encrypt/,
  );
  await a.says(
    /\[WARN\].*refused gossip from 127\.0\.0\.1: it encrypts with a key that this server does not have/,
  );
  await a.says(
    /\[WARN\].*refused gossip from 127\.0\.0\.1: its gossip is not encrypted and this server's is/,
  );
  await Promise.all([stranger.end("SIGKILL"), bare.end("SIGKILL")]);

  for (const [operation, argument] of [["install", next], ["use", next], ["remove", key]] as const) {
    const { code, stderr } = await b.nomad("operator", "gossip", "keyring", operation, argument);
    assert.equal(code, 0, stderr);
  }
  const listed = await c.nomad("operator", "gossip", "keyring", "list");
  assert.equal(listed.stdout, `Gathering installed encryption keys...\nKey\n${next}\n`);
  const refused = await c.nomad("operator", "gossip", "keyring", "remove", next);
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /3\/3 nodes reported failure: a\.global: the key is in use: use another one first/,
  );

  await c.end("SIGKILL");
  await a.untilMembers("a.global alive", "b.global alive", "c.global failed");
  assert.equal((await a.nomad("server", "force-leave", "c")).code, 0);
  await b.untilMembers("a.global alive", "b.global alive", "c.global left");
  assert.equal((await a.nomad("server", "force-leave", "-prune", "c.global")).code, 0);
  await b.untilMembers("a.global alive", "b.global alive");

  await b.end("SIGTERM");
  assert.equal(b.code, 0, "a server that leaves ends well");
  await a.untilMembers("a.global alive", "b.global left");
  assert.ok(!/server failed.*b\.global/.test(a.log), "it left and did not fail");
  for (const each of servers) {
    for (const secret of [key, wrong, next]) {
      assert.ok(!each.log.includes(secret), `${each.name} shows a key`);
    }
  }
});

test("retry_max used up and start_join without an answer end the process with 1 and the reason", async () => {
  const patient = new Process(
    "patient",
    `bootstrap_expect = 1
  server_join {
    retry_join     = ["127.0.0.1:1"]
    retry_max      = 1
    retry_interval = "100ms"
  }`,
  );
  const strict = new Process(
    "strict",
    `bootstrap_expect = 1\n  server_join {\n    start_join = ["127.0.0.1:1"]\n  }`,
  );
  patient.start();
  strict.start();
  await until(
    () => patient.code !== null && strict.code !== null,
    () => `both to end:\n${patient.log}\n${strict.log}`,
  );
  assert.deepEqual([patient.code, strict.code], [1, 1]);
  assert.match(patient.log, /\[ERROR\] agent\.joiner: max join retry exhausted, exiting/);
  assert.match(patient.log, /==> Joining failed 2 times \(retry_max = 1\): failed to join 127\.0\.0\.1:1: /);
  assert.match(strict.log, /==> Cannot join any server of start_join: failed to join 127\.0\.0\.1:1: /);
});
