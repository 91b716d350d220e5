//! `Ids`: which stream ids one end has opened, so that a late frame of a stream that was told of is
//! known from the first frame of one whose opening was never seen. Ids are opened in rising order (RFC
//! 9113 section 5.1.1), so the highest says it all but for what was missed: those are kept as ranges.

/// The ids that one end opens: odd ones the client, even ones the server.
#[derive(Default)]
pub struct Ids {
    highest: u32,
    /// Why openings between `highest` and the next one may have been missed.
    missed: Option<Missed>,
    /// Ids whose opening may have been missed, as first and last.
    ranges: Vec<(u32, u32, Missed)>,
    /// Ids of `ranges` whose streams are over.
    over: Vec<u32>,
}

/// Why a stream's opening was not seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missed {
    /// It lies before the join.
    Joined,
    /// It was lost.
    Gap,
    /// It was not, the other direction was only read first.
    Ahead,
}

/// What a frame's stream id is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A stream that opens now.
    New,
    /// A stream of which this is the first frame seen, though not its first.
    Missed(Missed),
    /// One that is over, or was never opened.
    Over,
}

impl Ids {
    /// Openings may be missing from here on.
    pub fn miss(&mut self, why: Missed) {
        self.missed = Some(why);
    }

    /// Judges the id of a frame whose stream is not tracked. `opens`: the frame is one that opens
    /// streams, from the end that does; `same`: it comes from that end at least, so that a first frame
    /// cannot have been overtaken.
    pub fn place(&self, id: u32, opens: bool, same: bool) -> Place {
        if id > self.highest {
            return match self.missed {
                _ if opens => Place::New,
                Some(why) => Place::Missed(why),
                None if same => Place::Over,
                None => Place::Missed(Missed::Ahead),
            };
        }
        match self.range(id) {
            Some(Missed::Ahead) if opens && !self.over.contains(&id) => Place::New,
            Some(why) if !self.over.contains(&id) => Place::Missed(why),
            _ => Place::Over,
        }
    }

    /// Whether all openings were seen and this was none of them.
    pub fn never_opened(&self, id: u32) -> bool {
        id > self.highest && self.missed.is_none()
    }

    /// Takes note that the stream is tracked from now on.
    pub fn open(&mut self, id: u32, opens: bool) {
        if id <= self.highest {
            return;
        }
        let why = match self.missed {
            None if opens => None,
            missed => missed.or(Some(Missed::Ahead)),
        };
        if let Some(why) = why
            && id > self.highest + 2
        {
            if self.ranges.len() == RANGES {
                self.ranges.remove(0);
            }
            self.ranges.push((self.highest + 1, id - 1, why));
        }
        if opens {
            self.missed = None;
        }
        self.highest = id;
    }

    /// Takes note that a stream is over.
    pub fn close(&mut self, id: u32) {
        if self.range(id).is_none() {
            return;
        }
        if self.over.len() == OVER {
            self.ranges.clear();
            self.over.clear();
        } else if !self.over.contains(&id) {
            self.over.push(id);
        }
    }

    /// Bytes that its lists take.
    pub fn capacity(&self) -> usize {
        self.ranges.capacity() * 12 + self.over.capacity() * 4
    }

    fn range(&self, id: u32) -> Option<Missed> {
        self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&id)).map(|range| range.2)
    }
}

/// Ranges kept; an older one's ids are taken for over.
const RANGES: usize = 16;
/// Ids kept; beyond that all that was missed is taken for over.
const OVER: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_seen_from_the_start_open_once() {
        let mut ids = Ids::default();
        for id in [1, 3, 9] {
            assert_eq!(ids.place(id, true, true), Place::New);
            ids.open(id, true);
        }
        for id in [1, 3, 5, 7, 9] {
            assert_eq!(ids.place(id, true, true), Place::Over);
            assert_eq!(ids.place(id, false, false), Place::Over);
        }
        assert_eq!(ids.place(11, false, true), Place::Over);
        assert_eq!(ids.place(11, false, false), Place::Missed(Missed::Ahead));
    }

    #[test]
    fn ids_before_a_join_or_in_a_gap_are_streams_once() {
        for why in [Missed::Joined, Missed::Gap] {
            let mut ids = Ids::default();
            ids.miss(why);
            assert_eq!(ids.place(5, false, false), Place::Missed(why));
            ids.open(21, true);
            assert_eq!(ids.place(5, false, false), Place::Missed(why));
            ids.open(5, false);
            ids.close(5);
            assert_eq!(ids.place(5, false, false), Place::Over);
            assert_eq!(ids.place(7, true, true), Place::Missed(why));
            ids.open(23, true);
            ids.close(23);
            assert_eq!(ids.place(23, false, false), Place::Over);
        }
    }

    #[test]
    fn an_answer_that_was_read_before_its_request_does_not_close_the_ids_before_it() {
        let mut ids = Ids::default();
        ids.open(1, true);
        assert_eq!(ids.place(7, false, false), Place::Missed(Missed::Ahead));
        ids.open(7, false);
        for id in [3, 5] {
            assert_eq!(ids.place(id, true, true), Place::New);
            ids.open(id, true);
            ids.close(id);
            assert_eq!(ids.place(id, true, true), Place::Over);
        }
    }
}
