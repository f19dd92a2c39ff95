//! Lengths of time on a command line: seconds, fractions allowed.

use std::time::Duration;

use super::command::{UsageError, Values};

const POSITIVE: &str = "seconds, more than 0 and at most a week";

/// A length of time in seconds, at most a week; fractions are allowed.
pub(crate) fn parse_seconds(text: &str) -> Option<Duration> {
    const WEEK_S: f64 = 7.0 * 24.0 * 3600.0;
    let seconds: f64 = text.parse().ok()?;
    (0.0..=WEEK_S).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// A length of time as people write it, to the microsecond.
pub(crate) fn seconds_text(time: Duration) -> String {
    (time.as_micros() as f64 / 1e6).to_string()
}

fn parse_positive(text: &str) -> Option<Duration> {
    parse_seconds(text).filter(|duration| !duration.is_zero())
}

impl Values {
    /// A length of time that is not zero.
    pub(crate) fn positive_seconds(&self, name: &'static str) -> Result<Duration, UsageError> {
        self.value(name, POSITIVE, parse_positive)
    }

    /// The same, of an option that may be absent.
    pub(crate) fn optional_positive_seconds(
        &self,
        name: &'static str,
    ) -> Result<Option<Duration>, UsageError> {
        self.optional(name, POSITIVE, parse_positive)
    }
}
