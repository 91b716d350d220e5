//! `Assembler`: frames to the bytes of flows. TCP streams come in order per flow and direction, UDP
//! datagrams as they are; IP fragments and tunnels are undone on the way. Bounded in flows and bytes:
//! over it the flow used least recently goes, counted. It gets frames and time and reads no clock.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::decode::Error;
use crate::decode::ip::protocol;
use crate::decode::layers::{Layer, Layers};
use crate::decode::plain::{Plain, mapped, plain};
use crate::decode::tcp::{Flags, Tcp};
use crate::flow::FlowEnd;
use crate::flow::connection::Connection;
use crate::flow::fragments::{FragmentKey, Fragments};
use crate::flow::key::FlowKey;
use crate::flow::reassembly::{self, Patience};
use crate::flow::seeded::Seeded;
use crate::flow::segment::{Segment, Told};
use crate::flow::table::{Id, Table};
use crate::time::Instant;

/// Which flows are wanted; the others cost no state.
#[derive(Clone, Debug)]
pub struct Select {
    pub tcp: bool,
    pub udp: bool,
    /// Flows with one of these ports at either end; all where it is empty.
    pub ports: Box<[u16]>,
}

impl Default for Select {
    fn default() -> Select {
        Select { tcp: true, udp: true, ports: Box::new([]) }
    }
}

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub flows: usize,
    /// Of the table, held bytes included.
    pub bytes: usize,
    pub patience: Patience,
    /// After which a connection without packets is given up.
    pub tcp_idle: Duration,
    pub udp_idle: Duration,
    /// How long an ended connection is kept, so that its late packets are known.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            flows: 65_536,
            bytes: 256 << 20,
            patience: Patience::default(),
            tcp_idle: Duration::from_secs(300),
            udp_idle: Duration::from_secs(60),
            linger: Duration::from_secs(10),
        }
    }
}

/// What happened on the way, counted up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    pub frames: u64,
    /// Frames whose headers the capture cut.
    pub truncated: u64,
    /// Frames whose headers break their protocol.
    pub malformed: u64,
    /// Frames that carry neither TCP nor UDP.
    pub other: u64,
    /// Flows evicted to make room.
    pub evicted: u64,
    pub streams: reassembly::Counts,
}

/// Turns frames into the bytes of flows.
pub struct Assembler {
    select: Select,
    limits: Limits,
    flows: Flows,
    /// The flow of the last packet: the next is often of the same.
    last: Id,
    fragments: Fragments,
    held: usize,
    /// Flows with a hole, each once, by key and number, with the time to look at them again.
    holes: VecDeque<(Instant, FlowKey, u64)>,
    counts: Counts,
}

type Flows = Table<FlowKey, Flow, 3, Seeded>;

struct Flow {
    told: Told,
    last: Instant,
    /// Whether it stands in `holes`.
    waits: bool,
    /// None of a UDP flow.
    connection: Option<Connection>,
}

/// A packet's place, IPv4 mapped.
#[derive(Clone, Copy)]
struct Addresses {
    src: u128,
    dst: u128,
}

impl Assembler {
    pub fn new(select: Select, limits: Limits) -> Assembler {
        Assembler {
            select,
            limits,
            flows: Flows::with_room(limits.flows),
            last: Id::NOWHERE,
            fragments: Fragments::default(),
            held: 0,
            holes: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a frame, `wire_length` bytes long before the capture cut it; what its flow has in order
    /// now goes to `sink`.
    pub fn push(
        &mut self,
        link_type: u16,
        bytes: &[u8],
        wire_length: usize,
        at: Instant,
        sink: &mut impl FnMut(&Segment<'_>),
    ) {
        self.counts.frames += 1;
        if let Some(Plain { src, dst, tcp }) = plain(link_type, bytes) {
            return self.tcp(Addresses { src, dst }, &tcp, 0, at, sink);
        }
        self.walk(Layers::new(link_type, bytes, wire_length), None, 0, at, sink);
    }

    /// Time has passed: gives up holes and flows that waited for too long.
    pub fn tick(&mut self, now: Instant, sink: &mut impl FnMut(&Segment<'_>)) {
        self.fragments.tick(now);
        for (list, idle) in [(TCP, self.limits.tcp_idle), (UDP, self.limits.udp_idle), (CLOSED, self.limits.linger)] {
            while self.flows.oldest(list).is_some_and(|(_, flow)| now.since(flow.last) >= idle) {
                self.give_up_oldest(list, now, sink);
            }
        }
        while self.holes.front().is_some_and(|&(due, ..)| due <= now)
            && let Some((_, key, id)) = self.holes.pop_front()
        {
            self.look_again(key, id, now, sink);
        }
    }

    /// When `tick` next has something to do that cannot wait for a second.
    pub fn deadline(&self) -> Option<Instant> {
        self.holes.front().map(|&(due, ..)| due)
    }

    /// Gives out all that is held; no flow is said to end by this.
    pub fn finish(&mut self, now: Instant, sink: &mut impl FnMut(&Segment<'_>)) {
        let (patience, counts) = (&self.limits.patience, &mut self.counts.streams);
        for (key, Flow { told, connection, .. }) in self.flows.iter_mut() {
            if let Some(connection) = connection {
                connection.settle(now, true, patience, counts, &mut |side, piece| told.piece(key, side, piece, sink));
            }
        }
        self.held = 0;
    }

    /// Flows that are not over.
    pub fn len(&self) -> usize {
        self.flows.list_len(TCP) + self.flows.list_len(UDP)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that flows take, held ones included.
    pub fn bytes(&self) -> usize {
        self.held + self.flows.len() * Flows::ENTRY_BYTES
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn fragments(&self) -> &Fragments {
        &self.fragments
    }

    fn walk(
        &mut self,
        mut layers: Layers<'_>,
        mut addresses: Option<Addresses>,
        reassembled: u8,
        at: Instant,
        sink: &mut impl FnMut(&Segment<'_>),
    ) {
        // a datagram is one only if it carries no packet of its own
        let mut datagram = None;
        let mut fragment_of = None;
        let mut failed = false;
        while let Some(layer) = layers.next() {
            let fragment = match layer {
                Ok(Layer::Ipv4(ip)) => {
                    datagram = None;
                    addresses = Some(Addresses { src: mapped(ip.src()), dst: mapped(ip.dst()) });
                    ip.fragment().map(|fragment| (fragment, ip.protocol(), ip.protocol(), false))
                }
                Ok(Layer::Ipv6(ip)) => {
                    datagram = None;
                    addresses = Some(Addresses { src: ip.src().to_bits(), dst: ip.dst().to_bits() });
                    None
                }
                Ok(Layer::Extension(extension)) => extension
                    .fragment()
                    .filter(|fragment| !fragment.is_atomic())
                    .map(|fragment| (fragment, 0, extension.next_header(), true)),
                Ok(Layer::Tcp(tcp)) => {
                    if let Some(addresses) = addresses {
                        self.tcp(addresses, &tcp, layers.missing(), at, sink);
                    }
                    return;
                }
                Ok(Layer::Udp(udp)) => {
                    let (ports, bytes) = ((udp.src_port(), udp.dst_port()), layers.payload());
                    datagram = Some((ports, bytes, layers.missing()));
                    None
                }
                Ok(_) => None,
                Err(error) => {
                    match error {
                        Error::Truncated => self.counts.truncated += 1,
                        Error::Malformed => self.counts.malformed += 1,
                    }
                    failed = true;
                    break;
                }
            };
            if let (Some((fragment, protocol, next, v6)), Some(Addresses { src, dst })) = (fragment, addresses) {
                let (src, dst) = (Ipv6Addr::from_bits(src), Ipv6Addr::from_bits(dst));
                let key = FragmentKey { src, dst, protocol, id: fragment.id };
                fragment_of = Some((key, fragment, next, v6));
                break;
            }
        }
        if let Some((key, fragment, next, v6)) = fragment_of {
            let (bytes, cut) = (layers.payload(), layers.missing() > 0);
            if reassembled == REASSEMBLED {
                self.counts.malformed += 1;
            } else if let Some(whole) = self.fragments.push(key, fragment, next, bytes, cut, at) {
                let layers = Layers::reassembled(whole.protocol, v6, &whole.bytes, layers.tunnels());
                self.walk(layers, addresses, reassembled + 1, at, sink);
                self.fragments.recycle(whole.bytes);
            }
        } else if let (Some((ports, bytes, missing)), Some(addresses)) = (datagram, addresses) {
            self.udp(addresses, ports, bytes, missing, at, sink);
        } else if !failed {
            self.counts.other += 1;
        }
    }

    fn selects(&self, wanted: bool, ports: (u16, u16)) -> bool {
        let among = &self.select.ports;
        wanted && (among.is_empty() || among.contains(&ports.0) || among.contains(&ports.1))
    }

    fn udp(
        &mut self,
        addresses: Addresses,
        ports: (u16, u16),
        bytes: &[u8],
        missing: usize,
        at: Instant,
        sink: &mut impl FnMut(&Segment<'_>),
    ) {
        if !self.selects(self.select.udp, ports) {
            return;
        }
        let (key, from_low) = FlowKey::new(protocol::UDP, (addresses.src, ports.0), (addresses.dst, ports.1));
        let id = match self.flows.touch_guess(&key, self.last) {
            Some(id) => id,
            None => {
                let id = key.flow_id(at, 0);
                self.insert(key, Flow::new(&key, id, from_low, at, None), UDP, at, sink)
            }
        };
        self.last = id;
        let Some(flow) = self.flows.at(id) else { return };
        flow.last = at;
        flow.told.datagram(&key, from_low, bytes, missing, sink);
    }

    fn tcp(
        &mut self,
        addresses: Addresses,
        tcp: &Tcp<'_>,
        missing: usize,
        at: Instant,
        sink: &mut impl FnMut(&Segment<'_>),
    ) {
        if !self.selects(self.select.tcp, (tcp.src_port(), tcp.dst_port())) {
            return;
        }
        let (key, from_low) =
            FlowKey::new(protocol::TCP, (addresses.src, tcp.src_port()), (addresses.dst, tcp.dst_port()));
        let mut known = self.flows.touch_guess(&key, self.last);
        if tcp.flags().has(Flags::SYN) && self.is_anew(known, from_low, tcp) {
            self.give_up(&key, at, sink);
            known = None;
        }
        let id = match known {
            Some(id) => id,
            // what carries nothing makes no flow: late acknowledgements and resets of ended ones
            None if !tcp.flags().has(Flags::SYN) && tcp.payload().is_empty() && missing == 0 => return,
            None => self.begin(key, from_low, tcp, at, sink),
        };
        self.last = id;
        let Some(Flow { told, last, waits, connection: Some(connection) }) = self.flows.at(id) else { return };
        *last = at;
        let was_over = connection.is_over();
        let (held, side) = (connection.held_bytes(), told.side(from_low));
        let (patience, counts) = (&self.limits.patience, &mut self.counts.streams);
        connection
            .packet(side, tcp, missing, at, patience, counts, &mut |side, piece| told.piece(&key, side, piece, sink));
        self.held = self.held + connection.held_bytes() - held;
        if connection.has_hole() && !*waits {
            *waits = true;
            self.holes.push_back((at + LOOK_AGAIN, key, told.id));
        }
        if connection.is_over() && !was_over {
            self.flows.shift(&key, CLOSED);
        }
        if self.held > 0 {
            self.make_room(0, at, sink);
        }
    }

    fn is_anew(&mut self, known: Option<Id>, from_low: bool, tcp: &Tcp<'_>) -> bool {
        known.and_then(|id| self.flows.at(id)).is_some_and(|flow| {
            let side = flow.told.side(from_low);
            flow.connection.as_mut().is_some_and(|connection| connection.is_replaced_by(side, tcp))
        })
    }

    fn begin(
        &mut self,
        key: FlowKey,
        from_low: bool,
        tcp: &Tcp<'_>,
        at: Instant,
        sink: &mut impl FnMut(&Segment<'_>),
    ) -> Id {
        let flags = tcp.flags();
        // who answers a SYN did not send it
        let tx_from_low = from_low != (flags.has(Flags::SYN) && flags.has(Flags::ACK));
        let mut flow = Flow::new(&key, key.flow_id(at, tcp.seq()), tx_from_low, at, Some(Connection::default()));
        flow.told.start = flags.has(Flags::SYN);
        self.insert(key, flow, TCP, at, sink)
    }

    fn insert(
        &mut self,
        key: FlowKey,
        flow: Flow,
        list: usize,
        at: Instant,
        sink: &mut impl FnMut(&Segment<'_>),
    ) -> Id {
        self.make_room(1, at, sink);
        self.flows.insert(key, flow, list)
    }

    /// Evicts until there is room for so many flows more: ended ones, then UDP, whose flows hold no
    /// more than a number, then TCP.
    fn make_room(&mut self, more: usize, at: Instant, sink: &mut impl FnMut(&Segment<'_>)) {
        while self.flows.len() + more > self.limits.flows || self.bytes() > self.limits.bytes {
            let Some(list) = [CLOSED, UDP, TCP].into_iter().find(|&list| self.flows.list_len(list) > 0) else { return };
            self.counts.evicted += u64::from(list != CLOSED);
            self.give_up_oldest(list, at, sink);
        }
    }

    fn give_up_oldest(&mut self, list: usize, at: Instant, sink: &mut impl FnMut(&Segment<'_>)) {
        if let Some(key) = self.flows.oldest(list).map(|(key, _)| *key) {
            self.give_up(&key, at, sink);
        }
    }

    fn give_up(&mut self, key: &FlowKey, at: Instant, sink: &mut impl FnMut(&Segment<'_>)) {
        let Some(Flow { mut told, connection: Some(mut connection), .. }) = self.flows.remove(key) else { return };
        self.held -= connection.held_bytes();
        let (patience, counts) = (&self.limits.patience, &mut self.counts.streams);
        connection.close(FlowEnd::Close, at, patience, counts, &mut |side, piece| told.piece(key, side, piece, sink));
    }

    fn look_again(&mut self, key: FlowKey, id: u64, now: Instant, sink: &mut impl FnMut(&Segment<'_>)) {
        let Some(Flow { told, waits, connection: Some(connection), .. }) = self.flows.get_mut(&key) else { return };
        // another flow of the same key stands in the queue for itself
        if told.id != id {
            return;
        }
        let held = connection.held_bytes();
        let (patience, counts) = (&self.limits.patience, &mut self.counts.streams);
        connection.settle(now, false, patience, counts, &mut |side, piece| told.piece(&key, side, piece, sink));
        self.held = self.held + connection.held_bytes() - held;
        *waits = connection.has_hole();
        if *waits {
            self.holes.push_back((now + LOOK_AGAIN, key, id));
        }
    }
}

impl Flow {
    fn new(key: &FlowKey, id: u64, tx_from_low: bool, at: Instant, connection: Option<Connection>) -> Flow {
        let told = Told::new(id, tx_from_low, key.ends(tx_from_low));
        Flow { told, last: at, waits: false, connection }
    }
}

/// The lists of the table.
const TCP: usize = 0;
const UDP: usize = 1;
const CLOSED: usize = 2;
/// How often what was put together from fragments may be a fragment itself.
const REASSEMBLED: u8 = 4;
/// After which a hole is looked at again though no packet of its flow came.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
