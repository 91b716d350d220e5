//! `Segment`: what a flow has in order, and what of a flow its segments have told so far.

use std::net::SocketAddr;

use super::key::FlowKey;
use super::reassembly::Piece;
use super::{Direction, FlowEnd};

/// Bytes of one flow and direction.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The flow's number.
    pub flow: u64,
    pub direction: Direction,
    /// Counted up by one per flow and direction.
    pub seq: u64,
    /// Of the first byte, in its direction of the flow, missing bytes included.
    pub offset: u64,
    /// Bytes missing just before.
    pub gap: u64,
    /// Bytes may be missing before, nobody knows how many.
    pub gap_unknown: bool,
    pub bytes: &'a [u8],
    /// Of a datagram on the wire; more than `bytes` where the capture cut it.
    pub length: u64,
    /// The first of a flow whose handshake was seen.
    pub start: bool,
    /// On a last segment of no bytes. `Close` where the flow was given up: idle, evicted, or its
    /// addresses and ports taken by a new connection.
    pub end: Option<FlowEnd>,
    pub datagram: bool,
    /// Who sends what is `Tx`, and to whom.
    pub ends: (SocketAddr, SocketAddr),
    /// IANA protocol number.
    pub protocol: u8,
}

/// What a flow's segments have told so far.
pub(super) struct Told {
    pub id: u64,
    /// Whether the lower end of the key is the sender of `Tx`.
    tx_from_low: bool,
    /// Whether the handshake was seen and no segment has said so.
    pub start: bool,
    /// Segments per side.
    seq: [u64; 2],
    /// Datagram bytes per side.
    offset: [u64; 2],
    /// Who sends what is `Tx`, and to whom.
    ends: (SocketAddr, SocketAddr),
}

impl Told {
    /// Of nothing so far.
    pub fn new(id: u64, tx_from_low: bool, ends: (SocketAddr, SocketAddr)) -> Told {
        Told { id, tx_from_low, start: false, seq: [0; 2], offset: [0; 2], ends }
    }

    /// 0 for the sender of `Tx`.
    pub fn side(&self, from_low: bool) -> usize {
        (self.tx_from_low != from_low).into()
    }

    #[inline]
    pub fn piece(&mut self, key: &FlowKey, side: usize, piece: Piece<'_>, sink: &mut impl FnMut(&Segment<'_>)) {
        let Piece { offset, gap, gap_unknown, bytes, end } = piece;
        let start = std::mem::take(&mut self.start);
        let length = bytes.len() as u64;
        sink(&Segment { offset, gap, gap_unknown, bytes, end, start, length, ..self.segment(key, side) });
    }

    pub fn datagram(
        &mut self,
        key: &FlowKey,
        from_low: bool,
        bytes: &[u8],
        missing: usize,
        sink: &mut impl FnMut(&Segment<'_>),
    ) {
        let side = self.side(from_low);
        let (length, offset) = ((bytes.len() + missing) as u64, self.offset[side]);
        self.offset[side] += length;
        sink(&Segment { offset, bytes, length, datagram: true, ..self.segment(key, side) });
    }

    /// The next segment of a side, with nothing in it.
    fn segment(&mut self, key: &FlowKey, side: usize) -> Segment<'static> {
        let seq = self.seq[side];
        self.seq[side] += 1;
        Segment {
            flow: self.id,
            direction: DIRECTIONS[side],
            seq,
            offset: 0,
            gap: 0,
            gap_unknown: false,
            bytes: &[],
            length: 0,
            start: false,
            end: None,
            datagram: false,
            ends: self.ends,
            protocol: key.protocol(),
        }
    }
}

/// What each side sends.
const DIRECTIONS: [Direction; 2] = [Direction::Tx, Direction::Rx];
