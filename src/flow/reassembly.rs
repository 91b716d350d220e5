//! `Stream`: one direction of a TCP connection, put back in order. What comes in order leaves without
//! a copy; what comes early is held, bounded; what never comes is told as a gap. Of bytes that came
//! twice and disagree the first to come stands, as no receiver takes back what it has delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::flow::FlowEnd;
use crate::time::Instant;

/// When a stream stops waiting for bytes that did not come.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Bytes held per direction; over it the hole before them is given up.
    pub held: usize,
    /// After the receiver acknowledged bytes that the capture never saw: packets of one connection may
    /// be read from several rings, so that an acknowledgement may come before what it acknowledges.
    pub acknowledged: Duration,
    /// Where the receiver's packets are not seen at all, so that nobody can say what was lost.
    pub one_sided: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { held: 1 << 20, acknowledged: Duration::from_millis(20), one_sided: Duration::from_secs(1) }
    }
}

/// What a segment carries.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// Sequence number of the first byte.
    pub seq: u32,
    pub bytes: &'a [u8],
    /// Bytes behind `bytes` that the capture cut off.
    pub missing: usize,
    pub fin: bool,
}

/// Bytes in order, or the end of the stream.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Of the first byte, missing ones included.
    pub offset: u64,
    /// Bytes missing just before.
    pub gap: u64,
    /// Bytes may be missing before, nobody knows how many.
    pub gap_unknown: bool,
    pub bytes: &'a [u8],
    pub end: Option<FlowEnd>,
}

/// What happened on the way, counted up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Segments that came before what they follow.
    pub out_of_order: u64,
    /// Segments that brought, wholly or in part, what had come before.
    pub retransmits: u64,
    /// Overlaps whose bytes disagree.
    pub conflicts: u64,
    /// Holes given up, those that the capture's snap length cut included.
    pub gaps: u64,
    /// Bytes in them.
    pub gap_bytes: u64,
    /// Segments outside every window, left out.
    pub strays: u64,
    /// Streams taken up anew where their sequence numbers had jumped.
    pub resyncs: u64,
}

/// One direction of a connection.
#[derive(Default, Debug)]
pub struct Stream {
    state: State,
    /// Sequence number of the byte at `offset`.
    next: u32,
    /// Of the first byte that has not left yet.
    offset: u64,
    /// Missing bytes that no piece has told yet.
    gap: u64,
    gap_unknown: bool,
    /// Where the stream ends, once its FIN was seen.
    fin: Option<u64>,
    /// How far the receiver acknowledged, where that is past `offset`, and since when.
    acked: Option<(u64, Instant)>,
    /// Since when there is a hole at `offset`.
    hole: Option<Instant>,
    /// Sequence number behind the last stray segment.
    stray: Option<u32>,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum State {
    #[default]
    Unseen,
    Open,
    Ended,
}

/// Bytes that came early; `length` counts the ones that the capture cut off too.
#[derive(Debug)]
struct Held {
    bytes: Box<[u8]>,
    length: u64,
}

impl Stream {
    /// The first byte that will come has this sequence number. `gap_unknown` says that there may have
    /// been others, though the stream is not joined in its middle.
    pub fn open(&mut self, seq: u32, gap_unknown: bool) {
        (self.state, self.next, self.gap_unknown) = (State::Open, seq, gap_unknown);
    }

    pub fn is_unseen(&self) -> bool {
        self.state == State::Unseen
    }

    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Bytes held, with what holding them costs.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether it waits for bytes before others that came.
    pub fn has_hole(&self) -> bool {
        self.hole.is_some()
    }

    /// Whether a segment with this sequence number can belong to the stream.
    pub fn is_near(&self, seq: u32) -> bool {
        (-BEHIND..=AHEAD).contains(&self.distance(seq))
    }

    /// Takes a segment of an opened stream; what is in order now goes to `sink`.
    #[inline]
    pub fn segment(
        &mut self,
        payload: Payload<'_>,
        at: Instant,
        context: &mut Context<'_>,
        sink: &mut impl FnMut(Piece<'_>),
    ) {
        let plain = self.held.is_empty() && self.fin.is_none() && self.state == State::Open;
        if plain && payload.seq == self.next && payload.missing == 0 && !payload.fin {
            self.emit(payload.bytes, sink);
            return self.caught_up();
        }
        self.odd_segment(payload, at, context, sink);
    }

    /// The receiver acknowledged all before this sequence number.
    #[inline]
    pub fn acknowledged(&mut self, ack: u32, at: Instant) {
        let ahead = self.distance(ack);
        if ahead > 0 && ahead <= AHEAD && self.state == State::Open {
            let to = self.offset + ahead as u64;
            let (before, since) = self.acked.unwrap_or((to, at));
            self.acked = Some((to.max(before), since));
        }
    }

    /// Gives out what can be given out; `at` decides whether holes are waited for any longer.
    pub fn settle(&mut self, at: Instant, context: &mut Context<'_>, sink: &mut impl FnMut(Piece<'_>)) {
        while self.state == State::Open {
            if self.fin.is_some_and(|fin| fin <= self.offset) {
                return self.end(FlowEnd::Fin, sink);
            }
            let held = self.held.first_key_value().map(|(&offset, _)| offset);
            let Some(first) = held.into_iter().chain(self.fin).min() else { break };
            if first > self.offset {
                let since = *self.hole.get_or_insert(at);
                if !context.force && !self.gives_up(first, since, at, context) {
                    return;
                }
                self.lose(first - self.offset, context.counts);
            }
            self.hole = None;
            if let Some((_, held)) = held.filter(|&offset| offset == first).and_then(|_| self.held.pop_first()) {
                self.give_held(held, context.counts, sink);
            }
        }
        self.hole = None;
        self.caught_up();
    }

    /// Gives out all that is held, with its gaps, and ends the stream.
    pub fn close(&mut self, end: FlowEnd, at: Instant, context: &mut Context<'_>, sink: &mut impl FnMut(Piece<'_>)) {
        self.settle(at, &mut Context { force: true, ..context.reborrow() }, sink);
        if self.state == State::Open {
            self.end(end, sink);
        }
    }

    fn odd_segment(
        &mut self,
        payload: Payload<'_>,
        at: Instant,
        context: &mut Context<'_>,
        sink: &mut impl FnMut(Piece<'_>),
    ) {
        let Payload { seq, mut bytes, missing, fin } = payload;
        let mut length = (bytes.len() + missing) as u64;
        if length == 0 && !fin {
            return;
        }
        if self.state != State::Open {
            context.counts.retransmits += 1;
            return;
        }
        if !self.is_near(seq) && !self.resync(seq, length, at, context, sink) {
            return;
        }
        let mut begin = self.offset as i64 + self.distance(seq);
        if fin && self.fin.is_none() {
            self.fin = u64::try_from(begin + length as i64).ok().filter(|&end| end >= self.offset);
        }
        let behind = self.offset as i64 - begin;
        if behind > 0 && length > 0 {
            context.counts.retransmits += 1;
            let skip = (behind as u64).min(length);
            bytes = bytes.get(skip as usize..).unwrap_or_default();
            length -= skip;
            begin += skip as i64;
        }
        if let Some(fin) = self.fin {
            length = length.min(fin.saturating_sub(begin as u64));
            bytes = bytes.get(..length as usize).unwrap_or(bytes);
        }
        if length > 0 {
            if begin as u64 == self.offset {
                self.give(bytes, length, context.counts, sink);
            } else {
                context.counts.out_of_order += 1;
                self.hold(begin as u64, bytes, length, context.counts);
            }
        }
        self.settle(at, context, sink);
    }

    /// Whether a segment far from where the stream stands follows another such one: then the stream
    /// goes on there. A single one is left out: it is forged, or of an older connection.
    fn resync(
        &mut self,
        seq: u32,
        length: u64,
        at: Instant,
        context: &mut Context<'_>,
        sink: &mut impl FnMut(Piece<'_>),
    ) -> bool {
        if self.stray != Some(seq) {
            context.counts.strays += 1;
            self.stray = Some(seq.wrapping_add(length as u32));
            return false;
        }
        self.fin = None;
        self.settle(at, &mut Context { force: true, ..context.reborrow() }, sink);
        context.counts.resyncs += 1;
        (self.next, self.gap_unknown, self.stray, self.acked) = (seq, true, None, None);
        true
    }

    /// Gives bytes that begin at `offset`. Where held ones overlap them, those came first and stand.
    fn give(&mut self, mut bytes: &[u8], mut length: u64, counts: &mut Counts, sink: &mut impl FnMut(Piece<'_>)) {
        while length > 0 {
            let held = self.held.first_key_value().map_or(u64::MAX, |(&offset, _)| offset);
            let room = (held - self.offset).min(length);
            let (now, later) = bytes.split_at_checked(room as usize).unwrap_or((bytes, &[]));
            self.emit(now, sink);
            if room > now.len() as u64 {
                self.lose(room - now.len() as u64, counts);
            }
            (bytes, length) = (later, length - room);
            if held == self.offset
                && let Some((_, held)) = self.held.pop_first()
            {
                let overlap = held.length.min(length);
                counts.conflicts += u64::from(disagree(bytes, &held.bytes));
                bytes = bytes.get(overlap as usize..).unwrap_or_default();
                length -= overlap;
                self.give_held(held, counts, sink);
            }
        }
    }

    fn give_held(&mut self, held: Held, counts: &mut Counts, sink: &mut impl FnMut(Piece<'_>)) {
        self.held_bytes -= held.cost();
        self.emit(&held.bytes, sink);
        let missing = held.length - held.bytes.len() as u64;
        if missing > 0 {
            self.lose(missing, counts);
        }
    }

    /// Keeps what of these bytes is not held yet.
    fn hold(&mut self, begin: u64, bytes: &[u8], length: u64, counts: &mut Counts) {
        let end = begin + length;
        let part = |from: u64, to: u64| {
            let bytes = bytes.get((from - begin) as usize..).unwrap_or_default();
            bytes.get(..(to - from) as usize).unwrap_or(bytes)
        };
        let (mut at, mut overlaps) = (begin, false);
        if let Some((&from, held)) = self.held.range(..begin).next_back()
            && from + held.length > begin
        {
            overlaps = true;
            at = end.min(from + held.length);
            let there = held.bytes.get((begin - from) as usize..).unwrap_or_default();
            counts.conflicts += u64::from(disagree(part(begin, at), there));
        }
        while at < end {
            let next = self.held.range(at..end).next();
            let (to, resume) = next.map_or((end, end), |(&from, held)| (from, from + held.length));
            if let Some((&from, held)) = next {
                overlaps = true;
                counts.conflicts += u64::from(disagree(part(from, end.min(resume)), &held.bytes));
            }
            if to > at {
                let held = Held { bytes: part(at, to).into(), length: to - at };
                self.held_bytes += held.cost();
                self.held.insert(at, held);
            }
            at = resume;
        }
        counts.retransmits += u64::from(overlaps);
    }

    fn gives_up(&self, first: u64, since: Instant, at: Instant, context: &Context<'_>) -> bool {
        let patience = context.patience;
        let acknowledged =
            self.acked.is_some_and(|(to, since)| to >= first && at.since(since) >= patience.acknowledged);
        let unheard = context.one_sided && at.since(since) >= patience.one_sided;
        acknowledged || unheard || self.held_bytes > patience.held
    }

    #[inline]
    fn emit(&mut self, bytes: &[u8], sink: &mut impl FnMut(Piece<'_>)) {
        if bytes.is_empty() {
            return;
        }
        let (gap, gap_unknown) = (std::mem::take(&mut self.gap), std::mem::take(&mut self.gap_unknown));
        sink(Piece { offset: self.offset, gap, gap_unknown, bytes, end: None });
        self.advance(bytes.len() as u64);
    }

    fn lose(&mut self, count: u64, counts: &mut Counts) {
        counts.gaps += 1;
        counts.gap_bytes += count;
        self.gap += count;
        self.advance(count);
    }

    fn end(&mut self, end: FlowEnd, sink: &mut impl FnMut(Piece<'_>)) {
        let (gap, gap_unknown) = (self.gap, self.gap_unknown);
        sink(Piece { offset: self.offset, gap, gap_unknown, bytes: &[], end: Some(end) });
        self.state = State::Ended;
        self.held.clear();
        (self.held_bytes, self.hole) = (0, None);
    }

    fn advance(&mut self, count: u64) {
        self.offset += count;
        self.next = self.next.wrapping_add(count as u32);
    }

    fn caught_up(&mut self) {
        if self.acked.is_some_and(|(to, _)| to <= self.offset) {
            self.acked = None;
        }
    }

    /// How far ahead of the next byte expected this sequence number is (RFC 9293 3.4: modulo 2^32).
    fn distance(&self, seq: u32) -> i64 {
        i64::from(seq.wrapping_sub(self.next) as i32)
    }
}

/// What a stream works with beside its own state.
pub struct Context<'a> {
    pub patience: &'a Patience,
    pub counts: &'a mut Counts,
    /// Whether no packet of the receiver was seen.
    pub one_sided: bool,
    /// Whether holes are given up at once.
    pub force: bool,
}

impl Context<'_> {
    pub fn reborrow(&mut self) -> Context<'_> {
        Context { counts: self.counts, ..*self }
    }
}

impl Held {
    /// The bytes and what the tree adds to them.
    fn cost(&self) -> usize {
        self.bytes.len() + 64
    }
}

fn disagree(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).any(|(one, other)| one != other)
}

/// The largest window that scaling allows (RFC 7323 2.3).
const AHEAD: i64 = 1 << 30;
/// Older than what any sender still retransmits.
const BEHIND: i64 = 1 << 26;
