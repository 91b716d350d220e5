//! Decoders and tasks against material from outside and against independent decoders.

mod allocations;
mod conditions;
mod decoders;
mod destinations;
mod metrics;
#[path = "../support/mod.rs"]
mod support;

mod capture_file;
mod dns;
mod dnssec;
mod ecpri;
mod exec_ends;
mod exec_slices;
mod extremes;
mod flows_sequence;
mod flows_slices;
mod h2;
mod h2_bounds;
mod h2_captures;
mod h2_counters;
mod h2_loss;
mod h2_violations;
mod h2_windows;
mod headers;
mod hpack;
mod pfcp;
mod reassembly;
mod scrape;
mod tls;
