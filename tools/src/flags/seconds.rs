//! Lengths of time on a command line: seconds, fractions allowed.

use std::time::Duration;

use super::range::SECONDS_MAX;

/// A length of time in seconds, at most a week; fractions are allowed.
pub(crate) fn parse_seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    (0.0..=SECONDS_MAX as f64).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// A length of time as people write it, to the microsecond.
pub(crate) fn seconds_text(time: Duration) -> String {
    (time.as_micros() as f64 / 1e6).to_string()
}
