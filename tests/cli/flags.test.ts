// Every flag of the reference's commands is known here, with its kind: from the table of the recordings.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { findCommand } from "../../cli/tree.ts";
import { runCli } from "./harness.ts";

const TABLE = join(
  dirname(fileURLToPath(import.meta.url)),
  "../../../shared/conformance/cli/commands.md",
);

/** Groups that this version answers with one refusal. */
const ABSENT =
  /^(acl|login|var|volume|plugin|quota|recommendation|sentinel|license|tls|setup|windows|monitor export|node (identity|intro)|operator (snapshot (redact|state)|root|debug|client-state|utilization|raft (info|logs|state|migrate-backend)))\b/;

interface Section {
  command: string;
  general: boolean;
  flags: { name: string; kind: string }[];
}

function sections(): Section[] {
  const found: Section[] = [];
  for (const part of readFileSync(TABLE, "utf8").split(/^### nomad /m).slice(1)) {
    const command = part.slice(0, part.indexOf("\n"));
    if (ABSENT.test(command) || command === "agent") continue;
    const flags = [...part.matchAll(/^\| `-([\w-]+)` \| ([a-z]+)/gm)].map((row) => ({
      name: row[1]!,
      kind: row[2]!,
    }));
    found.push({ command, general: /General flags: yes/.test(part), flags });
  }
  return found;
}

const SAMPLES: Record<string, string> = {
  bool: "=true",
  value: "=true",
  int: "=1",
  uint: "=1",
  duration: "=1s",
  string: "=1",
};

for (const { command, general, flags } of sections()) {
  test(`nomad ${command} knows its flags`, async () => {
    const found = await findCommand(command.split(" "));
    assert.equal(found.kind, "command", `nomad ${command} is missing`);
    const names = [
      ...flags,
      ...(general ? [{ name: "token", kind: "string" }, { name: "no-color", kind: "bool" }] : []),
    ];
    for (const { name, kind } of names) {
      const run = await runCli([...command.split(" "), `-${name}${SAMPLES[kind]}`, "-h"]);
      assert.equal(run.code, 0, `-${name} (${kind}): ${run.stderr}`);
    }
  });
}
