// The way out when most servers are gone for good: one survivor goes on alone with what it has, because an operator
// wrote raft/peers.json into its server folder. The file is Nomad's, and names this server only: others join it anew,
// without their old data, so that no two servers can disagree about what the log says.
//
// Invariants: nothing changes without the file; the new membership is an entry after everything that is stored here,
// in a term that no other server can have had; the cluster has another id after it, so that a server of the old one
// whose log goes on differently is not taken in with it.
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import type { Clock, Random } from "../core/env.ts";
import { ConfigError, errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Command } from "./commands.ts";
import type { Entry, RaftServer } from "./raft_types.ts";
import type { RaftStorage } from "./storage.ts";

/** Terms that are skipped: the lost servers may have been ahead of this one by some elections. */
const TERMS_SKIPPED = 1000;

export interface RecoveryOptions {
  /** The server's own data dir. */
  dataDir: string;
  /** This server, as it is to be the only member. */
  self: RaftServer;
  openStorage(): Promise<RaftStorage>;
  clock: Clock;
  random: Random;
  logger: Logger;
}

/** Makes this server the only member of its cluster where raft/peers.json says so. Throws ConfigError for a wrong file. */
export async function maybeRecover(options: RecoveryOptions): Promise<void> {
  const file = join(options.dataDir, "raft", "peers.json");
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw error;
  });
  if (text === null) return;
  checkPeers(file, text, options.self.id);
  const storage = await options.openStorage();
  try {
    const index = await goOnAlone(storage, options);
    options.logger.warn("this server is the only member of its cluster now, as raft/peers.json says", {
      index,
    });
  } finally {
    await storage.close();
  }
  await rename(file, `${file}.done`);
}

function checkPeers(file: string, text: string, id: string): void {
  const wrong = (why: string) =>
    new ConfigError(
      `${file}: ${why}: write [{"id": "${id}"}] to let this server go on alone; ` +
        "the others lose their server folder and join it as new ones",
    );
  let peers: unknown;
  try {
    peers = JSON.parse(text);
  } catch (error) {
    throw wrong(`it is no JSON (${errorText(error)})`);
  }
  if (!Array.isArray(peers) || peers.length === 0) throw wrong("it is no list of servers");
  const ids = peers.map((peer) => typeof peer === "string" ? peer : (peer as { id?: unknown } | null)?.id);
  if (ids.length > 1) throw wrong(`it names ${ids.length} servers`);
  if (ids[0] !== id) throw wrong(`it names ${JSON.stringify(ids[0])}, this server is ${id}`);
}

/** Returns the index of the entry that makes `self` the only member. */
async function goOnAlone(storage: RaftStorage, options: RecoveryOptions): Promise<number> {
  const { self, clock, random, logger } = options;
  const { hard, floor, lastIndex, lost } = await storage.open();
  // Nobody has more than this server, so its damaged end is gone for everybody.
  if (lost) logger.warn("the end of the log was damaged and is given up", { damage: lost.what });
  const [last] = lastIndex > floor.index ? await storage.read(lastIndex, 1) : [];
  const term = Math.max(hard.term, last?.term ?? floor.term) + TERMS_SKIPPED;
  const index = lastIndex + 1;
  const alone = JSON.stringify({ servers: [{ ...self, voter: true }] });
  const rename: Command = { kind: "cluster.rename", time: clock.nowMs() * 1e6, id: random.uuid() };
  const entries: Entry[] = [
    { index, term, kind: "config", data: alone },
    { index: index + 1, term, kind: "command", data: JSON.stringify(rename) },
  ];
  await storage.write({ hard: { term, vote: "", commit: index + 1 }, entries, install: null });
  return index;
}
