//! `Messages`: the DNS messages of one direction of a TCP connection, each behind its length of two
//! bytes (RFC 1035 4.2.2).

use crate::task::record::Chunk;

/// What a chunk brought.
pub enum Found<'a> {
    Whole(&'a [u8]),
    /// A message of which bytes are missing.
    Lost,
    /// The stream is not DNS, or was joined in the middle of a message: it is left alone.
    NotDns,
}

/// One direction of one connection.
#[derive(Default)]
pub struct Messages {
    /// The beginning of a message, with its length.
    held: Vec<u8>,
    /// Bytes of a lost message that are still to come.
    skip: u64,
    seen: bool,
    /// Nobody knows where the next message begins.
    lost: bool,
}

impl Messages {
    pub fn chunk(&mut self, chunk: &Chunk<'_>, each: &mut impl FnMut(Found<'_>)) {
        if self.lost {
            return;
        }
        let first = !std::mem::replace(&mut self.seen, true);
        if chunk.gap_unknown || chunk.gap > 0 {
            self.gap(chunk, first, each);
        }
        // a connection joined in its middle begins wherever it happens to
        if first && chunk.offset == 0 && !chunk.start && !chunk.bytes.is_empty() && !begins_a_message(chunk.bytes) {
            self.lose(Found::NotDns, each);
        }
        if !self.lost {
            self.bytes(chunk.bytes, each);
            // what an operation had beyond its captured bytes is missing, and no gap says so
            if chunk.length > chunk.bytes.len() as u64 {
                self.missing(chunk.length - chunk.bytes.len() as u64, each);
            }
        }
        if chunk.end.is_some() && !self.held.is_empty() {
            self.held = Vec::new();
            each(Found::Lost);
        }
    }

    fn gap(&mut self, chunk: &Chunk<'_>, first: bool, each: &mut impl FnMut(Found<'_>)) {
        if chunk.gap_unknown || first {
            return self.lose(Found::Lost, each);
        }
        self.missing(chunk.gap, each);
    }

    /// Bytes that are lost: where they lie within one message the next one's begin is known.
    fn missing(&mut self, count: u64, each: &mut impl FnMut(Found<'_>)) {
        let wanted = self.wanted().map_or(0, |length| (length - self.held.len()) as u64);
        if self.skip >= count && self.skip > 0 {
            self.skip -= count;
        } else if self.skip == 0 && wanted >= count {
            self.skip = wanted - count;
            self.held.clear();
            each(Found::Lost);
        } else {
            self.lose(Found::Lost, each);
        }
    }

    fn bytes(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Found<'_>)) {
        let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.skip -= skipped as u64;
        bytes = bytes.get(skipped..).unwrap_or_default();
        while !bytes.is_empty() {
            if self.held.is_empty()
                && let Some((length, rest)) = bytes.split_first_chunk()
                && let Some((message, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into())
            {
                each(Found::Whole(message));
                bytes = rest;
                continue;
            }
            let wanted = self.wanted().unwrap_or(2);
            let (now, rest) = bytes.split_at(bytes.len().min(wanted - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = rest;
            if self.wanted() == Some(self.held.len()) {
                each(Found::Whole(self.held.get(2..).unwrap_or_default()));
                self.held.clear();
            }
        }
    }

    /// Length of the message that is held in part, with the length itself.
    fn wanted(&self) -> Option<usize> {
        let length = self.held.first_chunk()?;
        Some(2 + usize::from(u16::from_be_bytes(*length)))
    }

    fn lose(&mut self, found: Found<'_>, each: &mut impl FnMut(Found<'_>)) {
        self.lost = true;
        self.held = Vec::new();
        each(found);
    }
}

/// Whether bytes look like a length and the header of a message: a known opcode, the reserved bit 0,
/// at most one question, and room for what is announced.
fn begins_a_message(bytes: &[u8]) -> bool {
    let Some(&[high, low, _, _, flags, more, questions, question, ..]) = bytes.first_chunk::<8>() else { return true };
    let (length, opcode) = (u16::from_be_bytes([high, low]), flags >> 3 & 0xf);
    length >= 12 && opcode <= 6 && more & 0x40 == 0 && questions == 0 && question <= 1
}
