//! One transaction: which coins it spends, and its bytes. Pure, without a socket.

use bft::transaction::{self, Expiry, Input, Output, Owner, Transaction};
use ed25519_dalek::{Signer as _, SigningKey};
use wire::committee::Committee;
use wire::ids::{CoinId, Round, ShardId, Signature, TxId};
use wire::limits::INPUTS_MAX;

/// What is to become of which coins.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    /// Owns the coins that are spent, and signs where the protocol wants it.
    pub(super) key: SigningKey,
    /// Where they are; strictly ascending.
    pub(super) from: Vec<ShardId>,
    pub(super) to: ShardId,
    /// What the recipient gets; `None` for all that the coins are worth.
    pub(super) amount: Option<u64>,
    pub(super) recipient: Owner,
    pub(super) payload: Vec<u8>,
}

/// Its encoding and what follows from that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Written {
    pub(super) id: TxId,
    pub(super) bytes: Vec<u8>,
    /// The coins that it creates, each with its amount and whose it is.
    pub(super) creates: Vec<(CoinId, Output)>,
}

/// Why coins do not suffice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Shortage {
    /// Its owner has none in this shard.
    NoCoin(ShardId),
    /// Those that fit one transaction are worth no more.
    Worth { coins: usize, sum: u128, amount: u64 },
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shortage::NoCoin(shard) => write!(f, "the owner has no unspent coin in shard {shard}"),
            Shortage::Worth { coins, sum, amount } => {
                write!(
                    f,
                    "--amount {amount}: {coins} coins, the most that one transaction may spend or that there are, \
                           are worth {sum}"
                )
            }
        }
    }
}

impl Transfer {
    /// The owner of the coins that are spent.
    pub(super) fn owner(&self) -> Owner {
        Owner(self.key.verifying_key().to_bytes())
    }

    /// The inputs: a coin of each shard, and more, the most valuable first, until they suffice. `coins` are those of
    /// each shard of `from`, in the same order, the preferred ones first.
    pub(super) fn inputs(&self, coins: &[Vec<(CoinId, u64)>]) -> Result<Vec<Input>, Shortage> {
        let (mut chosen, mut rest) = (Vec::new(), Vec::new());
        for (shard, coins) in self.from.iter().zip(coins) {
            let mut here =
                coins.iter().map(|(coin, amount)| Input { shard: *shard, coin: *coin, amount: *amount });
            chosen.push(here.next().ok_or(Shortage::NoCoin(*shard))?);
            rest.extend(here);
        }
        rest.sort_by_key(|input| std::cmp::Reverse(input.amount));
        let sum = |inputs: &[Input]| inputs.iter().map(|input| u128::from(input.amount)).sum::<u128>();
        let amount = self.amount.unwrap_or_default();
        let mut rest = rest.into_iter();
        while sum(&chosen) < u128::from(amount) {
            match rest.next().filter(|_| chosen.len() < INPUTS_MAX) {
                Some(input) => chosen.push(input),
                None => return Err(Shortage::Worth { coins: chosen.len(), sum: sum(&chosen), amount }),
            }
        }
        chosen.sort_unstable();
        Ok(chosen)
    }

    /// The transaction that spends these inputs. What the recipient does not get goes back to the owner, in the output
    /// shard. `expiries` are by input shard, in the order of `from`.
    pub(super) fn write(&self, committee: &Committee, inputs: &[Input], expiries: &[Round]) -> Written {
        let sum = inputs.iter().map(|input| input.amount).fold(0u64, u64::saturating_add);
        let given = self.amount.unwrap_or(sum);
        let mut outputs = vec![Output { owner: self.recipient, amount: given }];
        if sum > given {
            outputs.push(Output { owner: self.owner(), amount: sum - given });
        }
        let expiry = |(shard, round): (&ShardId, &Round)| Expiry { shard: *shard, round: *round };
        let expiries: Vec<Expiry> = self.from.iter().zip(expiries).map(expiry).collect();
        let transaction = Transaction {
            inputs,
            output_shard: self.to,
            outputs: &outputs,
            expiries: &expiries,
            payload: &self.payload,
        };
        let mut bytes = Vec::new();
        if committee.protocol().signed {
            transaction.encode_signed_into(&mut bytes, &committee.testbed(), |_, message| {
                Signature::from_bytes(self.key.sign(message).to_bytes())
            });
        } else {
            transaction.encode_into(&mut bytes);
        }
        let id = transaction::tx_id(&bytes);
        let created = (0..).zip(&outputs).map(|(at, output)| (transaction::output_coin(&id, at), *output));
        Written { id, creates: created.collect(), bytes }
    }
}

#[cfg(test)]
mod tests {
    use bft::crypto::deal::{deal_committee, seeded_entropy};
    use wire::committee::Protocol;

    use super::*;

    fn transfer(from: &[u16], amount: Option<u64>) -> Transfer {
        Transfer {
            key: SigningKey::from_bytes(&[7; 32]),
            from: from.iter().copied().map(ShardId).collect(),
            to: ShardId(1),
            amount,
            recipient: Owner([9; 32]),
            payload: b"payload".to_vec(),
        }
    }

    fn coins(amounts: &[u64]) -> Vec<(CoinId, u64)> {
        // Ids descend, so that the order of inputs is not that of the coins.
        amounts.iter().enumerate().map(|(at, amount)| (CoinId([200 - at as u8; 32]), *amount)).collect()
    }

    #[test]
    fn it_is_valid_and_the_rest_goes_back_to_the_owner() {
        for signed in [false, true] {
            let protocol = Protocol { signed, ..Protocol::default() };
            let (committee, _) = deal_committee(4, 2, protocol, seeded_entropy(7));
            let transfer = transfer(&[0, 1], Some(12));
            let inputs = transfer.inputs(&[coins(&[5, 1, 3]), coins(&[5])]).unwrap();
            assert_eq!(inputs.len(), 3, "a coin of each shard and the most valuable of the rest");
            let written = transfer.write(&committee, &inputs, &[Round(10), Round(20)]);
            let view = transaction::validate(&written.bytes, &committee).unwrap();
            assert_eq!(view.id(), written.id);
            assert!(view.unsigned().ends_with(b"payload"));
            let expiries: Vec<Round> = view.expiries().map(|expiry| expiry.round).collect();
            assert_eq!(expiries, [Round(10), Round(20)]);
            let outputs: Vec<(Owner, u64)> = view.outputs().map(|one| (one.owner, one.amount)).collect();
            assert_eq!(outputs, [(Owner([9; 32]), 12), (transfer.owner(), 1)]);
            assert_eq!(written.creates[1].0, transaction::output_coin(&written.id, 1));
        }
    }

    #[test]
    fn without_an_amount_all_of_a_coin_of_each_shard_is_given() {
        let (committee, _) = deal_committee(4, 2, Protocol::default(), seeded_entropy(7));
        let transfer = transfer(&[0], None);
        let inputs = transfer.inputs(&[coins(&[5, 100])]).unwrap();
        let written = transfer.write(&committee, &inputs, &[Round(10)]);
        assert_eq!(written.creates.len(), 1);
        assert_eq!(written.creates[0].1, Output { owner: Owner([9; 32]), amount: 5 });
    }

    #[test]
    fn a_shortage_names_coins_and_sum() {
        let none = transfer(&[0, 1], None).inputs(&[coins(&[5]), coins(&[])]);
        assert_eq!(none, Err(Shortage::NoCoin(ShardId(1))));
        let few = transfer(&[0], Some(100)).inputs(&[coins(&[5, 6])]);
        assert_eq!(few, Err(Shortage::Worth { coins: 2, sum: 11, amount: 100 }));
        let many = transfer(&[0], Some(100)).inputs(&[coins(&[1; 200])]);
        assert_eq!(many, Err(Shortage::Worth { coins: 16, sum: 16, amount: 100 }));
    }
}
