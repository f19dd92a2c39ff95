//! `RUST_LOG`, checked before anything is logged by it: a level that does not exist would leave the logs empty, and
//! nobody would notice before they are needed.
//!
//! The syntax is that of `env_logger`: a level for everything, or levels by module path, separated by commas, and a
//! pattern after a slash.

use std::env::{self, VarError};

use crate::nearest;
use crate::text::ParseError;

const VARIABLE: &str = "RUST_LOG";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// The crates that log.
const CRATES: [&str; 7] = ["node", "net_client", "net_server", "bft", "wire", "tools", "mio"];

/// What `RUST_LOG` asks for; `default` if it is not set.
///
/// # Errors
/// Names the word that is neither a level nor one of the crates that log, and the level or crate that is nearest.
pub fn filter(default: &str) -> Result<String, ParseError> {
    match env::var(VARIABLE) {
        Ok(text) if text.is_empty() => Ok(default.into()),
        Ok(text) => check(&text).map(|()| text),
        Err(VarError::NotPresent) => Ok(default.into()),
        Err(VarError::NotUnicode(text)) => Err(ParseError::of(VARIABLE, &text.to_string_lossy(), "UTF-8")),
    }
}

/// Whether to log the event with this number, from 1, of a kind that others can cause at will: each of the first ten,
/// later those whose numbers are powers of ten.
pub fn is_logged(number: u64) -> bool {
    const EACH_UP_TO: u64 = 10;
    number <= EACH_UP_TO || is_power_of_ten(number)
}

/// The same, but only powers of ten from the beginning.
pub fn is_power_of_ten(mut number: u64) -> bool {
    while number >= 10 && number.is_multiple_of(10) {
        number /= 10;
    }
    number == 1
}

fn check(filter: &str) -> Result<(), ParseError> {
    let directives = filter.split_once('/').map_or(filter, |(directives, _)| directives);
    for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        match directive.split_once('=') {
            Some((path, _)) if !is_crate(path) => return Err(unknown(path, "one of the crates", &CRATES)),
            // No level at all means every level.
            Some((_, level)) if level.is_empty() || is_level(level.trim()) => {}
            Some((_, level)) => return Err(unknown(level, "one of the levels", &LEVELS)),
            None if is_crate(directive) || is_level(directive) => {}
            None => return Err(unknown(directive, "a crate, or one of the levels", &LEVELS)),
        }
    }
    Ok(())
}

/// Whether the crate of a module path logs.
fn is_crate(path: &str) -> bool {
    CRATES.contains(&path.split("::").next().unwrap_or(path).trim())
}

/// A level may be written in letters of either case.
fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
}

fn unknown(word: &str, what: &str, names: &[&str]) -> ParseError {
    let hint = nearest::hint(&word.to_ascii_lowercase(), names);
    ParseError::of(VARIABLE, word, format!("{what} {}{hint}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_others_cause_are_seldom_logged() {
        let logged: Vec<u64> = (1..=2_000).filter(|number| is_logged(*number)).collect();
        assert_eq!(logged, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100, 1_000]);
        let logged: Vec<u64> = (1..=2_000).filter(|number| is_power_of_ten(*number)).collect();
        assert_eq!(logged, [1, 10, 100, 1_000]);
    }

    #[test]
    fn filters_that_exist_pass() {
        for filter in [
            "debug",
            "WARN",
            "node=trace",
            "node",
            "info,bft::core=trace,mio=off",
            "net_server=",
            "trace/tx 1",
        ] {
            assert_eq!(check(filter), Ok(()), "{filter}");
        }
    }

    #[test]
    fn a_word_that_is_none_is_named_with_the_nearest() {
        let error = |filter| check(filter).unwrap_err().to_string();
        assert_eq!(
            error("debgu"),
            "RUST_LOG: found 'debgu', expected a crate, or one of the levels off, error, warn, info, debug, trace; \
             the nearest is 'debug'"
        );
        assert!(error("node=al").ends_with("one of the levels off, error, warn, info, debug, trace"));
        for filter in ["Node=debug", "debug::x", "node=debug::x"] {
            assert!(check(filter).is_err(), "{filter}: the log would be empty");
        }
        assert!(error("info,nod=warn").ends_with("tools, mio; the nearest is 'node'"));
    }
}
