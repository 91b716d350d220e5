//! A fast hash with a seed that peers do not know, for tables keyed by what they choose.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The seed: an odd multiplier and a start, drawn once per task.
#[derive(Clone, Copy)]
pub struct Seeded {
    start: u64,
    factor: u64,
}

impl Seeded {
    pub fn new() -> Seeded {
        let random = RandomState::new();
        Seeded { start: random.hash_one(1), factor: random.hash_one(2) | 1 }
    }
}

impl BuildHasher for Seeded {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer { state: self.start, factor: self.factor }
    }
}

/// Folds in whole words by a wide multiplication.
pub struct Mixer {
    state: u64,
    factor: u64,
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let wide = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = (wide >> 64) as u64 ^ wide as u64;
    }

    fn finish(&self) -> u64 {
        self.state
    }
}
