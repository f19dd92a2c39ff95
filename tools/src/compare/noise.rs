//! Whether two groups of numbers differ by more than their members do among themselves.
//!
//! Student's t for two groups with one deviation in common: it works with one number on one side, as long as the other
//! side has two. The bound on the difference of the means is t · s · √(1/a + 1/b), with s from both groups and t for
//! 95 % and a + b − 2 degrees of freedom: of twenty figures that do not differ, one is found beyond it. With a single
//! number on each side there is no s, and no bound; with two the bound holds, but is so wide that it means little.
//!
//! A quantile is reported as the end of a histogram bucket, so it may be the same in all runs while the measured values
//! differ. Then s is 0, and the neighbouring bucket would count as a difference. So the bound is at least one bucket.

/// Numbers of one side.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Group(Vec<f64>);

/// t for 95 %, both sides, for 1, 2, … degrees of freedom.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

impl Group {
    /// A group of these numbers; `None` if there are none.
    pub(super) fn of(numbers: Vec<f64>) -> Option<Group> {
        (!numbers.is_empty()).then_some(Group(numbers))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Their mean.
    pub(super) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// The least and the greatest.
    pub(super) fn range(&self) -> (f64, f64) {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    /// The bound on the difference of the two means, at least `step`, the resolution of the numbers; `None` if nothing
    /// is repeated.
    pub(super) fn noise(&self, other: &Group, step: f64) -> Option<f64> {
        let (a, b) = (self.count(), other.count());
        let freedom = (a + b).checked_sub(2).filter(|freedom| *freedom > 0)?;
        // Beyond the table t falls by less than a twentieth; the last one errs on the side of noise.
        let t = T[freedom.min(T.len()) - 1];
        let variance = (self.squares() + other.squares()) / freedom as f64;
        Some((t * (variance * (1.0 / a as f64 + 1.0 / b as f64)).sqrt()).max(step))
    }

    /// The sum of squared distances from the mean.
    fn squares(&self) -> f64 {
        let mean = self.mean();
        self.0.iter().map(|number| (number - mean).powi(2)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(numbers: &[f64]) -> Group {
        Group::of(numbers.to_vec()).unwrap()
    }

    #[test]
    fn the_bound_is_that_of_the_textbook() {
        // Means 20 and 24, squared distances 8 + 8 over 4 degrees of freedom: s = 2, t = 2.776.
        let (a, b) = (group(&[18.0, 20.0, 22.0]), group(&[22.0, 24.0, 26.0]));
        let expected = 2.776 * 2.0 * (2.0f64 / 3.0).sqrt();
        assert!((a.noise(&b, 0.0).unwrap() - expected).abs() < 1e-9);
        // One number against two: a single degree of freedom.
        let expected = 12.706 * 2.0f64.sqrt() * 1.5f64.sqrt();
        assert!((group(&[1.0, 3.0]).noise(&group(&[2.0]), 0.0).unwrap() - expected).abs() < 1e-9);
    }

    #[test]
    fn without_repeats_there_is_no_bound() {
        assert_eq!(group(&[1.0]).noise(&group(&[2.0]), 1.0), None);
        assert_eq!(Group::of(Vec::new()), None);
    }

    #[test]
    fn many_runs_use_the_end_of_the_table() {
        let many = group(&[1.0; 50]);
        assert_eq!(many.noise(&many, 0.0), Some(0.0));
        assert_eq!(many.noise(&many, 0.25), Some(0.25), "no less than a step");
        assert_eq!((many.mean(), many.range(), many.count()), (1.0, (1.0, 1.0), 50));
    }
}
