// Which changes of a job replace its allocations: the answers of Nomad 2.0.5 to `job plan` for one change each.
import assert from "node:assert/strict";
import { test } from "node:test";
import { tasksUpdated } from "../../server/tasks_updated.ts";
import { group, job, task } from "./fixtures.ts";

// deno-lint-ignore no-explicit-any
type Raw = Record<string, any>;

function base(): { raw: Raw; group: Raw; task: Raw } {
  const one: Raw = task({
    Driver: "raw_exec",
    Config: { command: "/bin/sleep", args: ["1000"] },
    Env: { A: "1" },
    Meta: { m: "1" },
    Templates: [{ EmbeddedTmpl: "x", DestPath: "local/x" }],
    RestartPolicy: { Attempts: 1, Interval: 60e9, Delay: 1e9, Mode: "fail" },
  });
  const only: Raw = group({
    Tasks: [one],
    Networks: [{ DynamicPorts: [{ Label: "http" }] }],
    Services: [{ Name: "svc", PortLabel: "http", Provider: "nomad" }],
  });
  return { raw: { TaskGroups: [only] }, group: only, task: one };
}

const linux = { LTarget: "${attr.kernel.name}", RTarget: "linux", Operand: "=" };

const DESTROYS: Record<string, (raw: Raw, group: Raw, task: Raw) => void> = {
  "job meta": (j) => j.Meta = { x: "1" },
  "group meta": (_, g) => g.Meta = { x: "1" },
  "task meta": (_j, _g, t) => t.Meta = { m: "2" },
  "render templates on restart": (_j, _g, t) => t.RestartPolicy.RenderTemplates = true,
  "disk size": (_, g) => g.EphemeralDisk = { SizeMB: 400 },
  "sticky disk": (_, g) => g.EphemeralDisk = { SizeMB: 300, Sticky: true },
  "another port": (_, g) => g.Networks[0].DynamicPorts.push({ Label: "b" }),
  "port mapping": (_, g) => g.Networks[0].DynamicPorts[0].To = 80,
  "dns": (_, g) => g.Networks[0].DNS = { Servers: ["1.1.1.1"] },
  "hostname": (_, g) => g.Networks[0].Hostname = "x",
  "mbits": (_, g) => g.Networks[0].MBits = 20,
  "config": (_j, _g, t) => t.Config = { command: "/bin/sleep", args: ["2000"] },
  "env": (_j, _g, t) => t.Env = { A: "2" },
  "user": (_j, _g, t) => t.User = "nobody",
  "driver": (_j, _g, t) => t.Driver = "exec",
  "cpu": (_j, _g, t) => t.Resources.CPU = 160,
  "memory": (_j, _g, t) => t.Resources.MemoryMB = 40,
  "memory max": (_j, _g, t) => t.Resources.MemoryMaxMB = 640,
  "cores": (_j, _g, t) => t.Resources = { Cores: 1, MemoryMB: 100 },
  "secrets size": (_j, _g, t) => t.Resources.SecretsMB = 2,
  "logs disabled": (_j, _g, t) => t.LogConfig = { MaxFiles: 10, MaxFileSizeMB: 10, Disabled: true },
  "template": (_j, _g, t) => t.Templates[0].EmbeddedTmpl = "y",
  "artifact": (_j, _g, t) => t.Artifacts = [{ GetterSource: "http://x/y" }],
  "volume": (_, g, t) => {
    g.Volumes = { v: { Name: "v", Type: "host", Source: "s" } };
    t.VolumeMounts = [{ Volume: "v", Destination: "/v" }];
  },
  "identity": (_j, _g, t) => t.Identities = [{ Name: "x", Audience: ["a"], File: true }],
  "task added": (_, g) => g.Tasks.push(task({ Name: "t2" })),
  "task renamed": (_j, _g, t) => t.Name = "zz",
};

const KEEPS: Record<string, (raw: Raw, group: Raw, task: Raw) => void> = {
  "nothing": () => undefined,
  "priority": (j) => j.Priority = 60,
  "datacenters": (j) => j.Datacenters = ["dc1"],
  "job constraint": (j) => j.Constraints = [linux],
  "group constraint": (_, g) => g.Constraints = [linux],
  "task constraint": (_j, _g, t) => t.Constraints = [linux],
  "job affinity": (j) => j.Affinities = [{ ...linux, Weight: 50 }],
  "task affinity": (_j, _g, t) => t.Affinities = [{ ...linux, Weight: 50 }],
  "spread": (_, g) => g.Spreads = [{ Attribute: "${node.datacenter}", Weight: 50 }],
  "group restart": (_, g) => g.RestartPolicy = { Attempts: 5, Interval: 60e9, Delay: 1e9, Mode: "delay" },
  "task restart": (_j, _g, t) => t.RestartPolicy.Attempts = 3,
  "reschedule": (_, g) => g.ReschedulePolicy = { Delay: 60e9, DelayFunction: "constant", Unlimited: true },
  "update": (_, g) => g.Update = { MaxParallel: 3 },
  "migrate": (_, g) => g.Migrate = { MaxParallel: 3 },
  "disconnect": (_, g) => g.Disconnect = { LostAfter: 60e9 },
  "group shutdown delay": (_, g) => g.ShutdownDelay = 1e9,
  "service tags": (_, g) => g.Services[0].Tags = ["a"],
  "service port": (_, g) => g.Services[0].PortLabel = "1234",
  "service added": (_, g) => g.Services.push({ Name: "svc2", PortLabel: "http", Provider: "nomad" }),
  "service check": (_, g) =>
    g.Services[0].Checks = [{ Name: "c", Type: "tcp", Interval: 10e9, Timeout: 1e9 }],
  "task service": (_j, _g, t) => t.Services = [{ Name: "s", PortLabel: "http", Provider: "nomad" }],
  "kill timeout": (_j, _g, t) => t.KillTimeout = 9e9,
  "kill signal": (_j, _g, t) => t.KillSignal = "SIGINT",
  "shutdown delay": (_j, _g, t) => t.ShutdownDelay = 1e9,
  "log sizes": (_j, _g, t) => t.LogConfig = { MaxFiles: 3, MaxFileSizeMB: 3 },
  "leader": (_j, _g, t) => t.Leader = true,
  "lifecycle": (_j, _g, t) => t.Lifecycle = { Hook: "poststart", Sidecar: true },
  "actions": (_j, _g, t) => t.Actions = [{ Name: "a", Command: "/bin/true" }],
  "iops": (_j, _g, t) => t.Resources.IOPS = 64,
  "kind": (_j, _g, t) => t.Kind = "x",
  "dispatch payload": (_j, _g, t) => t.DispatchPayload = { File: "x" },
  "count": (_, g) => g.Count = 4,
};

function updated(change: (raw: Raw, group: Raw, task: Raw) => void): boolean {
  const before = base();
  const after = base();
  change(after.raw, after.group, after.task);
  return tasksUpdated(job("web", before.raw), job("web", after.raw), "g");
}

for (const [name, change] of Object.entries(DESTROYS)) {
  test(`tasksUpdated: ${name} replaces allocations`, () => assert.equal(updated(change), true));
}
for (const [name, change] of Object.entries(KEEPS)) {
  test(`tasksUpdated: ${name} is changed in place`, () => assert.equal(updated(change), false));
}
