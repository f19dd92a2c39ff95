//! The values that an option of numbers may have.
//!
//! The range stands once, in the table of options: what is checked is what the manual page and the errors print. Where
//! other options narrow it (`--signed` makes the least transaction longer), [`Values::number`] checks that too.

use std::fmt;
use std::time::Duration;

use super::command::{Opt, UsageError, Values};
use super::seconds::parse_seconds;

/// Numbers from a least to a greatest one, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Range {
    /// A whole number.
    Whole { min: u64, max: u64 },
    /// A whole number, or a word instead of one.
    WholeOr { min: u64, max: u64, word: &'static str },
    /// Whole numbers, separated by commas.
    List { min: u64, max: u64 },
    /// Seconds with fractions, from so many milliseconds to a week.
    Seconds { min_ms: u64 },
    /// Seconds with fractions, more than none, to a week.
    PositiveSeconds,
    /// A part of one.
    Fraction,
}

/// A week.
pub(super) const SECONDS_MAX: u64 = 7 * 24 * 3600;

impl Range {
    /// Whole numbers of either bound.
    pub(crate) const fn whole(min: u64, max: u64) -> Range {
        Range::Whole { min, max }
    }

    /// The bounds, as a sentence of a manual page.
    pub(super) fn sentence(self) -> String {
        match self {
            Range::Whole { min, max } | Range::WholeOr { min, max, .. } | Range::List { min, max } => {
                format!("From {min} to {max}.")
            }
            Range::Seconds { min_ms } => format!("From {} to {SECONDS_MAX}.", min_ms as f64 / 1e3),
            Range::PositiveSeconds => format!("More than 0, at most {SECONDS_MAX}."),
            Range::Fraction => "From 0 to 1.".into(),
        }
    }

    /// Whether a value is in it.
    #[cfg(test)]
    pub(crate) fn contains(self, text: &str) -> bool {
        match self {
            Range::Whole { .. } => self.parse_whole(text).is_some(),
            Range::WholeOr { word, .. } => text == word || self.parse_whole(text).is_some(),
            Range::List { .. } => self.parse_list(text).is_some(),
            Range::Seconds { .. } | Range::PositiveSeconds => self.parse_seconds(text).is_some(),
            Range::Fraction => self.parse_fraction(text).is_some(),
        }
    }

    fn parse_list(self, text: &str) -> Option<Vec<u64>> {
        text.split(',').map(|word| self.parse_whole(word)).collect()
    }

    fn parse_fraction(self, text: &str) -> Option<f64> {
        let is_fraction = self == Range::Fraction;
        text.parse().ok().filter(|part| is_fraction && (0.0..=1.0).contains(part))
    }

    fn parse_whole(self, text: &str) -> Option<u64> {
        match self {
            Range::Whole { min, max } | Range::WholeOr { min, max, .. } | Range::List { min, max } => {
                text.parse().ok().filter(|number| (min..=max).contains(number))
            }
            Range::Seconds { .. } | Range::PositiveSeconds | Range::Fraction => None,
        }
    }

    fn parse_seconds(self, text: &str) -> Option<Duration> {
        let min = match self {
            Range::Seconds { min_ms } => Duration::from_millis(min_ms),
            Range::PositiveSeconds => Duration::from_nanos(1),
            _ => return None,
        };
        parse_seconds(text).filter(|duration| *duration >= min)
    }
}

/// Completes "expected …" in errors.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Range::WholeOr { min, max, word } => write!(f, "a whole number from {min} to {max}, or '{word}'"),
            Range::List { min, max } => write!(f, "whole numbers from {min} to {max}, comma-separated"),
            Range::Seconds { min_ms } => {
                write!(f, "seconds, from {} to {SECONDS_MAX}", *min_ms as f64 / 1e3)
            }
            Range::PositiveSeconds => write!(f, "seconds, more than 0 and at most {SECONDS_MAX}"),
            Range::Fraction => f.write_str("a share from 0 to 1"),
        }
    }
}

impl Opt {
    /// The same option, whose values lie in a range.
    pub(crate) const fn within(self, range: Range) -> Opt {
        Opt { range: Some(range), ..self }
    }
}

impl Values {
    /// A whole number within bounds, both included, that are narrower than those of the table: other options decide.
    pub(crate) fn number(&self, name: &'static str, min: u64, max: u64) -> Result<u64, UsageError> {
        let range = Range::whole(min, max);
        self.value(name, &range.to_string(), |text| range.parse_whole(text))
    }

    /// A whole number.
    pub(crate) fn whole(&self, name: &'static str) -> Result<u64, UsageError> {
        let range = self.range_of(name);
        self.value(name, &range.to_string(), |text| range.parse_whole(text))
    }

    /// The same, of an option that may be absent.
    pub(crate) fn optional_whole(&self, name: &'static str) -> Result<Option<u64>, UsageError> {
        let range = self.range_of(name);
        self.optional(name, &range.to_string(), |text| range.parse_whole(text))
    }

    /// Whole numbers, separated by commas.
    pub(crate) fn list(&self, name: &'static str) -> Result<Vec<u64>, UsageError> {
        let range = self.range_of(name);
        self.value(name, &range.to_string(), |text| range.parse_list(text))
    }

    /// A length of time.
    pub(crate) fn seconds(&self, name: &'static str) -> Result<Duration, UsageError> {
        let range = self.range_of(name);
        self.value(name, &range.to_string(), |text| range.parse_seconds(text))
    }

    /// The same, of an option that may be absent.
    pub(crate) fn optional_seconds(&self, name: &'static str) -> Result<Option<Duration>, UsageError> {
        let range = self.range_of(name);
        self.optional(name, &range.to_string(), |text| range.parse_seconds(text))
    }

    /// A part of one, of an option that may be absent.
    pub(crate) fn optional_fraction(&self, name: &'static str) -> Result<Option<f64>, UsageError> {
        let range = self.range_of(name);
        self.optional(name, &range.to_string(), |text| range.parse_fraction(text))
    }

    /// The range in the table.
    ///
    /// # Panics
    /// If it has none for this option: a slip in our own tables.
    fn range_of(&self, name: &str) -> Range {
        self.range(name).expect("an option of numbers has a range")
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{Invocation, SAMPLE};
    use super::*;

    fn values(line: &str) -> Values {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        match SAMPLE.parse(&words) {
            Ok(Invocation::Run(values)) => values,
            other => panic!("{other:?}"),
        }
    }

    fn error<T: fmt::Debug>(result: Result<T, UsageError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn both_bounds_belong_to_a_range() {
        for (text, is_in) in
            [("0", false), ("1", true), ("128", true), ("129", false), ("1.5", false), ("", false)]
        {
            assert_eq!(values(&format!("start --nodes={text}")).whole("nodes").is_ok(), is_in, "{text}");
        }
        for (text, is_in) in
            [("0", false), ("0.001", true), ("604800", true), ("604801", false), ("NaN", false)]
        {
            assert_eq!(
                values(&format!("start --duration={text}")).seconds("duration").is_ok(),
                is_in,
                "{text}"
            );
        }
        let half_ms = Range::Seconds { min_ms: 500 };
        assert_eq!(half_ms.parse_seconds("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(half_ms.parse_seconds("0.499"), None);
        assert_eq!(Range::Seconds { min_ms: 0 }.parse_seconds("0"), Some(Duration::ZERO));
        for (text, is_in) in
            [("-0.1", false), ("0", true), ("1", true), ("1.1", false), ("x", false), ("NaN", false)]
        {
            assert_eq!(
                values(&format!("start --part={text}")).optional_fraction("part").is_ok(),
                is_in,
                "{text}"
            );
        }
        assert_eq!(values("start --sizes=1,9").list("sizes"), Ok(vec![1, 9]));
    }

    #[test]
    fn an_error_names_the_range() {
        let values = values("start --nodes 0 --rate fast --duration 0 --part 2 --sizes 1,10");
        assert_eq!(error(values.whole("nodes")), "--nodes: found '0', expected a whole number from 1 to 128");
        assert_eq!(
            error(values.whole("rate")),
            "--rate: found 'fast', expected a whole number from 1 to 99999, or 'max'"
        );
        assert_eq!(
            error(values.seconds("duration")),
            "--duration: found '0', expected seconds, more than 0 and at most 604800"
        );
        assert_eq!(
            error(values.optional_fraction("part")),
            "--part: found '2', expected a share from 0 to 1"
        );
        assert_eq!(
            error(values.list("sizes")),
            "--sizes: found '1,10', expected whole numbers from 1 to 9, comma-separated"
        );
    }
}
