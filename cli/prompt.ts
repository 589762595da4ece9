// Questions on the terminal, read a line at a time.
import type { Context } from "./command.ts";
import { CommandError } from "./errors.ts";

/** One line of the standard input, without its end; undefined at the end of the input. */
export async function readLine(context: Context): Promise<string | undefined> {
  let text = "";
  for await (const chunk of context.io.stdin.read()) {
    text += Buffer.from(chunk).toString("utf8");
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end).replace(/\r$/, "");
  }
  return text === "" ? undefined : text;
}

/**
 * Asks `question` and wants a "y". Returns undefined to go on, or the exit code when the answer ends the command:
 * 0 after saying `cancelled` for no, 1 for an answer that is neither.
 */
export async function confirm(
  context: Context,
  question: string,
  cancelled: string,
): Promise<number | undefined> {
  await context.ui.write(`${question} [y/N] `);
  const answer = await readLine(context);
  if (answer === undefined) {
    throw new CommandError("Failed to parse answer: EOF\nUse -yes where nobody can answer.");
  }
  const text = answer.toLowerCase();
  if (text === "" || text.startsWith("n")) {
    context.ui.output(cancelled);
    return 0;
  }
  if (text.startsWith("y") && text.length > 1) {
    context.ui.output("For confirmation, an exact ‘y’ is required.");
    return 0;
  }
  if (answer !== "y") {
    context.ui.output("No confirmation detected. For confirmation, an exact 'y' is required.");
    return 1;
  }
  return undefined;
}
