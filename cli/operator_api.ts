// `operator api`, a curl for the API with the flags and environment of the other commands, and `operator metrics`.
import { readText } from "./api.ts";
import { bool, list, string } from "./args.ts";
import { command, type Context } from "./command.ts";
import { attempt, CommandError, RequestError, UsageError } from "./errors.ts";
import { formatJson, parseExact } from "./json_text.ts";
import { dataFlags, outputData, wantsData } from "./output.ts";
import { pour, untilInterrupted } from "./stream.ts";

export const operatorApi = command({
  form: "nomad operator api [options] <path>",
  about: `api is a utility command for accessing Nomad's HTTP API and is inspired by
the popular curl command line tool. Nomad's operator api command populates
Nomad's standard environment variables into their appropriate HTTP headers.
If the 'path' does not begin with "http" then $NOMAD_ADDR will be used.

The 'path' can be in one of the following forms:

  /v1/allocations                       <- API Paths must start with a /
  localhost:4646/v1/allocations         <- Scheme will be inferred
  https://localhost:4646/v1/allocations <- Scheme will be https://

Note that this command does not always match the popular curl program's
behavior. Instead Nomad's operator api command is optimized for common Nomad
HTTP API operations.`,
  general: "all",
  title: "Operator API Specific Options",
  flags: {
    dryrun: bool(
      "Output equivalent curl command to stdout and exit.\nHTTP Basic Auth will never be output. If the $NOMAD_HTTP_AUTH environment\nvariable is set, it will be referenced in the appropriate curl flag in the\noutput.\nACL tokens set via the $NOMAD_TOKEN environment variable will only be\nreferenced by environment variable as with HTTP Basic Auth above. However\nif the -token flag is explicitly used, the token will also be included in\nthe output.",
    ),
    filter: string("Specifies an expression used to filter query results.", "query"),
    H: list(
      "Adds an additional HTTP header to the request. May be specified more than\nonce. These headers take precedence over automatically set ones such as\nX-Nomad-Token.",
      "Header",
    ),
    verbose: bool("Output extra information to stderr similar to curl's --verbose flag."),
    X: string(
      "HTTP method of request. If there is data piped to stdin, then the method\ndefaults to POST. Otherwise the method defaults to GET.",
      "HTTP Method",
    ),
  },
  async run(context) {
    const { args, flags } = context;
    if (args.length === 0) throw new UsageError("A path or URL is required");
    if (args.length > 1) throw new UsageError("operator api accepts exactly 1 argument: <path>");
    const url = targetUrl(context, args[0]!);
    const body = await readBody(context);
    const method = flags.X || (body === undefined ? "GET" : "POST");
    const headers = readHeaders(flags.H);
    if (flags.dryrun) {
      context.ui.output(curlCommand(context, { url, method, headers, hasBody: body !== undefined }));
      return 0;
    }
    return await send(context, { url, method, headers, body });
  },
});

interface ApiFlags {
  dryrun: boolean;
  filter: string;
  H: string[];
  verbose: boolean;
  X: string;
}

function targetUrl(context: Context<ApiFlags>, path: string): URL {
  const { api, flags } = context;
  let url: URL;
  if (path.startsWith("/")) url = new URL(api.uiUrl(path));
  else if (/^https?:\/\//i.test(path)) url = new URL(path);
  else url = new URL(`${api.base.protocol}//${path}`);
  if (api.namespace && !url.searchParams.has("namespace")) url.searchParams.set("namespace", api.namespace);
  if (api.region && !url.searchParams.has("region")) url.searchParams.set("region", api.region);
  if (flags.filter) url.searchParams.set("filter", flags.filter);
  return url;
}

/** What is piped in; undefined when nothing is. */
async function readBody(context: Context<ApiFlags>): Promise<Uint8Array | undefined> {
  if (context.io.stdin.isTty || context.flags.dryrun && context.flags.X !== "") return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of context.io.stdin.read()) chunks.push(chunk);
  return chunks.length > 0 ? Buffer.concat(chunks) : undefined;
}

function readHeaders(lines: string[]): Record<string, string> {
  return Object.fromEntries(lines.map((line) => {
    const colon = line.indexOf(":");
    if (colon < 1) {
      throw new CommandError(`Error parsing header ${JSON.stringify(line)}: expected Name: value`);
    }
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  }));
}

interface Call {
  url: URL;
  method: string;
  headers: Record<string, string>;
}

function curlCommand(context: Context<ApiFlags>, call: Call & { hasBody: boolean }): string {
  const { io, general } = context;
  const words = ["curl"];
  if (context.flags.verbose) words.push("--verbose");
  if (call.method !== "GET") words.push(`-X ${call.method}`);
  if (io.env["NOMAD_HTTP_AUTH"]) words.push('-u "$NOMAD_HTTP_AUTH"');
  if (general.token) words.push(`-H 'X-Nomad-Token: ${general.token}'`);
  else if (io.env["NOMAD_TOKEN"]) words.push('-H "X-Nomad-Token: ${NOMAD_TOKEN}"');
  for (const [name, value] of Object.entries(call.headers)) words.push(`-H '${name}: ${value}'`);
  for (const [flag, option, variable] of TLS_OPTIONS) {
    const value = general[flag] || io.env[variable];
    if (value) words.push(`${option} '${value}'`);
  }
  if (general["tls-skip-verify"] || io.env["NOMAD_SKIP_VERIFY"]) words.push("--insecure");
  if (call.hasBody) words.push("--data-binary @-");
  return [...words, call.url.href].join(" \\\n  ");
}

const TLS_OPTIONS = [
  ["ca-cert", "--cacert", "NOMAD_CACERT"],
  ["ca-path", "--capath", "NOMAD_CAPATH"],
  ["client-cert", "--cert", "NOMAD_CLIENT_CERT"],
  ["client-key", "--key", "NOMAD_CLIENT_KEY"],
] as const;

async function send(
  context: Context<ApiFlags>,
  call: Call & { body: Uint8Array | undefined },
): Promise<number> {
  const { api, flags, ui } = context;
  if (flags.verbose) {
    ui.error(`> ${call.method} ${call.url.pathname}${call.url.search} HTTP/1.1`);
    for (const [name, value] of Object.entries(call.headers)) ui.error(`> ${name}: ${value}`);
    ui.error(">\n* Sending request and receiving response...");
  }
  await untilInterrupted(context, async (signal) => {
    const response = await attempt(
      "Error performing request",
      api.exchange(call.method, call.url, {
        headers: call.headers,
        signal,
        ...(call.body === undefined ? {} : { body: call.body }),
      }),
    );
    if (flags.verbose) {
      ui.error(`< HTTP/1.1 ${response.status} ${response.statusText}`);
      response.headers.forEach((value, name) => ui.error(`< ${headerName(name)}: ${value}`));
      ui.error("<");
    }
    await pour(context, response.body);
  });
  return 0;
}

/** "content-type" → "Content-Type". */
function headerName(name: string): string {
  return name.split("-").map((part) => part.slice(0, 1).toUpperCase() + part.slice(1)).join("-");
}

export const operatorMetrics = command({
  form: "nomad operator metrics [options]",
  helpName: "metrics",
  about: `Shows the metrics of the asked agent.

When ACLs are enabled, no token is needed.`,
  general: "noNamespace",
  title: "Metrics Specific Options",
  args: { min: 0, max: 0, complaint: "This command takes no arguments" },
  flags: {
    format: string("json or prometheus. Defaults to json.", "format"),
    ...dataFlags("metrics"),
    pretty: bool("Indent the JSON."),
  },
  async run(context) {
    const { flags, api, ui } = context;
    try {
      const response = await api.request("GET", "/v1/metrics", {
        query: { format: flags.format || undefined, pretty: flags.pretty ? "true" : undefined },
      });
      const text = await readText(response.body);
      if (wantsData(flags)) {
        return await outputData(context, flags, { value: parseExact(text) }, "*api.MetricsSummary");
      }
      ui.info(flags.pretty && flags.format !== "prometheus" ? formatJson(parseExact(text)) : text.trimEnd());
      return 0;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      throw new CommandError(`Error getting metrics: ${error.message}${error.hint ? `\n${error.hint}` : ""}`);
    }
  },
});
