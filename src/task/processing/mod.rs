//! Processing tasks: decode what a source saw, keep bounded state.

pub mod dns;
pub mod ecpri;
pub mod h2;
pub mod headers;
mod parse;
pub mod pfcp;
pub mod streams;
pub mod text;
pub mod tlsheaders;
