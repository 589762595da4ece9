// Lists that come in pages: their flags, query and the command for the next page.
import { int, string } from "./args.ts";
import type { Query } from "./api.ts";
import type { Context } from "./command.ts";

export const pageFlags = {
  filter: string("Only what this expression is true of."),
  "page-token": string("Where to go on, as the page before says."),
  "per-page": int("How many to show at once."),
};

interface PageFlags {
  filter: string;
  "page-token": string;
  "per-page": number;
}

export function pageQuery(flags: PageFlags): Query {
  return {
    filter: flags.filter || undefined,
    next_token: flags["page-token"] || undefined,
    per_page: flags["per-page"] || undefined,
  };
}

/** How to get the rest, in the words the user typed. */
export function showNextPage(context: Context, command: string, nextToken: string): void {
  if (nextToken === "") return;
  const words = [command, ...withoutToken(context.argv).map(shellWord), "-page-token", nextToken];
  context.ui.output(`\nResults have been paginated. To get the next page run:\n\n${words.join(" ")}`);
}

function withoutToken(argv: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (/^--?page-token$/.test(word)) at++;
    else if (!/^--?page-token=/.test(word)) kept.push(word);
  }
  return kept;
}

function shellWord(word: string): string {
  return /^[\w.,:=@%/+*-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
