//! Transactions with a story worth reading: those that were rejected, cancelled or refunded.
//!
//! They are found by what the core says of them at level debug (`bft::trace`), so that a person finds an id without
//! knowing one. Bound: [`TALES_MAX`] transactions, the first of the logs.

use std::collections::{BTreeMap, BTreeSet};

use wire::ids::{Round, ShardId};
use wire::name::{Name, TxHead};

use super::merge::Record;
use super::moment::Stamp;

/// Some ten megabytes.
const TALES_MAX: usize = 100_000;

/// What may have become of a transaction, the most telling last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    Rejected,
    Cancelled,
    Refunded,
}

impl End {
    /// How the core says that a block did this to a transaction.
    const SAID: [(End, &'static str); 3] = [
        (End::Rejected, " is rejected in "),
        (End::Cancelled, " is cancelled in "),
        (End::Refunded, " is refunded in "),
    ];

    fn name(self) -> &'static str {
        match self {
            End::Rejected => "rejected",
            End::Cancelled => "cancelled",
            End::Refunded => "refunded",
        }
    }
}

/// All that were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Tales {
    tales: BTreeMap<TxHead, Tale>,
    left_out: u64,
}

/// What is known of one.
#[derive(Clone, Debug)]
struct Tale {
    first: Option<Stamp>,
    ends: BTreeSet<(End, ShardId, Round)>,
}

impl Tales {
    /// Looks whether a record tells of such an end.
    pub(super) fn add(&mut self, record: &Record) {
        let Some((head, end)) = ending(&record.text) else { return };
        if !self.tales.contains_key(&head) && self.tales.len() == TALES_MAX {
            self.left_out += 1;
            return;
        }
        let new = || Tale { first: record.at(), ends: BTreeSet::new() };
        self.tales.entry(head).or_insert_with(new).ends.insert(end);
    }

    /// At most `count` of them, a line each, those with most to tell first.
    pub(super) fn lines(&self, count: usize) -> Vec<String> {
        let mut tales: Vec<(&TxHead, &Tale)> = self.tales.iter().collect();
        let telling = |tale: &Tale| {
            let kinds: BTreeSet<End> = tale.ends.iter().map(|(end, ..)| *end).collect();
            (kinds.len(), tale.ends.len())
        };
        tales.sort_by_key(|(head, tale)| (std::cmp::Reverse(telling(tale)), tale.first, **head));
        let line = |(head, tale): &(&TxHead, &Tale)| {
            let end = |(end, shard, round): &(End, ShardId, Round)| {
                format!("{} in {} in {}", end.name(), Name::Shard(*shard), Name::Round(*round))
            };
            let ends: Vec<String> = tale.ends.iter().map(end).collect();
            let at = tale.first.map(|at| at.to_string()).unwrap_or_default();
            format!("{at}  {}  {}", Name::Tx(**head), ends.join(", "))
        };
        let mut lines: Vec<String> = tales.iter().take(count).map(line).collect();
        let more = tales.len().saturating_sub(count) as u64;
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        if self.left_out > 0 {
            lines.push(format!("lines of further transactions, which were not kept: {}", self.left_out));
        }
        lines
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.tales.is_empty()
    }
}

/// What a line says a block did to a transaction, if it is of those we look for.
fn ending(text: &str) -> Option<(TxHead, (End, ShardId, Round))> {
    let (end, said) = End::SAID.into_iter().find(|(_, said)| text.contains(said))?;
    let (before, after) = text.split_once(said)?;
    let Some(Name::Tx(head)) = Name::all_in(before).next() else { return None };
    let mut names = Name::all_in(after);
    match (names.next()?, names.next()?) {
        (Name::Shard(shard), Name::Round(round)) => Some((head, (end, shard, round))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bft::ledger::{Cause, Outcome, Settled};
    use bft::trace::{Place, TraceEvent, TxStep, part_name};
    use log::Level;
    use wire::client::Rejection;
    use wire::ids::{NodeId, PartNumber, Seq, TxId};

    use super::*;
    use crate::logs::line::Process;
    use crate::logs::merge::Source;

    fn place() -> Place {
        Place { shard: ShardId(1), round: Round(7) }
    }

    fn say(tales: &mut Tales, id: u8, step: TxStep) {
        let text = TraceEvent::Tx { id: TxId([id; 32]), step }.to_string();
        let source = Source { node: NodeId(0), process: Process::Node };
        tales.add(&Record { source, head: Some((Stamp(i64::from(id)), Level::Debug)), text });
    }

    /// In the words of the core itself.
    #[test]
    fn ends_are_found_in_what_the_core_says() {
        let mut tales = Tales::default();
        let entry = Name::entry(NodeId(3), Seq(2));
        let part = Some(part_name(ShardId(0), ShardId(1), PartNumber(9)));
        let never = Outcome::Settled(Settled::Never(Cause::Rejected(Rejection::Spent)));
        let client = wire::ids::ClientId(1);
        say(&mut tales, 1, TxStep::Settled { place: place(), entry, end: never });
        say(&mut tales, 2, TxStep::Cancelled { place: place(), parts: vec![] });
        say(&mut tales, 2, TxStep::Refunded { place: place(), part });
        say(&mut tales, 2, TxStep::Refunded { place: place(), part });
        for silent in [
            TxStep::Finished { place: place(), parts: vec![] },
            TxStep::Settled { place: place(), entry, end: Outcome::Duplicate },
            TxStep::Told { client, fate: wire::client::Fate::Rejected(Rejection::Cancelled) },
            TxStep::CancelListed { entry },
        ] {
            say(&mut tales, 3, silent);
        }
        assert_eq!(
            tales.lines(10),
            [
                "00:00:00.000002  tx 0202020202020202  cancelled in shard 1 in round 7, refunded in shard 1 in round 7",
                "00:00:00.000001  tx 0101010101010101  rejected in shard 1 in round 7",
            ]
        );
        assert_eq!(tales.lines(1)[1], "and 1 more");
    }

    #[test]
    fn no_line_is_an_end_that_only_looks_like_one() {
        for text in [
            "",
            " is rejected in ",
            "tx 0101010101010101 is rejected in ",
            "tx 0101010101010101 is rejected in shard 1",
            "tx 01 is rejected in shard 1 in round 2",
            "node 3 is rejected in shard 1 in round 2",
        ] {
            assert_eq!(ending(text), None, "{text}");
        }
    }

    #[test]
    fn a_flood_of_ends_is_bounded() {
        let mut tales = Tales::default();
        let source = Source { node: NodeId(0), process: Process::Node };
        for id in 0..TALES_MAX + 2 {
            let text = format!("tx {id:016x} is rejected in shard 0 in round 1");
            tales.add(&Record { source, head: None, text });
        }
        assert_eq!((tales.tales.len(), tales.left_out), (TALES_MAX, 2));
        assert_eq!(tales.lines(3).len(), 5);
    }
}
