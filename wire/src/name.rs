//! The notation of ids in log lines, written and parsed here.
//!
//! ```text
//! node 3    shard 1    client 12    round 12    view 1
//! lane 3:17        entry 17 of the lane of node 3; lane 3:15-17 three of them
//! part 1>0:5       the fifth group part of shard 1 for shard 0
//! tx 1f2e3d4c5b6a7988                                the first eight bytes of a TxId
//! ```
//!
//! Log lines contain ids as [`Name`]s, so that [`Name::all_in`] finds them whatever the sentence around them. Rounds
//! count in each shard from 1, so a line about rounds of several shards names the shards too.

use std::fmt;
use std::str::FromStr;

use crate::hex;
use crate::ids::{ClientId, NodeId, PartNumber, Round, Seq, ShardId, TxId, View};

/// An id in a log line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Name {
    /// A node of the testbed.
    Node(NodeId),
    /// A shard.
    Shard(ShardId),
    /// A connection of a client; each `net_server` process has its own.
    Client(ClientId),
    /// A round, and the block that it decides.
    Round(Round),
    /// A view of the round in the same line.
    View(View),
    /// Consecutive entries of a lane, mostly one.
    Lane {
        /// The node whose lane it is.
        owner: NodeId,
        /// The first of them.
        first: Seq,
        /// The last of them.
        last: Seq,
    },
    /// A group part on its way between shards.
    Part {
        /// The shard it comes from.
        source: ShardId,
        /// The shard it goes to.
        destination: ShardId,
        /// Its number.
        number: PartNumber,
    },
    /// A transaction.
    Tx(TxHead),
}

/// The first bytes of a TxId: enough to distinguish transactions in a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TxHead(pub [u8; 8]);

impl From<&TxId> for TxHead {
    fn from(id: &TxId) -> TxHead {
        TxHead(*id.0.first_chunk().expect("an id has 32 bytes"))
    }
}

impl fmt::Display for TxHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Node(id) => write!(f, "node {id}"),
            Name::Shard(id) => write!(f, "shard {id}"),
            Name::Client(id) => write!(f, "client {id}"),
            Name::Round(round) => write!(f, "round {round}"),
            Name::View(view) => write!(f, "view {view}"),
            Name::Lane { owner, first, last } if first == last => write!(f, "lane {owner}:{first}"),
            Name::Lane { owner, first, last } => write!(f, "lane {owner}:{first}-{last}"),
            Name::Part { source, destination, number } => write!(f, "part {source}>{destination}:{number}"),
            Name::Tx(head) => write!(f, "tx {head}"),
        }
    }
}

impl Name {
    /// One entry of a lane.
    pub fn entry(owner: NodeId, seq: Seq) -> Name {
        Name::Lane { owner, first: seq, last: seq }
    }

    /// A transaction.
    pub fn tx(id: &TxId) -> Name {
        Name::Tx(TxHead::from(id))
    }

    /// The name in two consecutive words, if they are one.
    pub fn parse(kind: &str, value: &str) -> Option<Name> {
        match kind {
            "node" => number(value).map(NodeId).map(Name::Node),
            "shard" => number(value).map(ShardId).map(Name::Shard),
            "client" => number(value).map(ClientId).map(Name::Client),
            "round" => number(value).map(Round).map(Name::Round),
            "view" => number(value).map(View).map(Name::View),
            "lane" => parse_lane(value),
            "part" => parse_part(value),
            "tx" => parse_head(value).map(Name::Tx),
            _ => None,
        }
    }

    /// All names in a line, in order. Brackets and punctuation around a name are ignored.
    pub fn all_in(line: &str) -> impl Iterator<Item = Name> + '_ {
        let mut words = line.split_whitespace().map(|word| word.trim_start_matches(['(', '['])).peekable();
        std::iter::from_fn(move || {
            loop {
                let kind = words.next()?;
                let value = words.peek()?.trim_end_matches([',', ';', ':', '.', ')', ']']);
                if let Some(name) = Name::parse(kind, value) {
                    words.next();
                    return Some(name);
                }
            }
        })
    }
}

fn parse_lane(value: &str) -> Option<Name> {
    let (owner, seqs) = value.split_once(':')?;
    let (first, last) = seqs.split_once('-').unwrap_or((seqs, seqs));
    let (owner, first, last) = (NodeId(number(owner)?), Seq(number(first)?), Seq(number(last)?));
    (first <= last).then_some(Name::Lane { owner, first, last })
}

fn parse_part(value: &str) -> Option<Name> {
    let (source, rest) = value.split_once('>')?;
    let (destination, place) = rest.split_once(':')?;
    let (source, destination) = (ShardId(number(source)?), ShardId(number(destination)?));
    Some(Name::Part { source, destination, number: PartNumber(number(place)?) })
}

/// A number in plain digits, without a sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn parse_head(value: &str) -> Option<TxHead> {
    // The notation has lower-case digits; otherwise it is another word after "tx".
    let digits = value.len() == 16 && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = digits.then(|| u64::from_str_radix(value, 16).ok()).flatten()?;
    Some(TxHead(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<(Name, &'static str)> {
        let (source, destination) = (ShardId(1), ShardId(0));
        vec![
            (Name::Node(NodeId(3)), "node 3"),
            (Name::Shard(ShardId(1)), "shard 1"),
            (Name::Client(ClientId(12)), "client 12"),
            (Name::Round(Round(12)), "round 12"),
            (Name::View(View(1)), "view 1"),
            (Name::entry(NodeId(3), Seq(17)), "lane 3:17"),
            (Name::Lane { owner: NodeId(3), first: Seq(15), last: Seq(17) }, "lane 3:15-17"),
            (Name::Part { source, destination, number: PartNumber(5) }, "part 1>0:5"),
            (Name::tx(&TxId(std::array::from_fn(|i| i as u8))), "tx 0001020304050607"),
        ]
    }

    #[test]
    fn names_round_trip() {
        for (name, text) in samples() {
            assert_eq!(name.to_string(), text);
            for line in [text.to_string(), format!("so: ({text}), and more."), format!("{text}: x; {text}.")]
            {
                assert!(Name::all_in(&line).all(|found| found == name), "{line}");
                assert!(Name::all_in(&line).next().is_some(), "{line}");
            }
        }
        let all: String = samples().iter().map(|(_, text)| format!("{text}, ")).collect();
        let names: Vec<Name> = samples().into_iter().map(|(name, _)| name).collect();
        assert_eq!(Name::all_in(&all).collect::<Vec<Name>>(), names);
    }

    #[test]
    fn other_words_are_no_names() {
        for line in [
            "",
            "node",
            "node node",
            "node -1",
            "node +1",
            "node 65536",
            "node 3x",
            "lane 3",
            "lane 3:17-15",
            "lane 3:",
            "part 1>0",
            "part 1>:5",
            "tx 0123",
            "tx 0001020304050607a",
            "tx ABCDEFABCDEFABCD",
            "tx +001020304050607",
            "round \u{fffd}",
        ] {
            assert_eq!(Name::all_in(line).next(), None, "{line}");
        }
        assert_eq!(Name::all_in("node node 4").collect::<Vec<_>>(), [Name::Node(NodeId(4))]);
    }
}
