import { driverSuite } from "./suite.ts";
import { podmanService } from "./podman_service.ts";

const image = "localhost/busybox:1";
// Networks are podman_host.test.ts's matter.
const shell = (text: string) => ({ image, command: "/bin/sh", args: ["-c", text], network_mode: "none" });
const service = podmanService();

driverSuite({
  name: "podman",
  plugins: () => ({ podman: { socket_path: service.socket } }),
  setUp: () => service.start(),
  tearDown: () => service.stop(),
  tellsSignals: false,
  config: {
    // As process 1 a program without a handler is deaf to SIGTERM.
    runsFor: (seconds) =>
      shell(
        `trap 'exit 143' TERM; echo ready; i=0; while [ $i -lt ${
          seconds * 20
        } ]; do sleep 0.05; i=$((i+1)); done`,
      ),
    exits: (code) => shell(`exit ${code}`),
    diesBy: (signal) => shell(`sh -c 'kill -${signal} $$'; exit $?`),
    prints: (stdout, stderr) => shell(`printf '%s' '${stdout}'; printf '%s' '${stderr}' >&2`),
    ticks: (count) => shell(`i=0; while [ $i -lt ${count} ]; do echo tick; i=$((i+1)); sleep 0.02; done`),
    stubborn: () => shell("trap '' TERM; echo ready; while :; do sleep 0.1; done"),
    ready: { runsFor: "ready", stubborn: "ready" },
    fails: () => ({ image: "localhost/no-such-image:1" }),
    misspelt: { config: { image, comand: "/bin/true" }, meant: "command" },
    wrongType: { image, args: "-v" },
    script: shell,
  },
});
