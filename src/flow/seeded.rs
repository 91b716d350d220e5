//! A fast hash with a seed that peers do not know, for tables keyed by what they choose.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The seed: a start and two odd multipliers, drawn once per table.
#[derive(Clone, Copy)]
pub struct Seeded {
    start: u64,
    factors: [u64; 2],
}

impl Seeded {
    pub fn new() -> Seeded {
        let random = RandomState::new();
        Seeded { start: random.hash_one(1), factors: [random.hash_one(2) | 1, random.hash_one(3) | 1] }
    }
}

impl Default for Seeded {
    fn default() -> Seeded {
        Seeded::new()
    }
}

impl BuildHasher for Seeded {
    type Hasher = Mixer;

    #[inline]
    fn build_hasher(&self) -> Mixer {
        Mixer { state: self.start, factors: self.factors }
    }
}

/// Folds in whole words by wide multiplications. The two words of a pair are multiplied apart from each
/// other, by secrets of their own: a product of two words that a peer chooses could be made 0.
pub struct Mixer {
    state: u64,
    factors: [u64; 2],
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(0, |all, &byte| all << 8 | u64::from(byte));
        self.write_u64(last << 8 | rest.len() as u64);
    }

    #[inline]
    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.state = fold(self.state ^ word, self.factors[0]);
    }

    #[inline]
    fn write_u128(&mut self, words: u128) {
        let [first, second] = self.factors;
        // Turned, so that equal products do not take each other out.
        self.state =
            fold(self.state ^ words as u64, first) ^ fold((words >> 64) as u64 ^ first, second).rotate_left(32);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

/// Both halves of the product in one.
#[inline]
fn fold(word: u64, factor: u64) -> u64 {
    let wide = u128::from(word) * u128::from(factor);
    (wide >> 64) as u64 ^ wide as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::flow::key::FlowKey;

    #[test]
    fn flows_of_neighbouring_addresses_and_ports_spread_over_the_upper_and_the_lower_half() {
        let seed = Seeded::new();
        let server = (Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().to_bits(), 80);
        let mapped =
            |at: u32| (Ipv4Addr::from(0x0a01_0000 + at % 256).to_ipv6_mapped().to_bits(), 1024 + (at / 256) as u16);
        let apart = |at: u32| (0x2001_0db8_u128 << 96 | u128::from(at) << 60, 443);
        for of in [&mapped as &dyn Fn(u32) -> (u128, u16), &apart] {
            let hashes: Vec<u64> = (0..COUNT).map(|at| seed.hash_one(FlowKey::new(6, of(at), server).0)).collect();
            assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), COUNT as usize);
            for shift in [0, 16, 32, 48] {
                // As many different values as COUNT draws of COUNT give: 63 of 100.
                let places: HashSet<_> = hashes.iter().map(|hash| (hash >> shift) as u16).collect();
                assert!(
                    (COUNT as usize * 60 / 100..COUNT as usize * 67 / 100).contains(&places.len()),
                    "{}",
                    places.len()
                );
            }
        }
    }

    #[test]
    fn two_seeds_agree_on_nothing() {
        let (one, other) = (Seeded::new(), Seeded::new());
        for word in 0..1000u64 {
            assert_ne!(one.hash_one(word), other.hash_one(word));
        }
    }

    #[test]
    fn what_is_written_by_bytes_depends_on_all_of_them_and_on_their_number() {
        let seed = Seeded::new();
        let hash = |bytes: &[u8]| {
            let mut mixer = seed.build_hasher();
            mixer.write(bytes);
            mixer.finish()
        };
        let text = b"application/json";
        let mut seen = HashSet::new();
        for length in 0..=text.len() {
            assert!(seen.insert(hash(&text[..length])));
            for at in 0..length {
                let mut other = text[..length].to_vec();
                other[at] ^= 0x80;
                assert!(seen.insert(hash(&other)));
            }
        }
        assert_ne!(hash(&[0; 3]), hash(&[0; 4]));
    }

    const COUNT: u32 = 65_536;
}
