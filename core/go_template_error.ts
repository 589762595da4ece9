// What a template's reader and its execution throw: worded as Go words it, with the parts for those who word it
// otherwise.

export class TemplateError extends Error {
  override readonly name = "TemplateError";

  /** `at` is "line:column", the line from 1 and the column from 0, as Go counts; "" where no place is known. */
  constructor(readonly at: string, readonly reason: string, message: string = reason) {
    super(message);
  }
}

/** The text cannot be read. */
export function parseFailure(at: string, reason: string): TemplateError {
  return new TemplateError(at, reason, `template: :${at.split(":")[0]}: ${reason}`);
}

/** Executing failed; `what` is the piece of the template that was evaluated. */
export function runFailure(at: string, reason: string, what?: string): TemplateError {
  const where = what === undefined ? "" : `executing "" at <${what}>: `;
  return new TemplateError(at, reason, `template: :${at}: ${where}${reason}`);
}
