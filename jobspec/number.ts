// Numbers of the job language: binary floating point of arbitrary precision (512 bits for literals), as the
// reference has them, so that 0.1 + 0.2 is 0.3 and 1/3 prints 155 digits. Never loses precision silently except by
// the rounding (nearest, ties to even) that the precision demands.
// Invariants: a finite value is mantissa × 2^exponent with an odd mantissa (or zero, exponent 0); `small` is set
// exactly when the value is a safe integer; the size of mantissa and exponent is bounded, so no operation is slow.

/** Precision of literals and of numbers made from text. */
const PRECISION_LITERAL = 512;
/** Precision of numbers that come from counting (length, index, for keys). */
const PRECISION_INTEGER = 64;
/** Precision of numbers that went through a double (pow, log). */
const PRECISION_DOUBLE = 53;
/** Whole numbers can come with more bits than that (parseint of a long text), but not without end. */
const MANTISSA_BITS_MAX = 65_536;
const EXPONENT_MAX = 40_000;
const DECIMAL_EXPONENT_MAX = 10_000;

/** A result that no number can hold, or an operation without a result (0/0). `message` says which. */
export class NumberError extends Error {
  override readonly name = "NumberError";
}

function bitLength(value: bigint): number {
  const magnitude = value < 0n ? -value : value;
  if (magnitude === 0n) return 0;
  const hex = magnitude.toString(16);
  return (hex.length - 1) * 4 + (32 - Math.clz32(parseInt(hex[0]!, 16)));
}

function trailingZeros(value: bigint): number {
  if (value === 0n) return 0;
  let zeros = 0;
  let rest = value < 0n ? -value : value;
  while (BigInt.asUintN(64, rest) === 0n) {
    rest >>= 64n;
    zeros += 64;
  }
  let word = BigInt.asUintN(64, rest);
  while ((word & 1n) === 0n) {
    word >>= 1n;
    zeros++;
  }
  return zeros;
}

/** Rounds |value| × 2^exponent to `precision` bits; `sticky` says that non-zero bits were already cut off below. */
function round(value: bigint, exponent: number, precision: number, sticky = false): [bigint, number] {
  const negative = value < 0n;
  let mantissa = negative ? -value : value;
  const excess = bitLength(mantissa) - precision;
  if (excess > 0) {
    const shift = BigInt(excess);
    const cut = mantissa & ((1n << shift) - 1n);
    const half = 1n << (shift - 1n);
    mantissa >>= shift;
    if (cut > half || (cut === half && (sticky || (mantissa & 1n) === 1n))) mantissa += 1n;
    exponent += excess;
  }
  return [negative ? -mantissa : mantissa, exponent];
}

export class HclNumber {
  /** The value, when it is a safe integer. */
  readonly small: number | undefined;
  #mantissa: bigint | undefined;
  #exponent: number;

  private constructor(
    small: number | undefined,
    mantissa: bigint | undefined,
    exponent: number,
    readonly precision: number,
    /** 0 for finite values, else the sign of the infinity. */
    readonly infinity: -1 | 0 | 1,
  ) {
    this.small = small;
    this.#mantissa = mantissa;
    this.#exponent = exponent;
  }

  /** A safe integer as a literal has it. */
  static of(value: number): HclNumber {
    return new HclNumber(value, undefined, 0, PRECISION_LITERAL, 0);
  }

  /** A safe integer that came from counting something. */
  static count(value: number): HclNumber {
    return new HclNumber(value === 0 ? 0 : value, undefined, 0, PRECISION_INTEGER, 0);
  }

  static fromBigInt(value: bigint): HclNumber {
    return HclNumber.#make(value, 0, Math.max(PRECISION_INTEGER, bitLength(value)));
  }

  /** Any double; NaN is a NumberError. */
  static fromDouble(value: number): HclNumber {
    if (Number.isNaN(value)) throw new NumberError("the result is not a number");
    if (!Number.isFinite(value)) return value > 0 ? HclNumber.positiveInfinity : HclNumber.negativeInfinity;
    if (Number.isSafeInteger(value)) return new HclNumber(value, undefined, 0, PRECISION_DOUBLE, 0);
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    const bits = view.getBigUint64(0);
    const biased = Number((bits >> 52n) & 0x7ffn);
    const fraction = bits & 0xfffffffffffffn;
    const mantissa = biased === 0 ? fraction : fraction | (1n << 52n);
    const exponent = (biased === 0 ? 1 : biased) - 1075;
    return HclNumber.#make(value < 0 ? -mantissa : mantissa, exponent, PRECISION_DOUBLE);
  }

  static readonly positiveInfinity = new HclNumber(undefined, 0n, 0, PRECISION_LITERAL, 1);
  static readonly negativeInfinity = new HclNumber(undefined, 0n, 0, PRECISION_LITERAL, -1);
  static readonly zero = HclNumber.of(0);
  static readonly one = HclNumber.of(1);

  /** The number a decimal text means, or undefined when it is none. */
  static parse(text: string): HclNumber | undefined {
    if (/^-?\d{1,15}$/.test(text)) return HclNumber.of(Number(text));
    if (text.length > DECIMAL_EXPONENT_MAX + 20) {
      if (!/^[-+.\deE]+$/.test(text)) return undefined;
      throw new NumberError(`the number has more than ${DECIMAL_EXPONENT_MAX} digits`);
    }
    const match = /^([+-]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))(?:[eE]([+-]?\d+))?$/.exec(text);
    if (!match) {
      if (/^\+?[iI]nf$/.test(text)) return HclNumber.positiveInfinity;
      return /^-[iI]nf$/.test(text) ? HclNumber.negativeInfinity : undefined;
    }
    const fraction = match[3] ?? match[4] ?? "";
    const digits = ((match[2] ?? "") + fraction).replace(/^0+(?=\d)/, "");
    const exponent = Number(match[5] ?? "0") - fraction.length;
    if (digits.length > DECIMAL_EXPONENT_MAX || Math.abs(exponent) > DECIMAL_EXPONENT_MAX) {
      throw new NumberError(`the number has more than ${DECIMAL_EXPONENT_MAX} digits`);
    }
    const value = BigInt(digits) * (match[1] === "-" ? -1n : 1n);
    if (exponent >= 0) return HclNumber.#make(value * 10n ** BigInt(exponent), 0, PRECISION_LITERAL);
    return HclNumber.#quotient(value, 10n ** BigInt(-exponent), 0, PRECISION_LITERAL);
  }

  static #make(mantissa: bigint, exponent: number, precision: number, sticky = false): HclNumber {
    if (precision > MANTISSA_BITS_MAX) throw new NumberError("the number has too many digits");
    [mantissa, exponent] = round(mantissa, exponent, precision, sticky);
    if (mantissa === 0n) return new HclNumber(0, undefined, 0, precision, 0);
    const zeros = trailingZeros(mantissa);
    mantissa >>= BigInt(zeros);
    exponent += zeros;
    if (Math.abs(exponent) > EXPONENT_MAX) throw new NumberError("the number is too large or too small");
    if (exponent >= 0 && bitLength(mantissa) + exponent <= 53) {
      return new HclNumber(Number(mantissa << BigInt(exponent)), undefined, 0, precision, 0);
    }
    return new HclNumber(undefined, mantissa, exponent, precision, 0);
  }

  /** dividend / divisor × 2^exponent, correctly rounded. */
  static #quotient(dividend: bigint, divisor: bigint, exponent: number, precision: number): HclNumber {
    const shift = Math.max(0, precision + 2 - (bitLength(dividend) - bitLength(divisor)));
    const scaled = dividend << BigInt(shift);
    const quotient = scaled / divisor;
    const inexact = quotient * divisor !== scaled;
    return HclNumber.#make(quotient, exponent - shift, precision, inexact);
  }

  /** As in the reference, zero has a sign (0 * -1 prints "-0"), which nothing but printing sees. */
  static #zero(negative: boolean, precision: number): HclNumber {
    return new HclNumber(negative ? -0 : 0, undefined, 0, precision, 0);
  }

  get isNegative(): boolean {
    return Object.is(this.small, -0) || this.sign < 0;
  }

  /** [mantissa, exponent] of a finite value. */
  #parts(): [bigint, number] {
    if (this.#mantissa === undefined) this.#mantissa = BigInt(this.small!);
    return [this.#mantissa, this.#exponent];
  }

  get sign(): -1 | 0 | 1 {
    if (this.infinity !== 0) return this.infinity;
    if (this.small !== undefined) return this.small < 0 ? -1 : this.small > 0 ? 1 : 0;
    return this.#parts()[0] < 0n ? -1 : 1;
  }

  get isInteger(): boolean {
    return this.small !== undefined || (this.infinity === 0 && this.#exponent >= 0);
  }

  /** The exact integer value; only for integers. */
  toBigInt(): bigint {
    const [mantissa, exponent] = this.#parts();
    return mantissa << BigInt(exponent);
  }

  /** Towards zero; undefined for infinities. */
  truncated(): bigint | undefined {
    if (this.infinity !== 0) return undefined;
    const [mantissa, exponent] = this.#parts();
    if (exponent >= 0) return mantissa << BigInt(exponent);
    const shift = BigInt(-exponent);
    return mantissa < 0n ? -((-mantissa) >> shift) : mantissa >> shift;
  }

  /** The nearest double. */
  toDouble(): number {
    if (this.small !== undefined) return this.small;
    if (this.infinity !== 0) return this.infinity * Infinity;
    const [mantissa, exponent] = this.#parts();
    const [rounded, shifted] = round(mantissa, exponent, PRECISION_DOUBLE);
    const half = Math.trunc(shifted / 2);
    return Number(rounded) * 2 ** half * 2 ** (shifted - half);
  }

  negate(): HclNumber {
    if (this.infinity !== 0) {
      return this.infinity > 0 ? HclNumber.negativeInfinity : HclNumber.positiveInfinity;
    }
    if (this.small !== undefined) {
      return new HclNumber(-this.small, undefined, 0, this.precision, 0);
    }
    const [mantissa, exponent] = this.#parts();
    return new HclNumber(undefined, -mantissa, exponent, this.precision, 0);
  }

  abs(): HclNumber {
    return this.sign < 0 ? this.negate() : this;
  }

  add(other: HclNumber): HclNumber {
    const precision = Math.max(this.precision, other.precision);
    if (this.small !== undefined && other.small !== undefined) {
      const sum = this.small + other.small;
      if (Number.isSafeInteger(sum)) return new HclNumber(sum, undefined, 0, precision, 0);
    }
    if (this.infinity !== 0 || other.infinity !== 0) {
      if (this.infinity + other.infinity === 0) {
        throw new NumberError("the sum of opposite infinities has no value");
      }
      return this.infinity !== 0 ? this : other;
    }
    const [a, x] = this.#parts();
    const [b, y] = other.#parts();
    const low = Math.min(x, y);
    return HclNumber.#make((a << BigInt(x - low)) + (b << BigInt(y - low)), low, precision);
  }

  subtract(other: HclNumber): HclNumber {
    return this.add(other.negate());
  }

  multiply(other: HclNumber): HclNumber {
    if (this.infinity !== 0 || other.infinity !== 0) {
      const sign = this.sign * other.sign;
      if (sign === 0) throw new NumberError("zero times infinity has no value");
      return sign > 0 ? HclNumber.positiveInfinity : HclNumber.negativeInfinity;
    }
    const larger = Math.max(this.precision, other.precision);
    const [a, x] = this.#parts();
    const [b, y] = other.#parts();
    const product = a * b;
    if (product === 0n) return HclNumber.#zero(this.isNegative !== other.isNegative, larger);
    // The reference keeps up to 512 bits of a product, also when its operands had fewer.
    const kept = Math.max(
      larger,
      Math.min(bitLength(product >> BigInt(trailingZeros(product))), PRECISION_LITERAL),
    );
    return HclNumber.#make(product, x + y, kept);
  }

  divide(other: HclNumber): HclNumber {
    if (this.infinity !== 0 && other.infinity !== 0) {
      throw new NumberError("infinity cannot be divided by infinity");
    }
    if (other.infinity !== 0) return HclNumber.zero;
    if (this.infinity !== 0 || other.sign === 0) {
      if (this.sign === 0) throw new NumberError("zero cannot be divided by zero");
      return this.sign * (other.sign || 1) > 0 ? HclNumber.positiveInfinity : HclNumber.negativeInfinity;
    }
    const precision = Math.max(this.precision, other.precision);
    const [a, x] = this.#parts();
    const [b, y] = other.#parts();
    if (a === 0n) return HclNumber.#zero(this.isNegative !== other.isNegative, precision);
    const sign = b < 0n ? -1n : 1n;
    return HclNumber.#quotient(a * sign, b * sign, x - y, precision);
  }

  /** The remainder of truncated division, with the sign of the dividend. */
  modulo(other: HclNumber): HclNumber {
    if (this.infinity !== 0 || other.infinity !== 0) return this.multiply(other);
    if (other.sign === 0) return this;
    const whole = this.divide(other).truncated()!;
    const [mantissa, exponent] = round(whole, 0, this.precision);
    const multiple = other.multiply(HclNumber.#make(mantissa, exponent, this.precision));
    return HclNumber.#round(this.subtract(multiple), this.precision);
  }

  static #round(value: HclNumber, precision: number): HclNumber {
    const [mantissa, exponent] = value.#parts();
    return HclNumber.#make(mantissa, exponent, precision);
  }

  floor(): HclNumber {
    return this.#toward(-1);
  }

  ceil(): HclNumber {
    return this.#toward(1);
  }

  #toward(direction: -1 | 1): HclNumber {
    if (this.isInteger || this.infinity !== 0) return this;
    const whole = this.truncated()!;
    return HclNumber.fromBigInt(this.sign === direction ? whole + BigInt(direction) : whole);
  }

  compare(other: HclNumber): number {
    if (this.small !== undefined && other.small !== undefined) return Math.sign(this.small - other.small);
    if (this.infinity !== 0 || other.infinity !== 0) return Math.sign(this.infinity - other.infinity);
    if (this.sign !== other.sign) return Math.sign(this.sign - other.sign);
    const [a, x] = this.#parts();
    const [b, y] = other.#parts();
    const low = Math.min(x, y);
    const left = a << BigInt(x - low);
    const right = b << BigInt(y - low);
    return left < right ? -1 : left > right ? 1 : 0;
  }

  equals(other: HclNumber): boolean {
    return this.compare(other) === 0;
  }

  /** The shortest decimal text that reads back as the same value at this precision; never an exponent. */
  toString(): string {
    if (this.small !== undefined) return Object.is(this.small, -0) ? "-0" : String(this.small);
    if (this.infinity !== 0) return this.infinity > 0 ? "+Inf" : "-Inf";
    const [digits, point] = this.shortest();
    const sign = this.sign < 0 ? "-" : "";
    if (point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`;
    if (digits.length <= point) return sign + digits + "0".repeat(point - digits.length);
    return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
  }

  /** Shortest significant digits of |value| and the position of the decimal point (0.digits × 10^point). */
  shortest(): [string, number] {
    if (this.sign === 0) return ["0", 1];
    let [mantissa, exponent] = this.#parts();
    if (mantissa < 0n) mantissa = -mantissa;
    // One extra bit, so that the neighbours at half a unit are integers too.
    const shift = this.precision + 1 - bitLength(mantissa);
    mantissa <<= BigInt(shift);
    exponent -= shift;
    const inclusive = (mantissa & 2n) === 0n;
    const scale = exponent >= 0 ? 1n << BigInt(exponent) : 5n ** BigInt(-exponent);
    const upper = ((mantissa + 1n) * scale).toString();
    const middle = (mantissa * scale).toString().padStart(upper.length, "0");
    const lower = ((mantissa - 1n) * scale).toString().padStart(upper.length, "0");
    const point = upper.length + Math.min(exponent, 0);
    const [digits, carry] = shortestBetween({ lower, middle, upper, inclusive });
    const leading = /^0*/.exec(digits)![0].length;
    return [digits.slice(leading).replace(/0+$/, ""), point + carry - leading];
  }

  /** Exact digits rounded (half to even) to `places` after the decimal point. */
  toFixed(places: number): string {
    if (this.infinity !== 0) return this.toString();
    const [mantissa, exponent] = this.#parts();
    const magnitude = mantissa < 0n ? -mantissa : mantissa;
    let scaled = magnitude * 10n ** BigInt(places);
    if (exponent >= 0) scaled <<= BigInt(exponent);
    else scaled = roundShift(scaled, -exponent);
    const digits = scaled.toString().padStart(places + 1, "0");
    const sign = mantissa < 0n ? "-" : "";
    return places === 0 ? sign + digits : `${sign}${digits.slice(0, -places)}.${digits.slice(-places)}`;
  }

  /** `count` significant digits (rounded half to even) and the decimal point as in `shortest`. */
  significant(count: number): [string, number] {
    if (this.sign === 0) return ["0".repeat(count), 1];
    const [raw, exponent] = this.#parts();
    const mantissa = raw < 0n ? -raw : raw;
    const exact = (exponent >= 0 ? mantissa << BigInt(exponent) : mantissa * 5n ** BigInt(-exponent))
      .toString();
    const point = exact.length + Math.min(exponent, 0);
    if (exact.length <= count) return [exact.padEnd(count, "0"), point];
    const kept = BigInt(exact.slice(0, count));
    const rest = exact.slice(count);
    const half = rest[0]! > "5" || (rest[0] === "5" && (/[1-9]/.test(rest.slice(1)) || kept % 2n === 1n));
    const rounded = (half ? kept + 1n : kept).toString();
    return rounded.length > count ? [rounded.slice(0, count), point + 1] : [rounded, point];
  }
}

function roundShift(value: bigint, bits: number): bigint {
  const shift = BigInt(bits);
  const quotient = value >> shift;
  const cut = value - (quotient << shift);
  const half = 1n << (shift - 1n);
  return cut > half || (cut === half && (quotient & 1n) === 1n) ? quotient + 1n : quotient;
}

interface Interval {
  readonly lower: string;
  readonly middle: string;
  readonly upper: string;
  readonly inclusive: boolean;
}

/** The shortest prefix of `middle`, rounded down or up, that lies between its neighbours; carry 1 if it grew a digit. */
function shortestBetween({ lower, middle, upper, inclusive }: Interval): [string, number] {
  const lowerEnd = lower.replace(/0+$/, "").length;
  const upperEnd = upper.replace(/0+$/, "").length;
  for (let i = 0; i < middle.length; i++) {
    const digit = middle[i]!;
    const low = i < lowerEnd ? lower[i]! : "0";
    const high = i < upperEnd ? upper[i]! : "0";
    const down = low !== digit || (inclusive && i + 1 === lowerEnd);
    const up = digit !== high &&
      (inclusive || digit.charCodeAt(0) + 1 < high.charCodeAt(0) || i + 1 < upperEnd);
    if (!down && !up) continue;
    const kept = middle.slice(0, i + 1);
    const rest = middle.slice(i + 1);
    const above = rest[0] !== undefined &&
      (rest[0] > "5" || (rest[0] === "5" && (/[1-9]/.test(rest.slice(1)) || Number(digit) % 2 === 1)));
    if (up && (!down || above)) {
      const raised = (BigInt(kept) + 1n).toString().padStart(kept.length, "0");
      return [raised, raised.length - kept.length];
    }
    return [kept, 0];
  }
  return [middle, 0];
}
