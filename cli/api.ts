// The HTTP API as commands use it: paths and query in, decoded JSON out, with the raw text (for exact -json output),
// the index (for blocking queries) and the next page's token. Address, namespace, region, token and TLS come from
// flags and environment. With one address nothing is tried again: a command says at once what failed. With several
// (commas between) the next one is asked when an agent cannot be reached or knows no leader; writes carry an id, so that
// one whose answer was lost is done once.
import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { fileErrorText } from "../core/errors.ts";
import { CommandError, RequestError } from "./errors.ts";
import {
  type HttpRequest,
  type HttpResponse,
  openTransport,
  type TlsOptions,
  type Transport,
} from "./transport.ts";

export interface ApiSettings {
  /** One, or several with commas between: tried in turn. */
  address: string;
  region: string;
  namespace: string;
  token: string;
  httpAuth: string;
  caCert: string;
  caPath: string;
  clientCert: string;
  clientKey: string;
  tlsServerName: string;
  tlsSkipVerify: boolean;
}

const DEFAULTS: ApiSettings = {
  address: "http://127.0.0.1:4646",
  region: "",
  namespace: "",
  token: "",
  httpAuth: "",
  caCert: "",
  caPath: "",
  clientCert: "",
  clientKey: "",
  tlsServerName: "",
  tlsSkipVerify: false,
};

export type Query = Record<string, string | number | boolean | undefined>;

export interface Answer<T> {
  data: T;
  /** The body as it came. */
  text: string;
  /** X-Nomad-Index; 0 when the route has none. */
  index: number;
  nextToken: string;
  /** Milliseconds since the leader was heard of; undefined when the answer does not say. */
  lastContactMs: number | undefined;
  knownLeader: boolean | undefined;
}

export interface CallOptions {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
  /** Blocks until the watched data is newer than this index, or `waitMs` passed. */
  index?: number;
  waitMs?: number;
  headers?: Record<string, string>;
  /** Until the answer's headers, where the agent works longer than usual. */
  timeoutMs?: number;
}

const ANSWER_TIMEOUT_MS = 60_000;
/** A blocking query may come back up to a sixteenth of its wait late. */
const BLOCKING_SLACK_MS = 30_000;
/** How long one of several agents may take to accept a connection before the next is tried. */
const CONNECT_MAX_MS = 1_500;
const REQUEST_ID_HEADER = "Idempotency-Key";

/** One agent. */
interface Target {
  base: URL;
  socketPath: string | undefined;
  tls: Promise<TlsOptions | undefined> | undefined;
  transport: Promise<Transport> | undefined;
}

export class Api {
  readonly #settings: ApiSettings;
  readonly #targets: Target[];
  readonly #cwd: string;
  /** Position of the agent that answered last. */
  #current = 0;

  /** What is left out has Nomad's default. CommandError for an address that is no use; files are read when needed. */
  constructor(settings: Partial<ApiSettings> = {}, cwd = ".") {
    this.#settings = { ...DEFAULTS, ...settings };
    const addresses = this.#settings.address.split(",").map((one) => one.trim()).filter((one) => one !== "");
    this.#targets = (addresses.length > 0 ? addresses : [this.#settings.address]).map((one) => ({
      ...parseAddress(one),
      tls: undefined,
      transport: undefined,
    }));
    this.#cwd = cwd;
  }

  get #target(): Target {
    return this.#targets[this.#current]!;
  }

  get address(): string {
    return this.#settings.address;
  }

  /** The agent that is asked: of several the one that answered last. */
  get base(): URL {
    return this.#target.base;
  }

  get socketPath(): string | undefined {
    return this.#target.socketPath;
  }

  /** Certificates and how to check the agent's; undefined without TLS. CommandError for a file that cannot be read. */
  tls(target = this.#target): Promise<TlsOptions | undefined> {
    return target.tls ??= target.base.protocol === "https:" || usesFiles(this.#settings)
      ? readTls(this.#settings, target.base, this.#cwd)
      : Promise.resolve(undefined);
  }

  async #open(target: Target): Promise<Transport> {
    const tls = await this.tls(target);
    return openTransport({
      ...(target.socketPath === undefined ? {} : { socketPath: target.socketPath }),
      ...(tls === undefined ? {} : { tls }),
    });
  }

  get namespace(): string {
    return this.#settings.namespace;
  }

  get region(): string {
    return this.#settings.region;
  }

  async get<T>(path: string, options: CallOptions = {}): Promise<Answer<T>> {
    return await decode<T>(await this.request("GET", path, options));
  }

  async put<T>(path: string, body?: unknown, options: CallOptions = {}): Promise<Answer<T>> {
    return await decode<T>(await this.request("PUT", path, { ...options, body }));
  }

  async post<T>(path: string, body?: unknown, options: CallOptions = {}): Promise<Answer<T>> {
    return await decode<T>(await this.request("POST", path, { ...options, body }));
  }

  async delete<T>(path: string, options: CallOptions = {}): Promise<Answer<T>> {
    return await decode<T>(await this.request("DELETE", path, options));
  }

  /** One exchange; other answers than 2xx are RequestErrors. The caller reads the body. */
  async request(method: string, path: string, options: CallOptions = {}): Promise<HttpResponse> {
    const response = await this.exchange(method, this.url(path, options), options);
    if (response.status >= 200 && response.status < 300) return response;
    const body = (await readText(response.body)).trimEnd();
    throw new RequestError(`Unexpected response code: ${response.status} (${body})`, response.status, body);
  }

  /** One exchange, whatever the answer; with several agents, with the first that can give one. */
  async exchange(method: string, url: URL, options: CallOptions = {}): Promise<HttpResponse> {
    const headers = this.headers(options.headers);
    let body: string | Uint8Array | ReadableStream<Uint8Array> | undefined;
    const given = options.body;
    if (given instanceof Uint8Array || given instanceof ReadableStream || typeof given === "string") {
      body = given;
    } else if (options.body !== undefined) {
      body = JSON.stringify(options.body);
      headers["Content-Type"] ??= "application/json";
    }
    // What streams cannot be sent twice, so an id is of no use to it.
    const repeatable = !(body instanceof ReadableStream);
    if (repeatable && method !== "GET" && method !== "HEAD") headers[REQUEST_ID_HEADER] ??= randomUUID();
    const request: HttpRequest = {
      method,
      url,
      headers,
      timeoutMs: options.timeoutMs ??
        (options.waitMs === undefined ? ANSWER_TIMEOUT_MS : options.waitMs + BLOCKING_SLACK_MS),
      ...(body === undefined ? {} : { body }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    };
    return this.#targets.length === 1
      ? await this.#send(this.#target, request)
      : await this.#sendToAny(request, repeatable);
  }

  async #send(target: Target, request: HttpRequest): Promise<HttpResponse> {
    const transport = await (target.transport ??= this.#open(target));
    return await transport(request);
  }

  /** To every agent once, beginning with the one that answered last, until one answers. */
  async #sendToAny(request: HttpRequest, repeatable: boolean): Promise<HttpResponse> {
    const root = origin(this.#target);
    // What is addressed elsewhere is not ours to move.
    if (!request.url.href.startsWith(root)) return await this.#send(this.#target, request);
    const path = request.url.href.slice(root.length);
    for (let left = this.#targets.length - 1;; left--) {
      const target = this.#target;
      let sent = false;
      try {
        if (left > 0) await reachable(target);
        sent = true;
        const response = await this.#send(target, { ...request, url: new URL(origin(target) + path) });
        if (left === 0 || response.status !== 500 || !repeatable) return response;
        const text = await readText(response.body);
        if (text.trim() !== "No cluster leader") return { ...response, body: whole(text) };
      } catch (error) {
        const over = left === 0 || (sent && !repeatable) || request.signal?.aborted;
        if (!(error instanceof RequestError) || over) throw error;
      }
      this.#current = (this.#current + 1) % this.#targets.length;
    }
  }

  /** Token and basic auth, under what the caller adds. */
  headers(extra: Record<string, string> = {}): Record<string, string> {
    const headers: Record<string, string> = {};
    if (this.#settings.token) headers["X-Nomad-Token"] = this.#settings.token;
    if (this.#settings.httpAuth) {
      const [user, ...password] = this.#settings.httpAuth.split(":");
      headers["Authorization"] = `Basic ${
        Buffer.from(`${user}:${password.join(":")}`, "utf8").toString("base64")
      }`;
    }
    return { ...headers, ...extra };
  }

  /** The address of a route with namespace, region and query. */
  url(path: string, options: CallOptions = {}): URL {
    const url = new URL(this.base.href.replace(/\/$/, "") + path);
    const query: Query = {
      namespace: this.#settings.namespace || undefined,
      region: this.#settings.region || undefined,
      ...(options.index === undefined ? {} : { index: options.index }),
      ...(options.waitMs === undefined ? {} : { wait: `${options.waitMs}ms` }),
      ...options.query,
    };
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  /** The address of a page of the web UI. */
  uiUrl(path: string): string {
    return this.base.href.replace(/\/$/, "") + path;
  }

  /** Whether this agent wants its web pages named; not when it will not say. */
  async wantsHints(forced: boolean): Promise<boolean> {
    try {
      const { data } = await this.get<{ config?: { UI?: { Enabled?: boolean; ShowCLIHints?: boolean } } }>(
        "/v1/agent/self",
      );
      const ui = data?.config?.UI;
      return ui?.Enabled === true && (forced || ui.ShowCLIHints === true);
    } catch (error) {
      // Whatever is wrong, the command's own request says it.
      if (error instanceof RequestError || error instanceof CommandError) return false;
      throw error;
    }
  }
}

/** Rejects with RequestError when the agent accepts no connection in time: fetch would wait for minutes. */
function reachable({ base, socketPath }: Target): Promise<void> {
  const port = Number(base.port || (base.protocol === "https:" ? 443 : 80));
  const host = base.hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    const socket = socketPath === undefined ? connect({ host, port }) : connect(socketPath);
    const fail = (why: string) => {
      socket.destroy();
      reject(new RequestError(`${base.href}: ${why}`, 0, ""));
    };
    socket.setTimeout(CONNECT_MAX_MS, () => fail(`no connection within ${CONNECT_MAX_MS} ms`));
    socket.once("error", (error) => fail(error.message));
    socket.once("connect", () => {
      socket.destroy();
      resolve();
    });
  });
}

function origin({ base }: Target): string {
  return base.href.replace(/\/$/, "");
}

async function* whole(text: string): AsyncIterable<Uint8Array> {
  yield new TextEncoder().encode(text);
}

async function decode<T>(response: HttpResponse): Promise<Answer<T>> {
  const text = await readText(response.body);
  const contact = response.headers.get("x-nomad-lastcontact");
  const leader = response.headers.get("x-nomad-knownleader");
  let data: T;
  try {
    data = (text === "" ? null : JSON.parse(text)) as T;
  } catch (error) {
    throw new RequestError(`the agent's answer is not JSON: ${(error as Error).message}`, 0, text, "", {
      cause: error,
    });
  }
  return {
    data,
    text,
    index: Number(response.headers.get("x-nomad-index") ?? 0),
    nextToken: response.headers.get("x-nomad-nexttoken") ?? "",
    lastContactMs: contact === null ? undefined : Number(contact),
    knownLeader: leader === null ? undefined : leader === "true",
  };
}

export async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) text += decoder.decode(chunk, { stream: true });
  return text + decoder.decode();
}

function parseAddress(address: string): { base: URL; socketPath: string | undefined } {
  const invalid = (why: string) =>
    new CommandError(
      `Error initializing client: invalid address '${address}': ${why}\n` +
        "Write it with its scheme, for example http://127.0.0.1:4646 or unix:///run/nomad.sock.",
    );
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(address)?.[1]?.toLowerCase();
  if (scheme === "unix") {
    return { base: new URL("http://127.0.0.1"), socketPath: address.slice("unix://".length) };
  }
  if (scheme === undefined) {
    if (!address.includes(":")) throw invalid('unsupported protocol scheme ""');
    throw invalid(`parse ${JSON.stringify(address)}: first path segment in URL cannot contain colon`);
  }
  if (scheme !== "http" && scheme !== "https") {
    throw invalid(`unsupported protocol scheme ${JSON.stringify(scheme)}`);
  }
  try {
    return { base: new URL(address), socketPath: undefined };
  } catch (error) {
    throw invalid(`parse ${JSON.stringify(address)}: ${(error as Error).message}`);
  }
}

function usesFiles(settings: ApiSettings): boolean {
  return Boolean(settings.caCert || settings.caPath || settings.clientCert || settings.clientKey);
}

async function readTls(settings: ApiSettings, base: URL, cwd: string): Promise<TlsOptions | undefined> {
  const { readdir, readFile } = await import("node:fs/promises");
  const { resolve } = await import("node:path");
  const fail = (what: string, path: string, error: unknown) =>
    new CommandError(`Error initializing client: Error loading ${what}: ${openError(path, error)}`);
  const read = (what: string, path: string) =>
    readFile(resolve(cwd, path), "utf8").catch((error) => {
      throw fail(what, path, error);
    });
  if (Boolean(settings.clientCert) !== Boolean(settings.clientKey)) {
    throw new CommandError(
      "Error initializing client: a client certificate needs both -client-cert and -client-key (or NOMAD_CLIENT_CERT and NOMAD_CLIENT_KEY)",
    );
  }
  const tls: TlsOptions = {};
  if (settings.caCert) {
    tls.ca = [await read("CA File", settings.caCert)];
  } else if (settings.caPath) {
    const directory = resolve(cwd, settings.caPath);
    const names = await readdir(directory).catch((error) => {
      throw fail("CA Path", settings.caPath, error);
    });
    const texts = await Promise.all(names.sort().map((name) => read("CA File", resolve(directory, name))));
    tls.ca = texts.filter((text) => text.includes("-----BEGIN CERTIFICATE-----"));
    if (tls.ca.length === 0) throw fail("CA Path", settings.caPath, new Error("no file with a certificate"));
  }
  if (settings.clientCert) {
    tls.cert = await read("client certificate", settings.clientCert);
    tls.key = await read("client key", settings.clientKey);
  }
  if (settings.tlsServerName) tls.servername = settings.tlsServerName;
  if (settings.tlsSkipVerify) tls.rejectUnauthorized = false;
  return base.protocol === "https:" ? tls : undefined;
}

/** "open /x: no such file or directory": Go's words for a file that cannot be read. */
export function openError(path: string, error: unknown, verb = "open"): string {
  return fileErrorText(verb, path, error);
}
