//! Every key that a configuration may have, once: the reader knows keys by this table, and the JSON
//! Schema is made from it. The defaults here are text as it would be written; a test holds them
//! against what the reader makes of an empty file.

use crate::task::Type;

/// One key of a map.
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    /// As YAML; "" where there is no default, or one that depends on the machine.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// What a value may be.
#[derive(Clone, Copy)]
pub enum Shape {
    /// As an option of a task.
    Of(Type),
    /// `:9990`, or a list of such.
    Listen,
    /// One word or a list of words.
    Words,
    /// A list of numbers from 0 to 1.
    Quantiles,
    /// `auto`, a power of two, or a map of these by source.
    PerfBufferPages,
    /// `70%` or a size.
    Memory,
    /// A list of networks.
    Networks,
    /// RFC 3339.
    Time,
    Map(&'static [Key]),
    Directives,
    Condition,
    Tasks,
}

const fn key(name: &'static str, shape: Shape, default: &'static str, help: &'static str) -> Key {
    Key { name, shape, default, help }
}

const fn seconds(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

use Shape::{Condition, Directives, Listen, Map, Networks, Of, Quantiles, Tasks, Time, Words};

/// A configuration file.
pub static CONFIG: &[Key] = &[
    key(
        "tawonID",
        Of(Type::Text),
        "",
        "Names this agent in records and metrics; default is NODE_NAME from the environment, else the host name.",
    ),
    key("metrics", Map(METRICS), "{}", "Where and how metrics are served."),
    key("probes", Map(PROBES), "{}", "Where /healthz and /readyz are served."),
    key("bpf", Map(BPF), "{}", "How records come from the kernel, and BPF statistics."),
    key("limits", Map(LIMITS), "{}", "The bounds of every table."),
    key(
        "redact",
        Words,
        "[authorization, proxy-authorization, cookie, set-cookie, x-api-key]",
        "Header names whose values are redacted.",
    ),
    key(
        "redactArgs",
        Of(Type::Regex),
        REDACT_ARGS,
        "What is redacted in argument lists: the first group, or the whole match; empty redacts nothing. Arguments are parted by zero bytes.",
    ),
    key("status", Map(STATUS), "{}", "Who may see / and /directives beside loopback peers."),
    key("directives", Directives, "[]", "The directives; more may lie in directives.d beside the file."),
];

pub static METRICS: &[Key] = &[
    key(
        "listen",
        Listen,
        "\":9990\"",
        "One address or a list; \":9990\" is dual stack where there is IPv6, else IPv4.",
    ),
    key("path", Of(Type::Text), "/metrics", "The path that metrics are served at."),
    key(
        "prefix",
        Of(Type::Text),
        "\"\"",
        "Put before the names of all metrics but the agent's own, with an underscore.",
    ),
    key("quantiles", Quantiles, "[0.5, 0.9, 0.99]", "Quantiles of the summaries; none leaves their sum and count."),
];

pub static PROBES: &[Key] = &[key(
    "listen",
    Listen,
    "\":8081\"",
    "One address or a list; one that metrics.listen has too is served by one socket.",
)];

pub static BPF: &[Key] = &[
    key(
        "perfBufferPages",
        Shape::PerfBufferPages,
        "auto",
        "Pages of each CPU's ring, a power of two, or a map by source; auto shares 8Mi per source (payload and tlsplaintext 32Mi) out among the CPUs.",
    ),
    key(
        "transport",
        Of(Type::Choice(&["auto", "perf", "ring"])),
        "auto",
        "Perf rings, or a BPF ring buffer; auto takes the latter where perf_event_open is refused.",
    ),
    key(
        "statsInterval",
        Of(Type::Duration { min: std::time::Duration::from_millis(100), max: seconds(3600) }),
        "1s",
        "How often the statistics of programs are sampled.",
    ),
    key("enableStats", Of(Type::Bool), "false", "Whether to keep the kernel's BPF statistics on while running."),
];

pub static LIMITS: &[Key] = &[
    key(
        "memory",
        Shape::Memory,
        "70%",
        "Of all tables together, a size or a part of the cgroup's limit; over it the least recently used entries go.",
    ),
    key("processes", Of(Type::Count { min: 1, max: TABLE }), "65536", "Processes in the table at most."),
    key("flows", Of(Type::Count { min: 1, max: TABLE }), "65536", "Flows in a table at most."),
];

pub static STATUS: &[Key] = &[key("allow", Networks, "[]", "Networks whose peers may see / and /directives.")];

/// A directive of a file; the spec of a cluster object is the same without `name`.
pub static DIRECTIVE: &[Key] = &[
    key("name", Of(Type::Text), "", "A DNS-1123 subdomain that no other directive has."),
    key("enabled", Of(Type::Bool), "true", "Whether it runs."),
    key("startAt", Time, "", "When it starts; at once without."),
    key("stopAt", Time, "", "When it ends; wins over duration."),
    key(
        "duration",
        Of(Type::Duration { min: std::time::Duration::from_millis(1), max: seconds(10 * 365 * 86_400) }),
        "",
        "How long it runs; until it is removed without.",
    ),
    key("condition", Condition, "", "Which processes it is for; all without."),
    key("tasks", Tasks, "", "A source, processing tasks, destinations."),
];

pub static TASK: &[Key] =
    &[key("task", Of(Type::Text), "", "The task's name."), key("config", Map(&[]), "{}", "The task's options.")];

/// What makes a condition; each stands alone.
pub static CONDITION: &[&str] = &["equal", "regex", "and", "or", "not"];
pub static EQUAL: &[&str] = &["field", "value"];
pub static REGEX: &[&str] = &["field", "regex"];

/// A `Directive` or `ClusterDirective` object.
pub static OBJECT: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

/// Several objects, as kubectl writes them.
pub static LIST: &[&str] = &["apiVersion", "kind", "metadata", "items"];

/// What a cluster object's spec may have beside a directive's keys: they say on which nodes and with
/// what rights an agent runs, which is settled where this file is read.
pub static CLUSTER_ONLY: &[&str] = &[
    "affinity",
    "agentSelector",
    "image",
    "imagePullPolicy",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "podMonitor",
    "podTemplate",
    "priorityClassName",
    "resources",
    "selector",
    "serviceAccountName",
    "serviceMonitor",
    "template",
    "tolerations",
];

pub fn names(keys: &'static [Key]) -> impl Iterator<Item = &'static str> {
    keys.iter().map(|key| key.name)
}

/// What follows `--password=`, `token:`, `API_KEY=`, `--secret` and the like, up to the argument's end.
pub const REDACT_ARGS: &str = r"(?i-u)(?:[a-z0-9_-]*(?:password|passwd|passphrase|token|secret)[a-z0-9_-]*|(?:^|[^a-z])(?:api|access|private)?key(?:[_-][a-z0-9]+)*)[=:\x00]+([^\x00]+)";
const TABLE: u64 = 1 << 24;
