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
    /// Completes "expected …" in errors.
    pub(crate) const EXPECTED: &str = "a share from 0 to 1";

    /// Reads a share.
    pub(crate) fn parse(text: &str) -> Option<Share> {
        let share: f64 = text.parse().ok()?;
        (0.0..=1.0).contains(&share).then(|| Share { millionths: (share * f64::from(WHOLE)).round() as u32 })
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
    fn shares_are_read_and_drawn() {
        for text in ["-0.1", "1.1", "x", "", "NaN"] {
            assert_eq!(Share::parse(text), None, "{text}");
        }
        assert_eq!(Share::parse("0.1"), Some(Share::TENTH));
        let mut prng = Prng::new(1);
        let mut count = |share: &str| {
            let share = Share::parse(share).unwrap();
            (0..10_000).filter(|_| share.draw(&mut prng)).count()
        };
        assert_eq!((count("0"), count("1")), (0, 10_000));
        assert!((2_300..2_700).contains(&count("0.25")));
    }
}
