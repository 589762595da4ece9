// Encryption of gossip: AES-256-GCM (AES-128 for keys of 16 bytes, which Nomad also takes) under a ring of keys. One
// of them (the primary, first in the list) encrypts, while each may decrypt, so that keys can be changed one server
// after the other. Knows neither file nor wire.
//
// Invariants: keys never stand in an error or a log line; without a key there is no ring (gossip is plain then).
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

export const KEY_BYTES = 32;
/** Of AES-256 and AES-128; Deno knows no AES-192 in this mode. */
const SIZES = [KEY_BYTES, 16];
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** What sealing adds to a text. */
export const SEAL_BYTES = NONCE_BYTES + TAG_BYTES;
export const KEYS_MAX = 32;

/** A new key as `encrypt` takes it. */
export function generateGossipKey(): string {
  return randomBytes(KEY_BYTES).toString("base64");
}

/** What is wrong with a key, null for nothing. Never quotes it. */
export function gossipKeyError(key: string): string | null {
  const bytes = Buffer.from(key, "base64");
  if (bytes.toString("base64") !== key) return "it is not base64";
  if (!SIZES.includes(bytes.length)) {
    return `it has ${bytes.length} bytes where ${KEY_BYTES} are needed (16 are taken, for AES-128)`;
  }
  return null;
}

export class KeyRing {
  /** The primary first. */
  #keys: { text: string; bytes: Uint8Array }[];

  /** `keys`: base64, the primary first; at least one. Throws RangeError for one that is none. */
  constructor(keys: readonly string[]) {
    if (keys.length === 0 || keys.length > KEYS_MAX) throw new RangeError(`A ring has 1 to ${KEYS_MAX} keys`);
    this.#keys = keys.map((key) => {
      const wrong = gossipKeyError(key);
      if (wrong) throw new RangeError(`A gossip key cannot be used: ${wrong}`);
      return { text: key, bytes: new Uint8Array(Buffer.from(key, "base64")) };
    });
  }

  get keys(): string[] {
    return this.#keys.map(({ text }) => text);
  }

  get primary(): string {
    return this.#keys[0]!.text;
  }

  has(key: string): boolean {
    return this.#keys.some(({ text }) => text === key);
  }

  /** The same keys, encrypting with another of them. */
  withPrimary(key: string): KeyRing {
    return new KeyRing([key, ...this.keys.filter((each) => each !== key)]);
  }

  /** Nonce, ciphertext and tag. `context` must be the same when it is opened. */
  seal(plain: Uint8Array, context: Uint8Array): Uint8Array {
    const { bytes } = this.#keys[0]!;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(cipherFor(bytes), bytes, nonce);
    cipher.setAAD(context);
    return new Uint8Array(Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]));
  }

  /** Null when no key of the ring made these bytes for this context. */
  open(sealed: Uint8Array, context: Uint8Array): Uint8Array | null {
    if (sealed.length < SEAL_BYTES) return null;
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const body = sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES);
    const tag = sealed.subarray(sealed.length - TAG_BYTES);
    for (const { bytes } of this.#keys) {
      const decipher = createDecipheriv(cipherFor(bytes), bytes, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(context);
      decipher.setAuthTag(tag);
      const plain = decipher.update(body);
      if (isAuthentic(decipher)) return new Uint8Array(plain);
    }
    return null;
  }
}

const cipherFor = (key: Uint8Array) => `aes-${key.length * 8}-gcm` as "aes-256-gcm";

/** GCM has no final bytes: `final` only throws when the tag does not fit. */
function isAuthentic(decipher: { final(): unknown }): boolean {
  try {
    decipher.final();
    return true;
  } catch (wrongKey) {
    void wrongKey;
    return false;
  }
}
