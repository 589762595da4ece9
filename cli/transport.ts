// One HTTP exchange. Plain http goes through fetch, which starts fastest on both runtimes; unix sockets and TLS with
// own certificates go through node:http(s), which alone can do them on both. Failures to connect come back as
// RequestError with Go's words for the cause (scripts look for them) and a hint what to check.
import type { Agent as HttpsAgent } from "node:https";
import type { IncomingMessage, RequestOptions } from "node:http";
import { pipeline } from "node:stream/promises";
import { RequestError } from "./errors.ts";

export interface HttpRequest {
  method: string;
  url: URL;
  headers: Record<string, string>;
  body?: string | Uint8Array | ReadableStream<Uint8Array>;
  /** Time until the answer's headers. */
  timeoutMs: number;
  signal?: AbortSignal;
}

export interface HttpResponse {
  status: number;
  statusText: string;
  headers: Headers;
  body: AsyncIterable<Uint8Array>;
}

export interface TlsOptions {
  ca?: string[];
  cert?: string;
  key?: string;
  servername?: string;
  rejectUnauthorized?: boolean;
}

export interface TransportOptions {
  socketPath?: string;
  tls?: TlsOptions;
}

export type Transport = (request: HttpRequest) => Promise<HttpResponse>;

/** The way to an agent. */
export function openTransport(options: TransportOptions): Transport {
  const viaNode = options.socketPath !== undefined || options.tls !== undefined;
  return async (request) => {
    try {
      return await (viaNode || isBlockedPort(request.url) ? nodeExchange : fetchExchange)(request, options);
    } catch (error) {
      throw connectionError(request, error, options);
    }
  };
}

/** fetch refuses some ports without trying; the user should hear what the port really answers. */
function isBlockedPort(url: URL): boolean {
  const port = Number(url.port);
  return port > 0 && port < 1024 && port !== 80 && port !== 443;
}

async function fetchExchange(request: HttpRequest): Promise<HttpResponse> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(new TimeoutError(request.timeoutMs)), request.timeoutMs);
  const signals = request.signal ? [deadline.signal, request.signal] : [deadline.signal];
  try {
    const response = await fetch(request.url, {
      method: request.method,
      headers: request.headers,
      redirect: "manual",
      signal: AbortSignal.any(signals),
      ...(request.body === undefined ? {} : { body: request.body as string, duplex: "half" }),
    });
    return {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers,
      body: response.body ?? emptyBody(),
    };
  } finally {
    clearTimeout(timer);
  }
}

async function* emptyBody(): AsyncIterable<Uint8Array> {}

class TimeoutError extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${Math.round(timeoutMs / 1000)}s`);
  }
}

async function nodeExchange(request: HttpRequest, options: TransportOptions): Promise<HttpResponse> {
  const secure = request.url.protocol === "https:";
  const http = secure ? await import("node:https") : await import("node:http");
  const requestOptions: RequestOptions & { agent: HttpsAgent | false } & TlsOptions = {
    method: request.method,
    headers: request.headers,
    agent: false,
    ...options.tls,
    ...(options.socketPath
      ? { socketPath: options.socketPath, path: request.url.pathname + request.url.search }
      : {
        host: request.url.hostname,
        port: request.url.port || (secure ? 443 : 80),
        path: request.url.pathname + request.url.search,
      }),
    ...(request.signal ? { signal: request.signal } : {}),
  };
  const message = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = http.request(requestOptions, resolve);
    const timer = setTimeout(() => outgoing.destroy(new TimeoutError(request.timeoutMs)), request.timeoutMs);
    outgoing.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    outgoing.on("response", () => clearTimeout(timer));
    if (request.body instanceof ReadableStream) {
      pipeline(request.body, outgoing).catch(() => outgoing.destroy());
    } else outgoing.end(request.body);
  });
  const headers = new Headers();
  for (const [name, value] of Object.entries(message.headers)) {
    headers.set(name, Array.isArray(value) ? value.join(", ") : value ?? "");
  }
  return {
    status: message.statusCode ?? 0,
    statusText: message.statusMessage ?? "",
    headers,
    body: message as AsyncIterable<Uint8Array>,
  };
}

/** What Go would have said of this failure, and what to check. */
function connectionError(request: HttpRequest, error: unknown, options: TransportOptions): unknown {
  if (error instanceof RequestError) return error;
  if (request.signal?.aborted) return error;
  const { url } = request;
  const verb = request.method[0] + request.method.slice(1).toLowerCase();
  const shown = options.socketPath ? `http://127.0.0.1${url.pathname}${url.search}` : url.href;
  const { cause, hint } = explain(error, url, options.socketPath);
  return new RequestError(`${verb} ${JSON.stringify(shown)}: ${cause}`, 0, "", hint, { cause: error });
}

function explain(error: unknown, url: URL, socketPath: string | undefined): { cause: string; hint: string } {
  const text = errorTexts(error);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const target = socketPath ? `unix ${socketPath}` : `tcp ${host}:${port}`;
  const check = "Check that an agent is running there and that -address or NOMAD_ADDR names it.";
  if (/ECONNREFUSED|refused/i.test(text)) {
    return { cause: `dial ${target}: connect: connection refused`, hint: check };
  }
  if (socketPath && /ENOENT/.test(text)) {
    return { cause: `dial ${target}: connect: no such file or directory`, hint: check };
  }
  if (socketPath && /EACCES|EPERM/.test(text)) {
    return {
      cause: `dial ${target}: connect: permission denied`,
      hint: "Check the socket's owner and mode.",
    };
  }
  if (/ENOTFOUND|EAI_AGAIN|dns error|getaddrinfo/i.test(text)) {
    return { cause: `dial tcp: lookup ${host}: no such host`, hint: check };
  }
  if (/WRONG_VERSION_NUMBER|InvalidContentType|wrong version number/i.test(text)) {
    return {
      cause: "http: server gave HTTP response to HTTPS client",
      hint: "The agent speaks plain HTTP: use http:// in -address or NOMAD_ADDR.",
    };
  }
  if (
    /UnknownIssuer|SELF_SIGNED|self.signed|UNABLE_TO_|unable to (get|verify)|certificate|CERT_|Invalid CA/i
      .test(text)
  ) {
    return {
      cause: `tls: failed to verify certificate: ${firstText(error)}`,
      hint: "Check -ca-cert or NOMAD_CACERT, and -tls-server-name.",
    };
  }
  if (error instanceof TimeoutError || /ETIMEDOUT|timed out|no answer within/i.test(text)) {
    return { cause: `dial ${target}: ${firstText(error)}`, hint: check };
  }
  if (/ECONNRESET|closed|reset|EPIPE|before message completed/i.test(text)) {
    return { cause: "EOF", hint: "The agent closed the connection: look at its log, it may be stopping." };
  }
  return { cause: firstText(error), hint: check };
}

function errorTexts(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    parts.push(at.message, String((at as { code?: unknown }).code ?? ""));
  }
  return parts.join(" ");
}

function firstText(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inner instanceof Error ? inner.message : String(inner);
}
