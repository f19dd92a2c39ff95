//! What carries a transaction: the lane entries that it stands in, the rounds that decide these, the group parts that
//! bring word of it to other shards.
//!
//! A transaction alone leaves a few lines. Where it waited can be read from the steps of its carriers, so they belong
//! to its story. Bound: [`CARRIERS_MAX`] of them.

use std::collections::BTreeSet;

use bft::trace::{Place, RoundStep, TraceEvent, TxStep};
use wire::ids::{Round, ShardId};
use wire::name::Name;

use super::merge::Record;
use super::sentence::sentence;

/// One entry, one round, and one or two parts for each shard of a transaction; more if it is proposed again.
const CARRIERS_MAX: usize = 1_000;

/// The carriers of one transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Carriers {
    parts: BTreeSet<Name>,
    entries: BTreeSet<Name>,
    rounds: BTreeSet<(ShardId, Round)>,
}

impl Carriers {
    /// Takes note of those that a record about the transaction names.
    pub(super) fn add(&mut self, record: &Record) {
        self.parts.extend(Name::all_in(&record.text).filter(|name| matches!(name, Name::Part { .. })));
        let Some(TraceEvent::Tx { step, .. }) = &record.event else { return };
        match step {
            TxStep::Proposed { entry } => _ = self.entries.insert(*entry),
            TxStep::Spent { place, entry, .. } | TxStep::Settled { place, entry, .. } => {
                let Place { shard, round } = *place;
                self.entries.insert(*entry);
                self.rounds.insert((shard, round));
            }
            _ => {}
        }
    }

    /// Whether no more are kept.
    pub(super) fn is_full(&self) -> bool {
        self.parts.len() + self.entries.len() + self.rounds.len() > CARRIERS_MAX
    }

    /// The words of a record about one of them, as they stand in the story; `None` for any other record.
    pub(super) fn words(&self, record: &Record) -> Option<String> {
        match &record.event {
            Some(TraceEvent::Lane { entry, .. }) => self.entries.contains(entry).then(|| record.text.clone()),
            Some(event @ TraceEvent::Round { shard, round, step }) => {
                if !self.rounds.contains(&(*shard, *round)) {
                    return None;
                }
                match step {
                    RoundStep::Decided { entries, .. } => Some(self.decided(event, entries)),
                    _ => Some(record.text.clone()),
                }
            }
            _ => {
                let names = || Name::all_in(&record.text);
                // A line about a part and another transaction is of another story.
                let is_of_tx = names().any(|name| matches!(name, Name::Tx(_)));
                let is_of_part = names().any(|name| self.parts.contains(&name));
                (is_of_part && !is_of_tx).then(|| record.text.clone())
            }
        }
    }

    /// A decision, of whose cut only the own entries are named: a lane each may be in it.
    fn decided(&self, event: &TraceEvent, entries: &[Name]) -> String {
        let (own, others): (Vec<Name>, Vec<Name>) =
            entries.iter().copied().partition(|run| self.entries.iter().any(|entry| is_in(entry, run)));
        let mut event = event.clone();
        if let TraceEvent::Round { step: RoundStep::Decided { entries, .. }, .. } = &mut event {
            *entries = own;
        }
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        sentence(&event) + &more
    }
}

/// Whether an entry is one of a run of its lane.
pub(super) fn is_in(entry: &Name, run: &Name) -> bool {
    match (entry, run) {
        (Name::Lane { owner, first, .. }, Name::Lane { owner: of, first: from, last: to }) => {
            owner == of && (from..=to).contains(&first)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bft::ledger::{Outcome, Settled};
    use bft::trace::LaneStep;
    use wire::ids::{NodeId, PartNumber, Seq, View};
    use wire::name::TxHead;

    use super::*;
    use crate::logs::line::Process;
    use crate::logs::merge::Source;

    fn record(event: TraceEvent) -> Record {
        let source = Source { node: NodeId(0), process: Process::Node };
        Record { source, head: None, text: sentence(&event), event: Some(event) }
    }

    #[test]
    fn an_entry_its_round_and_parts_are_followed_and_no_others() {
        let place = Place { shard: ShardId(1), round: Round(7) };
        let [own, other] = [17, 30].map(|seq| Name::entry(NodeId(4), Seq(seq)));
        let part = Name::Part { source: ShardId(1), destination: ShardId(0), number: PartNumber(5) };
        let mut carriers = Carriers::default();
        let mut add = |step| carriers.add(&record(TraceEvent::Tx { tx: TxHead([1; 8]), step }));
        add(TxStep::Proposed { entry: own });
        add(TxStep::Settled { place, entry: own, end: Outcome::Settled(Settled::Finished) });
        add(TxStep::Ticked { place: Place { shard: ShardId(0), round: Round(9) }, part });

        let words = |event| carriers.words(&record(event));
        let of_lane = |entry| words(TraceEvent::Lane { entry, step: LaneStep::Echoed });
        assert_eq!((of_lane(own), of_lane(other)), (Some("lane 4:17 is echoed".into()), None));
        let run = Name::Lane { owner: NodeId(4), first: Seq(16), last: Seq(18) };
        let entries = vec![run, Name::entry(NodeId(5), Seq(2)), Name::entry(NodeId(6), Seq(2))];
        let decided = |shard, round| {
            let step = RoundStep::Decided { view: View(0), entries: entries.clone() };
            words(TraceEvent::Round { shard: ShardId(shard), round: Round(round), step })
        };
        let text = "round 7 of shard 1 is decided in view 0: lane 4:16-18 and 2 more";
        assert_eq!((decided(1, 7), decided(0, 7), decided(0, 9)), (Some(text.into()), None, None));
        let made = TraceEvent::Part { part, step: bft::trace::PartStep::Signed };
        assert_eq!(words(made), Some("part 1>0:5 is signed here (SIGN)".into()));
        let of_other = TraceEvent::Tx { tx: TxHead([2; 8]), step: TxStep::Ticked { place, part } };
        assert_eq!(words(of_other), None);
    }
}
