//! Counters whose truth is a total that something else keeps: the kernel's per-CPU maps, the capture
//! library's statistics. They are read at a scrape, and only what is new is added.

use prometheus::IntCounter;

/// A counter that follows a total.
pub struct Total {
    counter: IntCounter,
    seen: u64,
}

impl Total {
    pub fn new(counter: IntCounter) -> Total {
        Total { counter, seen: 0 }
    }

    /// The total now is this. A smaller one than before adds nothing: a counter never goes down.
    pub fn set(&mut self, total: u64) {
        self.counter.inc_by(total.saturating_sub(self.seen));
        self.seen = self.seen.max(total);
    }

    /// What keeps the total was made anew and begins at 0; what was counted stays.
    pub fn restart(&mut self) {
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_followed_over_restarts_and_never_goes_down() {
        let counter = IntCounter::new("a", "b").unwrap();
        let mut total = Total::new(counter.clone());
        for (set, shown) in [(5, 5), (5, 5), (9, 9), (3, 9), (10, 10)] {
            total.set(set);
            assert_eq!(counter.get(), shown);
        }
        total.restart();
        total.set(2);
        assert_eq!(counter.get(), 12);
    }
}
