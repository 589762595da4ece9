// What a command is: its form, its flags, its words for the usage, and what it does. A family file (job_run.ts,
// node_status.ts …) exports commands made with `command`; main.ts finds them through tree.ts and runs them here.
import { type Flag, FlagError, type FlagTable, type FlagValues, parseArgs, readBool } from "./args.ts";
import { Api, type ApiSettings } from "./api.ts";
import { CommandError, failure, RequestError, UsageError } from "./errors.ts";
import { GENERAL_FLAGS, GENERAL_USAGE, type GeneralFlags, NAMESPACE_USAGE } from "./general.ts";
import type { CliIo } from "./io.ts";
import { Ui } from "./ui.ts";

/** How many arguments a command takes, and what it says otherwise. */
export interface ArgumentRule {
  min: number;
  max: number;
  complaint: string;
}

export interface CommandSpec<T extends FlagTable> {
  /** "nomad job status [options] <job>". */
  form: string;
  /** The name in "For additional help try 'nomad NAME -help'"; the form's words when absent. */
  helpName?: string;
  /** Paragraphs for the usage, wrapped, without indentation. */
  about: string;
  general: "all" | "noNamespace" | "none";
  /** Heading of the own flags: "Status Options". */
  title: string;
  flags: T;
  args?: ArgumentRule;
  /** Number of arguments after which everything is an argument (commands that are run elsewhere). */
  argsMax?: number;
  /** A web page is named after the output: the agent is asked early whether it wants that. */
  hints?: boolean;
  run(context: Context<FlagValues<T>>): Promise<number>;
}

export interface Command {
  usage(): string;
  execute(argv: string[], io: CliIo): Promise<number>;
}

/** All that a running command sees. */
export class Context<F = unknown> {
  #api: Api | undefined;
  #hintsWanted: Promise<boolean> | undefined;

  constructor(
    readonly io: CliIo,
    readonly ui: Ui,
    readonly flags: F,
    readonly args: string[],
    readonly given: ReadonlySet<string>,
    /** The words after the command's name, as they were typed. */
    readonly argv: readonly string[],
    readonly general: GeneralFlags,
    readonly helpName: string,
  ) {}

  /** The HTTP API of the agent that flags and environment name. */
  get api(): Api {
    return this.#api ??= new Api(apiSettings(this.general, this.io.env), this.io.cwd);
  }

  /** The namespace in use, "default" when none is named. */
  get namespace(): string {
    return this.general.namespace || this.io.env["NOMAD_NAMESPACE"] || "default";
  }

  now(): number {
    return this.io.nowMs();
  }

  /** Starts asking the agent whether it wants its web page named. */
  askForHints(): void {
    const text = this.io.env["NOMAD_CLI_SHOW_HINTS"];
    const choice = text ? readBool(text) : undefined;
    if (text && choice === undefined) {
      this.ui.warn(
        `Invalid value ${JSON.stringify(text)} for NOMAD_CLI_SHOW_HINTS: strconv.ParseBool: parsing ${
          JSON.stringify(text)
        }: invalid syntax`,
      );
    }
    this.#hintsWanted = choice === false ? Promise.resolve(false) : this.api.wantsHints(choice === true);
  }

  /** Names a page of the web UI on stderr, or opens it. `path` is absolute; `spaced`: other output follows. */
  async hint(text: string, path: string, options: { open?: boolean; spaced?: boolean } = {}): Promise<void> {
    const url = this.api.uiUrl(path);
    if (options.open) {
      this.ui.output(`Opening URL ${JSON.stringify(url)}`);
      await this.io.openBrowser(url);
      return;
    }
    if (!this.#hintsWanted) this.askForHints();
    if (!await this.#hintsWanted) return;
    const { c } = this.ui;
    this.ui.warn(
      this.ui.hasColours
        ? `${c.bold}${c.magenta}\n==> ${text}:${c.reset} ${c.blue}${url}${c.reset}`
        : `\n\n==> ${text}: ${url}`,
    );
    if (options.spaced) this.ui.warn("");
  }
}

function apiSettings(general: GeneralFlags, env: CliIo["env"]): ApiSettings {
  return {
    address: general.address || env["NOMAD_ADDR"] || "http://127.0.0.1:4646",
    region: general.region || env["NOMAD_REGION"] || "",
    namespace: general.namespace || env["NOMAD_NAMESPACE"] || "",
    token: general.token || env["NOMAD_TOKEN"] || "",
    httpAuth: env["NOMAD_HTTP_AUTH"] || "",
    caCert: general["ca-cert"] || env["NOMAD_CACERT"] || "",
    caPath: general["ca-path"] || env["NOMAD_CAPATH"] || "",
    clientCert: general["client-cert"] || env["NOMAD_CLIENT_CERT"] || "",
    clientKey: general["client-key"] || env["NOMAD_CLIENT_KEY"] || "",
    tlsServerName: general["tls-server-name"] || env["NOMAD_TLS_SERVER_NAME"] || "",
    tlsSkipVerify: general["tls-skip-verify"] || readBool(env["NOMAD_SKIP_VERIFY"] ?? "") === true,
  };
}

/** Makes a command of its description. */
export function command<const T extends FlagTable>(spec: CommandSpec<T>): Command {
  const helpName = spec.helpName ?? nameInForm(spec.form);
  return {
    usage: () => renderUsage(spec),
    async execute(argv, io) {
      const flags: FlagTable = { ...(spec.general === "none" ? {} : GENERAL_FLAGS), ...spec.flags };
      let parsed;
      try {
        parsed = parseArgs(argv, flags, spec.argsMax === undefined ? {} : { argsMax: spec.argsMax });
      } catch (error) {
        if (!(error instanceof FlagError)) throw error;
        const ui = newUi(io, {});
        ui.error(error.message);
        ui.info(renderUsage(spec));
        await ui.flush();
        return 1;
      }
      const general = parsed.values as unknown as GeneralFlags;
      const ui = newUi(io, general);
      if (parsed.help) {
        ui.info(renderUsage(spec));
        await ui.flush();
        return 0;
      }
      const context = new Context(
        io,
        ui,
        parsed.values as FlagValues<T>,
        parsed.args,
        new Set(parsed.given),
        argv,
        general,
        helpName,
      );
      const code = await runReported(spec, context);
      await ui.flush();
      return code;
    },
  };
}

/** Runs and turns what is thrown into a message and an exit code. */
async function runReported<T extends FlagTable>(
  spec: CommandSpec<T>,
  context: Context<FlagValues<T>>,
): Promise<number> {
  try {
    const rule = spec.args;
    if (rule && (context.args.length < rule.min || context.args.length > rule.max)) {
      throw new UsageError(rule.complaint);
    }
    if (spec.hints) context.askForHints();
    return await spec.run(context);
  } catch (error) {
    const shown = error instanceof RequestError ? failure("", error) : error;
    if (!(shown instanceof CommandError)) throw error;
    if (shown.message !== "") context.ui.error(shown.message);
    if (shown instanceof UsageError) {
      context.ui.error(`For additional help try 'nomad ${context.helpName} -help'`);
    }
    return shown.code;
  }
}

/** The interface of one invocation, with the colour flags and their environment. */
export function newUi(io: CliIo, general: Partial<GeneralFlags>): Ui {
  return new Ui(io, {
    noColour: general["no-color"] === true || Boolean(io.env["NOMAD_CLI_NO_COLOR"]),
    forceColour: general["force-color"] === true || Boolean(io.env["NOMAD_CLI_FORCE_COLOR"]),
  });
}

function nameInForm(form: string): string {
  return /^nomad ((?:[a-z-]+ ?)+)/.exec(form)![1]!.trim();
}

function renderUsage<T extends FlagTable>(spec: CommandSpec<T>): string {
  const parts = [`Usage: ${spec.form}`, indent(spec.about, "  ")];
  if (spec.general !== "none") {
    parts.push("General Options:");
    parts.push(spec.general === "all" ? GENERAL_USAGE : GENERAL_USAGE.replace(NAMESPACE_USAGE, ""));
  }
  const own = Object.entries<Flag<unknown>>(spec.flags).filter(([, flag]) => flag.help !== "");
  if (own.length > 0) {
    parts.push(`${spec.title}:`);
    for (const [name, flag] of own) {
      parts.push(`  -${name}${flag.hint ? `=<${flag.hint}>` : ""}\n${indent(wrap(flag.help, 74), "    ")}`);
    }
  }
  return parts.join("\n\n");
}

function indent(text: string, by: string): string {
  return text.split("\n").map((line) => line === "" ? "" : by + line).join("\n");
}

/** Breaks text at spaces into lines of at most `width`; line breaks in it stay. */
export function wrap(text: string, width: number): string {
  return text.split("\n").map((line) => {
    const lines: string[] = [];
    let current = "";
    for (const word of line.split(" ")) {
      if (current !== "" && current.length + 1 + word.length > width) {
        lines.push(current);
        current = word;
      } else {
        current = current === "" ? word : `${current} ${word}`;
      }
    }
    return [...lines, current].join("\n");
  }).join("\n");
}
