// The device's part of the HTTP API, as recorded in api 345-366 and 400-440: files and logs of allocations, their
// usage, restarts and signals, host usage, metadata, garbage collection. Authorisation happens before: in the agent's
// HTTP edge or in the server that forwards.
import { Hono } from "hono";
import type { Clock } from "../core/env.ts";
import type { Client } from "./client.ts";

/** Builds the app; loaded with the first request. */
export function clientApi(
  _client: Client,
  _clock: Clock,
): (request: Request) => Response | Promise<Response> {
  const app = new Hono();
  return (request) => app.fetch(request);
}
