// Stands for an agent in the tests: starts the task it is told on stdin, prints the handle, goes on until killed.
import { readFileSync } from "node:fs";
import type { TaskSpec } from "../../drivers/driver.ts";
import { createDrivers, type PluginConfig } from "../../drivers/registry.ts";

const order = JSON.parse(readFileSync(0, "utf8")) as {
  driver: string;
  plugins: PluginConfig;
  spec: TaskSpec;
};
const driver = createDrivers(order.plugins).get(order.driver)!;
const handle = await driver.start(order.spec, () => undefined);
console.log(JSON.stringify(handle));
setInterval(() => undefined, 60_000);
