// Every key of the agent's configuration: one table that the reader checks files against, that suggests spellings
// and that says what this version does with a key. Keys and meanings are those of Nomad 2.0's agent, plus our own
// (`datacenter "dc1" { }`, `server { storage }`).
//
// A key is `used`, `later` (known, without effect in this version: one warning when a file sets it) or `refused`
// (known, and starting without it would be unsafe or wrong: the agent does not start when it is set).

export type Scalar =
  | "string"
  | "bool"
  | "int"
  | "float"
  | "duration"
  | "size"
  | "strings"
  | "map"
  | "any"
  | "gossipKey";

export type Key =
  & { use: "used" | "later" | "refused"; why?: string }
  & (
    | { kind: Scalar }
    /** One block; written several times it is merged. */
    | { kind: "block"; keys: Keys }
    /** Blocks with a label, or an object of objects in JSON. */
    | { kind: "labelled"; keys: Keys }
  );
export type Keys = Record<string, Key>;

const used = (kind: Scalar): Key => ({ kind, use: "used" });
const later = (kind: Scalar): Key => ({ kind, use: "later" });
const block = (keys: Keys): Key => ({ kind: "block", keys, use: "used" });
const laterBlock = (keys: Keys): Key => ({ kind: "block", keys, use: "later" });
const labelled = (keys: Keys): Key => ({ kind: "labelled", keys, use: "used" });
const laterLabelled = (keys: Keys): Key => ({ kind: "labelled", keys, use: "later" });
const refused = (kind: Scalar, why: string): Key => ({ kind, use: "refused", why });
const each = (names: string, key: Key): Keys =>
  Object.fromEntries(names.split(" ").map((name) => [name, key]));

const JOIN: Keys = {
  retry_join: used("strings"),
  start_join: used("strings"),
  retry_max: used("int"),
  retry_interval: used("duration"),
};

const IDENTITY: Keys = {
  ...each("aud", later("strings")),
  ...each("env file", later("bool")),
  filepath: later("string"),
  ttl: later("duration"),
  extra_claims: later("map"),
};

const SERVER: Keys = {
  enabled: used("bool"),
  bootstrap_expect: used("int"),
  data_dir: used("string"),
  /** `storage "libsql" {}` or `storage "inmem" {}`: ours. */
  storage: labelled({}),
  num_schedulers: used("int"),
  enabled_schedulers: used("strings"),
  server_join: block(JOIN),
  ...JOIN,
  heartbeat_grace: used("duration"),
  min_heartbeat_ttl: used("duration"),
  max_heartbeats_per_second: used("float"),
  failover_heartbeat_ttl: used("duration"),
  node_gc_threshold: used("duration"),
  job_gc_interval: used("duration"),
  job_gc_threshold: used("duration"),
  eval_gc_threshold: used("duration"),
  batch_eval_gc_threshold: used("duration"),
  deployment_gc_threshold: used("duration"),
  event_buffer_size: used("int"),
  /** Accepted, one log line: there is no licence to check. */
  license_path: later("string"),
  job_default_priority: used("int"),
  job_max_priority: used("int"),
  job_max_count: used("int"),
  job_max_source_size: used("size"),
  job_tracked_versions: used("int"),
  raft_snapshot_threshold: used("int"),
  raft_snapshot_interval: used("duration"),
  raft_trailing_logs: used("int"),
  raft_multiplier: used("int"),
  raft_protocol: used("int"),
  non_voting_server: used("bool"),
  rejoin_after_leave: used("bool"),
  default_scheduler_config: block({
    scheduler_algorithm: used("string"),
    memory_oversubscription_enabled: used("bool"),
    reject_job_registration: used("bool"),
    pause_eval_broker: used("bool"),
    node_limit_for_feasibility_checks: used("int"),
    preemption_config: block(
      each(
        "system_scheduler_enabled sysbatch_scheduler_enabled batch_scheduler_enabled service_scheduler_enabled",
        used("bool"),
      ),
    ),
  }),
  encrypt: used("gossipKey"),
  ...each("authoritative_region redundancy_zone upgrade_version oidc_issuer log_file", later("string")),
  ...each("protocol_version plan_apply_pipeline", later("int")),
  ...each("enable_event_broker non_production", later("bool")),
  ...each(
    "csi_volume_claim_gc_interval csi_volume_claim_gc_threshold csi_plugin_gc_threshold acl_token_gc_threshold " +
      "root_key_gc_interval root_key_gc_threshold root_key_rotation_threshold start_timeout",
    later("duration"),
  ),
  deploy_query_rate_limit: later("float"),
  plan_rejection_tracker: laterBlock({
    enabled: later("bool"),
    node_threshold: later("int"),
    node_window: later("duration"),
  }),
  search: laterBlock({
    fuzzy_enabled: later("bool"),
    ...each("limit_query limit_results min_term_length", later("int")),
  }),
  raft_boltdb: laterBlock({ no_freelist_sync: later("bool") }),
  raft_logstore: laterBlock({
    backend: later("string"),
    disable_log_cache: later("bool"),
    boltdb: laterBlock({ no_freelist_sync: later("bool") }),
    wal: laterBlock({ segment_size_mb: later("int") }),
    verification: laterBlock({ enabled: later("bool"), interval: later("duration") }),
  }),
  client_introduction: laterBlock({
    enforcement: later("string"),
    ...each("default_identity_ttl max_identity_ttl", later("duration")),
  }),
};

const RETRY: Keys = { attempts: later("int"), ...each("backoff max_backoff", later("duration")) };
const CLIENT: Keys = {
  enabled: used("bool"),
  state_dir: used("string"),
  alloc_dir: used("string"),
  servers: used("strings"),
  server_join: block(JOIN),
  node_class: used("string"),
  node_pool: used("string"),
  options: used("map"),
  meta: used("map"),
  network_interface: used("string"),
  network_speed: later("int"),
  cpu_total_compute: used("int"),
  memory_total_mb: used("int"),
  disk_total_mb: used("int"),
  max_kill_timeout: used("duration"),
  min_dynamic_port: used("int"),
  max_dynamic_port: used("int"),
  reserved: block({
    cpu: used("int"),
    cores: used("string"),
    memory: used("int"),
    disk: used("int"),
    reserved_ports: used("string"),
  }),
  gc_interval: used("duration"),
  gc_disk_usage_threshold: used("float"),
  gc_inode_usage_threshold: used("float"),
  gc_max_allocs: used("int"),
  gc_parallel_destroys: used("int"),
  no_host_uuid: used("bool"),
  node_max_allocs: used("int"),
  default_ineligible: later("bool"),
  host_volume: labelled({ path: used("string"), read_only: used("bool") }),
  host_network: labelled(each("cidr interface reserved_ports", used("string"))),
  ...each(
    "alloc_mounts_dir host_volumes_dir host_volume_plugin_dir common_plugin_dir preferred_address_family " +
      "reservable_cores cni_path cni_config_dir bridge_network_name bridge_network_subnet " +
      "bridge_network_subnet_ipv6 cgroup_parent log_file",
    later("string"),
  ),
  ...each("disk_free_mb client_min_port client_max_port", later("int")),
  ...each(
    "cpu_disable_dmidecode gc_volumes_on_node_gc disable_remote_exec bridge_network_hairpin_mode " +
      "bind_wildcard_default_host_network nomad_service_discovery",
    later("bool"),
  ),
  chroot_env: later("map"),
  drain_on_shutdown: laterBlock({
    deadline: later("duration"),
    ...each("ignore_system_jobs force", later("bool")),
  }),
  users: laterBlock(each("dynamic_user_min dynamic_user_max", later("int"))),
  fingerprint: laterLabelled({
    retry_interval: later("duration"),
    retry_attempts: later("int"),
    exit_on_failure: later("bool"),
  }),
  artifact: laterBlock({
    ...each("http_read_timeout gcs_timeout git_timeout hg_timeout s3_timeout", later("duration")),
    ...each("http_max_size decompression_size_limit", later("size")),
    decompression_file_count_limit: later("int"),
    ...each("disable_artifact_inspection disable_filesystem_isolation", later("bool")),
    filesystem_isolation_extra_paths: later("strings"),
    set_environment_variables: later("string"),
  }),
  template: laterBlock({
    function_denylist: later("strings"),
    ...each("disable_file_sandbox use_client_consul_token", later("bool")),
    ...each("max_stale block_query_wait vault_default_lease_duration", later("duration")),
    wait: laterBlock(each("min max", later("duration"))),
    wait_bounds: laterBlock(each("min max", later("duration"))),
    ...each("consul_retry vault_retry nomad_retry", laterBlock(RETRY)),
  }),
};

const TLS_WHY = "TLS is not built yet: leave it off and put the ports behind a tunnel or a TLS proxy";
const TLS: Keys = {
  http: refused("bool", TLS_WHY),
  rpc: refused("bool", TLS_WHY),
  // These only say how TLS is done where it is on.
  ...each("verify_server_hostname verify_https_client rpc_upgrade_mode", used("bool")),
  ...each("ca_file cert_file key_file tls_cipher_suites tls_min_version", used("string")),
};

const TELEMETRY: Keys = {
  prometheus_metrics: used("bool"),
  collection_interval: later("duration"),
  ...each("in_memory_collection_interval in_memory_retention_period", later("duration")),
  ...each(
    "publish_allocation_metrics publish_node_metrics include_alloc_metadata_in_metrics disable_hostname " +
      "use_node_name filter_default disable_dispatched_job_summary_metrics disable_quota_utilization_metrics " +
      "disable_rpc_rate_metrics_labels disable_allocation_hook_metrics",
    later("bool"),
  ),
  ...each("allowed_metadata_keys_in_metrics datadog_tags prefix_filter", later("strings")),
  ...each(
    "statsite_address statsd_address datadog_address circonus_api_token circonus_api_app circonus_api_url " +
      "circonus_submission_interval circonus_submission_url circonus_check_id circonus_check_force_metric_activation " +
      "circonus_check_instance_id circonus_check_search_tag circonus_check_tags circonus_check_display_name " +
      "circonus_broker_id circonus_broker_select_tag",
    later("string"),
  ),
};

const CONSUL: Keys = {
  ...each(
    "name address grpc_address token auth namespace ca_file cert_file key_file grpc_ca_file server_service_name " +
      "server_http_check_name server_serf_check_name server_rpc_check_name client_service_name " +
      "client_http_check_name service_auth_method task_auth_method",
    later("string"),
  ),
  timeout: later("duration"),
  ...each(
    "ssl share_ssl verify_ssl auto_advertise checks_use_advertise server_auto_join client_auto_join",
    later("bool"),
  ),
  ...each(
    "server_failures_before_critical server_failures_before_warning client_failures_before_critical " +
      "client_failures_before_warning",
    later("int"),
  ),
  tags: later("strings"),
  service_identity: laterBlock(IDENTITY),
  task_identity: laterBlock(IDENTITY),
};

const VAULT: Keys = {
  ...each(
    "name address namespace create_from_role jwt_auth_backend_path ca_file ca_path cert_file key_file " +
      "tls_server_name token",
    later("string"),
  ),
  ...each("enabled tls_skip_verify", later("bool")),
  default_identity: laterBlock(IDENTITY),
};

/** What may stand at the top of a file, and inside `datacenter "…" { }`. */
const TOP: Keys = {
  region: used("string"),
  datacenter: used("string"),
  name: used("string"),
  data_dir: used("string"),
  plugin_dir: later("string"),
  log_level: used("string"),
  log_json: used("bool"),
  log_file: used("string"),
  log_include_location: later("bool"),
  log_rotate_duration: later("duration"),
  log_rotate_bytes: later("int"),
  log_rotate_max_files: later("int"),
  bind_addr: used("string"),
  enable_debug: used("bool"),
  leave_on_interrupt: used("bool"),
  leave_on_terminate: used("bool"),
  enable_syslog: refused(
    "bool",
    "syslog is not built: use log_file, or let the service manager take standard output",
  ),
  syslog_facility: later("string"),
  disable_update_check: later("bool"),
  disable_anonymous_signature: later("bool"),
  http_api_response_headers: used("map"),
  ports: block(each("http rpc serf", used("int"))),
  addresses: block(each("http rpc serf", used("string"))),
  advertise: block(each("http rpc serf", used("string"))),
  server: block(SERVER),
  client: block(CLIENT),
  acl: block({
    enabled: refused(
      "bool",
      "ACLs are not built yet and the API would be open to everyone: set acl.enabled = false to accept that",
    ),
    // These only matter where ACLs are on.
    ...each(
      "token_ttl policy_ttl role_ttl token_min_expiration_ttl token_max_expiration_ttl",
      used("duration"),
    ),
    replication_token: used("string"),
  }),
  rpc: laterBlock({
    accept_backlog: later("int"),
    ...each(
      "keep_alive_interval connection_write_timeout stream_open_timeout stream_close_timeout dial_timeout",
      later("duration"),
    ),
  }),
  telemetry: block(TELEMETRY),
  tls: block(TLS),
  autopilot: block({
    ...each(
      "cleanup_dead_servers enable_redundancy_zones disable_upgrade_migration enable_custom_upgrades",
      used("bool"),
    ),
    ...each("last_contact_threshold server_stabilization_time", used("duration")),
    ...each("max_trailing_logs min_quorum", used("int")),
  }),
  limits: laterBlock({
    ...each("https_handshake_timeout rpc_handshake_timeout", later("duration")),
    ...each("http_max_conns_per_client rpc_max_conns_per_client", later("int")),
  }),
  plugin: labelled({ args: later("strings"), config: used("any") }),
  ui: block({
    enabled: later("bool"),
    show_cli_hints: used("bool"),
    consul: laterBlock({ ui_url: later("string") }),
    vault: laterBlock({ ui_url: later("string") }),
    label: laterBlock(each("text background_color text_color", later("string"))),
    content_security_policy: laterBlock(
      each(
        "connect_src default_src form_action frame_ancestors img_src script_src style_src",
        later("strings"),
      ),
    ),
  }),
  consul: laterBlock(CONSUL),
  vault: laterBlock(VAULT),
  keyring: refused("any", "external key providers are not built yet"),
  audit: refused("any", "audit logs are not built yet"),
  sentinel: refused("any", "Sentinel policies are a feature of Nomad Enterprise"),
  reporting: later("any"),
  eventlog: later("any"),
};

/** The whole file: the plain keys, and `datacenter "dc1" { … }` for agents of that datacenter only (ours). */
export const AGENT_KEYS: Keys = TOP;
/** What may stand in a labelled datacenter block: everything but the datacenter itself. */
export const DATACENTER_KEYS: Keys = Object.fromEntries(
  Object.entries(TOP).filter(([name]) => name !== "datacenter"),
);

/**
 * Keys that no agent ever knew but that many copied files hold: said in one warning, and the agent starts.
 */
export const MISTAKEN_KEYS = new Set(["consul.verify_server_hostname"]);
