// Functions on numbers: abs, ceil, floor, log, max, min, parseint, pow, signum.
import { log, power } from "./float_math.ts";
import { ArgumentError, FunctionError, type FunctionSpec, parameter } from "./function_types.ts";
import { HclNumber } from "./number.ts";
import type { Value } from "./value.ts";

const num = parameter("num", "number");
const numbers = parameter("numbers", "number");

function number(value: Value | undefined): HclNumber {
  return value as HclNumber;
}

function pick(args: readonly Value[], sign: number): Value {
  if (args.length === 0) throw new FunctionError("must pass at least one number");
  return args.reduce((best, arg) => number(arg).compare(number(best)) * sign > 0 ? arg : best);
}

const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const PARSE_LENGTH_MAX = 2_000;

function parseInteger(text: string, base: number): bigint | undefined {
  const match = /^([+-]?)([0-9a-zA-Z]+)$/.exec(text);
  if (!match || text.length > PARSE_LENGTH_MAX) return undefined;
  let value = 0n;
  for (const char of match[2]!) {
    const digit = DIGITS.indexOf(base <= 36 ? char.toLowerCase() : char);
    if (digit < 0 || digit >= base) return undefined;
    value = value * BigInt(base) + BigInt(digit);
  }
  return match[1] === "-" ? -value : value;
}

export const NUMERIC_FUNCTIONS: Record<string, FunctionSpec> = {
  abs: { doc: "Absolute value.", parameters: [num], call: ([x]) => number(x).abs() },
  ceil: { doc: "Rounds up to a whole number.", parameters: [num], call: ([x]) => number(x).ceil() },
  floor: { doc: "Rounds down to a whole number.", parameters: [num], call: ([x]) => number(x).floor() },
  log: {
    doc: "Logarithm of a number to a base.",
    parameters: [num, parameter("base", "number")],
    call: ([x, base]) => HclNumber.fromDouble(log(number(x).toDouble()) / log(number(base).toDouble())),
  },
  max: { doc: "The greatest of the numbers.", parameters: [], rest: numbers, call: (args) => pick(args, 1) },
  min: { doc: "The least of the numbers.", parameters: [], rest: numbers, call: (args) => pick(args, -1) },
  parseint: {
    doc: "Reads a text as a whole number of a base from 2 to 62.",
    parameters: [parameter("number", "dynamic"), parameter("base", "number")],
    call([text, baseNumber]) {
      if (typeof text !== "string") {
        throw new ArgumentError(0, "first argument must be a string, not a number");
      }
      const base = number(baseNumber).small;
      if (base === undefined || base < 2 || base > 62) {
        throw new ArgumentError(1, "base must be a whole number between 2 and 62 inclusive");
      }
      const value = parseInteger(text, base);
      if (value === undefined) throw new ArgumentError(0, `cannot parse "${text}" as a base ${base} integer`);
      return HclNumber.fromBigInt(value);
    },
  },
  pow: {
    doc: "A number raised to a power.",
    parameters: [num, parameter("power", "number")],
    call: ([x, exponent]) => HclNumber.fromDouble(power(number(x).toDouble(), number(exponent).toDouble())),
  },
  signum: {
    doc: "-1, 0 or 1, the sign of a number.",
    parameters: [num],
    call([x]) {
      const whole = number(x).isInteger ? number(x).toBigInt() : undefined;
      if (whole === undefined || BigInt.asIntN(64, whole) !== whole) {
        throw new FunctionError(
          "value must be a whole number, between -9223372036854775808 and 9223372036854775807",
        );
      }
      return HclNumber.count(number(x).sign);
    },
  },
};
