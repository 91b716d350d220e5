//! Processing tasks: decode what a source saw, keep bounded state.

pub mod ecpri;
pub mod h2;
mod parse;
pub mod pfcp;
pub mod streams;
mod text;
pub mod tlsheaders;
