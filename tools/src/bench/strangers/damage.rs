//! Bytes that make no sense: random, truncated, bit-flipped.

use bft::prng::Prng;

/// How bytes are damaged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Damage {
    /// Nothing of the sample is left.
    Random,
    /// The end is missing.
    Truncated,
    /// One bit is another.
    Flipped,
}

/// Longest random bytes.
const RANDOM_BYTES_MAX: u64 = 256;

impl Damage {
    /// Each as likely as the others.
    pub(super) fn draw(prng: &mut Prng) -> Damage {
        match prng.below(3) {
            0 => Damage::Random,
            1 => Damage::Truncated,
            _ => Damage::Flipped,
        }
    }

    /// The name it is counted under.
    pub(super) fn name(self) -> &'static str {
        match self {
            Damage::Random => "random frames",
            Damage::Truncated => "truncated frames",
            Damage::Flipped => "bit-flipped frames",
        }
    }

    /// Damages a sample, which is not empty.
    pub(super) fn apply(self, mut sample: Vec<u8>, prng: &mut Prng) -> Vec<u8> {
        let length = sample.len() as u64;
        match self {
            Damage::Random => {
                sample = vec![0; 1 + prng.below(RANDOM_BYTES_MAX) as usize];
                prng.fill(&mut sample);
            }
            Damage::Truncated => sample.truncate(prng.below(length) as usize),
            Damage::Flipped => sample[prng.below(length) as usize] ^= 1 << prng.below(8),
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_is_not_what_it_was() {
        let mut prng = Prng::new(7);
        let sample: Vec<u8> = (0..100).collect();
        for _ in 0..1_000 {
            let damage = Damage::draw(&mut prng);
            let damaged = damage.apply(sample.clone(), &mut prng);
            assert_ne!(damaged, sample);
            match damage {
                Damage::Random => assert!((1..=256).contains(&damaged.len())),
                Damage::Truncated => assert!(sample.starts_with(&damaged)),
                Damage::Flipped => {
                    let flipped = sample.iter().zip(&damaged).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
                    assert_eq!((damaged.len(), flipped), (sample.len(), 1));
                }
            }
        }
    }
}
