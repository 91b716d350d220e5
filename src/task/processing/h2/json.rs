//! JSON written piece by piece into a buffer that is used again: what a header list or a record becomes
//! without a tree or a format string in between.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Appends `"name":"text"`, or `"nameBase64":"..."` where the bytes are not UTF-8. Says which, and
/// where the text begins; it ends before the last quote.
#[inline]
pub fn text_entry(out: &mut Vec<u8>, name: &str, bytes: &[u8]) -> (usize, bool) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    if clean(bytes) {
        out.extend_from_slice(b"\":\"");
        let start = out.len();
        out.extend_from_slice(bytes);
        out.push(b'"');
        return (start, true);
    }
    uncommon(out, bytes)
}

#[cold]
fn uncommon(out: &mut Vec<u8>, bytes: &[u8]) -> (usize, bool) {
    let text = std::str::from_utf8(bytes);
    out.extend_from_slice(if text.is_ok() { b"\":\"" } else { b"Base64\":\"" });
    let start = out.len();
    match text {
        Ok(text) => escape(out, text),
        Err(_) => base64(out, bytes),
    }
    out.push(b'"');
    (start, text.is_ok())
}

/// Appends text escaped, without quotes.
pub fn escape(out: &mut Vec<u8>, text: &str) {
    if clean(text.as_bytes()) {
        return out.extend_from_slice(text.as_bytes());
    }
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 | 0x7f => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

/// Appends bytes as base64, without quotes.
pub fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(room) = out.get_mut(start..) {
        // The room is what the encoding takes, exactly.
        let written = STANDARD.encode_slice(bytes, room).unwrap_or(0);
        out.truncate(start + written);
    }
}

/// Appends `,"name":number`.
pub fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    decimal(out, value);
}

/// Appends `,"name":true` or false.
pub fn boolean(out: &mut Vec<u8>, name: &str, value: bool) {
    key(out, name);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends `,"name":`.
#[inline]
pub fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends `,"name":"text"` of text that is escaped already.
#[inline]
pub fn escaped(out: &mut Vec<u8>, name: &str, text: &[u8]) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

/// Appends a number in decimal.
pub fn decimal(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), value);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends sixteen hexadecimal digits.
pub fn hex64(out: &mut Vec<u8>, value: u64) {
    out.extend((0..16).rev().map(|digit| HEX[(value >> (4 * digit)) as usize & 15]));
}

/// Appends `{"name":"...","value":"..."` where neither needs an escape: what nearly all fields are. Says
/// where the value begins; it ends before the last quote.
#[inline]
pub fn clean_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Option<usize> {
    if !clean(name) || !clean(value) {
        return None;
    }
    out.reserve(NAME.len() + name.len() + VALUE.len() + value.len() + 1);
    out.extend_from_slice(NAME);
    out.extend_from_slice(name);
    out.extend_from_slice(VALUE);
    let start = out.len();
    out.extend_from_slice(value);
    out.push(b'"');
    Some(start)
}

/// Whether all bytes are ASCII that JSON takes as it is.
#[inline]
fn clean(bytes: &[u8]) -> bool {
    match bytes.last_chunk::<8>() {
        // Eight at a time; the last eight may overlap those before.
        Some(last) => {
            let words = bytes.as_chunks::<8>().0.iter().chain([last]);
            words.fold(0, |all, word| all | marks(u64::from_le_bytes(*word))) == 0
        }
        None => bytes.iter().fold(true, |all, &byte| all & PLAIN[usize::from(byte)]),
    }
}

/// Not zero if a byte of the word is none that JSON takes as it is: below 0x20, above 0x7e, `"` or `\`.
#[inline]
const fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const fn is_zero(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let others = is_zero(word ^ (ONES * 0x22)) | is_zero(word ^ (ONES * 0x5c)) | is_zero(word ^ (ONES * 0x7f));
    (control | others | word) & (ONES * 0x80)
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

const NAME: &[u8] = b"{\"name\":\"";
const VALUE: &[u8] = b"\",\"value\":\"";
const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_become_a_json_string_that_stands_for_them() {
        let all: String = (0..0x250u32).filter_map(char::from_u32).collect();
        for text in ["", "plain", "a\"b\\c\n\r\t\u{7f}\0", &all, "日本"] {
            let mut out = vec![b'{'];
            assert!(text_entry(&mut out, "name", text.as_bytes()).1);
            out.push(b'}');
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value["name"], text);
        }
        let mut out = vec![b'{'];
        assert!(!text_entry(&mut out, "name", b"\xff\x00x").1);
        out.push(b'}');
        assert_eq!(out, b"{\"nameBase64\":\"/wB4\"}");
    }

    #[test]
    fn each_byte_is_found_wherever_it_stands() {
        for byte in 0..=255u8 {
            for length in 1..20 {
                for at in 0..length {
                    let mut text = vec![b'x'; length];
                    text[at] = byte;
                    assert_eq!(clean(&text), PLAIN[usize::from(byte)], "{byte} at {at} of {length}");
                }
            }
        }
        assert!(clean(b""));
    }

    #[test]
    fn numbers_are_written_whole() {
        let mut out = Vec::new();
        number(&mut out, "n", u64::MAX);
        boolean(&mut out, "b", false);
        hex64(&mut out, 0x1f);
        assert_eq!(out, b",\"n\":18446744073709551615,\"b\":false000000000000001f");
    }
}
