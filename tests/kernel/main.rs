//! Real kernel events, exact counts.

#[path = "../support/mod.rs"]
mod support;
