//! The real binary, run as its user would.

mod readme;
mod scripts;
#[path = "../support/mod.rs"]
mod support;
