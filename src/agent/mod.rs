//! The daemon: the one part that sees everything.

pub mod clock;
pub mod directive;
pub mod event_loop;
pub mod loader;
pub mod memory;
mod modules;
pub mod plans;
pub mod reconfigure;
pub mod reload;
pub mod runs;
pub mod signals;
pub mod site;
pub mod slot;
mod sockets;
mod source_metrics;
pub mod sources;
pub mod summary;
pub mod watch_file;

use std::path::PathBuf;

use prometheus::{Counter, Gauge, IntCounterVec, IntGauge};

pub use event_loop::Agent;

use crate::config::Problem;
use crate::config::files::{Loaded, Refused};
use crate::metrics::Metrics;
use crate::time::Timestamp;

/// What an agent is started with.
pub struct Setup {
    pub loaded: Loaded,
    /// The configuration file; None for `run`.
    pub path: Option<PathBuf>,
    /// Whether to read it anew when it changes on disk.
    pub watch: bool,
    /// Whether to end with the one directive there is (`run`).
    pub single: bool,
}

/// Why an agent could not start.
#[derive(Debug)]
pub struct Error {
    pub message: String,
    /// Whether the kernel, the privileges or an address in use forbid it.
    pub forbidden: bool,
}

impl Error {
    fn kernel(step: &str, cause: &dyn std::fmt::Display) -> Error {
        Error { message: format!("{step}: {cause}"), forbidden: true }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// What is known of the configuration on disk.
#[derive(Default)]
pub struct Disk {
    pub loaded_at: Option<Timestamp>,
    /// Of the last reading, if it failed.
    pub error: Option<String>,
    pub restart_required: bool,
    pub refused: Vec<Refused>,
    /// Directives of these that have series of their state.
    pub shown: Vec<String>,
}

/// The agent's metrics about itself that the loop moves.
pub struct Gauges {
    pub busy: Counter,
    pub reload_successful: IntGauge,
    pub reloaded_at: Gauge,
    pub reloads: IntCounterVec,
    pub restart_required: IntGauge,
}

impl Gauges {
    fn new(metrics: &Metrics) -> Gauges {
        Gauges {
            busy: metrics.float_counter("tawon_loop_busy_seconds_total"),
            reload_successful: metrics.gauge("tawon_config_last_reload_successful"),
            reloaded_at: metrics.float_gauge("tawon_config_last_reload_timestamp_seconds"),
            reloads: metrics.counters("tawon_config_reloads_total"),
            restart_required: metrics.gauge("tawon_config_restart_required"),
        }
    }
}

/// All problems in one line.
fn one_line(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{}: {}", problem.place, problem.message)).collect::<Vec<_>>().join("; ")
}
