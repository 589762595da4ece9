// Where a worker's file is: beside the module that starts it in the sources, beside the bundle (as .mjs) in a package.

/** `name` without extension, as in "storage_worker"; `moduleUrl` is the caller's import.meta.url. */
export function workerUrl(name: string, moduleUrl: string): URL {
  return new URL(`./${name}${moduleUrl.endsWith(".mjs") ? ".mjs" : ".ts"}`, moduleUrl);
}
