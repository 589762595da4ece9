// Run by hostile.test.ts in a process of its own: compiles the files that take most memory and prints the resident
// megabytes after each, as JSON.
import { JobspecError, parseJob } from "../../jobspec/jobspec.ts";

const SOURCES: Record<string, () => string> = {
  attributes: () => "a=1\n".repeat(2_500_000),
  lists: () => `job "j" {\n meta = {\n k = [${"1,".repeat(5_000_000)}]\n}\n}\n`,
  json: () => `{"job":{"j":{"meta":{"k":[${"1,".repeat(5_000_000)}1]}}}}`,
  doubling: () => {
    const steps = Array.from({ length: 30 }, (_, i) => ` a${i + 1} = "\${local.a${i}}\${local.a${i}}"`);
    return `locals {\n a0 = "0123456789"\n${steps.join("\n")}\n}\njob "j" {}\n`;
  },
};

const report: Record<string, number> = {};
for (const [name, source] of Object.entries(SOURCES)) {
  try {
    parseJob(source());
  } catch (error) {
    if (!(error instanceof JobspecError)) throw error;
  }
  report[name] = Math.round(process.memoryUsage().rss / 1e6);
}
console.log(JSON.stringify(report));
