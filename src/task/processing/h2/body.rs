//! One message's body: its length, what of it is kept for the record, gRPC's messages, multipart.

use super::config::BodyMode;
use super::multipart::Multipart;

/// What is known of a body. Its buffers are used again for the next.
#[derive(Default)]
pub struct Body {
    /// Bytes of content seen or known to be there.
    pub length: u64,
    /// Whether `length` is not the true one: it began before the join, or nobody knows what is missing.
    pub unsure: bool,
    /// The first bytes, up to the limit or the first that is missing.
    pub kept: Vec<u8>,
    /// Whether bytes of it are missing in `kept`.
    pub cut: bool,
    pub messages: Messages,
    pub multipart: Multipart,
}

impl Body {
    pub fn clear(&mut self) {
        (self.length, self.unsure, self.cut, self.messages) = (0, false, false, Messages::default());
        self.kept.clear();
        self.multipart.clear();
    }

    /// Takes the next bytes but for multipart, which counts.
    pub fn push(&mut self, bytes: &[u8], mode: BodyMode, limit: usize) {
        self.length += bytes.len() as u64;
        self.messages.push(bytes);
        if mode != BodyMode::None && !self.cut {
            let room = limit.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
            self.cut = room < bytes.len();
        }
    }

    /// Bytes are missing; how many of them were content may not be known.
    pub fn lose(&mut self, content: Option<u64>) {
        match content {
            Some(count) => self.length += count,
            None => self.unsure = true,
        }
        self.cut = true;
        self.messages.lost = true;
        self.multipart.abandon();
    }

    /// Bytes that its buffers take.
    pub fn capacity(&self) -> usize {
        self.kept.capacity() + self.multipart.capacity()
    }
}

/// gRPC's length-prefixed messages, counted as they stream.
#[derive(Clone, Copy, Default, Debug)]
pub struct Messages {
    /// Messages begun.
    pub count: u64,
    /// Whether that is not all of them.
    pub lost: bool,
    /// Bytes of the prefix so far, and the length it has told.
    have: u8,
    length: u32,
    left: u32,
    /// Whether the body is one of gRPC: else nothing is counted.
    pub on: bool,
}

impl Messages {
    #[inline]
    pub fn push(&mut self, mut bytes: &[u8]) {
        if !self.on || self.lost {
            return;
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skip = bytes.len().min(self.left as usize);
                self.left -= skip as u32;
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            // One byte of flags, four of length.
            if self.have > 0 {
                self.length = self.length << 8 | u32::from(byte);
            }
            self.have += 1;
            if self.have == 5 {
                self.count += 1;
                (self.have, self.left, self.length) = (0, self.length, 0);
            }
            bytes = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_messages_are_counted_whatever_the_cuts_are() {
        let mut body = Vec::new();
        for length in [0u32, 1, 5, 300, 0, 7] {
            body.push(0);
            body.extend(length.to_be_bytes());
            body.resize(body.len() + length as usize, 9);
        }
        for cut in 1..body.len() {
            let mut messages = Messages { on: true, ..Messages::default() };
            body.chunks(cut).for_each(|piece| messages.push(piece));
            assert_eq!(messages.count, 6);
        }
    }

    #[test]
    fn a_body_keeps_its_start_and_counts_all_of_it() {
        let mut body = Body::default();
        for _ in 0..3 {
            body.push(b"12345", BodyMode::All, 12);
        }
        assert_eq!((body.length, &body.kept[..], body.cut), (15, &b"123451234512"[..], true));
        body.clear();
        body.push(b"123456789012", BodyMode::All, 12);
        assert!(!body.cut);
    }
}
