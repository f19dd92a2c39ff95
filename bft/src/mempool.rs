//! Local stand-in, replaced before landing.
#![allow(missing_docs, reason = "replaced at the next landing")]
use crate::ledger::{BlockOutcome, Ledger, Outcome, Settled};
use crate::proposal::{ProposalBuilder, Push};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use wire::bytes::Bytes;
use wire::client::{Fate, Receipt, Refusal};
use wire::ids::{ClientId, TxId};

#[derive(Debug, Default)]
pub struct Mempool {
    queue: VecDeque<(TxId, Bytes)>,
    owner: BTreeMap<TxId, ClientId>,
    bytes: usize,
}
impl Mempool {
    pub fn new(_: u64) -> Self {
        Self::default()
    }
    pub fn len(&self) -> usize {
        self.owner.len()
    }
    pub fn is_empty(&self) -> bool {
        self.owner.is_empty()
    }
    pub fn pending_bytes(&self) -> usize {
        self.bytes
    }
    pub fn client_gone(&mut self, _: ClientId) {}
    pub fn submit(
        &mut self,
        client: ClientId,
        list: &Bytes,
        items: &[Range<usize>],
        ledger: &Ledger,
    ) -> Vec<Receipt> {
        let mut refused = Vec::new();
        for item in items {
            let bytes = list.slice(item.clone());
            let id = crate::transaction::tx_id(&bytes);
            if crate::transaction::validate(&bytes, ledger.committee()).is_err() {
                refused.push(Receipt { id, fate: Fate::Refused(Refusal::Invalid) });
                continue;
            }
            if self.owner.insert(id, client).is_none() {
                self.bytes += bytes.len();
                self.queue.push_back((id, bytes));
            }
        }
        refused
    }
    pub fn take(&mut self, room: usize, batch: usize, _: &Ledger) -> Option<Vec<u8>> {
        let mut b = ProposalBuilder::new(room, batch, self.bytes);
        while let Some((id, bytes)) = self.queue.pop_front() {
            if b.push(&bytes) == Push::Full {
                self.queue.push_front((id, bytes));
                break;
            }
            self.bytes -= bytes.len();
        }
        if b.count() == 0 {
            return None;
        }
        let mut buffer = crate::lane::entry::buffer(0);
        buffer.extend_from_slice(&b.finish());
        Some(buffer)
    }
    pub fn query(&mut self, _: ClientId, _: &[TxId], _: &Ledger) -> Vec<Receipt> {
        Vec::new()
    }
    pub fn on_executed(&mut self, outcome: &BlockOutcome) -> BTreeMap<ClientId, Vec<Receipt>> {
        let mut m: BTreeMap<ClientId, Vec<Receipt>> = BTreeMap::new();
        for t in &outcome.transactions {
            if let (Some(c), Outcome::Settled(s)) = (self.owner.remove(&t.id), t.outcome) {
                m.entry(c).or_default().push(Receipt { id: t.id, fate: Settled::fate(s, outcome.round) });
            }
        }
        m
    }
}
