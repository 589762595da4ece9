// `config validate`: reads configuration files as an agent would and says whether it would start with them, without
// starting anything.
import { ConfigError } from "../core/errors.ts";
import { resolveConfig } from "./config.ts";
import { loadConfig } from "./config_files.ts";

/** Throws ConfigError for what the agent would refuse. */
export async function validateConfig(paths: string[]): Promise<{ warnings: string[] }> {
  const loaded = await loadConfig(paths, undefined);
  if (loaded.refusals.length > 0) throw new ConfigError(loaded.refusals.join("\n"));
  const warnings = ["mTLS is not configured - Nomad is not secure without mTLS!"];
  if (loaded.raw.server?.bootstrap_expect === 1) {
    warnings.push("Bootstrap mode enabled! Potentially unsafe operation.");
  }
  try {
    resolveConfig(loaded.raw, { dev: false });
  } catch (error) {
    // An address that nobody else can reach is right for files that are only used together with flags.
    if (!(error instanceof ConfigError) || !/advertise/.test(error.message)) throw error;
    warnings.push(error.message);
  }
  return { warnings: [...warnings, ...loaded.warnings] };
}
