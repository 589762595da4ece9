// Every error class that crosses a room's border. Nothing here formats for a terminal or for HTTP: the edges do.
// Messages say what failed, why, and what to do; they never hold secrets.

/** An answer of the HTTP API other than 2xx. `message` is sent as the plain-text body, exactly. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** A broken invariant of our own code: never caused by input. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * This server is not the leader. `leader` is its HTTP address (`host:port`), or "" while an election runs. `fate`
 * "unknown": leadership was lost while the command was under way, and the next leader may have it or not.
 */
export class NotLeaderError extends Error {
  override readonly name = "NotLeaderError";
  constructor(readonly leader: string, readonly fate: "not proposed" | "unknown" = "not proposed") {
    super(
      fate === "unknown"
        ? "Leadership was lost while this write was under way: whether it was done is not known"
        : leader
        ? `Not the leader; the leader is ${leader}`
        : "No cluster leader",
    );
  }
}

/** The log's storage refused a write (disk full, locked, I/O): nothing of the command was acknowledged. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  constructor(readonly kind: "full" | "locked" | "corrupt" | "io", message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** A driver operation failed. `recoverable`: worth another try under the restart policy. */
export class DriverError extends Error {
  override readonly name = "DriverError";
  constructor(
    readonly op: string,
    message: string,
    readonly recoverable: boolean,
    readonly hint: string = "",
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Wrong configuration, flags or environment of the program itself: printed as it is, exit 1. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** The text of anything thrown, without a stack trace. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const SYSTEM_TEXTS: Record<string, string> = {
  ENOENT: "no such file or directory",
  ENOTDIR: "not a directory",
  EACCES: "permission denied",
  EISDIR: "is a directory",
  EROFS: "read-only file system",
  ENOSPC: "no space left on device",
};

/** A failed file operation in the system's words, the same on every runtime: "open /x: permission denied". */
export function fileErrorText(operation: string, path: string, error: unknown): string {
  const why = SYSTEM_TEXTS[(error as { code?: string }).code ?? ""] ?? errorText(error);
  return `${operation} ${path}: ${why}`;
}
