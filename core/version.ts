// The versions this program says it is. Tools made for Nomad compare `nomad.version` and the agent's
// Config.Version with constraints, so the language level is the one of the reference that we speak.

/** The Nomad release whose API, job language and command line this program follows. */
export const NOMAD_VERSION = "2.0.5";
