// A bad night for three server processes and two devices: leaders killed, processes that stand still, links cut in one
// direction or both, a data dir that is lost, all at once gone. Writers go on through all of it; whatever was
// acknowledged to them is on every server in the end, and the devices' tasks run on as if nothing had been.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { processState, shellJob } from "./harness.ts";
import { type ClusterServer, TestCluster } from "./test_cluster.ts";
import { TestNetwork } from "./test_network.ts";

const PATIENCE = { timeout: 240_000 };
const WRITERS = 4;

/** Callers that write all the time, each to all servers in turn, and remember what was acknowledged. */
class Writers {
  readonly acknowledged: string[] = [];
  #writing = true;
  readonly #loops: Promise<void>[];

  constructor(private readonly cluster: TestCluster) {
    this.#loops = Array.from({ length: WRITERS }, (_, i) => this.#loop(i));
  }

  async #loop(writer: number): Promise<void> {
    for (let i = 0; this.#writing; i++) {
      const at = this.cluster.servers[(writer + i) % this.cluster.servers.length]!;
      const name = `w${writer}-${i}`;
      const outcome = at.running
        ? this.cluster.write(name, at, 2000)
        : Promise.reject(new Error("not running"));
      // A write without an answer may or may not be there: only those with one count.
      await outcome.then(
        () => this.acknowledged.push(name),
        () => new Promise((wake) => setTimeout(wake, 20)),
      );
    }
  }

  /** Waits until `count` more writes were acknowledged. */
  async progress(what: string, count = 10): Promise<void> {
    const from = this.acknowledged.length;
    await this.cluster.until(
      () => Promise.resolve(this.acknowledged.length >= from + count),
      `writes ${what}`,
    );
  }

  async stop(): Promise<void> {
    this.#writing = false;
    await Promise.all(this.#loops);
  }
}

describe("cluster of three on a bad night", PATIENCE, () => {
  const network = TestNetwork.create(3);
  const cluster = new TestCluster(network ? { places: network.places } : {});
  let writers: Writers;
  const pids: number[] = [];

  before(async () => {
    await cluster.start();
    const devices = await Promise.all(["d1", "d2"].map((name) => cluster.device(name)));
    const job = shellJob("steady", 'echo $$ > "$NOMAD_ALLOC_DIR/data/pid"; exec sleep 3600', {
      group: { Count: 2, Constraints: [{ Operand: "distinct_hosts", RTarget: "true" }] },
    });
    await cluster.servers[0]!.put("/v1/jobs", job);
    for (const device of devices) {
      const pid = await cluster.until(async () => {
        const allocs = await device.get<{ ID: string; NodeName: string; ClientStatus: string }[]>(
          "/v1/job/steady/allocations",
        );
        const own = allocs.find((alloc) =>
          alloc.NodeName === device.options.name && alloc.ClientStatus === "running"
        );
        return own && Number(readFileSync(`${device.folder}/data/alloc/${own.ID}/alloc/data/pid`, "utf8"));
      }, `the task on ${device.options.name}`);
      pids.push(pid);
    }
    writers = new Writers(cluster);
  }, PATIENCE);

  after(async () => {
    await writers?.stop();
    await cluster.destroy();
    network?.destroy();
  }, PATIENCE);

  const others = (one: ClusterServer) => cluster.servers.filter((server) => server !== one);

  const peersOf = (at: number) => [0, 1, 2].filter((peer) => peer !== at);

  /** The two that can see each other have a leader, and writes go on through them. */
  async function goesOnWithout(one: ClusterServer, what: string): Promise<void> {
    const leader = await cluster.until(async () => {
      const found = await cluster.leader(others(one), 5000).catch(() => undefined);
      return found !== one && found;
    }, `a leader without ${one.name}`);
    await cluster.until(
      () => cluster.write(`${what}-${leader.name}`, leader).then(() => true),
      `a write ${what}`,
    );
    await writers.progress(what);
  }

  it("goes on while its leader is killed again and again", PATIENCE, async () => {
    for (let round = 0; round < 3; round++) {
      const leader = await cluster.leader();
      await leader.end("SIGKILL");
      await goesOnWithout(leader, `dead${round}`);
      await leader.start();
      await cluster.leader();
    }
  });

  it("goes on while its leader stands still, which then knows that it leads no more", PATIENCE, async () => {
    const leader = await cluster.leader();
    leader.pause();
    await goesOnWithout(leader, "paused");
    leader.resume();
    const next = await cluster.leader();
    assert.notEqual(next, leader);
    await writers.progress("after the pause");
  });

  it("goes on while a follower stands still", PATIENCE, async () => {
    const leader = await cluster.leader();
    const follower = others(leader)[0]!;
    follower.pause();
    await writers.progress("without a follower");
    follower.resume();
    await cluster.leader();
  });

  /** Where namespaces are not allowed, a server that stands still is the nearest thing to one that is cut off. */
  async function cutOff(one: ClusterServer, cut: (at: number) => void, what: string): Promise<void> {
    if (network) cut(cluster.servers.indexOf(one));
    else one.pause();
    await goesOnWithout(one, what);
    if (network) network.heal();
    else one.resume();
    await cluster.leader();
    await writers.progress(`after ${what}`);
  }

  it("goes on without a leader that is cut off, which acknowledges nothing meanwhile", PATIENCE, async () => {
    const leader = await cluster.leader();
    await cutOff(leader, (at) => {
      network!.isolate(at);
      // It may think for a moment that it leads, but nobody can agree.
      void cluster.write("alone", leader, 1500).then(
        () => writers.acknowledged.push("alone"),
        () => undefined,
      );
    }, "isolated");
  });

  it("goes on without a leader that hears nobody", PATIENCE, async () => {
    const leader = await cluster.leader();
    await cutOff(leader, (at) => peersOf(at).forEach((peer) => network!.cutOneWay(peer, at)), "deaf");
  });

  it("goes on without a leader that nobody hears", PATIENCE, async () => {
    const leader = await cluster.leader();
    await cutOff(leader, (at) => peersOf(at).forEach((peer) => network!.cutOneWay(at, peer)), "mute");
  });

  it("goes on when two followers cannot see each other", PATIENCE, async () => {
    const leader = await cluster.leader();
    const [a, b] = others(leader).map((server) => cluster.servers.indexOf(server));
    network?.cut(a!, b!);
    await writers.progress("with a link cut", 50);
    network?.heal();
    await cluster.leader();
  });

  it("takes a server in again that has lost its data", PATIENCE, async () => {
    const follower = others(await cluster.leader())[0]!;
    await follower.end("SIGKILL");
    follower.wipe();
    await follower.start();
    await writers.progress("with an empty server");
    await cluster.voters(cluster.servers.map((server) => server.name));
  });

  it("is there again after all servers were killed at once", PATIENCE, async () => {
    await Promise.all(cluster.servers.map((server) => server.end("SIGKILL")));
    await Promise.all(cluster.servers.map((server) => server.start()));
    await cluster.leader();
    await writers.progress("after the full restart");
  });

  it("has lost nothing that it acknowledged, and its servers say the same", PATIENCE, async () => {
    await writers.stop();
    assert.ok(writers.acknowledged.length > 200, `only ${writers.acknowledged.length} writes`);
    const leader = await cluster.leader();
    await cluster.write("last", leader);
    for (const server of cluster.servers) {
      await cluster.until(
        async () => (await cluster.written(server)).includes("last"),
        `${server.name} to catch up`,
      );
      const have = new Set(await cluster.written(server));
      const lost = writers.acknowledged.filter((name) => !have.has(name));
      assert.deepEqual(lost, [], `lost on ${server.name}`);
    }
    for (const path of ["/v1/namespaces", "/v1/jobs", "/v1/allocations", "/v1/nodes"]) {
      const [first, ...rest] = await Promise.all(
        cluster.servers.map((server) => server.get<unknown>(`${path}?stale`)),
      );
      for (const other of rest) assert.deepEqual(other, first, path);
    }
  });

  it("has left the devices' tasks alone", PATIENCE, async () => {
    for (const pid of pids) assert.match(processState(pid) ?? "gone", /[SRD]/, `pid ${pid}`);
    const leader = await cluster.leader();
    const allocs = await cluster.until(async () => {
      const found = await leader.get<{ ClientStatus: string; DesiredStatus: string }[]>(
        "/v1/job/steady/allocations",
      );
      return found.every((alloc) => alloc.ClientStatus === "running") && found;
    }, "the allocations to be running");
    assert.equal(allocs.length, 2, "nothing was replaced");
  });
});
