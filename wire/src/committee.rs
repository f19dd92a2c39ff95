//! The members of the testbed, their keys and the protocol rules: the content of `committee.txt`.
//!
//! The file is public and the same for every node. The testbed's id is the SHA-256 of its bytes, so nodes with
//! different files refuse each other in the handshake; a random nonce makes each testbed's file different.
//!
//! The thresholds of a shard with N = 3f + 1 (or slightly more) members are methods here; no other code computes them.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::ids::{Digest, Index, NodeId, ShardId};
use crate::limits::{NODES_MAX, NODES_PER_SHARD_MAX, PROPOSAL_BYTES_MAX, TRANSACTION_BYTES_MAX};
use crate::text::ParseError;

/// The public keys of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its ed25519 public key: its identity on links and in votes.
    pub public_key: [u8; 32],
    /// The commitment g^s to its share s of its shard's coin, a compressed ristretto255 point.
    pub coin_commitment: [u8; 32],
}

/// Rules on which the validity of a lane entry depends. All nodes must agree on them, so they are not flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocol {
    /// Whether transactions carry the signatures of the owners of the coins they spend.
    pub signed: bool,
    /// Longest payload of a lane entry, bytes.
    pub proposal_bytes_max: u64,
    /// Longest transaction, bytes.
    pub transaction_bytes_max: u64,
    /// Coins each shard starts with.
    pub genesis_coins: u64,
    /// The amount of each of them.
    pub genesis_amount: u64,
}

impl Default for Protocol {
    fn default() -> Protocol {
        Protocol {
            signed: false,
            proposal_bytes_max: PROPOSAL_BYTES_MAX,
            transaction_bytes_max: TRANSACTION_BYTES_MAX,
            genesis_coins: 200_000,
            genesis_amount: 1_000,
        }
    }
}

/// All members and rules of a testbed. Immutable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committee {
    nodes_per_shard: u16,
    shards: u16,
    protocol: Protocol,
    members: Vec<Member>,
    testbed: Digest,
    text: String,
}

const FIRST_LINE: &str = "dumbo-testbed committee 1";

impl Committee {
    /// A committee of `members.len() / nodes_per_shard` shards, with its text.
    ///
    /// # Panics
    /// If the members do not fill whole shards or exceed the limits: the dealer checks its flags first.
    pub fn new(nodes_per_shard: u16, protocol: Protocol, members: Vec<Member>, nonce: [u8; 32]) -> Committee {
        assert!((1..=NODES_PER_SHARD_MAX).contains(&nodes_per_shard), "{nodes_per_shard} nodes in a shard");
        assert!(
            !members.is_empty() && members.len().is_multiple_of(usize::from(nodes_per_shard)),
            "shards are whole"
        );
        let mut text = format!(
            "{FIRST_LINE}\nnonce {}\nnodes_per_shard {nodes_per_shard}\nshards {}\nsigned {}\nproposal_bytes_max {}\n\
             transaction_bytes_max {}\ngenesis_coins {}\ngenesis_amount {}\n",
            hex::encode(&nonce),
            members.len() / usize::from(nodes_per_shard),
            protocol.signed,
            protocol.proposal_bytes_max,
            protocol.transaction_bytes_max,
            protocol.genesis_coins,
            protocol.genesis_amount,
        );
        for (id, member) in members.iter().enumerate() {
            let (key, coin) = (hex::encode(&member.public_key), hex::encode(&member.coin_commitment));
            writeln!(text, "node {id} {key} {coin}").expect("writing to a String does not fail");
        }
        Committee::parse("committee.txt", &text).expect("a committee is parsed from its own text")
    }

    /// Reads the text of `committee.txt`; `place` names the file in errors.
    pub fn parse(place: &str, text: &str) -> Result<Committee, ParseError> {
        let mut fields = Fields { place, lines: text.lines().enumerate() };
        fields.literal(FIRST_LINE)?;
        fields.value("nonce", "64 hex digits", hex::decode_32)?;
        let nodes_per_shard = fields.number("nodes_per_shard", 1, u64::from(NODES_PER_SHARD_MAX))? as u16;
        let shards_max = NODES_MAX / nodes_per_shard;
        let shards = fields.number("shards", 1, u64::from(shards_max))? as u16;
        let protocol = Protocol {
            signed: fields.value("signed", "true or false", |text| text.parse().ok())?,
            proposal_bytes_max: fields.number("proposal_bytes_max", 1, PROPOSAL_BYTES_MAX)?,
            transaction_bytes_max: fields.number("transaction_bytes_max", 1, TRANSACTION_BYTES_MAX)?,
            genesis_coins: fields.number("genesis_coins", 0, 10_000_000)?,
            genesis_amount: fields.number("genesis_amount", 1, 1 << 32)?,
        };
        let mut members = Vec::new();
        for id in 0..shards * nodes_per_shard {
            let expected = format!("'node {id} ED25519_KEY COIN_COMMITMENT' with 64 hex digits each");
            let (line, text) = fields.next(&expected)?;
            let member = parse_member(id, text);
            members.push(member.ok_or_else(|| ParseError::at_line(place, line, text, expected))?);
        }
        if let Some((index, extra)) = fields.lines.next() {
            return Err(ParseError::at_line(place, index + 1, extra, "the end of the file"));
        }
        let testbed = Digest(Sha256::digest(text.as_bytes()).into());
        Ok(Committee { nodes_per_shard, shards, protocol, members, testbed, text: text.into() })
    }

    /// The text this committee was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The testbed's id: SHA-256 of the text.
    pub fn testbed(&self) -> Digest {
        self.testbed
    }

    /// The rules agreed on.
    pub fn protocol(&self) -> &Protocol {
        &self.protocol
    }

    /// N, the members of a shard.
    pub fn n(&self) -> usize {
        usize::from(self.nodes_per_shard)
    }

    /// K, the number of shards.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// f = ⌊(N−1)/3⌋, the Byzantine members of a shard that are tolerated.
    pub fn f(&self) -> usize {
        (self.n() - 1) / 3
    }

    /// N−f: as many members as one can always wait for. Two such sets share at least N−2f ≥ f+1 members, so an honest
    /// one.
    pub fn quorum(&self) -> usize {
        self.n() - self.f()
    }

    /// f+1: a set of so many members contains an honest one.
    pub fn one_honest(&self) -> usize {
        self.f() + 1
    }

    /// Every node, ascending.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.shards * self.nodes_per_shard).map(NodeId)
    }

    /// The members of a shard, ascending.
    pub fn members(&self, shard: ShardId) -> impl Iterator<Item = NodeId> + use<> {
        let first = shard.0 * self.nodes_per_shard;
        (first..first + self.nodes_per_shard).map(NodeId)
    }

    /// The indices of the members of a shard, ascending.
    pub fn indices(&self) -> impl Iterator<Item = Index> + use<> {
        (0..self.nodes_per_shard).map(Index)
    }

    /// Whether there is such a node.
    pub fn contains(&self, node: NodeId) -> bool {
        usize::from(node.0) < self.members.len()
    }

    /// The shard of a node.
    pub fn shard_of(&self, node: NodeId) -> ShardId {
        ShardId(node.0 / self.nodes_per_shard)
    }

    /// The index of a node in its shard.
    pub fn index_of(&self, node: NodeId) -> Index {
        Index(node.0 % self.nodes_per_shard)
    }

    /// The member of a shard with this index.
    pub fn node_at(&self, shard: ShardId, index: Index) -> NodeId {
        NodeId(shard.0 * self.nodes_per_shard + index.0)
    }

    /// The keys of a node.
    ///
    /// # Panics
    /// If there is no such node: ids off the wire are checked with [`Committee::contains`].
    pub fn member(&self, node: NodeId) -> &Member {
        &self.members[usize::from(node.0)]
    }
}

fn parse_member(id: u16, text: &str) -> Option<Member> {
    let mut words = text.strip_prefix("node ")?.split(' ');
    let given_id: u16 = words.next()?.parse().ok()?;
    let public_key = hex::decode_32(words.next()?)?;
    let coin_commitment = hex::decode_32(words.next()?)?;
    (given_id == id && words.next().is_none()).then_some(Member { public_key, coin_commitment })
}

/// The lines of the file, read in their fixed order.
struct Fields<'a> {
    place: &'a str,
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
}

impl<'a> Fields<'a> {
    /// The next line and its number from 1.
    fn next(&mut self, expected: &str) -> Result<(usize, &'a str), ParseError> {
        let (index, text) =
            self.lines.next().ok_or_else(|| ParseError::of(self.place, "the end of the file", expected))?;
        Ok((index + 1, text))
    }

    fn literal(&mut self, expected: &str) -> Result<(), ParseError> {
        let (line, text) = self.next(expected)?;
        if text == expected {
            Ok(())
        } else {
            Err(ParseError::at_line(self.place, line, text, format!("'{expected}'")))
        }
    }

    fn value<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ParseError> {
        let expected = format!("'{key}' and {expected}");
        let (line, text) = self.next(&expected)?;
        let value = text.strip_prefix(key).and_then(|rest| rest.strip_prefix(' ')).and_then(parse);
        value.ok_or_else(|| ParseError::at_line(self.place, line, text, expected))
    }

    fn number(&mut self, key: &str, min: u64, max: u64) -> Result<u64, ParseError> {
        self.value(key, &format!("a number from {min} to {max}"), |text| {
            text.parse().ok().filter(|number| (min..=max).contains(number))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committee(n: u16, shards: u16) -> Committee {
        let member = |i: u16| Member { public_key: [i as u8; 32], coin_commitment: [0xC0 | i as u8; 32] };
        Committee::new(n, Protocol::default(), (0..n * shards).map(member).collect(), [9; 32])
    }

    #[test]
    fn thresholds_for_each_small_n() {
        for (n, f, quorum) in [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 1, 3), (7, 2, 5), (10, 3, 7), (16, 5, 11)]
        {
            let committee = committee(n, 1);
            assert_eq!((committee.f(), committee.quorum(), committee.one_honest()), (f, quorum, f + 1));
            // Two quorums share an honest member.
            assert!(2 * quorum - usize::from(n) > f);
        }
    }

    #[test]
    fn node_ids_are_shard_times_n_plus_index() {
        let committee = committee(4, 3);
        assert_eq!(committee.shard_of(NodeId(9)), ShardId(2));
        assert_eq!(committee.index_of(NodeId(9)), Index(1));
        assert_eq!(committee.node_at(ShardId(2), Index(1)), NodeId(9));
        assert_eq!(committee.members(ShardId(1)).map(|node| node.0).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }

    #[test]
    fn text_round_trips_and_its_hash_is_the_testbed() {
        let one = committee(4, 1);
        assert_eq!(Committee::parse("x", one.text()).unwrap(), one);
        assert_eq!(one.testbed().0, <[u8; 32]>::from(Sha256::digest(one.text())));
    }

    #[test]
    fn errors_name_file_line_value_and_expectation() {
        let text = committee(4, 1).text().replace("shards 1", "shards many");
        let error = Committee::parse("keys/committee.txt", &text).unwrap_err().to_string();
        assert_eq!(
            error,
            "keys/committee.txt, line 4: found 'shards many', expected 'shards' and a number from 1 to 256"
        );
        let text = committee(2, 1).text().replace("node 1", "node 7");
        assert!(Committee::parse("c", &text).unwrap_err().to_string().contains("'node 1 ED25519_KEY"));
        let text = format!("{}more\n", committee(2, 1).text());
        assert!(Committee::parse("c", &text).unwrap_err().to_string().contains("the end of the file"));
        assert!(Committee::parse("c", "").unwrap_err().to_string().contains("the end of the file"));
    }
}
