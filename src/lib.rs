//! Tawon: a node agent that turns what the kernel knows about processes, sockets and packets into
//! records and Prometheus metrics.
//!
//! Dependencies point one way: `decode` and `flow` import nothing above them; `task` knows neither
//! libbpf nor mio; `kernel` knows no task; only `agent` and `cli` see everything.
#![deny(unsafe_code)]

pub mod agent;
pub mod cli;
pub mod config;
pub mod decode;
pub mod flow;
pub mod http;
pub mod kernel;
pub mod metrics;
pub mod pipeline;
pub mod process;
pub mod task;
pub mod time;
