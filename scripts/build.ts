// Bundles what the npm package ships into dist/: nomad.mjs (the command, and the library when it is imported) and one
// file a worker. Split into chunks, so that a command loads only its own code. Native modules stay outside: they are
// the package's dependencies.
import { build } from "esbuild";
import { chmodSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root } from "./setup.ts";

const ROOMS = ["server", "client", "drivers", "jobspec", "core"];
const dist = join(root, "dist");
rmSync(dist, { recursive: true, force: true });

const workers = ROOMS.flatMap((room) =>
  readdirSync(join(root, room)).filter((file) => file.endsWith("_worker.ts")).map((file) =>
    join(root, room, file)
  )
);
const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  dependencies: Record<string, string>;
};

await build({
  absWorkingDir: root,
  entryPoints: [
    { in: join(root, "mod.ts"), out: "nomad" },
    ...workers.map((file) => ({
      in: file,
      out: file.slice(file.lastIndexOf("/") + 1, -".ts".length),
    })),
  ],
  outdir: dist,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "es2024",
  minifySyntax: true,
  external: Object.keys(dependencies),
  loader: { ".html": "text" },
  logLevel: "warning",
});
chmodSync(join(dist, "nomad.mjs"), 0o755);
console.log(`dist/: ${readdirSync(dist).length} files, ${workers.length} workers`);
process.exit(0);
