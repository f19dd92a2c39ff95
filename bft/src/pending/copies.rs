//! Copies: transactions that another member has from its clients and that we hold for the time when it falls silent.
//!
//! They come in batches ([`Copies`]), or stand in an entry of its lane that was not certified before it fell silent.
//! Each is held as a backup of that member ([`Claim::Copied`]), takes up its share of the peers' room, and leaves like
//! any other: when a block orders it, when it can never execute, or when it is promoted and proposed.
//!
//! # Security
//! Nothing of a batch is trusted but the bytes of its transactions: they are valid, concern this shard, and are what a
//! client could have handed in here; anything else is a fault, since honest members send what they have admitted. A
//! member's copies fill its own share of the room and no other. Only the members that hold what it has take them, and
//! step in one after another: what a member sends to all is ordered by one of them, not by each. A batch from another
//! member is dropped: the two may differ for a moment about who is connected, and its sender tries again. One that
//! does not fit is not acknowledged either. If a client hands in here what we hold as a copy, its home can delay it by
//! 5 s at most. A position serves the sender alone: a false one harms nobody else.
//!
//! **Cost.** One id and two look-ups for each transaction, and a copy of its bytes.

use wire::client::list;
use wire::dest::Dest;
use wire::ids::{Index, NodeId, TxId};
use wire::limits::{ORDER_BYTES_MAX, SUBMISSION_TRANSACTIONS_MAX};

use crate::fault::FaultKind;
use crate::id_index::GROUP;
use crate::ledger::{Cause, Ledger, Standing};
use crate::message::Message;
use crate::mutant::{Mutant, in_force};
use crate::pending::list::{Payer, Phase};
use crate::pending::{Copies, Output, Pending};
use crate::proposal::ProposalView;
use crate::shard::home::{Claim, Since};
use crate::shard::message::ShardMessage;
use crate::time::Time;
use crate::transaction::{TransactionView, tx_id};

/// Whether a copy is held; needless ones count as held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hold {
    Held,
    NoRoom,
}

impl Pending {
    /// Copies of what another member of our shard has from its clients.
    pub fn on_copies(&mut self, now: Time, from: NodeId, copies: &Copies, ledger: &Ledger) -> Output {
        let Some(home) = self.member.index_of(from) else {
            return Output::fault(from, FaultKind::NotAMember);
        };
        if !self.is_holder_of(home) {
            return Output::default();
        }
        let body = &copies.list;
        let items = (body.len() as u64 <= ORDER_BYTES_MAX && copies.after < Some(copies.through))
            .then(|| list::parse(body, SUBMISSION_TRANSACTIONS_MAX))
            .flatten();
        let Some(items) = items else { return Output::fault(from, FaultKind::BadRequest) };
        let since = Since { time: now, round: ledger.height() };
        let mut group = Vec::with_capacity(GROUP);
        for items in items.chunks(GROUP) {
            group.clear();
            for item in items {
                // No honest member sends such: the rest is not looked at.
                let Some(view) = self.check(from, &body[item.clone()]) else {
                    return Output::fault(from, FaultKind::BadRequest);
                };
                group.push((tx_id(view.bytes()), view));
            }
            self.list.warm(group.iter().map(|(id, _)| id));
            ledger.warm(group.iter().map(|(id, view)| (id, view)));
            for (id, view) in &group {
                if self.hold(home, *id, *view, since, ledger) == Hold::NoRoom {
                    return Output::default();
                }
            }
        }
        let held = &mut self.sharing.held[usize::from(home.0)];
        let is_gap = copies.after.is_some() && copies.after > *held;
        if is_gap && in_force(Mutant::GapIsNotHeld) {
            // A batch before it was lost.
            return Output::default();
        }
        *held = Some(copies.through).max(*held);
        let acknowledged = Message::Shard(ShardMessage::Held(copies.through)).encode();
        Output { prompt: vec![(Dest::Node(from), acknowledged)], ..Output::default() }
    }

    /// Holds what stands in an entry of a silent member that nobody has certified.
    pub fn adopt(&mut self, home: Index, proposal: &ProposalView<'_>, since: Since, ledger: &Ledger) {
        for view in proposal.transactions() {
            if self.hold(home, view.id(), view, since, ledger) == Hold::NoRoom {
                return;
            }
        }
    }

    /// Whether we are to hold what a member has.
    pub fn is_holder_of(&self, home: Index) -> bool {
        home != self.member.index && self.sharing.is_holder_of(home, &self.member)
    }

    /// Holds one transaction for its home if it may execute and is not here yet.
    fn hold(
        &mut self,
        home: Index,
        id: TxId,
        view: TransactionView<'_>,
        since: Since,
        ledger: &Ledger,
    ) -> Hold {
        let known = self.list.find(&id);
        let record = known.map(|place| self.list.get(place));
        let is_here =
            record.is_some_and(|record| record.phase != Phase::Unlisted || record.payer != Payer::Pool);
        let may_execute = || {
            // Our ledger may lag behind that of the home: what is out of reach here may be within reach there.
            let is_open = match ledger.standing(&id, &view) {
                Standing::Open | Standing::Never(Cause::ExpiryTooFar) => true,
                Standing::Never(_) | Standing::Settled(..) | Standing::Spent => false,
            };
            is_open && self.opinions.believed(&id).is_none()
        };
        if is_here || !may_execute() {
            return Hold::Held;
        }
        let Some(expiry) = view.expiry_in(self.member.shard) else { return Hold::Held };
        let from = self.member.node_at(home);
        let Some(place) = self.charge(from, id, known, view.bytes()) else { return Hold::NoRoom };
        self.list.back_up(place, home, Claim::Copied, expiry, since);
        Hold::Held
    }
}
