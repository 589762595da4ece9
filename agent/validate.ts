// `config validate`: reads configuration files as an agent would and says whether it would start with them, without
// starting anything.
import { ConfigError } from "../core/errors.ts";
import { resolveConfig } from "./config.ts";
import { loadConfig } from "./config_files.ts";

/** Throws ConfigError for what the agent would refuse. */
export async function validateConfig(paths: string[]): Promise<{ warnings: string[] }> {
  const loaded = await loadConfig(paths, undefined);
  if (loaded.refusals.length > 0) throw new ConfigError(loaded.refusals.join("\n"));
  const config = resolveConfig(loaded.raw, { dev: false });
  const warnings = ["mTLS is not configured - Nomad is not secure without mTLS!"];
  if (config.server?.bootstrapExpect === 1) {
    warnings.push("Bootstrap mode enabled! Potentially unsafe operation.");
  }
  return { warnings: [...warnings, ...loaded.warnings] };
}
