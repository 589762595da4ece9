// /v1/operator/snapshot: the whole state as a file, and back (saved_state.ts).
import { type Api, onWrite, type Route } from "./http_api.ts";
import type { Exchange } from "./http_exchange.ts";
import { restoreState, saveState } from "./saved_state.ts";

export const snapshotRoutes: Route[] = [
  { path: "/v1/operator/snapshot", scope: "server", methods: { GET: save, ...onWrite(restore) } },
];

/** `?stale`: whatever this server has, also without a leader. */
async function save(q: Exchange, { server }: Api): Promise<Response> {
  if (!q.options.stale) await server.log.barrier();
  const saved = await saveState(server);
  return new Response(saved.stream as ReadableStream<Uint8Array<ArrayBuffer>>, {
    headers: {
      "Content-Type": "application/x-gzip",
      "Digest": `sha-256=${saved.digest}`,
      "Vary": "Accept-Encoding",
    },
  });
}

async function restore(q: Exchange, { server }: Api): Promise<Response> {
  const body = q.bodyRead || !q.request.body ? [await q.body()] : q.request.body;
  await restoreState(server, body as AsyncIterable<Uint8Array>);
  return q.empty();
}
