//! Real kernel events, exact counts.

mod capture;
mod machine;
#[path = "../support/mod.rs"]
mod support;
