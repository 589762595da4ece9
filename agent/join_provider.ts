// Providers of join addresses: the form "provider=NAME key=value …" in retry_join, and what stands behind it. One is
// built in, `http`, which asks a URL such as a cloud's metadata service or an inventory; others can be added to the map.
//
// Invariants: a provider answers within its deadline or rejects; what it reads is bounded.
import { errorText } from "../core/errors.ts";

/** The keys of an entry → addresses as retry_join takes them (host, host:port, names). Rejects with a reason. */
export type JoinProvider = (keys: Readonly<Record<string, string>>) => Promise<string[]>;
export type JoinProviders = ReadonlyMap<string, JoinProvider>;

/** No provider has this name: it never will while the agent runs. */
export class UnknownProviderError extends Error {
  override readonly name = "UnknownProviderError";
}

const HTTP_DEADLINE_MS = 10_000;
const HTTP_MAX_BYTES = 256 * 1024;
const ADDRESSES_MAX = 256;

export const isProviderEntry = (entry: string) => /(^|\s)provider=/.test(entry);

/** "provider=x a=b c="d e"" → keys and values. Throws SyntaxError. */
export function parseProviderEntry(entry: string): Record<string, string> {
  const keys: Record<string, string> = {};
  const part = /\s*([A-Za-z0-9_.-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?=\s|$)/y;
  for (; part.lastIndex < entry.trimEnd().length;) {
    const at = part.lastIndex;
    const match = part.exec(entry);
    if (!match) {
      throw new SyntaxError(
        `cannot read ${
          JSON.stringify(entryName(entry.slice(at).trim()))
        }: expected key=value, with quotes around spaces`,
      );
    }
    keys[match[1]!] = match[2] !== undefined ? match[2].replace(/\\(.)/g, "$1") : match[3]!;
  }
  return keys;
}

/** Keys whose values may be credentials: our headers, and what clouds' forms hold (`secret_access_key`, `api_token`). */
const SECRET =
  /\b(header_[^=\s]+|[\w.-]*(?:secret|passw|token|credential|(?:access|api|private|account)_?key)[\w.-]*)=/i;
const VALUE = /"(?:[^"\\]|\\.)*"|\S+/;
const SECRETS = new RegExp(`${SECRET.source}(?:${VALUE.source})`, "gi");

/** How an entry stands in the log and in the API: without what may be a credential, in the URL either. */
export function entryName(entry: string): string {
  return entry
    .replace(/(\burl="?[a-z]+:\/\/)[^\s"\/?#@]*@/gi, "$1<hidden>@")
    .replace(/(\burl="?[^\s"?]*)\?[^\s"]*/gi, "$1?<hidden>")
    .replace(SECRETS, "$1=<hidden>");
}

/** Throws UnknownProviderError, which names the entry and the known providers. */
export function findProvider(entry: string, providers: JoinProviders = PROVIDERS): JoinProvider {
  const name = /(?:^|\s)provider="?([^\s"]*)/.exec(entry)?.[1] ?? "";
  const provider = providers.get(name);
  if (provider) return provider;
  throw new UnknownProviderError(
    `discover: unknown provider ${JSON.stringify(name)} in "${entryName(entry)}": known are ` +
      `${[...providers.keys()].join(", ")}: use one of them, or addresses and DNS names`,
  );
}

/**
 * `provider=http url=… [path=a.b.0] [header_NAME=value]`: GETs the URL. The answer is a JSON list of addresses, a JSON
 * document in which `path` leads to one, or text with an address a line (# begins a comment).
 */
async function askHttp(keys: Readonly<Record<string, string>>): Promise<string[]> {
  const url = parseUrl(keys["url"] ?? "");
  const unknown = Object.keys(keys).filter((key) => !/^(provider|url|path|header_.+)$/.test(key));
  if (unknown.length > 0) {
    throw new Error(`provider=http does not know ${unknown.join(", ")}: it takes url, path and header_NAME`);
  }
  const headers = Object.entries(keys).filter(([key]) => key.startsWith("header_"))
    .map(([key, value]): [string, string] => [key.slice("header_".length).replaceAll("_", "-"), value]);
  const text = await getText(url, headers);
  const addresses = readAddresses(text, keys["path"] ?? "");
  if (addresses.length > ADDRESSES_MAX) {
    throw new Error(`${url.origin} names ${addresses.length} addresses, more than ${ADDRESSES_MAX}`);
  }
  return addresses;
}

function parseUrl(text: string): URL {
  if (text === "") throw new Error("provider=http needs url=http://…");
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw new Error(`provider=http: ${JSON.stringify(text)} is no http or https URL`);
}

/** The text of an answer. Headers may be credentials: they are in no error. */
async function getText(url: URL, headers: [string, string][]): Promise<string> {
  const place = `${url.origin}${url.pathname}`;
  try {
    const response = await fetch(url, {
      headers,
      signal: AbortSignal.timeout(HTTP_DEADLINE_MS),
      redirect: "error",
    });
    const bytes = await readBounded(response);
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    return new TextDecoder().decode(bytes);
  } catch (error) {
    const late = (error as Error).name === "TimeoutError";
    const why = late ? `no answer within ${HTTP_DEADLINE_MS / 1000} s` : errorText(error);
    throw new Error(`asking ${place} failed: ${why}`);
  }
}

async function readBounded(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > HTTP_MAX_BYTES) {
      await reader.cancel();
      throw new Error(`its answer is larger than ${HTTP_MAX_BYTES} bytes`);
    }
    parts.push(value);
  }
  return new Uint8Array(Buffer.concat(parts));
}

function readAddresses(text: string, path: string): string[] {
  const trimmed = text.trim();
  if (path === "" && !/^[[{"]/.test(trimmed)) {
    return trimmed.split("\n").map((line) => line.replace(/#.*/, "").trim()).filter(Boolean);
  }
  let value: unknown;
  try {
    value = JSON.parse(trimmed);
  } catch (error) {
    throw new Error(`its answer is not JSON: ${errorText(error)}`);
  }
  for (const key of path.split(".").filter(Boolean)) {
    value = typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
  }
  if (typeof value === "string") return [value];
  if (Array.isArray(value) && value.every((item): item is string => typeof item === "string")) return value;
  throw new Error(
    `its answer has no list of addresses${path ? ` at path=${path}` : ": set path=… to where it is"}`,
  );
}

export const PROVIDERS: JoinProviders = new Map([["http", askHttp]]);
