// Functions on IP address ranges: cidrhost, cidrnetmask, cidrsubnet, cidrsubnets. Addresses are big integers.
import { ArgumentError, FunctionError, type FunctionSpec, parameter } from "./function_types.ts";
import { wholeNumber } from "./functions_collection.ts";
import type { HclNumber } from "./number.ts";
import { listOf, type Value } from "./value.ts";

interface Range {
  /** 32 or 128. */
  readonly bits: 32 | 128;
  readonly prefix: number;
  readonly address: bigint;
}

const prefixParameter = parameter("prefix", "string");

function parseIPv4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = (value << 8n) | BigInt(part);
  }
  return value;
}

function parseIPv6(text: string): bigint | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const groups = (half: string): bigint[] | undefined => {
    if (half === "") return [];
    const parts = half.split(":");
    const out: bigint[] = [];
    for (const [i, part] of parts.entries()) {
      const v4 = i === parts.length - 1 && part.includes(".") ? parseIPv4(part) : undefined;
      if (v4 !== undefined) out.push(v4 >> 16n, v4 & 0xffffn);
      else if (/^[0-9a-fA-F]{1,4}$/.test(part)) out.push(BigInt(`0x${part}`));
      else return undefined;
    }
    return out;
  };
  const head = groups(halves[0]!);
  const tail = halves.length === 2 ? groups(halves[1]!) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...new Array<bigint>(missing).fill(0n), ...tail];
  return all.reduce((value, group) => (value << 16n) | group, 0n);
}

function parseRange(text: string): Range {
  const invalid = new FunctionError(`invalid CIDR expression: invalid CIDR address: ${text}`);
  const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  if (!match) throw invalid;
  const v4 = parseIPv4(match[1]!);
  const address = v4 ?? parseIPv6(match[1]!);
  const bits = v4 === undefined ? 128 : 32;
  const prefix = Number(match[2]);
  if (address === undefined || prefix > bits) throw invalid;
  const host = BigInt(bits - prefix);
  return { bits, prefix, address: (address >> host) << host };
}

function addressText(address: bigint, bits: 32 | 128): string {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 0xffn).join(".");
  const groups = Array.from(
    { length: 8 },
    (_, i) => ((address >> BigInt(112 - i * 16)) & 0xffffn).toString(16),
  );
  // The longest run of zeros, at least two, becomes "::".
  let best = [0, 0] as [number, number];
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === "0") end++;
    if (end - start > best[1] - best[0] && end - start >= 2) best = [start, end];
  }
  if (best[1] === 0) return groups.join(":");
  return `${groups.slice(0, best[0]).join(":")}::${groups.slice(best[1]).join(":")}`;
}

function rangeText(range: Range): string {
  return `${addressText(range.address, range.bits)}/${range.prefix}`;
}

function integer(value: Value | undefined, index: number): bigint {
  const number = value as HclNumber;
  if (!number.isInteger) throw new FunctionError(`argument ${index + 1} must be a whole number`);
  return number.toBigInt();
}

function host([text, numberValue]: readonly Value[]): string {
  const range = parseRange(text as string);
  const number = integer(numberValue, 1);
  const count = 1n << BigInt(range.bits - range.prefix);
  const size = number < 0n ? -number : number + 1n;
  if (size > count) {
    throw new FunctionError(`prefix of ${range.prefix} does not accommodate a host numbered ${number}`);
  }
  return addressText(range.address + (number < 0n ? count + number : number), range.bits);
}

const EXTENSION_MAX = 32;

function extend(range: Range, newBits: number): number {
  if (newBits > EXTENSION_MAX) {
    throw new FunctionError(`may not extend prefix by more than ${EXTENSION_MAX} bits`);
  }
  const prefix = range.prefix + newBits;
  if (prefix > range.bits) {
    throw new FunctionError(`insufficient address space to extend prefix of ${range.prefix} by ${newBits}`);
  }
  return prefix;
}

function subnet([text, bitsValue, numberValue]: readonly Value[]): string {
  const range = parseRange(text as string);
  const newBits = wholeNumber(bitsValue, "invalid newbits", 1);
  const number = integer(numberValue, 2);
  if (newBits < 0) throw new ArgumentError(1, "the number of new bits must not be negative");
  const prefix = extend(range, newBits);
  if (number < 0n || number >= 1n << BigInt(newBits)) {
    throw new FunctionError(
      `prefix extension of ${newBits} does not accommodate a subnet numbered ${number}`,
    );
  }
  return rangeText({ ...range, prefix, address: range.address | (number << BigInt(range.bits - prefix)) });
}

function subnets([text, ...lengths]: readonly Value[]): Value {
  const range = parseRange(text as string);
  const end = range.address + (1n << BigInt(range.bits - range.prefix));
  let at = range.address;
  const out: string[] = [];
  lengths.forEach((value, i) => {
    const newBits = wholeNumber(value, "invalid newbits", i + 1);
    if (newBits < 1) throw new ArgumentError(i + 1, "must extend prefix by at least one bit");
    if (newBits > EXTENSION_MAX) throw new ArgumentError(i + 1, "may not extend prefix by more than 32 bits");
    const prefix = range.prefix + newBits;
    if (prefix > range.bits) {
      const kind = range.bits === 32 ? "IPv4" : "IPv6";
      throw new ArgumentError(
        i + 1,
        `would extend prefix to ${prefix} bits, which is too long for an ${kind} address`,
      );
    }
    const size = 1n << BigInt(range.bits - prefix);
    at = ((at + size - 1n) / size) * size;
    if (at + size > end) {
      throw new ArgumentError(
        i + 1,
        `not enough remaining address space for a subnet with a prefix of ${prefix} bits`,
      );
    }
    out.push(rangeText({ bits: range.bits, prefix, address: at }));
    at += size;
  });
  return listOf("string", out);
}

export const NETWORK_FUNCTIONS: Record<string, FunctionSpec> = {
  cidrhost: {
    doc: "The address of a host number in a range; negative numbers count from its end.",
    parameters: [prefixParameter, parameter("hostnum", "number")],
    call: host,
  },
  cidrnetmask: {
    doc: "The netmask of a range.",
    parameters: [prefixParameter],
    call([text]) {
      const { bits, prefix } = parseRange(text as string);
      const hostBits = BigInt(bits - prefix);
      return addressText((((1n << BigInt(bits)) - 1n) >> hostBits) << hostBits, bits);
    },
  },
  cidrsubnet: {
    doc: "A subnet of a range: its prefix longer by some bits, with a number.",
    parameters: [prefixParameter, parameter("newbits", "number"), parameter("netnum", "number")],
    call: subnet,
  },
  cidrsubnets: {
    doc: "Consecutive subnets of a range, each longer by some bits.",
    parameters: [prefixParameter],
    rest: parameter("newbits", "number"),
    call: subnets,
  },
};
