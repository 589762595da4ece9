// One request on its way through the API: its decoded path and query parameters, its body, and the replies that carry
// the API's headers. Knows HTTP and nothing of jobs or nodes; never touches state.
//
// Invariants: a body is read once and never beyond BODY_MAX_BYTES; an error reply is text without a stack trace;
// compressed only when the client takes it and it is worth it.
import { gzipSync } from "node:zlib";
import { parseDuration } from "../core/duration.ts";
import { ApiError, errorText } from "../core/errors.ts";
import { NDJSON } from "../core/ndjson.ts";
import { decodeJson, type StructShape } from "./json_decode.ts";
import type { RequestStamp } from "./state_requests.ts";

export const BODY_MAX_BYTES = 10 * 1024 * 1024;
const GZIP_MIN_LENGTH = 512;
const NO_PARAMETERS = new URLSearchParams();
const decoder = new TextDecoder();

/** What every read may ask for. */
export interface ReadOptions {
  namespace: string;
  prefix: string;
  /** Wait for a change beyond this index; 0 for no waiting. */
  minIndex: number;
  /** 0: the default. */
  waitMs: number;
  stale: boolean;
  /** Confirmed by a majority at the time of the request. */
  consistent: boolean;
  filter: string;
  /** 0: everything. Negative: nothing but the token of the first. */
  perPage: number;
  nextToken: string;
  reverse: boolean;
}

/** Headers of a read: at which index it was answered. */
export interface ReadMeta {
  index: number;
  knownLeader: boolean;
  lastContactMs: number;
  nextToken?: string;
}

export class Exchange {
  /** Decoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly method: string;
  /** The id that this server gave the write when it sent it on: it counts here, too, should this server lead by now. */
  hopId = "";
  /** Set for a write that carries an id: http_once.ts. */
  stamp: Omit<RequestStamp, "time" | "answer"> | null = null;
  #options: ReadOptions | undefined;
  #body: Promise<Uint8Array> | undefined;

  constructor(readonly request: Request) {
    const { url } = request;
    const start = url.indexOf("/", url.indexOf("://") + 3);
    const question = url.indexOf("?", start);
    const raw = start < 0 ? "/" : question < 0 ? url.slice(start) : url.slice(start, question);
    this.path = raw.includes("%") ? decodePath(raw) : raw;
    this.query = question < 0 ? NO_PARAMETERS : new URLSearchParams(withoutFragment(url.slice(question + 1)));
    this.method = request.method;
  }

  /** The part of the path after `prefix`. */
  after(prefix: string): string {
    return this.path.slice(prefix.length);
  }

  parameter(name: string): string {
    return this.query.get(name) ?? "";
  }

  /** A true/false parameter; null when absent. Throws ApiError with the recorded text. */
  bool(name: string, options: { status?: number; lead?: string } = {}): boolean | null {
    const text = this.parameter(name);
    if (text === "") return null;
    const value = parseGoBool(text);
    if (value !== null) return value;
    throw new ApiError(
      options.status ?? 500,
      `${options.lead ?? ""}Failed to parse value of ${JSON.stringify(name)} (${text}) as a bool: ` +
        `strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }

  /** An integer parameter; null when absent. */
  int(name: string): number | null {
    const text = this.parameter(name);
    if (text === "") return null;
    if (/^[+-]?\d+$/.test(text)) return Number(text);
    throw new ApiError(
      400,
      `Failed to parse value of ${JSON.stringify(name)} (${text}) as a int: ` +
        `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }

  /** The parameters that all reads share. Throws ApiError(400) for those that cannot be read. */
  get options(): ReadOptions {
    return this.#options ??= readOptions(this.query);
  }

  /** Namespace that a write is for: the query wins over the body. */
  writeNamespace(inBody?: string): string {
    return this.parameter("namespace") || inBody || "default";
  }

  get pretty(): boolean {
    return this.query.has("pretty");
  }

  get acceptsGzip(): boolean {
    return this.request.headers.get("accept-encoding")?.includes("gzip") ?? false;
  }

  /** The body goes on as it comes (exchanges of lines, large uploads): it cannot be held, nor sent twice. */
  get streams(): boolean {
    const { headers } = this.request;
    return headers.get("content-type") === NDJSON || this.path.startsWith("/v1/operator/snapshot") ||
      Number(headers.get("content-length") ?? 0) > BODY_MAX_BYTES;
  }

  /** Whether somebody asked for the body already. */
  get bodyRead(): boolean {
    return this.#body !== undefined;
  }

  /** The whole body. Throws ApiError(413) beyond BODY_MAX_BYTES. */
  body(): Promise<Uint8Array> {
    return this.#body ??= readBody(this.request);
  }

  /** The JSON body as `shape`. An empty one is an error unless `optional`. */
  async json<T>(shape: StructShape, options: { optional?: boolean } = {}): Promise<T> {
    const bytes = await this.body();
    if (bytes.length > 0) return decodeJson<T>(decoder.decode(bytes), shape);
    if (options.optional) return {} as T;
    throw new ApiError(400, "Request body is empty");
  }

  // --- Replies --------------------------------------------------------------------------------------------------

  /** A read's JSON with the index headers. */
  read(value: unknown, meta: ReadMeta): Response {
    return this.reply(this.encode(value), readHeaders(meta));
  }

  /** A write's JSON; `index` becomes X-Nomad-Index unless it is null. */
  written(value: unknown, index: number | null): Response {
    return this.reply(this.encode(value), index === null ? {} : { "X-Nomad-Index": String(index) });
  }

  /** A write without a body. */
  empty(index: number | null = null): Response {
    const headers: Record<string, string> = { Vary: "Accept-Encoding" };
    if (index !== null) headers["X-Nomad-Index"] = String(index);
    return new Response(null, { status: 200, headers });
  }

  json200(value: unknown): Response {
    return this.reply(this.encode(value), {});
  }

  encode(value: unknown): string {
    return this.pretty ? JSON.stringify(value, null, 4) + "\n" : JSON.stringify(value);
  }

  /**
   * Sends encoded JSON. `zipped` is the same compressed, when somebody did it already. Text stays text on the way to
   * the socket: a Response copies bytes but shares a string.
   */
  reply(text: string, headers: Record<string, string>, zipped?: () => Uint8Array): Response {
    headers["Content-Type"] = "application/json";
    headers.Vary = "Accept-Encoding";
    if (text.length < GZIP_MIN_LENGTH || !this.acceptsGzip) return new Response(text, { headers });
    headers["Content-Encoding"] = "gzip";
    const small = zipped ? zipped() : gzip(text);
    return new Response(small as Uint8Array<ArrayBuffer>, { headers });
  }
}

export function gzip(text: string): Uint8Array {
  return gzipSync(text, { level: 3 });
}

export function readHeaders(meta: ReadMeta): Record<string, string> {
  const headers: Record<string, string> = {
    "X-Nomad-Index": String(meta.index),
    "X-Nomad-Knownleader": String(meta.knownLeader),
    "X-Nomad-Lastcontact": String(Math.round(meta.lastContactMs)),
  };
  if (meta.nextToken) headers["X-Nomad-Nexttoken"] = meta.nextToken;
  return headers;
}

/** A plain-text answer, as all errors are. */
export function textReply(status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(text, {
    status,
    headers: { "Content-Type": "text/plain; charset=utf-8", Vary: "Accept-Encoding", ...headers },
  });
}

/** An answer without body and type: unknown routes. */
export function bareReply(status: number, headers: Record<string, string> = {}): Response {
  return new Response(null, { status, headers: { Vary: "Accept-Encoding", ...headers } });
}

/** Go's strconv.ParseBool; null when it is neither. */
export function parseGoBool(text: string): boolean | null {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  return null;
}

function decodePath(raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw new ApiError(400, "Cannot read the path: % stands for a byte of UTF-8 in hex, and %25 for itself");
  }
}

function withoutFragment(query: string): string {
  const hash = query.indexOf("#");
  return hash < 0 ? query : query.slice(0, hash);
}

function readOptions(query: URLSearchParams): ReadOptions {
  return {
    namespace: query.get("namespace") || "default",
    prefix: query.get("prefix") ?? "",
    minIndex: readIndex(query.get("index")),
    waitMs: readWait(query.get("wait")),
    stale: readMode(query, "stale"),
    consistent: readMode(query, "consistent"),
    filter: query.get("filter") ?? "",
    perPage: readPerPage(query.get("per_page")),
    nextToken: query.get("next_token") ?? "",
    reverse: query.get("reverse") === "true",
  };
}

function readIndex(text: string | null): number {
  if (!text) return 0;
  if (!/^\d+$/.test(text)) throw new ApiError(400, "Invalid index");
  return Number(text);
}

function readWait(text: string | null): number {
  if (!text) return 0;
  try {
    return parseDuration(text) / 1e6;
  } catch (error) {
    if (error instanceof SyntaxError) throw new ApiError(400, "Invalid wait time");
    throw error;
  }
}

function readMode(query: URLSearchParams, name: "stale" | "consistent"): boolean {
  const text = query.get(name);
  if (text === null) return false;
  const value = text === "" ? true : parseGoBool(text);
  if (value === null) {
    throw new ApiError(400, `Expect \`true\` or \`false\` for \`${name}\` query string parameter`);
  }
  return value;
}

function readPerPage(text: string | null): number {
  if (!text) return 0;
  const value = Number(text);
  if (!/^[+-]?\d+$/.test(text) || Math.abs(value) > 2147483647) {
    throw new ApiError(400, "Expect a number for `per_page` query string parameter");
  }
  return value;
}

/** What is read of a body that is too large, and thrown away, so that its sender hears the refusal. */
const DRAINED_MAX_BYTES = 4 * BODY_MAX_BYTES;

async function readBody(request: Request): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? NaN);
  if (announced > BODY_MAX_BYTES) throw tooLarge();
  try {
    // A body of known length comes whole, several times as fast as part by part.
    if (announced <= BODY_MAX_BYTES) return new Uint8Array(await request.arrayBuffer());
    return await readParts(request.body);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    // The caller went away in the middle: nobody hears this.
    throw new ApiError(400, `The request body could not be read to its end: ${errorText(error)}`);
  }
}

async function readParts(body: ReadableStream<Uint8Array> | null): Promise<Uint8Array> {
  if (!body) return new Uint8Array(0);
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size <= BODY_MAX_BYTES) parts.push(part);
    else parts = [];
    if (size > DRAINED_MAX_BYTES) break;
  }
  if (size > BODY_MAX_BYTES) throw tooLarge();
  if (parts.length === 1) return parts[0]!;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function tooLarge(): ApiError {
  return new ApiError(
    413,
    `Request body too large: at most ${BODY_MAX_BYTES} bytes are accepted, send less`,
  );
}
