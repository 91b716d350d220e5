//! Sources: bytes of a ring or frames of an interface to typed records.

pub mod capture;
pub mod exec;
pub mod flows;
