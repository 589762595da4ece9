// What a device may say on its connection, checked before anything of it is used: a device is another machine, and
// what it reports goes into the log, where a wrong shape would be read back by every server for ever.
//
// Invariant: what leaves `readDeviceMessage` has the types of core/protocol.ts. The node itself is checked where it
// registers (node_registration.ts). Written by hand: reports are the most frequent messages of a cluster.
import { ApiError } from "../core/errors.ts";
import type { AllocUpdate, DeviceMessage } from "../core/protocol.ts";
import type { ServiceRegistration, TaskEvent, TaskState } from "../core/types.ts";

/** An event is a line of a node's history, kept by every server. */
const EVENT_MAX_LENGTH = 16 * 1024;

type Fields = Record<string, unknown>;

const CLIENT_STATUSES = new Set(["pending", "running", "complete", "failed", "lost", "unknown"]);
const TASK_STATES = new Set(["pending", "running", "dead"]);
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/** One text frame as a message. Throws ApiError 400 that names the place. */
export function readDeviceMessage(text: string): DeviceMessage {
  const message = fields(parse(text), "message");
  switch (message["t"]) {
    case "hello":
      return readHello(message) as unknown as DeviceMessage;
    case "updates":
      number(message["seq"], "updates.seq");
      list(message["updates"], "updates.updates").forEach(checkUpdate);
      break;
    case "services":
      number(message["seq"], "services.seq");
      list(message["upsert"], "services.upsert").forEach(checkService);
      list(message["remove"], "services.remove").forEach((id) => string(id, "services.remove[]"));
      break;
    case "events":
      list(message["events"], "events.events").forEach(checkEvent);
      break;
    default:
      // Heartbeats and nodes carry nothing that is looked at here; a newer device may say more than this server knows.
      string(message["t"], "message.t");
  }
  return message as unknown as DeviceMessage;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) {
      throw new ApiError(400, "A device's message is not JSON");
    }
    throw error;
  }
}

function readHello(hello: Fields): Fields {
  number(hello["version"], "hello.version");
  fields(hello["node"], "hello.node");
  for (const index of Object.values(fields(hello["allocs"], "hello.allocs"))) number(index, "hello.allocs[]");
  return hello;
}

function checkUpdate(value: unknown): void {
  const update = fields(value, "update") as Fields & Partial<AllocUpdate>;
  string(update.ID, "update.ID");
  oneOf(CLIENT_STATUSES, update.ClientStatus, "update.ClientStatus");
  string(update.ClientDescription, "update.ClientDescription");
  for (const task of Object.values(optional(update.TaskStates, "update.TaskStates"))) checkTask(task);
  if (update.DeploymentStatus !== null) {
    const status = fields(update.DeploymentStatus, "update.DeploymentStatus");
    boolean(status["Healthy"], "update.DeploymentStatus.Healthy");
    time(status["Timestamp"], "update.DeploymentStatus.Timestamp");
  }
  const network = optional(update.NetworkStatus, "update.NetworkStatus");
  for (const key of ["InterfaceName", "Address", "AddressIPv6"]) {
    if (network[key] !== undefined) string(network[key], `update.NetworkStatus.${key}`);
  }
}

function checkTask(value: unknown): void {
  const task = fields(value, "TaskStates[]") as Fields & Partial<TaskState>;
  oneOf(TASK_STATES, task.State, "TaskStates[].State");
  boolean(task.Failed, "TaskStates[].Failed");
  number(task.Restarts, "TaskStates[].Restarts");
  for (const key of ["LastRestart", "StartedAt", "FinishedAt"] as const) {
    if (task[key] !== null && task[key] !== undefined) time(task[key], `TaskStates[].${key}`);
  }
  if (task.Events === null || task.Events === undefined) return;
  for (const item of list(task.Events, "TaskStates[].Events")) {
    const event = fields(item, "TaskStates[].Events[]") as Fields & Partial<TaskEvent>;
    string(event.Type, "TaskStates[].Events[].Type");
    number(event.Time, "TaskStates[].Events[].Time");
    strings(event.Details, "TaskStates[].Events[].Details");
  }
}

function checkService(value: unknown): void {
  const service = fields(value, "service") as Fields & Partial<ServiceRegistration>;
  for (
    const key of [
      "ID",
      "ServiceName",
      "Namespace",
      "NodeID",
      "Datacenter",
      "JobID",
      "AllocID",
      "Address",
    ] as const
  ) string(service[key], `service.${key}`);
  list(service.Tags ?? [], "service.Tags").forEach((tag) => string(tag, "service.Tags[]"));
  number(service.Port, "service.Port");
}

function checkEvent(value: unknown): void {
  const event = fields(value, "event");
  string(event["subsystem"], "event.subsystem");
  string(event["message"], "event.message");
  if (JSON.stringify(event).length > EVENT_MAX_LENGTH) {
    wrong("event", `shorter than ${EVENT_MAX_LENGTH} characters`);
  }
  strings(event["details"], "event.details");
}

// --- Kinds ------------------------------------------------------------------------------------------------------

function wrong(place: string, wanted: string): never {
  throw new ApiError(400, `A device's message is malformed: ${place} is not ${wanted}`);
}

function fields(value: unknown, place: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) wrong(place, "an object");
  return value as Fields;
}

function optional(value: unknown, place: string): Fields {
  return value === null || value === undefined ? {} : fields(value, place);
}

function list(value: unknown, place: string): unknown[] {
  return Array.isArray(value) ? value : wrong(place, "a list");
}

function string(value: unknown, place: string): void {
  if (typeof value !== "string") wrong(place, "a string");
}

function strings(value: unknown, place: string): void {
  for (const item of Object.values(optional(value, place))) string(item, `${place}[]`);
}

function number(value: unknown, place: string): void {
  if (typeof value !== "number") wrong(place, "a number");
}

function boolean(value: unknown, place: string): void {
  if (typeof value !== "boolean") wrong(place, "true or false");
}

function time(value: unknown, place: string): void {
  if (typeof value !== "string" || !TIME.test(value)) wrong(place, "a time");
}

function oneOf(known: ReadonlySet<string>, value: unknown, place: string): void {
  if (typeof value !== "string" || !known.has(value)) wrong(place, `one of ${[...known].join(", ")}`);
}
