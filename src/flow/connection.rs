//! `Connection`: a TCP connection seen from outside: two streams and the handshake that opens them.
//! Resets and new connections on old ports are believed only where a receiver would believe them.

use crate::decode::tcp::{Flags, Tcp};
use crate::flow::FlowEnd;
use crate::flow::reassembly::{Context, Counts, Patience, Payload, Piece, Stream};
use crate::time::Instant;

/// One connection. Side 0 is who opened it, or sent first; side 1 the other.
#[derive(Default, Debug)]
pub struct Connection {
    /// What each side sends.
    streams: [Stream; 2],
    /// Sequence number of each side's SYN.
    isn: [Option<u32>; 2],
    /// Whether any packet of the side came.
    seen: [bool; 2],
    /// A SYN in the middle of the connection: side and sequence number.
    syn: Option<(usize, u32)>,
    over: bool,
}

impl Connection {
    /// Whether both sides have ended, or one has reset it.
    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn has_hole(&self) -> bool {
        self.streams.iter().any(Stream::has_hole)
    }

    /// Bytes held, with what holding them costs.
    pub fn held_bytes(&self) -> usize {
        self.streams.iter().map(Stream::held_bytes).sum()
    }

    /// Whether this packet, which has SYN set, begins another connection of the same addresses and
    /// ports. A SYN alone does not end a connection that lives (RFC 5961 4): the other end must agree.
    pub fn is_replaced_by(&mut self, side: usize, tcp: &Tcp<'_>) -> bool {
        if self.isn[side] == Some(tcp.seq()) {
            return false;
        }
        if !tcp.flags().has(Flags::ACK) {
            let opens = self.streams[side].is_unseen() && !self.over;
            self.syn = (!opens && !self.over).then_some((side, tcp.seq()));
            return self.over;
        }
        let agrees = self.syn.is_some_and(|(by, seq)| by != side && seq.wrapping_add(1) == tcp.ack_number());
        agrees || self.over
    }

    /// Takes a packet of one side; what is in order now goes to `sink` with the side that sent it.
    pub fn packet(
        &mut self,
        side: usize,
        tcp: &Tcp<'_>,
        missing: usize,
        at: Instant,
        patience: &Patience,
        counts: &mut Counts,
        sink: &mut impl FnMut(usize, Piece<'_>),
    ) {
        let flags = tcp.flags();
        let syn = flags.has(Flags::SYN);
        self.seen[side] = true;
        if syn {
            self.handshake(side, tcp);
        }
        let [first, second] = &mut self.streams;
        let (stream, other) = if side == 0 { (first, second) } else { (second, first) };
        let mut context = Context { patience, counts, one_sided: !self.seen[1 - side], force: false };
        if flags.has(Flags::ACK) && !syn {
            other.acknowledged(tcp.ack_number(), at);
        }
        let fin = flags.has(Flags::FIN);
        if !tcp.payload().is_empty() || missing > 0 || fin {
            // RFC 9293 3.4: a SYN takes the sequence number before the first byte
            let seq = tcp.seq().wrapping_add(syn.into());
            if stream.is_unseen() {
                stream.open(seq, self.isn[1 - side].is_some());
            }
            let payload = Payload { seq, bytes: tcp.payload(), missing, fin };
            stream.segment(payload, at, &mut context, &mut |piece| sink(side, piece));
        }
        if other.has_hole() {
            context.one_sided = false;
            other.settle(at, &mut context, &mut |piece| sink(1 - side, piece));
        }
        if flags.has(Flags::RST) && (stream.is_unseen() || stream.is_near(tcp.seq())) {
            self.close(FlowEnd::Rst, at, patience, counts, sink);
        }
        self.over |= self.streams.iter().all(Stream::is_ended);
    }

    /// Gives out what can be given out now; all that is held with `force`.
    pub fn settle(
        &mut self,
        at: Instant,
        force: bool,
        patience: &Patience,
        counts: &mut Counts,
        sink: &mut impl FnMut(usize, Piece<'_>),
    ) {
        for side in [0, 1] {
            let mut context = Context { patience, counts, one_sided: !self.seen[1 - side], force };
            self.streams[side].settle(at, &mut context, &mut |piece| sink(side, piece));
        }
    }

    /// Gives out all that is held and ends what has not ended.
    pub fn close(
        &mut self,
        end: FlowEnd,
        at: Instant,
        patience: &Patience,
        counts: &mut Counts,
        sink: &mut impl FnMut(usize, Piece<'_>),
    ) {
        for side in [0, 1] {
            let mut context = Context { patience, counts, one_sided: false, force: true };
            self.streams[side].close(end, at, &mut context, &mut |piece| sink(side, piece));
        }
        self.over = true;
    }

    fn handshake(&mut self, side: usize, tcp: &Tcp<'_>) {
        if self.streams[side].is_unseen() {
            self.isn[side] = Some(tcp.seq());
            self.streams[side].open(tcp.seq().wrapping_add(1), false);
        }
        if tcp.flags().has(Flags::ACK) && self.streams[1 - side].is_unseen() {
            // the SYN that this one answers was not seen, but it says which it was
            self.isn[1 - side] = Some(tcp.ack_number().wrapping_sub(1));
            self.streams[1 - side].open(tcp.ack_number(), false);
        }
    }
}
