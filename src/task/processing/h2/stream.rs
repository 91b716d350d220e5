//! `Stream`, what is held of a round trip until it is told of, and `Streams`, the table of all of them:
//! a slab whose places keep their buffers, with two orders by last use: of all streams, for expiry, and
//! of each connection's, for its bound and its end.

use std::collections::HashMap;

use super::body::Body;
use super::fields::{Draft, Spans};
use super::json::Text;
use crate::flow::seeded::Seeded;
use crate::time::{Instant, Timestamp};

/// A round trip in the making.
#[derive(Default)]
pub struct Stream {
    /// Its connection's flow.
    pub connection: u64,
    pub id: u32,
    /// Whether it began before the join.
    pub joined: bool,
    /// Whether bytes of it were lost.
    pub gap: bool,
    pub pushed: bool,
    pub started: Timestamp,
    pub started_at: Instant,
    pub first_byte: Option<Timestamp>,
    pub last: Timestamp,
    pub last_at: Instant,
    pub unknown: u32,
    /// What each side may still send beside the initial size of its window.
    pub credit: [i64; 2],
    /// Request, response.
    pub sides: [Side; 2],
    all: Links,
    own: Links,
    /// Bytes that its connection has counted for it.
    counted: usize,
}

/// One message of a round trip.
#[derive(Default)]
pub struct Side {
    /// Header fields, then trailer fields, as elements of a JSON list, each followed by a comma.
    pub text: Text,
    /// Where the trailer fields begin.
    pub trailers_at: u32,
    pub spans: Spans,
    pub status: Option<u16>,
    /// Whether the final head was seen.
    pub head: bool,
    pub trailers: bool,
    /// END_STREAM was seen.
    pub ended: bool,
    /// END_STREAM may have been before the join or in a gap.
    pub may_have_ended: bool,
    /// In lower case, without parameters.
    pub content_type: Vec<u8>,
    /// Whether the body is encoded.
    pub encoded: bool,
    /// What content-length said.
    pub content_length: Option<u64>,
    pub grpc: bool,
    pub grpc_status: Option<u32>,
    /// Percent-decoded.
    pub grpc_message: Option<Vec<u8>>,
    pub body: Body,
    spare: Vec<u8>,
}

impl Side {
    fn clear(&mut self) {
        self.text.clear();
        self.content_type.clear();
        self.body.clear();
        (self.trailers_at, self.spans, self.status) = (0, Spans::default(), None);
        (self.head, self.trailers, self.ended, self.may_have_ended) = (false, false, false, false);
        (self.encoded, self.grpc, self.grpc_status, self.content_length) = (false, false, None, None);
        if let Some(message) = self.grpc_message.take() {
            self.spare = message;
        }
    }

    /// Takes a block's fields as the message's head, and their text with them.
    pub fn take_head(&mut self, draft: &mut Draft) {
        std::mem::swap(&mut self.text, &mut draft.text);
        self.trailers_at = self.text.len() as u32;
        (self.spans, self.status, self.head, self.encoded) = (draft.spans, draft.status, true, draft.encoded);
        self.content_length = draft.content_length;
        self.take_grpc(draft);
    }

    /// Takes a block's fields as the message's trailers.
    pub fn take_trailers(&mut self, draft: &Draft) {
        self.text.push(draft.text.as_slice());
        self.trailers = true;
        self.take_grpc(draft);
    }

    fn take_grpc(&mut self, draft: &Draft) {
        self.grpc_status = draft.grpc_status.or(self.grpc_status);
        if draft.has_grpc_message {
            let mut message = self.grpc_message.take().unwrap_or_else(|| std::mem::take(&mut self.spare));
            message.clear();
            percent_decoded(&draft.grpc_message, &mut message);
            self.grpc_message = Some(message);
        }
    }

    /// The elements of `headers[]` with a comma behind each.
    pub fn headers(&self) -> &[u8] {
        self.text.as_slice().get(..self.trailers_at as usize).unwrap_or_default()
    }

    pub fn trailer_fields(&self) -> &[u8] {
        self.text.as_slice().get(self.trailers_at as usize..).unwrap_or_default()
    }

    pub fn over(&self) -> bool {
        self.ended || self.may_have_ended
    }

    fn capacity(&self) -> usize {
        self.text.capacity()
            + self.content_type.capacity()
            + self.grpc_message.as_ref().map_or(0, Vec::capacity)
            + self.spare.capacity()
            + self.body.capacity()
    }
}

impl Stream {
    /// Bytes that it takes, its place in the table included.
    pub fn capacity(&self) -> usize {
        size_of::<Stream>() + self.sides[0].capacity() + self.sides[1].capacity()
    }

    /// Something that follows a message's head has come: if that was not seen, it was before the join or
    /// in a gap.
    pub fn miss_head(&mut self, side: usize, gapped: bool) {
        if !self.sides[side].head && !self.joined && !self.gap {
            (self.joined, self.gap) = (!gapped, gapped);
        }
        self.sides[side].body.unsure |= !self.sides[side].head;
    }

    /// What its buffers have grown by since the last time.
    pub fn recount(&mut self) -> isize {
        let now = self.capacity();
        let grown = now as isize - self.counted as isize;
        self.counted = now;
        grown
    }

    pub fn counted(&self) -> usize {
        self.counted
    }

    /// The connection's stream used next longest ago.
    pub fn next_of_connection(&self) -> Option<u32> {
        self.own.after()
    }

    fn clear(&mut self) {
        for side in &mut self.sides {
            side.clear();
            // What one large round trip needed is not kept for all that follow.
            if side.capacity() > SPARE {
                *side = Side::default();
            }
        }
        // In place: the sides are large.
        (self.connection, self.id, self.joined, self.gap, self.pushed) = (0, 0, false, false, false);
        (self.started, self.started_at, self.first_byte) = Default::default();
        (self.last, self.last_at) = Default::default();
        (self.unknown, self.credit, self.counted) = (0, [0; 2], 0);
        (self.all, self.own) = Default::default();
    }
}

/// RFC 3986 section 2.1, as gRPC asks for its messages; what is no escape stays as it is.
fn percent_decoded(from: &[u8], to: &mut Vec<u8>) {
    let mut rest = from;
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                to.push((high * 16 + low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                to.push(byte);
                rest = after;
            }
        }
    }
}

/// A connection's streams, by last use.
#[derive(Clone, Copy, Default)]
pub struct Own {
    list: List,
    pub count: usize,
}

/// All streams.
pub struct Streams {
    places: Vec<Stream>,
    free: Vec<u32>,
    by_id: HashMap<(u64, u32), u32, Seeded>,
    all: List,
    /// Bytes of the free places' buffers.
    spare: usize,
}

impl Streams {
    pub fn new(seed: Seeded) -> Streams {
        Streams {
            places: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::with_hasher(seed),
            all: List::default(),
            spare: 0,
        }
    }

    #[inline]
    pub fn find(&self, connection: u64, id: u32) -> Option<u32> {
        self.by_id.get(&(connection, id)).copied()
    }

    /// Whether this stream is at this place.
    pub fn holds(&self, index: u32, connection: u64, id: u32) -> bool {
        id != 0
            && self.places.get(index as usize).is_some_and(|stream| stream.id == id && stream.connection == connection)
    }

    pub fn at(&self, index: u32) -> &Stream {
        &self.places[index as usize]
    }

    pub fn at_mut(&mut self, index: u32) -> &mut Stream {
        &mut self.places[index as usize]
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds a stream as the one used last.
    pub fn open(&mut self, own: &mut Own, connection: u64, id: u32) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Stream::default());
            (self.places.len() - 1) as u32
        });
        let stream = &mut self.places[index as usize];
        self.spare = self.spare.saturating_sub(stream.capacity());
        (stream.connection, stream.id) = (connection, id);
        self.by_id.insert((connection, id), index);
        self.all.push(&mut self.places, index, all);
        own.list.push(&mut self.places, index, own_links);
        own.count += 1;
        index
    }

    /// Makes it the one used last.
    #[inline]
    pub fn touch(&mut self, own: &mut Own, index: u32) {
        self.all.touch(&mut self.places, index, all);
        own.list.touch(&mut self.places, index, own_links);
    }

    /// Takes a stream out; its place keeps its buffers for the next.
    pub fn close(&mut self, own: &mut Own, index: u32) {
        self.all.remove(&mut self.places, index, all);
        own.list.remove(&mut self.places, index, own_links);
        own.count -= 1;
        let stream = &mut self.places[index as usize];
        self.by_id.remove(&(stream.connection, stream.id));
        stream.clear();
        self.spare += stream.capacity();
        self.free.push(index);
    }

    /// The one used longest ago, of all.
    pub fn oldest(&self) -> Option<u32> {
        self.all.first()
    }

    /// The one used longest ago, of a connection.
    pub fn oldest_of(&self, own: &Own) -> Option<u32> {
        own.list.first()
    }

    /// Bytes that unused places hold.
    pub fn spare(&self) -> usize {
        self.spare
    }

    /// Gives the unused places' buffers back.
    pub fn release(&mut self) {
        for &index in &self.free {
            self.places[index as usize].sides = Default::default();
        }
        self.spare = self.free.len() * size_of::<Stream>();
    }
}

fn all(stream: &mut Stream) -> &mut Links {
    &mut stream.all
}

fn own_links(stream: &mut Stream) -> &mut Links {
    &mut stream.own
}

/// A place in a list: one more than the neighbour's index, 0 for none.
#[derive(Clone, Copy, Default)]
struct Links {
    before: u32,
    after: u32,
}

impl Links {
    fn after(self) -> Option<u32> {
        self.after.checked_sub(1)
    }
}

/// A list through the slab, first used longest ago.
#[derive(Clone, Copy, Default)]
struct List {
    first: u32,
    last: u32,
}

type Of = fn(&mut Stream) -> &mut Links;

impl List {
    fn first(&self) -> Option<u32> {
        self.first.checked_sub(1)
    }

    fn push(&mut self, places: &mut [Stream], index: u32, of: Of) {
        *of(&mut places[index as usize]) = Links { before: self.last, after: 0 };
        match self.last.checked_sub(1) {
            Some(last) => of(&mut places[last as usize]).after = index + 1,
            None => self.first = index + 1,
        }
        self.last = index + 1;
    }

    fn remove(&mut self, places: &mut [Stream], index: u32, of: Of) {
        let links = std::mem::take(of(&mut places[index as usize]));
        match links.before.checked_sub(1) {
            Some(before) => of(&mut places[before as usize]).after = links.after,
            None => self.first = links.after,
        }
        match links.after.checked_sub(1) {
            Some(after) => of(&mut places[after as usize]).before = links.before,
            None => self.last = links.before,
        }
    }

    #[inline]
    fn touch(&mut self, places: &mut [Stream], index: u32, of: Of) {
        if self.last != index + 1 {
            self.remove(places, index, of);
            self.push(places, index, of);
        }
    }
}

/// Bytes of buffers that an unused side keeps.
const SPARE: usize = 8192;
