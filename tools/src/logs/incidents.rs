//! Transactions whose story is worth reading: those that were rejected, cancelled or refunded.
//!
//! They are found by the events that cores log at level debug ([`bft::trace`]), so that a person finds an id without
//! knowing one. Bound: [`INCIDENTS_MAX`] transactions, the first of the logs.

use std::collections::{BTreeMap, BTreeSet};

use bft::ledger::{Outcome, Settled};
use bft::trace::{Place, TraceEvent, TxStep};
use wire::ids::{Round, ShardId};
use wire::name::{Name, TxHead};

use super::merge::Record;
use super::moment::Stamp;
use crate::ids;

/// Some ten megabytes.
const INCIDENTS_MAX: usize = 100_000;

/// A bad end of a transaction, the gravest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    Rejected,
    Cancelled,
    Refunded,
}

impl End {
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
pub(super) struct Incidents {
    by_tx: BTreeMap<TxHead, Incident>,
    left_out: u64,
}

/// The ends of one transaction.
#[derive(Clone, Debug)]
struct Incident {
    first: Option<Stamp>,
    ends: BTreeSet<(End, ShardId, Round)>,
}

impl Incidents {
    /// Takes note of a record, if a block ended a transaction so.
    pub(super) fn add(&mut self, record: &Record) {
        let Some((tx, end)) = record.event.as_ref().and_then(ending) else { return };
        if !self.by_tx.contains_key(&tx) && self.by_tx.len() == INCIDENTS_MAX {
            self.left_out += 1;
            return;
        }
        let new = || Incident { first: record.at(), ends: BTreeSet::new() };
        self.by_tx.entry(tx).or_insert_with(new).ends.insert(end);
    }

    /// At most `count` of them, a line each, those with most ends first.
    pub(super) fn lines(&self, count: usize) -> Vec<String> {
        let mut all: Vec<(&TxHead, &Incident)> = self.by_tx.iter().collect();
        let weight = |incident: &Incident| {
            let kinds: BTreeSet<End> = incident.ends.iter().map(|(end, ..)| *end).collect();
            (kinds.len(), incident.ends.len())
        };
        all.sort_by_key(|(tx, incident)| (std::cmp::Reverse(weight(incident)), incident.first, **tx));
        let line = |(tx, incident): &(&TxHead, &Incident)| {
            let at = incident.first.map(|at| at.to_string()).unwrap_or_default();
            format!("{at}  {}  {}", Name::Tx(**tx), incident.words())
        };
        let mut lines: Vec<String> = all.iter().take(count).map(line).collect();
        let more = all.len().saturating_sub(count) as u64;
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        if self.left_out > 0 {
            lines.push(format!("lines of further transactions, which were not kept: {}", self.left_out));
        }
        lines
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_tx.is_empty()
    }
}

impl Incident {
    /// Its ends, each kind once and in it each shard once.
    fn words(&self) -> String {
        let mut by_kind: BTreeMap<End, BTreeMap<ShardId, Vec<u64>>> = BTreeMap::new();
        for (end, shard, round) in &self.ends {
            by_kind.entry(*end).or_default().entry(*shard).or_default().push(round.0);
        }
        let place = |(shard, rounds): (ShardId, Vec<u64>)| {
            format!("in {} in {}", Name::Shard(shard), ids::numbers_text("round", rounds))
        };
        let kind = |(end, places): (End, BTreeMap<_, _>)| {
            format!("{} {}", end.name(), places.into_iter().map(place).collect::<Vec<_>>().join(", "))
        };
        by_kind.into_iter().map(kind).collect::<Vec<_>>().join("; ")
    }
}

/// The end that an event is, if it is one.
fn ending(event: &TraceEvent) -> Option<(TxHead, (End, ShardId, Round))> {
    let TraceEvent::Tx { tx, step } = event else { return None };
    let (end, Place { shard, round }) = match step {
        TxStep::Settled { place, end: Outcome::Settled(Settled::Never(_)), .. } => (End::Rejected, place),
        TxStep::Cancelled { place, .. } => (End::Cancelled, place),
        TxStep::Refunded { place, .. } => (End::Refunded, place),
        _ => return None,
    };
    Some((*tx, (end, *shard, *round)))
}

#[cfg(test)]
mod tests {
    use bft::ledger::Cause;
    use log::Level;
    use wire::client::{Fate, Rejection};
    use wire::ids::{ClientId, NodeId, Seq};

    use super::*;
    use crate::logs::line::Process;
    use crate::logs::merge::Source;

    const PLACE: Place = Place { shard: ShardId(1), round: Round(7) };

    fn add(incidents: &mut Incidents, id: u64, step: TxStep) {
        let event = Some(TraceEvent::Tx { tx: TxHead(id.to_be_bytes()), step });
        let source = Source { node: NodeId(0), process: Process::Node };
        let head = Some((Stamp(id as i64), Level::Debug));
        incidents.add(&Record { source, head, text: String::new(), event });
    }

    #[test]
    fn only_rejected_cancelled_and_refunded_transactions_are_incidents() {
        let mut incidents = Incidents::default();
        let entry = Name::entry(NodeId(3), Seq(2));
        let settled = |end| TxStep::Settled { place: PLACE, entry, end };
        add(&mut incidents, 1, settled(Outcome::Settled(Settled::Never(Cause::Rejected(Rejection::Spent)))));
        let later = Place { round: Round(9), ..PLACE };
        for place in [later, PLACE] {
            add(&mut incidents, 2, TxStep::Cancelled { place, parts: vec![] });
        }
        let elsewhere = Place { shard: ShardId(0), round: Round(4) };
        add(&mut incidents, 2, TxStep::Refunded { place: elsewhere, part: None });
        add(&mut incidents, 2, TxStep::Refunded { place: PLACE, part: None });
        add(&mut incidents, 2, TxStep::Refunded { place: PLACE, part: None });
        for other in [
            TxStep::Finished { place: PLACE, parts: vec![] },
            settled(Outcome::Duplicate),
            TxStep::Answered { client: ClientId(1), fate: Fate::Rejected(Rejection::Cancelled) },
            TxStep::CancelListed { entry },
        ] {
            add(&mut incidents, 3, other);
        }
        assert_eq!(
            incidents.lines(10),
            [
                "00:00:00.000002  tx 0000000000000002  cancelled in shard 1 in rounds 7+9; refunded in shard 0 in round 4, in shard 1 in round 7",
                "00:00:00.000001  tx 0000000000000001  rejected in shard 1 in round 7",
            ]
        );
        assert_eq!(incidents.lines(1)[1], "and 1 more");
    }

    #[test]
    fn a_flood_of_incidents_is_bounded() {
        let mut incidents = Incidents::default();
        for id in 0..INCIDENTS_MAX as u64 + 2 {
            add(&mut incidents, id, TxStep::Cancelled { place: PLACE, parts: vec![] });
        }
        assert_eq!((incidents.by_tx.len(), incidents.left_out), (INCIDENTS_MAX, 2));
        assert_eq!(incidents.lines(3).len(), 5);
    }
}
