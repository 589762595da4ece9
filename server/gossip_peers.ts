// The servers that this one knew, remembered over a restart in <server data dir>/serf.snapshot, so that it finds its
// cluster again when no join address is reachable. Written behind: losing the last change costs nothing.
//
// Invariant: after a leave the file says so, and the peers in it are not asked unless rejoin_after_leave is set.
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../core/env.ts";
import { errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Endpoint } from "./gossip_types.ts";

const FILE = "serf.snapshot";
const WRITE_BEHIND_MS = 500;
const PEERS_MAX = 256;

export interface KnownPeers {
  left: boolean;
  peers: Endpoint[];
}

export class PeerFile {
  readonly #file: string | null;
  #cancel: (() => void) | null = null;
  #writing: Promise<void> = Promise.resolve();
  #last = "";

  constructor(dataDir: string | null, readonly clock: Clock, readonly logger: Logger) {
    this.#file = dataDir && join(dataDir, FILE);
  }

  /** Nobody for a new server and for a file that cannot be read, which is said and replaced by the next write. */
  async load(): Promise<KnownPeers> {
    if (!this.#file) return { left: false, peers: [] };
    try {
      return checked(JSON.parse(await readFile(this.#file, "utf8")));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
        this.logger.warn("the servers known before the restart cannot be read", {
          file: this.#file,
          error: errorText(error),
        });
      }
      return { left: false, peers: [] };
    }
  }

  /** Writes soon; what comes until then goes along. */
  later(current: () => KnownPeers): void {
    if (!this.#file || this.#cancel) return;
    this.#cancel = this.clock.after(WRITE_BEHIND_MS, () => void this.now(current()));
  }

  /** Resolves when it is written, or could not be. */
  now(known: KnownPeers): Promise<void> {
    this.#cancel?.();
    this.#cancel = null;
    const file = this.#file;
    const text = JSON.stringify({ version: 1, ...known, peers: known.peers.slice(0, PEERS_MAX) }, null, 2) +
      "\n";
    if (!file || text === this.#last) return this.#writing;
    this.#last = text;
    this.#writing = this.#writing.then(() => replaceFile(file, text)).catch((error) =>
      this.logger.warn(
        "the known servers cannot be written: after a restart this server needs a join address",
        {
          file,
          error: errorText(error),
        },
      )
    );
    return this.#writing;
  }
}

async function replaceFile(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(`${file}.tmp`, text, { mode: 0o600 });
  await rename(`${file}.tmp`, file);
}

function checked(value: unknown): KnownPeers {
  const { left, peers } = (value ?? {}) as Partial<KnownPeers>;
  if (!Array.isArray(peers)) throw new SyntaxError("it has no list of peers");
  const good = peers.filter((peer) => typeof peer?.host === "string" && Number.isInteger(peer?.port));
  return { left: left === true, peers: good.map(({ host, port }) => ({ host, port })) };
}
