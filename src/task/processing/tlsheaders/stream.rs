//! One direction of a TLS connection over a stream: bytes in any cut to the handshake messages and
//! alerts that travel in the clear. Records and messages are taken where they stand; only what runs
//! over the end of the bytes at hand is kept, at most one record and one message of `MAX_MESSAGE`.

use super::Found;
use crate::decode::tls::{Alert, Handshake, Record, content, handshake, names};
use crate::decode::{Error, Reader};
use crate::task::processing::parse::Status;

/// The longest handshake message that is put together, its head included.
pub const MAX_MESSAGE: usize = 64 << 10;

/// What is known of one direction.
#[derive(Default)]
pub struct Stream {
    state: State,
    /// The beginning of a record whose rest has not come yet.
    record: Vec<u8>,
    /// The beginning of a message that goes on in the next record.
    message: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Nothing seen.
    #[default]
    New,
    /// Records in the clear have been seen.
    Clear,
    /// After ChangeCipherSpec: what comes is encrypted, but for the hellos of TLS 1.3, which sends
    /// that record for the sake of middleboxes (RFC 8446 appendix D.4).
    Changed,
    /// Nothing more is to be seen in the clear, or it never was TLS.
    Done,
}

impl Stream {
    /// Takes the bytes that follow. Whatever stands in them goes to `each`, in order.
    pub fn bytes(&mut self, bytes: &[u8], each: &mut impl FnMut(Found<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() && self.state != State::Done {
            if self.record.is_empty() {
                rest = self.records(rest, each);
                if self.state != State::Done {
                    self.record.extend_from_slice(rest);
                }
                return;
            }
            rest = self.complete(rest, each);
        }
    }

    /// Bytes are missing here, or the flow ends: what was begun stays unfinished. Where bytes are
    /// missing nothing can tell where the next record begins, so the direction is left alone.
    pub fn cut(&mut self, each: &mut impl FnMut(Found<'_>)) {
        let begun = !self.message.is_empty() || (!self.record.is_empty() && self.record_counts());
        if self.state != State::Done && begun {
            each(Found::Wrong(Status::Truncated));
        }
        if self.state != State::New || begun {
            self.done();
        }
        self.record.clear();
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Nothing more is of interest; what was kept is given back.
    pub fn done(&mut self) {
        *self = Stream { state: State::Done, ..Stream::default() };
    }

    /// Bytes kept.
    pub fn held(&self) -> usize {
        self.record.capacity() + self.message.capacity()
    }

    /// Whether the record that was begun would have held a message or an alert.
    fn record_counts(&self) -> bool {
        let clear = matches!(self.state, State::New | State::Clear);
        clear && matches!(self.record.first(), Some(&(content::HANDSHAKE | content::ALERT)))
    }

    /// Takes whole records off the front; gives back what is left.
    fn records<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(Found<'_>)) -> &'a [u8] {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() && self.state != State::Done {
            match Record::read(&mut reader) {
                Ok(record) => self.take(record, each),
                Err(Error::Truncated) => break,
                Err(Error::Malformed) => self.broken(reader.rest(), each),
            }
        }
        reader.rest()
    }

    /// Adds to the record that was begun as much as it lacks; gives back what is left.
    fn complete<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(Found<'_>)) -> &'a [u8] {
        let whole = match self.record.get(3..Record::HEADER) {
            Some(length) => Record::HEADER + usize::from(u16::from_be_bytes([length[0], length[1]])),
            None => Record::HEADER,
        };
        let lacking = whole.saturating_sub(self.record.len()).min(bytes.len());
        let (now, rest) = bytes.split_at(lacking);
        self.record.extend_from_slice(now);
        if !Record::plausible(&self.record) {
            let record = std::mem::take(&mut self.record);
            self.broken(&record, each);
        } else if self.record.len() == whole && whole >= Record::HEADER {
            let mut record = std::mem::take(&mut self.record);
            match Record::read(&mut Reader::new(&record)) {
                Ok(taken) => {
                    self.take(taken, each);
                    if self.state != State::Done {
                        record.clear();
                        self.record = record;
                    }
                }
                // Only the head is there yet.
                Err(_) => self.record = record,
            }
        }
        rest
    }

    /// These bytes begin no record.
    fn broken(&mut self, bytes: &[u8], each: &mut impl FnMut(Found<'_>)) {
        each(Found::Wrong(match self.state {
            State::New if Record::ssl2_hello(bytes) => Status::Unsupported,
            State::New => Status::NotMatching,
            _ => Status::Malformed,
        }));
        self.done();
    }

    fn take(&mut self, record: Record<'_>, each: &mut impl FnMut(Found<'_>)) {
        let begun = !self.message.is_empty();
        // RFC 8446 section 5.1: no other record stands between the parts of a message.
        if begun && matches!(record.content_type, content::CHANGE_CIPHER_SPEC | content::APPLICATION_DATA) {
            each(Found::Wrong(Status::Malformed));
            return self.done();
        }
        let changed = self.state == State::Changed;
        match record.content_type {
            content::HANDSHAKE if changed && !begun && !is_hello(record.fragment) => self.done(),
            content::HANDSHAKE => self.handshake(record.version, record.fragment, each),
            content::ALERT if changed && record.fragment.len() != 2 => self.done(),
            content::ALERT => each(match Alert::read(record.fragment) {
                Ok(alert) => Found::Alert { version: record.version, alert },
                Err(_) => Found::Wrong(Status::Malformed),
            }),
            content::CHANGE_CIPHER_SPEC => self.state = State::Changed,
            content::APPLICATION_DATA => self.done(),
            _ => {}
        }
        if self.state == State::New {
            self.state = State::Clear;
        }
    }

    fn handshake(&mut self, version: u16, fragment: &[u8], each: &mut impl FnMut(Found<'_>)) {
        let mut rest = fragment;
        if !self.message.is_empty() {
            let whole = Handshake::announced(&self.message).unwrap_or(Handshake::HEADER);
            let (now, after) = rest.split_at(whole.saturating_sub(self.message.len()).min(rest.len()));
            self.message.extend_from_slice(now);
            rest = after;
            if Handshake::announced(&self.message).is_some_and(|whole| self.message.len() < whole) {
                // The head may just have become whole, and the body be in the same fragment.
                if rest.is_empty() || self.message.len() > Handshake::HEADER {
                    return self.check_begun(each);
                }
                return self.handshake(version, rest, each);
            }
            if self.message.len() < Handshake::HEADER {
                return;
            }
            let mut message = std::mem::take(&mut self.message);
            if let Ok(handshake) = Handshake::read(&mut Reader::new(&message)) {
                self.message(version, handshake, each);
            }
            if self.state != State::Done {
                message.clear();
                self.message = message;
            }
        }
        let mut reader = Reader::new(rest);
        while self.state != State::Done && !reader.is_empty() {
            match Handshake::read(&mut reader) {
                Ok(handshake) => self.message(version, handshake, each),
                Err(_) => {
                    self.message.extend_from_slice(reader.take_rest());
                    self.check_begun(each);
                }
            }
        }
    }

    /// Gives up on a message that nothing would be made of.
    fn check_begun(&mut self, each: &mut impl FnMut(Found<'_>)) {
        let unknown = self.message.first().is_some_and(|code| names::handshake_type(*code).is_none());
        let too_long = Handshake::announced(&self.message).is_some_and(|whole| whole > MAX_MESSAGE);
        if unknown || too_long {
            each(Found::Wrong(Status::Unsupported));
            self.done();
        }
    }

    fn message(&mut self, version: u16, handshake: Handshake<'_>, each: &mut impl FnMut(Found<'_>)) {
        if names::handshake_type(handshake.handshake_type).is_none() {
            each(Found::Wrong(Status::Unsupported));
            return self.done();
        }
        each(Found::Handshake { version, handshake, datagram: false });
    }
}

/// Whether a handshake record is a hello in the clear: its type, a length that a hello can have, and
/// the version that every hello of TLS 1.3 says. What is encrypted is not like this but once in 2^40.
fn is_hello(fragment: &[u8]) -> bool {
    matches!(fragment, [handshake::CLIENT_HELLO | handshake::SERVER_HELLO, 0, _, _, 3, 3, ..])
}
