//! Processing tasks: decode what a source saw, keep bounded state.

pub mod streams;
