//! One direction of a DTLS association: datagrams to the handshake messages and alerts that travel in
//! the clear. A message in fragments is put together whatever their order (RFC 6347 section 4.2.3).

use super::Found;
use super::stream::MAX_MESSAGE;
use crate::decode::tls::{Alert, DtlsHandshake, DtlsRecord, Handshake, content, names};
use crate::decode::{Error, Reader};
use crate::task::processing::parse::Status;

/// What is known of one direction.
#[derive(Default)]
pub struct Datagrams {
    /// Whether a record of DTLS has been seen.
    matched: bool,
    done: bool,
    /// Boxed, since few associations have fragments and every flow has room for either kind.
    begun: Option<Box<Begun>>,
    /// Room of a message that was given up, so that the fragments of many cost no more than their bytes.
    spare: Option<Box<Begun>>,
}

/// The message whose fragments are being put together.
#[derive(Default)]
struct Begun {
    message_seq: u16,
    handshake_type: u8,
    length: usize,
    /// At least as long as the message; bytes that have not come are of another one.
    body: Vec<u8>,
    /// Which bytes have come: disjoint and in order.
    have: Vec<(usize, usize)>,
}

impl Datagrams {
    /// Takes one datagram; `cut` says that the capture did not keep all of it.
    pub fn datagram(&mut self, bytes: &[u8], cut: bool, each: &mut impl FnMut(Found<'_>)) {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() && !self.done {
            match DtlsRecord::read(&mut reader) {
                Ok(record) => self.take(record, each),
                Err(Error::Malformed) if self.matched && DtlsRecord::unified(reader.rest()) => self.done = true,
                Err(Error::Malformed) if self.matched => return each(Found::Wrong(Status::Malformed)),
                Err(Error::Malformed) => {
                    self.done = true;
                    each(Found::Wrong(Status::NotMatching));
                }
                Err(Error::Truncated) if cut => return each(Found::Wrong(Status::Truncated)),
                Err(Error::Truncated) if self.matched => return each(Found::Wrong(Status::Malformed)),
                Err(Error::Truncated) => {
                    self.done = true;
                    each(Found::Wrong(Status::NotMatching));
                }
            }
        }
    }

    /// The flow ends: what was begun stays unfinished.
    pub fn close(&mut self, each: &mut impl FnMut(Found<'_>)) {
        if self.begun.take().is_some() {
            each(Found::Wrong(Status::Truncated));
        }
        *self = Datagrams { done: true, ..Datagrams::default() };
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes kept.
    pub fn held(&self) -> usize {
        self.begun.iter().chain(&self.spare).map(|begun| begun.body.capacity()).sum()
    }

    fn take(&mut self, record: DtlsRecord<'_>, each: &mut impl FnMut(Found<'_>)) {
        self.matched = true;
        match record.content_type {
            content::APPLICATION_DATA | content::TLS12_CID => self.done = true,
            // Encrypted; a retransmission in the clear may still follow.
            _ if record.epoch > 0 => {}
            content::HANDSHAKE => self.handshakes(record, each),
            content::ALERT => each(match Alert::read(record.fragment) {
                Ok(alert) => Found::Alert { version: record.version, alert },
                Err(_) => Found::Wrong(Status::Malformed),
            }),
            _ => {}
        }
    }

    fn handshakes(&mut self, record: DtlsRecord<'_>, each: &mut impl FnMut(Found<'_>)) {
        let mut reader = Reader::new(record.fragment);
        while !reader.is_empty() {
            let Ok(part) = DtlsHandshake::read(&mut reader) else {
                return each(Found::Wrong(Status::Malformed));
            };
            if names::handshake_type(part.handshake_type).is_none() || part.length > MAX_MESSAGE {
                each(Found::Wrong(Status::Unsupported));
            } else if part.is_whole() {
                let handshake = Handshake { handshake_type: part.handshake_type, body: part.fragment };
                each(Found::Handshake { version: record.version, handshake, datagram: true });
            } else {
                self.fragment(record.version, part, each);
            }
        }
    }

    fn fragment(&mut self, version: u16, part: DtlsHandshake<'_>, each: &mut impl FnMut(Found<'_>)) {
        let same = |begun: &Begun| {
            (begun.message_seq, begun.handshake_type, begun.length)
                == (part.message_seq, part.handshake_type, part.length)
        };
        if self.begun.as_ref().is_some_and(|begun| !same(begun)) {
            self.put_away();
            each(Found::Wrong(Status::Truncated));
        }
        let begun = self.begun.get_or_insert_with(|| {
            let mut begun = self.spare.take().unwrap_or_default();
            (begun.message_seq, begun.handshake_type, begun.length) =
                (part.message_seq, part.handshake_type, part.length);
            begun.body.resize(begun.body.len().max(part.length), 0);
            begun.have.clear();
            begun
        });
        let end = part.fragment_offset + part.fragment.len();
        // DtlsHandshake::read has seen to it that the fragment lies within the message.
        begun.body[part.fragment_offset..end].copy_from_slice(part.fragment);
        if !begun.add(part.fragment_offset, end) {
            self.put_away();
            return each(Found::Wrong(Status::Unsupported));
        }
        if begun.have.as_slice() == [(0, part.length)] {
            let handshake = Handshake { handshake_type: begun.handshake_type, body: &begun.body[..part.length] };
            each(Found::Handshake { version, handshake, datagram: true });
            self.begun = None;
        }
    }

    /// Gives up the message that was begun and keeps its room.
    fn put_away(&mut self) {
        self.spare = self.begun.take();
    }
}

impl Begun {
    /// Adds a range to those that have come; false where they lie in too many pieces.
    fn add(&mut self, start: usize, end: usize) -> bool {
        let (mut start, mut end) = (start, end);
        self.have.retain(|(from, to)| {
            let apart = *to < start || *from > end;
            if !apart {
                (start, end) = (start.min(*from), end.max(*to));
            }
            apart
        });
        let at = self.have.partition_point(|(from, _)| *from < start);
        self.have.insert(at, (start, end));
        self.have.len() <= MAX_PARTS
    }
}

/// In how many pieces the bytes that have come may lie.
const MAX_PARTS: usize = 16;
