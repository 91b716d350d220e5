//! Ring records of `flows` to the flow table and to records, in order of time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::claims::Claims;
use super::desk::{Counts, Desk, tell};
use super::listeners::Listeners;
use super::options::Options;
use super::record::State;
use super::sequence::Sequence;
use super::tracked::{Claimed, Tracked};
use super::work::Work;
use crate::flow::number::BuildNumber;
use crate::flow::table::{Id, Table};
use crate::kernel::abi;
use crate::kernel::cache;
use crate::metrics::Metrics;
use crate::task::source::{Taps, World};
use crate::time::Instant;

/// Open flows by number, which the kernel gives.
pub(super) type Flows = Table<u64, Tracked, LISTS, BuildNumber>;

/// The `flows` source.
pub struct Engine {
    pub taps: Taps<Options>,
    pub(super) table: Flows,
    sequence: Sequence,
    pub(super) limit: usize,
    pub(super) evictions: u64,
    /// Records since these were last added to what is counted.
    messages: u64,
    /// UDP sockets: the first of each one's flows.
    pub(super) sockets: HashMap<u64, u64, BuildNumber>,
    /// Flows that nobody has claimed yet, in the order of when that is given up.
    pub(super) unclaimed: VecDeque<(Instant, u64)>,
    /// Closed UDP sockets whose flows have not all been told of: when, and the first of the rest.
    pub(super) released: VecDeque<(u64, u64)>,
    /// UDP sockets whose flows have not all been claimed for whoever claimed them.
    pub(super) claims: Claims,
    pub(super) threads: HashMap<u32, u32, BuildNumber>,
    pub(super) listeners: Listeners,
    /// Flows that nobody wants, whose ends may be on their way all the same, and until when.
    pub(super) dropped: HashSet<u64, BuildNumber>,
    pub(super) dropped_until: VecDeque<(Instant, u64)>,
    /// What takes more than a turn, in the order in which it was asked for.
    pub(super) works: VecDeque<Work>,
    /// Directives that have just come: what they want of what was open before is not decided for every
    /// flow yet.
    pub(super) joining: u64,
    /// Directives that are ending: they are told of what is open, and get nothing new.
    pub(super) leaving: u64,
    /// Walks over sockets that are older than the agent, not back yet, and what ended meanwhile.
    pub(super) walks: u32,
    pub(super) ended_unseen: HashSet<u64, BuildNumber>,
    pub(super) counts: Counts,
}

impl Engine {
    /// At most `limit` flows are kept.
    pub fn new(metrics: &Metrics, limit: usize) -> Engine {
        Engine {
            taps: Taps::default(),
            table: Flows::with_room(limit),
            sequence: Sequence::default(),
            limit: limit.max(1),
            evictions: 0,
            messages: 0,
            sockets: HashMap::default(),
            unclaimed: VecDeque::new(),
            released: VecDeque::new(),
            claims: Claims::default(),
            threads: HashMap::default(),
            listeners: Listeners::default(),
            dropped: HashSet::default(),
            dropped_until: VecDeque::new(),
            works: VecDeque::new(),
            joining: 0,
            leaving: 0,
            walks: 0,
            ended_unseen: HashSet::default(),
            counts: Counts::new(metrics),
        }
    }

    /// One record of the ring. Records of all rings come in order of time.
    #[inline]
    pub fn record(&mut self, bytes: &[u8], world: &mut World<'_>) {
        self.record_at(bytes, Id::NOWHERE.number(), world);
    }

    /// The same where `note` and `fetch` have been called for it.
    #[inline]
    pub fn record_at(&mut self, bytes: &[u8], hint: u32, world: &mut World<'_>) {
        self.messages += 1;
        match abi::kind(bytes) {
            CLAIMED => match abi::read::<abi::Claim>(bytes) {
                Some(claim) if claim.flow != 0 => self.claim_flow(claim.flow, Id::from_number(hint), &claim, world),
                _ => self.socket(bytes, world),
            },
            RELEASED | UNLISTENED => self.socket(bytes, world),
            _ => self.flow(bytes, world),
        }
    }

    /// A record is going to come: gives what to call `fetch` with, and has memory fetched that this needs.
    #[inline]
    pub fn note(&self, bytes: &[u8]) -> u32 {
        if self.sequence.holds() && abi::kind(bytes) == CLAIMED {
            return IN_SEQUENCE;
        }
        let Some(number) = number(bytes) else { return 0 };
        let noted = self.table.note(&number);
        self.table.fetch_place(noted, cache::fetch);
        noted
    }

    /// The record is one of the next: has memory fetched that it is going to need, and gives the hint to
    /// call `record_at` with.
    #[inline]
    pub fn fetch(&self, noted: u32) -> u32 {
        let guess = if noted == IN_SEQUENCE {
            let next = self.sequence.guess();
            self.table.fetch_entry(next, cache::fetch);
            next
        } else {
            let guess = self.table.guess(noted, cache::fetch);
            self.sequence.asked(guess);
            guess
        };
        guess.number()
    }

    /// Time has passed: what nobody claimed within a second is told of as nobody's; UDP flows without
    /// datagrams for `udpIdle` end.
    pub fn tick(&mut self, world: &mut World<'_>) {
        for _ in 0..UNCLAIMED_LOOKS {
            let Some(&(_, number)) = self.unclaimed.front().filter(|(until, _)| *until <= world.now) else { break };
            self.unclaimed.pop_front();
            self.give_up(number, world);
        }
        for _ in 0..DROPPED_LOOKS {
            let Some(&(_, number)) = self.dropped_until.front().filter(|(until, _)| *until <= world.now) else { break };
            self.dropped_until.pop_front();
            self.dropped.remove(&number);
        }
        self.tick_udp(world);
        for _ in 0..EVICTIONS {
            if self.table.len() > self.limit {
                self.evict(world);
            }
        }
        self.gauges();
    }

    /// When `tick` has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let unclaimed = self.unclaimed.front().map(|(until, _)| *until);
        let dropped = self.dropped_until.front().map(|(until, _)| *until);
        let crowded = (self.table.len() > self.limit).then_some(Instant(0));
        unclaimed.into_iter().chain(dropped).chain(self.udp_deadline()).chain(crowded).min()
    }

    /// All directives have gone and the programs are unloaded: nothing is open any more.
    pub fn clear(&mut self) {
        self.table = Flows::with_room(self.limit);
        self.works.iter_mut().for_each(Work::forget);
        self.sockets.clear();
        self.unclaimed.clear();
        self.released.clear();
        self.claims.clear();
        self.threads.clear();
        self.listeners.clear();
        self.dropped.clear();
        self.dropped_until.clear();
        self.ended_unseen.clear();
        self.gauges();
    }

    /// Where there are more flows now, the oldest leave over the next turns.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// Flows in the table, what they take in bytes, and how many were evicted to make room.
    pub fn occupancy(&self) -> (usize, usize, u64) {
        (self.table.len(), self.table.len() * Flows::ENTRY_BYTES, self.evictions)
    }

    /// Whether any directive wants TCP, and UDP.
    pub fn protocols(&self) -> (bool, bool) {
        let any = |wants: fn(&Options) -> bool| self.taps.iter().any(|(_, tap)| wants(&tap.options));
        (any(|options| options.tcp), any(|options| options.udp))
    }

    /// Shows how much there is now, and how much came.
    pub fn gauges(&mut self) {
        self.counts.messages.inc_by(std::mem::take(&mut self.messages));
        self.counts.flush();
        self.counts.tracked.set(self.table.len() as i64);
        self.counts.threads.set(self.threads.len() as i64);
    }

    #[inline(never)] // the short records have no use for its stack
    fn flow(&mut self, bytes: &[u8], world: &mut World<'_>) {
        let Some(flow) = &abi::read::<abi::Flow>(bytes) else { return };
        match flow.header.kind {
            CONNECTED => self.begin(flow, world),
            ARRIVED => {
                self.insert(Tracked::new(flow), TCP_LIST, world);
                self.unclaimed.push_back((Instant(flow.header.time) + CLAIMED_WITHIN, flow.flow));
            }
            DATAGRAM => self.datagram(flow, world),
            OPEN => self.open(flow, world),
            ENDED => self.end_tcp(flow, world),
            LISTENING => self.listeners.insert(flow),
            _ => {}
        }
    }

    #[inline(never)] // so that a claim of one flow is read where it lies
    fn socket(&mut self, bytes: &[u8], world: &mut World<'_>) {
        let Some(claim) = &abi::read::<abi::Claim>(bytes) else { return };
        match claim.header.kind {
            UNLISTENED => self.listeners.remove(claim.sock),
            RELEASED => self.release(claim, world),
            _ => self.claim_socket(claim, world),
        }
    }

    /// An outbound connection is established: its owner is known.
    fn begin(&mut self, kernel: &abi::Flow, world: &mut World<'_>) {
        let mut flow = Tracked::new(kernel);
        self.desk().own(&mut flow, kernel.header.mask, world);
        self.desk().announce(&mut flow, kernel.header.time, world);
        self.keep(flow, TCP_LIST, world);
    }

    /// A connection that was open before: nobody is told that it started.
    pub(super) fn open(&mut self, kernel: &abi::Flow, world: &mut World<'_>) {
        if self.table.get(&kernel.flow).is_some() {
            return;
        }
        let mut flow = Tracked::new(kernel);
        self.desk().own(&mut flow, kernel.header.mask, world);
        self.keep(flow, TCP_LIST, world);
    }

    /// Somebody accepted a connection, or sent or received first on a UDP socket.
    #[inline]
    pub(super) fn claim_flow(&mut self, number: u64, guess: Id, claim: &abi::Claim, world: &mut World<'_>) {
        let Engine { table, sequence, taps, threads, counts, leaving, .. } = self;
        let mut desk = Desk { taps, threads, counts, leaving: *leaving };
        let Some((at, mut flow)) = table.find_at_mut(&number, guess) else { return };
        sequence.found(at, guess);
        if flow.is_udp() {
            // These stand in the order in which they expire.
            let Some(touched) = table.touch_mut(&number) else { return };
            flow = touched;
        }
        desk.note_claim(flow, claim);
        let announced = flow.announced;
        desk.own(flow, claim.header.mask, world);
        desk.announce(flow, claim.header.time, world);
        // Who was told of a start is told of the end, whoever the owner turned out to be.
        flow.mask |= announced;
        if flow.mask == 0 && !(flow.is_udp() && claim.header.mask != 0) {
            self.let_go(number, world);
        }
    }

    /// Nobody wants the flow.
    #[inline(never)]
    pub(super) fn let_go(&mut self, number: u64, world: &mut World<'_>) {
        if let Some(mut flow) = self.take(number, world) {
            self.drop_flow(&mut flow, world);
        }
    }

    /// Nobody has claimed it within a second. It may yet be accepted by somebody of interest.
    fn give_up(&mut self, number: u64, world: &mut World<'_>) {
        let Some(flow) = self.table.get(&number).filter(|flow| flow.claimed == Claimed::Not) else { return };
        if self.is_being_claimed(flow) {
            return;
        }
        let listener = self.listeners.owner(&flow.kernel).filter(|_| !flow.is_udp());
        let (table, mut desk) = self.split();
        let Some(flow) = table.touch_mut(&number) else { return };
        if let Some(owner) = listener {
            (flow.tgid, flow.start) = owner;
        }
        desk.own(flow, 0, world);
        desk.announce(flow, world.now.0, world);
    }

    pub(super) fn end_tcp(&mut self, kernel: &abi::Flow, world: &mut World<'_>) {
        if kernel.header.flags & UNTRACKED != 0 {
            self.counts.extra_ended.inc();
        }
        if kernel.ended == 0 && self.table.get(&kernel.flow).is_some() {
            // Nobody saw it end. What is known here may have statistics, which the kernel side does not keep.
            return self.finish_unseen(kernel.flow, world);
        }
        let mut flow = match self.take(kernel.flow, world) {
            Some(mut flow) => {
                if kernel.header.time < flow.newest {
                    self.counts.out_of_order.inc();
                }
                let (tgid, start) = (flow.tgid, flow.start);
                if flow.tid != kernel.tid {
                    self.desk().leave_thread(&mut flow);
                }
                flow.tell(kernel);
                if kernel.claimed == 0 && tgid == 0 {
                    // Ended before anybody accepted it, and within a second.
                    if let Some(owner) = self.listeners.owner(kernel) {
                        (flow.tgid, flow.start) = owner;
                    }
                    self.desk().own(&mut flow, kernel.header.mask, world);
                    self.desk().filter(&mut flow);
                    self.desk().announce(&mut flow, kernel.header.time, world);
                } else if kernel.claimed == 0 {
                    (flow.tgid, flow.start) = (tgid, start);
                }
                flow
            }
            None if self.dropped.contains(&kernel.flow) => return,
            None => {
                if self.walks > 0 && kernel.started == 0 {
                    self.ended_unseen.insert(kernel.flow);
                }
                // Refused, older than the agent and nobody's descriptor then, or its start was lost: all that there is to
                // tell is in this record.
                let mut flow = Tracked::new(kernel);
                self.desk().own(&mut flow, kernel.header.mask, world);
                self.desk().filter(&mut flow);
                flow
            }
        };
        self.finish(&mut flow, kernel.header.time, world);
    }

    /// Tells of an end and lets the flow go.
    pub(super) fn finish(&mut self, flow: &mut Tracked, at: u64, world: &mut World<'_>) {
        if flow.mask != 0 {
            let counts = &self.counts;
            for (missing, counter) in [
                (flow.kernel.ended == 0, &counts.missing_ended),
                (flow.kernel.started == 0, &counts.missing_started),
                (flow.tid == 0, &counts.missing_tid),
                (!flow.has_socket(), &counts.missing_socket),
            ] {
                counter.inc_by(u64::from(missing));
            }
        }
        let told = tell(&mut self.taps, flow, flow.mask, State::Ended, at, world.offsets);
        self.counts.ended.inc_by(told);
        self.desk().leave_thread(flow);
        if let Some(owner) = flow.owner.take() {
            world.processes.table.recycle(owner);
        }
    }

    /// Keeps a flow that somebody wants.
    fn keep(&mut self, mut flow: Tracked, list: usize, world: &mut World<'_>) {
        self.desk().filter(&mut flow);
        if flow.mask == 0 {
            self.drop_flow(&mut flow, world);
        } else {
            self.insert(flow, list, world);
        }
    }

    fn drop_flow(&mut self, flow: &mut Tracked, world: &mut World<'_>) {
        self.desk().leave_thread(flow);
        self.forget(flow, world);
        if let Some(owner) = flow.owner.take() {
            world.processes.table.recycle(owner);
        }
    }

    /// Nothing more is wanted of the kernel side about it.
    pub(super) fn forget(&mut self, flow: &Tracked, world: &World<'_>) {
        match flow.is_udp() {
            true => {
                world.sockets.forget_peer(&flow.peer_key());
                self.unchain(flow);
            }
            false => {
                world.sockets.forget_socket(flow.kernel.sock, flow.kernel.flow);
                // Its end may have been sent before that.
                if self.dropped.insert(flow.kernel.flow) {
                    self.dropped_until.push_back((world.now + ENDS_WITHIN, flow.kernel.flow));
                }
            }
        }
    }

    pub(super) fn insert(&mut self, flow: Tracked, list: usize, world: &mut World<'_>) {
        for _ in 0..2 {
            if self.table.len() >= self.limit {
                self.evict(world);
            }
        }
        self.table.insert(flow.kernel.flow, flow, list);
    }

    /// Lets the flow go that was used least recently: of TCP the one that came first and was not used since.
    fn evict(&mut self, world: &mut World<'_>) {
        self.table.pass_used(TCP_LIST, PASSED, |flow| std::mem::take(&mut flow.used));
        let tcp = self.table.oldest(TCP_LIST).map(|(number, flow)| (flow.newest, *number));
        let udp = self.table.oldest(UDP_LIST).map(|(number, flow)| (flow.newest, *number));
        let Some((_, number)) = tcp.into_iter().chain(udp).min() else { return };
        let Some(mut oldest) = self.take(number, world) else { return };
        self.evictions += 1;
        self.forget(&oldest, world);
        self.finish(&mut oldest, world.now.0, world);
    }

    /// Takes a flow out; whoever wants it is decided by then.
    pub(super) fn take(&mut self, number: u64, world: &World<'_>) -> Option<Tracked> {
        let mut flow = self.table.remove(&number)?;
        if !self.claims.is_empty() {
            self.claim_late(&mut flow, world);
        }
        let mut joining = self.joining;
        while joining != 0 {
            self.desk().join(&mut flow, joining.trailing_zeros(), world);
            joining &= joining - 1;
        }
        Some(flow)
    }

    /// The table, so that a flow in it can be worked on where it lies, and the rest.
    pub(super) fn split(&mut self) -> (&mut Flows, Desk<'_>) {
        let Engine { table, taps, threads, counts, leaving, .. } = self;
        (table, Desk { taps, threads, counts, leaving: *leaving })
    }

    pub(super) fn desk(&mut self) -> Desk<'_> {
        self.split().1
    }
}

/// The number of the flow that a record is of.
#[inline]
fn number(record: &[u8]) -> Option<u64> {
    record.get(NUMBER_AT..)?.first_chunk().map(|number| u64::from_ne_bytes(*number))
}

/// TAWON_F_UNTRACKED.
const UNTRACKED: u16 = 8;
/// What is noted of a claim where the index is not asked. As half of a hash it is as likely as any other,
/// and costs no more than a wrong guess.
const IN_SEQUENCE: u32 = u32::MAX;
/// Where a record has its flow's number.
const NUMBER_AT: usize = std::mem::offset_of!(abi::Claim, flow);
const _: () = assert!(NUMBER_AT == std::mem::offset_of!(abi::Flow, flow));

// Kinds of include/tawon/flows.h.
const CONNECTED: u16 = 1;
const ARRIVED: u16 = 2;
const CLAIMED: u16 = 3;
const ENDED: u16 = 4;
const DATAGRAM: u16 = 5;
const RELEASED: u16 = 6;
pub(super) const LISTENING: u16 = 7;
const UNLISTENED: u16 = 8;
pub(super) const OPEN: u16 = 9;

pub(super) const TCP_LIST: usize = 0;
pub(super) const UDP_LIST: usize = 1;
const LISTS: usize = 2;
pub(super) const CLAIMED_WITHIN: Duration = Duration::from_secs(1);
/// How long the end of a dropped flow may be on its way.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// Flows that one tick looks at whether somebody has claimed them.
const UNCLAIMED_LOOKS: usize = 1024;
const DROPPED_LOOKS: usize = 4096;
/// Flows that one eviction passes over at most, since they were used.
const PASSED: usize = 64;
/// Flows that one tick evicts where the limit was lowered.
const EVICTIONS: usize = 256;
