// The files of an allocation against a task that wishes the device ill: links out, pipes, devices, odd names.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { listFiles, openFile, statFile } from "../../client/fs.ts";
import { ApiError, errorText } from "../../core/errors.ts";

/** Runs with an allocation's directory; what is thrown is said in one line without the engine's words. */
async function withRoot(run: (root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "fs-"));
  try {
    mkdirSync(join(root, "t/local"), { recursive: true });
    mkdirSync(join(root, "t/secrets"));
    writeFileSync(join(root, "t/local/a.txt"), "hi\n");
    writeFileSync(join(root, "t/secrets/key"), "secret");
    await run(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function refusal(action: Promise<unknown>): Promise<string> {
  const error = await action.then(() => assert.fail("was not refused"), (error) => error);
  assert.ok(error instanceof ApiError, errorText(error));
  return error.message;
}

test("a pipe is listed and looked at without waiting for a writer, and never read", () =>
  withRoot(async (root) => {
    execFileSync("mkfifo", [join(root, "t/local/pipe")]);
    // More than the runtime has threads for files: each that waited would take one away.
    for (let round = 0; round < 8; round++) {
      assert.equal((await statFile(root, "t/local/pipe")).ContentType, "application/octet-stream");
      assert.match(await refusal(openFile(root, "t/local/pipe")), /is not a regular file$/);
    }
    assert.equal((await listFiles(root, "t/local")).length, 2);
  }));

test("nothing outside of the directory and no secret is opened, whatever leads there", () =>
  withRoot(async (root) => {
    symlinkSync("/etc", join(root, "t/local/etc"));
    symlinkSync("../secrets", join(root, "t/local/keys"));
    for (const path of ["..", "t/../..", "t/local/etc/hostname", "t/local/etc"]) {
      assert.equal(await refusal(openFile(root, path)), "Path escapes the alloc directory", path);
    }
    for (const path of ["t/secrets/key", "t/local/keys/key", "t/local/../secrets/key"]) {
      assert.match(await refusal(openFile(root, path)), /^Reading secret file prohibited/, path);
    }
    assert.equal(await refusal(statFile(root, "t/local/a.txt\0")), "A path holds no NUL");
    assert.match(await refusal(openFile(root, "t/local")), /is a directory$/);
  }));

test("a directory that was removed is told as missing", async () => {
  let gone = "";
  await withRoot((root) => Promise.resolve(void (gone = root)));
  assert.equal(await refusal(openFile(gone, "x")), `stat ${gone}/x: no such file or directory`);
  assert.equal(await refusal(listFiles(gone, "/")), `open ${gone}: no such file or directory`);
});
