// Renders a task's template: core's Go template language with the functions of template_functions.ts. Pure: what a
// template may see (the task's environment, its files) comes in. Functions that need Consul, Vault or Nomad's variables
// are refused by name: a template is never rendered with a part of it silently missing.
import { renderTemplate as render, TemplateError, type TemplateFunction } from "../core/go_template.ts";
import { type FunctionContext, functions, NEEDS_SERVER } from "./template_functions.ts";

export interface RenderOptions extends FunctionContext {
  left: string;
  right: string;
  /** A missing key of a map is an error instead of "<no value>". */
  errorOnMissingKey: boolean;
}

/** Throws an Error saying where and why. */
export function renderTemplate(text: string, options: RenderOptions): string {
  const { left, right, errorOnMissingKey } = options;
  const known = Object.entries(functions).map(([name, run]): [string, TemplateFunction] => [
    name,
    (args) => run(args, options),
  ]);
  try {
    return render(text, null, {
      left,
      right,
      functions: new Map(known),
      whyUnknown,
      missing: errorOnMissingKey ? "key" : "nothing",
    });
  } catch (error) {
    if (!(error instanceof TemplateError) || error.at === "") throw error;
    const [line, column] = error.at.split(":").map(Number);
    throw new Error(`line ${line}, column ${column! + 1}: ${error.reason}`, { cause: error });
  }
}

function whyUnknown(name: string): string {
  const needs = Object.hasOwn(NEEDS_SERVER, name) ? NEEDS_SERVER[name] : undefined;
  return needs
    ? `function ${JSON.stringify(name)} needs ${needs}, which this device has not`
    : `function ${JSON.stringify(name)} is not known to this device`;
}
