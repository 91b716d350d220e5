//! Processes that have ended before all of their threads had: of threads that end at the same time, any may be the one
//! that the end of the process is told by. Kept for a while, so that the others are told of like those before them.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::process::Process;
use crate::process::table::same_start;

/// At most `MOST` processes, the oldest first.
#[derive(Default)]
pub(super) struct Departed(VecDeque<One>);

struct One {
    process: Rc<Process>,
    /// The directives that are to be told of its threads.
    mask: u64,
    /// CLOCK_MONOTONIC.
    ended: u64,
}

impl Departed {
    /// Keeps a process. `let_go` takes those that need not be kept any longer.
    pub fn push(&mut self, process: Rc<Process>, mask: u64, ended: u64, mut let_go: impl FnMut(Rc<Process>)) {
        let due = |one: &One| one.ended.saturating_add(KEPT) < ended;
        while self.0.len() >= MOST || self.0.front().is_some_and(due) {
            let Some(one) = self.0.pop_front() else { break };
            let_go(one.process);
        }
        self.0.push_back(One { process, mask, ended });
    }

    /// The process that had this pid, and who is to be told of its threads.
    pub fn find(&self, pid: u32, start: u64) -> Option<(&Rc<Process>, u64)> {
        let is = |one: &&One| one.process.pid == pid && same_start(one.process.start, start);
        self.0.iter().rev().find(is).map(|one| (&one.process, one.mask))
    }

    /// A directive has gone: another may get its bit.
    pub fn forget(&mut self, bit: u32) {
        self.0.iter_mut().for_each(|one| one.mask &= !(1 << bit));
    }
}

const MOST: usize = 1024;
/// Ten seconds: a thread may have the memory of a large process to give back first.
const KEPT: u64 = 10_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_kept_for_ten_seconds_and_among_the_last_so_many() {
        let mut departed = Departed::default();
        let mut gone = Vec::new();
        let mut push = |departed: &mut Departed, pid: u32, at: u64| {
            let process = Process { pid, start: 1, ..Process::default() };
            departed.push(process.into(), 0b110, at, |process| gone.push(process.pid));
        };
        let most = MOST as u32;
        (0..=most).for_each(|pid| push(&mut departed, pid, 1));
        assert!(departed.find(0, 1).is_none(), "it has made room");
        assert!(departed.find(1, 20_000_000).is_none(), "another process with its pid");
        departed.forget(1);
        assert!(
            (1..=most).all(|pid| departed.find(pid, 1).is_some_and(|(process, mask)| process.pid == pid && mask == 4))
        );
        push(&mut departed, 5000, 1 + KEPT);
        push(&mut departed, 5001, 2 + KEPT);
        assert_eq!(gone, (0..=most).collect::<Vec<_>>());
        assert!(departed.find(5000, 1).is_some() && departed.find(5001, 1).is_some());
    }
}
