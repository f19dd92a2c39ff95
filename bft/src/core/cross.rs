//! Cross-shard transactions at the root, which routes between [`crate::shard`], [`crate::pending`] and the ledger.
//!
//! Nodes of other shards may send only the messages handled here. None of them changes the ledger, only blocks do; so
//! each of these handlers only moves waiting items, and the order in which they are called does not matter.

use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::envelope::Class;
use wire::ids::{Digest, NodeId, ShardId};

use crate::core::{Core, News};
use crate::event::Effect;
use crate::message::Message;
use crate::pending::{Copies, Output};
use crate::shard::message::{ShardMessage, Transfer};
use crate::shard::transfer::{TransferEffects, TransferOutput, TransferSend};
use crate::time::Time;

impl Core {
    /// A part with its proof, from its source or in answer to our request to a member of our shard.
    pub(super) fn on_transfer(&mut self, now: Time, from: NodeId, message: Digest, transfer: Transfer) {
        self.trace_received(from, &transfer);
        let effects = self.transfers.handle_transfer(now, from, message, transfer);
        self.absorb_transfers(effects);
    }

    /// Another node requests that we order transactions.
    pub(super) fn on_order(&mut self, now: Time, from: NodeId, list: &Bytes) {
        self.trace_requested(from, list);
        let output = self.pending.on_order(now, from, list, &self.ledger);
        self.absorb_pending(output);
    }

    /// Another member has us hold copies.
    pub(super) fn on_copies(&mut self, now: Time, from: NodeId, copies: &Copies) {
        let output = self.pending.on_copies(now, from, copies, &self.ledger);
        self.absorb_pending(output);
    }

    /// Any other message about cross-shard transactions.
    pub(super) fn on_shard(&mut self, now: Time, from: NodeId, message: ShardMessage) {
        match message {
            ShardMessage::Part(message) => {
                let effects = self.transfers.handle(now, from, message);
                self.absorb_transfers(effects);
            }
            ShardMessage::Reject(message) => {
                let output = self.pending.on_reject(now, from, message, &self.ledger);
                self.absorb_pending(output);
            }
            ShardMessage::Spent(ids) => {
                let output = self.pending.on_spent(now, from, &ids);
                self.absorb_pending(output);
            }
            ShardMessage::Held(through) => {
                let output = self.pending.on_held(now, from, through);
                self.absorb_pending(output);
            }
        }
    }

    /// Sends due messages and requests again.
    pub(super) fn cross_tick(&mut self, now: Time) {
        let effects = self.transfers.tick(now);
        self.absorb_transfers(effects);
        let output = self.pending.tick(now, &self.ledger);
        self.absorb_pending(output);
        let output = self.pending.share(now);
        self.absorb_pending(output);
        // Time alone can make us the backup of an import, without any event.
        if self.transfers.has_eligible(now) || self.pending.has_cancels() {
            self.imports = News::Arrived;
        }
    }

    /// When [`Core::cross_tick`] is due.
    pub(super) fn cross_wakeup(&self) -> Option<Time> {
        let pending = self.pending.next_wakeup(self.ledger.height());
        let timers = [self.transfers.next_wakeup(), pending, self.gather.due(), self.tails_due()];
        timers.into_iter().flatten().min()
    }

    /// Sends the collected messages about single transactions, if they are due.
    pub(super) fn release_gathered(&mut self, now: Time) {
        for (dest, body) in self.gather.release(now) {
            self.send_out(dest, body);
        }
    }

    pub(super) fn absorb_transfers(&mut self, effects: TransferEffects) {
        self.trace_transfers(&effects);
        self.absorb_faults(effects.faults);
        for (dest, send) in effects.sends {
            let body = match send {
                TransferSend::Message(message) => Message::Shard(ShardMessage::Part(message)).encode(),
                TransferSend::Transfer(transfer) => transfer.encode(),
                TransferSend::Kept(message) => {
                    self.send_kept(dest, Class::Keep, message);
                    continue;
                }
            };
            self.send_out(dest, body);
        }
        for TransferOutput::Eligible(_) | TransferOutput::Due in effects.outputs {
            self.imports = News::Arrived;
        }
    }

    /// Sends the messages of pending transactions, together with others for the same destination, and receipts to
    /// clients.
    pub(super) fn absorb_pending(&mut self, output: Output) {
        self.trace_pending(&output);
        self.absorb_faults(output.faults);
        for (dest, send) in output.sends {
            self.gather.add(dest, send);
        }
        for (dest, body) in output.prompt {
            self.send_out(dest, body);
        }
        self.reply_all(output.receipts);
        if let Some((client, after)) = output.try_again {
            self.reply_try_again(client, after);
        }
    }

    /// Every shard but ours, ascending.
    pub(super) fn other_shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.member.shard;
        (0..self.member.committee.shards()).map(ShardId).filter(move |shard| *shard != own)
    }

    /// Messages between shards outlive rounds and entries, so no progress of ours makes them pointless.
    fn send_out(&mut self, dest: Dest, body: Bytes) {
        if dest != Dest::ShardOthers || self.member.committee.n() > 1 {
            self.out.push(Effect::Send { dest, class: Class::Keep, digest: None, body });
        }
    }
}
