//! Real kernel events, exact counts.

mod machine;
#[path = "../support/mod.rs"]
mod support;
