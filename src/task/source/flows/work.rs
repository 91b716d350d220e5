//! What takes flows more than a turn: a directive comes or goes while tens of thousands are open,
//! statistics of all of them arrive, records were lost. It is worked on in slices, so that neither the
//! rings nor a scrape wait for the whole; records come in between, and find every flow either worked on
//! or not.

use std::collections::HashSet;

use super::desk::{Desk, tell};
use super::engine::{Engine, LISTENING, OPEN};
use super::record::State;
use super::tracked::UDP;
use crate::flow::number::BuildNumber;
use crate::kernel::abi;
use crate::task::source::World;
use crate::time::Instant;

/// What was worked on to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finished {
    /// Sockets that are older than the agent are known.
    Existing,
    /// Statistics are up to date, and who wanted to has been told.
    Ongoing,
    /// What ended unseen has been told of.
    Reconciled,
    /// Those whose sockets went without a word have ended.
    Cleared,
    /// The directive with this bit gets what is open until it comes.
    Joined(u32),
    /// The directive with this bit has been told of everything: its tap can go.
    Left(u32),
}

pub(super) enum Work {
    Existing(Told),
    Ongoing(Told, Walk, Due),
    Reconcile { told: Told, before: u64, open: HashSet<u64, BuildNumber>, walk: Walk },
    Gone(Told),
    Join(u32, Walk),
    Leave(u32, Walk),
}

/// Which directives get `ongoing` records, decided once statistics are there.
#[derive(Clone, Copy, Default)]
pub(super) struct Due {
    decided: bool,
    mask: u64,
    /// Flows that came after this have no need of one.
    since: u64,
}

/// What an iterator of the kernel told: flows, one after the other.
pub(super) struct Told {
    bytes: Vec<u8>,
    read: usize,
}

/// The slot of the table of flows that is next.
#[derive(Clone, Copy, Default)]
pub(super) struct Walk(usize);

impl Engine {
    /// A walk over sockets that are older than the agent begins; `existing` follows. What it will tell of
    /// may have ended before that.
    pub fn expect_existing(&mut self) {
        self.walks += 1;
    }

    /// Whether sockets that are older than the agent are still being looked for.
    pub fn expects_existing(&self) -> bool {
        self.walks > 0
    }

    /// What the iterator over descriptors told: sockets that are older than the agent.
    pub fn existing(&mut self, told: Vec<u8>) {
        self.works.push_back(Work::Existing(Told::new(told)));
    }

    /// When statistics are wanted for `ongoing` records.
    pub fn ongoing_due(&self) -> Option<Instant> {
        self.taps.iter().filter_map(|(_, tap)| tap.options.due).min()
    }

    /// What the iterator over sockets told of open TCP flows. Then every directive whose interval has
    /// passed gets a record of each of its open flows.
    pub fn ongoing(&mut self, told: Vec<u8>) {
        self.works.push_back(Work::Ongoing(Told::new(told), Walk::default(), Due::default()));
    }

    /// Records were lost: connections of which nothing came since `before`, and which the iterator over
    /// sockets, begun then, did not tell of, have ended unseen. To be called when everything that was in the
    /// rings at the walk's end has been worked on.
    pub fn reconcile(&mut self, told: Vec<u8>, before: u64) {
        let (told, open, walk) = (Told::new(told), HashSet::default(), Walk::default());
        self.works.push_back(Work::Reconcile { told, before, open, walk });
    }

    /// Connections whose sockets are no more, and of whose end no record came.
    pub fn gone(&mut self, told: Vec<u8>) {
        if !told.is_empty() {
            self.works.push_back(Work::Gone(Told::new(told)));
        }
    }

    /// A directive has come while flows are open: it is told of their ends.
    pub fn join(&mut self, bit: u32) {
        self.joining |= 1 << bit;
        self.works.push_back(Work::Join(bit, Walk::default()));
    }

    /// A directive ends, and gets nothing that begins from now on; `leave` follows.
    pub fn forgo(&mut self, bit: u32) {
        self.leaving |= 1 << bit;
    }

    /// A directive ends: what is open is told as ended without an end. The caller has brought statistics
    /// up to date (`ongoing`) and takes the tap out when that is finished.
    pub fn leave(&mut self, bit: u32) {
        self.leaving |= 1 << bit;
        self.works.push_back(Work::Leave(bit, Walk::default()));
    }

    /// Whether `work` has something to do.
    pub fn has_work(&self) -> bool {
        !self.works.is_empty() || !self.claims.is_empty()
    }

    /// Works on at most `SLICE` flows of what takes more than a turn. Says what was finished.
    pub fn work(&mut self, world: &mut World<'_>) -> Vec<Finished> {
        let (mut left, mut finished) = (SLICE, Vec::new());
        // First: the others are to find every flow claimed.
        self.claim_rests(&mut left, world);
        while self.claims.is_empty()
            && let Some(mut work) = self.works.pop_front()
        {
            match self.slice(&mut work, &mut left, world) {
                Some(done) => finished.push(done),
                None => {
                    self.works.push_front(work);
                    break;
                }
            }
        }
        self.gauges();
        finished
    }

    /// Goes on with one work. None where the turn's share is used up before it is finished.
    fn slice(&mut self, work: &mut Work, left: &mut usize, world: &mut World<'_>) -> Option<Finished> {
        match work {
            Work::Existing(told) => {
                while let Some(flow) = told.next(left)? {
                    match flow.header.kind {
                        LISTENING => self.listeners.insert(&flow),
                        OPEN if flow.protocol != UDP && !self.ended_unseen.contains(&flow.flow) => {
                            self.open(&flow, world);
                        }
                        _ => {}
                    }
                }
                self.walks = self.walks.saturating_sub(1);
                if self.walks == 0 {
                    self.ended_unseen.clear();
                }
                Some(Finished::Existing)
            }
            Work::Ongoing(told, walk, due) => {
                while let Some(now) = told.next(left)? {
                    if let Some(flow) = self.table.get_mut(&now.flow) {
                        flow.refresh(&now);
                    }
                }
                if !due.decided {
                    *due = Due { decided: true, mask: self.due(world), since: world.now.0 };
                }
                while let Some(slot) = walk.next(self.table.slots(), left)? {
                    self.refresh(slot, *due, world);
                }
                Some(Finished::Ongoing)
            }
            Work::Reconcile { told, before, open, walk } => {
                while let Some(flow) = told.next(left)? {
                    open.insert(flow.flow);
                }
                while let Some(slot) = walk.next(self.table.slots(), left)? {
                    let Some((number, flow)) = self.table.in_slot(slot) else { continue };
                    let (number, sock) = (*number, flow.kernel.sock);
                    let gone = !flow.is_udp() && flow.newest < *before && !open.contains(&number);
                    // A walk over a table that changes may leave something out.
                    if gone && !world.sockets.is_open(sock, number) {
                        self.finish_unseen(number, world);
                    }
                }
                Some(Finished::Reconciled)
            }
            Work::Gone(told) => {
                while let Some(kernel) = told.next(left)? {
                    self.end_tcp(&kernel, world);
                }
                Some(Finished::Cleared)
            }
            Work::Join(bit, walk) => {
                while let Some(slot) = walk.next(self.table.slots(), left)? {
                    let (table, mut desk) = self.split();
                    if let Some((_, flow)) = table.in_slot(slot) {
                        desk.join(flow, *bit, world);
                    }
                }
                self.joining &= !(1 << *bit);
                Some(Finished::Joined(*bit))
            }
            Work::Leave(bit, walk) => {
                while let Some(slot) = walk.next(self.table.slots(), left)? {
                    self.tell_last(slot, 1 << *bit, world);
                }
                self.leaving &= !(1 << *bit);
                Some(Finished::Left(*bit))
            }
        }
    }

    /// Ends a flow of whose end nothing is known but that it came.
    pub(super) fn finish_unseen(&mut self, number: u64, world: &mut World<'_>) {
        if let Some(mut flow) = self.take(number, world) {
            self.finish(&mut flow, world.now.0, world);
        }
    }

    /// Directives whose interval has passed.
    fn due(&mut self, world: &World<'_>) -> u64 {
        let due = self.taps.iter_mut().filter_map(|(bit, tap)| tap.options.is_due(world.now).then_some(1 << bit));
        due.fold(0, |mask, bit: u64| mask | bit)
    }

    /// Brings what is counted of a UDP flow up to date, and tells of a flow that goes on.
    fn refresh(&mut self, slot: usize, due: Due, world: &World<'_>) {
        let (table, Desk { taps, counts, .. }) = self.split();
        let Some((_, flow)) = table.in_slot(slot) else { return };
        if flow.is_udp()
            && let Some(peer) = world.sockets.peer(&flow.peer_key())
        {
            flow.count(&peer);
        }
        if flow.kernel.header.time <= due.since {
            let told = tell(taps, flow, flow.mask & due.mask, State::Ongoing, world.now.0, world.offsets);
            counts.ongoing.inc_by(told);
        }
    }

    /// Tells a directive that ends of a flow that is open, if it has it.
    fn tell_last(&mut self, slot: usize, bit: u64, world: &World<'_>) {
        let (table, Desk { taps, counts, .. }) = self.split();
        let Some((_, flow)) = table.in_slot(slot) else { return };
        let mask = flow.mask & bit;
        // The next directive with this bit is another one.
        flow.forget(bit);
        if mask != 0 {
            counts.missing_ended.inc();
            counts.ended.inc_by(tell(taps, flow, mask, State::Ended, world.now.0, world.offsets));
        }
    }
}

impl Work {
    /// What was told is of no interest any more.
    pub fn forget(&mut self) {
        if let Work::Existing(told) | Work::Ongoing(told, ..) | Work::Reconcile { told, .. } | Work::Gone(told) = self {
            *told = Told::new(Vec::new());
        }
    }
}

impl Told {
    fn new(bytes: Vec<u8>) -> Told {
        Told { bytes, read: 0 }
    }

    /// The next flow; `Some(None)` behind the last, None where nothing is left of the turn's share.
    fn next(&mut self, left: &mut usize) -> Option<Option<abi::Flow>> {
        let Some(flow) = self.bytes.get(self.read..self.read + size_of::<abi::Flow>()) else { return Some(None) };
        *left = left.checked_sub(1)?;
        self.read += size_of::<abi::Flow>();
        Some(abi::read::<abi::Flow>(flow))
    }
}

impl Walk {
    /// The next slot of so many, as `Told::next`.
    fn next(&mut self, slots: usize, left: &mut usize) -> Option<Option<usize>> {
        if self.0 >= slots {
            return Some(None);
        }
        *left = left.checked_sub(1)?;
        self.0 += 1;
        Some(Some(self.0 - 1))
    }
}

/// Flows that one turn works on besides the rings.
pub const SLICE: usize = 1024;
