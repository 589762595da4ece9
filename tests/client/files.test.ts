// Artifacts, templates and payloads of real tasks' directories: a real HTTP server, real archives.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { crc32, gzipSync, zstdCompressSync } from "node:zlib";
import { pack } from "tar-stream";
import { allocDirs, makeAllocDirs, makeTaskDirs, taskDirs } from "../../client/alloc_dir.ts";
import { fetchArtifact, parseSource } from "../../client/artifact.ts";
import { type FilesInput, prepareFiles } from "../../client/task_files.ts";
import type { TaskArtifact, Template } from "../../core/types.ts";
import { makeGroup, makeJob, makeTask } from "./fixtures.ts";

const files = new Map<string, Uint8Array | string>();

function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url!, "http://x");
  if (url.pathname === "/moved") {
    response.writeHead(302, { location: "/hello.txt" });
    return void response.end();
  }
  if (url.pathname === "/secret" && request.headers["x-key"] !== "k") {
    response.writeHead(403);
    return void response.end();
  }
  const body = files.get(url.pathname);
  response.writeHead(body === undefined ? 404 : 200);
  response.end(body);
}

interface Place {
  input: FilesInput;
  url: string;
  dir: string;
  local: string;
}

async function withTask(run: (place: Place) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "files-"));
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const dirs = allocDirs(dir, "a1");
  const own = taskDirs(dirs.root, "web");
  await makeAllocDirs(dirs);
  await makeTaskDirs(own, "");
  const env = { NOMAD_TASK_DIR: own.local, NAME: "web" };
  const text = (value: string) => value.replace("${NOMAD_TASK_DIR}", own.local);
  const task = makeTask();
  const input = {
    task,
    job: makeJob(makeGroup([task])),
    dirs: own,
    allocDirs: dirs,
    env: { env, text, deep: <T>(value: T): T => JSON.parse(text(JSON.stringify(value))) as T },
    node: {} as FilesInput["node"],
    note: () => undefined,
    signal: new AbortController().signal,
    nowMs: 0,
    disableFileSandbox: false,
    again: false,
  };
  try {
    const { port } = server.address() as AddressInfo;
    await run({ input, url: `http://127.0.0.1:${port}`, dir, local: own.local });
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await rm(dir, { recursive: true, force: true });
  }
}

function artifact(source: string, fields: Partial<TaskArtifact> = {}): TaskArtifact {
  return {
    GetterSource: source,
    GetterOptions: null,
    GetterHeaders: null,
    GetterMode: "any",
    GetterInsecure: false,
    RelativeDest: "local/",
    Chown: false,
    ...fields,
  };
}

async function tarOf(entries: { name: string; content?: string; mode?: number; linkname?: string }[]) {
  const tar = pack();
  for (const { name, content, mode = 0o644, linkname } of entries) {
    if (linkname !== undefined) tar.entry({ name, type: "symlink", linkname });
    else tar.entry({ name, mode }, content ?? "");
  }
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  return new Uint8Array(Buffer.concat(chunks));
}

/** A zip of stored files: local headers, central directory, end record. */
function zipOf(entries: { name: string; content: string; mode: number }[]): Uint8Array {
  const body: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, mode } of entries) {
    const data = Buffer.from(content);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, Buffer.from(name), data]);
    const attributes = Buffer.alloc(14);
    attributes.writeUInt32LE((mode << 16) >>> 0, 6);
    attributes.writeUInt32LE(offset, 10);
    const madeByUnix = Buffer.from([20, 3]);
    directory.push(
      Buffer.concat([Buffer.from("PK\x01\x02"), madeByUnix, common, attributes, Buffer.from(name)]),
    );
    body.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return new Uint8Array(Buffer.concat([...body, central, end]));
}

test("fetchArtifact saves a file over redirects, with headers, and checks its sum", () =>
  withTask(async ({ input, url, local }) => {
    files.set("/hello.txt", "hello\n");
    files.set("/secret", "s");
    const sum = createHash("sha256").update("hello\n").digest("hex");
    await fetchArtifact(input, artifact(`${url}/hello.txt?checksum=sha256:${sum}`));
    assert.equal(await readFile(join(local, "hello.txt"), "utf8"), "hello\n");
    await fetchArtifact(
      input,
      artifact(`${url}/moved`, { GetterMode: "file", RelativeDest: "local/deep/x" }),
    );
    assert.equal(await readFile(join(local, "deep/x"), "utf8"), "hello\n");
    await fetchArtifact(input, artifact(`${url}/secret`, { GetterHeaders: { "X-Key": "k" } }));
    assert.equal(await readFile(join(local, "secret"), "utf8"), "s");
    const wrong = artifact(`${url}/hello.txt`, { GetterOptions: { checksum: `md5:${"0".repeat(32)}` } });
    await assert.rejects(
      fetchArtifact(input, wrong),
      /Checksums did not match\. Expected: 0{32}, got: b1946ac9/,
    );
    await assert.rejects(fetchArtifact(input, artifact(`${url}/nope`)), /bad response code: 404/);
  }));

test("fetchArtifact unpacks tar, tar.gz, tar.zst, zip and gz, keeps modes, and takes subdirectories", () =>
  withTask(async ({ input, url, local }) => {
    const tar = await tarOf([
      { name: "app/run.sh", content: "#!/bin/sh\n", mode: 0o755 },
      { name: "app/conf/x.conf", content: "x" },
      { name: "app/link", linkname: "conf/x.conf" },
      { name: `${"long/".repeat(40)}file`, content: "deep" },
    ]);
    files.set("/a.tar", tar).set("/a.tgz", gzipSync(tar)).set("/a.tar.zst", zstdCompressSync(tar));
    files.set("/one.txt.gz", gzipSync("single"));
    for (const [index, name] of ["a.tar", "a.tgz", "a.tar.zst"].entries()) {
      await fetchArtifact(input, artifact(`${url}/${name}`, { RelativeDest: `local/${index}` }));
      const out = join(local, String(index));
      assert.equal((await stat(join(out, "app/run.sh"))).mode & 0o777, 0o755);
      assert.equal(await readFile(join(out, "app/link"), "utf8"), "x");
      assert.equal(await readFile(join(out, `${"long/".repeat(40)}file`), "utf8"), "deep");
    }
    await fetchArtifact(input, artifact(`${url}/a.tar//app/conf`, { RelativeDest: "local/sub" }));
    assert.equal(await readFile(join(local, "sub/x.conf"), "utf8"), "x");
    await fetchArtifact(input, artifact(`${url}/one.txt.gz`));
    assert.equal(await readFile(join(local, "one.txt"), "utf8"), "single");
    await fetchArtifact(input, artifact(`${url}/a.tgz?archive=false`));
    assert.ok((await stat(join(local, "a.tgz"))).size > 100);
    files.set("/z.zip", zipOf([{ name: "hi.txt", content: "zipped", mode: 0o100755 }]));
    await fetchArtifact(
      input,
      artifact(`${url}/z.zip`, { RelativeDest: `${local}/zip` }),
    );
    assert.equal(await readFile(join(local, "zip/hi.txt"), "utf8"), "zipped");
    assert.equal((await stat(join(local, "zip/hi.txt"))).mode & 0o777, 0o755);
  }));

test("fetchArtifact lets no archive write outside its destination", () =>
  withTask(async ({ input, url, dir }) => {
    files.set("/up.tar", await tarOf([{ name: "../../evil", content: "x" }]));
    files.set(
      "/link.tar",
      await tarOf([{ name: "out", linkname: "/etc" }, { name: "out/evil", content: "x" }]),
    );
    files.set(
      "/chain.tar",
      await tarOf([
        { name: "a/b/c", linkname: "../.." },
        { name: "a/x", linkname: "b/c/.." },
        { name: "a/x/evil", content: "x" },
      ]),
    );
    await assert.rejects(fetchArtifact(input, artifact(`${url}/up.tar`)), /leads out/);
    await assert.rejects(fetchArtifact(input, artifact(`${url}/link.tar`)), /leads out/);
    await assert.rejects(fetchArtifact(input, artifact(`${url}/chain.tar`)), /leads out/);
    const out = artifact(`${url}/hello.txt`, { RelativeDest: "../../x" });
    await assert.rejects(fetchArtifact(input, out), /leads out/);
    await assert.rejects(stat(join(dir, "a1/evil")));
    await assert.rejects(stat(join(dir, "evil")));
  }));

test("parseSource refuses what this device cannot fetch", () => {
  const refused = (source: string, options: Record<string, string> | null = null) => {
    try {
      return JSON.stringify(parseSource({ GetterSource: source, GetterOptions: options }));
    } catch (error) {
      return (error as Error).message;
    }
  };
  assert.match(refused("git::https://x/y"), /source type "git" is not supported/);
  assert.match(refused("github.com/a/b"), /only http and https/);
  assert.match(refused("https://x/a.tar.xz"), /archives of type tar\.xz are not supported/);
  assert.match(refused("https://x/a", { depth: "1" }), /option "depth" is not supported/);
  assert.match(refused("https://x/a?checksum=file:https://x/sums"), /is not supported/);
  assert.equal(
    parseSource({ GetterSource: "https://x/a?v=1&archive=zip", GetterOptions: null }).url.href,
    "https://x/a?v=1",
  );
});

function template(fields: Partial<Template>): Template {
  return {
    SourcePath: "",
    DestPath: "",
    EmbeddedTmpl: "",
    ChangeMode: "restart",
    ChangeSignal: "",
    ChangeScript: null,
    Once: false,
    Splay: 0,
    Perms: "0644",
    Uid: null,
    Gid: null,
    LeftDelim: "",
    RightDelim: "",
    Envvars: false,
    VaultGrace: 0,
    Wait: null,
    ErrMissingKey: false,
    ...fields,
  };
}

test("prepareFiles writes payload and templates with their modes and gives back variables", () =>
  withTask(async ({ input, local, dir }) => {
    await writeFile(join(local, "in.tpl"), 'from {{ env "NAME" }}');
    const task = makeTask({
      DispatchPayload: { File: "in/payload.json" },
      Templates: [
        template({ EmbeddedTmpl: 'n={{ env "NAME" }}', DestPath: "local/conf/a.conf", Perms: "0600" }),
        template({ SourcePath: "local/in.tpl", DestPath: "${NOMAD_TASK_DIR}/b" }),
        template({ EmbeddedTmpl: 'PW="{{ env "NAME" }}1"', DestPath: "secrets/env", Envvars: true }),
      ],
    });
    const job = { ...input.job, Payload: Buffer.from("data").toString("base64") };
    const variables = await prepareFiles({ ...input, task, job });
    assert.deepEqual(variables, { PW: "web1" });
    assert.equal(await readFile(join(local, "in/payload.json"), "utf8"), "data");
    assert.equal(await readFile(join(local, "conf/a.conf"), "utf8"), "n=web");
    assert.equal((await stat(join(local, "conf/a.conf"))).mode & 0o777, 0o600);
    assert.equal(await readFile(join(local, "b"), "utf8"), "from web");
    await symlink("/etc/hostname", join(local, "out"));
    for (
      const bad of [
        template({ SourcePath: "local/out", DestPath: "local/x" }),
        template({ EmbeddedTmpl: "x", DestPath: "../../x" }),
        template({ EmbeddedTmpl: '{{ file "local/out" }}', DestPath: "local/x" }),
      ]
    ) {
      const wrong = { ...input, task: makeTask({ Templates: [bad] }) };
      await assert.rejects(prepareFiles(wrong), /leads out/, bad.DestPath);
    }
    await assert.rejects(stat(join(dir, "x")));
    // Directories that a task turned into links are not written through either.
    await symlink(dir, join(local, "sub"));
    const through = template({ EmbeddedTmpl: "x", DestPath: "local/sub/x" });
    const linked = { ...input, task: makeTask({ Templates: [through] }) };
    await assert.rejects(prepareFiles(linked), /through a symbolic link/);
    files.set("/plain", "p");
    await assert.rejects(
      fetchArtifact(input, artifact("http://127.0.0.1:1/plain", { RelativeDest: "local/sub" })),
      /through a symbolic link/,
    );
    const payload = { ...input, task: makeTask({ DispatchPayload: { File: "sub/x" } }) };
    await assert.rejects(prepareFiles(payload), /through a symbolic link/);
    await assert.rejects(stat(join(dir, "x")));
  }));
