//! The tasks. `TASKS` is the one list that the parser, `tawon tasks`, the README table, the schemas
//! and the metrics read; a new task is one folder and one line in it.

pub mod destination;
pub mod json;
pub mod options;
pub mod processing;
pub mod record;
pub mod schema;
pub mod source;

use std::sync::Arc;

use crate::metrics::Metrics;
use crate::pipeline::Task;
pub use options::{Opt, Options, Type, Value};

/// Every task of this build, in the order in which documents list them.
pub static TASKS: &[&Spec] = &[
    &source::exec::SPEC,
    &source::flows::SPEC,
    &source::capture::SPEC,
    &processing::headers::SPEC,
    &processing::dns::SPEC,
    &processing::h2::SPEC,
    &processing::tlsheaders::SPEC,
    &processing::pfcp::SPEC,
    &processing::ecpri::SPEC,
    &destination::log::SPEC,
    &destination::file::SPEC,
];

/// Finds a task by the name it has in a configuration.
pub fn find(name: &str) -> Option<&'static Spec> {
    TASKS.iter().copied().find(|spec| spec.name == name)
}

/// What the configuration, the command line and the documents know of a task.
pub struct Spec {
    /// Its name in a configuration, of its folder, its metrics and its BPF object.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    pub options: &'static [Opt],
    /// The record types that it takes; empty for a source, and for a destination that takes all.
    pub accepts: &'static [Kind],
    /// The record types that it gives; empty for a destination.
    pub emits: &'static [Kind],
    /// Whether a directive with this source must have a condition.
    pub needs_condition: bool,
    pub build: Build,
}

impl Spec {
    pub fn stage(&self) -> Stage {
        match self.build {
            Build::Source(_) => Stage::Source,
            Build::Processing(_) => Stage::Processing,
            Build::Destination(_) => Stage::Destination,
        }
    }
}

/// A task's place in a pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Source,
    Processing,
    Destination,
}

/// How a task comes to be. Sources are run by the agent, which alone sees the kernel.
#[derive(Clone, Copy)]
pub enum Build {
    Source(Source),
    Processing(Constructor),
    Destination(Constructor),
}

/// Makes a task of one directive run. The error is one sentence without the task's name.
pub type Constructor = fn(&Options, &Context) -> Result<Box<dyn Task>, String>;

/// What a task is given beside its options.
#[derive(Clone)]
pub struct Context {
    /// `tawonID` of the configuration: `src.name` of the envelope.
    pub tawon_id: Arc<str>,
    pub hostname: Arc<str>,
    /// The directive's name: `directive` of the envelope.
    pub directive: Arc<str>,
    pub metrics: Arc<Metrics>,
    /// Header names, lower case, whose values are redacted.
    pub redact: Arc<[String]>,
    /// Whether events come from packets (`capture`) rather than from sockets.
    pub packets: bool,
    /// Bytes that the task may hold: its part of `limits.memory`.
    pub memory: u64,
}

/// The sources.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    Exec,
    Flows,
    Capture,
}

/// The record types; `schema` tells the shape of each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Exec,
    Flow,
    Payload,
    TlsPlaintext,
    ResetConn,
    RawPacket,
    Headers,
    Dns,
    H2,
    TlsHeaders,
    Pfcp,
    Ecpri,
}

impl Kind {
    /// Whether its task consumes what came before and makes events of its own, rather than adding to them.
    pub const fn stands_alone(self) -> bool {
        matches!(self, Kind::H2)
    }

    /// The `type` of a record's entry in `data`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Exec => "exec",
            Kind::Flow => "flow",
            Kind::Payload => "payload",
            Kind::TlsPlaintext => "tlsplaintext",
            Kind::ResetConn => "resetconn",
            Kind::RawPacket => "rawpacket",
            Kind::Headers => "headers",
            Kind::Dns => "dns",
            Kind::H2 => "h2",
            Kind::TlsHeaders => "tlsheaders",
            Kind::Pfcp => "pfcp",
            Kind::Ecpri => "ecpri",
        }
    }
}
