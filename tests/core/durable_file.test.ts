// Files that are replaced as a whole. That they outlive a power cut only a power cut could show.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { writeDurably } from "../../core/durable_file.ts";

test("writeDurably replaces a file, for this user only, and leaves nothing else behind", async () => {
  const folder = mkdtempSync(join(tmpdir(), "durable-"));
  try {
    const path = join(folder, "id");
    writeFileSync(`${path}.tmp`, "left by a crash, and longer than what comes", { mode: 0o644 });
    await writeDurably(path, "one");
    await writeDurably(path, "two");
    assert.equal(readFileSync(path, "utf8"), "two");
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(folder), ["id"]);
    await assert.rejects(writeDurably(join(folder, "none", "id"), "x"), { code: "ENOENT" });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
