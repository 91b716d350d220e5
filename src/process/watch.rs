//! Which directives want which process: conditions, decided when a process starts, execs or changes
//! its name or metadata; never per event.

use crate::config::Condition;
use crate::process::Process;

/// One bit per directive, one word per source.
pub type Masks = [u64; SOURCES];

/// The number of sources that have a word: the same as in include/tawon/record.h.
pub const SOURCES: usize = 5;

/// The directives that run, by source and bit.
#[derive(Default)]
pub struct Watchers {
    slots: Vec<Watcher>,
}

struct Watcher {
    source: usize,
    bit: u32,
    condition: Option<Condition>,
}

impl Watchers {
    pub fn add(&mut self, source: usize, bit: u32, condition: Option<Condition>) {
        self.slots.push(Watcher { source, bit, condition });
    }

    pub fn remove(&mut self, source: usize, bit: u32) {
        self.slots.retain(|slot| (slot.source, slot.bit) != (source, bit));
    }

    /// The directives that want this process.
    pub fn decide(&self, process: &Process) -> Masks {
        self.select(|condition| condition.is_none_or(|condition| condition.matches(process)))
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
