// Addresses as people write them → addresses to connect to: `host`, `host:port`, IPv4, IPv6 with or without brackets,
// and names that stand for several machines. The lookup itself is bounded in time.
import { lookup as dnsLookup } from "node:dns";
import { isIP } from "node:net";
import { errorText } from "./errors.ts";

export interface HostPort {
  host: string;
  port: number;
}

/** Name → all of its IP addresses. Rejects when there is none. */
export type Lookup = (name: string) => Promise<string[]>;

const LOOKUP_DEADLINE_MS = 10_000;

/** Asks the system's resolver (hosts file, DNS), which takes its own time: given up after ten seconds. */
export const systemLookup: Lookup = (name) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`no answer within ${LOOKUP_DEADLINE_MS / 1000} s`)),
      LOOKUP_DEADLINE_MS,
    );
    dnsLookup(name, { all: true }, (error, addresses) => {
      clearTimeout(timer);
      if (error) reject(new Error(error.code === "ENOTFOUND" ? "no such host" : errorText(error)));
      else resolve([...new Set(addresses.map(({ address }) => address))]);
    });
  });

/** `host`, `host:port`, `[v6]:port`, a bare v6 → parts. Throws SyntaxError for what is none of them. */
export function parseHostPort(text: string, defaultPort: number): HostPort {
  const trimmed = text.trim();
  if (isIP(trimmed) === 6) return { host: trimmed, port: defaultPort };
  const match = /^(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?$/.exec(trimmed);
  const port = match?.[3] ? Number(match[3]) : defaultPort;
  if (!match || port < 1 || port > 65_535) {
    throw new SyntaxError(`${JSON.stringify(text)} is no address: expected host, host:port or [ipv6]:port`);
  }
  return { host: (match[1] ?? match[2])!, port };
}

/** Parts → `host:port`, with brackets around IPv6. */
export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** All that an address stands for. Rejects with a text that names it. */
export async function resolveAddress(
  text: string,
  defaultPort: number,
  lookup: Lookup = systemLookup,
): Promise<HostPort[]> {
  const { host, port } = parseHostPort(text, defaultPort);
  if (isIP(host.replace(/%.*$/, "")) !== 0) return [{ host, port }];
  const hosts = await lookup(host).catch((error) => {
    throw new Error(`lookup ${host}: ${errorText(error)}`);
  });
  return hosts.map((each) => ({ host: each, port }));
}
