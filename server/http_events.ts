// /v1/event/stream: newline-delimited JSON of what changes, with `{}` now and then so that a dead connection shows.
//
// Invariants: lines come whole and in the order of the log; a client that goes away ends its subscription; a client
// that does not read is dropped by the buffer, never waited for.
import { ApiError } from "../core/errors.ts";
import type { Clock } from "../core/env.ts";
import { parseTopics } from "./event_topics.ts";
import type { EventSubscription } from "./events.ts";
import type { Api, Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";

const HEARTBEAT_MS = 30_000;
const encoder = new TextEncoder();
const HEARTBEAT = encoder.encode("{}\n");

export const eventRoutes: Route[] = [
  { path: "/v1/event/stream", scope: "anyServer", methods: { GET: streamEvents } },
];

function streamEvents(q: Exchange, api: Api): Response {
  const indexText = q.parameter("index");
  if (indexText !== "" && !/^[+-]?\d+$/.test(indexText)) {
    throw new ApiError(
      400,
      `Unable to parse index: strconv.Atoi: parsing ${JSON.stringify(indexText)}: invalid syntax`,
    );
  }
  const { server } = api;
  const subscription = server.events.subscribe({
    index: Math.max(0, Number(indexText || 0)),
    topics: parseTopics(q.query.getAll("topic")),
    namespace: q.parameter("namespace") || "default",
  });
  q.request.signal.addEventListener("abort", () => subscription.close(), { once: true });
  return new Response(eventLines(subscription, server.clock), {
    headers: { "Content-Type": "application/json", "Cache-Control": "no-cache", Vary: "Accept-Encoding" },
  });
}

function eventLines(subscription: EventSubscription, clock: Clock): ReadableStream<Uint8Array> {
  let cancelHeartbeat = () => {};
  return new ReadableStream<Uint8Array>({
    start(controller) {
      // The first goes out at once: it shows that the stream is open.
      const beat = () => {
        controller.enqueue(HEARTBEAT);
        cancelHeartbeat = clock.after(HEARTBEAT_MS, beat);
      };
      beat();
    },
    async pull(controller) {
      try {
        const batch = await subscription.next();
        if (batch) {
          const events = batch.events.map((event) => event.text).join(",");
          controller.enqueue(encoder.encode(`{"Index":${batch.index},"Events":[${events}]}\n`));
          return;
        }
        cancelHeartbeat();
        controller.close();
      } catch (error) {
        cancelHeartbeat();
        controller.error(error);
      }
    },
    cancel() {
      cancelHeartbeat();
      subscription.close();
    },
  });
}
