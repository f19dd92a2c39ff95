//! How far the clocks of hosts are from this one's.
//!
//! The time is requested from a host a few times over one connection. In the exchange with the shortest way there and
//! back its answer was given at some moment between question and answer; taking the middle is wrong by half that time
//! at most, which stands beside every offset. No figure of a run depends on it: latency is measured here alone. It is
//! for people who compare logs of several machines.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::deployment::Deployment;
use super::script::{ReplyError, printable};
use super::sites::Site;
use super::ssh_error::SshError;
use wire::text::ParseError;

/// How often the time is requested.
const EXCHANGES: usize = 5;
/// Answers each line with the time in seconds; the same in any login shell.
const COMMAND: &str = "exec sh -c 'while read -r line; do date +%s.%N; done'";

/// How far a clock is ahead of this one's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Offset {
    /// The host's time less ours.
    pub(super) offset_ms: f64,
    /// By how much that may be wrong, either way.
    pub(super) uncertainty_ms: f64,
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Adding zero takes the sign off a negative nothing.
        let offset_ms = (self.offset_ms * 10.0).round() / 10.0 + 0.0;
        write!(f, "{offset_ms:+.1} ± {:.1} ms", self.uncertainty_ms)
    }
}

/// Measures the clock of a host.
pub(super) fn measure(deployment: &Deployment, site: &Site) -> Result<Offset, SshError> {
    deployment.connect(site)?;
    let mut dialogue = deployment.ssh.talk(site, COMMAND)?;
    let mut best: Option<Offset> = None;
    for _ in 0..EXCHANGES {
        let (sent_ms, since) = (unix_ms(), Instant::now());
        let answer = dialogue.exchange()?;
        let round_trip_ms = since.elapsed().as_secs_f64() * 1e3;
        let theirs = parse_time_ms(&answer).ok_or_else(|| {
            let place = format!("the clock of {site}");
            let expected = "seconds since 1970 with their fraction, as GNU date prints them";
            let error = ReplyError::Parse(ParseError::of(&place, &printable(&answer), expected));
            SshError::Reply { doing: "asking for the time".into(), error }
        })?;
        let offset = Offset {
            offset_ms: theirs - (sent_ms + round_trip_ms / 2.0),
            uncertainty_ms: round_trip_ms / 2.0,
        };
        if best.is_none_or(|best| offset.uncertainty_ms < best.uncertainty_ms) {
            best = Some(offset);
        }
    }
    Ok(best.expect("there was at least one exchange"))
}

/// Writes the offsets by which `tools logs` moves times.
pub(super) fn save(path: &Path, offsets: &[(&Site, Offset)]) -> io::Result<()> {
    fs::write(path, text(offsets))
}

fn text(offsets: &[(&Site, Offset)]) -> String {
    let line = |(site, Offset { offset_ms, uncertainty_ms }): &(&Site, Offset)| {
        format!("{site},{},{offset_ms:.3},{uncertainty_ms:.3}\n", site.ids_text())
    };
    let lines: String = offsets.iter().map(line).collect();
    format!("host,nodes,offset_ms,uncertainty_ms\n{lines}")
}

fn unix_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

fn parse_time_ms(text: &str) -> Option<f64> {
    let (seconds, fraction) = text.trim().split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || seconds.len() > 12 || fraction.len() > 9 {
        return None;
    }
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    Some(seconds.parse::<u64>().ok()? as f64 * 1e3 + fraction * 1e3)
}

#[cfg(test)]
mod tests {
    use wire::hosts::Hosts;

    use super::*;
    use crate::deploy::sites::sites;

    #[test]
    fn times_are_read_strictly() {
        assert_eq!(parse_time_ms("1700000000.500000000\n"), Some(1_700_000_000_500.0));
        for text in ["", "1700000000", "1700000000.%N", "-1.0", "1e9.0", ".5", "99999999999999999.1", "NaN.0"]
        {
            assert_eq!(parse_time_ms(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_of_clocks_has_a_line_a_host() {
        let hosts = Hosts::parse("h", "0 ::1 a 1 x\n1 ::1 b 1 y\n2 ::1 c 2 x\n").unwrap();
        let sites = sites("h", &hosts).unwrap();
        let offset = Offset { offset_ms: -12.25, uncertainty_ms: 0.5 };
        assert_eq!(offset.to_string(), "-12.3 ± 0.5 ms");
        assert_eq!(Offset { offset_ms: -0.01, ..offset }.to_string(), "+0.0 ± 0.5 ms");
        let text = text(&[(&sites[0], offset), (&sites[1], Offset { offset_ms: 1.0, ..offset })]);
        assert!(text.starts_with(&crate::testing::documented("`clocks.csv`").join(",")));
        assert_eq!(text, "host,nodes,offset_ms,uncertainty_ms\nx,0+2,-12.250,0.500\ny,1,1.000,0.500\n");
    }
}
