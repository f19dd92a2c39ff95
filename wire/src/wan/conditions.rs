//! The conditions of one directed link, and the units in which people write them.

use std::fmt;
use std::time::Duration;

use crate::text::ParseError;

/// What a message meets on a directed link. The default is a link that is not emulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    /// One way.
    pub delay: Duration,
    /// The delay of a message is up to this much shorter or longer, evenly distributed.
    pub jitter: Duration,
    /// Bits a second; `None` if unbounded.
    pub bits_per_s: Option<u64>,
    /// Segments lost of a million.
    pub loss_ppm: u32,
}

/// Longer than any path on Earth, and shorter than a peer's patience with a silent link.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// A message of 16 MiB takes over two minutes at the least rate.
const BITS_PER_S: std::ops::RangeInclusive<u64> = 1_000_000..=1_000_000_000_000;
/// At a half, every message waits for retransmissions.
const LOSS_PPM_MAX: u32 = 500_000;

/// The description of a delay in errors.
pub const DELAY_EXPECTED: &str = "a time from 0 to 5 s with its unit, e.g. 38.5ms";
/// The description of a bandwidth in errors.
pub const BANDWIDTH_EXPECTED: &str = "bits a second from 1mbit to 1000gbit with their unit, e.g. 200mbit";
const LOSS_EXPECTED: &str = "a percentage from 0% to 50%, e.g. 0.1%";
const WORDS_EXPECTED: &str = "delay=TIME, jitter=TIME, bandwidth=RATE and loss=PERCENT, each at most once";

impl Conditions {
    /// Whether the link is not emulated.
    pub fn is_plain(&self) -> bool {
        *self == Conditions::default()
    }
}

/// Some conditions of a link, as words set them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Words {
    pub(super) delay: Option<Duration>,
    pub(super) jitter: Option<Duration>,
    pub(super) bits_per_s: Option<u64>,
    pub(super) loss_ppm: Option<u32>,
}

impl Words {
    /// Reads `delay=…`, `jitter=…`, `bandwidth=…` and `loss=…`, in any order.
    ///
    /// # Errors
    /// By `wrong`, which gets the word found and a description of the one expected.
    pub(super) fn parse(
        words: &[&str],
        wrong: impl Fn(&str, &str) -> ParseError,
    ) -> Result<Words, ParseError> {
        let mut read = Words::default();
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| wrong(word, WORDS_EXPECTED))?;
            let is_first = match name {
                "delay" => {
                    read.delay.replace(delay(value).ok_or_else(|| wrong(word, DELAY_EXPECTED))?).is_none()
                }
                "jitter" => {
                    read.jitter.replace(delay(value).ok_or_else(|| wrong(word, DELAY_EXPECTED))?).is_none()
                }
                "bandwidth" => {
                    let rate = bandwidth(value).ok_or_else(|| wrong(word, BANDWIDTH_EXPECTED))?;
                    read.bits_per_s.replace(rate).is_none()
                }
                "loss" => {
                    read.loss_ppm.replace(loss(value).ok_or_else(|| wrong(word, LOSS_EXPECTED))?).is_none()
                }
                _ => false,
            };
            if !is_first {
                return Err(wrong(word, WORDS_EXPECTED));
            }
        }
        Ok(read)
    }

    /// Values of these words; where they set none, those of `earlier`.
    pub(super) fn or(self, earlier: Words) -> Words {
        Words {
            delay: self.delay.or(earlier.delay),
            jitter: self.jitter.or(earlier.jitter),
            bits_per_s: self.bits_per_s.or(earlier.bits_per_s),
            loss_ppm: self.loss_ppm.or(earlier.loss_ppm),
        }
    }

    /// The conditions; what is not set is 0, and bandwidth unbounded.
    pub(super) fn conditions(self) -> Conditions {
        Conditions {
            delay: self.delay.unwrap_or_default(),
            jitter: self.jitter.unwrap_or_default(),
            bits_per_s: self.bits_per_s,
            loss_ppm: self.loss_ppm.unwrap_or_default(),
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delay={}", Time(self.delay))?;
        if !self.jitter.is_zero() {
            write!(f, " jitter={}", Time(self.jitter))?;
        }
        if let Some(bits_per_s) = self.bits_per_s {
            write!(f, " bandwidth={}", Rate(bits_per_s))?;
        }
        if self.loss_ppm > 0 {
            write!(f, " loss={}%", f64::from(self.loss_ppm) / 10_000.0)?;
        }
        Ok(())
    }
}

/// A time as it is written, e.g. `38.5ms`.
pub struct Time(pub Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_micros() as f64 / 1_000.0)
    }
}

/// Bits a second as they are written, e.g. `200mbit`.
pub struct Rate(pub u64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}mbit", self.0 as f64 / 1e6)
    }
}

/// Reads a delay, to the microsecond.
pub fn delay(text: &str) -> Option<Duration> {
    let us = scaled(text, &[("us", 1.0), ("ms", 1e3), ("s", 1e6)])?;
    Some(Duration::from_micros(us)).filter(|delay| *delay <= DELAY_MAX)
}

/// Reads a bandwidth, in bits a second.
pub fn bandwidth(text: &str) -> Option<u64> {
    scaled(text, &[("mbit", 1e6), ("gbit", 1e9)]).filter(|rate| BITS_PER_S.contains(rate))
}

fn loss(text: &str) -> Option<u32> {
    let ppm = scaled(text, &[("%", 1e4)])?;
    u32::try_from(ppm).ok().filter(|ppm| *ppm <= LOSS_PPM_MAX)
}

/// A decimal number with one of these units, in units of 1. The first unit that fits counts, so `ms` stands before `s`.
fn scaled(text: &str, units: &[(&str, f64)]) -> Option<u64> {
    let (number, scale) = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    // Only what people write as a decimal number: no sign, exponent, infinity.
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value = number.parse::<f64>().ok()? * scale;
    // Far above every limit, and exact as an f64.
    (value <= 1e15).then_some(value.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Conditions, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Words::parse(&words, |found, expected| ParseError::of("f", found, expected))
            .map(Words::conditions)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_again() {
        for line in [
            "delay=50ms",
            "delay=38.512ms jitter=2.5ms bandwidth=200mbit loss=0.05%",
            "delay=0ms bandwidth=1000mbit",
        ] {
            assert_eq!(parse(line).unwrap().to_string(), line);
        }
        let other_units = parse("bandwidth=1gbit delay=0.3s").unwrap();
        assert_eq!(other_units, parse("delay=300000us bandwidth=1000mbit").unwrap());
        assert!(parse("").unwrap().is_plain());
    }

    #[test]
    fn mistakes_are_named() {
        for (line, error) in [
            ("delay=50", "f: found 'delay=50', expected a time from 0 to 5 s with its unit"),
            ("delay=6s", "f: found 'delay=6s', expected a time from 0 to 5 s"),
            ("delay=-1ms", "f: found 'delay=-1ms', expected a time"),
            ("delay=1e3ms", "f: found 'delay=1e3ms', expected a time"),
            ("delay=.ms", "f: found 'delay=.ms', expected a time"),
            ("bandwidth=10", "f: found 'bandwidth=10', expected bits a second"),
            ("bandwidth=0mbit", "f: found 'bandwidth=0mbit', expected bits a second from 1mbit"),
            ("loss=51%", "f: found 'loss=51%', expected a percentage from 0% to 50%"),
            ("50ms", "f: found '50ms', expected delay=TIME, jitter=TIME"),
            ("delay=1ms delay=2ms", "f: found 'delay=2ms', expected delay=TIME"),
            ("latency=1ms", "f: found 'latency=1ms', expected delay=TIME"),
        ] {
            let found = parse(line).unwrap_err();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
