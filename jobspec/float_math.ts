// Logarithm and power of doubles, computed the same way on every runtime and to the same last bit as the reference does:
// engines differ from it (and from each other) in that bit, and a job's JSON shows it. The methods are the classic ones:
// a polynomial for log(1+f) after splitting off the exponent; repeated squaring with the exponent kept apart for powers.
// Pure. NaN where the result is not a real number.

const LN2_HIGH = 6.93147180369123816490e-01;
const LN2_LOW = 1.90821492927058770002e-10;
const LOG2_E = 1.44269504088896338700;
/** Coefficients of the minimax polynomial of log(1+f), from s². */
const LOG = [
  6.666666666666735130e-01,
  3.999999999940941908e-01,
  2.857142874366239149e-01,
  2.222219843214978396e-01,
  1.818357216161805012e-01,
  1.531383769920937332e-01,
  1.479819860511658591e-01,
] as const;
/** ln 2 in two parts, so that multiples of the first are exact. */
const EXP_LN2_HIGH = 0.69314718055966295651160180568695068359375;
const EXP_LN2_LOW = 0.28235290563031577122588448175013436025525412068e-12;
/** Of the Taylor series of (exp(x) - 1) / x, the highest power first. */
const EXP = [1 / 40320, 1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1] as const;

const bits = new DataView(new ArrayBuffer(8));

/** x = fraction · 2^exponent with ½ ≤ |fraction| < 1. x is finite and not zero. */
function split(x: number): [fraction: number, exponent: number] {
  let shift = 0;
  if (Math.abs(x) < 2 ** -1022) {
    x *= 2 ** 52;
    shift = -52;
  }
  bits.setFloat64(0, x);
  const high = bits.getUint32(0);
  const exponent = ((high >>> 20) & 0x7ff) - 1022;
  bits.setUint32(0, ((high & ~(0x7ff << 20)) | (1022 << 20)) >>> 0);
  return [bits.getFloat64(0), exponent + shift];
}

/** fraction · 2^exponent, in steps that overflow or underflow only when the result does. */
function scale(fraction: number, exponent: number): number {
  let value = fraction;
  let left = Math.max(-2200, Math.min(2200, exponent));
  for (; left > 1000; left -= 1000) value *= 2 ** 1000;
  for (; left < -1000; left += 1000) value *= 2 ** -1000;
  return value * 2 ** left;
}

/** Natural logarithm. */
export function log(x: number): number {
  if (Number.isNaN(x) || x === Infinity) return x;
  if (x < 0) return NaN;
  if (x === 0) return -Infinity;
  let [fraction, k] = split(x);
  if (fraction < Math.SQRT1_2) {
    fraction *= 2;
    k--;
  }
  const f = fraction - 1;
  const s = f / (2 + f);
  const s2 = s * s;
  const s4 = s2 * s2;
  const t1 = s2 * (LOG[0] + s4 * (LOG[2] + s4 * (LOG[4] + s4 * LOG[6])));
  const t2 = s4 * (LOG[1] + s4 * (LOG[3] + s4 * LOG[5]));
  const half = 0.5 * f * f;
  return k * LN2_HIGH - ((half - (s * (half + (t1 + t2)) + k * LN2_LOW)) - f);
}

/** a · b + c, rounded once. The numbers are of ordinary size. */
function multiplyAdd(a: number, b: number, c: number): number {
  const [x, xExponent] = integerParts(a);
  const [y, yExponent] = integerParts(b);
  const [z, zExponent] = integerParts(c);
  const exponent = Math.min(xExponent + yExponent, zExponent);
  const sum = ((x * y) << BigInt(xExponent + yExponent - exponent)) + (z << BigInt(zExponent - exponent));
  return scale(Number(sum), exponent);
}

/** x = mantissa · 2^exponent. */
function integerParts(x: number): [mantissa: bigint, exponent: number] {
  if (x === 0) return [0n, 0];
  const [fraction, exponent] = split(x);
  return [BigInt(fraction * 2 ** 53), exponent - 53];
}

/** e to the power of x, |x| ≤ 710: a series near zero, squared four times. */
function exp(x: number): number {
  const k = roundHalfEven(LOG2_E * x);
  let r = multiplyAdd(-k, EXP_LN2_HIGH, x);
  r = multiplyAdd(-k, EXP_LN2_LOW, r) * 0.0625;
  let series: number = EXP[0];
  for (const coefficient of EXP.slice(1)) series = multiplyAdd(series, r, coefficient);
  let grown = r * series;
  for (let i = 0; i < 3; i++) grown *= grown + 2;
  return scale(multiplyAdd(grown, grown + 2, 1), k);
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** x to the power of y. */
export function power(x: number, y: number): number {
  if (y === 0 || x === 1) return 1;
  if (y === 1) return x;
  if (y === 0.5) return Math.sqrt(x);
  if (y === -0.5) return 1 / Math.sqrt(x);
  // Zeros, infinities and NaN are exact in every engine.
  if (x === 0 || !Number.isFinite(x) || !Number.isFinite(y) || Math.abs(y) >= 2 ** 63) return Math.pow(x, y);
  let whole = Math.trunc(Math.abs(y));
  let rest = Math.abs(y) - whole;
  if (rest !== 0 && x < 0) return NaN;
  let result = 1;
  if (rest !== 0) {
    if (rest > 0.5) {
      rest--;
      whole++;
    }
    result = exp(rest * log(x));
  }
  let exponent = 0;
  let [square, squareExponent] = split(x);
  for (let left = BigInt(whole); left > 0n; left >>= 1n) {
    if (Math.abs(squareExponent) > 4096) {
      exponent += squareExponent;
      break;
    }
    if (left & 1n) {
      result *= square;
      exponent += squareExponent;
    }
    square *= square;
    squareExponent *= 2;
    if (square < 0.5) {
      square += square;
      squareExponent--;
    }
  }
  if (y < 0) {
    result = 1 / result;
    exponent = -exponent;
  }
  return scale(result, exponent);
}
