// Tables of a service: checks, Consul Connect with its proxies and gateways.
import { identity, volumeMount } from "./blocks_common.ts";
import { logs, resources } from "./blocks_task_parts.ts";
import { block, type BlockTable, child, freeForm, optional, plain, stringMap } from "./table.ts";

const checkRestart: BlockTable = block("check_restart", "Restarts a task whose check fails.", {
  attributes: {
    limit: plain("Limit", "int", "Failures in a row before a restart."),
    grace: optional("Grace", "duration", "Time after a start in which failures do not count."),
    ignore_warnings: plain("IgnoreWarnings", "bool", "Whether warnings count as passing."),
  },
});

const check: BlockTable = block("check", "A health check of a service.", {
  attributes: {
    name: plain("Name", "string", "Its name."),
    type: plain("Type", "string", "Kind of check.", { values: ["grpc", "http", "script", "tcp"] }),
    command: plain("Command", "string", "Command of a script check."),
    args: plain("Args", "strings", "Arguments of the command."),
    path: plain("Path", "string", "Path of an http check."),
    protocol: plain("Protocol", "string", "http or https."),
    port: plain("PortLabel", "string", "Label or number of the port."),
    expose: plain("Expose", "bool", "Whether the mesh proxy exposes the path."),
    address_mode: plain("AddressMode", "string", "Which address is checked.", {
      values: ["alloc", "driver", "host"],
    }),
    advertise: plain("Advertise", "string", "Address to check instead."),
    interval: plain("Interval", "duration", "Time between checks."),
    timeout: plain("Timeout", "duration", "Time a check may take."),
    initial_status: plain("InitialStatus", "string", "Status before the first check.", {
      values: ["passing", "warning", "critical"],
    }),
    notes: plain("Notes", "string", "A remark."),
    tls_server_name: plain("TLSServerName", "string", "Name expected in the certificate."),
    tls_skip_verify: plain("TLSSkipVerify", "bool", "Whether the certificate is not verified."),
    method: plain("Method", "string", "HTTP method."),
    body: plain("Body", "string", "HTTP body."),
    grpc_service: plain("GRPCService", "string", "Service of a grpc check."),
    grpc_use_tls: plain("GRPCUseTLS", "bool", "Whether a grpc check uses TLS."),
    task: plain("TaskName", "string", "The task a script check runs in."),
    success_before_passing: plain("SuccessBeforePassing", "int", "Successes needed for passing."),
    failures_before_critical: plain("FailuresBeforeCritical", "int", "Failures needed for critical."),
    failures_before_warning: plain("FailuresBeforeWarning", "int", "Failures needed for warning."),
    on_update: plain("OnUpdate", "string", "What counts during a deployment.", {
      values: ["require_healthy", "ignore_warnings", "ignore"],
    }),
  },
  blocks: { check_restart: child("CheckRestart", "one", () => checkRestart, "Restart on failure.") },
  free: {
    header: {
      field: "Header",
      kind: "stringsMap",
      alsoAttribute: false,
      doc: "HTTP headers, each a list of values.",
    },
  },
});

const exposePath: BlockTable = block("path", "A path the proxy exposes outside the mesh.", {
  attributes: {
    path: plain("Path", "string", "The path."),
    protocol: plain("Protocol", "string", "http or http2."),
    local_path_port: plain("LocalPathPort", "int", "Port the service listens on."),
    listener_port: plain("ListenerPort", "string", "Label of the port of the listener."),
  },
});

const expose: BlockTable = block("expose", "Paths the proxy exposes.", {
  blocks: { path: child("Paths", "list", () => exposePath, "The paths.") },
  constants: { Path: null },
});

const transparentProxy: BlockTable = block(
  "transparent_proxy",
  "Sends the task's traffic through the mesh.",
  {
    attributes: {
      uid: plain("UID", "string", "User of the proxy."),
      outbound_port: plain("OutboundPort", "uint16", "Port of the proxy's outbound listener."),
      exclude_inbound_ports: plain("ExcludeInboundPorts", "strings", "Ports not redirected."),
      exclude_outbound_ports: plain("ExcludeOutboundPorts", "uint16s", "Ports not redirected."),
      exclude_outbound_cidrs: plain("ExcludeOutboundCIDRs", "strings", "Address ranges not redirected."),
      exclude_uids: plain("ExcludeUIDs", "strings", "Users not redirected."),
      no_dns: plain("NoDNS", "bool", "Whether DNS is not redirected."),
    },
  },
);

const meshGateway: BlockTable = block("mesh_gateway", "How an upstream in another datacenter is reached.", {
  attributes: { mode: plain("Mode", "string", "none, local or remote.") },
});

const upstreams: BlockTable = block("upstreams", "A service that is reached through the mesh.", {
  attributes: {
    destination_name: plain("DestinationName", "string", "Name of the service."),
    destination_namespace: plain("DestinationNamespace", "string", "Its namespace."),
    destination_peer: plain("DestinationPeer", "string", "Its peer cluster."),
    destination_partition: plain("DestinationPartition", "string", "Its partition."),
    destination_type: plain("DestinationType", "string", "service or prepared_query."),
    local_bind_port: plain("LocalBindPort", "int", "Local port."),
    datacenter: plain("Datacenter", "string", "Its datacenter."),
    local_bind_address: plain("LocalBindAddress", "string", "Local address."),
    local_bind_socket_path: plain("LocalBindSocketPath", "string", "Local socket instead of a port."),
    local_bind_socket_mode: plain("LocalBindSocketMode", "string", "Mode of the socket."),
  },
  blocks: { mesh_gateway: child("MeshGateway", "one", () => meshGateway, "Mesh gateway.") },
  free: { config: freeForm("Config", "Configuration of the upstream.") },
});

const proxy: BlockTable = block("proxy", "The sidecar's proxy.", {
  attributes: {
    local_service_address: plain("LocalServiceAddress", "string", "Address of the service."),
    local_service_port: plain("LocalServicePort", "int", "Port of the service."),
  },
  blocks: {
    expose: child("Expose", "one", () => expose, "Exposed paths."),
    transparent_proxy: child("TransparentProxy", "one", () => transparentProxy, "Transparent proxying."),
    upstreams: child("Upstreams", "list", () => upstreams, "Services reached through the mesh."),
  },
  free: { config: freeForm("Config", "Configuration of the proxy.") },
  constants: { ExposeConfig: null },
});

const sidecarService: BlockTable = block("sidecar_service", "The service of the sidecar proxy.", {
  attributes: {
    tags: plain("Tags", "strings", "Its tags."),
    port: plain("Port", "string", "Label of its port."),
    disable_default_tcp_check: plain("DisableDefaultTCPCheck", "bool", "Whether it has no check of its own."),
  },
  blocks: { proxy: child("Proxy", "one", () => proxy, "The proxy.") },
  free: { meta: stringMap("Meta", "Metadata.") },
});

const sidecarTask: BlockTable = block("sidecar_task", "Changes to the task that runs the proxy.", {
  attributes: {
    name: plain("Name", "string", "Its name."),
    driver: plain("Driver", "string", "Its driver."),
    user: plain("User", "string", "Its user."),
    kill_timeout: optional("KillTimeout", "duration", "Time between signal and kill."),
    shutdown_delay: optional("ShutdownDelay", "duration", "Time between deregistration and signal."),
    kill_signal: plain("KillSignal", "string", "The signal."),
  },
  blocks: {
    resources: child("Resources", "one", () => resources, "Its resources."),
    logs: child("LogConfig", "one", () => logs, "Its logs."),
    volume_mount: child("VolumeMounts", "list", () => volumeMount, "Its volumes."),
    identity: child("Identities", "list", () => identity, "Its identities."),
  },
  free: {
    config: freeForm("Config", "Its driver's configuration."),
    env: stringMap("Env", "Its environment."),
    meta: stringMap("Meta", "Its metadata."),
  },
});

const bindAddress: BlockTable = block("envoy_gateway_bind_addresses", "An address a gateway listens on.", {
  labels: [{ name: "name", field: "Name" }],
  attributes: {
    address: plain("Address", "string", "The address."),
    port: plain("Port", "int", "The port."),
  },
});

const gatewayProxy: BlockTable = block("proxy", "The gateway's proxy.", {
  attributes: {
    connect_timeout: optional("ConnectTimeout", "duration", "Time to connect to an upstream."),
    envoy_gateway_bind_tagged_addresses: plain(
      "EnvoyGatewayBindTaggedAddresses",
      "bool",
      "Listen on tagged addresses.",
    ),
    envoy_gateway_no_default_bind: plain(
      "EnvoyGatewayNoDefaultBind",
      "bool",
      "Do not listen on the default address.",
    ),
    envoy_dns_discovery_type: plain("EnvoyDNSDiscoveryType", "string", "STRICT_DNS or LOGICAL_DNS."),
  },
  blocks: {
    envoy_gateway_bind_addresses: child("EnvoyGatewayBindAddresses", "map", () => bindAddress, "Addresses."),
  },
  free: { config: freeForm("Config", "Configuration of the proxy.") },
});

const sds: BlockTable = block("sds", "Where certificates come from.", {
  attributes: {
    cluster_name: plain("ClusterName", "string", "Name of the SDS cluster."),
    cert_resource: plain("CertResource", "string", "Name of the certificate."),
  },
});

const gatewayTls: BlockTable = block("tls", "TLS of an ingress gateway.", {
  attributes: {
    enabled: plain("Enabled", "bool", "Whether TLS is used."),
    tls_min_version: plain("TLSMinVersion", "string", "Lowest version."),
    tls_max_version: plain("TLSMaxVersion", "string", "Highest version."),
    cipher_suites: plain("CipherSuites", "strings", "Cipher suites."),
  },
  blocks: { sds: child("SDS", "one", () => sds, "Certificates.") },
});

const headerModifiers: BlockTable = block("request_headers", "Changes to HTTP headers.", {
  attributes: { remove: plain("Remove", "strings", "Headers to remove.") },
  free: { add: stringMap("Add", "Headers to add."), set: stringMap("Set", "Headers to set.") },
});

const ingressService: BlockTable = block("service", "A service an ingress listener leads to.", {
  attributes: {
    name: plain("Name", "string", "Its name; * for all."),
    hosts: plain("Hosts", "strings", "Host names."),
    max_connections: optional("MaxConnections", "uint32", "Greatest number of connections."),
    max_pending_requests: optional("MaxPendingRequests", "uint32", "Greatest number of waiting requests."),
    max_concurrent_requests: optional(
      "MaxConcurrentRequests",
      "uint32",
      "Greatest number of running requests.",
    ),
  },
  blocks: {
    tls: child("TLS", "one", () => gatewayTls, "TLS."),
    request_headers: child("RequestHeaders", "one", () => headerModifiers, "Changes to requests."),
    response_headers: child("ResponseHeaders", "one", () => headerModifiers, "Changes to responses."),
  },
});

const listener: BlockTable = block("listener", "A port of an ingress gateway.", {
  attributes: {
    port: plain("Port", "int", "The port."),
    protocol: plain("Protocol", "string", "tcp, http, http2 or grpc."),
  },
  blocks: { service: child("Services", "list", () => ingressService, "Services it leads to.") },
});

const ingress: BlockTable = block("ingress", "An ingress gateway.", {
  blocks: {
    tls: child("TLS", "one", () => gatewayTls, "TLS."),
    listener: child("Listeners", "list", () => listener, "Listeners."),
  },
});

const terminatingService: BlockTable = block("service", "A service outside the mesh.", {
  attributes: {
    name: plain("Name", "string", "Its name."),
    ca_file: plain("CAFile", "string", "CA of its certificate."),
    cert_file: plain("CertFile", "string", "Client certificate."),
    key_file: plain("KeyFile", "string", "Key of the client certificate."),
    sni: plain("SNI", "string", "Server name."),
  },
});

const terminating: BlockTable = block("terminating", "A terminating gateway.", {
  blocks: { service: child("Services", "list", () => terminatingService, "Services behind it.") },
});

const mesh: BlockTable = block("mesh", "A mesh gateway.", {});

const gateway: BlockTable = block("gateway", "A Connect gateway.", {
  blocks: {
    proxy: child("Proxy", "one", () => gatewayProxy, "Its proxy."),
    ingress: child("Ingress", "one", () => ingress, "Ingress."),
    terminating: child("Terminating", "one", () => terminating, "Terminating."),
    mesh: child("Mesh", "one", () => mesh, "Mesh."),
  },
});

const connect: BlockTable = block("connect", "Consul Connect.", {
  attributes: { native: plain("Native", "bool", "Whether the task speaks Connect itself.") },
  blocks: {
    gateway: child("Gateway", "one", () => gateway, "A gateway."),
    sidecar_service: child("SidecarService", "one", () => sidecarService, "A sidecar proxy."),
    sidecar_task: child("SidecarTask", "one", () => sidecarTask, "The task of the sidecar."),
  },
});

const weights: BlockTable = block("weights", "Weights in DNS answers.", {
  attributes: {
    passing: plain("Passing", "int", "Weight while passing."),
    warning: plain("Warning", "int", "Weight while warning."),
  },
});

export const service: BlockTable = block("service", "A service that is registered for discovery.", {
  attributes: {
    name: plain("Name", "string", "Its name; references are allowed."),
    tags: plain("Tags", "strings", "Its tags."),
    canary_tags: plain("CanaryTags", "strings", "Tags of canaries instead."),
    enable_tag_override: plain("EnableTagOverride", "bool", "Whether Consul may change the tags."),
    port: plain("PortLabel", "string", "Label or number of its port."),
    address_mode: plain("AddressMode", "string", "Which address is registered.", {
      values: ["alloc", "auto", "driver", "host"],
    }),
    address: plain("Address", "string", "Address to register instead."),
    task: plain("TaskName", "string", "The task it belongs to."),
    on_update: plain("OnUpdate", "string", "What counts during a deployment.", {
      values: ["require_healthy", "ignore_warnings", "ignore"],
    }),
    provider: plain("Provider", "string", "Where it is registered.", { values: ["consul", "nomad"] }),
    cluster: plain("Cluster", "string", "Name of the Consul cluster."),
    kind: plain("Kind", "string", "Kind of service in Consul."),
  },
  blocks: {
    check: child("Checks", "list", () => check, "Health checks."),
    check_restart: child("CheckRestart", "one", () => checkRestart, "Restart for all checks."),
    connect: child("Connect", "one", () => connect, "Consul Connect."),
    identity: child("Identity", "one", () => identity, "Its workload identity."),
    weights: child("Weights", "one", () => weights, "DNS weights."),
  },
  free: {
    meta: stringMap("Meta", "Metadata."),
    canary_meta: stringMap("CanaryMeta", "Metadata of canaries instead."),
    tagged_addresses: stringMap("TaggedAddresses", "Addresses by tag."),
  },
});
