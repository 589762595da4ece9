// Assertions that stay on in production. In raft, state and storage a failed one stops the process (the shell
// decides that by catching AssertionError at the top); elsewhere it fails the request it happened in.
import { AssertionError } from "./errors.ts";

/** Throws AssertionError with `message` unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The end of every switch over a discriminated union: the compiler proves that no case is missing. */
export function assertNever(value: never, what = "value"): never {
  throw new AssertionError(`Unhandled ${what}: ${JSON.stringify(value)}`);
}
