//! `flows`: TCP and UDP flows, when they start and when they end, with their statistics.

mod claims;
mod desk;
mod engine;
mod listeners;
mod options;
pub mod record;
mod sequence;
mod tracked;
mod udp;
mod work;

pub use engine::Engine;
pub use options::Options;
pub use record::FlowRecord;
pub use tracked::Tracked;
pub use work::{Finished, SLICE};

use std::time::Duration;

use crate::task::{Build, Kind, Opt, Source, Spec, Type};

pub static SPEC: Spec = Spec {
    name: "flows",
    help: "TCP and UDP flows: a record when one starts, one when it ends with its statistics.",
    options: &[
        Opt {
            name: "filter",
            ty: Type::Filter,
            default: "",
            help: "Only flows that this filter lets through; src is who opened the flow or sent first.",
        },
        Opt {
            name: "protocols",
            ty: Type::Choice(&["tcp+udp", "tcp", "udp"]),
            default: "tcp+udp",
            help: "Which transport protocols.",
        },
        Opt {
            name: "interval",
            ty: Type::Duration { min: Duration::from_secs(1), max: Duration::from_secs(86_400) },
            default: "",
            help: "Also an ongoing record of each open flow this often.",
        },
        Opt {
            name: "udpIdle",
            ty: Type::Duration { min: Duration::from_secs(1), max: Duration::from_secs(86_400) },
            default: "30s",
            help: "A UDP flow without datagrams for so long has ended. Of several directives, the longest time counts.",
        },
        Opt { name: "meta", ty: Type::Meta, default: "process.min", help: "The shared groups to attach." },
    ],
    accepts: &[],
    emits: &[Kind::Flow],
    needs_condition: false,
    build: Build::Source(Source::Flows),
};
