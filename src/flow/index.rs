//! `Index`: from a key's hash to the number of the slot that holds it. Open addressing, eight places of
//! 8 bytes to a cache line, all eight compared at once: a look-up nearly always reads one line before it
//! reads the slot, and takes no branch that depends on where in the line it finds that. Knows no keys: who
//! asks says whether a slot is the one.

/// Places by hash. What leaves is closed up at once, so that nothing is left behind by removals.
#[derive(Default)]
pub struct Index {
    /// A power of two of them, or none.
    lines: Vec<Line>,
    length: usize,
}

/// The places of a cache line; those that are taken come first.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line {
    hashes: [u32; WIDTH],
    /// Each slot's number plus one; 0 is a free place.
    slots: [u32; WIDTH],
}

impl Index {
    /// Bytes per entry half-way between one growth and the next.
    pub const ENTRY_BYTES: usize = size_of::<Line>() / WIDTH * 2;

    pub fn len(&self) -> usize {
        self.length
    }

    /// The slot of this hash that `is` says yes to.
    #[inline]
    pub fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.probe(half(hash), is).map(|(_, _, slot)| slot)
    }

    /// Where a look-up begins: of this half of a hash.
    #[inline]
    pub fn line(&self, half: u32) -> Option<*const u8> {
        self.lines.get(self.home(half)).map(|line| std::ptr::from_ref(line).cast())
    }

    /// The slot that a look-up most likely finds: another's only if all of this half of the hash agrees.
    #[inline]
    pub fn guess(&self, half: u32) -> Option<u32> {
        let line = self.lines.get(self.home(half))?;
        match line.agreeing(half) {
            0 => None,
            agreeing => Some(line.slot(agreeing)),
        }
    }

    /// Adds a slot that is not in it.
    #[inline]
    pub fn insert(&mut self, hash: u64, slot: u32) {
        // At most three quarters full: nearly every look-up ends in the line where it begins.
        if (self.length + 1) * 4 > self.lines.len() * WIDTH * 3 {
            self.grow();
        }
        self.length += 1;
        self.put(half(hash), slot);
    }

    /// Takes out the slot of this hash that `is` says yes to.
    #[inline]
    pub fn remove(&mut self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        let (mut hole, place, slot) = self.probe(half(hash), is)?;
        self.length -= 1;
        let mut was_full = self.lines[hole].take(place);
        while was_full {
            // What found that line full and stands behind it moves up, from as far as such may stand.
            let Some((line, place)) = self.stray(hole) else { break };
            let (hash, slot) = (self.lines[line].hashes[place], self.lines[line].slots[place]);
            self.lines[hole].put(hash, slot);
            was_full = self.lines[line].take(place);
            hole = line;
        }
        Some(slot)
    }

    /// Line and place of the slot of a hash, and which it is.
    #[inline]
    fn probe(&self, half: u32, mut is: impl FnMut(u32) -> bool) -> Option<(usize, usize, u32)> {
        let mask = self.lines.len().checked_sub(1)?;
        let mut at = self.home(half);
        loop {
            let line = &self.lines[at & mask];
            let mut agreeing = line.agreeing(half);
            while agreeing != 0 {
                let slot = line.slot(agreeing);
                if is(slot) {
                    return Some((at & mask, first(agreeing), slot));
                }
                agreeing &= agreeing - 1;
            }
            if !line.is_full() {
                return None;
            }
            at += 1;
        }
    }

    /// Behind a line with a free place: what would stand there if that had been free.
    #[cold]
    fn stray(&self, hole: usize) -> Option<(usize, usize)> {
        let mask = self.lines.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let line = &self.lines[at];
            let from_hole = at.wrapping_sub(hole) & mask;
            let strays = |place: &usize| at.wrapping_sub(self.home(line.hashes[*place])) & mask >= from_hole;
            if let Some(place) = (0..line.taken()).find(strays) {
                return Some((at, place));
            }
            if !line.is_full() {
                return None;
            }
        }
    }

    fn put(&mut self, half: u32, slot: u32) {
        let mask = self.lines.len() - 1;
        let mut at = self.home(half);
        while self.lines[at & mask].is_full() {
            at += 1;
        }
        self.lines[at & mask].put(half, slot + 1);
    }

    /// The first line of a hash: its upper bits, so that growing keeps the order and reads and writes
    /// memory from one end to the other.
    #[inline]
    fn home(&self, half: u32) -> usize {
        ((u64::from(half) * self.lines.len() as u64) >> 32) as usize
    }

    fn grow(&mut self) {
        let larger = vec![Line::default(); (self.lines.len() * 2).max(1)];
        for line in std::mem::replace(&mut self.lines, larger) {
            for place in 0..line.taken() {
                self.put(line.hashes[place], line.slots[place] - 1);
            }
        }
    }
}

impl Line {
    /// `BITS` of the places that have this half of a hash; a free one may be among them.
    #[inline]
    fn agreeing(&self, half: u32) -> u32 {
        let bits = |at: usize| if self.hashes[at] == half { BITS[at] } else { 0 };
        // In this shape, and with no 1 among the bits, compilers see that four can be compared at a time.
        let mut four = [0; WIDTH / 2];
        for (at, both) in four.iter_mut().enumerate() {
            *both = bits(at) | bits(at + WIDTH / 2);
        }
        four[0] | four[1] | four[2] | four[3]
    }

    /// The number that the first of these places holds, which is no slot's where that is free.
    #[inline]
    fn slot(&self, agreeing: u32) -> u32 {
        self.slots[first(agreeing)].wrapping_sub(1)
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.slots[WIDTH - 1] != 0
    }

    fn taken(&self) -> usize {
        self.slots.iter().take_while(|slot| **slot != 0).count()
    }

    /// Fills the first free place, if there is one.
    fn put(&mut self, hash: u32, slot: u32) {
        let at = self.taken();
        if at < WIDTH {
            (self.hashes[at], self.slots[at]) = (hash, slot);
        }
    }

    /// Frees a place. Says whether the line was full.
    fn take(&mut self, place: usize) -> bool {
        let (was_full, last) = (self.is_full(), self.taken() - 1);
        (self.hashes[place], self.slots[place]) = (self.hashes[last], self.slots[last]);
        (self.hashes[last], self.slots[last]) = (0, 0);
        was_full
    }
}

/// The first place of those that agree, of which there is one.
#[inline]
fn first(agreeing: u32) -> usize {
    (agreeing.trailing_zeros() as usize).wrapping_sub(1) % WIDTH
}

/// Half of a hash, in which all of its bits have a say: FNV's upper ones know little of the last byte.
#[inline]
pub fn half(hash: u64) -> u32 {
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Places of a line.
const WIDTH: usize = 8;
const BITS: [u32; WIDTH] = [2, 4, 8, 16, 32, 64, 128, 256];

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn any_order_of_calls_agrees_with_a_plain_map() {
        // Few hashes, so that many slots share one and runs wrap around the end.
        let (mut index, mut model) = (Index::default(), HashMap::<u32, u64>::new());
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for step in 0..200_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let slot = (random >> 8) as u32 % 64;
            let hash = u64::from(slot % 11).wrapping_mul(u64::MAX / 11);
            match (model.contains_key(&slot), random % 3) {
                (false, 0) => {
                    index.insert(hash, slot);
                    model.insert(slot, hash);
                }
                (known, 1) => {
                    assert_eq!(index.remove(hash, |at| at == slot), known.then_some(slot));
                    model.remove(&slot);
                }
                (known, _) => assert_eq!(index.find(hash, |at| at == slot), known.then_some(slot)),
            }
            assert_eq!(index.len(), model.len());
            if step % 1000 == 0 {
                for (slot, hash) in &model {
                    assert_eq!(index.find(*hash, |at| at == *slot), Some(*slot));
                }
            }
        }
    }

    #[test]
    fn it_is_never_full_and_shrinks_to_nothing_by_removals() {
        let mut index = Index::default();
        for slot in 0..100_000 {
            index.insert(u64::from(slot), slot);
            assert!(index.length * 4 <= index.lines.len() * WIDTH * 3);
        }
        for slot in 0..100_000 {
            assert_eq!(index.remove(u64::from(slot), |at| at == slot), Some(slot));
            assert_eq!(index.find(u64::from(slot), |at| at == slot), None);
        }
        assert_eq!(index.len(), 0);
        assert!(index.lines.iter().all(|line| line.slots == [0; WIDTH]));
    }
}
