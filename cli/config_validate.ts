// `config validate`: reads configuration files as the agent would, and says whether it would start with them. The reading
// itself is the agent's (io.validateConfig), which mod.ts passes in.
import { ConfigError } from "../core/errors.ts";
import { command } from "./command.ts";
import { CommandError } from "./errors.ts";

export const configValidate = command({
  form: "nomad config validate <config_path> [<config_path...>]",
  about: `Checks configuration files, or directories of them, as the agent would read them:
all of them together, later ones winning. Whether the addresses are free and the
directories can be written is not checked.`,
  general: "none",
  title: "Validate Options",
  flags: {},
  async run(context) {
    const { args, io, ui } = context;
    if (args.length === 0) throw new CommandError("Must specify at least one config file or directory");
    try {
      const { warnings } = await io.validateConfig(args);
      for (const warning of warnings) ui.warn(`WARNING: ${warning}`);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const isUnreadable = error.message.startsWith("Error loading ");
      const text = isUnreadable
        ? `1 error occurred:\n\t* ${error.message}\n\n`
        : `${error.message}\nConfiguration is invalid`;
      throw new CommandError(text, 1, { cause: error });
    }
    ui.output("Configuration is valid!");
    return 0;
  },
});
