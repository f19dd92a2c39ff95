//! Random blocks within one shard, against a plain model of the rules.

use super::*;

/// The rules of execution once more, in the plainest way.
#[derive(Default)]
struct Model {
    coins: BTreeMap<CoinId, u64>,
    spent: BTreeMap<CoinId, (TxId, u64)>,
    settled: BTreeMap<TxId, (Settled, Round, u64)>,
    finished_ever: BTreeMap<TxId, ()>,
    spent_ever: BTreeMap<CoinId, TxId>,
}

impl Model {
    fn execute(&mut self, round: u64, bytes: &[u8]) -> Outcome {
        let view = TransactionView::parse(bytes).unwrap();
        let id = view.id();
        match view.part_of(HERE) {
            Part::Foreign => return Outcome::NotHere,
            Part::Cross => unreachable!("cross-shard transactions have tests of their own"),
            Part::Intra => {}
        }
        if self.settled.contains_key(&id) {
            return DUPLICATE;
        }
        let expiry = view.expiry_in(HERE).unwrap().0;
        if expiry > round + EXPIRY_ROUNDS_AHEAD_MAX {
            return TOO_FAR;
        }
        let failed = view.inputs().find_map(|input| match self.coins.get(&input.coin) {
            Some(amount) if *amount == input.amount => None,
            Some(_) => Some(Rejection::WrongAmount),
            None if self.spent.contains_key(&input.coin) => Some(Rejection::Spent),
            None => Some(Rejection::UnknownCoin),
        });
        let (settled, forget) = if expiry < round {
            (Settled::Never(Cause::Expired), expiry + FORGET_ROUNDS_AFTER_EXPIRY)
        } else if let Some(reason) = failed {
            (Settled::Never(Cause::Rejected(reason)), expiry + FORGET_ROUNDS_AFTER_EXPIRY)
        } else {
            for input in view.inputs() {
                self.coins.remove(&input.coin);
                self.spent.insert(input.coin, (id, expiry + FORGET_ROUNDS_AFTER_EXPIRY));
                assert_eq!(self.spent_ever.insert(input.coin, id), None, "no coin is spent twice");
            }
            for (index, output) in (0..).zip(view.outputs()) {
                assert_eq!(self.coins.insert(output_coin(&id, index), output.amount), None);
            }
            assert_eq!(self.finished_ever.insert(id, ()), None, "nothing finishes twice");
            (Settled::Finished, expiry + FORGET_ROUNDS_AFTER_EXPIRY)
        };
        if forget > round {
            self.settled.insert(id, (settled, Round(round), forget));
        }
        Outcome::Settled(settled)
    }

    fn forget(&mut self, round: u64) {
        self.spent.retain(|_, (_, forget)| *forget > round);
        self.settled.retain(|_, (_, _, forget)| *forget > round);
    }

    fn agrees_with(&self, ledger: &Ledger) {
        let coins = ledger.dump_coins().map(|coin| (coin.id, coin.amount));
        assert!(coins.eq(self.coins.iter().map(|(id, amount)| (*id, *amount))));
        assert!(ledger.dump_spent().eq(self.spent.iter().map(|(coin, (id, _))| (*coin, *id))));
        let settled = self.settled.iter().map(|(id, (settled, round, _))| (*id, *settled, *round));
        assert!(ledger.dump_settled().eq(settled));
    }
}

/// A random transaction over coins that may be unspent, spent, or nowhere, with everything now and then wrong.
fn random_transaction(
    prng: &mut Prng,
    unspent: &[(CoinId, u64)],
    coins: &[(CoinId, u64)],
    round: u64,
) -> Vec<u8> {
    let foreign = prng.chance(1, 30);
    let mut inputs: Vec<Input> = (0..prng.within(1..4))
        .map(|_| {
            let (coin, amount) = match prng.below(20) {
                0 => (CoinId(prng.bytes()), 5),
                1..5 => *prng.pick(coins).expect("there are genesis coins"),
                _ => *prng.pick(unspent).expect("value is conserved, so some coin is unspent"),
            };
            let amount = if prng.chance(1, 20) { amount + 1 } else { amount };
            Input { shard: ShardId(foreign.into()), coin, amount }
        })
        .collect();
    inputs.sort_unstable();
    inputs.dedup_by_key(|input| input.coin);
    let sum: u64 = inputs.iter().map(|input| input.amount).sum();
    let change = prng.below(sum);
    let mut outputs = vec![Output { owner: Owner(prng.bytes()), amount: sum - change }];
    if change > 0 {
        outputs.push(Output { owner: Owner(prng.bytes()), amount: change });
    }
    let expiry = match prng.below(20) {
        0 => round.saturating_sub(prng.below(12)),
        1 => round + EXPIRY_ROUNDS_AHEAD_MAX + prng.below(3),
        _ => round + prng.below(15),
    };
    Transaction {
        inputs: &inputs,
        output_shard: ShardId((foreign && prng.chance(1, 2)).into()),
        outputs: &outputs,
        expiries: &[Expiry { shard: inputs[0].shard, round: Round(expiry) }],
        payload: &[0; 9][..prng.below(10) as usize],
    }
    .encode()
}

#[test]
fn random_blocks_agree_with_the_plain_model_whatever_the_hash_seed() {
    for seed in 0..12 {
        let mut prng = Prng::new(seed);
        let committee = committee(2, small(40));
        let mut ledgers = [1, 2].map(|hash_seed| Ledger::genesis(rules(committee.clone(), HERE), hash_seed));
        let mut model = Model::default();
        let mut coins: Vec<(CoinId, u64)> =
            (0..40).map(|index| (genesis_coin(&committee.testbed(), HERE, index), 100)).collect();
        model.coins.extend(coins.iter().copied());
        let mut sent: Vec<Vec<u8>> = Vec::new();
        for round in 1..=150 {
            let unspent: Vec<_> = model.coins.iter().map(|(coin, amount)| (*coin, *amount)).collect();
            let mut entries = Vec::new();
            let mut expected = Vec::new();
            for _ in 0..prng.below(4) {
                let entry: Vec<Vec<u8>> = (0..prng.below(8))
                    .map(|_| match prng.pick(&sent) {
                        Some(old) if prng.chance(1, 10) => old.clone(),
                        _ => random_transaction(&mut prng, &unspent, &coins, round),
                    })
                    .collect();
                for bytes in &entry {
                    expected.push((tx_id(bytes), model.execute(round, bytes)));
                    let view = TransactionView::parse(bytes).unwrap();
                    let created = (0..).zip(view.outputs());
                    coins.extend(
                        created.map(|(index, output)| (output_coin(&view.id(), index), output.amount)),
                    );
                }
                entries.push(payload(&entry));
                sent.extend(entry);
            }
            model.forget(round);
            let outcomes =
                ledgers.each_mut().map(|ledger| ledger.execute(Round(round), lane(&entries), &no_bodies));
            let got: Vec<_> = outcomes[0].transactions.iter().map(|e| (e.id, e.outcome)).collect();
            assert_eq!(got, expected, "seed {seed} round {round}");
            assert_eq!(outcomes[0], outcomes[1], "seed {seed} round {round}");
            assert_eq!(ledgers[0].recount(), 4_000, "seed {seed} round {round}: value is conserved");
            if coins.len() > 120 {
                coins.drain(..coins.len() - 120);
            }
        }
        model.agrees_with(&ledgers[0]);
        assert_eq!(ledgers[0].digest(), ledgers[1].digest());
        assert!(ledgers[0].totals().finished > 100, "seed {seed}: {:?}", ledgers[0].totals());
    }
}
