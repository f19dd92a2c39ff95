//! Cross-shard transactions, as the root sees them: it routes between [`crate::shard`], the mempool and the ledger.
//!
//! Nodes of other shards may send only the messages handled here. None of them changes the ledger, only blocks do;
//! so each of these handlers only moves what is waiting, and the order in which they are called is free.

use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::envelope::Class;
use wire::ids::{NodeId, ShardId, TxId};

use crate::core::{Core, News};
use crate::event::Effect;
use crate::message::Message;
use crate::shard::message::{RejectVote, ShardMessage, Transfer};
use crate::shard::order::{OrderEffects, OrderOutput};
use crate::shard::reject::{RejectEffects, RejectOutput};
use crate::shard::transfer::{TransferEffects, TransferOutput, TransferSend};
use crate::time::Time;

impl Core {
    /// A part with its proof, from its source or from a member of our shard that we asked.
    pub(super) fn on_transfer(&mut self, now: Time, from: NodeId, transfer: Transfer) {
        self.trace_received(from, &transfer);
        let effects = self.transfers.handle_transfer(now, from, transfer);
        self.absorb_transfers(effects);
    }

    /// Another node asks us to order transactions.
    pub(super) fn on_order(&mut self, now: Time, from: NodeId, list: &Bytes) {
        self.trace_asked(from, list);
        let Core { orders, rejects, mempool, ledger, .. } = self;
        let believed = |id: &TxId| rejects.believed(id).is_some();
        let effects = orders.on_order(now, from, list, believed, mempool, ledger);
        self.absorb_orders(now, effects);
    }

    /// Any other message about cross-shard transactions.
    pub(super) fn on_shard(&mut self, now: Time, from: NodeId, message: ShardMessage) {
        match message {
            ShardMessage::Part(message) => {
                let effects = self.transfers.handle(now, from, message);
                self.absorb_transfers(effects);
            }
            ShardMessage::Reject(message) => {
                let effects = self.rejects.handle(now, from, message, &self.ledger);
                self.absorb_rejects(effects);
            }
            ShardMessage::Spent(ids) => {
                let effects = self.orders.on_spent(from, &ids);
                self.absorb_orders(now, effects);
            }
        }
    }

    /// Sends again, and asks again, what is due.
    pub(super) fn cross_tick(&mut self, now: Time) {
        let effects = self.transfers.tick(now);
        self.absorb_transfers(effects);
        let effects = self.orders.tick(now, &mut self.mempool, &self.ledger);
        self.absorb_orders(now, effects);
        // Time alone can make us the backup of an import, without any event.
        if self.transfers.has_eligible(now) || self.rejects.has_cancels() {
            self.imports = News::Arrived;
        }
    }

    /// When [`Core::cross_tick`] has something to do.
    pub(super) fn cross_wakeup(&self) -> Option<Time> {
        let lists = self.mempool.next_wakeup(self.ledger.height());
        let timers = [self.transfers.next_wakeup(), self.orders.next_wakeup(), lists, self.gather.due()];
        timers.into_iter().flatten().min()
    }

    /// Sends what has been gathered of messages about single transactions, if it is due.
    pub(super) fn release_gathered(&mut self, now: Time) {
        for (dest, body) in self.gather.release(now) {
            self.send_out(dest, body);
        }
    }

    /// Sends CL_M for transactions that can never execute here; `asker` is the peer that asked us to order them, if one
    /// did.
    pub(super) fn report_rejected(&mut self, now: Time, asker: Option<NodeId>, votes: Vec<RejectVote>) {
        let effects = self.rejects.report(now, asker, votes, &self.ledger);
        self.absorb_rejects(effects);
    }

    pub(super) fn absorb_transfers(&mut self, effects: TransferEffects) {
        self.trace_transfers(&effects);
        self.absorb_faults(effects.faults);
        for (dest, send) in effects.sends {
            let body = match send {
                TransferSend::Message(message) => Message::Shard(ShardMessage::Part(message)).encode(),
                TransferSend::Transfer(transfer) => transfer.encode(),
            };
            self.send_out(dest, body);
        }
        for TransferOutput::Eligible(_) | TransferOutput::Due in effects.outputs {
            self.imports = News::Arrived;
        }
    }

    pub(super) fn absorb_rejects(&mut self, effects: RejectEffects) {
        self.trace_rejects(&effects);
        self.absorb_faults(effects.faults);
        for (dest, message) in effects.sends {
            self.gather.reject(dest, message);
        }
        for output in effects.outputs {
            match output {
                RejectOutput::Believed { id, .. } => self.mempool.on_believed(&id),
                RejectOutput::Settled { id, cause } => {
                    let receipts = self.mempool.on_rejected(&id, cause);
                    self.reply_all(receipts);
                    self.orders.review([&id].into_iter(), &self.mempool, &self.ledger);
                }
            }
        }
    }

    pub(super) fn absorb_orders(&mut self, now: Time, effects: OrderEffects) {
        self.trace_orders(&effects.sends);
        self.absorb_faults(effects.faults);
        for (dest, send) in effects.sends {
            self.gather.order(dest, send);
        }
        for OrderOutput::Never { asker, votes } in effects.outputs {
            let ids: Vec<TxId> = votes.iter().map(|vote| vote.id).collect();
            self.report_rejected(now, asker, votes);
            if let Some(asker) = asker {
                let effects = self.rejects.answer(asker, ids, &self.ledger);
                self.absorb_rejects(effects);
            }
        }
    }

    /// Every shard but ours, ascending.
    pub(super) fn other_shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.member.shard;
        (0..self.member.committee.shards()).map(ShardId).filter(move |shard| *shard != own)
    }

    /// What passes between shards outlives rounds and entries, so no progress of ours makes it pointless.
    fn send_out(&mut self, dest: Dest, body: Bytes) {
        if dest != Dest::ShardOthers || self.member.committee.n() > 1 {
            self.out.push(Effect::Send { dest, class: Class::Keep, digest: None, body });
        }
    }
}
