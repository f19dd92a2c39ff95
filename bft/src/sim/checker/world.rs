//! All shards together: the reference ledgers, the parts between them, and the invariants of coins and transactions
//! across shards (docs/design.md §16).
//!
//! A part that one ledger sends is kept here, and an import of any other part, by number or by digest, is forged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::ids::{CoinId, Index, PartNumber, Round, ShardId, TxId};

use crate::part::{Part, PartRef};
use crate::proposal::Rules;
use crate::sim::checker::Violation;
use crate::sim::checker::model::{Act, Expected, Model};

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    rules: Vec<Arc<Rules>>,
    models: Vec<Model>,
    /// By source, destination and number.
    parts: BTreeMap<(ShardId, ShardId, PartNumber), Arc<Part>>,
    spenders: BTreeMap<CoinId, TxId>,
    finished: BTreeSet<TxId>,
    refunded: BTreeMap<CoinId, TxId>,
    genesis: u128,
}

impl World {
    pub(super) fn genesis(rules: Vec<Arc<Rules>>) -> World {
        let model = |rules: &Arc<Rules>| Model::genesis(rules.committee().clone(), rules.shard());
        let models: Vec<Model> = rules.iter().map(model).collect();
        World {
            genesis: models.iter().map(Model::value).sum(),
            models,
            rules,
            parts: BTreeMap::new(),
            spenders: BTreeMap::new(),
            finished: BTreeSet::new(),
            refunded: BTreeMap::new(),
        }
    }

    pub(super) fn model(&self, shard: ShardId) -> &Model {
        &self.models[usize::from(shard.0)]
    }

    pub(super) fn models(&self) -> &[Model] {
        &self.models
    }

    /// Executes a block of a shard, with the members in whose lanes the payloads stand.
    pub(super) fn execute<'a>(
        &mut self,
        shard: ShardId,
        height: Round,
        entries: impl Iterator<Item = (Index, &'a [u8])>,
    ) -> Result<Expected, Violation> {
        let at = usize::from(shard.0);
        let sent = |part: &PartRef| {
            let sent = self.parts.get(&(part.source, shard, part.number));
            sent.filter(|sent| sent.digest == part.digest).cloned()
        };
        let executed = self.models[at].execute(&self.rules[at], height, entries, sent);
        let (expected, parts, acts) =
            executed.map_err(|part| Violation::ForgedImport { shard, height, part })?;
        for part in parts {
            self.parts.insert((shard, part.destination, part.number), Arc::new(part));
        }
        acts.into_iter().try_for_each(|act| self.note(shard, act))?;
        self.check_value(shard, height)?;
        Ok(expected)
    }

    fn note(&mut self, shard: ShardId, act: Act) -> Result<(), Violation> {
        let broken = |what: String| Err(Violation::Broken { shard, what });
        match act {
            Act::Spent { id, coin } => match self.spenders.insert(coin, id) {
                Some(before) => broken(format!("{coin} spent by {before} and by {id}")),
                None => Ok(()),
            },
            Act::Finished { id } if !self.finished.insert(id) => broken(format!("{id} finished twice")),
            Act::Finished { id } if self.refunded.values().any(|refunded| *refunded == id) => {
                broken(format!("{id} was refunded and finished"))
            }
            Act::Finished { .. } => Ok(()),
            Act::Refunded { id, coin } if self.spenders.get(&coin) != Some(&id) => {
                broken(format!("{coin} refunded for {id}, which had not spent it"))
            }
            Act::Refunded { id, .. } if self.finished.contains(&id) => {
                broken(format!("{id} has finished and was refunded"))
            }
            Act::Refunded { id, coin } => match self.refunded.insert(coin, id) {
                Some(_) => broken(format!("{coin} refunded twice")),
                None => Ok(()),
            },
        }
    }

    /// Unspent coins of all shards + inputs under open records of transactions that are not finished = genesis.
    fn check_value(&self, shard: ShardId, height: Round) -> Result<(), Violation> {
        let unspent: u128 = self.models.iter().map(Model::value).sum();
        let records = self.models.iter().flat_map(Model::held);
        let held: u128 = records.filter(|(id, _)| !self.finished.contains(id)).map(|(_, held)| held).sum();
        if unspent + held == self.genesis {
            return Ok(());
        }
        let what =
            format!("{unspent} unspent and {held} held after height {height}, {} at genesis", self.genesis);
        Err(Violation::Broken { shard, what })
    }
}
