// What mod.ts exports to programs that import it: one list, loaded in one go.
export { Agent } from "./agent.ts";
export { Api } from "./cli/api.ts";
export { Client } from "./client/client.ts";
export { ApiError } from "./core/errors.ts";
export { formatHcl, JobspecError, parseJob } from "./jobspec/jobspec.ts";
export { Server } from "./server/server.ts";
