//! Which directives want which process: conditions, decided when a process starts, execs or changes
//! its name or metadata; never per event.

use crate::config::Condition;
use crate::process::Process;
use crate::process::table::Entry;

/// One bit per directive, one word per source.
pub type Masks = [u64; SOURCES];

/// The round of an entry that nothing was decided of yet.
pub const UNDECIDED: u32 = 0;

/// The number of sources that have a word: the same as in include/tawon/record.h.
pub const SOURCES: usize = 5;

/// The word of exec.
pub const EXEC: usize = 0;

/// The directives that run, by source and bit.
pub struct Watchers {
    slots: Vec<Watcher>,
    round: u32,
}

struct Watcher {
    source: usize,
    bit: u32,
    condition: Option<Condition>,
    /// The first round in which it takes part.
    since: u32,
}

impl Default for Watchers {
    fn default() -> Watchers {
        Watchers { slots: Vec::new(), round: UNDECIDED + 1 }
    }
}

impl Watchers {
    pub fn add(&mut self, source: usize, bit: u32, condition: Option<Condition>) {
        self.round += 1;
        self.slots.push(Watcher { source, bit, condition, since: self.round });
    }

    pub fn remove(&mut self, source: usize, bit: u32) {
        self.slots.retain(|slot| (slot.source, slot.bit) != (source, bit));
        self.round += 1;
    }

    /// Another one with each change of directives: what was decided in an earlier round is to be decided anew.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// How many conditions each decision looks at.
    pub fn conditions(&self) -> usize {
        self.slots.iter().filter(|slot| slot.condition.is_some()).count()
    }

    /// The directives of a source that want the process of an entry now, whether that is written there yet or
    /// not.
    #[inline]
    pub fn mask(&self, entry: &Entry, source: usize) -> u64 {
        let masks = if entry.round == self.round { &entry.masks } else { return self.decide_late(entry, source) };
        masks.get(source).copied().unwrap_or_default()
    }

    #[cold]
    fn decide_late(&self, entry: &Entry, source: usize) -> u64 {
        self.decide(&entry.process).get(source).copied().unwrap_or_default()
    }

    /// The directives that want this process.
    pub fn decide(&self, process: &Process) -> Masks {
        self.select(|condition| condition.is_none_or(|condition| condition.matches(process)))
    }

    /// The same for what becomes of a process that directives of exec have been told of.
    pub fn decide_on(&self, process: &Process, told: u64) -> Masks {
        let mut masks = self.decide(process);
        masks[EXEC] |= told;
        masks
    }

    /// The directives of exec that there were in a round and are still: a bit may be another directive's by now.
    pub fn still(&self, round: u32) -> u64 {
        let those = self.slots.iter().filter(|slot| slot.source == EXEC && slot.since <= round);
        those.fold(0, |mask, slot| mask | 1 << slot.bit)
    }

    /// The directives that want every process.
    pub fn unconditional(&self) -> Masks {
        self.select(|condition| condition.is_none())
    }

    /// Whether an exec needs deciding at all.
    pub fn any_conditions(&self) -> bool {
        self.slots.iter().any(|slot| slot.condition.is_some())
    }

    fn select(&self, wanted: impl Fn(Option<&Condition>) -> bool) -> Masks {
        let mut masks = Masks::default();
        for slot in &self.slots {
            if let Some(mask) = masks.get_mut(slot.source).filter(|_| wanted(slot.condition.as_ref())) {
                *mask |= 1 << slot.bit;
            }
        }
        masks
    }
}
