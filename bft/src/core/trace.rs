//! What the root tells of its steps, if it is asked to: nothing here changes anything.
//!
//! Each of these is called where the step is taken and returns at once unless somebody listens. What a sentence needs
//! and the step itself does not is gathered here, from the messages and outcomes that pass by.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use wire::bytes::Bytes;
use wire::client::{Fate, Receipt, list};
use wire::dest::Dest;
use wire::ids::{ClientId, Digest, Index, NodeId, Round, Seq, TxId, View};
use wire::limits::SUBMISSION_TRANSACTIONS_MAX;
use wire::name::{Name, TxHead};

use crate::core::Core;
use crate::event::{BlockReport, Effect};
use crate::lane::entry::Entry;
use crate::lane::{LaneEffects, LaneSend};
use crate::ledger::{BlockOutcome, CrossEvent, Executed, Outcome, Settled};
use crate::message::said;
use crate::part::{self, Part, PartRef};
use crate::pending::{Output, PendingSend, PendingStep, Receipts};
use crate::round::Decision;
use crate::shard::home::home_of;
use crate::shard::message::{PartMessage, RejectMessage, Transfer};
use crate::shard::transfer::{TransferEffects, TransferOutput, TransferSend};
use crate::trace::{
    Holds, MessageStep, PartStep, Place, RoundStep, Said, TraceEvent, Tracing, TxStep, part_name,
};
use crate::transaction::{Part as Reach, tx_id};

impl Core {
    /// Whether anybody listens.
    fn is_traced(&self) -> bool {
        self.tracing != Tracing::Off
    }

    /// Tells an event of this detail if so much is asked for.
    fn tell(&mut self, detail: Tracing, event: TraceEvent) {
        if self.tracing >= detail {
            self.out.push(Effect::Trace { detail, event: Box::new(event) });
        }
    }

    fn tell_tx(&mut self, id: TxId, step: TxStep) {
        self.tell(Tracing::Steps, TraceEvent::Tx { tx: TxHead::from(&id), step });
    }

    fn tell_part(&mut self, part: Name, step: PartStep) {
        self.tell(Tracing::Steps, TraceEvent::Part { part, step });
    }

    fn tell_round(&mut self, round: Round, step: RoundStep) {
        self.tell(Tracing::Steps, TraceEvent::Round { shard: self.member.shard, round, step });
    }

    // Messages.

    /// A peer has said something.
    pub(super) fn trace_heard(&mut self, from: NodeId, digest: Digest, body: &Bytes) {
        if self.tracing == Tracing::All {
            let said = said(&self.member.committee, from, Some(digest), body);
            self.tell(Tracing::All, TraceEvent::Message(MessageStep::Received { from, said: Said(said) }));
        }
    }

    /// Puts before each message that goes out what it says.
    pub(super) fn trace_sent(&self, effects: Vec<Effect>) -> Vec<Effect> {
        if self.tracing != Tracing::All {
            return effects;
        }
        let told = |effect: &Effect| match effect {
            Effect::Send { dest, digest, body, .. } => {
                let said = said(&self.member.committee, self.member.node(), *digest, body);
                let event = TraceEvent::Message(MessageStep::Sent { to: dest.clone(), said: Said(said) });
                let event = Box::new(event);
                Some(Effect::Trace { detail: Tracing::All, event })
            }
            _ => None,
        };
        effects.into_iter().flat_map(|effect| [told(&effect), Some(effect)]).flatten().collect()
    }

    // Rounds and lanes.

    /// How far the running round has come, when that may have changed.
    pub(super) fn trace_running(&mut self) {
        if !self.is_traced() {
            return;
        }
        let running = self.rounds.leading();
        let last = std::mem::replace(&mut self.traced, running);
        if let Some((round, view)) = running.filter(|_| running != last) {
            let step = if view == View(0) { RoundStep::Begun } else { RoundStep::Entered { view } };
            self.tell_round(round, step);
        }
    }

    /// A round is decided.
    pub(super) fn trace_decided(&mut self, decision: &Decision) {
        if !self.is_traced() {
            return;
        }
        let ahead = decision.cut.ahead_of(&decision.previous);
        let entries = ahead.map(|(lane, tip)| Name::Lane {
            owner: self.member.node_at(lane),
            first: decision.previous.tip(lane).seq.next(),
            last: tip.seq,
        });
        let entries = entries.collect();
        // The decision stands in its HALT, which is kept for a while.
        let view = self.rounds.halt(decision.round).map_or(View(0), |halt| halt.view);
        self.tell_round(decision.round, RoundStep::Decided { view, entries });
    }

    /// A block is certified.
    pub(super) fn trace_certified(&mut self, height: Round) {
        self.tell_round(height, RoundStep::Certified);
    }

    /// An own entry goes out: what of it belongs to a story.
    pub(super) fn trace_proposed(&mut self, effects: &LaneEffects) {
        if !self.is_traced() {
            return;
        }
        let entries = effects.sends.iter().filter_map(|(_, send)| match send {
            LaneSend::Entry { digest, body, .. } => Entry::parse(*digest, body.clone()),
            LaneSend::Message(_) => None,
        });
        for entry in entries.collect::<Vec<Entry>>() {
            let name = self.entry_name(entry.owner, entry.seq);
            let rules = self.ledger.rules().clone();
            let proposal = rules.validate(entry.payload()).expect("what we propose is valid");
            let (imports, cancels) = (proposal.parts(), proposal.cancels());
            self.tell(
                Tracing::Steps,
                TraceEvent::Message(MessageStep::Proposed {
                    entry: name,
                    transactions: proposal.len(),
                    imports: imports.len(),
                    cancels: cancels.len(),
                    payload_bytes: entry.payload().len(),
                }),
            );
            for part in imports {
                self.tell_part(self.name_of(&part), PartStep::Listed { entry: name });
            }
            for id in cancels {
                self.tell_tx(id, TxStep::CancelListed { entry: name });
            }
            let crossing =
                proposal.transactions().filter(|view| view.part_of(self.member.shard) == Reach::Cross);
            for id in crossing.map(|view| view.id()).collect::<Vec<TxId>>() {
                self.tell_tx(id, TxStep::Proposed { entry: name });
            }
        }
    }

    // Blocks.

    /// A block was executed. The parts that it imports are still at hand.
    pub(super) fn trace_block(&mut self, report: &BlockReport, outcome: &BlockOutcome, entries: &[Entry]) {
        if !self.is_traced() {
            return;
        }
        let place = Place { shard: self.member.shard, round: outcome.round };
        let imported: Vec<_> = outcome.imported.iter().filter_map(|part| self.transfers.body(part)).collect();
        let mut told_by = BTreeMap::new();
        for part in &imported {
            let name = self.name_of(&part.reference());
            self.tell_part(name, PartStep::Imported { place, holds: holds(part) });
            told_by.extend(part.finished.iter().chain(&part.cancelled).map(|id| (*id, name)));
            for (id, _) in part.spent() {
                self.tell_tx(id, TxStep::Ticked { place, part: name });
            }
        }
        self.trace_transactions(place, outcome, entries);
        self.trace_cross(place, outcome, &told_by);
        for part in &outcome.parts {
            let name = part_name(part.source, part.destination, part.number);
            self.tell_part(name, PartStep::Made { place, holds: holds(part) });
        }
        self.tell_round(
            outcome.round,
            RoundStep::Executed {
                header: report.header,
                finished: outcome.counts.finished + outcome.counts.finished_cross,
                rejected: outcome.counts.rejected + outcome.counts.expired,
                spent: outcome.counts.spent,
                cancelled: outcome.counts.cancelled,
                refunded: outcome.counts.refunded,
            },
        );
    }

    /// What became of the transactions that stood in the block.
    fn trace_transactions(&mut self, place: Place, outcome: &BlockOutcome, entries: &[Entry]) {
        let parts: BTreeMap<TxId, Option<Name>> = outcome
            .cross
            .iter()
            .filter_map(|event| match event {
                CrossEvent::Spent { id, output, part } => {
                    let name = part_name(place.shard, *output, *part);
                    Some((*id, (*output != place.shard).then_some(name)))
                }
                _ => None,
            })
            .collect();
        for Executed { id, entry, outcome, .. } in &outcome.transactions {
            let entry = &entries[*entry as usize];
            let entry = self.entry_name(entry.owner, entry.seq);
            let detail = match outcome {
                Outcome::Settled(Settled::Spent) => {
                    let part = parts.get(id).copied().flatten();
                    self.tell_tx(*id, TxStep::Spent { place, entry, part });
                    continue;
                }
                Outcome::Settled(Settled::Finished) => Tracing::All,
                _ => Tracing::Steps,
            };
            let step = TxStep::Settled { place, entry, end: *outcome };
            self.tell(detail, TraceEvent::Tx { tx: TxHead::from(id), step });
        }
    }

    /// What a block did with cross-shard transactions beside that.
    fn trace_cross(&mut self, place: Place, outcome: &BlockOutcome, told_by: &BTreeMap<TxId, Name>) {
        let mut tells: BTreeMap<TxId, Vec<Name>> = BTreeMap::new();
        for part in &outcome.parts {
            let name = part_name(part.source, part.destination, part.number);
            for id in part.finished.iter().chain(&part.cancelled) {
                tells.entry(*id).or_default().push(name);
            }
        }
        for event in &outcome.cross {
            let parts = |id: &TxId| tells.get(id).cloned().unwrap_or_default();
            let part = |id: &TxId| told_by.get(id).copied();
            let (id, step) = match event {
                // Told where they stood.
                CrossEvent::Rejected { .. } | CrossEvent::Spent { .. } => continue,
                CrossEvent::Pooled { id } => (id, TxStep::Pooled { place }),
                CrossEvent::Finished { id } => (id, TxStep::Finished { place, parts: parts(id) }),
                CrossEvent::Cancelled { id } => (id, TxStep::Cancelled { place, parts: parts(id) }),
                CrossEvent::Refunded { id } => (id, TxStep::Refunded { place, part: part(id) }),
                CrossEvent::Closed { id } => (id, TxStep::Closed { place, part: part(id) }),
            };
            self.tell_tx(*id, step);
        }
    }

    // Clients.

    /// A client has handed these in, and we are their contact.
    pub(super) fn trace_admitted(&mut self, client: ClientId, steps: &[PendingStep]) {
        if !self.is_traced() {
            return;
        }
        for step in steps {
            if let PendingStep::Admitted(id) = step {
                self.tell_tx(*id, TxStep::Admitted { client });
            }
        }
    }

    /// A client is told of transactions that did not finish. Those that did are [`Core::trace_receipts`]'s.
    pub(super) fn trace_receipts_but_finished(&mut self, client: ClientId, receipts: &[Receipt]) {
        if !self.is_traced() {
            return;
        }
        for Receipt { id, fate } in receipts {
            if !matches!(fate, Fate::Finished(_)) {
                self.tell_tx(*id, TxStep::Answered { client, fate: *fate });
            }
        }
    }

    /// Clients are told what became of their transactions in a block.
    pub(super) fn trace_receipts(&mut self, outcome: &BlockOutcome, receipts: &Receipts) {
        if !self.is_traced() {
            return;
        }
        let finished = outcome.cross.iter().filter_map(|event| match event {
            CrossEvent::Finished { id } => Some(*id),
            _ => None,
        });
        let crossed: BTreeSet<TxId> = finished.collect();
        for (client, receipts) in receipts {
            let finished = receipts.iter().filter(|receipt| matches!(receipt.fate, Fate::Finished(_)));
            for Receipt { id, fate } in finished {
                let detail = if crossed.contains(id) { Tracing::Steps } else { Tracing::All };
                let step = TxStep::Answered { client: *client, fate: *fate };
                self.tell(detail, TraceEvent::Tx { tx: TxHead::from(id), step });
            }
        }
    }

    // Other shards.

    /// A node asks us to order transactions.
    pub(super) fn trace_asked(&mut self, by: NodeId, list: &Bytes) {
        if !self.is_traced() {
            return;
        }
        for id in listed(list) {
            let home = self.member.node_at(home_of(&id, self.member.committee.n()));
            self.tell_tx(id, TxStep::Requested { by, home });
        }
    }

    /// A part has come in, whatever it is worth.
    pub(super) fn trace_received(&mut self, from: NodeId, transfer: &Transfer) {
        if !self.is_traced() {
            return;
        }
        if let Some(part::Place { source, destination, number, .. }) = part::Place::of(&transfer.part) {
            self.tell_part(part_name(source, destination, number), PartStep::Received { from });
        }
    }

    /// What is said of parts.
    pub(super) fn trace_transfers(&mut self, effects: &TransferEffects) {
        if !self.is_traced() {
            return;
        }
        for (dest, send) in &effects.sends {
            match (send, dest) {
                (TransferSend::Transfer(transfer), Dest::Node(to)) => {
                    let place = part::Place::of(&transfer.part).expect("we send parts that are well-formed");
                    let name = part_name(place.source, place.destination, place.number);
                    self.tell_part(name, PartStep::Sent { to: *to });
                }
                (TransferSend::Message(PartMessage::Vote { part, .. }), Dest::ShardOthers) => {
                    self.tell_part(self.name_of(part), PartStep::Signed);
                }
                _ => {}
            }
        }
        for output in &effects.outputs {
            if let TransferOutput::Eligible(part) = output {
                let shard = self.member.shard;
                self.tell_part(self.name_of(part), PartStep::Eligible { shard });
            }
        }
    }

    /// What is sent on account of pending transactions, and what is believed of them.
    pub(super) fn trace_pending(&mut self, output: &Output) {
        if !self.is_traced() {
            return;
        }
        let shard = self.member.shard;
        for (dest, send) in &output.sends {
            match send {
                PendingSend::Order(transactions) => {
                    for transaction in transactions {
                        self.tell_tx(tx_id(transaction), TxStep::Forwarded { to: dest.clone() });
                    }
                }
                PendingSend::Spent(_) => {}
                PendingSend::Reject(RejectMessage::Votes { votes, .. }) => {
                    for vote in votes {
                        self.tell_tx(vote.id, TxStep::RejectVoted { shard, cause: vote.cause });
                    }
                }
                PendingSend::Reject(RejectMessage::Rejected { ids, .. }) => {
                    for (id, cause) in ids {
                        let step = TxStep::RejectSent { shard, to: dest.clone(), cause: *cause };
                        self.tell_tx(*id, step);
                    }
                }
            }
        }
        for step in &output.steps {
            if let PendingStep::Believed(id, cause) = step {
                self.tell_tx(*id, TxStep::Believed { shard, cause: *cause });
            }
        }
    }

    fn entry_name(&self, owner: Index, seq: Seq) -> Name {
        Name::entry(self.member.node_at(owner), seq)
    }

    /// The name of a part that was sent to us.
    fn name_of(&self, part: &PartRef) -> Name {
        part_name(part.source, self.member.shard, part.number)
    }
}

/// The ids of a list of transactions; none if it is no such list.
fn listed(list: &[u8]) -> Vec<TxId> {
    let items: Vec<Range<usize>> = list::parse(list, SUBMISSION_TRANSACTIONS_MAX).unwrap_or_default();
    items.into_iter().map(|item| tx_id(&list[item])).collect()
}

fn holds(part: &Part) -> Holds {
    Holds { spent: part.spent.len(), finished: part.finished.len(), cancelled: part.cancelled.len() }
}
