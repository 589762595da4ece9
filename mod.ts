#!/usr/bin/env bun
// The door. Run, it is the command line; imported, it is the library: Agent (server and device in one), Server and
// Client alone, parseJob and formatHcl (the job language), Api (an HTTP client of any compatible agent).
//
// The library is loaded only when it is imported: `nomad version` must not wait for a server's code. That is why the
// exports below are filled from one dynamic import instead of being re-exported.
import process from "node:process";

export type { AgentEvents, AgentOptions, AllocationEvent } from "./agent.ts";
export type { RawConfig } from "./agent/config.ts";
export type * from "./core/types.ts";
export type { Driver } from "./drivers/driver.ts";
export type { ServerContext } from "./server/context.ts";

type Library = typeof import("./library.ts");
const library = import.meta.main ? ({} as Library) : await import("./library.ts");

/** A server, a device or both, inside your own program. */
export const Agent: Library["Agent"] = library.Agent;
export type Agent = InstanceType<Library["Agent"]>;
/** The server half: state, log, scheduler, device sessions. */
export const Server: Library["Server"] = library.Server;
export type Server = InstanceType<Library["Server"]>;
/** The device half: runs allocations. */
export const Client: Library["Client"] = library.Client;
export type Client = InstanceType<Library["Client"]>;
/** Calls the HTTP API of any compatible agent. */
export const Api: Library["Api"] = library.Api;
export type Api = import("./cli/api.ts").Api;
/** HCL job file → the API's job; throws JobspecError with every problem and its place. */
export const parseJob: Library["parseJob"] = library.parseJob;
/** Formats a job file as `nomad fmt` does. */
export const formatHcl: Library["formatHcl"] = library.formatHcl;
/** What parseJob throws. */
export const JobspecError: Library["JobspecError"] = library.JobspecError;
export type JobspecError = InstanceType<Library["JobspecError"]>;
/** An answer of the API other than a success. */
export const ApiError: Library["ApiError"] = library.ApiError;
export type ApiError = InstanceType<Library["ApiError"]>;

if (import.meta.main) {
  const [{ main }, { processIo }] = await Promise.all([
    import("./cli/main.ts"),
    import("./cli/process_io.ts"),
  ]);
  const runAgent: Parameters<typeof processIo>[0] = async (flags) =>
    (await import("./agent/run.ts")).runAgentCommand(flags);
  const validateConfig: Parameters<typeof processIo>[1] = async (paths) =>
    (await import("./agent/validate.ts")).validateConfig(paths);
  const code = await main(process.argv.slice(2), processIo(runAgent, validateConfig));
  process.exit(code);
}
