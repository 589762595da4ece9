// `ui`: opens the web page, of the agent or of what an identifier names.
import { bool } from "./args.ts";
import { command } from "./command.ts";
import { attempt, CommandError, UsageError } from "./errors.ts";
import { searchOne } from "./status.ts";

export const uiCommand = command({
  form: "nomad ui [options] <identifier>",
  about: `Opens the web page of the agent in the browser, or the page of the job,
allocation, node, evaluation, deployment … that is named.`,
  general: "all",
  title: "UI Options",
  flags: {
    authenticate: bool("Let the page log in with the token of this command."),
    "show-url": bool("Show the address instead of opening it."),
  },
  async run(context) {
    const { flags, args, api, ui, io } = context;
    if (args.length > 1) {
      throw new UsageError("This command takes no or one optional argument, [<identifier>]");
    }
    const path = args.length === 0 ? "" : pagePath(await searchOne(context, args[0]!));
    const url = new URL(api.uiUrl(path));
    if (flags.authenticate) {
      const { data } = await attempt(
        "Error creating one-time token",
        api.post<{ OneTimeToken: { OneTimeSecretID: string } }>("/v1/acl/token/onetime"),
      );
      url.searchParams.set("ott", data.OneTimeToken.OneTimeSecretID);
    }
    const shown = path === "" && !flags.authenticate ? api.uiUrl("") : url.href;
    if (flags["show-url"]) {
      ui.output(`URL for web UI: ${shown}`);
      return 0;
    }
    ui.output(`Opening URL ${JSON.stringify(shown)}`);
    await io.openBrowser(shown);
    return 0;
  },
});

function pagePath(found: { kind: string; id: string }): string {
  const id = encodeURIComponent(found.id);
  switch (found.kind) {
    case "jobs":
      return `/ui/jobs/${id}`;
    case "allocs":
      return `/ui/allocations/${id}`;
    case "nodes":
      return `/ui/clients/${id}`;
    case "evals":
      return `/ui/evaluations?currentEval=${id}`;
    case "deployment":
      return "/ui/jobs";
    default:
      throw new CommandError(`Unable to open a page of ${found.kind}: there is none`);
  }
}
