//! Writes JSON straight into a record's buffer, for records on the hot path: no tree, no allocation
//! once the buffer has grown. Keys are names of the program's own, so they are written as they are.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64_simd::STANDARD;

use crate::decode::padded::Padded;
use crate::time::PAIRS;

/// Appends one object.
#[inline]
pub fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    let at = out.len();
    fill(&mut Object { out });
    close(out, at, [b'{', b'}']);
}

/// As `object`, with `head` for its bracket and first members.
#[inline]
pub fn open(out: &mut Vec<u8>, head: &str, fill: impl FnOnce(&mut Object<'_>)) {
    out.extend_from_slice(head.as_bytes());
    fill(&mut Object { out });
    out.push(b'}');
}

/// Begins a member of an object that has one already, or whose bracket the comma becomes.
#[inline]
pub fn key<'o>(out: &'o mut Vec<u8>, key: &str) -> &'o mut Vec<u8> {
    member(out, key, "")
}

#[inline]
fn member<'o>(out: &'o mut Vec<u8>, key: &str, suffix: &str) -> &'o mut Vec<u8> {
    out.reserve(key.len() + suffix.len() + 4);
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    if !suffix.is_empty() {
        out.extend_from_slice(suffix.as_bytes());
    }
    out.extend_from_slice(b"\":");
    out
}

/// Every member and item begins with a comma, so that nothing has to remember which is the first; where
/// it is, the comma becomes the bracket.
#[inline]
fn close(out: &mut Vec<u8>, at: usize, [open, close]: [u8; 2]) {
    match out.get_mut(at) {
        Some(comma) => {
            *comma = open;
            out.push(close);
        }
        None => out.extend_from_slice(&[open, close]),
    }
}

/// An object that is being written.
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
}

impl Object<'_> {
    /// Begins a member and gives the buffer for its value.
    #[inline]
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.member(key, "")
    }

    #[inline]
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        object(self.key(key), fill);
    }

    #[inline]
    pub fn array(&mut self, key: &str, fill: impl FnOnce(&mut Array<'_>)) {
        array(self.key(key), fill);
    }

    #[inline]
    pub fn number(&mut self, key: &str, value: u64) {
        number(self.key(key), value);
    }

    #[inline]
    pub fn flag(&mut self, key: &str, value: bool) {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Text that needs no escaping: names of the program's own, digits, addresses.
    #[inline]
    pub fn plain(&mut self, key: &str, value: &str) {
        plain(self.key(key), value.as_bytes());
    }

    #[inline]
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
    #[inline]
    pub fn hex(&mut self, key: &str, bytes: &[u8]) {
        hex(self.key(key), bytes);
    }

    /// As `object`, where filling it may fail: then nothing is left of the member.
    pub fn try_object<E>(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>) -> Result<(), E>) -> Result<(), E> {
        let before = self.out.len();
        let mut filled = Ok(());
        self.object(key, |o| filled = fill(o));
        if filled.is_err() {
            self.out.truncate(before);
        }
        filled
    }

    /// Begins a member whose key was prepared with its quotes, the comma before and the colon behind.
    #[inline]
    pub fn prepared(&mut self, key: &Padded) -> &mut Vec<u8> {
        key.append(self.out);
        self.out
    }

    /// The buffer as it stands, for what a member's value still lacks.
    pub fn raw(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// The member's key with a suffix, and the buffer for its value.
    #[inline]
    pub fn member(&mut self, key: &str, suffix: &str) -> &mut Vec<u8> {
        member(self.out, key, suffix)
    }
}

/// Appends one array.
#[inline]
pub fn array(out: &mut Vec<u8>, fill: impl FnOnce(&mut Array<'_>)) {
    let at = out.len();
    fill(&mut Array { out });
    close(out, at, [b'[', b']']);
}

/// An array that is being written.
pub struct Array<'o> {
    out: &'o mut Vec<u8>,
}

impl Array<'_> {
    /// Begins an item and gives the buffer for it.
    #[inline]
    pub fn item(&mut self) -> &mut Vec<u8> {
        self.out.push(b',');
        self.out
    }

    /// An item that was prepared with the comma before it.
    #[inline]
    pub fn prepared(&mut self, item: &Padded) {
        item.append(self.out);
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

#[inline]
pub fn number(out: &mut Vec<u8>, value: u64) {
    match value {
        0..10 => out.push(b'0' + value as u8),
        10..100 => out.extend_from_slice(pair(value)),
        100..1000 => {
            let [tens, ones] = *pair(value % 100);
            out.extend_from_slice(&[b'0' + (value / 100) as u8, tens, ones]);
        }
        1000..10_000 => out.extend_from_slice([*pair(value / 100), *pair(value % 100)].as_flattened()),
        _ => long_number(out, value),
    }
}

/// A number of five digits or more.
fn long_number(out: &mut Vec<u8>, value: u64) {
    let last = eight_digits((value % EIGHT) as u32);
    if value >= EIGHT {
        number(out, value / EIGHT);
        return out.extend_from_slice(&last);
    }
    let zeros = usize::from(value < 10_000_000) + usize::from(value < 1_000_000) + usize::from(value < 100_000);
    // All of them with those wanted in front, then cut.
    let end = out.len() + last.len() - zeros;
    out.extend_from_slice(&(u64::from_le_bytes(last) >> (8 * zeros)).to_le_bytes());
    out.truncate(end);
}

/// The digits of a number below 10^8, with zeros before it.
pub fn eight_digits(value: u32) -> [u8; 8] {
    let (high, low) = (value / 10_000, value % 10_000);
    let [[a, b], [c, d], [e, f], [g, h]] =
        [high / 100, high % 100, low / 100, low % 100].map(|two| *pair(u64::from(two)));
    [a, b, c, d, e, f, g, h]
}

const EIGHT: u64 = 100_000_000;

/// The last nine digits of a number, as a fraction of a second has them.
pub fn nine_digits(out: &mut Vec<u8>, value: u32) {
    out.push(b'0' + (value / 100_000_000 % 10) as u8);
    out.extend_from_slice(&eight_digits(value % 100_000_000));
}

/// The two digits of a number below 100.
fn pair(value: u64) -> &'static [u8; 2] {
    &PAIRS[value as usize % PAIRS.len()]
}

/// Bytes that need no escaping, between quotes.
#[inline]
pub fn plain(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(value);
    out.push(b'"');
}

/// Text between quotes.
pub fn string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    if clean(value.as_bytes()) {
        out.extend_from_slice(value.as_bytes());
    } else {
        escape(out, value.as_bytes());
    }
    out.push(b'"');
}

#[cold]
fn escape(out: &mut Vec<u8>, value: &[u8]) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| byte.is_ascii() && !is_plain(*byte)) {
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
}

/// Whether all bytes are ASCII that a string has as it is.
#[inline]
pub fn clean(bytes: &[u8]) -> bool {
    match bytes.last_chunk::<8>() {
        // Eight at a time; the last eight may overlap those before.
        Some(last) => {
            let words = bytes.as_chunks::<8>().0.iter().chain([last]);
            words.fold(0, |all, word| all | marks(u64::from_le_bytes(*word))) == 0
        }
        None => bytes.iter().fold(true, |all, &byte| all & is_plain(byte)),
    }
}

/// Not zero if a byte of the word is none that a string has as it is: below 0x20, above 0x7e, `"` or `\`.
#[inline]
pub const fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    // Each term sets the highest bit of the bytes it is after, and of some that `word` itself tells of; a
    // carry or borrow comes from such a byte alone.
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * 0x22)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * 0x5c)).wrapping_sub(ONES);
    let delete = word.wrapping_add(ONES);
    (control | quote | backslash | delete | word) & (ONES * 0x80)
}

/// Whether a byte is ASCII that a string has as it is.
#[inline]
pub fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

/// Lower-case hexadecimal digits between quotes.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    digits(out, bytes);
    out.push(b'"');
}

/// Lower-case hexadecimal digits.
pub fn digits(out: &mut Vec<u8>, bytes: &[u8]) {
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        out.extend_from_slice(eight.map(octet).as_flattened());
    }
    let (pairs, rest) = rest.as_chunks::<2>();
    for pair in pairs {
        out.extend_from_slice(pair.map(octet).as_flattened());
    }
    for byte in rest {
        out.extend_from_slice(&octet(*byte));
    }
}

/// The two digits of an octet.
fn octet(byte: u8) -> [u8; 2] {
    OCTETS[usize::from(byte)]
}

const OCTETS: [[u8; 2]; 256] = {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut octets = [[0; 2]; 256];
    let mut at = 0;
    while at < octets.len() {
        octets[at] = [HEX[at >> 4], HEX[at & 0xf]];
        at += 1;
    }
    octets
};

pub fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    // The encoder alone would make room for no more than this.
    out.reserve(bytes.len().div_ceil(3) * 4 + 2);
    out.push(b'"');
    STANDARD.encode_append(bytes, out);
    out.push(b'"');
}

/// An address in dotted decimals, without quotes.
pub fn ipv4(out: &mut Vec<u8>, address: [u8; 4]) {
    // Each part is written whole and cut to what it says, which is less work than to look before.
    let mut text = [0; 16];
    let mut end = 0;
    for byte in address {
        let (part, length) = DECIMALS[usize::from(byte)];
        text[end..end + 4].copy_from_slice(&part);
        end += length;
    }
    out.extend_from_slice(&text);
    out.truncate(out.len() - text.len() + end - 1);
}

/// The decimal digits of an octet with a dot behind, and how long that is.
const DECIMALS: [([u8; 4], usize); 256] = {
    let mut decimals = [([0; 4], 0); 256];
    let mut at = 0;
    while at < decimals.len() {
        let digits = [b'0' + (at / 100) as u8, b'0' + (at / 10 % 10) as u8, b'0' + (at % 10) as u8];
        let [hundreds, tens, ones] = digits;
        decimals[at] = match at {
            0..10 => ([ones, b'.', 0, 0], 2),
            10..100 => ([tens, ones, b'.', 0], 3),
            _ => ([hundreds, tens, ones, b'.'], 4),
        };
        at += 1;
    }
    decimals
};

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
    fn numbers_and_addresses_are_those_of_the_standard_library() {
        let steps = (0..20).map(|power| 10_u64.pow(power)).flat_map(|unit| [unit - 1, unit, unit + 1, unit / 4 * 7]);
        for value in steps.chain(0..2000).chain([u64::MAX - 1, u64::MAX]) {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(out, value.to_string().as_bytes());
        }
        for byte in 0..=u8::MAX {
            let (mut address, mut code) = (b"<".to_vec(), Vec::new());
            ipv4(&mut address, [byte, !byte, 10, byte]);
            assert_eq!(address, format!("<{}", Ipv4Addr::from([byte, !byte, 10, byte])).as_bytes());
            digits(&mut code, &[byte; 11]);
            assert_eq!(code, format!("{byte:02x}").repeat(11).as_bytes());
        }
    }

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
