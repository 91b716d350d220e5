//! Real kernel events, exact counts.

mod capture;
mod fronthaul;
mod machine;
mod programs;
#[path = "../support/mod.rs"]
mod support;
