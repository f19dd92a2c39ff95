//! Rules of directed links that a run sets and lifts while it goes: cut, slower, narrower.
//!
//! A rule stands at the sending node and comes on top of what a WAN emulates ([`crate::wan`]). A node that is started
//! again has none.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wan::{self, Conditions, Rate, Time};

/// What holds for the link to one peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum LinkRule {
    /// The link is as the WAN has it.
    #[default]
    None,
    /// Nothing passes, as if each packet were dropped: no message, ping or dial.
    Cut,
    /// Each message takes longer.
    Slow {
        /// On top of the link's own delay.
        delay: Duration,
        /// Bits a second at most; `None` if the rule sets no bound.
        bits_per_s: Option<u64>,
    },
}

/// The description of a rule in errors.
pub const RULE_EXPECTED: &str = "none, cut, delay=TIME, bandwidth=RATE or delay=TIME,bandwidth=RATE, \
                                 e.g. delay=200ms,bandwidth=10mbit";

impl LinkRule {
    /// Reads a rule as its `Display` writes it; `None` if it is none.
    pub fn parse(text: &str) -> Option<LinkRule> {
        match text {
            "none" => return Some(LinkRule::None),
            "cut" => return Some(LinkRule::Cut),
            _ => {}
        }
        let (mut delay, mut bits_per_s) = (None, None);
        for part in text.split(',') {
            match part.split_once('=')? {
                ("delay", value) if delay.is_none() => delay = Some(wan::delay(value)?),
                ("bandwidth", value) if bits_per_s.is_none() => bits_per_s = Some(wan::bandwidth(value)?),
                _ => return None,
            }
        }
        match (delay.unwrap_or_default(), bits_per_s) {
            (Duration::ZERO, None) => Some(LinkRule::None),
            (delay, bits_per_s) => Some(LinkRule::Slow { delay, bits_per_s }),
        }
    }

    /// The conditions under this rule of a link that has `without` otherwise; those of a cut link do not matter.
    pub fn on(self, without: Conditions) -> Conditions {
        match self {
            LinkRule::None | LinkRule::Cut => without,
            LinkRule::Slow { delay, bits_per_s } => Conditions {
                delay: without.delay + delay,
                bits_per_s: bits_per_s.into_iter().chain(without.bits_per_s).min(),
                ..without
            },
        }
    }
}

impl fmt::Display for LinkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkRule::None => f.write_str("none"),
            LinkRule::Cut => f.write_str("cut"),
            LinkRule::Slow { delay, bits_per_s } => {
                write!(f, "delay={}", Time(*delay))?;
                bits_per_s.map_or(Ok(()), |rate| write!(f, ",bandwidth={}", Rate(rate)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is_read() {
        for text in ["none", "cut", "delay=200ms", "delay=0.5ms,bandwidth=10mbit"] {
            assert_eq!(LinkRule::parse(text).unwrap().to_string(), text);
        }
        let narrow = LinkRule::Slow { delay: Duration::ZERO, bits_per_s: Some(10_000_000) };
        assert_eq!(LinkRule::parse("bandwidth=10mbit"), Some(narrow));
        assert_eq!(LinkRule::parse("delay=0ms"), Some(LinkRule::None));
        for text in ["", "Cut", "delay", "delay=1", "delay=1ms,delay=1ms", "cut,delay=1ms", "loss=1%"] {
            assert_eq!(LinkRule::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_rule_adds_delay_and_never_widens_a_link() {
        let link = Conditions {
            delay: Duration::from_millis(50),
            bits_per_s: Some(200_000_000),
            ..Conditions::default()
        };
        let with = |text: &str| LinkRule::parse(text).unwrap().on(link).to_string();
        assert_eq!(with("none"), "delay=50ms bandwidth=200mbit");
        assert_eq!(with("delay=5ms,bandwidth=300mbit"), "delay=55ms bandwidth=200mbit");
        assert_eq!(with("bandwidth=10mbit"), "delay=50ms bandwidth=10mbit");
    }
}
