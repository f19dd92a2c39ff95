//! The pseudo-random numbers of hash seeds, simulations, emulated links, workloads and tests: xoshiro256** seeded by
//! splitmix64 (Blackman, Vigna).
//!
//! The same seed gives the same numbers on every machine and in every version of the standard library. Not for
//! secrets: keys come from the operating system.

use std::ops::Range;

/// A generator of pseudo-random numbers. A clone goes on with the same numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prng {
    state: [u64; 4],
}

/// The splitmix64 sequence: one step, for spreading a seed over more words.
pub fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Prng {
    /// The generator of a seed; nearby seeds give unrelated numbers.
    pub fn new(seed: u64) -> Prng {
        let mut state = seed;
        Prng { state: std::array::from_fn(|_| splitmix64(&mut state)) }
    }

    /// A generator for one purpose, drawn from this one: what the purpose uses up does not shift the other numbers.
    pub fn fork(&mut self) -> Prng {
        Prng::new(self.next_u64())
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `bound`. The bias of the multiplication is below bound / 2^64.
    ///
    /// # Panics
    /// If `bound` is 0: no number lies below it.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number of a range.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// True `numerator` times out of `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// One of the items; `None` if there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len() as u64) as usize) }
    }

    /// Puts the items in a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }

    /// An array of random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_published_sequences() {
        // The first outputs of the authors' splitmix64.c for seed 1234567.
        let mut state = 1_234_567;
        let first: [u64; 3] = std::array::from_fn(|_| splitmix64(&mut state));
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        // The first outputs of xoshiro256starstar.c from the state 1, 2, 3, 4.
        let mut prng = Prng { state: [1, 2, 3, 4] };
        let first: [u64; 4] = std::array::from_fn(|_| prng.next_u64());
        assert_eq!(first, [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn covers_a_range_evenly_and_shuffles_to_a_permutation() {
        let mut prng = Prng::new(7);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[prng.within(5..15) as usize - 5] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        let mut items: Vec<u32> = (0..100).collect();
        prng.shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        assert_eq!(prng.pick::<u32>(&[]), None);
    }
}
