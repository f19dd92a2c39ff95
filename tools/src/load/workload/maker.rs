//! Writing the transactions of a load.

use std::sync::Arc;

use bft::transaction::{self, Expiry, Input, Output, Owner, Transaction};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use wire::committee::Committee;
use wire::ids::{ShardId, Signature, TxId};

/// Bytes of the payload that make a transaction unlike every other of its chain.
const COUNTER_BYTES: usize = 8;

/// Length of the shortest transaction of a load.
pub(crate) fn transaction_bytes_min(signed: bool) -> usize {
    transaction::encoded_bytes(1, 1, 1, usize::from(signed), COUNTER_BYTES)
}

/// Writes transactions that give each of their inputs back as an output of the same amount.
pub(super) struct Maker {
    pub(super) committee: Arc<Committee>,
    /// Owns all coins of the load, genesis and later ones.
    key: SigningKey,
    owner: Owner,
    tx_bytes: usize,
    /// Random bytes, of which the head is overwritten with the counter each time.
    payload: Vec<u8>,
}

impl Maker {
    pub(super) fn new(committee: Arc<Committee>, tx_bytes: usize, seed: u64) -> Maker {
        let least = transaction_bytes_min(committee.protocol().signed);
        assert!(tx_bytes >= least, "transactions have at least {least} bytes");
        Maker {
            key: SigningKey::from_bytes(&transaction::genesis_secret(&committee.testbed())),
            owner: transaction::genesis_owner(&committee.testbed()),
            tx_bytes,
            payload: seeded_bytes(seed, tx_bytes - least + COUNTER_BYTES),
            committee,
        }
    }

    /// Appends a transaction as an item of a list (see `wire::client::list`). It has the wished length, or as much as
    /// its inputs and outputs take.
    pub(super) fn write(
        &mut self,
        inputs: &[Input],
        output_shard: ShardId,
        expiries: &[Expiry],
        counter: u64,
        out: &mut Vec<u8>,
    ) -> TxId {
        let outputs = |input: &Input| Output { owner: self.owner, amount: input.amount };
        // Nearly all transactions have one input, for which nothing is allocated.
        let (one, more): ([Output; 1], Vec<Output>);
        let outputs: &[Output] = if let [input] = inputs {
            one = [outputs(input)];
            &one
        } else {
            more = inputs.iter().map(outputs).collect();
            &more
        };
        let signatures = if self.committee.protocol().signed { inputs.len() } else { 0 };
        let bare = transaction::encoded_bytes(inputs.len(), outputs.len(), expiries.len(), signatures, 0);
        let payload_bytes = self.tx_bytes.saturating_sub(bare).max(COUNTER_BYTES);
        self.payload[..COUNTER_BYTES].copy_from_slice(&counter.to_le_bytes());
        let payload = &self.payload[..payload_bytes];
        let transaction = Transaction { inputs, output_shard, outputs, expiries, payload };
        // The length is known before, so the transaction is written where it is to stand.
        let length = bare + payload_bytes;
        out.extend((length as u32).to_le_bytes());
        let start = out.len();
        if signatures > 0 {
            transaction.encode_signed_into(out, &self.committee.testbed(), |_, message| {
                Signature::from_bytes(self.key.sign(message).to_bytes())
            });
        } else {
            transaction.encode_into(out);
        }
        assert_eq!(out.len() - start, length, "the payload fills the transaction up to its length");
        transaction::tx_id(&out[start..])
    }
}

/// `count` bytes that look random and depend on `seed` alone.
fn seeded_bytes(seed: u64, count: usize) -> Vec<u8> {
    let block = |index: u64| -> [u8; 32] {
        let hash = Sha256::new().chain_update(b"workload payload");
        hash.chain_update(seed.to_le_bytes()).chain_update(index.to_le_bytes()).finalize().into()
    };
    (0..).flat_map(block).take(count).collect()
}
