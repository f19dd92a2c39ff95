//! The events of cores as sentences.
//!
//! Ids stand in them as [`wire::name`] writes them, so that filters find them in sentences of events as in all other
//! lines. An event that several nodes report is one sentence.

use bft::ledger::{Cause, Outcome, Settled};
use bft::trace::{Holds, LaneStep, MessageStep, PartStep, Place, RoundStep, Said, TraceEvent, TxStep};
use wire::dest::Dest;
use wire::name::Name;

use crate::ids;

/// The sentence of an event.
pub(super) fn sentence(event: &TraceEvent) -> String {
    match event {
        TraceEvent::Tx { tx, step } => format!("{} {}", Name::Tx(*tx), of_tx(step)),
        TraceEvent::Part { part, step } => format!("{part} {}", of_part(step)),
        TraceEvent::Round { shard, round, step } => {
            format!("{} of {} {}", Name::Round(*round), Name::Shard(*shard), of_round(step))
        }
        TraceEvent::Lane { entry, step } => format!("{entry} {}", of_lane(step)),
        TraceEvent::Message(step) => of_message(step),
    }
}

fn of_tx(step: &TxStep) -> String {
    match step {
        TxStep::Admitted { client } => format!("is admitted here, for {}", Name::Client(*client)),
        TxStep::Forwarded { to } => format!("goes to {} to be ordered", recipients(to)),
        TxStep::Requested { by, home } => {
            format!("is to be ordered for {}; its home is {}", Name::Node(*by), Name::Node(*home))
        }
        TxStep::Proposed { entry } => format!("goes into {entry}"),
        TxStep::Spent { place, entry, part } => {
            let then = match part {
                Some(part) => format!("{part} carries it"),
                None => "the pool here is ticked".into(),
            };
            format!("has spent {} by {entry}; its record is open and {then}", block(place))
        }
        TxStep::Settled { place, entry, end } => of_outcome(&block(place), entry, *end),
        TxStep::Ticked { place, part } => format!("is ticked {} by {part}", block(place)),
        TxStep::Pooled { place } => format!("waits in the pool {}", block(place)),
        TxStep::Finished { place, parts } => {
            format!("has finished {}: its outputs exist{}", block(place), carriers(parts))
        }
        TxStep::CancelListed { entry } => format!("is listed to be cancelled by {entry} (BACK)"),
        TxStep::Cancelled { place, parts } => format!("is cancelled {}{}", block(place), carriers(parts)),
        TxStep::Refunded { place, part } => {
            format!("is refunded {}{}; its record is closed", block(place), by(part.as_ref()))
        }
        TxStep::Closed { place, part } => {
            format!("has its record closed {}{}, since it finished", block(place), by(part.as_ref()))
        }
        TxStep::RejectVoted { shard, cause } => {
            format!("can never execute in {}: {} (CL_M)", Name::Shard(*shard), reason(*cause))
        }
        TxStep::RejectSent { shard, to, cause } => {
            let (shard, to) = (Name::Shard(*shard), recipients(to));
            format!("can never execute in {shard}, as {to} now learns: {} (CL)", reason(*cause))
        }
        TxStep::Believed { shard, cause } => {
            format!("is believed in {} never to execute: {}", Name::Shard(*shard), reason(*cause))
        }
        TxStep::Answered { client, fate } => format!("is {fate}; {} gets the receipt", Name::Client(*client)),
    }
}

fn of_outcome(block: &str, entry: &Name, end: Outcome) -> String {
    match end {
        Outcome::Settled(Settled::Finished) => format!("has finished {block} by {entry}"),
        Outcome::Settled(Settled::Spent) => format!("has spent {block} by {entry}"),
        Outcome::Settled(Settled::Never(cause)) => {
            format!("is rejected {block} by {entry}: {}", reason(cause))
        }
        Outcome::Duplicate => format!("is passed over {block} in {entry}: it is known"),
        Outcome::NotHere => format!("is passed over {block} in {entry}: it has no input here"),
        Outcome::ExpiryTooFar => {
            format!("is passed over {block} in {entry}: {}", reason(Cause::ExpiryTooFar))
        }
    }
}

fn of_part(step: &PartStep) -> String {
    match step {
        PartStep::Made { place, holds } => format!("is made {}: {}", block(place), content(holds)),
        PartStep::Sent { to } => format!("goes to {} (LD)", Name::Node(*to)),
        PartStep::Received { from } => format!("has come from {} (LD)", Name::Node(*from)),
        PartStep::Signed => "is signed here (SIGN)".into(),
        PartStep::Eligible { shard } => format!("is eligible in {}", Name::Shard(*shard)),
        PartStep::Listed { entry } => format!("is imported by {entry}"),
        PartStep::Imported { place, holds } => format!("is executed {}: {}", block(place), content(holds)),
    }
}

fn of_round(step: &RoundStep) -> String {
    match step {
        RoundStep::Begun => "has our input".into(),
        RoundStep::Entered { view } => format!("goes on to {}", Name::View(*view)),
        RoundStep::Decided { view, entries } => {
            format!("is decided in {}: {}", Name::View(*view), joined(entries))
        }
        RoundStep::Executed { header, finished, rejected, spent, cancelled, refunded } => {
            let counts = [
                (*finished, "finished"),
                (*rejected, "rejected"),
                (*spent, "spent"),
                (*cancelled, "cancelled"),
                (*refunded, "refunded"),
            ];
            format!("is executed: {}; header {header}", counted(&counts))
        }
        RoundStep::Certified => "is certified by N−f VOTEs".into(),
    }
}

fn of_lane(step: &LaneStep) -> String {
    match step {
        LaneStep::Proposed { transactions, imports, cancels, payload_bytes } => {
            let counts = [(*transactions, "transactions"), (*imports, "imports"), (*cancels, "cancels")];
            let counts = counts.map(|(count, what)| (count as u64, what));
            format!("is proposed: {} in {payload_bytes} bytes", counted(&counts))
        }
        LaneStep::Echoed => "is echoed".into(),
        LaneStep::Certified => "is certified by N−f ECHOs".into(),
    }
}

fn of_message(step: &MessageStep) -> String {
    match step {
        MessageStep::Received { from, said: Said(said) } => format!("from {}: {said}", Name::Node(*from)),
        MessageStep::Sent { to, said: Said(said) } => format!("to {}: {said}", recipients(to)),
    }
}

fn block(Place { shard, round }: &Place) -> String {
    format!("in {} in {}", Name::Shard(*shard), Name::Round(*round))
}

fn content(Holds { spent, finished, cancelled }: &Holds) -> String {
    let counts = [(*spent, "spent"), (*finished, "finished"), (*cancelled, "cancelled")];
    counted(&counts.map(|(count, what)| (count as u64, what)))
}

/// Those counts that are not 0.
fn counted(counts: &[(u64, &str)]) -> String {
    let some = counts.iter().filter(|(count, _)| *count > 0);
    let words = |(count, what): &(u64, &str)| match what.strip_suffix('s') {
        Some(one) if *count == 1 => format!("1 {one}"),
        _ => format!("{count} {what}"),
    };
    let some: Vec<String> = some.map(words).collect();
    if some.is_empty() { "nothing".into() } else { some.join(", ") }
}

fn reason(cause: Cause) -> String {
    match cause {
        Cause::Rejected(reason) => reason.to_string(),
        Cause::Expired => "it has expired".into(),
        Cause::ExpiryTooFar => "its expiry is too far ahead".into(),
    }
}

fn recipients(dest: &Dest) -> String {
    match dest {
        Dest::Node(node) => Name::Node(*node).to_string(),
        Dest::Shard(shard) => Name::Shard(*shard).to_string(),
        Dest::ShardOthers => "the own shard".into(),
        Dest::Set(nodes) => ids::nodes_text(nodes),
    }
}

/// The parts that carry an event to other shards, if any has to.
fn carriers(parts: &[Name]) -> String {
    match parts {
        [] => String::new(),
        [part] => format!("; {part} carries it"),
        parts => format!("; {} carry it", joined(parts)),
    }
}

/// The part that brought an event here, if one did.
fn by(part: Option<&Name>) -> String {
    part.map_or_else(String::new, |part| format!(" by {part}"))
}

fn joined(names: &[Name]) -> String {
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use wire::ids::{NodeId, PartNumber, Round, Seq, ShardId, TxId};
    use wire::name::TxHead;

    use super::*;

    #[test]
    fn filters_find_in_a_sentence_whatever_its_event_names() {
        let (tx, entry) = (TxHead::from(&TxId([1; 32])), Name::entry(NodeId(9), Seq(4)));
        let part = Name::Part { source: ShardId(2), destination: ShardId(0), number: PartNumber(1) };
        let place = Place { shard: ShardId(2), round: Round(14) };
        let spent = TraceEvent::Tx { tx, step: TxStep::Spent { place, entry, part: Some(part) } };
        let sentence = sentence(&spent);
        assert_eq!(
            sentence,
            "tx 0101010101010101 has spent in shard 2 in round 14 by lane 9:4; its record is open and part 2>0:1 carries \
             it"
        );
        let names: Vec<Name> = Name::all_in(&sentence).collect();
        assert_eq!(names, [Name::Tx(tx), Name::Shard(ShardId(2)), Name::Round(Round(14)), entry, part]);
    }
}
