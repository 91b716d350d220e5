//! Writes JSON straight into a record's buffer, for records on the hot path: no tree, no allocation
//! once the buffer has grown. Keys are names of the program's own, so they are written as they are.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64_simd::{Out, STANDARD};

/// Appends one object.
pub fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object { out, first: true });
    out.push(b'}');
}

/// An object that is being written.
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    /// Begins a member and gives the buffer for its value.
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.member(key, "")
    }

    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        object(self.key(key), fill);
    }

    pub fn array(&mut self, key: &str, fill: impl FnOnce(&mut Array<'_>)) {
        array(self.key(key), fill);
    }

    pub fn number(&mut self, key: &str, value: u64) {
        number(self.key(key), value);
    }

    pub fn flag(&mut self, key: &str, value: bool) {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Text that needs no escaping: names of the program's own, digits, addresses.
    pub fn plain(&mut self, key: &str, value: &str) {
        plain(self.key(key), value.as_bytes());
    }

    pub fn string(&mut self, key: &str, value: &str) {
        string(self.key(key), value);
    }

    /// Text as it came; under `key` with `Base64` behind it where it is not UTF-8.
    pub fn text(&mut self, key: &str, value: &[u8]) {
        match std::str::from_utf8(value) {
            Ok(value) => self.string(key, value),
            Err(_) => base64(self.member(key, "Base64"), value),
        }
    }

    /// A list of texts; all of it base64, under `key` with `Base64` behind it, where one is not UTF-8.
    pub fn texts<'t>(&mut self, key: &str, values: impl Iterator<Item = &'t [u8]> + Clone) {
        if values.clone().all(|value| std::str::from_utf8(value).is_ok()) {
            self.array(key, |array| {
                values.for_each(|value| string(array.item(), std::str::from_utf8(value).unwrap_or_default()));
            });
        } else {
            array(self.member(key, "Base64"), |array| values.for_each(|value| base64(array.item(), value)));
        }
    }

    /// Bytes as lower-case hexadecimal digits.
    pub fn hex(&mut self, key: &str, bytes: &[u8]) {
        hex(self.key(key), bytes);
    }

    /// As `object`, where filling it may fail: then nothing is left of the member.
    pub fn try_object<E>(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>) -> Result<(), E>) -> Result<(), E> {
        let (before, first) = (self.out.len(), self.first);
        let mut filled = Ok(());
        self.object(key, |o| filled = fill(o));
        if filled.is_err() {
            self.out.truncate(before);
            self.first = first;
        }
        filled
    }

    /// The buffer as it stands, for what a member's value still lacks.
    pub fn raw(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// The member's key with a suffix, and the buffer for its value.
    #[inline]
    pub fn member(&mut self, key: &str, suffix: &str) -> &mut Vec<u8> {
        self.out.reserve(key.len() + suffix.len() + 4);
        self.out.extend_from_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        self.out.extend_from_slice(key.as_bytes());
        if !suffix.is_empty() {
            self.out.extend_from_slice(suffix.as_bytes());
        }
        self.out.extend_from_slice(b"\":");
        self.out
    }
}

/// Appends one array.
pub fn array(out: &mut Vec<u8>, fill: impl FnOnce(&mut Array<'_>)) {
    out.push(b'[');
    fill(&mut Array { out, first: true });
    out.push(b']');
}

/// An array that is being written.
pub struct Array<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl Array<'_> {
    /// Begins an item and gives the buffer for it.
    pub fn item(&mut self) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out
    }

    /// A name, or the code point in hexadecimal where it has none.
    pub fn name_or_code(&mut self, name: Option<&str>, code: u16) {
        name_or_code(self.item(), name, code);
    }
}

/// A name, or the code point in hexadecimal where it has none.
pub fn name_or_code(out: &mut Vec<u8>, name: Option<&str>, code: u16) {
    match name {
        Some(name) => plain(out, name.as_bytes()),
        None => hex(out, &code.to_be_bytes()),
    }
}

pub fn number(out: &mut Vec<u8>, mut value: u64) {
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Bytes between quotes that need no escaping.
pub fn plain(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(value);
    out.push(b'"');
}

pub fn string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => {
                out.extend_from_slice(b"\\u00");
                digits(out, &[byte]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Lower-case hexadecimal digits between quotes.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    digits(out, bytes);
    out.push(b'"');
}

/// Lower-case hexadecimal digits.
pub fn digits(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
    }
}

pub fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let at = out.len();
    out.resize(at + bytes.len().div_ceil(3) * 4, 0);
    // The room is exactly that of padded base64: less would be a panic.
    let _ = STANDARD.encode(bytes, Out::from_slice(&mut out[at..]));
    out.push(b'"');
}

/// An address in dotted decimals, without quotes.
pub fn ipv4(out: &mut Vec<u8>, address: [u8; 4]) {
    for (at, byte) in address.into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        number(out, u64::from(byte));
    }
}

/// An address as RFC 5952 writes it, without quotes.
pub fn ipv6(out: &mut Vec<u8>, address: [u8; 16]) {
    let address = Ipv6Addr::from(address);
    // Writing into memory cannot fail.
    let _ = match address.to_ipv4_mapped() {
        Some(mapped) => write!(out, "{}", Ipv4Addr::from(mapped.octets())),
        None => write!(out, "{address}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json_and_reads_back_equal() {
        let mut out = Vec::new();
        object(&mut out, |o| {
            o.number("zero", 0);
            o.number("max", u64::MAX);
            o.flag("yes", true);
            o.string("odd", "a\"b\\c\n\u{1}é");
            o.text("bytes", b"\xff\x00");
            o.hex("hex", &[0, 0xab]);
            o.texts("list", [&b"h2"[..], b"http/1.1"].into_iter());
            o.texts("mixed", [&b"h2"[..], b"\xba\xad"].into_iter());
            o.object("inner", |o| o.array("empty", |_| {}));
            ipv6(o.key("address"), [0; 16]);
        });
        // The address has no quotes, so that callers can put a prefix length behind it.
        let text =
            String::from_utf8(out).unwrap().replace(":::", ":\"::\"").replace("\"address\":\"::\"", "\"address\":1");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["max"], u64::MAX);
        assert_eq!(value["odd"], "a\"b\\c\n\u{1}é");
        assert_eq!(value["bytesBase64"], "/wA=");
        assert_eq!(value["hex"], "00ab");
        assert_eq!(value["list"][1], "http/1.1");
        assert_eq!(value["mixedBase64"][0], "aDI=");
        assert_eq!(value["inner"]["empty"], serde_json::json!([]));
    }
}
