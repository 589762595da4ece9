// How configurations are laid over each other: file over file, datacenter block over its file, flags over all.
import type { RawConfig } from "./config.ts";

/** Later over earlier: scalars and lists replace, objects are merged. */
export function mergeRaw(base: RawConfig, over: RawConfig): RawConfig {
  const merged: RawConfig = { ...base };
  for (const [key, value] of Object.entries(over)) {
    merged[key] = key in merged ? mergeValue(merged[key], value) : value;
  }
  return merged;
}

/** The rule for one key. */
export function mergeValue(base: unknown, over: unknown): unknown {
  const isObject = (value: unknown): value is RawConfig =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject(base) && isObject(over) ? mergeRaw(base, over) : over;
}
