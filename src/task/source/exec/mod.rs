//! `exec`: process starts and ends, on the whole node or by condition. Its kernel side also keeps the
//! watch map true, so it is loaded whenever any kernel source runs.

mod data;
mod departed;
mod engine;
pub mod record;
mod threads;

pub use engine::{Engine, Options, SLICE};
pub use record::{ExecRecord, Parent, State, Status};

use crate::task::{Build, Kind, Opt, Source, Spec, Type};

pub static SPEC: Spec = Spec {
    name: "exec",
    help: "Process starts and ends, with arguments, exit status and duration.",
    options: &[
        Opt {
            name: "threads",
            ty: Type::Bool,
            default: "false",
            help: "Also a record for each further thread's start and end; the first thread's are the process's. Only of a thread that was there before and execs is it not known when it started.",
        },
        Opt {
            name: "forks",
            ty: Type::Bool,
            default: "false",
            help: "Also a started record for a fork that has not exec'd yet.",
        },
        Opt {
            name: "existing",
            ty: Type::Bool,
            default: "false",
            help: "Also a started record for each process that is there already.",
        },
        Opt { name: "meta", ty: Type::Meta, default: "process", help: "The shared groups to attach." },
    ],
    accepts: &[],
    emits: &[Kind::Exec],
    needs_condition: false,
    build: Build::Source(Source::Exec),
};
