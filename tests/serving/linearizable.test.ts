// Callers at every server at once, while leaders are cut off and killed: no acknowledged write is lost, and no read
// (default or consistent, through any server) is older than what was acknowledged before it began.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Servers, SLOW, type TestServer, until } from "./servers.ts";

/** Values only grow, one writer each: a read that began after value n was acknowledged must not see less than n. */
class Register {
  acknowledged = 0;
  #next = 1;

  constructor(readonly name: string) {}

  /** With an id: acknowledged is done, everything else may be done or not. */
  async write(server: TestServer): Promise<void> {
    const value = this.#next++;
    const { status } = await server.put("/v1/namespace", { Name: this.name, Description: String(value) }, {
      headers: { "Idempotency-Key": `${this.name}-${value}` },
      signal: AbortSignal.timeout(15_000),
    });
    if (status === 200) this.acknowledged = value;
  }

  async read(server: TestServer, mode: string): Promise<void> {
    const before = this.acknowledged;
    const answer = await server.get(`/v1/namespace/${this.name}${mode}`, {
      signal: AbortSignal.timeout(15_000),
    });
    if (answer.status === 404) return assert.equal(before, 0, `${server.name}${mode}: lost ${this.name}`);
    if (answer.status !== 200) return;
    const value = Number(answer.json.Description);
    assert.ok(
      value >= before,
      `${server.name}${mode}: ${this.name} is ${value}, ${before} was acknowledged before`,
    );
  }
}

/** A server that is killed takes its callers' connections along; wrong answers are what matters. */
async function ignoringBrokenConnections(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
  }
}

test("no read is older than what was acknowledged, over cut off and killed leaders", SLOW, async () => {
  const servers = await Servers.start();
  const registers = ["a", "b", "c"].map((name) => new Register(name));
  let over = false;
  let reads = 0;
  const anyServer = (turn: number) => servers.running[turn % servers.running.length]!;
  const writer = async (register: Register, turn: number) => {
    for (; !over; turn++) await ignoringBrokenConnections(register.write(anyServer(turn)));
  };
  const reader = async (register: Register, mode: string, turn: number) => {
    for (; !over; turn++, reads++) await ignoringBrokenConnections(register.read(anyServer(turn), mode));
  };
  const progress = async (why: string) => {
    const [at, before] = [registers.map(({ acknowledged }) => acknowledged), reads];
    await until(() => registers.every((one, i) => one.acknowledged > at[i]! + 3) && reads > before + 20, why);
  };
  const work = Promise.all([
    ...registers.map((register, i) => writer(register, i)),
    ...registers.flatMap((
      register,
      i,
    ) => [reader(register, "", i + 1), reader(register, "?consistent", i + 2)]),
  ]);
  // A wrong answer ends the run at once; what is left of it is not waited for.
  const failed = work.then(() => undefined, (error) => error);
  const faults = async () => {
    await progress("work before any fault");
    const cutOff = await servers.leader();
    cutOff.cut();
    await servers.leader(servers.running.filter((one) => one !== cutOff));
    await progress("work without the leader that was cut off");
    cutOff.heal();
    await servers.leader();
    const killed = await servers.leader();
    await killed.kill();
    await servers.leader();
    await progress("work without the leader that was killed");
    await servers.restart(killed);
    await servers.leader();
    await progress("work with all again");
  };
  const error = await Promise.race([failed, faults()]);
  over = true;
  if (error) throw error;
  assert.equal(await failed, undefined);
  for (const server of servers.running) {
    for (const register of registers) {
      const { json } = await server.get(`/v1/namespace/${register.name}?consistent`);
      assert.ok(Number(json.Description) >= register.acknowledged);
    }
  }
  await servers.stop();
});
