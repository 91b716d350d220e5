//! Sources: records of a ring, or frames of an interface, to typed records. One engine per source
//! serves all its directives: each has a `Tap`, whose bit stands for it in the masks of records.

pub mod capture;
pub mod exec;
pub mod flows;

use crate::kernel::abi::{Peer, PeerKey};
use crate::pipeline::{Event, Pipeline};
use crate::process::Processes;
use crate::process::metadata::Meta;
use crate::time::{Instant, Offsets};

/// What an engine may look at and change while it works on a record.
pub struct World<'a> {
    pub processes: &'a mut Processes,
    /// What the kernel side keeps of sockets.
    pub sockets: &'a dyn Sockets,
    pub offsets: Offsets,
    /// The time of the turn.
    pub now: Instant,
    /// Whether the kernel's masks may still be older than ours, so that it is told of every decision.
    pub settling: bool,
}

/// The kernel side's tables of sockets, asked when a flow ends or is looked at, never per datagram.
pub trait Sockets {
    /// What went between a UDP socket and a peer.
    fn peer(&self, key: &PeerKey) -> Option<Peer>;

    /// That exchange is over.
    fn forget_peer(&self, key: &PeerKey);

    /// The flow of a TCP socket is of no interest any more. The socket may be another flow by now.
    fn forget_socket(&self, sock: u64, flow: u64);

    /// Whether a TCP socket still is this flow, so that its end is yet to come.
    fn is_open(&self, sock: u64, flow: u64) -> bool;
}

/// There is no kernel side: nothing is known, nothing to be forgotten.
pub struct NoSockets;

impl Sockets for NoSockets {
    fn peer(&self, _: &PeerKey) -> Option<Peer> {
        None
    }

    fn forget_peer(&self, _: &PeerKey) {}

    fn forget_socket(&self, _: u64, _: u64) {}

    fn is_open(&self, _: u64, _: u64) -> bool {
        false
    }
}

/// One directive's place at a source.
pub struct Tap<O> {
    /// What the directive's source task was configured with.
    pub options: O,
    pub meta: Meta,
    pub pipeline: Pipeline,
}

impl<O> Tap<O> {
    pub fn new(options: O, meta: Meta, pipeline: Pipeline) -> Tap<O> {
        Tap { options, meta, pipeline }
    }

    pub fn event(&mut self, event: &Event<'_>) {
        self.pipeline.event(event);
    }
}

/// The directives of a source, at most 64.
pub struct Taps<O> {
    slots: Vec<Option<Tap<O>>>,
    mask: u64,
    /// Behind the bit that was given last.
    next: u32,
}

impl<O> Default for Taps<O> {
    fn default() -> Taps<O> {
        Taps { slots: Vec::new(), mask: 0, next: 0 }
    }
}

impl<O> Taps<O> {
    /// The bit that the next directive gets: one that nobody has had for as long as can be, since the kernel may hold it
    /// yet of sockets whose owner is gone. None when all 64 are taken.
    pub fn free_bit(&self) -> Option<u32> {
        (0..64).map(|at| (self.next + at) % 64).find(|&bit| self.slots.get(bit as usize).is_none_or(Option::is_none))
    }

    pub fn insert(&mut self, bit: u32, tap: Tap<O>) {
        let at = bit as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots[at] = Some(tap);
        self.mask |= 1 << bit;
        self.next = (bit + 1) % 64;
    }

    pub fn remove(&mut self, bit: u32) -> Option<Tap<O>> {
        let tap = self.slots.get_mut(bit as usize)?.take()?;
        self.mask &= !(1 << bit);
        Some(tap)
    }

    pub fn get(&self, bit: u32) -> Option<&Tap<O>> {
        self.slots.get(bit as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, bit: u32) -> Option<&mut Tap<O>> {
        self.slots.get_mut(bit as usize)?.as_mut()
    }

    /// Bits of the directives that there are.
    #[inline]
    pub fn mask(&self) -> u64 {
        self.mask
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Tap<O>)> {
        self.slots.iter().enumerate().filter_map(|(bit, slot)| Some((bit as u32, slot.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Tap<O>)> {
        self.slots.iter_mut().enumerate().filter_map(|(bit, slot)| Some((bit as u32, slot.as_mut()?)))
    }

    /// Calls `each` with the taps whose bits are in a mask.
    #[inline]
    pub fn each_of(&mut self, mut mask: u64, mut each: impl FnMut(u32, &mut Tap<O>)) {
        while mask != 0 {
            let bit = mask.trailing_zeros();
            mask &= mask - 1;
            if let Some(Some(tap)) = self.slots.get_mut(bit as usize) {
                each(bit, tap);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_that_has_become_free_is_given_again_as_late_as_can_be() {
        let mut taps = Taps::<()>::default();
        let insert = |taps: &mut Taps<()>| {
            let bit = taps.free_bit()?;
            taps.insert(bit, Tap::new((), Meta::default(), Pipeline::default()));
            Some(bit)
        };
        assert_eq!(insert(&mut taps), Some(0));
        for bit in 1..64 {
            assert_eq!(insert(&mut taps), Some(bit));
            assert!(taps.remove(bit).is_some());
        }
        assert_eq!([(); 2].map(|()| insert(&mut taps)), [Some(1), Some(2)], "the first is taken yet");
        while taps.mask() != u64::MAX {
            insert(&mut taps).expect("there are free ones");
        }
        assert_eq!(insert(&mut taps), None);
    }
}
