//! The contact's side: cross-shard transactions that clients handed to this node, a member of their output shard.
//!
//! A record holds the bytes, so that other shards can be asked again and again, until the transaction has its fate:
//! *finished* or *cancelled* by a block of this shard, *rejected* by a block of this shard that could not spend its
//! inputs here, or believed to be rejected by another shard that spent nothing (`shard::reject`). Each of these is
//! final, and with the first the record is gone: one receipt.

use wire::bytes::Bytes;
use wire::client::{Fate, Receipt, Refusal, Rejection};
use wire::ids::{ClientId, TxId};

use crate::ledger::{BlockOutcome, Cause, CrossEvent, Ledger, Standing};
use crate::mempool::list::{Open, Owner, Phase};
use crate::mempool::{Mempool, Receipts, admissible};
use crate::transaction::TransactionView;

/// What a contact keeps of a transaction.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    client: ClientId,
    /// Who asked for it last; it gets the receipt too.
    pub(super) asker: Option<ClientId>,
    /// A copy of its own: it may stay for long, and must not keep a whole submission in memory.
    bytes: Bytes,
}

impl Mempool {
    /// The encoding of a transaction of which this node is the contact.
    pub fn contact_bytes(&self, id: &TxId) -> Option<&Bytes> {
        self.contacts.get(id).map(|contact| &contact.bytes)
    }

    /// Another shard can never execute this transaction and none of its inputs is spent: its client is told.
    pub fn on_rejected(&mut self, id: &TxId, cause: Cause) -> Receipts {
        let mut receipts = Receipts::new();
        self.settle_contact(id, cause.fate(), &mut receipts);
        self.unlist(id);
        receipts
    }

    /// Admission of a transaction with its output here and inputs elsewhere, statically fit.
    pub(super) fn admit_as_contact(
        &mut self,
        client: ClientId,
        id: &TxId,
        view: &TransactionView<'_>,
        believed: &impl Fn(&TxId) -> Option<Cause>,
        ledger: &Ledger,
    ) -> Result<(), Fate> {
        if self.contacts.contains(id) {
            return Err(Fate::Refused(Refusal::Duplicate));
        }
        let length = view.bytes().len() as u64;
        if let Some(reason) = self.accounts.no_room(client, length) {
            return Err(Fate::Refused(reason));
        }
        let pooled = ledger.pool_entry(id).is_some();
        // What is believed and pooled will be cancelled, and that block tells.
        if let Some(cause) = believed(id).filter(|_| !pooled) {
            return Err(cause.fate());
        }
        let bytes = Bytes::from(view.bytes().to_vec());
        let expiry = view.expiry_in(ledger.shard());
        match ledger.standing(id, view) {
            // Its inputs here are spent and the pool waits for others: who hands it in again gets its receipt.
            Standing::Spent if pooled => {}
            standing => {
                admissible(standing)?;
                if let Some(expiry) = expiry {
                    let phase = Phase::Waiting(bytes.clone());
                    let checked = ledger.height();
                    self.list_as_contact(Open { id: *id, owner: Owner::Contact, expiry, checked, phase });
                }
            }
        }
        self.accounts.add(client, length);
        self.contacts.insert(*id, Contact { client, asker: None, bytes });
        Ok(())
    }

    /// Lists a transaction to be proposed at once. A peer may have asked for it before; now its home is here.
    fn list_as_contact(&mut self, open: Open) {
        let hashed = self.list.hash(&open.id);
        match self.list.find_hashed(hashed, &open.id) {
            Some(place) => {
                let freed = self.list.adopt(place, Owner::Contact);
                if let Owner::Peer(peer) = freed.owner {
                    self.accounts.remove_of_peer(peer, freed.bytes);
                }
            }
            None => self.list.insert(hashed, open),
        }
    }

    /// Settles those whose end a block brought.
    pub(super) fn settle_contacts(
        &mut self,
        outcome: &BlockOutcome,
        believed: impl Fn(&TxId) -> Option<Cause>,
        receipts: &mut Receipts,
    ) {
        for event in &outcome.cross {
            match event {
                CrossEvent::Finished { id } => {
                    self.settle_contact(id, Fate::Finished(outcome.round), receipts);
                }
                CrossEvent::Cancelled { id } => {
                    let known = believed(id).filter(|cause| *cause != Cause::ExpiryTooFar);
                    let cause = known.unwrap_or(Cause::Rejected(Rejection::Cancelled));
                    self.settle_contact(id, cause.fate(), receipts);
                    // Proposed or not: a block that orders it later passes it over.
                    if let Some(place) = self.list.find(id) {
                        let _ = self.free(place);
                    }
                }
                CrossEvent::Rejected { id, cause, .. } => self.settle_contact(id, cause.fate(), receipts),
                CrossEvent::Spent { .. }
                | CrossEvent::Pooled { .. }
                | CrossEvent::Refunded { .. }
                | CrossEvent::Closed { .. } => {}
            }
        }
    }

    /// Ends a record, if there is one, with a receipt.
    pub(super) fn settle_contact(&mut self, id: &TxId, fate: Fate, receipts: &mut Receipts) {
        let Some(Contact { client, asker, bytes }) = self.contacts.remove(id) else { return };
        self.accounts.remove(client, bytes.len() as u64);
        self.notify(client, asker, Receipt { id: *id, fate }, receipts);
    }
}
