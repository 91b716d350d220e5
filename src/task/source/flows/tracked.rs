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
#[repr(C)] // in this order: what a claim changes comes first, and stands close together
pub struct Tracked {
    /// Directives that want it and whose filter lets it through.
    pub mask: u64,
    /// Directives whose filter keeps it from them, each counted once.
    pub filtered: u64,
    /// Directives that were told that it started.
    pub announced: u64,
    /// The time of the newest event, nanoseconds of CLOCK_MONOTONIC.
    pub newest: u64,
    pub owner: Option<Rc<Process>>,
    /// Whether the thread is among those that are counted.
    pub thread_counted: bool,
    /// What the kernel told last.
    pub kernel: abi::Flow,
    /// The next flow of the same UDP socket; 0 ends the chain.
    pub next_of_socket: u64,
    /// The one before it; 0 at the chain's beginning.
    pub before_of_socket: u64,
}

impl Tracked {
    pub fn new(kernel: &abi::Flow) -> Tracked {
        Tracked {
            kernel: *kernel,
            owner: None,
            mask: 0,
            filtered: 0,
            announced: 0,
            newest: kernel.header.time,
            next_of_socket: 0,
            before_of_socket: 0,
            thread_counted: false,
        }
    }

    pub fn is_udp(&self) -> bool {
        self.kernel.protocol == UDP
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
            statistics: (state != State::Started).then_some(Statistics {
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
            process: owner.and_then(|owner| metadata::process(owner, (kernel.tid != 0).then_some(kernel.tid), meta)),
            container: owner.and_then(|owner| metadata::container(owner, meta)),
            pod: owner.and_then(|owner| metadata::pod(owner, meta)),
        }
    }

    fn net(&self) -> Net {
        let local = address(&self.kernel.local);
        Net {
            local: (!local.to_canonical().is_unspecified()).then_some(local),
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

pub const UDP: u8 = 17;
/// TAWON_CLOSE_ERROR.
const ERROR: u8 = 7;
