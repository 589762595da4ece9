// `version`: the release of the reference that this program speaks like, and what it runs on.
import { NOMAD_VERSION } from "../core/version.ts";
import { command } from "./command.ts";

export const version = command({
  form: "nomad version",
  about:
    "Displays the version of this program. Tools that compare versions see the\nrelease of Nomad whose API, job language and command line it follows.",
  general: "none",
  title: "Version Options",
  flags: {},
  run(context) {
    context.ui.output(`Nomad v${NOMAD_VERSION}`);
    return Promise.resolve(0);
  },
});
