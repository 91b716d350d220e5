//! UDP flows: one per socket and peer, in chains by socket. They have no end of their own: a closed
//! socket ends all of its flows, and silence each.

use std::time::Duration;

use super::engine::{CLAIMED_WITHIN, Engine, UDP_LIST};
use super::options::UDP_IDLE;
use super::tracked::{Claimed, Tracked};
use crate::kernel::abi;
use crate::task::source::World;
use crate::time::Instant;

impl Engine {
    /// The first datagram between a socket and a peer.
    pub(super) fn datagram(&mut self, kernel: &abi::Flow, world: &mut World<'_>) {
        let mut flow = Tracked::new(kernel);
        if kernel.claimed != 0 {
            self.desk().own(&mut flow, kernel.header.mask, world);
            // Kept also if nobody wants it: were the kernel side to forget it, its next datagram would be the first again.
            self.desk().announce(&mut flow, kernel.header.time, world);
        } else {
            self.unclaimed.push_back((Instant(kernel.header.time) + CLAIMED_WITHIN, kernel.flow));
        }
        self.insert(flow, UDP_LIST, world);
        // Only now, since to make room the table may have evicted the one that was first.
        let first = self.sockets.insert(kernel.sock, kernel.flow).unwrap_or_default();
        if let Some(second) = self.table.get_mut(&first) {
            second.before_of_socket = kernel.flow;
            if let Some(flow) = self.table.get_mut(&kernel.flow) {
                flow.next_of_socket = first;
            }
        }
    }

    /// A socket was closed.
    pub(super) fn release(&mut self, claim: &abi::Claim, world: &mut World<'_>) {
        let first = self.sockets.remove(&claim.sock).unwrap_or_default();
        let rest = self.end_chain(first, claim.header.time, UDP_LOOKS, world);
        if rest != 0 {
            self.released.push_back((claim.header.time, rest));
        }
    }

    /// Goes on with sockets that were closed, and ends what has been silent for `udpIdle`.
    pub(super) fn tick_udp(&mut self, world: &mut World<'_>) {
        if let Some((closed, next)) = self.released.pop_front() {
            let rest = self.end_chain(next, closed, UDP_LOOKS, world);
            if rest != 0 {
                self.released.push_front((closed, rest));
            }
        }
        let idle = self.udp_idle();
        let mut looked = 0;
        while let Some((&number, flow)) = self.table.oldest(UDP_LIST) {
            let quiet_until = Instant(flow.newest) + idle;
            if quiet_until > world.now || looked == UDP_LOOKS {
                break;
            }
            looked += 1;
            match world.sockets.peer(&flow.peer_key()) {
                Some(peer) if Instant(peer.last) + idle > world.now => {
                    self.table.touch(&number);
                    if let Some(flow) = self.table.get_mut(&number) {
                        flow.newest = peer.last;
                    }
                }
                peer => self.end_udp(number, peer, None, world),
            }
        }
    }

    /// When `tick_udp` has something to do.
    pub(super) fn udp_deadline(&self) -> Option<Instant> {
        let idle = self.table.oldest(UDP_LIST).map(|(_, flow)| Instant(flow.newest) + self.udp_idle());
        let released = self.released.front().map(|_| Instant(0));
        idle.into_iter().chain(released).min()
    }

    /// Ends the flows of a closed UDP socket, at most `limit`, each of which takes system calls. Says
    /// where the rest begins; 0 where there is none.
    fn end_chain(&mut self, mut next: u64, closed: u64, limit: usize, world: &mut World<'_>) -> u64 {
        for _ in 0..limit {
            let Some(flow) = self.table.get(&next) else { return 0 };
            let (number, peer) = (next, world.sockets.peer(&flow.peer_key()));
            next = flow.next_of_socket;
            self.end_udp(number, peer, Some(closed), world);
        }
        if self.table.get(&next).is_some() { next } else { 0 }
    }

    fn end_udp(&mut self, number: u64, peer: Option<abi::Peer>, closed: Option<u64>, world: &mut World<'_>) {
        let Some(mut flow) = self.take(number, world) else { return };
        if let Some(peer) = &peer {
            flow.count(peer);
            flow.kernel.ended = closed.unwrap_or(peer.last);
        } else {
            flow.kernel.ended = closed.unwrap_or(flow.newest);
        }
        world.sockets.forget_peer(&flow.peer_key());
        self.unchain(&flow);
        let at = closed.unwrap_or(world.now.0);
        if flow.claimed == Claimed::Not && flow.announced == 0 {
            self.desk().own(&mut flow, 0, world);
            self.desk().announce(&mut flow, at, world);
        }
        self.finish(&mut flow, at, world);
    }

    /// Takes a UDP flow out of its socket's chain.
    pub(super) fn unchain(&mut self, flow: &Tracked) {
        let (before, next) = (flow.before_of_socket, flow.next_of_socket);
        self.claims.unchain(flow);
        if let Some(after) = self.table.get_mut(&next) {
            after.before_of_socket = before;
        }
        if let Some(ahead) = self.table.get_mut(&before) {
            ahead.next_of_socket = next;
        } else if self.sockets.get(&flow.kernel.sock) == Some(&flow.kernel.flow) {
            match next {
                0 => drop(self.sockets.remove(&flow.kernel.sock)),
                next => drop(self.sockets.insert(flow.kernel.sock, next)),
            }
        } else if let Some((_, first)) = self.released.iter_mut().find(|(_, first)| *first == flow.kernel.flow) {
            *first = next;
        }
    }

    fn udp_idle(&self) -> Duration {
        self.taps.iter().map(|(_, tap)| tap.options.udp_idle).max().unwrap_or(UDP_IDLE)
    }
}

/// UDP flows that one tick looks at, each a system call.
const UDP_LOOKS: usize = 256;
