//! Ring records of `flows` to the flow table and to records, in order of time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use prometheus::IntGauge;
use prometheus::local::LocalIntCounter;

use super::listeners::Listeners;
use super::record::State;
use super::tracked::{Tracked, UDP};
use crate::config::Filter;
use crate::flow::number::BuildNumber;
use crate::flow::table::Table;
use crate::kernel::abi;
use crate::metrics::Metrics;
use crate::pipeline::Event;
use crate::task::source::{Taps, World};
use crate::time::{Instant, Offsets};

/// Open flows by number, which the kernel gives.
type Flows = Table<u64, Tracked, LISTS, BuildNumber>;

/// What a directive's `flows` was configured with.
pub struct Options {
    filter: Option<Filter>,
    tcp: bool,
    udp: bool,
    interval: Option<Duration>,
    udp_idle: Duration,
    /// When the next `ongoing` records are due.
    due: Option<Instant>,
}

impl Options {
    /// The error is one sentence.
    pub fn new(options: &crate::task::Options, now: Instant) -> Result<Options, String> {
        let filter = options.text("filter").filter(|text| !text.is_empty());
        let protocols = options.text("protocols").unwrap_or("tcp+udp");
        let interval = options.duration("interval");
        Ok(Options {
            filter: filter.map(str::parse).transpose()?,
            tcp: protocols.contains("tcp"),
            udp: protocols.contains("udp"),
            interval,
            udp_idle: options.duration("udpIdle").unwrap_or(UDP_IDLE),
            due: interval.map(|interval| now + interval),
        })
    }

    fn passes(&self, flow: &Tracked) -> bool {
        let wanted = if flow.is_udp() { self.udp } else { self.tcp };
        wanted
            && self.filter.as_ref().is_none_or(|filter| {
                let (src, dst) = flow.ends();
                filter.matches(src, dst, flow.kernel.protocol)
                    || flow.kernel.direction == 0 && filter.matches(dst, src, flow.kernel.protocol)
            })
    }
}

/// The `flows` source.
pub struct Engine {
    pub taps: Taps<Options>,
    table: Flows,
    limit: usize,
    evictions: u64,
    /// UDP sockets: the first of each one's flows.
    sockets: HashMap<u64, u64, BuildNumber>,
    /// Flows that nobody has claimed yet, in the order of when that is given up.
    unclaimed: VecDeque<(Instant, u64)>,
    /// Closed UDP sockets whose flows have not all been told of: when, and the first of the rest.
    released: VecDeque<(u64, u64)>,
    threads: HashMap<u32, u32, BuildNumber>,
    listeners: Listeners,
    /// Flows that nobody wants, whose ends may be on their way all the same, and until when.
    dropped: HashSet<u64, BuildNumber>,
    dropped_until: VecDeque<(Instant, u64)>,
    /// Walks over sockets that are older than the agent, not back yet, and what ended meanwhile.
    walks: u32,
    ended_unseen: HashSet<u64, BuildNumber>,
    counts: Counts,
}

/// What deciding and telling need beside the table of flows.
struct Desk<'a> {
    taps: &'a mut Taps<Options>,
    threads: &'a mut HashMap<u32, u32, BuildNumber>,
    counts: &'a Counts,
}

/// Counted here, and handed to the scraped counters by `gauges`, once per turn.
struct Counts {
    messages: LocalIntCounter,
    out_of_order: LocalIntCounter,
    missing_ended: LocalIntCounter,
    missing_started: LocalIntCounter,
    extra_ended: LocalIntCounter,
    missing_tid: LocalIntCounter,
    missing_socket: LocalIntCounter,
    started: LocalIntCounter,
    ongoing: LocalIntCounter,
    ended: LocalIntCounter,
    filtered: LocalIntCounter,
    tracked: IntGauge,
    threads: IntGauge,
}

impl Engine {
    /// At most `limit` flows are kept.
    pub fn new(metrics: &Metrics, limit: usize) -> Engine {
        let status = metrics.counters("flows_task_total");
        Engine {
            taps: Taps::default(),
            table: Table::default(),
            limit: limit.max(1),
            evictions: 0,
            sockets: HashMap::default(),
            unclaimed: VecDeque::new(),
            released: VecDeque::new(),
            threads: HashMap::default(),
            listeners: Listeners::default(),
            dropped: HashSet::default(),
            dropped_until: VecDeque::new(),
            walks: 0,
            ended_unseen: HashSet::default(),
            counts: Counts {
                messages: metrics.counter("flow_msgs").local(),
                out_of_order: metrics.counter("flow_out_of_order_msgs").local(),
                missing_ended: metrics.counter("flow_missing_ended").local(),
                missing_started: metrics.counter("flow_missing_started").local(),
                extra_ended: metrics.counter("flow_extra_ended").local(),
                missing_tid: metrics.counter("flow_missing_tid").local(),
                missing_socket: metrics.counter("flow_missing_socket").local(),
                started: status.with_label_values(&["started"]).local(),
                ongoing: status.with_label_values(&["ongoing"]).local(),
                ended: status.with_label_values(&["ended"]).local(),
                filtered: status.with_label_values(&["filtered"]).local(),
                tracked: metrics.gauge("flow_flows_tracked"),
                threads: metrics.gauge("flow_threads_tracked"),
            },
        }
    }

    /// One record of the ring. Records of all rings come in order of time.
    pub fn record(&mut self, bytes: &[u8], world: &mut World<'_>) {
        let Some(header) = abi::read::<abi::Header>(bytes) else { return };
        self.counts.messages.inc();
        match header.kind {
            CLAIMED | RELEASED | UNLISTENED => {
                if let Some(claim) = abi::read::<abi::Claim>(bytes) {
                    self.claim(&claim, world);
                }
            }
            _ => {
                if let Some(flow) = abi::read::<abi::Flow>(bytes) {
                    self.flow(&flow, world);
                }
            }
        }
    }

    /// A walk over sockets that are older than the agent begins; `existing` follows. What it will tell of
    /// may have ended before that.
    pub fn expect_existing(&mut self) {
        self.walks += 1;
    }

    /// What the iterator over descriptors told: sockets that are older than the agent.
    pub fn existing(&mut self, told: &[u8], world: &mut World<'_>) {
        for flow in told.chunks_exact(size_of::<abi::Flow>()).filter_map(abi::read::<abi::Flow>) {
            match flow.header.kind {
                LISTENING => self.listeners.insert(&flow),
                OPEN if flow.protocol != UDP && !self.ended_unseen.contains(&flow.flow) => self.open(&flow, world),
                _ => {}
            }
        }
        self.walks = self.walks.saturating_sub(1);
        if self.walks == 0 {
            self.ended_unseen.clear();
        }
        self.gauges();
    }

    /// When statistics are wanted for `ongoing` records.
    pub fn ongoing_due(&self) -> Option<Instant> {
        self.taps.iter().filter_map(|(_, tap)| tap.options.due).min()
    }

    /// What the iterator over sockets told of open TCP flows. Then, with `emit`, every directive whose
    /// interval has passed gets a record of each of its open flows.
    pub fn ongoing(&mut self, told: &[u8], emit: bool, world: &mut World<'_>) {
        for now in told.chunks_exact(size_of::<abi::Flow>()).filter_map(abi::read::<abi::Flow>) {
            if let Some(flow) = self.table.get_mut(&now.flow) {
                let old = flow.kernel;
                flow.kernel = abi::Flow { header: old.header, tgid: old.tgid, tid: old.tid, ..now };
                flow.kernel.process_start = old.process_start;
            }
        }
        for (_, flow) in self.table.iter_mut().filter(|(_, flow)| flow.is_udp()) {
            if let Some(peer) = world.sockets.peer(&flow.peer_key()) {
                flow.count(&peer);
            }
        }
        if !emit {
            return;
        }
        let mut due = 0;
        for (bit, tap) in self.taps.iter_mut() {
            if let (Some(at), Some(interval)) = (tap.options.due, tap.options.interval)
                && at <= world.now
            {
                due |= 1 << bit;
                // In step with the first one, however late this one is.
                let late = world.now.since(at).as_nanos() / interval.as_nanos().max(1);
                tap.options.due = Some(at + interval * (late as u32 + 1));
            }
        }
        let at = world.now.0;
        for (_, flow) in self.table.iter_mut() {
            let count = tell(&mut self.taps, flow, flow.mask & due, State::Ongoing, at, world.offsets);
            self.counts.ongoing.inc_by(count);
        }
        self.gauges();
    }

    /// Records were lost: connections of which nothing came since `before`, and which the iterator over
    /// sockets, begun then, did not tell of, have ended unseen. To be called when everything that was in the
    /// rings at the walk's end has been worked on.
    pub fn reconcile(&mut self, told: &[u8], before: u64, world: &mut World<'_>) {
        let open: HashSet<u64, BuildNumber> = told
            .chunks_exact(size_of::<abi::Flow>())
            .filter_map(abi::read::<abi::Flow>)
            .map(|flow| flow.flow)
            .collect();
        let gone = |number: u64, flow: &Tracked| !flow.is_udp() && flow.newest < before && !open.contains(&number);
        let gone: Vec<(u64, u64)> = self
            .table
            .iter_mut()
            .filter(|(number, flow)| gone(**number, flow))
            .map(|(number, flow)| (*number, flow.kernel.sock))
            .collect();
        for (number, sock) in gone {
            // A walk over a table that changes may leave something out.
            if !world.sockets.is_open(sock, number)
                && let Some(mut flow) = self.take(number)
            {
                self.finish(&mut flow, world.now.0, world);
            }
        }
        self.gauges();
    }

    /// Time has passed: what nobody claimed within a second is told of as nobody's; UDP flows without
    /// datagrams for `udpIdle` end.
    pub fn tick(&mut self, world: &mut World<'_>) {
        for _ in 0..UNCLAIMED_LOOKS {
            let Some(&(_, number)) = self.unclaimed.front().filter(|(until, _)| *until <= world.now) else { break };
            self.unclaimed.pop_front();
            self.give_up(number, world);
        }
        while let Some(&(until, number)) = self.dropped_until.front()
            && until <= world.now
        {
            self.dropped_until.pop_front();
            self.dropped.remove(&number);
        }
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
        self.gauges();
    }

    /// When `tick` has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let unclaimed = self.unclaimed.front().map(|(until, _)| *until);
        let dropped = self.dropped_until.front().map(|(until, _)| *until);
        let idle = self.table.oldest(UDP_LIST).map(|(_, flow)| Instant(flow.newest) + self.udp_idle());
        let released = self.released.front().map(|_| Instant(0));
        unclaimed.into_iter().chain(dropped).chain(idle).chain(released).min()
    }

    /// A directive has come while flows are open: it is told of their ends.
    pub fn join(&mut self, bit: u32, world: &mut World<'_>) {
        let Some(tap) = self.taps.get(bit) else { return };
        for (_, flow) in self.table.iter_mut() {
            let wanted = match &flow.owner {
                Some(owner) => world.processes.watchers.decide(owner),
                None => world.processes.watchers.unconditional(),
            };
            if wanted[SOURCE] >> bit & 1 == 0 {
                continue;
            }
            match tap.options.passes(flow) {
                true => flow.mask |= 1 << bit,
                false => {
                    flow.filtered |= 1 << bit;
                    self.counts.filtered.inc();
                }
            }
        }
        self.gauges();
    }

    /// A directive ends: what is open is told as ended without an end. The caller has brought statistics
    /// up to date (`ongoing`) and takes the tap out afterwards.
    pub fn leave(&mut self, bit: u32, world: &mut World<'_>) {
        let at = world.now.0;
        for (_, flow) in self.table.iter_mut() {
            if flow.mask >> bit & 1 == 1 {
                flow.mask &= !(1 << bit);
                self.counts.missing_ended.inc();
                self.counts.ended.inc_by(tell(&mut self.taps, flow, 1 << bit, State::Ended, at, world.offsets));
            }
        }
        self.gauges();
    }

    /// All directives have gone and the programs are unloaded: nothing is open any more.
    pub fn clear(&mut self) {
        while self.table.pop_oldest(TCP_LIST).is_some() || self.table.pop_oldest(UDP_LIST).is_some() {}
        self.sockets.clear();
        self.unclaimed.clear();
        self.released.clear();
        self.threads.clear();
        self.listeners.clear();
        self.dropped.clear();
        self.dropped_until.clear();
        self.ended_unseen.clear();
        self.gauges();
    }

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
    pub fn gauges(&self) {
        let counts = &self.counts;
        for counter in [
            &counts.messages,
            &counts.out_of_order,
            &counts.missing_ended,
            &counts.missing_started,
            &counts.extra_ended,
            &counts.missing_tid,
            &counts.missing_socket,
            &counts.started,
            &counts.ongoing,
            &counts.ended,
            &counts.filtered,
        ] {
            counter.flush();
        }
        counts.tracked.set(self.table.len() as i64);
        counts.threads.set(self.threads.len() as i64);
    }

    fn flow(&mut self, flow: &abi::Flow, world: &mut World<'_>) {
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

    fn claim(&mut self, claim: &abi::Claim, world: &mut World<'_>) {
        match claim.header.kind {
            UNLISTENED => self.listeners.remove(claim.sock),
            RELEASED => {
                let first = self.sockets.remove(&claim.sock).unwrap_or_default();
                let rest = self.end_chain(first, claim.header.time, UDP_LOOKS, world);
                if rest != 0 {
                    self.released.push_back((claim.header.time, rest));
                }
            }
            _ if claim.flow != 0 => self.claim_flow(claim.flow, claim, world),
            _ => {
                let mut next = self.sockets.get(&claim.sock).copied().unwrap_or_default();
                while let Some(flow) = self.table.get(&next) {
                    let number = next;
                    next = flow.next_of_socket;
                    self.claim_flow(number, claim, world);
                }
            }
        }
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

    /// An outbound connection is established: its owner is known.
    fn begin(&mut self, kernel: &abi::Flow, world: &mut World<'_>) {
        let mut flow = Tracked::new(kernel);
        self.desk().own(&mut flow, world);
        self.desk().announce(&mut flow, kernel.header.time, world);
        self.keep(flow, TCP_LIST, world);
    }

    /// A connection that was open before: nobody is told that it started.
    fn open(&mut self, kernel: &abi::Flow, world: &mut World<'_>) {
        if self.table.get(&kernel.flow).is_some() {
            return;
        }
        let mut flow = Tracked::new(kernel);
        self.desk().own(&mut flow, world);
        self.keep(flow, TCP_LIST, world);
    }

    fn datagram(&mut self, kernel: &abi::Flow, world: &mut World<'_>) {
        let mut flow = Tracked::new(kernel);
        if kernel.claimed != 0 {
            self.desk().own(&mut flow, world);
            self.desk().announce(&mut flow, kernel.header.time, world);
            if flow.mask == 0 {
                world.sockets.forget_peer(&flow.peer_key());
                return;
            }
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

    /// Somebody accepted a connection, or sent or received first on a UDP socket.
    fn claim_flow(&mut self, number: u64, claim: &abi::Claim, world: &mut World<'_>) {
        let (table, mut desk) = self.split();
        let Some(flow) = table.touch(&number).and_then(|id| table.at(id)) else { return };
        if claim.header.time < flow.newest && !flow.is_udp() {
            desk.counts.out_of_order.inc();
        }
        flow.newest = flow.newest.max(claim.header.time);
        if flow.kernel.tid != claim.tid {
            desk.leave_thread(flow);
        }
        flow.kernel.header.mask = claim.header.mask;
        flow.kernel.header.flags = claim.header.flags;
        (flow.kernel.tgid, flow.kernel.tid) = (claim.tgid, claim.tid);
        flow.kernel.process_start = claim.process_start;
        flow.kernel.claimed = 1;
        let announced = flow.announced;
        desk.own(flow, world);
        desk.announce(flow, claim.header.time, world);
        // Who was told of a start is told of the end, whoever the owner turned out to be.
        flow.mask |= announced;
        if flow.mask == 0
            && let Some(mut flow) = self.take(number)
        {
            self.drop_flow(&mut flow, world);
        }
    }

    /// Nobody has claimed it within a second. It may yet be accepted by somebody of interest.
    fn give_up(&mut self, number: u64, world: &mut World<'_>) {
        let Some(flow) = self.table.get(&number).filter(|flow| flow.kernel.claimed == 0) else { return };
        let listener = self.listeners.owner(&flow.kernel).filter(|_| !flow.is_udp());
        let (table, mut desk) = self.split();
        let Some(flow) = table.touch(&number).and_then(|id| table.at(id)) else { return };
        if let Some(owner) = listener {
            (flow.kernel.tgid, flow.kernel.process_start) = owner;
        }
        desk.own(flow, world);
        desk.announce(flow, world.now.0, world);
    }

    fn end_tcp(&mut self, kernel: &abi::Flow, world: &mut World<'_>) {
        if kernel.flow == 0 {
            self.counts.extra_ended.inc();
            return;
        }
        let mut flow = match self.take(kernel.flow) {
            Some(mut flow) => {
                if kernel.header.time < flow.newest {
                    self.counts.out_of_order.inc();
                }
                let (tgid, start) = (flow.kernel.tgid, flow.kernel.process_start);
                flow.kernel = *kernel;
                if kernel.claimed == 0 && tgid == 0 {
                    // Ended before anybody accepted it, and within a second.
                    if let Some(owner) = self.listeners.owner(kernel) {
                        (flow.kernel.tgid, flow.kernel.process_start) = owner;
                    }
                    self.desk().own(&mut flow, world);
                    self.desk().filter(&mut flow);
                    self.desk().announce(&mut flow, kernel.header.time, world);
                } else if kernel.claimed == 0 {
                    (flow.kernel.tgid, flow.kernel.process_start) = (tgid, start);
                }
                flow
            }
            None if self.dropped.contains(&kernel.flow) => return,
            None => {
                if self.walks > 0 && kernel.started == 0 {
                    self.ended_unseen.insert(kernel.flow);
                }
                // Refused, or its start was lost: all that there is to tell is in this record.
                let mut flow = Tracked::new(kernel);
                self.desk().own(&mut flow, world);
                self.desk().filter(&mut flow);
                flow
            }
        };
        self.finish(&mut flow, kernel.header.time, world);
    }

    fn end_udp(&mut self, number: u64, peer: Option<abi::Peer>, closed: Option<u64>, world: &mut World<'_>) {
        let Some(mut flow) = self.take(number) else { return };
        if let Some(peer) = &peer {
            flow.count(peer);
            flow.kernel.ended = closed.unwrap_or(peer.last);
        } else {
            flow.kernel.ended = closed.unwrap_or(flow.newest);
        }
        world.sockets.forget_peer(&flow.peer_key());
        self.unchain(&flow);
        let at = closed.unwrap_or(world.now.0);
        if flow.kernel.claimed == 0 && flow.announced == 0 {
            self.desk().own(&mut flow, world);
            self.desk().announce(&mut flow, at, world);
        }
        self.finish(&mut flow, at, world);
    }

    /// Tells of an end and lets the flow go.
    fn finish(&mut self, flow: &mut Tracked, at: u64, world: &mut World<'_>) {
        if flow.mask != 0 {
            let counts = &self.counts;
            for (missing, counter) in [
                (flow.kernel.ended == 0, &counts.missing_ended),
                (flow.kernel.started == 0, &counts.missing_started),
                (flow.kernel.tid == 0, &counts.missing_tid),
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
    fn forget(&mut self, flow: &Tracked, world: &World<'_>) {
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

    fn insert(&mut self, flow: Tracked, list: usize, world: &mut World<'_>) {
        while self.table.len() >= self.limit {
            let tcp = self.table.oldest(TCP_LIST).map(|(number, flow)| (flow.newest, *number));
            let udp = self.table.oldest(UDP_LIST).map(|(number, flow)| (flow.newest, *number));
            let Some((_, number)) = tcp.into_iter().chain(udp).min() else { break };
            let Some(mut oldest) = self.take(number) else { break };
            self.evictions += 1;
            self.forget(&oldest, world);
            self.finish(&mut oldest, world.now.0, world);
        }
        self.table.insert(flow.kernel.flow, flow, list);
    }

    fn take(&mut self, number: u64) -> Option<Tracked> {
        self.table.remove(&number)
    }

    /// Takes a UDP flow out of its socket's chain.
    fn unchain(&mut self, flow: &Tracked) {
        let (before, next) = (flow.before_of_socket, flow.next_of_socket);
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

    /// The table, so that a flow in it can be worked on where it lies, and the rest.
    fn split(&mut self) -> (&mut Flows, Desk<'_>) {
        let Engine { table, taps, threads, counts, .. } = self;
        (table, Desk { taps, threads, counts })
    }

    fn desk(&mut self) -> Desk<'_> {
        self.split().1
    }
}

impl Desk<'_> {
    /// Finds the owner and the directives that want the flow.
    fn own(&mut self, flow: &mut Tracked, world: &mut World<'_>) {
        let kernel = &flow.kernel;
        let owner = world.processes.table.find(kernel.tgid, Some(kernel.process_start));
        let masks = match owner {
            Some(entry) => {
                flow.owner = Some(entry.process.clone());
                entry.masks[SOURCE]
            }
            None if kernel.header.flags & PENDING != 0 || kernel.claimed == 0 => {
                world.processes.watchers.unconditional()[SOURCE]
            }
            None => kernel.header.mask,
        };
        flow.mask = masks & self.taps.mask();
        if kernel.tid != 0 && flow.mask != 0 && !flow.thread_counted {
            *self.threads.entry(kernel.tid).or_default() += 1;
            flow.thread_counted = true;
        }
    }

    /// Leaves only the directives whose filter lets the flow through; counts the others.
    fn filter(&mut self, flow: &mut Tracked) {
        flow.mask &= !flow.filtered;
        for (bit, tap) in self.taps.selected(flow.mask & !flow.announced) {
            if !tap.options.passes(flow) {
                flow.mask &= !(1 << bit);
                flow.filtered |= 1 << bit;
                self.counts.filtered.inc();
            }
        }
    }

    /// Tells of a start to whoever has not been told yet.
    fn announce(&mut self, flow: &mut Tracked, at: u64, world: &World<'_>) {
        self.filter(flow);
        let fresh = flow.mask & !flow.announced;
        if fresh == 0 {
            return;
        }
        self.counts.started.inc_by(tell(self.taps, flow, fresh, State::Started, at, world.offsets));
        flow.announced |= fresh;
    }

    fn leave_thread(&mut self, flow: &mut Tracked) {
        if std::mem::take(&mut flow.thread_counted)
            && let Some(count) = self.threads.get_mut(&flow.kernel.tid)
        {
            *count -= 1;
            if *count == 0 {
                self.threads.remove(&flow.kernel.tid);
            }
        }
    }
}

/// Hands a record to each directive of the mask; says to how many.
fn tell(taps: &mut Taps<Options>, flow: &Tracked, mask: u64, state: State, at: u64, offsets: Offsets) -> u64 {
    let mut told = 0;
    for (_, tap) in taps.selected(mask) {
        told += 1;
        if tap.pipeline.is_empty() {
            tap.pipeline.pass();
            continue;
        }
        let record = flow.record(state, at, tap.meta, offsets);
        tap.event(&Event::new(offsets.wall(at), Instant(at), &record));
    }
    told
}

// Kinds of include/tawon/flows.h.
const CONNECTED: u16 = 1;
const ARRIVED: u16 = 2;
const CLAIMED: u16 = 3;
const ENDED: u16 = 4;
const DATAGRAM: u16 = 5;
const RELEASED: u16 = 6;
const LISTENING: u16 = 7;
const UNLISTENED: u16 = 8;
const OPEN: u16 = 9;
/// TAWON_F_PENDING.
const PENDING: u16 = 1;

/// The index of this source's mask.
const SOURCE: usize = 1;
const TCP_LIST: usize = 0;
const UDP_LIST: usize = 1;
const LISTS: usize = 2;
const CLAIMED_WITHIN: Duration = Duration::from_secs(1);
/// How long the end of a dropped flow may be on its way.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const UDP_IDLE: Duration = Duration::from_secs(30);
/// UDP flows that one tick looks at, each a system call.
const UDP_LOOKS: usize = 256;
/// Flows that one tick looks at whether somebody has claimed them.
const UNCLAIMED_LOOKS: usize = 4096;
