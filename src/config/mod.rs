//! The configuration: `raw` is what was written, this module what it means once validated. Agent,
//! `run` and `check` share all of it. Values compare equal when they mean the same, which is how a
//! reload tells what changed. Nothing here opens a socket, attaches a program or reads a clock.

pub mod condition;
pub mod directive_file;
pub mod files;
pub mod filter;
pub mod keys;
pub mod main_file;
pub mod options;
pub mod pipeline;
pub mod problem;
pub mod raw;
pub mod read;
pub mod schema;
pub mod units;
pub mod write;

use std::collections::BTreeMap;
use std::time::Duration;

pub use condition::{Condition, Pattern};
pub use files::{Loaded, Refused, load};
pub use filter::Filter;
pub use problem::Problem;
pub use units::{Listen, Network};

use crate::task::{Options, Source, Spec};
use crate::time::Timestamp;

/// A whole configuration, validated.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// `src.name` of the envelope and a label of the directive metrics.
    pub tawon_id: String,
    pub metrics: Metrics,
    pub probes: Probes,
    pub bpf: Bpf,
    pub limits: Limits,
    /// Header names, lower case, whose values are redacted.
    pub redact: Vec<String>,
    /// What is redacted in argument lists: its first group, or the whole match where it has none.
    /// Matched against argv as it stands in `Process::cmd`, each argument ended by a zero byte.
    pub redact_args: Option<Pattern>,
    pub status: Status,
    /// In the order in which they were written, the main file's first.
    pub directives: Vec<Directive>,
}

/// Where and how metrics are served.
#[derive(Clone, PartialEq, Debug)]
pub struct Metrics {
    /// Empty where nothing is to be served.
    pub listen: Vec<Listen>,
    /// Begins with a slash.
    pub path: String,
    /// Without the underscore that follows it; empty keeps the catalogue's names.
    pub prefix: String,
    /// Of the summaries, each between 0 and 1, ascending.
    pub quantiles: Vec<f64>,
}

/// Where /healthz and /readyz are served.
#[derive(Clone, PartialEq, Debug)]
pub struct Probes {
    pub listen: Vec<Listen>,
}

/// How the kernel's records come to user space.
#[derive(Clone, PartialEq, Debug)]
pub struct Bpf {
    pub perf_buffer_pages: PerfBufferPages,
    pub transport: Transport,
    /// How often program statistics are sampled.
    pub stats_interval: Duration,
    /// Whether a BPF_ENABLE_STATS descriptor is held while running.
    pub enable_stats: bool,
}

/// Pages of each CPU's ring.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PerfBufferPages {
    /// Of sources that `by_source` does not name; None is `auto`.
    pub all: Option<u32>,
    pub by_source: BTreeMap<&'static str, Option<u32>>,
}

impl PerfBufferPages {
    /// A power of two, or None for `auto`: the source's share of memory among the CPUs.
    pub fn of(&self, source: &str) -> Option<u32> {
        self.by_source.get(source).copied().unwrap_or(self.all)
    }
}

/// Which kind of ring carries records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Perf rings; where perf_event_open is refused a BPF ring buffer.
    Auto,
    Perf,
    Ring,
}

/// The bounds of every table.
#[derive(Clone, PartialEq, Debug)]
pub struct Limits {
    pub memory: Memory,
    pub processes: usize,
    pub flows: usize,
}

/// Of all tables together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// Of the cgroup's limit, or of the machine's memory where it has none; 1 to 100.
    Percent(u8),
    Bytes(u64),
}

impl Memory {
    /// In bytes, where the cgroup (or the machine) has `available` bytes.
    pub fn bytes(self, available: u64) -> u64 {
        match self {
            Memory::Percent(percent) => (u128::from(available) * u128::from(percent) / 100) as u64,
            Memory::Bytes(bytes) => bytes,
        }
    }
}

/// Who may see `/` and `/directives` beside loopback peers.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Status {
    pub allow: Vec<Network>,
}

/// A pipeline of tasks, when it runs and for which processes.
#[derive(Clone, PartialEq, Debug)]
pub struct Directive {
    /// A DNS-1123 subdomain; `namespace/name` for objects of a namespace.
    pub name: String,
    pub enabled: bool,
    pub start_at: Option<Timestamp>,
    pub stop_at: Option<Timestamp>,
    pub duration: Option<Duration>,
    pub condition: Option<Condition>,
    /// A source, processing tasks, then at least one destination.
    pub tasks: Vec<TaskConfig>,
}

impl Directive {
    /// The source that the pipeline begins with.
    pub fn source(&self) -> Option<Source> {
        self.tasks.first().and_then(|task| match task.spec.build {
            crate::task::Build::Source(source) => Some(source),
            _ => None,
        })
    }
}

/// One task of a directive with its options.
#[derive(Clone)]
pub struct TaskConfig {
    pub spec: &'static Spec,
    pub options: Options,
}

impl PartialEq for TaskConfig {
    fn eq(&self, other: &TaskConfig) -> bool {
        self.spec.name == other.spec.name && self.options == other.options
    }
}

impl std::fmt::Debug for TaskConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskConfig").field("task", &self.spec.name).field("options", &self.options).finish()
    }
}
