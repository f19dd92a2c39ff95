//! Times of log lines, and how people name one on the command line.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A time, in microseconds since 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Stamp(pub(super) i64);

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
/// No line is longer ago, nor will one be later: with four digits every sum of times fits.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=9999;

impl Stamp {
    /// The time that `2026-11-21T17:29:24.123456Z` names; the fraction may be missing.
    pub(super) fn parse(text: &str) -> Option<Stamp> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        Some(Stamp(day(date)? * DAY_US + time_of_day(time)?))
    }

    /// Midnight before it.
    fn midnight(self) -> Stamp {
        Stamp(self.0.div_euclid(DAY_US) * DAY_US)
    }

    /// So many milliseconds as a person reads them.
    pub(super) fn ms_since(self, earlier: Stamp) -> f64 {
        (self.0 - earlier.0) as f64 / 1e3
    }
}

impl fmt::Display for Stamp {
    /// The time of the day: runs are short, and their date stands in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.rem_euclid(DAY_US);
        let (seconds, us) = (us / SECOND_US, us % SECOND_US);
        write!(f, "{:02}:{:02}:{:02}.{us:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }
}

/// A time as it stands on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    /// This one.
    At(Stamp),
    /// This time of the day on which the logs begin, in microseconds.
    OfTheDay(i64),
    /// So many microseconds after the logs begin.
    After(i64),
}

impl Moment {
    /// Completes "expected …" in errors.
    pub(super) const EXPECTED: &'static str =
        "a time (17:29:24.5 or 2026-11-21T17:29:24Z, UTC) or seconds since the logs begin (3.5)";

    /// The moment that `text` names.
    pub(super) fn parse(text: &str) -> Option<Moment> {
        if text.contains('T') {
            Stamp::parse(text).map(Moment::At)
        } else if text.contains(':') {
            time_of_day(text).map(Moment::OfTheDay)
        } else {
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
            // Ten thousand years, as above.
            let seconds = digits(seconds).filter(|seconds| *seconds < 1 << 38)?;
            Some(Moment::After(seconds * SECOND_US + fraction_us(fraction)?))
        }
    }

    /// When that is, if the logs begin at `first`.
    pub(super) fn at(self, first: Stamp) -> Stamp {
        match self {
            Moment::At(stamp) => stamp,
            Moment::OfTheDay(us) => Stamp(first.midnight().0 + us),
            Moment::After(us) => Stamp(first.0 + us),
        }
    }
}

/// A time as it stands at the beginning of a line of a log.
pub(crate) fn written(at: SystemTime) -> String {
    let stamp = Stamp(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64);
    let (mut days_left, mut year) = (stamp.0.div_euclid(DAY_US), *YEARS.start());
    let of_year = |year| (1..=12).map(|month| days(year, month)).sum::<i64>();
    while days_left >= of_year(year) {
        days_left -= of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days_left >= days(year, month) {
        days_left -= days(year, month);
        month += 1;
    }
    format!("{year}-{month:02}-{:02}T{stamp}Z", days_left + 1)
}

/// Days since 1970 of `2026-11-21`.
fn day(date: &str) -> Option<i64> {
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let is_valid =
        YEARS.contains(&year) && (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
    if parts.next().is_some() || !is_valid {
        return None;
    }
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let months: i64 = (1..month).map(|earlier| days(year, earlier)).sum();
    Some(years + months + day - 1)
}

/// How many days a month has.
fn days(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Microseconds since midnight of `17:29:24.5`.
fn time_of_day(text: &str) -> Option<i64> {
    let (time, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = time.split(':').map(digits);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    // 60 is a leap second.
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    Some((hours * 3_600 + minutes * 60 + seconds) * SECOND_US + fraction_us(fraction)?)
}

/// Microseconds of the digits after a point; what is finer is dropped.
fn fraction_us(fraction: &str) -> Option<i64> {
    digits(fraction)?;
    digits(&format!("{fraction:0<6}")[..6])
}

/// A number of one digit to twelve.
fn digits(text: &str) -> Option<i64> {
    let plain = (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_written_as_it_is_read() {
        for us in
            [0, 951_782_400_000_001, 1_795_282_164_123_456, 1_709_251_199_999_999, 4_102_444_799_000_000]
        {
            let text = written(UNIX_EPOCH + Duration::from_micros(us));
            assert_eq!(Stamp::parse(&text), Some(Stamp(us as i64)), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, us, shown) in [
            ("1970-01-01T00:00:00Z", 0, "00:00:00.000000"),
            ("2000-03-01T00:00:00.5Z", 951_868_800_500_000, "00:00:00.500000"),
            ("2026-11-21T17:29:24.123456Z", 1_795_282_164_123_456, "17:29:24.123456"),
            ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999_999, "23:59:59.999999"),
        ] {
            let stamp = Stamp::parse(text).expect(text);
            assert_eq!((stamp, stamp.to_string().as_str()), (Stamp(us), shown), "{text}");
        }
        for text in [
            "",
            "Z",
            "2026-11-21T17:29:24",
            "2026-11-21 17:29:24Z",
            "2026-11-31T17:29:24Z",
            "2025-02-29T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T17:29Z",
            "2026-11-21T17:29:24.Z",
            "-026-11-21T17:29:24Z",
            "99999-11-21T17:29:24Z",
            "2026-11-21T17:29:24.1234567890123Z",
            "2026-11-21T17:29:24.éZ",
        ] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn people_name_moments_in_three_ways() {
        let first = Stamp::parse("2026-11-21T17:29:24Z").unwrap();
        let at = |text: &str| Moment::parse(text).map(|moment| moment.at(first));
        let later = Stamp(first.0 + 1_500_000);
        for text in ["1.5", "17:29:25.5", "2026-11-21T17:29:25.5Z"] {
            assert_eq!(at(text), Some(later), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "17:29", "soon", "999999999999", "1.5s"] {
            assert_eq!(at(text), None, "{text}");
        }
    }
}
