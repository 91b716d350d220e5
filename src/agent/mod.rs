//! The daemon: the one part that sees everything.

pub mod directive;
pub mod reload;
