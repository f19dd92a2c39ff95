//! `RUST_LOG`, checked before anything is logged by it: a level that does not exist would leave the logs empty, and
//! nobody would notice before they are needed.
//!
//! The syntax is that of `env_logger`: a level for everything, or levels by module path, separated by commas, and a
//! pattern after a slash.

use std::env::{self, VarError};

use crate::nearest::nearest;
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

fn check(filter: &str) -> Result<(), ParseError> {
    let directives = filter.split_once('/').map_or(filter, |(directives, _)| directives);
    for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        match directive.split_once('=') {
            Some((path, level)) => {
                known(path, &CRATES, "one of the crates")?;
                // No level at all means every level.
                if !level.is_empty() {
                    known(level, &LEVELS, "one of the levels")?;
                }
            }
            None if known(directive, &CRATES, "").is_ok() => {}
            None => known(directive, &LEVELS, "a crate, or one of the levels")?,
        }
    }
    Ok(())
}

/// Checks the first part of a path, or a level, in letters of either case.
fn known(word: &str, names: &[&str], what: &str) -> Result<(), ParseError> {
    let first = word.split("::").next().unwrap_or(word).trim();
    if names.iter().any(|name| name.eq_ignore_ascii_case(first)) {
        return Ok(());
    }
    let names_list = names.join(", ");
    let hint = nearest(&first.to_ascii_lowercase(), names.iter().copied())
        .map_or(String::new(), |name| format!("; the nearest is '{name}'"));
    Err(ParseError::of(VARIABLE, word, format!("{what} {names_list}{hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(error("info,nod=warn").ends_with("tools, mio; the nearest is 'node'"));
    }
}
