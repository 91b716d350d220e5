//! Pure functions and views on byte slices. Fixed layouts are views: `new_checked`, then accessors
//! that cannot panic; what is length-prefixed is read with the cursor `reader::Reader`. Nothing here
//! allocates, reads a clock or counts: what is wrong leaves as `Error` and the caller counts it.

pub mod reader;

pub use reader::{Error, Reader};
