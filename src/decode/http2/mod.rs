//! HTTP/2 (RFC 9113): frame headers and payloads as views on byte slices. What order frames may come
//! in, and what they mean for a connection, is not known here.

mod frame;
mod settings;

pub use frame::{Header, Type, flag, fragment, unpadded};
pub use settings::{Setting, settings};

/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame header (section 4.1).
pub const HEADER: usize = 9;

/// SETTINGS_MAX_FRAME_SIZE before any SETTINGS (section 6.5.2).
pub const MAX_FRAME: u32 = 16_384;
