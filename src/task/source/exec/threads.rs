//! Threads whose start was told, until their end is. The kernel forgets when a thread began that execs, and of those
//! that end together some come behind the end of their process: what is still to be told of is found here.

use crate::flow::number::BuildNumber;
use crate::flow::table::{self, Id};
use crate::process::table::Table;
use crate::time::Timestamp;

/// By tid; those of one process are a chain that its entry in the process table is the head of. At most `MOST`; the one
/// that began to be known longest ago makes room, and is then told of by its own end alone.
pub(super) struct Threads {
    table: table::Table<u32, Thread, 1, BuildNumber>,
    evictions: u64,
}

#[derive(Clone, Copy)]
struct Thread {
    tid: u32,
    pid: u32,
    /// Nanoseconds of CLOCK_BOOTTIME: with the tid, which one it is.
    start: u64,
    /// The same as it was told.
    started_at: Option<Timestamp>,
    before: Id,
    behind: Id,
    /// Its end was told with its process's, before its own came.
    ended: bool,
}

/// What is known of a thread that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    /// Nobody was told of its start.
    Not,
    /// When it began, as that was told.
    Began(Option<Timestamp>),
    /// Its end was told with its process's.
    Ended,
}

/// How the end of a process or an exec finds its threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// Their own ends have come, or never will.
    Gone,
    /// Their own ends may come yet, and are not to be told again.
    Awaited,
}

impl Threads {
    pub fn new() -> Threads {
        Threads { table: table::Table::with_room(MOST), evictions: 0 }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// A directive was told that a thread of a process began.
    pub fn begin(&mut self, (tid, start): (u32, u64), started_at: Option<Timestamp>, pid: u32, processes: &mut Table) {
        self.remove(tid, processes);
        if self.table.len() >= MOST
            && let Some((&oldest, _)) = self.table.oldest(0)
        {
            self.remove(oldest, processes);
            self.evictions += 1;
        }
        let Some(entry) = processes.find_any(pid) else { return };
        let behind = entry.threads;
        let thread = Thread { tid, pid, start, started_at, before: Id::NOWHERE, behind, ended: false };
        let id = self.table.insert(tid, thread, 0);
        entry.threads = id;
        if let Some(behind) = self.table.at(behind) {
            behind.before = id;
        }
    }

    /// A thread has ended.
    pub fn end(&mut self, tid: u32, start: u64, processes: &mut Table) -> Known {
        match self.table.get(&tid) {
            Some(&Thread { start: began, started_at, ended, .. }) if began == start => {
                self.remove(tid, processes);
                if ended { Known::Ended } else { Known::Began(started_at) }
            }
            _ => Known::Not,
        }
    }

    /// The thread of a process that has this tid is another from now on, or none. Says when it began.
    pub fn take(&mut self, tid: u32, pid: u32, processes: &mut Table) -> Option<Timestamp> {
        let is = self.table.get(&tid).is_some_and(|thread| thread.pid == pid && !thread.ended);
        self.remove(tid, processes).filter(|_| is)?.started_at
    }

    /// One after the other of a process whose threads have ended, that with this head: its tid, and when it began.
    pub fn pop(&mut self, head: &mut Id, rest: Rest) -> Option<(u32, Option<Timestamp>)> {
        let thread = self.table.at(*head)?;
        let Thread { tid, started_at, behind, .. } = *thread;
        (thread.behind, thread.ended) = (Id::NOWHERE, true);
        *head = behind;
        if let Some(behind) = self.table.at(behind) {
            behind.before = Id::NOWHERE;
        }
        if rest == Rest::Gone {
            self.table.remove(&tid);
        }
        Some((tid, started_at))
    }

    /// Takes one out of the table and out of the chain that it is in.
    fn remove(&mut self, tid: u32, processes: &mut Table) -> Option<Thread> {
        let id = self.table.touch(&tid)?;
        let thread = self.table.remove(&tid)?;
        match self.table.at(thread.before) {
            Some(before) => before.behind = thread.behind,
            None => {
                if let Some(entry) = processes.find_any(thread.pid).filter(|entry| entry.threads == id) {
                    entry.threads = thread.behind;
                }
            }
        }
        if let Some(behind) = self.table.at(thread.behind) {
            behind.before = thread.before;
        }
        Some(thread)
    }
}

const MOST: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Process;
    use crate::process::table::Entry;
    use crate::process::watch::Masks;

    fn processes(pids: &[u32]) -> Table {
        let mut processes = Table::new(16);
        for &pid in pids {
            let process = Process { pid, start: 1, ..Process::default() }.into();
            let masks = Masks::default();
            let (told, threads) = (0, Id::NOWHERE);
            processes.insert(Entry { process, round: 1, execs: 0, masks, told, threads, existing: true });
        }
        processes
    }

    fn begin(threads: &mut Threads, tid: u32, start: u64, pid: u32, processes: &mut Table) {
        threads.begin((tid, start), Some(Timestamp(start)), pid, processes);
    }

    fn rest(threads: &mut Threads, processes: &mut Table, pid: u32, rest: Rest) -> Vec<(u32, u64)> {
        let head = &mut processes.find_any(pid).unwrap().threads;
        std::iter::from_fn(|| threads.pop(head, rest)).map(|(tid, at)| (tid, at.unwrap().0)).collect()
    }

    #[test]
    fn what_has_not_ended_is_found_with_its_process_wherever_in_the_chain_others_have() {
        for ended in 11..=13 {
            let (mut processes, mut threads) = (processes(&[1, 2]), Threads::new());
            for (tid, pid) in [(11, 1), (21, 2), (12, 1), (13, 1)] {
                begin(&mut threads, tid, u64::from(tid) + 100, pid, &mut processes);
            }
            let at = u64::from(ended) + 100;
            assert_eq!(threads.end(ended, at, &mut processes), Known::Began(Some(Timestamp(at))));
            let left: Vec<(u32, u64)> =
                [(13, 113), (12, 112), (11, 111)].into_iter().filter(|(tid, _)| *tid != ended).collect();
            assert_eq!(rest(&mut threads, &mut processes, 1, Rest::Gone), left);
            assert_eq!(rest(&mut threads, &mut processes, 1, Rest::Gone), []);
            assert_eq!(rest(&mut threads, &mut processes, 2, Rest::Gone), [(21, 121)]);
            assert_eq!(threads.len(), 0);
        }
    }

    #[test]
    fn an_end_that_was_told_with_the_process_is_not_told_again_but_that_of_another_with_its_tid_is() {
        let (mut processes, mut threads) = (processes(&[1, 2]), Threads::new());
        for tid in [11, 12] {
            begin(&mut threads, tid, 100, 1, &mut processes);
        }
        assert_eq!(rest(&mut threads, &mut processes, 1, Rest::Awaited), [(12, 100), (11, 100)]);
        assert_eq!(threads.end(11, 100, &mut processes), Known::Ended);
        assert_eq!(threads.end(11, 100, &mut processes), Known::Not);
        assert_eq!(threads.end(12, 101, &mut processes), Known::Not);
        begin(&mut threads, 12, 102, 2, &mut processes);
        assert_eq!(threads.end(12, 100, &mut processes), Known::Not);
        assert_eq!(threads.end(12, 102, &mut processes), Known::Began(Some(Timestamp(102))));
        assert_eq!(threads.len(), 0);
    }

    #[test]
    fn the_oldest_make_room() {
        let (mut processes, mut threads) = (processes(&[1]), Threads::new());
        let most = MOST as u32;
        for tid in 0..most + 2 {
            begin(&mut threads, tid, 100, 1, &mut processes);
        }
        assert_eq!((threads.len(), threads.evictions()), (MOST, 2));
        assert!(rest(&mut threads, &mut processes, 1, Rest::Gone).iter().map(|(tid, _)| *tid).eq((2..most + 2).rev()));
    }
}
