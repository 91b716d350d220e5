//! The daemon: the one part that sees everything.

pub mod clock;
pub mod directive;
pub mod loader;
pub mod plans;
pub mod reload;
pub mod signals;
pub mod sources;
