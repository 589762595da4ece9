// `-json` and `-t`: a command's data as JSON or through a template, instead of its tables.
import type { Answer } from "./api.ts";
import { bool, string } from "./args.ts";
import type { Context } from "./command.ts";
import { CommandError } from "./errors.ts";
import { formatJson, parseExact } from "./json_text.ts";
import { completeRecords } from "./record_defaults.ts";

/** The two flags, for the commands that have both. */
export const dataFlags = (what: string) => ({
  json: bool(`Output ${what} in JSON format.`),
  t: string(`Format and display ${what} using a Go template.`),
});

export interface DataFlags {
  json: boolean;
  t: string;
}

/** Whether data was asked for. Throws when both forms were. */
export function wantsData(flags: DataFlags): boolean {
  if (flags.json && flags.t !== "") {
    throw new CommandError("Both json and template formatting are not allowed");
  }
  return flags.json || flags.t !== "";
}

/** The answer's own text, or a value built of several, as asked for. `typeName`: its Go type, for errors and for
 * the fields that the API leaves out. */
export async function outputData(
  context: Context,
  flags: DataFlags,
  data: Answer<unknown> | { value: unknown },
  typeName?: string,
): Promise<number> {
  const value = completeRecords(
    "text" in data ? parseExact(data.text === "" ? "null" : data.text) : data.value,
    typeName,
  );
  context.ui.output(flags.t === "" ? formatJson(value) : await render(flags.t, value, typeName));
  return 0;
}

async function render(template: string, value: unknown, typeName: string | undefined): Promise<string> {
  const { renderTemplate, TemplateError } = await import("../core/go_template.ts");
  try {
    return renderTemplate(template, value, typeName === undefined ? {} : { typeName });
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new CommandError(`Error formatting the data: ${error.message}`);
  }
}
