import { driverSuite } from "./suite.ts";

const shell = (text: string) => ({ command: "/bin/sh", args: ["-c", text] });

driverSuite({
  name: "raw_exec",
  plugins: () => ({ raw_exec: { enabled: true } }),
  config: {
    runsFor: (seconds) => ({ command: "/bin/sleep", args: [String(seconds)] }),
    exits: (code) => shell(`exit ${code}`),
    diesBy: (signal) => shell(`kill -${signal} $$`),
    prints: (stdout, stderr) => shell(`printf '%s' '${stdout}'; printf '%s' '${stderr}' >&2`),
    ticks: (count) => shell(`i=0; while [ $i -lt ${count} ]; do echo tick; i=$((i+1)); sleep 0.02; done`),
    stubborn: () => shell("trap '' TERM; echo ready; while :; do sleep 0.1; done"),
    ready: { runsFor: "", stubborn: "ready" },
    fails: () => ({ command: "/no/such/program" }),
    misspelt: { config: { comand: "/bin/true" }, meant: "command" },
    wrongType: { command: "/bin/true", args: "-v" },
    script: shell,
  },
});
