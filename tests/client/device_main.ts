// A device as a process of its own, for tests that kill it: argv is its directory and its server's address.
import { createDrivers } from "../../drivers/registry.ts";
import { makeDevice } from "./fixtures.ts";

const [, , dir = "", server = ""] = process.argv;
const device = await makeDevice({
  servers: [server],
  drivers: [...createDrivers({}, { rawExecEnabled: true }).values()],
  dir,
  config: { stateDir: `${dir}/client` },
});
await device.client.start();
