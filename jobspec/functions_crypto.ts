// Hashes, bcrypt, RSA decryption and UUIDs. Only uuidv4 and bcrypt are random, from the context's source.
import { encodeBase64, hashSync } from "bcryptjs";
import { constants, createHash, createPrivateKey, privateDecrypt } from "node:crypto";
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
  let plain: Buffer;
  try {
    const privateKey = createPrivateKey(key);
    plain = privateDecrypt(
      { key: privateKey, padding: constants.RSA_PKCS1_PADDING },
      Buffer.from(ciphertext, "base64"),
    );
  } catch (error) {
    // Whatever the library says, the cause is the key or the text; its message may not tell them apart.
    throw new FunctionError(`failed to decrypt: ${(error as Error).message}`);
  }
  return normalizeText(plain.toString("utf8"));
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
