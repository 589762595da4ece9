// Hashes, bcrypt, RSA decryption and UUIDs. Only uuidv4 and bcrypt are random, from the context's source.
import { encodeBase64, hashSync } from "bcryptjs";
import { createHash, createPrivateKey } from "node:crypto";
import { ArgumentError, FunctionError, type FunctionSpec, parameter } from "./function_types.ts";
import { wholeNumber } from "./functions_collection.ts";
import { normalizeText, type Value } from "./value.ts";

const str = parameter("str", "string");

function hash(algorithm: string, doc: string): FunctionSpec {
  return {
    doc,
    parameters: [str],
    call: ([text]) => createHash(algorithm).update(text as string, "utf8").digest("hex"),
  };
}

const COST_DEFAULT = 10;
/** Every step doubles the time; this one takes about half a second. */
const COST_MAX = 12;

function bcrypt(
  args: readonly Value[],
  salt: (count: number) => Uint8Array,
  spend: (steps: number) => void,
): string {
  if (args.length > 2) throw new FunctionError("bcrypt() takes no more than two arguments");
  const password = args[0] as string;
  let cost = args.length === 2 ? wholeNumber(args[1], "invalid cost", 1) : COST_DEFAULT;
  // The reference takes the default for a cost below the least one.
  if (cost < 4) cost = COST_DEFAULT;
  if (cost > COST_MAX) {
    throw new FunctionError(
      `cost ${cost} is not allowed: while a job file is read, the cost may be ${COST_MAX} at most`,
    );
  }
  if (Buffer.byteLength(password) > 72) {
    throw new FunctionError("error occurred generating password: bcrypt: password length exceeds 72 bytes");
  }
  // A call of the default cost counts as much as evaluating a very large file.
  spend(2 ** cost * 140);
  return hashSync(
    password,
    `$2a$${String(cost).padStart(2, "0")}$${encodeBase64(salt(16) as unknown as number[], 16)}`,
  );
}

function rsaDecrypt(ciphertext: string, key: string): string {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(ciphertext)) {
    throw new ArgumentError(0, "the given value is not valid base64");
  }
  const cipher = Buffer.from(ciphertext, "base64");
  let parts: RsaParts;
  try {
    parts = createPrivateKey(key).export({ format: "jwk" }) as RsaParts;
  } catch (error) {
    // The library's message says what is wrong with the PEM text; the key itself is not in it.
    throw new ArgumentError(1, `not a usable RSA private key: ${(error as Error).message}`);
  }
  if (parts.kty !== "RSA") throw new ArgumentError(1, "not an RSA private key");
  const size = Buffer.from(parts.n, "base64url").length;
  if (size > RSA_BYTES_MAX) {
    throw new ArgumentError(1, `keys of more than ${RSA_BYTES_MAX * 8} bits are not supported`);
  }
  const block = rsaPower(parts, toBigInt(cipher)).toString(16).padStart(size * 2, "0");
  // PKCS #1 v1.5: 00 02, at least eight bytes that are not zero, 00, the text.
  const match = /^0002((?:(?!00)[0-9a-f]{2}){8,})00((?:[0-9a-f]{2})*)$/.exec(block);
  if (!match || cipher.length !== size) {
    throw new FunctionError("failed to decrypt: the ciphertext does not belong to this key, or is damaged");
  }
  return normalizeText(Buffer.from(match[2]!, "hex").toString("utf8"));
}

interface RsaParts {
  readonly kty: string;
  readonly n: string;
  readonly p: string;
  readonly q: string;
  readonly dp: string;
  readonly dq: string;
  readonly qi: string;
}

const RSA_BYTES_MAX = 1024;

function toBigInt(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString("hex") || "0"}`);
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let factor = base % modulus;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * factor) % modulus;
    factor = (factor * factor) % modulus;
  }
  return result;
}

/** cipher^d mod n by the Chinese remainder theorem. One of the two runtimes has no PKCS #1 v1.5 decryption of its own. */
function rsaPower(parts: RsaParts, cipher: bigint): bigint {
  const number = (text: string) => toBigInt(Buffer.from(text, "base64url"));
  const p = number(parts.p);
  const q = number(parts.q);
  const m1 = power(cipher, number(parts.dp), p);
  const m2 = power(cipher, number(parts.dq), q);
  const h = ((((m1 - m2) * number(parts.qi)) % p) + p) % p;
  return m2 + h * q;
}

const NAMESPACES: Record<string, string> = {
  dns: "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
  url: "6ba7b811-9dad-11d1-80b4-00c04fd430c8",
  oid: "6ba7b812-9dad-11d1-80b4-00c04fd430c8",
  x500: "6ba7b814-9dad-11d1-80b4-00c04fd430c8",
};

function formatUuid(bytes: Uint8Array, version: number): string {
  const copy = Buffer.from(bytes.subarray(0, 16));
  copy[6] = (copy[6]! & 0x0f) | (version << 4);
  copy[8] = (copy[8]! & 0x3f) | 0x80;
  const hex = copy.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function uuidV5(namespace: string, name: string): string {
  const known = Object.hasOwn(NAMESPACES, namespace) ? NAMESPACES[namespace]! : namespace;
  const hex = known.replace(/^urn:uuid:/i, "").replace(/^\{(.*)\}$/, "$1").replaceAll("-", "");
  if (!/^[0-9a-fA-F]{32}$/.test(hex)) {
    throw new FunctionError(
      `uuidv5() doesn't support namespace ${namespace}: use dns, url, oid, x500 or a UUID`,
    );
  }
  return formatUuid(createHash("sha1").update(Buffer.from(hex, "hex")).update(name, "utf8").digest(), 5);
}

export const CRYPTO_FUNCTIONS: Record<string, FunctionSpec> = {
  bcrypt: {
    doc: "A password's bcrypt hash, with a cost from 4 to 12 (10).",
    parameters: [str],
    rest: parameter("cost", "number"),
    call: (args, { random, budget }) => bcrypt(args, random, (steps) => budget.steps(steps)),
  },
  md5: hash("md5", "MD5 hash, hexadecimal."),
  rsadecrypt: {
    doc: "Decrypts a base64 text with an RSA private key (PEM, PKCS #1 v1.5).",
    parameters: [parameter("ciphertext", "string"), parameter("privatekey", "string")],
    call: ([ciphertext, key]) => rsaDecrypt(ciphertext as string, key as string),
  },
  sha1: hash("sha1", "SHA-1 hash, hexadecimal."),
  sha256: hash("sha256", "SHA-256 hash, hexadecimal."),
  sha512: hash("sha512", "SHA-512 hash, hexadecimal."),
  uuidv4: { doc: "A random UUID.", parameters: [], call: (_args, { random }) => formatUuid(random(16), 4) },
  uuidv5: {
    doc: "The UUID of a name in a namespace: dns, url, oid, x500 or a UUID.",
    parameters: [parameter("namespace", "string"), parameter("name", "string")],
    call: ([namespace, name]) => uuidV5(namespace as string, name as string),
  },
};
