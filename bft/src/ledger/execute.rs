//! Execution of a block.

use wire::client::Rejection;
use wire::ids::{CoinId, Round, TxId};
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, FORGET_ROUNDS_AFTER_EXPIRY, INPUTS_MAX};

use crate::crypto::ed25519::PublicKey;
use crate::id_index::Hashed;
use crate::ledger::Ledger;
use crate::ledger::coins::Known;
use crate::ledger::outcome::{self, BlockOutcome, Counts, Executed, Outcome, Settled, Skip};
use crate::mutant::{Mutant, in_force};
use crate::proposal::{self, ProposalView};
use crate::slab::Place;
use crate::transaction::{Part, TransactionView, output_coin, signing_message};

/// Records freed with every block, and for every transaction of it: twice as fast as they can arise.
const SWEPT_PER_BLOCK: usize = 1_024;
const SWEPT_PER_TRANSACTION: usize = 2;

/// Transactions prepared together, so that the processor waits for their cache lines at once: see [`IdIndex::warm`].
/// Sixteen have some fifty lines under way, more than it can track; larger groups gain nothing.
///
/// [`IdIndex::warm`]: crate::id_index::IdIndex::warm
pub(crate) const GROUP: usize = 16;

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
    /// Executes the block of `round`: the payloads of its entries in the block's order.
    ///
    /// # Panics
    /// If `round` does not follow the ledger's height: blocks are executed one after another.
    pub fn execute<P: AsRef<[u8]>>(
        &mut self,
        round: Round,
        payloads: impl IntoIterator<Item = P>,
    ) -> BlockOutcome {
        assert_eq!(round, self.height.next(), "blocks are executed one after another");
        let mut transactions = Vec::new();
        let mut counts = Counts::default();
        let mut invalid_entries = 0;
        let committee = self.committee.clone();
        for (entry, payload) in (0u32..).zip(payloads) {
            match proposal::validate(payload.as_ref(), &committee) {
                Ok(proposal) => {
                    transactions.reserve(proposal.len());
                    self.execute_entry(round, entry, &proposal, |executed| {
                        counts.add(executed.outcome);
                        transactions.push(executed);
                    });
                }
                Err(_) => invalid_entries += 1,
            }
        }
        self.height = round;
        let swept_max = SWEPT_PER_BLOCK + SWEPT_PER_TRANSACTION * transactions.len();
        self.history.sweep(round, swept_max, &mut self.coins);
        assert_eq!(self.coins.value(), self.genesis_value, "a finished transaction creates what it spends");
        self.totals.add_all(&counts);
        let digest = outcome::digest(round, &transactions);
        BlockOutcome { round, transactions, counts, invalid_entries, digest }
    }

    fn execute_entry(
        &mut self,
        round: Round,
        entry: u32,
        proposal: &ProposalView<'_>,
        mut report: impl FnMut(Executed),
    ) {
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
                let outcome = self.execute_transaction(round, prepared, &group.creates);
                report(Executed { id: prepared.id, entry, index: prepared.index, outcome });
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
        round: Round,
        prepared: &Prepared<'_>,
        creates: &[(Hashed, CoinId)],
    ) -> Outcome {
        let Prepared { id, hashed, transaction, creates_from, .. } = prepared;
        match transaction.part_of(self.shard) {
            Part::Foreign => return Outcome::Skipped(Skip::NotHere),
            Part::Cross => return Outcome::Skipped(Skip::CrossShard),
            Part::Intra => {}
        }
        let known = self.history.find_hashed(*hashed, id);
        if known.is_some_and(|(settled, _)| bars(settled)) {
            return Outcome::Skipped(Skip::Duplicate);
        }
        let expiry = transaction.expiry_in(self.shard).expect("expiries name each shard with an input");
        let mut spend = Spend { places: [Place(0); INPUTS_MAX], count: 0 };
        let settled = if expiry < round {
            Settled::Expired
        } else if expiry.0 > round.0 + EXPIRY_ROUNDS_AHEAD_MAX {
            Settled::Rejected(Rejection::ExpiryTooFar)
        } else {
            match self.coins_to_spend(transaction, &mut spend) {
                Ok(()) => Settled::Finished,
                Err(reason) => Settled::Rejected(reason),
            }
        };
        let forget = match settled {
            Settled::Rejected(Rejection::ExpiryTooFar) => Round(round.0 + EXPIRY_ROUNDS_AHEAD_MAX),
            _ => Round(expiry.0 + FORGET_ROUNDS_AFTER_EXPIRY),
        };
        // What expired so long ago that it would be forgotten by now needs no record: its expiry bars it.
        if forget > round {
            let spent = if settled == Settled::Finished { &spend.places[..spend.count] } else { &[] };
            let record = self.history.remember(*hashed, *id, settled, round, forget, spent);
            spent.iter().for_each(|place| self.coins.spend(*place, record));
        }
        if settled == Settled::Finished {
            for ((hashed, coin), output) in creates[*creates_from..].iter().zip(transaction.outputs()) {
                self.coins.create_hashed(*hashed, *coin, output.amount, output.owner);
            }
        }
        Outcome::Settled(settled)
    }

    /// Finds the coins of an intra-shard transaction; the first input that cannot be spent says why.
    fn coins_to_spend(&self, transaction: &TransactionView<'_>, spend: &mut Spend) -> Result<(), Rejection> {
        for input in transaction.inputs() {
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
        if self.committee.protocol().signed { self.check_owners(transaction, spend) } else { Ok(()) }
    }

    /// Whether the owner of each coin signed. Static validity has seen to it that there is a signature an input.
    fn check_owners(&self, transaction: &TransactionView<'_>, spend: &Spend) -> Result<(), Rejection> {
        let message = signing_message(&self.committee.testbed(), transaction.unsigned());
        for (place, signature) in spend.places[..spend.count].iter().zip(transaction.signatures()) {
            let owner = self.coins.owner(*place).expect("owners are kept where the protocol is signed");
            let key = PublicKey::decode(owner.0);
            if !key.is_some_and(|key| key.verify(&message, &signature)) {
                return Err(Rejection::NotOwner);
            }
        }
        Ok(())
    }
}

/// Whether a transaction that was settled so is passed over when it is ordered again: always. \[safety]
fn bars(settled: Settled) -> bool {
    in_force(match settled {
        Settled::Rejected(_) => Mutant::RejectedForGood,
        Settled::Finished | Settled::Expired => Mutant::ExecuteOnce,
    })
}
