// The parts of the drivers that need no process: parsing, planning, naming, and the carrying over of container output
// with a crash at any point.
import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { silentLogger } from "../../core/logger.ts";
import { findCgroupMounts, findControllerMount } from "../../drivers/cgroup.ts";
import { checkConfig, ConfigReader, field } from "../../drivers/config_check.ts";
import { LogStream, splitSuffix } from "../../drivers/log_files.ts";
import { FrameReader, PodmanApi } from "../../drivers/podman_api.ts";
import { hostPath, parseBytes, planContainer, validatePodman } from "../../drivers/podman_config.ts";
import { parseImage } from "../../drivers/podman_images.ts";
import { LogLines, PodmanLogs, SOURCE_NAME } from "../../drivers/podman_logs.ts";
import { parseStat, type ProcStat } from "../../drivers/proc.ts";
import { signalNumber, walk } from "../../drivers/process_tree.ts";
import { matchesGlob, validateRawExec } from "../../drivers/raw_exec_plan.ts";
import { createDrivers } from "../../drivers/registry.ts";
import { parseIdRanges } from "../../drivers/users.ts";
import { environmentScript, isShellSafe, readExit } from "../../drivers/wrapper.ts";
import { eventually, makePlace, PATIENCE } from "./fixture.ts";

test("parseStat reads commands with spaces and parentheses", () => {
  const text = "42 (a) b (c) S 1 42 43 34816 -1 4194304 1 2 3 4 11 12 13 14 20 0 1 0 98765 1 2 3";
  assert.deepEqual(parseStat(text), {
    pid: 42,
    comm: "a) b (c",
    state: "S",
    ppid: 1,
    pgid: 42,
    sid: 43,
    tty: 34816,
    userTicks: 24,
    systemTicks: 26,
    startTicks: 98765,
  });
  assert.equal(parseStat(""), null);
});

test("walk finds session, group, marked and their children, and spares our own", () => {
  const make = (pid: number, ppid: number, sid: number, startTicks = 5): ProcStat => ({
    pid,
    ppid,
    sid,
    pgid: sid,
    comm: "x",
    state: "S",
    tty: 0,
    userTicks: 0,
    systemTicks: 0,
    startTicks,
  });
  const all = [
    make(10, 1, 10),
    make(11, 10, 10),
    make(20, 10, 20),
    make(21, 20, 20),
    make(22, 21, 22),
    make(30, 1, 30),
    make(31, 30, 31),
    make(40, 1, 40),
    make(50, 1, 50, 4),
  ];
  const found = walk(
    all,
    { cgroup: "", mainPid: 20, marker: "", sinceTicks: 5, spared: [10, 11] },
    (pid) => [30, 11, 50].includes(pid),
  );
  assert.deepEqual(found.sort(), [20, 21, 22, 30, 31]);
});

test("signalNumber takes names with and without SIG, and numbers", () => {
  assert.deepEqual(["SIGHUP", "hup", "9", "SIGNOPE", "0", "99", ""].map(signalNumber), [
    1,
    1,
    9,
    null,
    null,
    null,
    null,
  ]);
});

test("findCgroupMounts prefers the unified hierarchy and falls back to the freezer", () => {
  const mounts =
    "cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n" +
    "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
  assert.deepEqual(findCgroupMounts(mounts).map((mount) => mount.version), [2, 1]);
  assert.equal(findControllerMount(mounts, "cpuacct"), "/sys/fs/cgroup/cpu");
  assert.equal(findControllerMount(mounts, "memory"), null);
});

test("checkConfig says what is wrong, where, and what was meant", () => {
  const schema = {
    image: field.required(field.string),
    ports: field.strings,
    labels: field.map,
    auth: field.block({ username: field.string }),
  };
  assert.deepEqual(
    checkConfig({ image: "x", ports: ["a", 1], labels: [{ a: 1 }], auth: [{ username: "u" }] }, schema),
    [],
  );
  assert.deepEqual(checkConfig({ prots: [], auth: [{ user_name: "u" }], ports: "x", labels: [1] }, schema), [
    'config.prots is not an option of this driver; did you mean "ports"?',
    'config.auth.user_name is not an option of this driver; did you mean "username"?',
    'config.ports must be a list of strings, not string "x"',
    "config.labels must be a map of strings, not a list",
    "config.image is required and missing",
  ]);
  assert.deepEqual(checkConfig({ image: "x", auth: [{}, {}] }, schema), [
    "config.auth may stand only once, not 2 times",
  ]);
});

test("ConfigReader converts as Nomad does", () => {
  const read = new ConfigReader({
    n: "12",
    b: "true",
    d: "1m30s",
    s: 5,
    list: [1, "two", true],
    m: [{ a: 1 }, { b: "x" }],
  });
  assert.deepEqual([read.number("n"), read.bool("b"), read.durationMs("d"), read.text("s")], [
    12,
    true,
    90_000,
    "5",
  ]);
  assert.deepEqual(read.strings("list"), ["1", "two", "true"]);
  assert.deepEqual(read.map("m"), { a: "1", b: "x" });
});

test("createDrivers refuses plugins that do not exist and options that are wrong", () => {
  assert.deepEqual([...createDrivers({}).keys()].sort(), ["mock_driver", "podman", "raw_exec"]);
  assert.throws(
    () => createDrivers({ lxc: {} }),
    /plugin "lxc": this program has no such driver; it has mock_driver, podman, raw_exec/,
  );
  assert.throws(
    () => createDrivers({ raw_exec: { enabeld: true } }),
    /plugin "raw_exec" config\.enabeld .* did you mean "enabled"\?/,
  );
  assert.throws(
    () => createDrivers({ raw_exec: { denied_host_uids: "9-1" } }),
    /config\.denied_host_uids: Cannot read id ranges/,
  );
  assert.throws(
    () => createDrivers({ podman: { volumes: [{ enabled: "maybe" }] } }),
    /config\.volumes\.enabled must be true or false/,
  );
  assert.ok(createDrivers({ "nomad-driver-podman": { gc: [{ container: false }] } }).has("podman"));
});

test("parseIdRanges and matchesGlob know their small languages", () => {
  const denied = parseIdRanges("0, 10-15,22");
  assert.deepEqual([0, 1, 10, 15, 16, 22].map(denied), [true, false, true, true, false, true]);
  assert.deepEqual([parseIdRanges("")(0)], [false]);
  assert.deepEqual(
    [["AWS_KEY", "AWS_*"], ["MY_TOKEN", "*_TOKEN"], ["a_b_c", "*_b_*"], ["X", "X"], ["XY", "X"]].map((
      [n, g],
    ) => matchesGlob(n!, g!)),
    [true, true, true, true, false],
  );
});

test("validateRawExec refuses what cannot be carried out", () => {
  assert.deepEqual(validateRawExec({ command: "x", work_dir: "rel", oom_score_adj: -1 }), [
    'config.work_dir must be an absolute path, not "rel"',
    "config.oom_score_adj must be a whole number from 0 to 1000, not -1",
  ]);
  assert.equal(
    validateRawExec({ command: "x", cgroup_v2_override: "a", cgroup_v1_override: [{ pids: "b" }] }).length,
    1,
  );
});

test("splitSuffix counts as split does", () => {
  assert.deepEqual([0, 1, 25, 26, 27, 26 ** 2].map(splitSuffix), [
    "aaaaaa",
    "aaaaab",
    "aaaaaz",
    "aaaaba",
    "aaaabb",
    "aaabaa",
  ]);
});

test("LogStream names pieces that were made beyond its links, in order, once", () => {
  const place = makePlace();
  const dir = join(place.root, "alloc", "logs");
  const runDir = join(dir, ".web.run");
  mkdirSync(runDir);
  const where = { dir, runDir, task: "web", filesMax: 1000, fileSizeMaxBytes: 100 };
  const stream = LogStream.begin(where, "stdout", true);
  // What split would do, far beyond the links, and nobody looks meanwhile.
  for (let piece = 0; piece < 60; piece++) writeFileSync(stream.prefix + splitSuffix(piece), `${piece};`);
  stream.tend();
  assert.equal(place.log("stdout"), Array.from({ length: 60 }, (_, i) => `${i};`).join(""));
  for (let piece = 60; piece < 90; piece++) writeFileSync(stream.prefix + splitSuffix(piece), `${piece};`);
  const later = LogStream.resume(where, "stdout", stream.from);
  later.tend();
  later.tend();
  assert.equal(place.log("stdout"), Array.from({ length: 90 }, (_, i) => `${i};`).join(""));
  assert.equal(LogStream.begin(where, "stdout", false).from, 90);
  place.remove();
});

test("LogStream shows a restarted task's newest file whole at every moment, also after the agent died", () => {
  const place = makePlace();
  const dir = join(place.root, "alloc", "logs");
  const runDir = join(dir, ".web.run");
  mkdirSync(runDir);
  const where = { dir, runDir, task: "web", filesMax: 10, fileSizeMaxBytes: 10 };
  writeFileSync(join(dir, "web.stdout.3"), "12345");
  const stream = LogStream.begin(where, "stdout", true);
  assert.deepEqual([stream.from, stream.carry], [3, join(dir, "web.stdout.3")]);
  // What split does with the old content and what comes after it.
  writeFileSync(stream.prefix + splitSuffix(0), "123");
  stream.tend();
  assert.equal(place.log("stdout"), "12345", "half of it has arrived");
  writeFileSync(stream.prefix + splitSuffix(0), "1234567890");
  writeFileSync(stream.prefix + splitSuffix(1), "next");
  assert.equal(place.log("stdout"), "12345", "no file is seen before its predecessor is whole");
  const later = LogStream.resume(where, "stdout", stream.from);
  later.tend();
  assert.deepEqual(place.logBytes("stdout").map((bytes) => new TextDecoder().decode(bytes)), [
    "1234567890",
    "next",
  ]);
  assert.equal(later.carry, "");
  place.remove();
});

test("readExit tells codes from signals, and waits for a whole account", () => {
  const place = makePlace();
  const write = (name: string, text: string) => writeFileSync(join(place.root, name), text);
  assert.equal(readExit(place.root, true), null);
  write("pid", "77\n");
  write("exit", "14");
  assert.equal(readExit(place.root, true), null, "half written");
  write("exit", "143\n");
  write("jobs", "[3] + 80 Running\n[1] - 77 Done(143)\n");
  assert.deepEqual(readExit(place.root, true), { exitCode: 143, signal: 0 });
  write("jobs", "[3] + 80 Done\n[1]+  77 Terminated\n");
  assert.deepEqual(readExit(place.root, true), { exitCode: 143, signal: 15 });
  assert.deepEqual(readExit(place.root, false), { exitCode: 143, signal: 15 });
  place.remove();
});

test("environmentScript quotes everything a shell would touch", () => {
  assert.equal(
    environmentScript("/bin/env", [["a.b", "it's $HOME"]]),
    `set -- '/bin/env' 'a.b=it'\\''s $HOME' "$@"\n`,
  );
  assert.deepEqual(["PATH", "a.b", "LD_PRELOAD", "IFS", "1x"].map(isShellSafe), [
    true,
    false,
    false,
    false,
    false,
  ]);
});

test("parseImage knows transports and refuses others", () => {
  assert.deepEqual(parseImage("docker://redis:7"), { kind: "registry", name: "redis:7" });
  assert.deepEqual(parseImage("localhost:5000/a/b:1"), { kind: "registry", name: "localhost:5000/a/b:1" });
  assert.deepEqual(parseImage("busybox:latest"), { kind: "registry", name: "busybox:latest" });
  assert.deepEqual(parseImage("oci-archive:/x/y.tar:name:tag"), {
    kind: "archive",
    path: "/x/y.tar",
    tag: "name:tag",
  });
  assert.throws(() => parseImage("dir:/x"), /this transport is not supported/);
  assert.throws(() => parseImage("ftp://x"), /this transport is not supported/);
});

test("hostPath finds what a task names by its own paths", () => {
  const spec = { taskDir: "/a/web", allocDir: "/a" };
  assert.deepEqual(
    ["/local/x", "/alloc/data/x", "local/x", "/srv/x"].map((path) => hostPath(path, spec)),
    ["/a/web/local/x", "/a/alloc/data/x", "/a/web/local/x", "/srv/x"],
  );
});

test("parseBytes reads sizes", () => {
  assert.deepEqual(["100", "1k", "2M", "3g", "-1"].map((text) => parseBytes(text, "x")), [
    100,
    1024,
    2 << 20,
    3 * 2 ** 30,
    -1,
  ]);
  assert.throws(
    () => parseBytes("lots", "config.memory_swap"),
    /config\.memory_swap must be a size such as "100m", not "lots"/,
  );
});

test("validatePodman refuses what cannot be carried out", () => {
  const errors = validatePodman({
    image: "x",
    network_mode: "bridg",
    volumes: ["/only"],
    ulimit: [{ nofile: "many" }],
    memory_swap: "lots",
    security_opt: ["x"],
    mounts: [{ type: "volume", target: "/x" }],
  });
  assert.equal(errors.length, 6, errors.join("\n"));
  assert.deepEqual(validatePodman({ image: "x", entrypoint: "/run", network_mode: "task:other" }), []);
  assert.deepEqual(validatePodman({ image: "x", entrypoint: ["/run", "-x"] }), []);
});

test("planContainer carries the group's network, ports and limits over", () => {
  const place = makePlace();
  const settings = {
    volumesEnabled: true,
    selinuxLabel: "z",
    extraLabels: [],
    dnsServers: ["10.0.0.1"],
    loggingDriver: "",
    loggingOptions: {},
    disableLogCollection: false,
  };
  const spec = place.spec({ image: "x", ports: ["http"], cpu_hard_limit: true }, {
    ports: [{ label: "http", hostIp: "10.0.0.9", value: 20_000, to: 80 }],
    mounts: [{ hostPath: "/h", taskPath: "/t", readOnly: true, propagation: "host-to-task" }],
  });
  const { body, collectsLogs } = planContainer(spec, settings, { cores: 4, totalMhz: 4000 }, "/log");
  assert.equal(collectsLogs, true);
  assert.deepEqual(body["netns"], { nsmode: "bridge" });
  assert.deepEqual(body["portmappings"], [
    { host_ip: "10.0.0.9", host_port: 20_000, container_port: 80, protocol: "tcp" },
    { host_ip: "10.0.0.9", host_port: 20_000, container_port: 80, protocol: "udp" },
  ]);
  assert.deepEqual(body["dns_server"], ["10.0.0.1"]);
  assert.deepEqual((body["resource_limits"] as { cpu: unknown }).cpu, {
    shares: 100,
    quota: 10_000,
    period: 100_000,
  });
  const mounts = body["mounts"] as { destination: string; options: string[] }[];
  assert.deepEqual(mounts.find((mount) => mount.destination === "/t")?.options, [
    "rbind",
    "ro",
    "rslave",
    "z",
  ]);
  const none =
    planContainer({ ...spec, networkMode: "none" }, settings, { cores: 1, totalMhz: 1 }, "/log").body;
  assert.deepEqual([none["netns"], none["portmappings"]], [{ nsmode: "none" }, undefined]);
  const journald = place.spec({ image: "x", logging: [{ driver: "journald", options: [{ tag: "t" }] }] });
  const other = planContainer(journald, settings, { cores: 1, totalMhz: 1 }, "/log");
  assert.deepEqual([other.collectsLogs, other.body["log_configuration"]], [false, {
    driver: "journald",
    options: { tag: "t" },
  }]);
  place.remove();
});

test("PodmanApi reads every form of socket path", () => {
  const forms = ["unix:///run/p.sock", "unix://run/p.sock", "unix:/run/p.sock", "/run/p.sock"];
  assert.deepEqual(forms.map((form) => new PodmanApi(form).socketPath), forms.map(() => "/run/p.sock"));
});

test("FrameReader puts frames together from any chunks", () => {
  const frame = (
    stream: number,
    text: string,
  ) => [stream, 0, 0, 0, 0, 0, 0, text.length, ...new TextEncoder().encode(text)];
  const data = new Uint8Array([...frame(1, "hello"), ...frame(2, ""), ...frame(2, "oh")]);
  for (let size = 1; size <= data.length; size++) {
    const reader = new FrameReader();
    const seen: string[] = [];
    for (let at = 0; at < data.length; at += size) {
      for (const { stream, bytes } of reader.read(data.subarray(at, at + size))) {
        seen.push(`${stream}:${new TextDecoder().decode(bytes)}`);
      }
    }
    assert.deepEqual(seen, ["1:hello", "2:", "2:oh"]);
  }
});

test("LogLines reads whole and partial lines from any chunks", () => {
  const text = "2026-01-01T00:00:00.1+00:00 stdout P part\n2026-01-01T00:00:00.1+00:00 stdout F ial\n" +
    "2026-01-01T00:00:00.1+00:00 stderr F \n2026-01-01T00:00:00.1+00:00 stdout P end\n";
  const data = new TextEncoder().encode(text);
  for (let size = 1; size <= data.length; size += 3) {
    const lines = new LogLines();
    const seen = { stdout: "", stderr: "" };
    for (let at = 0; at < data.length; at += size) {
      for (const { stream, bytes } of lines.read(data.subarray(at, at + size))) {
        seen[stream] += new TextDecoder().decode(bytes);
      }
    }
    assert.deepEqual(seen, { stdout: "partial\nend", stderr: "\n" });
    assert.equal(lines.pending, 0);
  }
});

test("PodmanLogs loses and doubles no byte, whenever the agent dies", PATIENCE, async () => {
  const place = makePlace();
  const dir = join(place.root, "alloc", "logs");
  const runDir = join(dir, ".web.run");
  mkdirSync(runDir);
  const where = { dir, runDir, task: "web", filesMax: 10_000, fileSizeMaxBytes: 5000 };
  const source = join(runDir, SOURCE_NAME);
  const expected = { stdout: "", stderr: "" };
  let logs = new PodmanLogs(where, silentLogger);
  await logs.begin();
  // Long enough for several checkpoints (1 MiB of source each) between the deaths.
  const padding = "x".repeat(400);
  for (let round = 0, line = 0; round < 40; round++) {
    let text = "";
    for (let i = 0; i < 300; i++, line++) {
      const stream = line % 7 === 0 ? "stderr" : "stdout";
      const whole = line % 5 !== 0;
      expected[stream] += `line ${line} ${padding}${whole ? "\n" : ""}`;
      text += `2026-01-01T00:00:00.000000001+00:00 ${stream} ${whole ? "F" : "P"} line ${line} ${padding}\n`;
    }
    // The agent finds half a line, dies without a word, and its successor goes on.
    const cut = text.length - 1 - (round * 37) % 400;
    appendFileSync(source, text.slice(0, cut));
    await logs.drain();
    if (round % 3 === 0) {
      await logs.close();
      logs = new PodmanLogs(where, silentLogger);
      await logs.resume();
    }
    appendFileSync(source, text.slice(cut));
  }
  await logs.drain();
  await logs.close();
  assert.equal(place.log("stdout"), expected.stdout);
  assert.equal(place.log("stderr"), expected.stderr);
  const sizes = place.logBytes("stdout").map((bytes) => bytes.length);
  assert.deepEqual(new Set(sizes.slice(0, -1)), new Set([5000]));
  place.remove();
});

test("PodmanLogs gives the disk back what it has brought over", PATIENCE, async () => {
  const place = makePlace();
  const dir = join(place.root, "alloc", "logs");
  const runDir = join(dir, ".web.run");
  mkdirSync(runDir);
  const where = { dir, runDir, task: "web", filesMax: 2, fileSizeMaxBytes: 1 << 20 };
  const source = join(runDir, SOURCE_NAME);
  const line = `2026-01-01T00:00:00.000000001+00:00 stdout F ${"x".repeat(955)}\n`;
  writeFileSync(source, line.repeat(18 * 1024));
  const logs = new PodmanLogs(where, silentLogger);
  await logs.begin();
  await logs.drain();
  const { size } = statSync(source);
  assert.ok(size > 17 << 20);
  await eventually("at most 3 MB of it still take room", () => statSync(source).blocks * 512 < 3 << 20);
  // The rest of the file is still read right.
  appendFileSync(source, line.replaceAll("x", "y"));
  await logs.drain();
  await logs.close();
  assert.ok(place.log("stdout").endsWith(`${"y".repeat(955)}\n`));
  place.remove();
});
