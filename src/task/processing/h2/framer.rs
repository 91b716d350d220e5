//! The framer: one direction's bytes to frames. It waits for proof that they are HTTP/2, finds frame
//! boundaries again after a gap, and hands frames on in place where they lie whole in a chunk. Only what
//! a chunk cuts is copied; DATA is never held.

use crate::decode::hpack;
use crate::decode::http2::{HEADER, Header, PREFACE, Type, flag, fragment};

/// One direction's framing.
pub struct Framer {
    state: State,
    /// What is not whole yet: the bytes from the first candidate boundary on, or the start of a frame.
    held: Vec<u8>,
    /// Bytes seen before proof.
    seen: usize,
    /// Bytes of header blocks that the search may still read: what keeps it linear.
    reads: usize,
    proven: bool,
}

/// What a framer tells of.
pub trait Frames {
    /// This direction is HTTP/2, or its boundaries were found again.
    fn proven(&mut self, proof: Proof);

    /// It never was within what may be read for that.
    fn ignored(&mut self);

    /// The search for a boundary needed more bytes than may be held.
    fn overflowed(&mut self);

    /// A header, before its payload: what is to be done with that.
    fn header(&mut self, header: &Header) -> Action;

    /// A whole frame that was to be held.
    fn frame(&mut self, header: &Header, payload: &[u8]);

    /// A part of a payload that was to be passed, padding included.
    fn part(&mut self, header: &Header, bytes: &[u8]);

    /// Bytes of a payload that was to be passed or skipped are missing.
    fn lost(&mut self, header: &Header, count: u32);

    /// The end of a payload that was to be passed or skipped; `whole` when none of it is missing.
    fn end(&mut self, header: &Header, whole: bool);

    /// Framing is lost; `inside` is the frame that was not whole.
    fn lost_framing(&mut self, inside: Option<&Header>);

    /// The longest payload that the peer allows.
    fn max_frame(&self) -> u32;
}

/// What to do with a frame's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Hold it until it is whole, then `frame`.
    Hold,
    /// Hand it on as it comes: `part`, then `end`.
    Pass,
    /// Leave it out, then `end`.
    Skip,
}

/// What showed that a direction is HTTP/2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    Preface {
        /// Whether it stood at the first byte seen.
        first: bool,
    },
    /// Frames; `first` when they begin at the first byte seen.
    Frames { first: bool },
}

enum State {
    /// `first`: the candidate is the first byte seen, or the first after a gap. `read`: how many frames
    /// of its chain were read for a header block in vain.
    Search {
        first: bool,
        read: u8,
    },
    /// At a boundary, or `held` has the start of a frame.
    Frames,
    Hold(Header),
    Pass(Payload),
    Skip(Payload),
    Ignored,
}

struct Payload {
    header: Header,
    left: u32,
    whole: bool,
}

impl Framer {
    pub fn new() -> Framer {
        Framer {
            state: State::Search { first: true, read: 0 },
            held: Vec::new(),
            seen: 0,
            reads: SEARCH,
            proven: false,
        }
    }

    /// Whether a frame of a header block is not whole yet.
    pub fn holds_block(&self) -> bool {
        matches!(&self.state, State::Hold(header) if is_block(header))
    }

    /// Bytes that its buffer takes.
    pub fn capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Takes the next bytes. `aligned`: the first byte ever seen is taken for a boundary. `limit`: how
    /// many bytes may be held.
    pub fn push(&mut self, bytes: &[u8], aligned: bool, limit: usize, to: &mut impl Frames) {
        match self.state {
            State::Ignored => {}
            State::Search { .. } => self.search(bytes, aligned, limit, to),
            _ => self.frames(bytes, to),
        }
    }

    /// Bytes are missing: `count`, or nobody knows how many.
    pub fn gap(&mut self, count: Option<u64>, to: &mut impl Frames) {
        let inside = match &mut self.state {
            State::Pass(payload) | State::Skip(payload) => {
                if let Some(count) = count.and_then(|count| u32::try_from(count).ok())
                    && count <= payload.left
                {
                    payload.left -= count;
                    payload.whole = false;
                    to.lost(&payload.header, count);
                    self.finish(to);
                    return;
                }
                Some(payload.header)
            }
            State::Hold(header) => Some(*header),
            State::Ignored => return,
            State::Frames => None,
            State::Search { .. } => {
                self.held.clear();
                self.state = State::Search { first: true, read: 0 };
                return;
            }
        };
        self.held.clear();
        self.state = State::Search { first: true, read: 0 };
        self.reads = SEARCH;
        to.lost_framing(inside.as_ref());
    }

    /// Gives memory back that an idle direction does not need. A frame that is held is given up: it is
    /// skipped by its length, and the caller is told as of a payload that lost bytes.
    pub fn release(&mut self, to: &mut impl Frames) {
        if let State::Hold(header) = self.state {
            let held = self.held.len() as u32;
            to.lost(&header, held);
            self.state = State::Skip(Payload { header, left: header.length - held, whole: false });
            self.held.clear();
        }
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    fn search(&mut self, bytes: &[u8], aligned: bool, limit: usize, to: &mut impl Frames) {
        let (now, later) = match self.proven {
            true => (bytes, &[][..]),
            false => bytes.split_at(bytes.len().min(SEARCH - self.seen)),
        };
        self.seen += if self.proven { 0 } else { now.len() };
        self.held.extend_from_slice(now);
        let limit = if self.proven { limit } else { SEARCH };
        let mut at = 0;
        while at < self.held.len() {
            match self.judge(at, aligned, limit, to.max_frame()) {
                Verdict::Proven(proof) => {
                    self.proven = true;
                    self.state = State::Frames;
                    to.proven(proof);
                    let held = std::mem::take(&mut self.held);
                    let skip = if matches!(proof, Proof::Preface { .. }) { PREFACE.len() } else { 0 };
                    self.frames(held.get(at + skip..).unwrap_or_default(), to);
                    self.frames(later, to);
                    return;
                }
                Verdict::Open => break,
                Verdict::Refuted => {}
                Verdict::TooLong if self.proven => to.overflowed(),
                Verdict::TooLong => {}
            }
            at += 1;
            self.state = State::Search { first: false, read: 0 };
        }
        if !self.proven && self.seen >= SEARCH {
            self.state = State::Ignored;
            self.held = Vec::new();
            to.ignored();
        } else {
            self.held.drain(..at);
        }
    }

    /// Whether frames begin at `at` of the held bytes. The answer depends on the bytes alone, never on
    /// where a chunk ended.
    fn judge(&mut self, at: usize, aligned: bool, limit: usize, max: u32) -> Verdict {
        let State::Search { first, mut read } = self.state else { return Verdict::Refuted };
        let bytes = self.held.get(at..).unwrap_or_default();
        let known = bytes.len().min(PREFACE.len());
        if bytes.get(..known) == PREFACE.get(..known) {
            return match known == PREFACE.len() {
                true => Verdict::Proven(Proof::Preface { first: first && !self.proven }),
                false => Verdict::Open,
            };
        }
        let mut next = 0;
        let mut before: Option<Header> = None;
        for count in 0..CHAIN {
            let Some(header) = bytes.get(next..).and_then(Header::parse) else {
                // Nine bytes of which the first three say too much are no header, whatever follows.
                let long = bytes.get(next..next + 3).is_some_and(|rest| length(rest) > max);
                return if long { Verdict::Refuted } else { Verdict::Open };
            };
            if !header.plausible(max) || !before.is_none_or(|before| follows(&before, &header)) {
                return Verdict::Refuted;
            }
            before = Some(header);
            let settings = first && count == 0 && header.kind == Type::SETTINGS && !header.has(flag::ACK);
            if settings || count + 1 == CHAIN || (aligned && first && !self.proven) {
                return Verdict::Proven(Proof::Frames { first: first && !self.proven });
            }
            if next + header.size() + HEADER > limit {
                return Verdict::TooLong;
            }
            if header.kind == Type::HEADERS && header.has(flag::END_HEADERS) && count >= read {
                let Some(payload) = bytes.get(next + HEADER..next + header.size()) else { return Verdict::Open };
                self.reads = self.reads.saturating_sub(payload.len());
                if self.reads > 0
                    && let Some((block, _)) = fragment(&header, payload)
                    && matches!(hpack::check(block), Ok(Some(1..=14)))
                {
                    return Verdict::Proven(Proof::Frames { first: first && !self.proven });
                }
                read = count + 1;
                self.state = State::Search { first, read };
            }
            next += header.size();
        }
        Verdict::Refuted
    }

    fn frames(&mut self, mut bytes: &[u8], to: &mut impl Frames) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Frames => {
                    let header = if self.held.is_empty() {
                        match Header::parse(bytes) {
                            Some(header) => {
                                bytes = bytes.get(HEADER..).unwrap_or_default();
                                header
                            }
                            None => return self.held.extend_from_slice(bytes),
                        }
                    } else {
                        let (now, rest) = bytes.split_at(bytes.len().min(HEADER - self.held.len()));
                        self.held.extend_from_slice(now);
                        bytes = rest;
                        let Some(header) = Header::parse(&self.held) else { return };
                        self.held.clear();
                        header
                    };
                    let action = to.header(&header);
                    let payload = Payload { header, left: header.length, whole: true };
                    match action {
                        Action::Hold => match bytes.split_at_checked(header.length as usize) {
                            Some((payload, rest)) => {
                                to.frame(&header, payload);
                                bytes = rest;
                            }
                            None => self.state = State::Hold(header),
                        },
                        Action::Pass => {
                            self.state = State::Pass(payload);
                            self.finish(to);
                        }
                        Action::Skip => {
                            self.state = State::Skip(payload);
                            self.finish(to);
                        }
                    }
                }
                State::Hold(header) => {
                    let header = *header;
                    let missing = header.length as usize - self.held.len();
                    let Some((now, rest)) = bytes.split_at_checked(missing) else {
                        return self.held.extend_from_slice(bytes);
                    };
                    self.held.extend_from_slice(now);
                    bytes = rest;
                    self.state = State::Frames;
                    to.frame(&header, &self.held);
                    self.held.clear();
                }
                State::Pass(payload) | State::Skip(payload) => {
                    let header = payload.header;
                    let (now, rest) = bytes.split_at(bytes.len().min(payload.left as usize));
                    payload.left -= now.len() as u32;
                    bytes = rest;
                    if matches!(self.state, State::Pass(_)) {
                        to.part(&header, now);
                    }
                    self.finish(to);
                }
                State::Search { .. } | State::Ignored => return,
            }
        }
    }

    /// Ends a payload that has come to its end.
    fn finish(&mut self, to: &mut impl Frames) {
        if let State::Pass(payload) | State::Skip(payload) = &self.state
            && payload.left == 0
        {
            to.end(&payload.header, payload.whole);
            self.state = State::Frames;
        }
    }
}

enum Verdict {
    Proven(Proof),
    /// More bytes will tell.
    Open,
    Refuted,
    /// More bytes would tell than may be held.
    TooLong,
}

/// Whether a frame may stand behind another: nothing but its own CONTINUATION follows what leaves a block
/// open (RFC 9113 section 6.10).
fn follows(before: &Header, header: &Header) -> bool {
    if is_block(before) && !before.has(flag::END_HEADERS) {
        return header.kind == Type::CONTINUATION && header.stream == before.stream;
    }
    header.kind != Type::CONTINUATION
}

/// Whether it carries a part of a header block.
pub fn is_block(header: &Header) -> bool {
    matches!(header.kind, Type::HEADERS | Type::PUSH_PROMISE | Type::CONTINUATION)
}

fn length(bytes: &[u8]) -> u32 {
    bytes.iter().take(3).fold(0, |all, &byte| all << 8 | u32::from(byte))
}

/// Bytes within which a direction must show that it is HTTP/2.
const SEARCH: usize = 65_536;
/// Frames that must follow one another.
const CHAIN: u8 = 3;
