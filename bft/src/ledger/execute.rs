//! Execution of a block.

use wire::client::Rejection;
use wire::ids::{Round, TxId};
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, FORGET_ROUNDS_AFTER_EXPIRY, INPUTS_MAX};

use crate::crypto::ed25519::PublicKey;
use crate::ledger::Ledger;
use crate::ledger::coins::Known;
use crate::ledger::outcome::{self, BlockOutcome, Counts, Executed, Outcome, Settled, Skip};
use crate::mutant::{Mutant, in_force};
use crate::proposal;
use crate::slab::Place;
use crate::transaction::{Part, TransactionView, output_coin, signing_message};

/// Records freed with every block, and for every transaction of it: twice as fast as they can arise.
const SWEPT_PER_BLOCK: usize = 1_024;
const SWEPT_PER_TRANSACTION: usize = 2;

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
            let Ok(proposal) = proposal::validate(payload.as_ref(), &committee) else {
                invalid_entries += 1;
                continue;
            };
            transactions.reserve(proposal.len());
            for (index, transaction) in (0u32..).zip(proposal.transactions()) {
                let id = transaction.id();
                let outcome = self.execute_transaction(round, &id, &transaction);
                counts.add(outcome);
                transactions.push(Executed { id, entry, index, outcome });
            }
        }
        self.height = round;
        let swept_max = SWEPT_PER_BLOCK + SWEPT_PER_TRANSACTION * transactions.len();
        self.history.sweep(round, swept_max, |place| self.coins.forget(place));
        assert_eq!(self.coins.value(), self.genesis_value, "a finished transaction creates what it spends");
        self.totals.add_all(&counts);
        let digest = outcome::digest(round, &transactions);
        BlockOutcome { round, transactions, counts, invalid_entries, digest }
    }

    fn execute_transaction(&mut self, round: Round, id: &TxId, transaction: &TransactionView<'_>) -> Outcome {
        match transaction.part_of(self.shard) {
            Part::Foreign => return Outcome::Skipped(Skip::NotHere),
            Part::Cross => return Outcome::Skipped(Skip::CrossShard),
            Part::Intra => {}
        }
        let hashed = self.history.hash(id);
        let known = self.history.find_hashed(hashed, id);
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
            let record = self.history.remember(hashed, *id, settled, round, forget, spent);
            spent.iter().for_each(|place| self.coins.spend(*place, record));
        }
        if settled == Settled::Finished {
            for (index, output) in (0u8..).zip(transaction.outputs()) {
                self.coins.create(output_coin(id, index), output.amount, output.owner);
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
