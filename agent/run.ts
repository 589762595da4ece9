// `nomad agent`: one agent as a process. Reads flags and files, prints Nomad's banner, runs until a signal, and turns
// what cannot be into one line and exit code 1.
//
// Signals: SIGINT and SIGTERM stop in order (exit 1, or 0 where leave_on_interrupt / leave_on_terminate say so), a
// second one ends at once; SIGHUP reads the configuration again.
import process from "node:process";
import { Agent } from "../agent.ts";
import { ConfigError, StorageError } from "../core/errors.ts";
import { releaseMemory } from "../core/runtime.ts";
import { NOMAD_VERSION } from "../core/version.ts";
import { type AgentConfig, joinAddress, type LogLevel, resolveConfig } from "./config.ts";
import { loadConfig, type LoadedConfig, mergeConfig } from "./config_files.ts";
import { flagsToConfig } from "./flags.ts";
import { AgentLog } from "./logging.ts";

/** What the command line hands over: values by flag name, the names that were given, and where output goes. */
export interface AgentCommand {
  values: Readonly<Record<string, unknown>>;
  given: readonly string[];
  stdout(text: string): void;
  stderr(text: string): void;
}

/** After this long a start has left its garbage behind. */
const SETTLED_MS = 3000;
const NO_TLS = "==> WARNING: mTLS is not configured - Nomad is not secure without mTLS!\n";
const ODD_SERVERS = "==> WARNING: Number of bootstrap servers should ideally be set to an odd number.\n";
const BOOTSTRAP = "==> WARNING: Bootstrap mode enabled! Potentially unsafe operation.\n";

/** Runs the agent and resolves with the exit code. */
export async function runAgentCommand(command: AgentCommand): Promise<number> {
  const paths = (command.values["config"] ?? []) as string[];
  const dev = command.values["dev"] === true;
  let agent: Agent;
  try {
    const read = () => readConfiguration(command, paths, dev);
    const { config, loaded } = await read();
    for (const path of paths) command.stdout(`==> Loaded configuration from ${path}\n`);
    if (!dev) command.stderr(NO_TLS);
    if (!dev && config.server) command.stderr(bootstrapWarning(config.server.bootstrapExpect));
    for (const warning of loaded.warnings) command.stderr(`==> WARNING: ${warning}\n`);
    command.stdout("==> Starting Nomad agent...\n");
    const held = holdLog(command, config);
    agent = new Agent({
      config,
      files: loaded.files,
      log: held.log,
      reload: async () => (await read()).config,
    });
    await agent.start();
    command.stdout(banner(agent));
    held.release();
    setTimeout(() => void releaseMemory(), SETTLED_MS).unref();
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof StorageError)) throw error;
    command.stderr(`==> ${error.message}\n`);
    return 1;
  }
  return await untilSignal(agent, command);
}

function bootstrapWarning(expect: number): string {
  if (expect === 1) return BOOTSTRAP;
  return expect % 2 === 0 ? ODD_SERVERS : "";
}

async function readConfiguration(
  command: AgentCommand,
  paths: string[],
  dev: boolean,
): Promise<{ config: AgentConfig; loaded: LoadedConfig }> {
  const flags = flagsToConfig(command.values, command.given);
  const loaded = await loadConfig(paths, flags.datacenter);
  if (loaded.refusals.length > 0) throw new ConfigError(loaded.refusals.join("\n==> "));
  if (flags.acl) {
    throw new ConfigError("-acl-enabled: ACLs are not built yet and the API would be open to everyone");
  }
  return { config: resolveConfig(mergeConfig(loaded.raw, flags), { dev }), loaded };
}

/** The log stream begins below the banner, as Nomad's does: what comes before waits for it. */
function holdLog(command: AgentCommand, config: AgentConfig): { log: AgentLog; release(): void } {
  let waiting: string[] | null = [];
  const write = (line: string) => {
    if (waiting) waiting.push(line);
    else command.stdout(line);
  };
  return {
    log: new AgentLog({ ...config.log, write }),
    release() {
      const lines = waiting ?? [];
      waiting = null;
      for (const line of lines) command.stdout(line);
    },
  };
}

function banner(agent: Agent): string {
  const { config } = agent;
  const { bind, advertise } = config;
  const rows: [string, string][] = [
    [
      "Advertise Addrs",
      config.server
        ? `HTTP: ${joinAddress(advertise.http)}; RPC: ${joinAddress(advertise.rpc)}; Serf: ${
          joinAddress(advertise.serf)
        }`
        : `HTTP: ${joinAddress(advertise.http)}`,
    ],
    [
      "Bind Addrs",
      config.server
        ? `HTTP: [${joinAddress(bind.http)}]; RPC: ${joinAddress(bind.rpc)}; Serf: ${joinAddress(bind.serf)}`
        : `HTTP: [${joinAddress(bind.http)}]`,
    ],
    ["Client", String(agent.client !== null)],
    ["Log Level", config.log.level],
    ["Node Id", agent.client?.node.ID ?? agent.server!.config.id],
    ["Region", `${config.region} (DC: ${config.datacenter})`],
    ["Server", String(agent.server !== null)],
    ["Version", NOMAD_VERSION],
  ];
  const lines = rows.map(([name, value]) => `${name.padStart(22)}: ${value}\n`).join("");
  return `==> Nomad agent configuration:\n\n${lines}\n==> Nomad agent started! Log data will stream in below:\n\n`;
}

const SIGNAL_WORDS: Record<string, string> = { SIGINT: "interrupt", SIGTERM: "terminated" };

function untilSignal(agent: Agent, command: AgentCommand): Promise<number> {
  return new Promise((resolve) => {
    let stopping = false;
    const onHangUp = () => {
      command.stdout("==> Caught signal: hangup\n==> Reloading agent configuration...\n");
      reload(agent, command).catch((error) =>
        command.stderr(`==> Failed to reload configs: ${(error as Error).message}\n`)
      );
    };
    const onSignal = (signal: NodeJS.Signals) => {
      command.stdout(`==> Caught signal: ${SIGNAL_WORDS[signal]}\n`);
      if (stopping) process.exit(1);
      stopping = true;
      const graceful = signal === "SIGINT" ? agent.config.leaveOnInterrupt : agent.config.leaveOnTerminate;
      if (graceful) command.stdout("==> Gracefully shutting down agent...\n");
      process.removeListener("SIGHUP", onHangUp);
      end(graceful ? agent.leave() : agent.stop(), graceful ? 0 : 1);
    };
    const end = (stopped: Promise<void>, code: number) =>
      void stopped.then(() => resolve(code), (error) => {
        command.stderr(`==> The agent did not stop in order: ${(error as Error).message}\n`);
        resolve(1);
      });
    void agent.failure.then((reason) => {
      command.stderr(`==> ${reason}\n`);
      if (!stopping) end(agent.stop(), 1);
      stopping = true;
    });
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
    process.on("SIGHUP", onHangUp);
  });
}

async function reload(agent: Agent, command: AgentCommand): Promise<void> {
  const fresh = await agent.setup.reload?.();
  if (!fresh) return;
  const level: LogLevel = fresh.log.level;
  agent.setup.log.setLevel(level);
  command.stdout(`==> Configuration was read again; log level is ${level}\n`);
}
