//! Every event is read back from the line that it is written as, and nothing else is.

use std::collections::BTreeSet;

use wire::client::{Refusal, Rejection};
use wire::ids::{Seq, TxId};

use super::*;
use crate::ledger::Settled;

fn entry() -> Name {
    Name::entry(NodeId(9), Seq(4))
}

fn part(number: u64) -> Name {
    part_name(ShardId(2), ShardId(0), PartNumber(number))
}

const PLACE: Place = Place { shard: ShardId(2), round: Round(14) };
const HOLDS: Holds = Holds { spent: 3, finished: 0, cancelled: 1 };

/// Steps of every kind, with all shapes that their fields take.
fn tx_steps() -> Vec<TxStep> {
    let (place, entry, client, shard, cause) = (PLACE, entry(), ClientId(7), ShardId(1), Cause::Expired);
    let settled = |end| TxStep::Settled { place, entry, end };
    let answered = |fate| TxStep::Answered { client, fate };
    let forwarded = |to| TxStep::Forwarded { to };
    vec![
        TxStep::Admitted { client },
        forwarded(Dest::Node(NodeId(5))),
        forwarded(Dest::Set(vec![NodeId(5), NodeId(6)])),
        forwarded(Dest::Set(Vec::new())),
        TxStep::Requested { by: NodeId(3), home: NodeId(4) },
        TxStep::Proposed { entry },
        TxStep::Spent { place, entry, part: Some(part(1)) },
        TxStep::Spent { place, entry, part: None },
        settled(Outcome::Settled(Settled::Finished)),
        settled(Outcome::Settled(Settled::Spent)),
        settled(Outcome::Settled(Settled::Never(Cause::Rejected(Rejection::WrongAmount)))),
        settled(Outcome::Settled(Settled::Never(Cause::ExpiryTooFar))),
        settled(Outcome::Duplicate),
        settled(Outcome::NotHere),
        settled(Outcome::ExpiryTooFar),
        TxStep::Ticked { place, part: part(1) },
        TxStep::Pooled { place },
        TxStep::Finished { place, parts: Vec::new() },
        TxStep::Finished { place, parts: vec![part(1), part(2)] },
        TxStep::CancelListed { entry },
        TxStep::Cancelled { place, parts: vec![part(1)] },
        TxStep::Refunded { place, part: Some(part(1)) },
        TxStep::Closed { place, part: None },
        TxStep::RejectVoted { shard, cause },
        TxStep::RejectSent { shard, to: Dest::Shard(ShardId(0)), cause: Cause::Rejected(Rejection::Spent) },
        TxStep::Believed { shard, cause },
        answered(Fate::Finished(Round(14))),
        answered(Fate::Rejected(Rejection::Cancelled)),
        answered(Fate::Refused(Refusal::ExpiryTooFar)),
        answered(Fate::Expired),
        answered(Fate::Unknown),
    ]
}

fn part_steps() -> Vec<PartStep> {
    vec![
        PartStep::Made { place: PLACE, holds: HOLDS },
        PartStep::Sent { to: NodeId(1) },
        PartStep::Received { from: NodeId(2) },
        PartStep::Signed,
        PartStep::Eligible { shard: ShardId(0) },
        PartStep::Listed { entry: entry() },
        PartStep::Imported { place: PLACE, holds: HOLDS },
    ]
}

fn round_steps() -> Vec<RoundStep> {
    let (header, finished, rejected) = (Digest(std::array::from_fn(|i| i as u8)), 5, 4);
    let entries = vec![Name::Lane { owner: NodeId(4), first: Seq(15), last: Seq(17) }, entry()];
    vec![
        RoundStep::Begun,
        RoundStep::Entered { view: View(1) },
        RoundStep::Decided { view: View(0), entries },
        RoundStep::Executed { header, finished, rejected, spent: 3, cancelled: 2, refunded: 1 },
        RoundStep::Certified,
    ]
}

fn lane_steps() -> Vec<LaneStep> {
    vec![
        LaneStep::Proposed { transactions: 4, imports: 3, cancels: 2, payload_bytes: 1 },
        LaneStep::Echoed,
        LaneStep::Certified,
    ]
}

fn message_steps() -> Vec<MessageStep> {
    let said = Said("round 12: ECHO of view 0 = x".into());
    let sent = |to| MessageStep::Sent { to, said: said.clone() };
    vec![MessageStep::Received { from: NodeId(3), said: said.clone() }, sent(Dest::ShardOthers)]
}

fn all_events() -> Vec<TraceEvent> {
    let tx = TxHead::from(&TxId(std::array::from_fn(|i| i as u8)));
    let (shard, round) = (ShardId(1), Round(12));
    let txs = tx_steps().into_iter().map(|step| TraceEvent::Tx { tx, step });
    let parts = part_steps().into_iter().map(|step| TraceEvent::Part { part: part(5), step });
    let rounds = round_steps().into_iter().map(|step| TraceEvent::Round { shard, round, step });
    let messages = message_steps().into_iter().map(TraceEvent::Message);
    let lanes = lane_steps().into_iter().map(|step| TraceEvent::Lane { entry: entry(), step });
    txs.chain(parts).chain(rounds).chain(lanes).chain(messages).collect()
}

#[test]
fn every_event_is_read_back_from_its_line() {
    let mut seen = BTreeSet::new();
    for event in all_events() {
        let line = event.to_string();
        seen.extend(line.split(' ').next().map(String::from));
        assert_eq!(TraceEvent::parse(&line), Some(event), "{line}");
    }
    let words = [
        ("tx", TxStep::WORDS),
        ("part", PartStep::WORDS),
        ("round", RoundStep::WORDS),
        ("lane", LaneStep::WORDS),
        ("message", MessageStep::WORDS),
    ];
    let words =
        words.into_iter().flat_map(|(about, words)| words.iter().map(move |word| format!("{about}.{word}")));
    assert_eq!(seen, words.collect(), "no step is left out here");
}

#[test]
fn lines_are_as_the_essay_shows_them() {
    let tx = TxHead([0x1F, 0x2E, 0x3D, 0x4C, 0x5B, 0x6A, 0x79, 0x88]);
    let place = Place { shard: ShardId(2), round: Round(1) };
    for (event, line) in [
        (
            TraceEvent::Tx { tx, step: TxStep::Spent { place, entry: entry(), part: Some(part(1)) } },
            "tx.spent tx=1f2e3d4c5b6a7988 shard=2 round=1 entry=9:4 part=2>0:1",
        ),
        (
            TraceEvent::Part { part: part(1), step: PartStep::Made { place, holds: HOLDS } },
            "part.made part=2>0:1 shard=2 round=1 spent=3 finished=0 cancelled=1",
        ),
        (TraceEvent::Lane { entry: entry(), step: LaneStep::Certified }, "lane.certified entry=9:4"),
        (
            TraceEvent::Message(MessageStep::Sent { to: Dest::ShardOthers, said: Said("a b=c".into()) }),
            "message.sent to=own-shard said=a b=c",
        ),
    ] {
        assert_eq!(event.to_string(), line);
    }
}

#[test]
fn anything_else_is_no_event() {
    for event in all_events().iter().filter(|event| !matches!(event, TraceEvent::Message(_))) {
        let line = event.to_string();
        assert_eq!(TraceEvent::parse(&format!("{line} more=1")), None, "{line}");
        assert_eq!(TraceEvent::parse(&line.replacen('=', "", 1)), None, "{line}");
        for (at, _) in line.match_indices(' ') {
            assert_eq!(TraceEvent::parse(&line[..at]), None, "{}", &line[..at]);
        }
    }
    for line in [
        "",
        "net_client runs as process 7",
        "tx.spent",
        "tx.unheard tx=1f2e3d4c5b6a7988",
        "tx.pooled tx=1f2e3d4c5b6a7988 round=1 shard=2",
        "tx.pooled tx=1f2e shard=2 round=1",
        "tx.pooled tx=1f2e3d4c5b6a7988 shard=+2 round=1",
        "tx.pooled tx=1f2e3d4c5b6a7988  shard=2 round=1",
        "tx.answered tx=1f2e3d4c5b6a7988 client=1 fate=refused:Nothing",
        "part.signed part=1-0:5",
        "round.entered shard=0 round=1 view=-",
    ] {
        assert_eq!(TraceEvent::parse(line), None, "{line}");
    }
}
