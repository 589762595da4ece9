// Which image a job means and bringing it onto this host: already there, pulled from a registry, or loaded from an
// archive that an artifact brought. Equal requests at one time share one pull.
import { existsSync } from "node:fs";
import { DriverError } from "../core/errors.ts";
import type { TaskSpec } from "./driver.ts";
import { answerText, type PodmanApi } from "./podman_api.ts";
import { type ContainerPlan, hostPath } from "./podman_config.ts";

export type ImageSource =
  | { kind: "registry"; name: string }
  | { kind: "archive"; path: string; tag: string };

/** "docker://redis:7", "redis", "localhost/x:1", "docker-archive:/x.tar[:name]", "oci-archive:/x.tar[:name]". */
export function parseImage(text: string): ImageSource {
  const archive = /^(?:docker|oci)-archive:([^:]+)(?::(.+))?$/.exec(text);
  if (archive) return { kind: "archive", path: archive[1]!, tag: archive[2] ?? "" };
  const transport = /^([a-z-]+):(\/\/)?/.exec(text);
  if (text.startsWith("docker://")) return { kind: "registry", name: text.slice("docker://".length) };
  // "name:tag" looks like a transport only where two slashes or a known word stand.
  if (transport?.[2] || /^(docker|containers-storage|dir|oci|docker-daemon|ostree|sif):/.test(text)) {
    throw new DriverError(
      "start",
      `image ${JSON.stringify(text)}: this transport is not supported`,
      false,
      "use a name, docker://, docker-archive: or oci-archive:",
    );
  }
  return { kind: "registry", name: text };
}

export class PodmanImages {
  readonly #api: PodmanApi;
  readonly #pulls = new Map<string, Promise<string>>();

  constructor(api: PodmanApi) {
    this.#api = api;
  }

  /** Makes sure that the image is on this host; returns the name to create a container from. */
  async prepare(plan: ContainerPlan, spec: TaskSpec, onEvent: (message: string) => void): Promise<string> {
    const source = parseImage(plan.image);
    if (source.kind === "archive") return await this.#load(source, spec, onEvent);
    if (!plan.forcePull && await this.exists(source.name)) return source.name;
    const key = JSON.stringify([source.name, plan.auth]);
    let pull = this.#pulls.get(key);
    if (!pull) {
      pull = this.#pull(source.name, plan).finally(() => this.#pulls.delete(key));
      this.#pulls.set(key, pull);
    }
    onEvent(`Downloading image`);
    return await pull;
  }

  async exists(name: string): Promise<boolean> {
    const path = `/images/${encodeURIComponent(name)}/exists`;
    return (await this.#api.must("look up the image", "GET", path, { also: [404] })).status === 204;
  }

  async #pull(name: string, plan: ContainerPlan): Promise<string> {
    const headers: Record<string, string> = {};
    if (plan.auth) headers["x-registry-auth"] = Buffer.from(JSON.stringify(plan.auth)).toString("base64url");
    let failure = "";
    let id = "";
    const answer = await this.#api.call(
      "pull the image",
      "POST",
      `/images/pull?reference=${encodeURIComponent(name)}`,
      {
        headers,
        timeoutMs: plan.pullTimeoutMs,
        onLine: (line) => {
          const word = readLine(line);
          failure = word.error ?? failure;
          id = word.id ?? id;
        },
      },
    );
    if (answer.status >= 300) failure = answerText(answer);
    if (failure !== "") {
      throw new DriverError(
        "start",
        `Failed to pull ${name}: ${failure.trim()}`,
        true,
        "is the registry reachable and the name right?",
      );
    }
    return id || name;
  }

  async #load(
    source: { path: string; tag: string },
    spec: TaskSpec,
    onEvent: (message: string) => void,
  ): Promise<string> {
    const path = hostPath(source.path, spec);
    if (!existsSync(path)) {
      throw new DriverError(
        "start",
        `image archive ${path}: no such file`,
        false,
        "bring it with an artifact block",
      );
    }
    if (source.tag !== "" && await this.exists(source.tag)) return source.tag;
    onEvent("Loading image");
    const answer = await this.#api.must("load the image", "POST", "/images/load", {
      file: path,
      timeoutMs: 5 * 60_000,
    });
    const names = (answer.body as { Names?: string[] }).Names ?? [];
    const name = source.tag || names[0];
    if (!name) throw new DriverError("start", `image archive ${path}: Podman found no image in it`, false);
    return name;
  }
}

/** One line of a pull's progress. */
function readLine(line: string): { error?: string; id?: string } {
  try {
    return JSON.parse(line) as { error?: string; id?: string };
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}
