//! The mix of a load: how much of it crosses shards, and how much of that is wrong on purpose.

use bft::prng::Prng;

/// A share of a whole, to the millionth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Share {
    millionths: u32,
}

impl Share {
    /// Nothing of it.
    pub(crate) const NONE: Share = Share { millionths: 0 };
    /// A tenth of it.
    pub(crate) const TENTH: Share = Share { millionths: WHOLE / 10 };

    /// A share from 0 to 1.
    pub(crate) fn of(part: f64) -> Share {
        Share { millionths: (part.clamp(0.0, 1.0) * f64::from(WHOLE)).round() as u32 }
    }

    /// Whether one more belongs to it.
    pub(super) fn draw(self, prng: &mut Prng) -> bool {
        self > Share::NONE && prng.chance(self.millionths.into(), WHOLE.into())
    }
}

const WHOLE: u32 = 1_000_000;

/// The mix of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mix {
    /// Of all transactions, those that cross shards.
    pub(crate) cross: Share,
    /// Of their inputs, those that cannot be spent.
    pub(crate) invalid: Share,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_drawn() {
        assert_eq!(Share::of(0.1), Share::TENTH);
        let mut prng = Prng::new(1);
        let mut count = |part: f64| (0..10_000).filter(|_| Share::of(part).draw(&mut prng)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((2_300..2_700).contains(&count(0.25)));
    }
}
