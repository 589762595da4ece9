// The errors that end a command. A command throws, main.ts prints: `message` on stderr, exit with `code`.

export class CommandError extends Error {
  override readonly name: string = "CommandError";
  constructor(message: string, readonly code = 1, options?: ErrorOptions) {
    super(message, options);
  }
}

/** Wrong arguments: the message is followed by where to find help. */
export class UsageError extends CommandError {
  override readonly name = "UsageError";
}

/** The server answered with something else than 2xx, or could not be reached (status 0). */
export class RequestError extends Error {
  override readonly name = "RequestError";
  constructor(
    message: string,
    readonly status: number,
    /** What the server said. */
    readonly body: string,
    /** What to check, for a connection that did not come about. */
    readonly hint = "",
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Waits for a request and gives a failure the name of what was tried ("Error querying jobs: …"); "" for none. */
export async function attempt<T>(what: string, work: Promise<T>, code = 1): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw failure(what, error, code);
  }
}

/** The CommandError for a failed request; anything else comes back as it is. */
export function failure(what: string, error: unknown, code = 1): unknown {
  if (!(error instanceof RequestError)) return error;
  const text = what === "" || what.endsWith("\n") ? what + error.message : `${what}: ${error.message}`;
  return new CommandError(error.hint ? `${text}\n${error.hint}` : text, code, { cause: error });
}
