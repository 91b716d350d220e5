//! What is kept of an open flow.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use super::record::{FlowRecord, State, Statistics, Way};
use crate::kernel::abi;
use crate::process::Process;
use crate::process::metadata::{self, Meta, Text};
use crate::task::record::{Hex64, Net};
use crate::time::Offsets;

/// An open flow.
#[derive(Clone)]
#[repr(C)] // in this order: all that a claim needs lies with the number in one cache line
pub struct Tracked {
    /// Directives that want it and whose filter lets it through.
    pub mask: u64,
    /// Directives that were told that it started.
    pub announced: u64,
    /// The time of the newest event, nanoseconds of CLOCK_MONOTONIC.
    pub newest: u64,
    pub owner: Option<Rc<Process>>,
    /// The owner's start; 0: no owner.
    pub start: u64,
    /// The owner.
    pub tgid: u32,
    /// The thread that claimed it; 0: unknown.
    pub tid: u32,
    /// When it came, in units of `COARSE`.
    came: u32,
    pub claimed: Claimed,
    /// Whether the thread is among those that are counted.
    pub thread_counted: bool,
    /// Whether it was claimed so late that it is younger than others that came after it.
    pub used: bool,
    /// Whether it is of UDP, or a filter keeps it from a directive: what lies behind this has a say, too.
    pub special: bool,
    /// Directives whose filter keeps it from them, each counted once.
    filtered: u64,
    /// What the kernel told last, but for the owner and who wants it.
    pub kernel: abi::Flow,
    /// The next flow of the same UDP socket; 0 ends the chain.
    pub next_of_socket: u64,
    /// The one before it; 0 at the chain's beginning.
    pub before_of_socket: u64,
}

/// Whether an owner is known, or known to be of no interest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claimed {
    Not,
    /// By a process of which the kernel side did not know yet who wants it.
    Pending,
    By,
}

impl Claimed {
    pub fn by(header: &abi::Header) -> Claimed {
        if header.flags & PENDING == 0 { Claimed::By } else { Claimed::Pending }
    }

    fn of(kernel: &abi::Flow) -> Claimed {
        if kernel.claimed == 0 { Claimed::Not } else { Claimed::by(&kernel.header) }
    }
}

impl Tracked {
    pub fn new(kernel: &abi::Flow) -> Tracked {
        Tracked {
            kernel: *kernel,
            owner: None,
            start: kernel.process_start,
            tgid: kernel.tgid,
            tid: kernel.tid,
            claimed: Claimed::of(kernel),
            mask: 0,
            filtered: 0,
            announced: 0,
            newest: kernel.header.time,
            came: coarse(kernel.header.time),
            used: false,
            special: kernel.protocol == UDP,
            next_of_socket: 0,
            before_of_socket: 0,
            thread_counted: false,
        }
    }

    /// The kernel told of it whole, its owner included.
    pub fn tell(&mut self, kernel: &abi::Flow) {
        self.kernel = *kernel;
        (self.tgid, self.tid, self.start) = (kernel.tgid, kernel.tid, kernel.process_start);
        self.claimed = Claimed::of(kernel);
    }

    /// The kernel told what its statistics are now.
    pub fn refresh(&mut self, kernel: &abi::Flow) {
        // It was told of a change that came behind that.
        if kernel.header.time < self.newest {
            return;
        }
        self.kernel = abi::Flow { header: self.kernel.header, ..*kernel };
        if self.claimed == Claimed::Not {
            self.claimed = Claimed::of(&self.kernel);
        }
    }

    /// It was claimed at a time of CLOCK_MONOTONIC. What is established is accepted in about the order in
    /// which it came, so that this makes it younger only if it had been there for a second or two.
    #[inline]
    pub fn note_use(&mut self, time: u64) {
        self.used |= coarse(time).wrapping_sub(self.came) > 1;
    }

    /// Directives whose filter keeps it from them.
    #[inline]
    pub fn filtered(&self) -> u64 {
        if self.special { self.look_behind() } else { 0 }
    }

    #[cold] // and not inlined, or the field is read, and its cache line waited for, in any case
    #[inline(never)]
    fn look_behind(&self) -> u64 {
        self.filtered
    }

    /// The filter of a directive keeps it from that.
    pub fn filter(&mut self, bit: u32) {
        self.filtered |= 1 << bit;
        self.mask &= !self.filtered;
        self.special = true;
    }

    /// Nothing is known of a directive any more.
    pub fn forget(&mut self, bits: u64) {
        self.mask &= !bits;
        self.filtered &= !bits;
        self.announced &= !bits;
    }

    #[inline]
    pub fn is_udp(&self) -> bool {
        self.special && self.has_protocol(UDP)
    }

    #[cold] // see `look_behind`
    #[inline(never)]
    fn has_protocol(&self, protocol: u8) -> bool {
        self.kernel.protocol == protocol
    }

    /// Who sends first and who receives that: what filters call src and dst.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        let local = SocketAddr::new(address(&self.kernel.local), self.kernel.local_port);
        let peer = SocketAddr::new(address(&self.kernel.peer), self.kernel.peer_port);
        match Way::from_kernel(self.kernel.direction) {
            Some(Way::Inbound) => (peer, local),
            _ => (local, peer),
        }
    }

    /// Whether there are addresses to speak of.
    pub fn has_socket(&self) -> bool {
        self.kernel.family != 0 && self.kernel.peer_port != 0
    }

    /// The key of what the kernel counts for a UDP flow.
    pub fn peer_key(&self) -> abi::PeerKey {
        abi::PeerKey { sock: self.kernel.sock, peer: self.kernel.peer, peer_port: self.kernel.peer_port, pad: [0; 3] }
    }

    /// Takes over what the kernel counted for a UDP flow.
    pub fn count(&mut self, peer: &abi::Peer) {
        self.kernel.bytes_rx = peer.bytes_rx;
        self.kernel.bytes_tx = peer.bytes_tx;
        self.kernel.segs_rx = peer.segs_rx;
        self.kernel.segs_tx = peer.segs_tx;
    }

    /// The record of a state, at a time of CLOCK_MONOTONIC.
    pub fn record(&self, state: State, at: u64, meta: Meta, offsets: Offsets) -> FlowRecord<'_> {
        let kernel = &self.kernel;
        let tcp = !self.is_udp();
        let known = |time: u64| (time != 0).then(|| offsets.wall(time));
        let ended = state == State::Ended;
        let congestion = kernel.congestion.split(|&byte| byte == 0).next().unwrap_or_default();
        let owner = self.owner.as_deref();
        FlowRecord {
            flow: Hex64(kernel.flow),
            state,
            ts_ns: offsets.wall(at).0,
            mono_ns: at,
            started_at: known(kernel.started),
            established_at: known(kernel.established),
            ended_at: known(kernel.ended).filter(|_| ended),
            direction: Way::from_kernel(kernel.direction),
            // Where neither the end nor a look before it has told of them, nobody knows.
            statistics: (state != State::Started && (kernel.segs_rx, kernel.segs_tx) != (0, 0)).then_some(Statistics {
                bytes_rx: kernel.bytes_rx,
                bytes_tx: kernel.bytes_tx,
                segs_rx: kernel.segs_rx,
                segs_tx: kernel.segs_tx,
                retrans_tx: tcp.then_some(kernel.retrans_tx),
                rtt_us: (kernel.rtt_us != 0).then_some(kernel.rtt_us),
                min_rtt_us: (!matches!(kernel.min_rtt_us, 0 | u32::MAX)).then_some(kernel.min_rtt_us),
            }),
            close_reason: super::record::CloseReason::from_kernel(kernel.reason).filter(|_| ended && kernel.ended != 0),
            errno: (ended && kernel.reason == ERROR && kernel.error != 0).then_some(kernel.error),
            congestion: Text::new(congestion),
            mark: (kernel.mark != 0).then_some(kernel.mark),
            cookie: (kernel.cookie != 0).then_some(Hex64(kernel.cookie)),
            net: self.has_socket().then(|| self.net()),
            process: owner.and_then(|owner| metadata::process(owner, (self.tid != 0).then_some(self.tid), meta)),
            container: owner.and_then(|owner| metadata::container(owner, meta)),
            pod: owner.and_then(|owner| metadata::pod(owner, meta)),
        }
    }

    fn net(&self) -> Net {
        let local = address(&self.kernel.local);
        Net {
            local: (self.kernel.wildcard == 0 && !local.to_canonical().is_unspecified()).then_some(local),
            local_port: self.kernel.local_port,
            peer: SocketAddr::new(address(&self.kernel.peer), self.kernel.peer_port),
            proto: self.kernel.protocol,
            netns: (self.kernel.netns != 0).then_some(self.kernel.netns),
            packet: false,
        }
    }
}

fn address(bytes: &[u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical()
}

/// The unit of `Tracked::came`.
fn coarse(time: u64) -> u32 {
    (time / COARSE) as u32
}

/// Nanoseconds.
const COARSE: u64 = 1 << 30;
/// TAWON_F_PENDING.
const PENDING: u16 = 1;
pub const UDP: u8 = 17;
/// TAWON_CLOSE_ERROR.
const ERROR: u8 = 7;
