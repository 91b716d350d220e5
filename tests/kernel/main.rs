//! Real kernel events, exact counts.

mod capture;
mod machine;
mod programs;
#[path = "../support/mod.rs"]
mod support;
