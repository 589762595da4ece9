// Commands inside a real task, over the device's own connection as a server reaches it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createDrivers } from "../../drivers/registry.ts";
import { FakeServer } from "./fake_server.ts";
import { makeDevice, makeGroup, makeJob, makeTask, place } from "./fixtures.ts";

type Frame = Record<string, { data?: string; close?: boolean; exit_code?: number } | boolean>;

interface Bench {
  id: string;
  server: FakeServer;
  /** Sends lines, and gives back what came until the end. */
  exec(
    query: Record<string, string>,
    lines: object[],
  ): Promise<{ status: number; frames: Frame[]; text: string }>;
}

async function withTask(run: (bench: Bench) => Promise<void>): Promise<void> {
  const server = new FakeServer();
  await server.start();
  const drivers = [...createDrivers({}, { rawExecEnabled: true }).values()];
  const device = await makeDevice({ servers: [server.address], drivers });
  try {
    await device.client.start();
    await server.until(() => device.client.session.connected, "device connects");
    const task = makeTask({
      Driver: "raw_exec",
      Config: { command: "/bin/sleep", args: ["300"] },
      KillTimeout: 1e9,
    });
    const { id, ...delta } = place(makeJob(makeGroup([task])));
    server.send({ t: "allocs", ...delta });
    await server.status(id, "running");
    const exec: Bench["exec"] = async (query, lines) => {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          for (const line of lines) controller.enqueue(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
          // Left open: the user's side stays until the command ends.
        },
      });
      const url = `http://device/v1/client/allocation/${id}/exec?${new URLSearchParams(query)}`;
      const init: RequestInit & { duplex: "half" } = { method: "POST", body, duplex: "half" };
      const response = await server.mux!.fetch(new Request(url, init));
      const text = await response.text();
      const frames = response.ok ? text.trim().split("\n").map((line) => JSON.parse(line) as Frame) : [];
      return { status: response.status, frames, text };
    };
    await run({ id, server, exec });
  } finally {
    await device.client.killAll();
    await device.end();
    await server.stop();
  }
}

const joined = (frames: Frame[], name: string) =>
  frames.map((frame) => {
    const part = frame[name];
    return typeof part === "object" && part.data ? atob(part.data) : "";
  }).join("");

test("exec carries input, output and exit code", () =>
  withTask(async ({ exec }) => {
    const command = JSON.stringify(["/bin/sh", "-c", "echo out; echo err >&2; cat; exit 7"]);
    const { status, frames } = await exec({ task: "web", tty: "false", command }, [
      { version: 1, auth_token: "" },
      { stdin: { data: btoa("typed\n") } },
      { stdin: { close: true } },
    ]);
    assert.equal(status, 200);
    assert.equal(joined(frames, "stdout"), "out\ntyped\n");
    assert.equal(joined(frames, "stderr"), "err\n");
    assert.deepEqual(frames.slice(-3), [
      { stderr: { close: true } },
      { stdout: { close: true } },
      { exited: true, result: { exit_code: 7 } },
    ]);
    const quiet = await exec({ task: "web", tty: "false", command: '["/bin/true"]' }, []);
    assert.deepEqual(quiet.frames.at(-1), { exited: true, result: {} });
  }));

test("exec says why it cannot", () =>
  withTask(async ({ exec }) => {
    const answer = async (query: Record<string, string>) => {
      const { status, text } = await exec(query, []);
      return `${status} ${text}`;
    };
    assert.equal(await answer({ task: "zzz", command: '["x"]' }), "500 task not found");
    assert.match(await answer({ task: "web", command: "nonsense" }), /^400 failed to parse command/);
    assert.match(
      await answer({ task: "web", command: "[]" }),
      /^400 failed to parse command: expected a JSON list/,
    );
  }));

test("exec ends its command when the user goes away", () =>
  withTask(async ({ id, server }) => {
    const mark = `77${process.pid}.5`;
    const command = JSON.stringify(["/bin/sh", "-c", `echo begun; exec sleep ${mark}`]);
    const url = `http://device/v1/client/allocation/${id}/exec?${new URLSearchParams({
      task: "web",
      command,
    })}`;
    const response = await server.mux!.fetch(new Request(url, { method: "POST" }));
    const reader = response.body!.getReader();
    assert.match(new TextDecoder().decode((await reader.read()).value), /stdout/);
    const { readdir, readFile } = await import("node:fs/promises");
    const alive = async () => {
      for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
        const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
        if (line === `sleep\0${mark}\0`) return true;
      }
      return false;
    };
    for (let i = 0; !(await alive()) && i < 100; i++) await new Promise((resolve) => setTimeout(resolve, 20));
    await reader.cancel();
    for (let i = 0; await alive() && i < 200; i++) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(await alive(), false);
  }));
