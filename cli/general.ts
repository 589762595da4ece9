// The flags that every command which talks to an agent has, and how the usage names them. A command that works on
// the whole cluster accepts -namespace too (scripts pass it to all) and only leaves it out of its usage.
import { bool, type FlagValues, string } from "./args.ts";

export const GENERAL_FLAGS = {
  address: string("", "addr"),
  region: string("", "region"),
  namespace: string("", "namespace"),
  "no-color": bool(""),
  "force-color": bool(""),
  "ca-cert": string("", "path"),
  "ca-path": string("", "path"),
  "client-cert": string("", "path"),
  "client-key": string("", "path"),
  "tls-server-name": string("", "value"),
  "tls-skip-verify": bool(""),
  token: string(""),
};

export type GeneralFlags = FlagValues<typeof GENERAL_FLAGS>;

/** Left out for commands that work on the whole cluster. */
export const NAMESPACE_USAGE = `  -namespace=<namespace>
    The target namespace for queries and actions bound to a namespace.
    Overrides the NOMAD_NAMESPACE environment variable if set.
    If set to '*', subcommands which support this functionality query
    all namespaces authorized to user.
    Defaults to the "default" namespace.

`;

/** Worded as in the recorded usages, which are part of the contract. */
export const GENERAL_USAGE = `  -address=<addr>
    The address of the Nomad server.
    Overrides the NOMAD_ADDR environment variable if set.
    Default = http://127.0.0.1:4646

  -region=<region>
    The region of the Nomad servers to forward commands to.
    Overrides the NOMAD_REGION environment variable if set.
    Defaults to the Agent's local region.

${NAMESPACE_USAGE}  -no-color
    Disables colored command output. Alternatively, NOMAD_CLI_NO_COLOR may be
    set. This option takes precedence over -force-color.

  -force-color
    Forces colored command output. This can be used in cases where the usual
    terminal detection fails. Alternatively, NOMAD_CLI_FORCE_COLOR may be set.
    This option has no effect if -no-color is also used.

  -ca-cert=<path>
    Path to a PEM encoded CA cert file to use to verify the
    Nomad server SSL certificate. Overrides the NOMAD_CACERT
    environment variable if set.

  -ca-path=<path>
    Path to a directory of PEM encoded CA cert files to verify
    the Nomad server SSL certificate. If both -ca-cert and
    -ca-path are specified, -ca-cert is used. Overrides the
    NOMAD_CAPATH environment variable if set.

  -client-cert=<path>
    Path to a PEM encoded client certificate for TLS authentication
    to the Nomad server. Must also specify -client-key. Overrides
    the NOMAD_CLIENT_CERT environment variable if set.

  -client-key=<path>
    Path to an unencrypted PEM encoded private key matching the
    client certificate from -client-cert. Overrides the
    NOMAD_CLIENT_KEY environment variable if set.

  -tls-server-name=<value>
    The server name to use as the SNI host when connecting via
    TLS. Overrides the NOMAD_TLS_SERVER_NAME environment variable if set.

  -tls-skip-verify
    Do not verify TLS certificate. This is highly not recommended. Verification
    will also be skipped if NOMAD_SKIP_VERIFY is set.

  -token
    The SecretID of an ACL token to use to authenticate API requests with.
    Overrides the NOMAD_TOKEN environment variable if set.`;
