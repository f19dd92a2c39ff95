//! Checkpoints at the root: requests and answers, and the jump to a state that was taken over.
//!
//! # Correctness
//! After the jump the core is where it would be had it executed the blocks between, but for what serves others: it
//! cannot prove or hand on those blocks, nor send their parts to other shards. Other members do.
//!
//! # Security
//! All that was signed stays in force: lanes keep their echoes beyond the new cut, and sign nothing at or below it; the
//! round that runs next is one in which the member took no part before; SIGNs beyond the last imported part stay.

use std::collections::BTreeSet;

use wire::envelope::Class;
use wire::ids::{Index, TxId};

use crate::checkpoint::{CheckpointEffects, CheckpointMessage, CheckpointSend, Piece, Taken};
use crate::core::{Core, News};
use crate::event::{Effect, JumpReport};
use crate::message::Message;
use crate::time::Time;
use crate::transaction::tx_id;

impl Core {
    /// A message of a member about checkpoints.
    pub(super) fn on_checkpoint(&mut self, now: Time, author: Index, message: CheckpointMessage) {
        let executed = self.header.height;
        let effects = match message {
            CheckpointMessage::Ask { height } => self.offers.asked(author, height, executed),
            CheckpointMessage::Passed { executed } => self.takeover.on_passed(now, author, executed),
            CheckpointMessage::Offer(offer) => self.takeover.on_offer(now, author, *offer, executed),
            CheckpointMessage::WantPiece { height, number } => {
                self.offers.piece_wanted(now, author, height, number)
            }
        };
        self.absorb_checkpoint(now, effects);
        self.make_checkpoint(now);
    }

    /// A piece of a checkpoint.
    pub(super) fn on_piece(&mut self, now: Time, author: Index, piece: Piece) {
        let effects = self.takeover.on_piece(now, author, piece);
        self.absorb_checkpoint(now, effects);
    }

    /// Sends what is due, and finds out whether anybody has what we miss.
    pub(super) fn checkpoint_tick(&mut self, now: Time) {
        let offered = self.offers.tick(now);
        self.absorb_checkpoint(now, offered);
        if self.takeover.next_wakeup(self.rounds.lags_since()).is_some_and(|due| due <= now) {
            let lag = self.rounds.lag();
            if self.takeover.inquires(now, lag) {
                let inquiry = self.rounds.inquire(now);
                self.absorb_rounds(now, inquiry);
            }
            let taken = self.takeover.tick(now, lag);
            self.absorb_checkpoint(now, taken);
        }
    }

    /// When [`Core::checkpoint_tick`] is due.
    pub(super) fn checkpoint_wakeup(&self) -> Option<Time> {
        let timers = [self.offers.next_wakeup(), self.takeover.next_wakeup(self.rounds.lags_since())];
        timers.into_iter().flatten().min()
    }

    /// Begins a checkpoint of the present state, if a member has asked for this height.
    pub(super) fn make_checkpoint(&mut self, now: Time) {
        if let Some(asker) = self.offers.next_asker(now, self.header.height) {
            self.offers.begin(now, asker, self.header, self.executed_cut.clone(), self.ledger.clone());
        }
    }

    fn absorb_checkpoint(&mut self, now: Time, effects: CheckpointEffects) {
        self.absorb_faults(effects.faults);
        for (dest, send) in effects.sends {
            let body = match send {
                CheckpointSend::Message(message) => Message::Checkpoint(message).encode(),
                CheckpointSend::Piece(piece) => piece.encode(),
            };
            self.send(dest, Class::Keep, None, body);
        }
        for taken in effects.outputs {
            self.jump(now, taken);
        }
    }

    /// Goes on from the state that was taken over, unless its blocks were executed meanwhile.
    fn jump(&mut self, now: Time, taken: Taken) {
        let Taken { offer, bytes, vouchers } = taken;
        let (height, from) = (offer.height(), self.header.height);
        if height <= from {
            return;
        }
        // f+1 members vouch for these bytes, so they are rows of a ledger unless more than f are faulty.
        let Ok(ledger) = self.ledger.with_rows(&bytes) else { return };
        self.ledger = ledger;
        self.header = offer.header;
        self.undone.retain(|decision| decision.round > height);
        let report =
            JumpReport { from, height, header: offer.header.digest(), bytes: bytes.len() as u64, vouchers };
        self.out.push(Effect::Jumped(Box::new(report)));
        let lanes = self.lanes.jump(now, height, &offer.cut);
        self.absorb_lanes(lanes);
        let (decided, cut) = self.lanes.decided();
        self.out.push(Effect::Progress(self.progress_of(decided, cut)));
        self.executed_cut = offer.cut.clone();
        let (ledger, transfers) = (&self.ledger, &mut self.transfers);
        let parts = transfers.jump(now, height, |shard| ledger.sent(shard), |shard| ledger.imported(shard));
        self.absorb_transfers(parts);
        let proposed = self.open_transactions();
        let output = self.pending.jump(now, &proposed, &self.ledger);
        self.absorb_pending(output);
        if self.follows() {
            self.votes.jump_following(height);
        } else {
            let votes = self.votes.jump(now, height, offer.header.digest());
            self.absorb_votes(now, votes);
        }
        (self.certificates, self.imports) = (News::Arrived, News::Arrived);
        // Last, since this may decide a further round.
        let rounds = self.rounds.jump(now, height, offer.cut, &self.lanes);
        self.absorb_rounds(now, rounds);
    }

    /// The transactions in own entries that are not executed, but for those that may have been executed out of others'
    /// entries and forgotten.
    fn open_transactions(&self) -> BTreeSet<TxId> {
        let mut open = BTreeSet::new();
        for entry in self.lanes.own_unexecuted() {
            let proposal =
                self.ledger.rules().validate(entry.payload()).expect("what we have proposed is valid");
            let known =
                proposal.transactions().filter(|transaction| !self.ledger.may_have_forgotten(transaction));
            open.extend(known.map(|transaction| tx_id(transaction.bytes())));
        }
        open
    }
}
