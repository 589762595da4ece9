// Commands and actions inside tasks: GET /v1/client/allocation/:id/exec and /v1/job/:id/action (api 361-367). The
// listener's side (agent/exec_socket.ts) turns the WebSocket of either into a POST whose two bodies are JSON lines;
// that POST is what is checked here and brought to the device, through other servers if need be. Never reads the lines.
//
// Invariant: without those lines there is no session: the answer is the recorded 500, whatever the method.
import { ApiError, errorText } from "../core/errors.ts";
import { NDJSON } from "../core/ndjson.ts";
import { type Api, jobIdOf } from "./http_api.ts";
import { forwardToAllocation } from "./http_client.ts";
import { Exchange, parseGoBool } from "./http_exchange.ts";
import { checkUuid } from "./http_list.ts";

/** Runs `command` (a JSON list of words) in a task of the allocation. */
export function execInAllocation(q: Exchange, api: Api, id: string): Response | Promise<Response> {
  const command = readCommand(q.parameter("command"));
  checkFlags(q);
  demandLines(q);
  demandTask(q);
  if (command.length === 0) throw new ApiError(400, "command is not present");
  return forwardToAllocation(q, api, id, null);
}

/** Runs the action that the allocation's job defines for one of its tasks. */
export function runAction(q: Exchange, api: Api): Response | Promise<Response> {
  checkFlags(q);
  demandLines(q);
  const task = demandTask(q);
  const allocId = q.parameter("allocID");
  if (allocId === "") throw new ApiError(400, "missing AllocID");
  const action = q.parameter("action");
  if (action === "") throw new ApiError(400, "command is not present");
  const command = commandOf(api, { jobId: jobIdOf(q, "/action"), allocId, task, action });
  const query = new URLSearchParams({ task, tty: q.parameter("tty"), command: JSON.stringify(command) });
  return forwardToAllocation(new Exchange(execRequest(q.request, allocId, query)), api, allocId, null);
}

/** The words of an action: as the job has them, nothing in them is interpolated. */
function commandOf(
  api: Api,
  wanted: { jobId: string; allocId: string; task: string; action: string },
): string[] {
  const { jobId, allocId, task: taskName, action: name } = wanted;
  checkUuid(allocId, "alloc lookup failed: ");
  const alloc = api.server.state.alloc(allocId);
  if (!alloc) throw new ApiError(404, `Unknown allocation ${JSON.stringify(allocId)}`);
  if (alloc.JobID !== jobId) throw new ApiError(404, `job ${jobId} does not have allocation ${allocId}`);
  const group = alloc.Job?.TaskGroups.find((one) => one.Name === alloc.TaskGroup);
  const task = group?.Tasks.find((one) => one.Name === taskName);
  if (!task) throw new ApiError(404, `task ${taskName} not found in allocation ${allocId}`);
  const action = task.Actions?.find((one) => one.Name === name);
  if (!action) throw new ApiError(404, `action ${name} not found in task ${taskName}`);
  return [action.Command, ...action.Args ?? []];
}

/** The same exchange, as the device knows it. */
function execRequest(request: Request, allocId: string, query: URLSearchParams): Request {
  const url = new URL(request.url);
  url.pathname = `/v1/client/allocation/${allocId}/exec`;
  url.search = query.toString();
  const init: RequestInit & { duplex: "half" } = {
    method: "POST",
    headers: request.headers,
    body: request.body,
    signal: request.signal,
    duplex: "half",
  };
  return new Request(url, init);
}

function demandLines(q: Exchange): void {
  if (q.method === "POST" && q.request.headers.get("content-type") === NDJSON) return;
  throw new ApiError(500, "websocket connection not found in context");
}

function demandTask(q: Exchange): string {
  const task = q.parameter("task");
  if (task === "") throw new ApiError(400, "must provide task name");
  return task;
}

function checkFlags(q: Exchange): void {
  for (const [name, status] of [["ws_handshake", 400], ["tty", 500]] as const) {
    const text = q.parameter(name);
    if (text === "" || parseGoBool(text) !== null) continue;
    throw new ApiError(
      status,
      `${name} value is not a boolean: strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }
}

function readCommand(text: string): string[] {
  const fail = (why: string) => new ApiError(500, `failed to marshal command into json: ${why}`);
  if (text === "") throw fail("unexpected end of JSON input");
  let command: unknown;
  try {
    command = JSON.parse(text);
  } catch (error) {
    throw fail(errorText(error));
  }
  if (!Array.isArray(command) || command.some((word) => typeof word !== "string")) {
    throw fail("expected a list of words, the program first");
  }
  return command as string[];
}
