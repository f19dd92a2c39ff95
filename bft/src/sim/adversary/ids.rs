//! Ids that are not digests: thousands of CL_M and CL for transactions that do not exist, with ids that collide in
//! tables that assume digests.

use wire::client::Rejection;
use wire::ids::{PartNumber, Round, ShardId, TxId};

use crate::ledger::Cause;
use crate::message::Message;
use crate::shard::message::{RejectMessage, RejectVote, ShardMessage};
use crate::sim::adversary::{Behaviour, Hands};
use crate::sim::parcel::{Frame, Parcel};

/// Ids in one message.
const BATCH: u64 = 200;
/// Ids that one shard's members make up in all: enough of each shape to slow a table down, and few enough for a short
/// run.
const IDS_MAX: u64 = 4_800;
/// Patterns of equal bytes; the ids of one message have one of them.
const SHAPES: u64 = 6;

/// Rejects of ids that it chooses.
#[derive(Debug, Default)]
pub(super) struct ChosenIds {
    /// Ids made so far.
    made: u64,
    /// The bytes that ids share.
    base: [u8; 32],
}

impl ChosenIds {
    /// The next id of a shape: it shares the first 16 bytes, the middle, the last 16, all but a few bits at either end,
    /// or nothing.
    fn next(&mut self, hands: &mut Hands, shape: u64) -> TxId {
        let number = self.made.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        self.made += 1;
        let mut id = self.base;
        match shape {
            0 => id[16..24].copy_from_slice(&number),
            1 => {
                id[..4].copy_from_slice(&number[..4]);
                id[28..].copy_from_slice(&number[4..]);
            }
            2 => id[..8].copy_from_slice(&number),
            3 => id[30..].copy_from_slice(&(self.made as u16).to_be_bytes()),
            4 => id[..2].copy_from_slice(&(self.made as u16).to_be_bytes()),
            _ => id = hands.prng.bytes(),
        }
        TxId(id)
    }
}

impl Behaviour for ChosenIds {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        hands.pass(frame);
    }

    fn turn(&mut self, hands: &mut Hands) {
        if self.made == 0 {
            self.base = hands.prng.bytes();
        }
        let other = ShardId((hands.shard.0 + 1) % hands.committee.shards());
        for from in hands.nodes() {
            if self.made >= IDS_MAX {
                return;
            }
            let shape = self.made / BATCH % SHAPES;
            let cause = Cause::Rejected(Rejection::Spent);
            let ids: Vec<TxId> = (0..BATCH).map(|_| self.next(hands, shape)).collect();
            let votes = ids.iter().map(|id| RejectVote { id: *id, others: vec![other], cause }).collect();
            // Some count at once, some wait for a height that is never executed.
            let far = *hands.prng.pick(&[0, u64::MAX]).expect("the list is not empty");
            let inside = RejectMessage::Votes { executed: Round(far), votes };
            let ids = ids.into_iter().map(|id| (id, cause)).collect();
            let outside = RejectMessage::Rejected { imported: PartNumber(far), ids };
            for (message, nodes) in [(inside, hands.honest()), (outside, hands.strangers())] {
                let parcel = Parcel::of(&Message::Shard(ShardMessage::Reject(message)));
                nodes.into_iter().for_each(|to| hands.send(from, to, parcel.clone()));
            }
        }
    }
}
