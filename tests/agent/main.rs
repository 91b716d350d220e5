//! The real binary, run as its user would.

mod bpf_stats;
mod check;
mod command_line;
mod destinations;
mod directives_d;
mod h2_live;
mod http;
mod readme;
mod schemas;
mod scripts;
#[path = "../support/mod.rs"]
mod support;
