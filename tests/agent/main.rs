//! The real binary, run as its user would.

#[path = "../support/mod.rs"]
mod support;
