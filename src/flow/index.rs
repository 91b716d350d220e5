//! `Index`: from a key's hash to the number of the slot that holds it. Open addressing with linear
//! probing in one array of 8 bytes per place, so that a look-up touches one cache line before it
//! touches the slot. Knows no keys: who asks says whether a slot is the one.

/// Places by hash. What leaves is closed up at once, so that nothing is left behind by removals.
#[derive(Default)]
pub struct Index {
    /// Upper half the hash, lower half the slot's number plus one; 0 is a free place. A power of two
    /// of them, or none.
    places: Vec<u64>,
    length: usize,
}

impl Index {
    /// Bytes per entry when as full as it gets before it grows.
    pub const ENTRY_BYTES: usize = size_of::<u64>() * 2;

    pub fn len(&self) -> usize {
        self.length
    }

    /// The slot of this hash that `is` says yes to.
    #[inline]
    pub fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.probe(half(hash), is).map(|(_, slot)| slot)
    }

    /// Where a look-up begins: of this half of a hash.
    #[inline]
    pub fn place(&self, half: u32) -> Option<&u64> {
        self.places.get(self.home(half))
    }

    /// The slot that a look-up most likely finds: another's only if all of this half of the hash agrees.
    #[inline]
    pub fn guess(&self, half: u32) -> Option<u32> {
        let home = self.home(half);
        let near = self.places.get(home..(home + NEAR).min(self.places.len()))?;
        let place = near.iter().find(|place| (**place >> 32) as u32 == half && **place != 0)?;
        Some((*place as u32).wrapping_sub(1))
    }

    /// Adds a slot that is not in it.
    #[inline]
    pub fn insert(&mut self, hash: u64, slot: u32) {
        // At most half full: nearly every look-up ends where it begins.
        if (self.length + 1) * 2 > self.places.len() {
            self.grow();
        }
        self.length += 1;
        self.put(half(hash), slot);
    }

    /// Takes out the slot of this hash that `is` says yes to.
    #[inline]
    pub fn remove(&mut self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        let (mut hole, slot) = self.probe(half(hash), is)?;
        self.length -= 1;
        let mask = self.places.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let place = self.places[at];
            // What stands behind the hole moves into it, unless that is before where it belongs.
            let strays = at.wrapping_sub(self.home((place >> 32) as u32)) & mask;
            if place == 0 {
                break;
            }
            if strays >= (at.wrapping_sub(hole) & mask) {
                self.places[hole] = place;
                hole = at;
            }
        }
        self.places[hole] = 0;
        Some(slot)
    }

    /// Where the slot of a hash stands, and which it is.
    #[inline]
    fn probe(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<(usize, u32)> {
        let mask = self.places.len().checked_sub(1)?;
        let mut at = self.home(hash);
        loop {
            let place = self.places[at & mask];
            if place == 0 {
                return None;
            }
            let slot = (place as u32).wrapping_sub(1);
            if (place >> 32) as u32 == hash && is(slot) {
                return Some((at & mask, slot));
            }
            at += 1;
        }
    }

    fn put(&mut self, hash: u32, slot: u32) {
        let mask = self.places.len() - 1;
        let mut at = self.home(hash);
        while self.places[at & mask] != 0 {
            at += 1;
        }
        self.places[at & mask] = u64::from(hash) << 32 | (u64::from(slot) + 1);
    }

    /// The first place of a hash: its upper bits, so that growing keeps the order and reads and writes
    /// memory from one end to the other.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.places.len() as u64) >> 32) as usize
    }

    fn grow(&mut self) {
        let larger = vec![0; (self.places.len() * 2).max(SMALLEST)];
        let old = std::mem::replace(&mut self.places, larger);
        for place in old.into_iter().filter(|place| *place != 0) {
            self.put((place >> 32) as u32, (place as u32).wrapping_sub(1));
        }
    }
}

/// Half of a hash, in which all of its bits have a say: FNV's upper ones know little of the last byte.
#[inline]
pub fn half(hash: u64) -> u32 {
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

const SMALLEST: usize = 8;
/// Places that a guess looks at.
const NEAR: usize = 4;

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
            assert!(index.length * 2 <= index.places.len());
        }
        for slot in 0..100_000 {
            assert_eq!(index.remove(u64::from(slot), |at| at == slot), Some(slot));
            assert_eq!(index.find(u64::from(slot), |at| at == slot), None);
        }
        assert_eq!(index.len(), 0);
        assert!(index.places.iter().all(|place| *place == 0));
    }
}
