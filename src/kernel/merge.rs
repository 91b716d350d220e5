//! `Merge`: what the rings of all sources hold, handed out in order of time. Each ring's notes are in
//! order already, so the rings are merged: a run of one ring costs a comparison per record. Whoever
//! takes the records is told of each before that, to have memory fetched in the meantime.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ring::{Note, Rings};

/// Buffers that are used again from turn to turn.
#[derive(Default)]
pub struct Merge {
    notes: Vec<Note>,
    runs: Vec<Run>,
    /// The time of each run's next note, and the run.
    heads: BinaryHeap<Reverse<(u64, u32)>>,
}

/// The notes of one ring, from `next` on yet to be handed out.
struct Run {
    source: usize,
    ring: usize,
    begin: usize,
    next: usize,
    /// Up to where what is known of records has been fetched.
    fetched: usize,
    end: usize,
}

/// Who takes the records.
pub trait Reader {
    /// A record of a source lies in its ring and is going to be handed over, mostly in this turn: time to
    /// have fetched from memory what `fetch` needs. What it gives is kept with the record.
    fn note(&self, _source: usize, _bytes: &[u8]) -> u32 {
        0
    }

    /// The record is one of the next: time to have fetched from memory what is known of it. What was kept
    /// with it is given, and what it gives is kept instead.
    fn fetch(&self, _source: usize, hint: u32) -> u32 {
        hint
    }

    /// One record of a source, and what is kept with it.
    fn record(&mut self, source: usize, bytes: &[u8], hint: u32);
}

impl<F: FnMut(usize, &[u8])> Reader for F {
    fn record(&mut self, source: usize, bytes: &[u8], _: u32) {
        self(source, bytes);
    }
}

/// What came of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Drained {
    pub records: usize,
    /// Whether rings hold more that is old enough.
    pub more: bool,
}

impl Merge {
    /// Hands `to` the source and the bytes of every record older than `before` (nanoseconds of
    /// CLOCK_MONOTONIC), in order of time over all rings; at most about `TURN` records.
    pub fn drain(&mut self, sources: &mut [Option<&mut Rings>], before: u64, to: &mut impl Reader) -> Drained {
        let (limit, more) = self.collect(sources, before, to);
        if self.notes.is_empty() {
            return Drained::default();
        }
        let mut records = 0;
        while let Some(Reverse((time, at))) = self.heads.pop() {
            if time > limit {
                break;
            }
            let Some(run) = self.runs.get_mut(at as usize) else { continue };
            let Some(Some(rings)) = sources.get(run.source) else { continue };
            let until = self.heads.peek().map_or(limit, |Reverse((next, _))| limit.min(*next));
            let (ring, notes, begin) = (rings.ring(run.ring), &mut self.notes[..run.end], run.next);
            while notes.get(run.next).is_some_and(|note| note.time <= until) {
                // Record by record, so that as much memory as can be is on its way at any time, and no more.
                run.look_ahead(notes, to);
                let note = &notes[run.next];
                to.record(run.source, ring.bytes(note), note.hint);
                run.next += 1;
            }
            records += run.next - begin;
            if let Some(note) = notes.get(run.next) {
                self.heads.push(Reverse((note.time, at)));
            }
        }
        for run in self.runs.iter().filter(|run| run.next < run.end) {
            let Some(Some(rings)) = sources.get_mut(run.source) else { continue };
            let reached = self.notes[run.begin..run.next].iter().map(|note| note.position).max();
            for note in &self.notes[run.next..run.end] {
                // What lies before something that was handed out cannot be left in the ring.
                if reached.is_some_and(|reached| note.position < reached) {
                    to.record(run.source, rings.ring(run.ring).bytes(note), note.hint);
                    records += 1;
                } else {
                    rings.hold(run.ring, note);
                }
            }
        }
        sources.iter_mut().flatten().for_each(|rings| rings.release());
        Drained { records, more }
    }

    /// Notes what there is. Returns the time up to which it can be handed out: what is younger than
    /// where a ring stopped has to wait for the rest of that one.
    fn collect(&mut self, sources: &mut [Option<&mut Rings>], before: u64, to: &impl Reader) -> (u64, bool) {
        self.notes.clear();
        self.runs.clear();
        self.heads.clear();
        let rings: usize = sources.iter().flatten().map(|rings| rings.count()).sum();
        let budget = (TURN / rings.max(1)).max(LEAST);
        let (mut limit, mut more) = (before, false);
        for (source, rings) in sources.iter_mut().enumerate() {
            let Some(rings) = rings else { continue };
            for ring in 0..rings.count() {
                let next = self.notes.len();
                let left = rings.collect(ring, before, budget, &mut self.notes, |bytes| to.note(source, bytes));
                let end = self.notes.len();
                let (Some(first), Some(last)) = (self.notes[next..].first(), self.notes[next..].last()) else {
                    continue;
                };
                if left {
                    (limit, more) = (limit.min(last.time), true);
                }
                self.heads.push(Reverse((first.time, self.runs.len() as u32)));
                self.runs.push(Run { source, ring, begin: next, next, fetched: next, end });
            }
        }
        (limit, more)
    }
}

impl Run {
    #[inline]
    fn look_ahead(&mut self, notes: &mut [Note], to: &impl Reader) {
        while let Some(note) = notes.get_mut(self.fetched).filter(|_| self.fetched <= self.next + AHEAD) {
            note.hint = to.fetch(self.source, note.hint);
            self.fetched += 1;
        }
    }
}

/// Records of one turn, over all rings: what a scrape waits for at most, at a few microseconds each.
const TURN: usize = 2048;
/// Records of a ring for which memory is being fetched at a time.
const AHEAD: usize = 16;
/// Of one ring in any case.
const LEAST: usize = 64;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::ring::PerfRing;
    use super::super::ring::tests::{number, record};
    use super::*;

    #[test]
    fn records_of_all_rings_come_once_each_in_order_of_time() {
        // More in one ring than a turn takes, so that the others have to wait for its rest.
        let many = TURN as u64 / 4 + 400;
        let mut sources: Vec<Rings> =
            (0..2).map(|_| Rings::Perf(vec![PerfRing::made(64), PerfRing::made(64)])).collect();
        let mut push = |source: usize, ring: usize, time: u64, number: u64| {
            let Rings::Perf(rings) = &mut sources[source] else { panic!("perf rings") };
            assert!(rings[ring].push(&record(time, number, 16)));
        };
        for number in 0..many {
            push(0, 0, number * 4, number);
        }
        for number in 0..100 {
            // In pairs that an interrupt has turned around.
            push(0, 1, (number ^ 1) * 40 + 1, number);
            push(1, 0, number * 60 + 2, number);
            push(1, 1, number * 70 + 3, number);
        }
        push(1, 1, 1_000_000, 0);
        let (mut merge, mut times, mut turns) = (Merge::default(), Vec::new(), 0);
        loop {
            turns += 1;
            let mut all: Vec<Option<&mut Rings>> = sources.iter_mut().map(Some).collect();
            let drained = merge.drain(&mut all, 1_000_000, &mut |_, bytes: &[u8]| {
                times.push(u64::from_ne_bytes(bytes[..8].try_into().unwrap()));
            });
            if !drained.more {
                break;
            }
            assert!(drained.records > 0);
        }
        assert_eq!(turns, 2);
        assert_eq!(times.len() as u64, many + 300, "each once, but for the one that is too young");
        assert!(times.is_sorted());
        let mut all: Vec<Option<&mut Rings>> = sources.iter_mut().map(Some).collect();
        assert_eq!(merge.drain(&mut all, u64::MAX, &mut |_, _: &[u8]| ()), Drained { records: 1, more: false });
    }

    /// Notes a record by its number, and adds a mark where it is fetched.
    struct Marked {
        fetched: Cell<u32>,
        records: u32,
    }

    impl Reader for Marked {
        fn note(&self, source: usize, bytes: &[u8]) -> u32 {
            number(bytes) << 8 | source as u32
        }

        fn fetch(&self, source: usize, hint: u32) -> u32 {
            assert_eq!((hint & 0xff) as usize, source);
            self.fetched.set(self.fetched.get() + 1);
            hint | MARK
        }

        fn record(&mut self, source: usize, bytes: &[u8], hint: u32) {
            assert_eq!(hint, number(bytes) << 8 | source as u32 | MARK);
            self.records += 1;
            // Of each of the four rings.
            assert!(self.fetched.get() - self.records <= 4 * AHEAD as u32);
        }
    }

    #[test]
    fn each_record_comes_with_what_was_made_of_it_and_is_fetched_once_shortly_before() {
        let mut sources: Vec<Rings> =
            (0..2).map(|_| Rings::Perf(vec![PerfRing::made(64), PerfRing::made(64)])).collect();
        for at in 0..1200u64 {
            // Long runs of one ring, then record by record in turns.
            let (source, ring) = if at < 800 { (at / 300 % 2, at / 150 % 2) } else { (at % 2, at / 2 % 2) };
            let Rings::Perf(rings) = &mut sources[source as usize] else { panic!("perf rings") };
            assert!(rings[ring as usize].push(&record(at * 3, at, 16)));
        }
        let mut all: Vec<Option<&mut Rings>> = sources.iter_mut().map(Some).collect();
        let mut reader = Marked { fetched: Cell::new(0), records: 0 };
        assert_eq!(Merge::default().drain(&mut all, u64::MAX, &mut reader).records, 1200);
        assert_eq!((reader.records, reader.fetched.get()), (1200, 1200));
    }

    const MARK: u32 = 1 << 31;
}
