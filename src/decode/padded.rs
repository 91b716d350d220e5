//! `Padded`, short texts of the program's own, made at compile time. They have room behind them, so that
//! they can be appended whole and cut behind their end: less work than a copy of just their length.

/// At most `ROOM` bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Padded {
    bytes: [u8; Padded::ROOM],
    length: u8,
}

impl Padded {
    pub const ROOM: usize = 63;
    pub const EMPTY: Padded = Padded { bytes: [0; Padded::ROOM], length: 0 };

    /// These texts one after the other. Longer than `ROOM` they do not compile, or panic at run time.
    pub const fn new(parts: &[&str]) -> Padded {
        let mut padded = Padded::EMPTY;
        let (mut at, mut part) = (0, 0);
        while part < parts.len() {
            let bytes = parts[part].as_bytes();
            let mut byte = 0;
            while byte < bytes.len() {
                padded.bytes[at] = bytes[byte];
                (at, byte) = (at + 1, byte + 1);
            }
            part += 1;
        }
        padded.length = at as u8;
        padded
    }

    /// A JSON member's key with its quotes, the comma before and the colon behind.
    pub const fn key(name: &str) -> Padded {
        Padded::new(&[",\"", name, "\":"])
    }

    #[inline]
    pub fn append(&self, out: &mut Vec<u8>) {
        let end = out.len() + usize::from(self.length);
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_appended_without_the_room_behind_it() {
        let mut out = b"<".to_vec();
        for padded in [Padded::key("name"), Padded::EMPTY, Padded::new(&[&"x".repeat(63)])] {
            padded.append(&mut out);
        }
        assert_eq!(String::from_utf8(out).unwrap(), format!("<,\"name\":{}", "x".repeat(63)));
    }
}
