//! JSON written piece by piece into a buffer that is used again: what a header list or a record becomes
//! without a tree or a format string in between.

use std::cell::Cell;

pub use crate::task::json::{base64, digits, key, number, plain, string};
use crate::task::json::{clean, eight_digits, is_plain, marks};
use crate::time::Timestamp;

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
    out.extend_from_slice(if text.is_ok() { b"\":" } else { b"Base64\":" });
    let start = out.len() + 1;
    match text {
        Ok(text) => string(out, text),
        Err(_) => base64(out, bytes),
    }
    (start, text.is_ok())
}

/// Writes times. It keeps the last second as text, which most times share with the one before.
pub struct Dates(Cell<(u64, [u8; SECOND])>);

impl Dates {
    pub fn new() -> Dates {
        Dates(Cell::new((0, *b"1970-01-01T00:00:00.")))
    }

    /// Appends RFC 3339 with nanoseconds, as `Timestamp::write` does.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, at: Timestamp) {
        let (second, nanos) = (at.0 / NANOS, (at.0 % NANOS) as u32);
        let (known, mut text) = self.0.get();
        if known != second {
            text = begun(second);
            self.0.set((second, text));
        }
        let mut all = [0; SECOND + 10];
        all[..SECOND].copy_from_slice(&text);
        all[SECOND..SECOND + 8].copy_from_slice(&eight_digits(nanos / 10));
        all[SECOND + 8..].copy_from_slice(&[b'0' + (nanos % 10) as u8, b'Z']);
        out.extend_from_slice(&all);
    }
}

#[cold]
fn begun(second: u64) -> [u8; SECOND] {
    let mut text = Vec::with_capacity(SECOND + 10);
    Timestamp(second * NANOS).write(&mut text);
    text.first_chunk().copied().unwrap_or([b'0'; SECOND])
}

/// Text that is written with as few checks and calls as can be: only the first `used` bytes are of it,
/// those behind them are room.
#[derive(Default)]
pub struct Text {
    bytes: Vec<u8>,
    used: usize,
}

impl Text {
    pub fn clear(&mut self) {
        self.used = 0;
    }

    pub fn len(&self) -> usize {
        self.used
    }

    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn push(&mut self, more: &[u8]) {
        if let Some(room) = self.room(more.len()) {
            room.copy_from_slice(more);
            self.used += more.len();
        }
    }

    /// Appends `{"name":"...","value":"..."},` where neither needs an escape: what nearly all fields are.
    /// Says where the value stands; else nothing is appended.
    #[inline]
    pub fn push_field(&mut self, name: &[u8], value: &[u8]) -> Option<(usize, usize)> {
        let size = NAME.len() + name.len() + VALUE.len() + value.len() + END.len();
        let (start, end) = (self.used + size - END.len() - value.len(), self.used + size - END.len());
        let (head, rest) = self.room(size)?.split_first_chunk_mut()?;
        *head = *NAME;
        let (to, rest) = rest.split_at_mut_checked(name.len())?;
        let marks = copy(to, name);
        let (between, rest) = rest.split_first_chunk_mut()?;
        *between = *VALUE;
        let (to, rest) = rest.split_at_mut_checked(value.len())?;
        let marks = marks | copy(to, value);
        *rest.first_chunk_mut()? = *END;
        (marks == 0).then(|| {
            self.used += size;
            (start, end)
        })
    }

    /// Appends what `push_field` has written before, of a name so long. Says the same.
    #[inline]
    pub fn push_written(&mut self, field: &[u8], name: usize) -> (usize, usize) {
        let start = self.used + NAME.len() + name + VALUE.len();
        self.push(field);
        (start, self.used - END.len())
    }

    /// So many bytes behind those that are used.
    #[inline]
    fn room(&mut self, count: usize) -> Option<&mut [u8]> {
        if self.used + count > self.bytes.len() {
            self.grow(count);
        }
        self.bytes.get_mut(self.used..self.used + count)
    }

    #[cold]
    fn grow(&mut self, count: usize) {
        let size = (self.used + count).next_power_of_two().max(SMALLEST);
        self.bytes.reserve_exact(size - self.bytes.len());
        self.bytes.resize(size, 0);
    }
}

/// Copies `from` to `to`, which is as long. Not zero if a byte is none that JSON takes as it is.
#[inline]
fn copy(to: &mut [u8], from: &[u8]) -> u64 {
    if let (Some(first), Some(last), Some(start)) = (from.first_chunk::<8>(), from.last_chunk(), to.first_chunk_mut()) {
        // Eight at a time; the last eight may overlap those before.
        let mut all = marks(u64::from_le_bytes(*first)) | marks(u64::from_le_bytes(*last));
        *start = *first;
        if from.len() > 16 {
            for (to, word) in to.as_chunks_mut::<8>().0.iter_mut().zip(from.as_chunks::<8>().0).skip(1) {
                all |= marks(u64::from_le_bytes(*word));
                *to = *word;
            }
        }
        if let Some(to) = to.last_chunk_mut() {
            *to = *last;
        }
        return all;
    }
    if let (Some(first), Some(last)) = (from.first_chunk::<4>(), from.last_chunk::<4>()) {
        if let Some(to) = to.first_chunk_mut() {
            *to = *first;
        }
        if let Some(to) = to.last_chunk_mut() {
            *to = *last;
        }
        return marks(u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)));
    }
    let mut all = true;
    for (to, &byte) in to.iter_mut().zip(from) {
        *to = byte;
        all &= is_plain(byte);
    }
    u64::from(!all)
}

const NAME: &[u8; 9] = b"{\"name\":\"";
const VALUE: &[u8; 11] = b"\",\"value\":\"";
const END: &[u8; 3] = b"\"},";
/// Bytes of a text that has any.
const SMALLEST: usize = 512;
const NANOS: u64 = 1_000_000_000;
/// Of `2026-11-22T16:00:00.`
const SECOND: usize = 20;

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
                    assert_eq!(clean(&text), is_plain(byte), "{byte} at {at} of {length}");
                    let mut copied = vec![0; length];
                    assert_eq!(copy(&mut copied, &text) == 0, clean(&text), "{byte} at {at} of {length}");
                    assert_eq!(copied, text);
                }
            }
        }
        assert!(clean(b""));
    }

    #[test]
    fn a_field_is_written_whole_or_not_at_all() {
        let mut text = Text::default();
        for length in 0..300 {
            let value = "v".repeat(length);
            text.clear();
            text.push(b"[");
            let (start, end) = text.push_field(b"name", value.as_bytes()).unwrap();
            assert_eq!(text.push_field(b"na\"me", value.as_bytes()), None);
            assert_eq!(text.push_field(b"name", format!("{value}\n").as_bytes()), None);
            assert_eq!(text.as_slice(), format!("[{{\"name\":\"name\",\"value\":\"{value}\"}},").as_bytes());
            assert_eq!(&text.as_slice()[start..end], value.as_bytes());
        }
    }

    #[test]
    fn times_are_written_as_elsewhere() {
        let dates = Dates::new();
        for at in
            [0, 1, 999_999_999, 1_795_363_199_123_456_789, 1_795_363_199_999_999_990, 1_795_363_200_000_000_000, 5]
        {
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            dates.write(&mut out, Timestamp(at));
            Timestamp(at).write(&mut expected);
            assert_eq!(String::from_utf8(out), String::from_utf8(expected));
        }
    }
}
