//! Orders: transactions that members of another shard, or of our own, request us to propose.
//!
//! The member asked judges by its ledger: inputs are spent here, under an open record → the number of the part that
//! carries the transaction, whose re-sending does the rest, never a rejection; it can never execute here → a vote
//! (CL_M) and what is known of it (CL), by `opinions`; else it goes onto the list, as its home or as a backup. Nothing
//! in an order is trusted except the bytes of its transactions. It leaves the list when a block spends its inputs or
//! rejects it, when it can never execute here, or when another of its shards is believed to reject it while it is not
//! proposed yet: then nothing needs to be ordered at all.
//!
//! **Lines.** What another shard needs stands in the own line of its home, among what clients handed in. What a member
//! of our shard leaves to us stands there only while there is a crowd, since then each member leaves its part to each
//! other; at any other time no honest member sends such, and it takes only the room that the own line leaves.
//!
//! **Bound.** Listed transactions take up the asker's share of the list (`accounts`). Those that can never execute take
//! no room there, so the reports that they cause are rationed for each peer (`opinions::ration`). What finds no room is
//! asked for again by another shard (`asking`); a member of ours asks once, and proposes itself what stays undone
//! (`crowd`).
//!
//! **Cost.** One id and two look-ups for each transaction and each that asks.

use wire::bytes::Bytes;
use wire::client::list;
use wire::dest::Dest;
use wire::ids::{NodeId, PartNumber, TxId};
use wire::limits::{ORDER_BYTES_MAX, SUBMISSION_TRANSACTIONS_MAX};

use crate::fault::{Fault, FaultKind};
use crate::id_index::GROUP;
use crate::ledger::{Ledger, Standing};
use crate::pending::list::{Line, Payer, Phase};
use crate::pending::opinions::Draft;
use crate::pending::{Output, Pending, PendingSend, other_shards};
use crate::proposal::payload_bytes;
use crate::shard::home::{Claim, Since, home_of};
use crate::shard::message::RejectVote;
use crate::slab::Place;
use crate::time::Time;
use crate::transaction::{self, Part, TransactionView, tx_id};

/// The answer to one order.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) spent: Vec<(TxId, PartNumber)>,
    pub(super) votes: Vec<RejectVote>,
}

impl Pending {
    /// A list of transactions that another member asks us to order.
    pub fn on_order(&mut self, now: Time, from: NodeId, body: &Bytes, ledger: &Ledger) -> Output {
        let items = (body.len() as u64 <= ORDER_BYTES_MAX)
            .then(|| list::parse(body, SUBMISSION_TRANSACTIONS_MAX))
            .flatten();
        let Some(items) = items else { return Output::fault(from, FaultKind::BadRequest) };
        let mut output = Output::default();
        let mut answer = Answer::default();
        let mut group = Vec::with_capacity(GROUP);
        for items in items.chunks(GROUP) {
            group.clear();
            for item in items {
                let Some(view) = self.check(from, &body[item.clone()]) else {
                    // No honest member sends such: the rest is not looked at.
                    output.faults.push(Fault { peer: from, kind: FaultKind::BadRequest });
                    return output;
                };
                group.push((tx_id(view.bytes()), view));
            }
            ledger.warm(group.iter().map(|(id, view)| (id, view)));
            for (id, view) in &group {
                if view.part_of(self.member.shard) == Part::Cross {
                    self.judge(now, from, *id, *view, ledger, &mut answer);
                } else if ledger.standing(id, view) == Standing::Open {
                    // The member that left it to us learns of its end from the same blocks, so it needs no answer. If
                    // we lag, and it may not execute here yet, that member proposes it.
                    self.list_order(now, from, *id, *view, ledger);
                }
            }
        }
        if !answer.spent.is_empty() {
            output.sends.push((Dest::Node(from), PendingSend::Spent(answer.spent)));
        }
        let ids: Vec<TxId> = answer.votes.iter().map(|vote| vote.id).collect();
        let mut draft = Draft::default();
        self.opinions.report(now, Some(from), answer.votes, ledger, &mut draft);
        self.heed(draft, ledger, &mut output);
        if let Some((dest, message)) = self.opinions.answer(from, ids, ledger) {
            output.sends.push((dest, PendingSend::Reject(message)));
        }
        output
    }

    /// The view of a transaction that a member may ask us to order or to hold: valid, short enough for a proposal, with
    /// an input here, and its output in the shard of the node that asks, which may be ours.
    pub(super) fn check<'a>(&self, from: NodeId, bytes: &'a [u8]) -> Option<TransactionView<'a>> {
        let committee = &self.member.committee;
        let view = transaction::validate(bytes, committee).ok()?;
        let concerns = view.expiry_in(self.member.shard).is_some()
            && view.output_shard() == committee.shard_of(from)
            && payload_bytes(bytes.len()) <= committee.protocol().proposal_bytes_max;
        concerns.then_some(view)
    }

    /// Answers for one transaction if our ledger has an answer, and lists it if it may execute. Whoever asks again has
    /// not had its answer yet, whatever we believe: belief only spares the listing.
    pub(super) fn judge(
        &mut self,
        now: Time,
        from: NodeId,
        id: TxId,
        view: TransactionView<'_>,
        ledger: &Ledger,
        answer: &mut Answer,
    ) {
        let shard = self.member.shard;
        let vote = |cause| RejectVote { id, others: other_shards(&view, shard), cause };
        match ledger.standing(&id, &view) {
            Standing::Open if self.opinions.believed(&id).is_none() => {
                self.list_order(now, from, id, view, ledger);
            }
            // The ledger may have forgotten who spent a coin, and our CL_M of then may be lost.
            Standing::Open => answer.votes.extend(self.opinions.voted(&id).map(vote)),
            Standing::Spent => {
                let record = ledger.open_record(&id).expect("that is what this standing means");
                // With its output here it has ticked our own pool, and the asker has the same ledger.
                if record.output() != shard {
                    answer.spent.push((id, record.part()));
                }
            }
            // A closed record means that it finished: the asker learns of that from its own shard.
            standing => answer.votes.extend(standing.never().map(vote)),
        }
    }

    /// Takes a transaction on the account of the node that wants it ordered, or held; `None` if its part of the room is
    /// full. `known` is the place of a record that nobody pays for.
    pub(super) fn charge(
        &mut self,
        from: NodeId,
        id: TxId,
        known: Option<Place>,
        bytes: &[u8],
    ) -> Option<Place> {
        let (committee, length) = (&self.member.committee, bytes.len() as u64);
        let nodes = u64::from(committee.shards()) * committee.n() as u64;
        if !self.accounts.has_room(from, nodes, length) {
            return None;
        }
        let place = known.unwrap_or_else(|| self.list.add(id));
        let record = self.list.get_mut(place);
        record.payer = Payer::Peer(from);
        // A copy of its own: a message must not stay in memory for the sake of one transaction of it.
        record.bytes = Some(Bytes::from(bytes.to_vec()));
        self.accounts.add(Payer::Peer(from), length);
        Some(place)
    }

    /// Lists what may execute, in the line of its home, if there is room for it.
    fn list_order(&mut self, now: Time, from: NodeId, id: TxId, view: TransactionView<'_>, ledger: &Ledger) {
        let Some(expiry) = view.expiry_in(self.member.shard) else { return };
        let known = self.list.find(&id);
        let record = known.map(|place| self.list.get(place));
        if record.is_some_and(|record| record.phase != Phase::Unlisted) {
            return;
        }
        let is_paid = record.is_some_and(|record| record.payer != Payer::Pool);
        let place = known.filter(|_| is_paid).or_else(|| self.charge(from, id, known, view.bytes()));
        let Some(place) = place else { return };
        let home = home_of(&id, self.member.committee.n());
        // The home of a client's transaction is the node that took it: ours.
        if is_paid || home == self.member.index {
            let is_due = is_paid || view.part_of(self.member.shard) == Part::Cross || self.is_crowd(now);
            let line = if is_due { Line::Own } else { Line::Spare };
            self.list.wait(place, line, expiry, ledger.height());
        } else {
            let since = Since { time: now, round: ledger.height() };
            self.list.back_up(place, home, Claim::Ordered, expiry, since);
        }
    }
}
