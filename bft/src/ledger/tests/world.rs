//! Ledgers of several shards, wired together by hand: a test says which block holds what, and which parts arrive when.
//!
//! Each shard has two ledgers with different hash seeds; whatever is done to one is done to both and compared.

use std::cell::RefCell;

use wire::committee::Member as Keys;
use wire::limits::PARTS_AHEAD_MAX;

use super::*;
use crate::crypto::cert::Certificate;
use crate::crypto::suite::Statement;
use crate::member::Member;
use crate::proposal::{Import, Push};

/// Members of a shard; one of them may be faulty.
const N: u16 = 4;

pub(super) struct World {
    pub(super) committee: Arc<Committee>,
    signers: Vec<Member>,
    ledgers: Vec<[Ledger; 2]>,
    /// All parts ever made.
    pub(super) parts: BTreeMap<PartRef, Arc<GroupPart>>,
}

/// One entry of a block.
#[derive(Clone, Default)]
pub(super) struct Lane {
    pub(super) owner: u16,
    pub(super) imports: Vec<PartRef>,
    pub(super) cancels: Vec<TxId>,
    pub(super) transactions: Vec<Vec<u8>>,
}

impl Lane {
    pub(super) fn of(transactions: &[&[u8]]) -> Lane {
        let transactions = transactions.iter().map(|bytes| bytes.to_vec()).collect();
        Lane { transactions, ..Lane::default() }
    }

    pub(super) fn importing(parts: &[&Arc<GroupPart>]) -> Lane {
        Lane { imports: parts.iter().map(|part| part.reference()).collect(), ..Lane::default() }
    }

    pub(super) fn cancelling(owner: u16, id: TxId) -> Lane {
        Lane { owner, cancels: vec![id], ..Lane::default() }
    }
}

/// A transaction with these inputs, which creates one coin in `output`; it expires everywhere after `expiry`.
pub(super) fn cross(inputs: &[(u16, CoinId, u64)], output: u16, expiry: u64) -> Vec<u8> {
    cross_with(inputs, output, expiry, b"")
}

pub(super) fn cross_with(inputs: &[(u16, CoinId, u64)], output: u16, expiry: u64, payload: &[u8]) -> Vec<u8> {
    let mut inputs: Vec<Input> =
        inputs.iter().map(|&(shard, coin, amount)| Input { shard: ShardId(shard), coin, amount }).collect();
    inputs.sort_unstable();
    let mut expiries: Vec<Expiry> =
        inputs.iter().map(|input| Expiry { shard: input.shard, round: Round(expiry) }).collect();
    expiries.dedup();
    let amount = inputs.iter().map(|input| input.amount).sum();
    Transaction {
        inputs: &inputs,
        output_shard: ShardId(output),
        outputs: &[Output { owner: Owner([7; 32]), amount }],
        expiries: &expiries,
        payload,
    }
    .encode()
}

impl World {
    pub(super) fn new(shards: u16, genesis_coins: u64) -> World {
        let members = vec![Keys { public_key: [1; 32], coin_commitment: [2; 32] }; usize::from(shards * N)];
        let committee = Arc::new(Committee::new(N, small(genesis_coins), members, [3; 32]));
        let signers: Vec<Member> = committee
            .nodes()
            .map(|node| Member::new(committee.clone(), Arc::new(HashSuite::new(&committee, node, 9)), node))
            .collect();
        let ledgers = signers.iter().step_by(usize::from(N)).map(|signer| {
            let rules = Arc::new(Rules::new(signer));
            [1, 2].map(|hash_seed| Ledger::genesis(rules.clone(), hash_seed))
        });
        World { ledgers: ledgers.collect(), signers, committee, parts: BTreeMap::new() }
    }

    pub(super) fn coin(&self, shard: u16, index: u64) -> (u16, CoinId, u64) {
        (shard, genesis_coin(&self.committee.testbed(), ShardId(shard), index), 100)
    }

    pub(super) fn at(&self, shard: u16) -> &Ledger {
        &self.ledgers[usize::from(shard)][0]
    }

    pub(super) fn ledgers(&self) -> impl Iterator<Item = &Ledger> {
        self.ledgers.iter().map(|[ledger, _]| ledger)
    }

    /// N−f SIGNs of a shard on a part.
    fn certificate(&self, shard: u16, part: PartRef) -> Certificate {
        let signers = self.signers.iter().filter(|signer| signer.shard.0 == shard);
        let quorum = self.committee.quorum();
        let sign = |signer: &Member| (signer.index, signer.suite.sign(&Statement::Part(part)));
        Certificate(signers.take(quorum).map(sign).collect())
    }

    pub(super) fn payload(&self, shard: u16, lane: &Lane) -> Vec<u8> {
        let mut builder = ProposalBuilder::new(Vec::new(), 8 << 20, 100_000);
        for part in &lane.imports {
            let import = Import { part: *part, certificate: self.certificate(shard, *part) };
            assert_eq!(builder.push_import(&import), Push::Added);
        }
        lane.cancels.iter().for_each(|id| assert_eq!(builder.push_cancel(*id), Push::Added));
        lane.transactions.iter().for_each(|bytes| assert_eq!(builder.push(bytes), Push::Added));
        builder.finish()
    }

    /// Executes the next block of a shard.
    pub(super) fn block(&mut self, shard: u16, lanes: &[Lane]) -> BlockOutcome {
        let payloads: Vec<(Index, Vec<u8>)> =
            lanes.iter().map(|lane| (Index(lane.owner), self.payload(shard, lane))).collect();
        let round = self.at(shard).height().next();
        let outcomes = self.ledgers[usize::from(shard)].each_mut().map(|ledger| {
            let wanted = ledger.wants(payloads.iter().map(|(_, payload)| payload));
            let asked = RefCell::new(Vec::new());
            let bodies = |part: &PartRef| {
                asked.borrow_mut().push(*part);
                self.parts.get(part).cloned()
            };
            let entries = payloads.iter().map(|(owner, payload)| (*owner, payload));
            let outcome = ledger.execute(round, entries, &bodies);
            assert_eq!(asked.into_inner(), wanted, "what execution asks for was said before");
            assert_eq!(ledger.value(), ledger.recount());
            outcome
        });
        let [outcome, twin] = outcomes;
        assert_eq!(outcome, twin, "the hash seed shows in nothing");
        assert_eq!(outcome.invalid_entries, 0);
        assert_eq!(
            self.ledgers[usize::from(shard)][0].digest(),
            self.ledgers[usize::from(shard)][1].digest()
        );
        assert_eq!(self.ledgers[usize::from(shard)][0].sums(), self.ledgers[usize::from(shard)][1].sums());
        let parts = outcome.parts.iter().map(|part| (part.reference(), part.clone()));
        self.parts.extend(parts);
        outcome
    }

    /// Executes a block of a shard with these transactions.
    pub(super) fn order(&mut self, shard: u16, transactions: &[&[u8]]) -> BlockOutcome {
        self.block(shard, &[Lane::of(transactions)])
    }

    /// Executes a block of a shard that imports these parts.
    pub(super) fn import(&mut self, shard: u16, parts: &[&Arc<GroupPart>]) -> BlockOutcome {
        self.block(shard, &[Lane::importing(parts)])
    }

    pub(super) fn skip_to(&mut self, shard: u16, height: u64) {
        while self.at(shard).height() < Round(height) {
            self.block(shard, &[]);
        }
    }

    /// Makes a part that no honest shard made.
    pub(super) fn forge(
        &mut self,
        source: u16,
        destination: u16,
        number: u64,
        fill: impl FnOnce(&mut crate::part::Group),
    ) -> Arc<GroupPart> {
        let mut group = crate::part::Group::new(
            ShardId(source),
            ShardId(destination),
            Round(1),
            wire::ids::PartNumber(number),
        );
        fill(&mut group);
        let part = Arc::new(group.finish().remove(0));
        self.parts.insert(part.reference(), part.clone());
        part
    }

    /// Parts that a shard has not executed, ascending, as many as may be under way.
    pub(super) fn due(&self, shard: u16) -> Vec<Arc<GroupPart>> {
        let ledger = self.at(shard);
        let is_due = |part: &&Arc<GroupPart>| {
            let executed = ledger.imported(part.source).0;
            part.destination.0 == shard
                && (executed + 1..=executed + PARTS_AHEAD_MAX).contains(&part.number.0)
        };
        self.parts.values().filter(is_due).cloned().collect()
    }

    /// Delivers everything in order until no shard has anything for another.
    pub(super) fn settle(&mut self) {
        loop {
            let mut moved = false;
            for shard in 0..self.committee.shards() {
                let due = self.due(shard);
                if !due.is_empty() {
                    self.import(shard, &due.iter().collect::<Vec<_>>());
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// The invariants at rest: nothing open, value conserved over all shards, and the identities of exchanges.
    pub(super) fn check_rest(&self) {
        let mut value = 0;
        for ledger in self.ledgers() {
            assert_eq!((ledger.open_records(), ledger.pool_len(), ledger.held()), (0, 0, 0));
            assert_eq!(ledger.dump_early().count(), 0);
            value += ledger.recount();
        }
        assert_eq!(value, self.ledgers().map(Ledger::genesis_value).sum(), "value is conserved");
        for a in self.ledgers() {
            for b in self.ledgers() {
                let (there, back) = (&a.exchanged()[usize::from(b.shard().0)], b.exchanged());
                let back = &back[usize::from(a.shard().0)];
                assert_eq!(there.spent, there.closed.plus(there.refunded));
                assert_eq!(there.spent, back.ticked);
                assert_eq!(there.closed, back.finished);
                assert_eq!(there.refunded, back.cancelled);
                assert_eq!(there.value_out, back.value_in);
                assert_eq!(there.part_out, back.part_in);
            }
        }
    }
}
