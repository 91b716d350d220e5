//! The process table: what the kernel told of each process, kept until it ends (and longer by whoever
//! holds its `Rc`). Bounded; descriptions are used again, so that a process costs no allocation once warm.

use std::cell::Cell;
use std::rc::Rc;

use super::Process;
use super::watch::Masks;
use crate::flow;
use crate::flow::number::BuildNumber;
use crate::flow::table::Id;

/// What is kept beside a process's description.
#[derive(Clone, Debug)]
#[repr(C)] // what is looked up per event first
pub struct Entry {
    pub process: Rc<Process>,
    /// `Watchers::round` when it was decided which directives want it.
    pub round: u32,
    /// Whether it was there before the agent looked.
    pub existing: bool, // here, since whether a slot is taken is told in this byte
    /// Which directives want it, by source; of exec also those in `told`.
    pub masks: Masks,
    /// execve calls since it began.
    pub execs: u32,
    /// Its thread whose start exec told of last and whose end is yet to be told: head of a chain of such.
    pub threads: Id,
    /// Directives of exec that were told that it or one of its threads started, and so are of what it does until its
    /// end.
    pub told: u64,
}

/// Processes by pid; the start time tells whether one is the same.
pub struct Table {
    entries: flow::table::Table<u32, Kept, 1, BuildNumber>,
    /// By the pid's last bits: where the process was found that was looked for last.
    recent: Box<[Cell<Id>]>,
    spare: Vec<Rc<Process>>,
    limit: usize,
    evictions: u64,
}

#[repr(C)] // with the pid before it, what is looked up per event lies in one cache line
struct Kept {
    /// The process's own, so that it need not be looked at.
    start: u64,
    entry: Entry,
}

impl Table {
    pub fn new(limit: usize) -> Table {
        let recent = vec![Cell::new(Id::NOWHERE); RECENT].into();
        let entries = flow::table::Table::with_room(limit);
        Table { entries, recent, spare: Vec::new(), limit: limit.max(1), evictions: 0 }
    }

    /// The process that has this pid now; with a start time, only if it is that one.
    #[inline]
    pub fn find(&self, pid: u32, start: Option<u64>) -> Option<&Entry> {
        let recent = self.recent.get(pid as usize % RECENT)?;
        let guess = recent.get();
        let (id, kept) = self.entries.find_at(&pid, guess)?;
        if id != guess {
            recent.set(id);
        }
        start.is_none_or(|start| same_start(kept.start, start)).then_some(&kept.entry)
    }

    /// The process that has this pid now.
    pub fn find_any(&mut self, pid: u32) -> Option<&mut Entry> {
        self.entries.get_mut(&pid).map(|kept| &mut kept.entry)
    }

    pub fn find_mut(&mut self, pid: u32, start: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&pid).filter(|kept| same_start(kept.start, start)).map(|kept| &mut kept.entry)
    }

    /// How many slots there are, free ones included. A process keeps its slot, so that all that are there can
    /// be visited in several goes.
    pub fn slots(&self) -> usize {
        self.entries.slots()
    }

    /// What a slot holds.
    pub fn in_slot(&mut self, slot: usize) -> Option<&mut Entry> {
        self.entries.in_slot(slot).map(|(_, kept)| &mut kept.entry)
    }

    /// The pid of the process that leaves to make room for the next, where the table is full.
    pub fn leaves_next(&self) -> Option<u32> {
        self.entries.oldest(0).map(|(pid, _)| *pid).filter(|_| self.entries.len() >= self.limit)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().map(|(_, kept)| &mut kept.entry)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries that were thrown out to make room: those that began to be known longest ago.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// Puts an entry in, in place of whatever had its pid.
    pub fn insert(&mut self, entry: Entry) {
        let pid = entry.process.pid;
        if let Some(old) = self.entries.remove(&pid) {
            self.recycle(old.entry.process);
        }
        // More than one only where the limit was lowered: the rest leaves over the next.
        for _ in 0..EVICTIONS {
            if self.entries.len() < self.limit {
                break;
            }
            let Some((_, old)) = self.entries.pop_oldest(0) else { break };
            self.recycle(old.entry.process);
            self.evictions += 1;
        }
        self.entries.insert(pid, Kept { start: entry.process.start, entry }, 0);
    }

    pub fn remove(&mut self, pid: u32) -> Option<Entry> {
        self.entries.remove(&pid).map(|kept| kept.entry)
    }

    /// A description with buffers that were used before, to be filled by `fill`.
    pub fn describe(&mut self, fill: impl FnOnce(&mut Process)) -> Rc<Process> {
        let mut process = self.spare.pop().unwrap_or_default();
        match Rc::get_mut(&mut process) {
            Some(blank) => {
                blank.clear();
                fill(blank);
                process
            }
            // Somebody kept it after all.
            None => {
                let mut blank = Process::default();
                fill(&mut blank);
                Rc::new(blank)
            }
        }
    }

    /// Takes back a description that nobody else holds.
    pub fn recycle(&mut self, process: Rc<Process>) {
        if Rc::strong_count(&process) == 1 && self.spare.len() < SPARE {
            self.spare.push(process);
        }
    }
}

/// Whether two start times (nanoseconds of CLOCK_BOOTTIME) are of one process: one of them may have been
/// cut to clock ticks by /proc.
#[inline]
pub fn same_start(a: u64, b: u64) -> bool {
    a == b || a / TICK == b / TICK
}

/// Where what an event looks at of a `Kept` ends, which has the pid before it.
const LINE: usize = 64 - size_of::<u64>();
const _: () = assert!(std::mem::offset_of!(Kept, entry.masks) + LOOKED_AT * size_of::<u64>() <= LINE);
/// The masks of exec, flows, payload and tlsplaintext.
const LOOKED_AT: usize = 4;
const TICK: u64 = 10_000_000;
const SPARE: usize = 1024;
/// Processes that leave to make room for one.
const EVICTIONS: usize = 2;
const RECENT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: u32, start: u64) -> Entry {
        let process = Rc::new(Process { pid, start, ..Process::default() });
        Entry { process, round: 1, masks: Masks::default(), execs: 1, told: 0, threads: Id::NOWHERE, existing: false }
    }

    #[test]
    fn a_process_is_found_however_often_others_with_like_pids_come_and_go() {
        let mut table = Table::new(4);
        let pids = [7, 7 + RECENT as u32, 7 + 2 * RECENT as u32];
        for round in 1..100u64 {
            let start = round * 23 * TICK;
            for pid in pids {
                assert!(table.find(pid, Some(start)).is_none(), "not before it began");
                table.insert(entry(pid, start));
                let found = table.find(pid, Some(start + 1)).expect("within the same tick");
                assert_eq!((found.process.pid, found.process.start), (pid, start));
            }
            assert_eq!(pids.map(|pid| table.find(pid, None).map(|entry| entry.process.pid)), pids.map(Some));
            let gone = pids[round as usize % pids.len()];
            assert_eq!(table.remove(gone).map(|entry| entry.process.pid), Some(gone));
            assert!(table.find(gone, None).is_none());
        }
        assert_eq!(table.evictions(), 0);
    }

    #[test]
    fn a_lower_limit_evicts_the_oldest_two_for_each_that_comes() {
        let mut table = Table::new(100);
        (0..100).for_each(|pid| table.insert(entry(pid, TICK)));
        table.set_limit(10);
        let lengths: Vec<usize> = (100..200)
            .map(|pid| {
                table.insert(entry(pid, TICK));
                table.len()
            })
            .collect();
        assert_eq!((lengths[0], lengths[1], lengths[89], lengths[90], lengths[99]), (99, 98, 10, 10, 10));
        assert!((190..200).all(|pid| table.find(pid, None).is_some()));
        assert_eq!(table.evictions(), 190);
    }
}
