//! The fate of a transaction, and how its chain goes on.

use bft::transaction;
use wire::client::{Fate, Receipt, Refusal};
use wire::ids::{NodeId, Round, ShardId};

use super::chain::{Open, Query, Spoiled, State, log_end};
use super::{WhenUnknown, Workload};
use crate::load::tally::{Ending, Kind};
use crate::load::transactions::End;

/// How long a chain rests whose transaction was refused for want of room, so that the load does not hammer a full
/// node.
pub(super) const REST_US: u64 = 50_000;

/// How a chain goes on after the fate of its transaction.
#[derive(Clone, Copy)]
enum Then {
    /// At once.
    Now,
    /// When it has rested until then.
    After(u64),
    /// When it knows which coin it has.
    WhenKnown,
    Never,
}

impl Workload {
    /// Takes a receipt of `node`.
    pub(crate) fn on_receipt(
        &mut self,
        node: NodeId,
        receipt: &Receipt,
        now_us: u64,
        when_unknown: WhenUnknown,
    ) {
        let Some(&index) = self.by_id.get(&receipt.id) else {
            // It had its fate before, or is nothing that we ever sent.
            let crossed = self.queried.get(&receipt.id).is_some_and(|fate| agree(*fate, receipt.fate));
            self.tally.duplicated += u64::from(receipt.fate.is_final() && !crossed);
            return;
        };
        let State::Open(open) = &self.chains[index as usize].state else {
            unreachable!("the map knows open transactions only")
        };
        let open = open.clone();
        self.on_fate(node, index, &open, receipt.fate, now_us, when_unknown);
    }

    fn on_fate(
        &mut self,
        node: NodeId,
        index: u32,
        open: &Open,
        fate: Fate,
        now_us: u64,
        when_unknown: WhenUnknown,
    ) {
        match fate {
            Fate::Finished(height) => self.on_finished(index, open, height, now_us),
            Fate::Rejected(reason) => {
                let ending = self.ending_of(index, open);
                self.tally.rejected(reason, ending, open.intended_us, now_us);
                let then = match (&open.cross, ending) {
                    (None, Ending::Unexpected) => Then::Never,
                    (Some(_), _) | (None, Ending::Expected) => Then::WhenKnown,
                };
                self.close(index, fate, then, now_us);
            }
            Fate::Expired => {
                self.tally.expired += 1;
                let then = if open.cross.is_some() { Then::WhenKnown } else { Then::Now };
                self.close(index, fate, then, now_us);
            }
            // Of a queried transaction these mean only that this node has it, or has executed it.
            Fate::Refused(reason @ (Refusal::Duplicate | Refusal::Spent)) if open.query != Query::Never => {
                if reason == Refusal::Spent && node == open.node {
                    let query = Query::RefusedSpent;
                    self.chains[index as usize].state = State::Open(Open { query, ..open.clone() });
                }
                self.pool_mut(node).to_query.insert(open.id);
            }
            // Handed in again, since its node did not know it. A node that was behind every history takes over a state
            // and cannot say what the blocks before did: it may have been executed.
            Fate::Refused(Refusal::Expired) if open.query != Query::Never && node == open.node => {
                *self.tally.refused.entry(Refusal::Expired).or_default() += 1;
                if open.cross.is_none() {
                    self.keep_in_mind(index, transaction::output_coin(&open.id, 0));
                }
                self.close(index, fate, Then::WhenKnown, now_us);
            }
            // Another node than its own can neither refuse it nor know that it does not exist.
            Fate::Refused(_) | Fate::Unknown if node != open.node => {}
            // The silent one may still have it: to make another one of its coin would spend that twice.
            Fate::Refused(Refusal::Full | Refusal::ClientShare | Refusal::ExpiryTooFar)
                if open.query == Query::HandedOn =>
            {
                self.to_retry.push_back((now_us + REST_US, open.id));
            }
            Fate::Refused(reason) => self.on_refused(index, open, reason, now_us),
            Fate::Unknown if open.query == Query::RefusedSpent => {
                self.on_refused(index, open, Refusal::Spent, now_us);
            }
            Fate::Unknown => match when_unknown {
                WhenUnknown::Resubmit => self.pool_mut(node).again.push(index),
                WhenUnknown::CountAsLost => {
                    self.tally.lost += 1;
                    self.close(index, fate, Then::Never, now_us);
                }
            },
        }
    }

    /// Its own node has refused it.
    fn on_refused(&mut self, index: u32, open: &Open, reason: Refusal, now_us: u64) {
        *self.tally.refused.entry(reason).or_default() += 1;
        let then = match reason {
            // The last one of a node that is behind, which does not know how far the others are.
            Refusal::Full | Refusal::ClientShare | Refusal::ExpiryTooFar => Then::After(now_us + REST_US),
            Refusal::Expired => Then::Now,
            Refusal::Spent if self.ending_of(index, open) == Ending::Expected => Then::WhenKnown,
            Refusal::Invalid
            | Refusal::TooLarge
            | Refusal::WrongShard
            | Refusal::Duplicate
            | Refusal::Spent => Then::Never,
        };
        self.close(index, Fate::Refused(reason), then, now_us);
    }

    /// Gives each chain of a finished transaction its next coin.
    fn on_finished(&mut self, index: u32, open: &Open, height: Round, now_us: u64) {
        match &open.cross {
            None => {
                let shard = self.move_on(index, self.chains[index as usize].shard, open, 0);
                self.heights[usize::from(shard.0)].add(height);
                self.tally.finished(Kind::Intra, shard, height, open.intended_us, now_us);
            }
            Some(cross) => {
                for (output, chain) in (0..).zip(&cross.chains) {
                    self.move_on(*chain, cross.output_shard, open, output);
                }
                self.heights_cross[usize::from(cross.output_shard.0)].add(height);
                self.tally.finished(Kind::Cross, cross.output_shard, height, open.intended_us, now_us);
                self.tally.finished_invalid += u64::from(cross.is_spoiled());
            }
        }
        self.close(index, Fate::Finished(height), Then::Now, now_us);
    }

    /// The chain goes on with an output of its transaction, in this shard.
    fn move_on(&mut self, index: u32, shard: ShardId, open: &Open, output: u8) -> ShardId {
        let chain = &mut self.chains[index as usize];
        let coin = transaction::output_coin(&open.id, output);
        let last = std::mem::replace(&mut chain.coin, coin);
        chain.previous = (chain.shard == shard).then_some(last);
        chain.shard = shard;
        chain.refunds.clear();
        shard
    }

    /// Whether a rejection of this transaction had to be expected.
    fn ending_of(&self, index: u32, open: &Open) -> Ending {
        let is_certain = |index: &u32| self.chains[*index as usize].refunds.is_empty();
        let expected = match &open.cross {
            None => !is_certain(&index),
            Some(cross) => cross.is_spoiled() || !cross.chains.iter().all(is_certain),
        };
        if expected { Ending::Expected } else { Ending::Unexpected }
    }

    /// Ends the open transaction of a chain.
    fn close(&mut self, index: u32, fate: Fate, then: Then, now_us: u64) {
        let state = std::mem::replace(&mut self.chains[index as usize].state, State::Idle);
        let State::Open(open) = state else { unreachable!("only an open transaction is closed") };
        self.by_id.remove(&open.id);
        if open.query != Query::Never {
            self.queried.insert(open.id, fate);
        }
        self.forget_open(&open);
        self.tally.returned(fate, open.sent_us, now_us);
        let shard = self.chains[index as usize].shard;
        log_end(&mut self.log, &open, shard, End::Receipt(fate), Some(now_us));
        match &open.cross {
            None => self.go_on(index, open.home, then, now_us),
            Some(cross) => {
                let inputs = cross.inputs.iter().zip(&cross.spoiled);
                for (chain, (input, spoiled)) in cross.chains.iter().zip(inputs) {
                    if matches!(then, Then::WhenKnown) && *spoiled == Spoiled::No {
                        self.keep_in_mind(*chain, transaction::refund_coin(&open.id, &input.coin));
                    }
                    // A finished transaction moves its chain to the node it was submitted to; the others stay.
                    let at = if matches!(fate, Fate::Finished(_)) { open.home } else { self.home(*chain) };
                    self.go_on(*chain, at, then, now_us);
                }
            }
        }
    }

    /// Takes a transaction off the list of those that are open at its node.
    fn forget_open(&mut self, open: &Open) {
        let pool = &mut self.pools[usize::from(open.node.0)];
        pool.open.swap_remove(open.position);
        self.orphaned -= u64::from(pool.is_gone);
        if let Some(moved) = pool.open.get(open.position)
            && let State::Open(moved) = &mut self.chains[*moved as usize].state
        {
            moved.position = open.position;
        }
    }

    /// Lets a chain go on at a node.
    fn go_on(&mut self, index: u32, node: NodeId, then: Then, now_us: u64) {
        let chain = &mut self.chains[index as usize];
        chain.state = State::Idle;
        match then {
            Then::Now => self.make_idle(index, node),
            Then::After(until_us) => self.resting.push_back((until_us, node, index)),
            Then::WhenKnown => self.begin_doubt(index, now_us),
            Then::Never => {
                chain.state = State::Dead;
                self.dead += 1;
            }
        }
    }
}

/// Whether two final receipts say the same: nodes may know different reasons for a rejection.
fn agree(one: Fate, other: Fate) -> bool {
    one == other || matches!((one, other), (Fate::Rejected(_), Fate::Rejected(_)))
}
