//! What header names mean to the task, judged once per name: HPACK keeps the tag with the name.

use super::json::Text;
use crate::decode::hpack::static_table;

/// A name's tag: what it is in the low bits, with marks in the high ones.
pub type Tag = u8;

pub const METHOD: Tag = 1;
pub const SCHEME: Tag = 2;
pub const AUTHORITY: Tag = 3;
pub const PATH: Tag = 4;
/// RFC 8441 section 4.
pub const PROTOCOL: Tag = 5;
pub const STATUS: Tag = 6;
/// A pseudo-header that no RFC defines; the last of the pseudo-headers.
pub const PSEUDO: Tag = 7;
pub const CONTENT_TYPE: Tag = 8;
pub const CONTENT_ENCODING: Tag = 9;
pub const GRPC_STATUS: Tag = 10;
pub const GRPC_MESSAGE: Tag = 11;
/// Fields of a connection, which HTTP/2 forbids (RFC 9113 section 8.2.2).
pub const CONNECTION: Tag = 12;
pub const TE: Tag = 13;
pub const CONTENT_LENGTH: Tag = 14;

/// What is shown in the place of a secret.
pub const HIDDEN: &[u8] = b"[redacted]";

/// The low bits.
pub const KIND: Tag = 0x3f;
/// Its values are not shown.
pub const REDACTED: Tag = 0x80;
/// The name is not one (RFC 9113 section 8.2.1).
pub const INVALID: Tag = 0x40;

/// What no name has, but for a colon at its beginning.
static BARRED: [bool; 256] = {
    let mut barred = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        barred[byte] = matches!(byte as u8, 0..=0x20 | b'A'..=b'Z' | b':' | 0x7f..=0xff);
        byte += 1;
    }
    barred
};

/// The names to redact, and the tags of the static table.
pub struct Names {
    redacted: Vec<String>,
    statics: [Tag; static_table::LENGTH + 1],
    /// The entries of the static table as elements of a record's list.
    texts: [Text; static_table::LENGTH + 1],
    /// Whether anything is redacted at all.
    pub redact: bool,
}

impl Names {
    /// `redacted`: lower-case names; None where nothing is.
    pub fn new(redacted: Option<&[String]>) -> Names {
        let mut names = Names {
            redacted: redacted.unwrap_or_default().iter().map(|name| name.to_ascii_lowercase()).collect(),
            statics: [0; static_table::LENGTH + 1],
            texts: std::array::from_fn(|_| Text::default()),
            redact: redacted.is_some(),
        };
        for index in 1..=static_table::LENGTH {
            if let Some((name, value)) = static_table::entry(index) {
                names.statics[index] = names.tag(name);
                names.texts[index].push_field(name, names.shown(names.statics[index], value));
            }
        }
        names
    }

    pub fn tag(&self, name: &[u8]) -> Tag {
        let kind = match name {
            b":method" => METHOD,
            b":scheme" => SCHEME,
            b":authority" => AUTHORITY,
            b":path" => PATH,
            b":protocol" => PROTOCOL,
            b":status" => STATUS,
            [b':', ..] => PSEUDO,
            b"content-type" => CONTENT_TYPE,
            b"content-length" => CONTENT_LENGTH,
            b"content-encoding" => CONTENT_ENCODING,
            b"grpc-status" => GRPC_STATUS,
            b"grpc-message" => GRPC_MESSAGE,
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => CONNECTION,
            b"te" => TE,
            _ => 0,
        };
        let redacted = self.redacted.iter().any(|redacted| redacted.as_bytes() == name);
        let behind = name.strip_prefix(b":").unwrap_or(name);
        let invalid = behind.iter().fold(name.is_empty(), |any, &byte| any | BARRED[usize::from(byte)]);
        kind | if redacted { REDACTED } else { 0 } | if invalid { INVALID } else { 0 }
    }

    /// What of a value is shown where the name has this tag.
    #[inline]
    pub fn shown<'a>(&self, tag: Tag, value: &'a [u8]) -> &'a [u8] {
        if tag & REDACTED != 0 && self.redact { HIDDEN } else { value }
    }

    /// An entry of the static table as `push_field` writes it.
    #[inline]
    pub fn static_text(&self, index: u32) -> Option<&[u8]> {
        self.texts.get(index as usize).map(Text::as_slice)
    }

    pub fn static_tag(&self, index: usize) -> Tag {
        self.statics.get(index).copied().unwrap_or_default()
    }
}
