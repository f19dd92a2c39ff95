//! Trace events of the root's steps, if tracing is on. Nothing here changes the protocol's state.
//!
//! Each method is called where the step is taken and returns at once unless tracing is on. An event's data that the
//! step itself does not need is collected here, from the messages and outcomes that pass by.

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
use crate::lane::{LaneEffects, LaneMessage, LaneOutput, LaneSend};
use crate::ledger::{BlockOutcome, CrossEvent, Executed, Outcome, Settled};
use crate::message::said;
use crate::part::{self, Part, PartRef};
use crate::pending::{Output, PendingSend, PendingStep, Receipts};
use crate::round::Decision;
use crate::shard::home::home_of;
use crate::shard::message::{PartMessage, RejectMessage, Transfer};
use crate::shard::transfer::{TransferEffects, TransferOutput, TransferSend};
use crate::trace::{
    Holds, LaneStep, MessageStep, PartStep, Place, RoundStep, Said, TraceEvent, Tracing, TxStep, part_name,
};
use crate::transaction::{Part as Reach, tx_id};

impl Core {
    /// Whether tracing is on.
    fn is_traced(&self) -> bool {
        self.tracing != Tracing::Off
    }

    /// Emits an event if this level of detail is on.
    fn emit(&mut self, detail: Tracing, event: TraceEvent) {
        if self.tracing >= detail {
            self.out.push(Effect::Trace { detail, event: Box::new(event) });
        }
    }

    fn emit_tx(&mut self, id: TxId, step: TxStep) {
        self.emit(Tracing::Steps, TraceEvent::Tx { tx: TxHead::from(&id), step });
    }

    /// Emits a step of a transaction that this shard executes in this part.
    fn emit_tx_in(&mut self, reach: Reach, id: TxId, step: TxStep) {
        let detail = if reach == Reach::Intra { Tracing::All } else { Tracing::Steps };
        self.emit(detail, TraceEvent::Tx { tx: TxHead::from(&id), step });
    }

    fn emit_part(&mut self, part: Name, step: PartStep) {
        self.emit(Tracing::Steps, TraceEvent::Part { part, step });
    }

    fn emit_round(&mut self, round: Round, step: RoundStep) {
        self.emit(Tracing::Steps, TraceEvent::Round { shard: self.member.shard, round, step });
    }

    // Messages.

    /// A message of a peer has arrived.
    pub(super) fn trace_message(&mut self, from: NodeId, digest: Digest, body: &Bytes) {
        if self.tracing == Tracing::All {
            let said = said(&self.member.committee, from, Some(digest), body);
            self.emit(Tracing::All, TraceEvent::Message(MessageStep::Received { from, said: Said(said) }));
        }
    }

    /// Puts a trace event before each outgoing message.
    pub(super) fn trace_sent(&self, effects: Vec<Effect>) -> Vec<Effect> {
        if self.tracing != Tracing::All {
            return effects;
        }
        let event_of = |effect: &Effect| {
            let (to, said) = match effect {
                Effect::Send { dest, digest, body, .. } => {
                    (dest.clone(), said(&self.member.committee, self.member.node(), *digest, body))
                }
                Effect::SendKept { to, digest, .. } => {
                    (Dest::Node(*to), format!("message of the journal, digest {digest}"))
                }
                _ => return None,
            };
            let event = Box::new(TraceEvent::Message(MessageStep::Sent { to, said: Said(said) }));
            Some(Effect::Trace { detail: Tracing::All, event })
        };
        effects.into_iter().flat_map(|effect| [event_of(&effect), Some(effect)]).flatten().collect()
    }

    // Rounds and lanes.

    /// The running round has begun or entered a view.
    pub(super) fn trace_running(&mut self) {
        if !self.is_traced() {
            return;
        }
        let running = self.rounds.leading();
        let last = std::mem::replace(&mut self.traced, running);
        if let Some((round, view)) = running.filter(|_| running != last) {
            let step = if view == View(0) { RoundStep::Begun } else { RoundStep::Entered { view } };
            self.emit_round(round, step);
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
        // The decision is in its HALT, which is kept for a while.
        let view = self.rounds.halt(decision.round).map_or(View(0), |halt| halt.view);
        self.emit_round(decision.round, RoundStep::Decided { view, entries });
    }

    /// A block is certified.
    pub(super) fn trace_certified(&mut self, height: Round) {
        self.emit_round(height, RoundStep::Certified);
    }

    /// An own entry goes out: reports its imports, cancels and transactions.
    pub(super) fn trace_proposed(&mut self, effects: &LaneEffects) {
        if !self.is_traced() {
            return;
        }
        let entries = effects.sends.iter().filter_map(|(_, send)| match send {
            LaneSend::Entry { digest, body, .. } => Entry::parse(*digest, body.clone()),
            LaneSend::Kept { .. } | LaneSend::Message(_) => None,
        });
        for entry in entries.collect::<Vec<Entry>>() {
            let name = self.entry_name(entry.owner, entry.seq);
            let rules = self.ledger.rules().clone();
            let proposal = rules.validate(entry.payload()).expect("an own payload is valid");
            let (imports, cancels) = (proposal.parts(), proposal.cancels());
            let step = LaneStep::Proposed {
                transactions: proposal.len(),
                imports: imports.len(),
                cancels: cancels.len(),
                payload_bytes: entry.payload().len(),
            };
            self.emit(Tracing::Steps, TraceEvent::Lane { entry: name, step });
            for part in imports {
                self.emit_part(self.name_of(&part), PartStep::Listed { entry: name });
            }
            for id in cancels {
                self.emit_tx(id, TxStep::CancelListed { entry: name });
            }
            for view in proposal.transactions() {
                let reach = view.part_of(self.member.shard);
                // Hashed only where it is emitted.
                if reach != Reach::Intra || self.tracing == Tracing::All {
                    self.emit_tx_in(reach, view.id(), TxStep::Proposed { entry: name });
                }
            }
        }
    }

    /// Entries are echoed, or known to be certified.
    pub(super) fn trace_lanes(&mut self, effects: &LaneEffects) {
        if self.tracing != Tracing::All {
            return;
        }
        for (_, send) in &effects.sends {
            if let LaneSend::Message(LaneMessage::Echo { owner, seq, .. }) = send {
                self.emit_entry(*owner, *seq, LaneStep::Echoed);
            }
        }
        for output in &effects.outputs {
            if let LaneOutput::Certified(owner, seq) = output {
                self.emit_entry(*owner, *seq, LaneStep::Certified);
            }
        }
    }

    fn emit_entry(&mut self, owner: Index, seq: Seq, step: LaneStep) {
        let entry = self.entry_name(owner, seq);
        self.emit(Tracing::All, TraceEvent::Lane { entry, step });
    }

    // Blocks.

    /// A block was executed. The parts that it imports are still available.
    pub(super) fn trace_block(&mut self, report: &BlockReport, outcome: &BlockOutcome, entries: &[Entry]) {
        if !self.is_traced() {
            return;
        }
        let place = Place { shard: self.member.shard, round: outcome.round };
        let imported: Vec<_> = outcome.imported.iter().filter_map(|part| self.transfers.body(part)).collect();
        let mut reported_by = BTreeMap::new();
        for part in &imported {
            let name = self.name_of(&part.reference());
            self.emit_part(name, PartStep::Imported { place, holds: holds(part) });
            reported_by.extend(part.finished.iter().chain(&part.cancelled).map(|id| (*id, name)));
            for (id, _) in part.spent() {
                self.emit_tx(id, TxStep::Ticked { place, part: name });
            }
        }
        self.trace_transactions(place, outcome, entries);
        self.trace_cross(place, outcome, &reported_by);
        for part in &outcome.parts {
            let name = part_name(part.source, part.destination, part.number);
            self.emit_part(name, PartStep::Made { place, holds: holds(part) });
        }
        self.emit_round(
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

    /// The fate of each transaction in the block.
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
                    self.emit_tx(*id, TxStep::Spent { place, entry, part });
                    continue;
                }
                Outcome::Settled(Settled::Finished) => Tracing::All,
                _ => Tracing::Steps,
            };
            let step = TxStep::Settled { place, entry, end: *outcome };
            self.emit(detail, TraceEvent::Tx { tx: TxHead::from(id), step });
        }
    }

    /// The effects of a block on cross-shard transactions besides that.
    fn trace_cross(&mut self, place: Place, outcome: &BlockOutcome, reported_by: &BTreeMap<TxId, Name>) {
        let mut reports: BTreeMap<TxId, Vec<Name>> = BTreeMap::new();
        for part in &outcome.parts {
            let name = part_name(part.source, part.destination, part.number);
            for id in part.finished.iter().chain(&part.cancelled) {
                reports.entry(*id).or_default().push(name);
            }
        }
        for event in &outcome.cross {
            let parts = |id: &TxId| reports.get(id).cloned().unwrap_or_default();
            let part = |id: &TxId| reported_by.get(id).copied();
            let (id, step) = match event {
                // Traced with the entry that holds them.
                CrossEvent::Rejected { .. } | CrossEvent::Spent { .. } => continue,
                CrossEvent::Pooled { id } => (id, TxStep::Pooled { place }),
                CrossEvent::Finished { id } => (id, TxStep::Finished { place, parts: parts(id) }),
                CrossEvent::Cancelled { id } => (id, TxStep::Cancelled { place, parts: parts(id) }),
                CrossEvent::Refunded { id } => (id, TxStep::Refunded { place, part: part(id) }),
                CrossEvent::Closed { id } => (id, TxStep::Closed { place, part: part(id) }),
            };
            self.emit_tx(*id, step);
        }
    }

    // Clients.

    /// A client has submitted these transactions, and we are their contact.
    pub(super) fn trace_admitted(&mut self, client: ClientId, steps: &[PendingStep]) {
        if !self.is_traced() {
            return;
        }
        for step in steps {
            if let PendingStep::Admitted(id, reach) = step {
                self.emit_tx_in(*reach, *id, TxStep::Admitted { client });
            }
        }
    }

    /// A client gets the fates of transactions that did not finish. Those that did belong to [`Core::trace_receipts`].
    pub(super) fn trace_receipts_but_finished(&mut self, client: ClientId, receipts: &[Receipt]) {
        if !self.is_traced() {
            return;
        }
        for Receipt { id, fate } in receipts {
            if !matches!(fate, Fate::Finished(_)) {
                self.emit_tx(*id, TxStep::Answered { client, fate: *fate });
            }
        }
    }

    /// Clients get receipts for their transactions in a block.
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
                self.emit(detail, TraceEvent::Tx { tx: TxHead::from(id), step });
            }
        }
    }

    // Other shards.

    /// A node requests that we order transactions.
    pub(super) fn trace_requested(&mut self, by: NodeId, list: &Bytes) {
        if !self.is_traced() {
            return;
        }
        for id in listed(list) {
            let home = self.member.node_at(home_of(&id, self.member.committee.n()));
            self.emit_tx(id, TxStep::Requested { by, home });
        }
    }

    /// A part has arrived; it is not verified yet.
    pub(super) fn trace_received(&mut self, from: NodeId, transfer: &Transfer) {
        if !self.is_traced() {
            return;
        }
        if let Some(part::Label { source, destination, number, .. }) = part::Label::of(&transfer.part) {
            self.emit_part(part_name(source, destination, number), PartStep::Received { from });
        }
    }

    /// Outgoing messages about parts.
    pub(super) fn trace_transfers(&mut self, effects: &TransferEffects) {
        if !self.is_traced() {
            return;
        }
        for (dest, send) in &effects.sends {
            match (send, dest) {
                (TransferSend::Transfer(transfer), Dest::Node(to)) => {
                    let label = part::Label::of(&transfer.part).expect("an own part is well-formed");
                    let name = part_name(label.source, label.destination, label.number);
                    self.emit_part(name, PartStep::Sent { to: *to });
                }
                (TransferSend::Message(PartMessage::Vote { part, .. }), Dest::ShardOthers) => {
                    self.emit_part(self.name_of(part), PartStep::Signed);
                }
                _ => {}
            }
        }
        for output in &effects.outputs {
            if let TransferOutput::Eligible(part) = output {
                let shard = self.member.shard;
                self.emit_part(self.name_of(part), PartStep::Eligible { shard });
            }
        }
    }

    /// Outgoing messages about pending transactions, and beliefs about them.
    pub(super) fn trace_pending(&mut self, output: &Output) {
        if !self.is_traced() {
            return;
        }
        let shard = self.member.shard;
        for (dest, send) in &output.sends {
            match send {
                PendingSend::Order(transactions) => {
                    for transaction in transactions {
                        self.emit_tx(tx_id(transaction), TxStep::Forwarded { to: dest.clone() });
                    }
                }
                PendingSend::Spent(_) => {}
                PendingSend::Reject(RejectMessage::Votes { votes, .. }) => {
                    for vote in votes {
                        self.emit_tx(vote.id, TxStep::RejectVoted { shard, cause: vote.cause });
                    }
                }
                PendingSend::Reject(RejectMessage::Rejected { ids, .. }) => {
                    for (id, cause) in ids {
                        let step = TxStep::RejectSent { shard, to: dest.clone(), cause: *cause };
                        self.emit_tx(*id, step);
                    }
                }
            }
        }
        for step in &output.steps {
            if let PendingStep::Believed(id, cause) = step {
                self.emit_tx(*id, TxStep::Believed { shard, cause: *cause });
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

/// The ids in a list of transactions; none if the bytes are not a list.
fn listed(list: &[u8]) -> Vec<TxId> {
    let items: Vec<Range<usize>> = list::parse(list, SUBMISSION_TRANSACTIONS_MAX).unwrap_or_default();
    items.into_iter().map(|item| tx_id(&list[item])).collect()
}

fn holds(part: &Part) -> Holds {
    Holds { spent: part.spent.len(), finished: part.finished.len(), cancelled: part.cancelled.len() }
}
