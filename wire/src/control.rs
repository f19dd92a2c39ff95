//! Lines that whoever started a node writes to its standard input.
//!
//! # Security
//! The standard input is a pipe of the starter, or a named pipe in a directory of its user. Its permissions decide who
//! may write there, so the lines carry no key of their own; no client or peer can send one.

use std::fmt;

use crate::ids::NodeId;
use crate::link_rule::{LinkRule, RULE_EXPECTED};
use crate::text::ParseError;

/// A line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// End in good order.
    Stop,
    /// From now on this rule holds for the link to this node, in place of the one before.
    Link(NodeId, LinkRule),
}

/// A limit for the reader: longer than any line.
pub const CONTROL_BYTES_MAX: u64 = 128;

impl Control {
    /// Reads a line, without its end.
    pub fn parse(line: &str) -> Result<Control, ParseError> {
        let wrong = |found: &str, expected: &str| ParseError::of("standard input", found, expected);
        let words: Vec<&str> = line.split(' ').collect();
        match *words {
            ["stop"] => Ok(Control::Stop),
            ["link", node, rule] => {
                let node = node.parse().map_err(|_| wrong(node, "the id of a node"))?;
                let rule = LinkRule::parse(rule).ok_or_else(|| wrong(rule, RULE_EXPECTED))?;
                Ok(Control::Link(NodeId(node), rule))
            }
            _ => Err(wrong(line, "'stop' or 'link NODE RULE'")),
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Control::Stop => f.write_str("stop"),
            Control::Link(node, rule) => write!(f, "link {node} {rule}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_mistakes_are_named() {
        for line in
            ["stop", "link 3 cut", "link 0 none", "link 1023 delay=4999.999ms,bandwidth=999999.999999mbit"]
        {
            assert!((line.len() as u64) < CONTROL_BYTES_MAX);
            assert_eq!(Control::parse(line).unwrap().to_string(), line);
        }
        for (line, error) in [
            ("stop it", "standard input: found 'stop it', expected 'stop' or 'link NODE RULE'"),
            ("", "standard input: found '', expected 'stop' or 'link NODE RULE'"),
            ("link x cut", "standard input: found 'x', expected the id of a node"),
            ("link 1 slow", "standard input: found 'slow', expected none, cut, delay=TIME"),
        ] {
            let found = Control::parse(line).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
