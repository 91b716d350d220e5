//! Processing tasks: decode what a source saw, keep bounded state.

mod parse;
pub mod pfcp;
pub mod streams;
mod text;
pub mod tlsheaders;
