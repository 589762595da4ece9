// The keys of gossip that this server has: kept in <server data dir>/serf.keyring (mode 0600, a JSON list, the primary
// first), and changed on all living members at once. The configuration's `encrypt` only seeds the file; afterwards
// the file holds, so that a rotation survives restarts.
//
// Invariants: the file is replaced whole and is on disk before a change counts; the key in use cannot be removed; a
// change is taken from others only with a challenge of this server, once; keys never stand in a log line.
import { randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeDurably } from "../core/durable_file.ts";
import { ApiError, ConfigError, errorText } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { KeyringMessage, KeyringOperation, WireMessage } from "./gossip_codec.ts";
import { gossipKeyError, KeyRing, KEYS_MAX } from "./gossip_crypto.ts";
import type { GossipKeyring, KeyringAnswer, Member } from "./membership.ts";

const FILE = "serf.keyring";
const CHALLENGES_MAX = 64;

/** The keys on disk or, where there are none yet, the configured one. Throws ConfigError. */
export async function loadKeyRing(
  dataDir: string | null,
  encrypt: string,
  logger: Logger,
): Promise<KeyRing | null> {
  const file = dataDir && join(dataDir, FILE);
  const stored = file ? await readKeys(file) : null;
  if (stored) {
    const ring = ringOf(stored, file!);
    if (encrypt && !ring.has(encrypt)) {
      logger.warn(
        "server.encrypt is not among the keys of the keyring file, which holds: change keys with " +
          "`nomad operator gossip keyring`, or remove the file to begin again with the configured key",
        { file },
      );
    }
    return ring;
  }
  if (!encrypt) return null;
  const wrong = gossipKeyError(encrypt);
  if (wrong) throw new ConfigError(`server.encrypt cannot be used: ${wrong}: ${HOW_TO_MAKE}`);
  const ring = new KeyRing([encrypt]);
  if (file) await writeKeys(file, ring.keys);
  return ring;
}

const HOW_TO_MAKE = "make a key with `nomad operator gossip keyring generate`";

function ringOf(keys: unknown, file: string): KeyRing {
  const wrong = (why: string) =>
    new ConfigError(`The keyring ${file} cannot be used: ${why}: restore it, or remove it to begin again`);
  if (!Array.isArray(keys) || !keys.every((key): key is string => typeof key === "string")) {
    throw wrong("it is no list of keys");
  }
  try {
    return new KeyRing(keys);
  } catch (error) {
    throw wrong(errorText(error));
  }
}

async function readKeys(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new ConfigError(`The keyring ${file} cannot be read: ${errorText(error)}`);
  }
  try {
    return JSON.parse(text) ?? {};
  } catch (damaged) {
    void damaged;
    return {};
  }
}

async function writeKeys(file: string, keys: readonly string[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeDurably(file, JSON.stringify(keys, null, 2) + "\n");
}

export interface KeyringOptions {
  dataDir: string | null;
  ring: KeyRing | null;
  self: string;
  logger: Logger;
  /** Living members, this server among them. */
  members(): Member[];
  /** Asks another server; rejects when it cannot be reached. */
  call(member: Member, message: KeyringMessage): Promise<WireMessage>;
}

interface Outcome {
  keys: string[];
  primary: string;
  error: string;
}

export class Keyring implements GossipKeyring {
  readonly #o: KeyringOptions;
  #ring: KeyRing | null;
  #challenges = new Set<string>();
  /** Changes happen one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: KeyringOptions) {
    this.#o = options;
    this.#ring = options.ring;
  }

  get encrypted(): boolean {
    return this.#ring !== null;
  }

  get ring(): KeyRing | null {
    return this.#ring;
  }

  list(): Promise<KeyringAnswer> {
    return this.#everywhere("list", "");
  }

  install(key: string): Promise<KeyringAnswer> {
    return this.#everywhere("install", key);
  }

  use(key: string): Promise<KeyringAnswer> {
    return this.#everywhere("use", key);
  }

  remove(key: string): Promise<KeyringAnswer> {
    return this.#everywhere("remove", key);
  }

  /** The others only read another key of this server's ring: a change of keys went past it. */
  async takeOver(key: string): Promise<void> {
    if (!this.#ring || this.#ring.primary === key) return;
    this.#o.logger.warn("the others do not have the key that this server encrypted gossip with any more");
    await this.#change("use", key);
  }

  /** A message of another server about keys. */
  async answer(message: Extract<KeyringMessage, { t: "challenge" | "keyring" }>): Promise<KeyringMessage> {
    const from = this.#o.self;
    if (message.t === "challenge") return { t: "challenged", from, challenge: this.#challenge() };
    const { keys, primary, error } = this.#challenges.delete(message.challenge)
      ? await this.#change(message.operation, message.key)
      : { keys: [], primary: "", error: "the request is too old: try again" };
    return { t: "keys", from, keys, primary, error };
  }

  #challenge(): string {
    const challenge = randomBytes(16).toString("hex");
    this.#challenges.add(challenge);
    for (const oldest of this.#challenges) {
      if (this.#challenges.size <= CHALLENGES_MAX) break;
      this.#challenges.delete(oldest);
    }
    return challenge;
  }

  async #everywhere(operation: KeyringOperation, key: string): Promise<KeyringAnswer> {
    if (!this.#ring) {
      throw new ApiError(
        500,
        `Gossip is not encrypted: set server.encrypt on all servers first, ${HOW_TO_MAKE}`,
      );
    }
    const wrong = operation === "list" ? null : gossipKeyError(key);
    if (wrong) throw new ApiError(400, `The key cannot be used: ${wrong}: ${HOW_TO_MAKE}`);
    const members = this.#o.members();
    const answer: KeyringAnswer = { keys: {}, primaryKeys: {}, members: members.length, messages: {} };
    await Promise.all(members.map(async (member) => {
      const outcome = member.name === this.#o.self
        ? await this.#change(operation, key)
        : await this.#ask(member, operation, key);
      if (outcome.error) answer.messages[member.name] = outcome.error;
      for (const each of outcome.keys) answer.keys[each] = (answer.keys[each] ?? 0) + 1;
      const { primary } = outcome;
      if (primary) answer.primaryKeys[primary] = (answer.primaryKeys[primary] ?? 0) + 1;
    }));
    return answer;
  }

  async #ask(member: Member, operation: KeyringOperation, key: string): Promise<Outcome> {
    const failed = (error: string): Outcome => ({ keys: [], primary: "", error });
    try {
      const from = this.#o.self;
      const first = await this.#o.call(member, { t: "challenge", from });
      if (first.t !== "challenged") return failed("it gave no challenge");
      const { challenge } = first;
      const answer = await this.#o.call(member, { t: "keyring", from, challenge, operation, key });
      return answer.t === "keys" ? answer : failed("it gave another answer than keys");
    } catch (error) {
      return failed(errorText(error));
    }
  }

  /** Does it on this server. */
  #change(operation: KeyringOperation, key: string): Promise<Outcome> {
    const run = async (): Promise<Outcome> => {
      const ring = this.#ring;
      if (!ring) return { keys: [], primary: "", error: "gossip is not encrypted there: set server.encrypt" };
      const next = changed(ring, operation, key);
      if (typeof next === "string") return { keys: ring.keys, primary: ring.primary, error: next };
      if (next) {
        try {
          await this.#store(next);
        } catch (error) {
          const text = `the keyring file cannot be written: ${errorText(error)}`;
          this.#o.logger.error(text);
          return { keys: ring.keys, primary: ring.primary, error: text };
        }
        this.#ring = next;
        this.#o.logger.info(WORDS[operation], { keys: next.keys.length });
      }
      return { keys: this.#ring!.keys, primary: this.#ring!.primary, error: "" };
    };
    const turn = this.#turn.then(run);
    this.#turn = turn;
    return turn;
  }

  async #store(ring: KeyRing): Promise<void> {
    if (this.#o.dataDir) await writeKeys(join(this.#o.dataDir, FILE), ring.keys);
  }
}

const WORDS: Record<KeyringOperation, string> = {
  list: "gossip keys were listed",
  install: "a gossip key was installed",
  use: "gossip is encrypted with another key from now on",
  remove: "a gossip key was removed",
};

/** The ring afterwards; null when nothing changes, a text when it cannot be. */
function changed(ring: KeyRing, operation: KeyringOperation, key: string): KeyRing | string | null {
  if (operation === "list") return null;
  const wrong = gossipKeyError(key);
  if (wrong) return `the key cannot be used: ${wrong}`;
  if (operation === "install") {
    if (ring.has(key)) return null;
    return ring.keys.length < KEYS_MAX
      ? new KeyRing([...ring.keys, key])
      : `there are ${KEYS_MAX} keys already`;
  }
  if (operation === "use") {
    if (!ring.has(key)) return "the key is not installed: install it first";
    return ring.primary === key ? null : ring.withPrimary(key);
  }
  if (ring.primary === key) return "the key is in use: use another one first";
  return ring.has(key) ? new KeyRing(ring.keys.filter((each) => each !== key)) : null;
}
