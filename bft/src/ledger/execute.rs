//! Execution of a block.

use std::sync::Arc;

use wire::client::Rejection;
use wire::ids::{CoinId, Index, Round, TxId};
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, FORGET_ROUNDS_AFTER_EXPIRY, INPUTS_MAX};

use crate::crypto::cert::CertificateCache;
use crate::crypto::ed25519::PublicKey;
use crate::id_index::{GROUP, Hashed};
use crate::ledger::Ledger;
use crate::ledger::block::Block;
use crate::ledger::coins::Known;
use crate::ledger::history::SWEPT_PER_BLOCK;
use crate::ledger::links::Turn;
use crate::ledger::open::Held;
use crate::ledger::outcome::{BlockOutcome, Cause, Executed, Outcome, Settled};
use crate::mutant::{Mutant, in_force};
use crate::part::{Part as GroupPart, PartRef};
use crate::proposal::ProposalView;
use crate::slab::Place;
use crate::transaction::{Part, TransactionView, output_coin, signing_message};

/// Records freed for every transaction of a block, besides [`SWEPT_PER_BLOCK`].
const SWEPT_PER_TRANSACTION: usize = 2;

/// A transaction about to be executed, with all its hashes.
struct Prepared<'a> {
    id: TxId,
    hashed: Hashed,
    transaction: TransactionView<'a>,
    index: u32,
    /// Where its created coins begin among those of the group.
    creates_from: usize,
}

/// A group of transactions and the coins they create if they finish.
#[derive(Default)]
struct Group<'a> {
    prepared: Vec<Prepared<'a>>,
    creates: Vec<(Hashed, CoinId)>,
}

/// The coins that a transaction spends, by place.
struct Spend {
    places: [Place; INPUTS_MAX],
    count: usize,
}

impl Ledger {
    /// Executes the block of `round`: the payloads of its entries, each with the member whose lane it stands in, in the
    /// block's order. `bodies` gives the parts that [`Ledger::wants`] has named; `verified` remembers certificates of
    /// imports ([`crate::proposal::Rules::validate_with`]).
    ///
    /// # Panics
    /// If `round` does not follow the ledger's height, or a part that is wanted is not given: blocks are executed one
    /// after another, each when all it needs is here.
    pub fn execute_with<P: AsRef<[u8]>>(
        &mut self,
        round: Round,
        entries: impl IntoIterator<Item = (Index, P)>,
        bodies: &dyn Fn(&PartRef) -> Option<Arc<GroupPart>>,
        verified: &mut CertificateCache,
    ) -> BlockOutcome {
        assert_eq!(round, self.height().next(), "blocks are executed one after another");
        let mut block = Block::new(round, self.shard);
        let rules = self.rules.clone();
        for (number, (owner, payload)) in (0u32..).zip(entries) {
            let Ok(proposal) = rules.validate_with(payload.as_ref(), verified) else {
                block.invalid_entries += 1;
                continue;
            };
            for part in proposal.parts() {
                self.order_part(&part, bodies, &mut block);
            }
            for id in proposal.cancels() {
                self.list_cancel(&id, owner, &mut block);
            }
            block.transactions.reserve(proposal.len());
            self.execute_entry(number, &proposal, &mut block);
        }
        let swept_max = SWEPT_PER_BLOCK + SWEPT_PER_TRANSACTION * block.transactions.len();
        let swept = self.history.sweep(round, swept_max, &mut self.coins);
        self.ends.reach(self.shard, round);
        self.work += (block.transactions.len() + swept + self.ends.sweep()) as u64;
        let outcome = block.finish(&mut self.links);
        self.totals.add_all(&outcome.counts);
        assert!(self.is_conserved(), "what is created was spent here, held here, or spent elsewhere for it");
        outcome
    }

    /// The same where no certificate was verified before: for tests and benchmarks.
    pub fn execute<P: AsRef<[u8]>>(
        &mut self,
        round: Round,
        entries: impl IntoIterator<Item = (Index, P)>,
        bodies: &dyn Fn(&PartRef) -> Option<Arc<GroupPart>>,
    ) -> BlockOutcome {
        self.execute_with(round, entries, bodies, &mut CertificateCache::default())
    }

    /// The parts of other shards whose bodies the execution of these payloads, as the next block, will ask for: those
    /// whose turn it is or will be, as long as they are not kept already.
    pub fn wants<P: AsRef<[u8]>>(&self, payloads: impl IntoIterator<Item = P>) -> Vec<PartRef> {
        let mut ordered = Vec::new();
        for payload in payloads {
            ordered.extend(self.rules.imports(payload.as_ref()));
        }
        self.links.wants(ordered)
    }

    /// A part that the block orders: executes it and those that have waited for it, or keeps it for its turn.
    fn order_part(
        &mut self,
        part: &PartRef,
        bodies: &dyn Fn(&PartRef) -> Option<Arc<GroupPart>>,
        block: &mut Block,
    ) {
        let turn = self.links.turn(part);
        if turn == Turn::Never {
            return;
        }
        let body = bodies(part).expect("blocks are executed when all parts that they want are here");
        assert_eq!((body.reference(), body.destination), (*part, self.shard), "it is the part asked for");
        if turn == Turn::Later {
            return self.links.keep(body);
        }
        let mut next = Some(body);
        while let Some(body) = next {
            self.work += (1 + body.finished.len() + body.cancelled.len() + body.spent.len()) as u64;
            self.execute_part(&body, block);
            next = self.links.take_next(part.source);
        }
    }

    fn execute_entry(&mut self, entry: u32, proposal: &ProposalView<'_>, block: &mut Block) {
        let mut transactions = (0u32..).zip(proposal.transactions());
        let mut group = Group::default();
        loop {
            group.prepared.clear();
            group.creates.clear();
            for (index, transaction) in transactions.by_ref().take(GROUP) {
                self.prepare(index, transaction, &mut group);
            }
            if group.prepared.is_empty() {
                return;
            }
            self.warm_group(&group);
            for prepared in &group.prepared {
                let outcome = self.execute_transaction(prepared, &group.creates, block);
                block.executed(Executed { id: prepared.id, entry, index: prepared.index, outcome });
            }
        }
    }

    /// Computes all hashes of a transaction.
    fn prepare<'a>(&self, index: u32, transaction: TransactionView<'a>, group: &mut Group<'a>) {
        let id = transaction.id();
        let creates_from = group.creates.len();
        for (output, _) in (0u8..).zip(transaction.outputs()) {
            let coin = output_coin(&id, output);
            group.creates.push((self.coins.hash(&coin), coin));
        }
        let hashed = self.history.hash(&id);
        group.prepared.push(Prepared { id, hashed, transaction, index, creates_from });
    }

    fn warm_group(&self, group: &Group<'_>) {
        let mut sink = 0;
        for prepared in &group.prepared {
            sink ^= self.history.warm(prepared.hashed);
            sink ^= self.warm_inputs(&prepared.transaction);
        }
        for (hashed, _) in &group.creates {
            sink ^= self.coins.warm(*hashed);
        }
        for prepared in &group.prepared {
            sink ^= self.warm_coins(&prepared.transaction);
        }
        std::hint::black_box(sink);
    }

    /// Reads the index where the inputs of a transaction are searched.
    pub(super) fn warm_inputs(&self, transaction: &TransactionView<'_>) -> u64 {
        transaction.inputs().fold(0, |sink, input| sink ^ self.coins.warm(self.coins.hash(&input.coin)))
    }

    /// Reads the coins that a transaction spends.
    pub(super) fn warm_coins(&self, transaction: &TransactionView<'_>) -> u64 {
        transaction.inputs().fold(0, |sink, input| sink ^ self.coins.warm_coin(self.coins.hash(&input.coin)))
    }

    fn execute_transaction(
        &mut self,
        prepared: &Prepared<'_>,
        creates: &[(Hashed, CoinId)],
        block: &mut Block,
    ) -> Outcome {
        let Prepared { id, hashed, transaction, creates_from, .. } = prepared;
        let part = transaction.part_of(self.shard);
        match part {
            Part::Foreign => return Outcome::NotHere,
            Part::Cross if self.is_open(id) => return Outcome::Duplicate,
            Part::Cross | Part::Intra => {}
        }
        let known = self.history.find_hashed(*hashed, id);
        if known.is_some_and(|(settled, _)| bars(settled)) {
            return Outcome::Duplicate;
        }
        let round = block.round;
        let expiry = transaction.expiry_in(self.shard).expect("expiries name each shard with an input");
        if is_too_far(expiry, round) {
            return Outcome::ExpiryTooFar;
        }
        let mut spend = Spend { places: [Place(0); INPUTS_MAX], count: 0 };
        let settled = if expiry < round {
            Settled::Never(Cause::Expired)
        } else {
            match self.coins_to_spend(transaction, &mut spend) {
                Ok(()) if part == Part::Cross => Settled::Spent,
                Ok(()) => Settled::Finished,
                Err(reason) => Settled::Never(Cause::Rejected(reason)),
            }
        };
        let spent = match settled {
            Settled::Finished | Settled::Spent => &spend.places[..spend.count],
            Settled::Never(_) => &[],
        };
        let held = if part == Part::Cross { self.hold(spent) } else { Box::default() };
        let forget = Round(expiry.0 + FORGET_ROUNDS_AFTER_EXPIRY);
        // A transaction that expired so long ago that its record would be forgotten needs none: its expiry bars it.
        if forget > round {
            let record = self.history.remember(*hashed, *id, settled, round, forget, spent);
            spent.iter().for_each(|place| self.coins.spend(*place, record));
        }
        match settled {
            Settled::Finished => {
                for ((hashed, coin), output) in creates[*creates_from..].iter().zip(transaction.outputs()) {
                    self.coins.create_hashed(*hashed, *coin, output.amount, output.owner);
                }
            }
            Settled::Spent => self.record_spent(*id, transaction, held, block),
            Settled::Never(cause) if part == Part::Cross => {
                self.reject_cross(*id, transaction, cause, block);
            }
            Settled::Never(_) => {}
        }
        Outcome::Settled(settled)
    }

    /// Whether a transaction has an open record, so that it is a duplicate. \[safety]
    fn is_open(&self, id: &TxId) -> bool {
        self.open.contains(id) && in_force(Mutant::OpenRecordIsDuplicate)
    }

    /// The coins at these places, to be held under an open record.
    fn hold(&self, places: &[Place]) -> Box<[Held]> {
        places.iter().map(|place| self.coins.held(*place)).collect()
    }

    /// Finds the coins that a transaction spends here; otherwise the cause is that of the first input that cannot be
    /// spent.
    fn coins_to_spend(&self, transaction: &TransactionView<'_>, spend: &mut Spend) -> Result<(), Rejection> {
        for input in transaction.inputs().filter(|input| input.shard == self.shard) {
            match self.coins.look_up(&input.coin, &self.history) {
                Known::Unspent { place, amount } if amount == input.amount => {
                    spend.places[spend.count] = place;
                    spend.count += 1;
                }
                Known::Unspent { .. } => return Err(Rejection::WrongAmount),
                Known::Spent => return Err(Rejection::Spent),
                Known::Not => return Err(Rejection::UnknownCoin),
            }
        }
        if self.committee().protocol().signed { self.check_owners(transaction, spend) } else { Ok(()) }
    }

    /// Whether the owner of each coin signed. Static validity has seen to it that there is a signature an input.
    fn check_owners(&self, transaction: &TransactionView<'_>, spend: &Spend) -> Result<(), Rejection> {
        let message = signing_message(&self.committee().testbed(), transaction.unsigned());
        let signed = transaction.inputs().zip(transaction.signatures());
        let here = signed.filter(|(input, _)| input.shard == self.shard);
        for (place, (_, signature)) in spend.places[..spend.count].iter().zip(here) {
            let owner = self.coins.owner(*place).expect("owners are kept where the protocol is signed");
            let key = PublicKey::decode(owner.0);
            if !key.is_some_and(|key| key.verify(&message, &signature)) {
                return Err(Rejection::NotOwner);
            }
        }
        Ok(())
    }
}

/// Whether the block of `round` passes over a transaction with this expiry, since a record of it would live too long.
pub(super) fn is_too_far(expiry: Round, round: Round) -> bool {
    expiry.0 > round.0 + EXPIRY_ROUNDS_AHEAD_MAX
}

/// Whether a transaction that was settled so is passed over when it is ordered again: always. \[safety]
fn bars(settled: Settled) -> bool {
    in_force(match settled {
        Settled::Never(Cause::Rejected(Rejection::Cancelled)) => Mutant::CancelledForGood,
        Settled::Never(Cause::Rejected(_)) => Mutant::RejectedForGood,
        Settled::Finished | Settled::Spent | Settled::Never(_) => Mutant::ExecuteOnce,
    })
}
