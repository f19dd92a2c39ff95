//! The checks after every step of a simulation, under any adversary: the invariants of docs/design.md §16 and more.
//!
//! - *Agreement*: in each shard one header digest a height among honest members, heights executed one after another.
//! - *The ledgers* do what the reference models do with the same blocks; in these, all shards together, nothing is
//!   spent twice, finished twice, or both finished and refunded, value is conserved, no import is of anything but a
//!   part that was sent; no invalid entry is ever part of a block. At rest nothing is left between shards.
//! - *Receipts are true*: a reported fate has happened; a transaction reported as rejected never finishes.
//! - *Blame*: no honest member blames another.
//! - *Conduct*: honest members keep the promises that the proofs rest on ([`Subject`]).
//! - *Signatures*: no key of an honest member contradicts itself, whatever became of what it signed.
//!
//! Each check is incremental: it costs a few map operations for each message sent and block executed. Coins are
//! compared one by one now and then and at the end.

mod clients;
mod conduct;
mod model;
mod signatures;
mod violation;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::committee::Committee;
use wire::ids::{ClientId, CoinId, Digest, NodeId, Round, ShardId, TxId};

use crate::core::Core;
use crate::cut::{Cut, Tip};
use crate::event::{BlockReport, JumpReport};
use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::proposal::Rules;
use crate::sim::messages::{Disks, Messages};
use crate::sim::parcel::Parcel;

pub use conduct::Subject;
pub use violation::Violation;

use clients::{Asked, Offered};
use conduct::Conduct;
use model::{Expected, Model};
use signatures::Signatures;
use world::World;

/// Coins are compared one by one after so many blocks.
const RECOUNT_EVERY: u64 = 8;

/// The blocks that the honest members of one shard have executed.
#[derive(Debug, Default)]
struct History {
    headers: Vec<(NodeId, Digest)>,
    /// The cut of the last of them.
    cut: Option<Cut>,
    expected: Vec<Expected>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Checker {
    committee: Arc<Committee>,
    honest: BTreeSet<NodeId>,
    world: World,
    /// By shard.
    shards: Vec<History>,
    heights: BTreeMap<NodeId, Round>,
    /// Members that have taken over a state.
    jumped: BTreeSet<NodeId>,
    conduct: BTreeMap<NodeId, Conduct>,
    signatures: Signatures,
    offered: BTreeMap<TxId, Offered>,
    /// Requests under way to a member, or handled without that any effect has left.
    asked: BTreeMap<(NodeId, ClientId), Vec<(TxId, Asked)>>,
    /// The open requests of clients.
    open: BTreeSet<(NodeId, ClientId, TxId)>,
    /// The last client that queried a transaction.
    askers: BTreeMap<(NodeId, TxId), ClientId>,
    /// Of those, the transactions that have to finish.
    must_finish: BTreeSet<TxId>,
    /// What the journals of members have.
    pub(super) messages: Messages,
}

type Checked = Result<(), Violation>;

impl Checker {
    /// For shards with these rules, whose members have such disks.
    pub(super) fn new(rules: Vec<Arc<Rules>>, honest: BTreeSet<NodeId>, disks: Disks) -> Checker {
        let committee = rules[0].committee().clone();
        Checker {
            shards: rules.iter().map(|_| History::default()).collect(),
            world: World::genesis(rules),
            heights: honest.iter().map(|node| (*node, Round(0))).collect(),
            conduct: honest.iter().map(|node| (*node, Conduct::default())).collect(),
            jumped: BTreeSet::new(),
            signatures: Signatures::default(),
            offered: BTreeMap::new(),
            asked: BTreeMap::new(),
            open: BTreeSet::new(),
            askers: BTreeMap::new(),
            must_finish: BTreeSet::new(),
            messages: Messages::on(disks),
            honest,
            committee,
        }
    }

    /// The highest height executed by an honest member of a node's shard.
    pub(super) fn height(&self, node: NodeId) -> Round {
        Round(self.history(node).headers.len() as u64)
    }

    /// The same for all shards.
    pub(super) fn heights(&self) -> Vec<Round> {
        self.shards.iter().map(|history| Round(history.headers.len() as u64)).collect()
    }

    /// The height that an honest member has executed, as far as it has reported.
    pub(super) fn executed(&self, node: NodeId) -> Round {
        self.heights[&node]
    }

    fn history(&self, node: NodeId) -> &History {
        &self.shards[usize::from(self.committee.shard_of(node).0)]
    }

    /// The reference ledger of a node's shard.
    fn model(&self, node: NodeId) -> &Model {
        self.world.model(self.committee.shard_of(node))
    }

    fn history_mut(&mut self, node: NodeId) -> &mut History {
        &mut self.shards[usize::from(self.committee.shard_of(node).0)]
    }

    /// A frame reaches an honest member.
    pub(super) fn on_delivery(&mut self, from: NodeId, to: NodeId, parcel: &Parcel) {
        self.conduct_of(to).received(from, parcel);
    }

    /// An honest member sends; `digest` is that which it sends along, if any.
    pub(super) fn on_send(&mut self, from: NodeId, digest: Option<Digest>, parcel: &Parcel) -> Checked {
        if digest.is_some_and(|digest| digest != parcel.digest()) {
            return Err(Violation::FalseDigest { node: from });
        }
        let committee = self.committee.clone();
        self.conduct_of(from).sends(&committee, from, parcel)
    }

    fn conduct_of(&mut self, node: NodeId) -> &mut Conduct {
        self.conduct.get_mut(&node).expect("only honest members are checked")
    }

    /// An honest member blames a peer.
    pub(super) fn on_fault(&self, by: NodeId, fault: Fault) -> Checked {
        if self.honest.contains(&fault.peer) {
            return Err(Violation::Blamed { by, fault });
        }
        Ok(())
    }

    /// An honest member has executed a block.
    pub(super) fn on_executed(&mut self, node: NodeId, core: &Core, report: &BlockReport) -> Checked {
        let height = report.round;
        let before = self.heights.insert(node, height).unwrap_or_default();
        if height != before.next() {
            return Err(Violation::HeightOutOfOrder { node, after: before, executed: height });
        }
        match self.history(node).headers.get(before.0 as usize) {
            Some(first) if first.1 != report.header => {
                return Err(Violation::Fork { height, first: *first, second: (node, report.header) });
            }
            Some(_) => {}
            None => self.execute_in_model(node, core, report)?,
        }
        let history = self.history(node);
        let expected = history.expected[before.0 as usize];
        if (report.finished, report.rejected, report.skipped)
            != (expected.finished, expected.rejected, expected.skipped)
        {
            let expected = format!("{expected:?}");
            return Err(Violation::Effect { node, height, expected, found: format!("{report:?}") });
        }
        // A step may execute several blocks; the ledger then is ahead of this report.
        if core.ledger().height() == height { check_ledger(node, core.ledger(), &expected) } else { Ok(()) }
    }

    /// An honest member has taken over the state at a height.
    pub(super) fn on_jumped(&mut self, node: NodeId, report: &JumpReport) -> Checked {
        let height = report.height;
        self.jumped.insert(node);
        let before = self.heights.insert(node, height).unwrap_or_default();
        if height <= before {
            return Err(Violation::HeightOutOfOrder { node, after: before, executed: height });
        }
        match self.history(node).headers.get(height.0 as usize - 1) {
            Some(first) if first.1 == report.header => Ok(()),
            Some(first) => Err(Violation::Fork { height, first: *first, second: (node, report.header) }),
            None => Err(Violation::FalseState { node, height }),
        }
    }

    /// The first to execute a height shows the block to the model.
    fn execute_in_model(&mut self, node: NodeId, core: &Core, report: &BlockReport) -> Checked {
        let height = report.round;
        let cut_of = |round| core.decided_cut(round).expect("cuts are kept much longer than a run");
        let (previous, cut) = (self.history(node).cut.clone(), cut_of(height));
        let previous = previous.unwrap_or_else(|| Cut::genesis(&self.committee));
        let is_sound = |(before, tip): (&Tip, &Tip)| tip.seq > before.seq || tip == before;
        if previous == cut || !previous.0.iter().zip(&cut.0).all(is_sound) {
            return Err(Violation::CutMovedBack { height, previous, cut });
        }
        let block = core.lanes().block(&previous, &cut, |digest| self.messages.get(digest));
        let mut entries = block.expect("a member that has executed a block has its entries");
        // docs/design.md §10: lanes in an order rotated by the round, entries by their seq.
        let n = self.committee.n() as u64;
        entries.sort_by_key(|entry| ((u64::from(entry.owner.0) + height.0) % n, entry.seq));
        let payloads = entries.iter().map(|entry| (entry.owner, entry.payload()));
        let expected = self.world.execute(self.committee.shard_of(node), height, payloads)?;
        let history = self.history_mut(node);
        history.headers.push((node, report.header));
        history.cut = Some(cut);
        history.expected.push(expected);
        if expected.invalid_entries > 0 {
            return Err(Violation::InvalidEntry { height, count: expected.invalid_entries });
        }
        self.check_written_off(node)
    }

    /// Live honest members when no transaction is open: in each shard the same height and coins, and no item lost
    /// between shards.
    pub(super) fn at_rest<'a>(&self, cores: impl Iterator<Item = (NodeId, &'a Core)>) -> Checked {
        let (mut heights, mut ledgers) = (Vec::new(), BTreeMap::new());
        for (node, core) in cores {
            let height = core.ledger().height();
            heights.push((node, height));
            if height != self.height(node) {
                continue;
            }
            let shard = self.committee.shard_of(node);
            if let Some(other) = ledgers.insert(shard, core.ledger())
                && other.rows() != core.ledger().rows()
            {
                return Err(Violation::Rows { node, height });
            }
            let mut dumped = BTreeMap::new();
            dumped.extend(core.ledger().dump_coins().map(|coin| (coin.id, coin.amount)));
            let model = self.model(node).unspent();
            let differs = |a: &BTreeMap<CoinId, u64>, b: &BTreeMap<CoinId, u64>| {
                a.iter().find(|(id, amount)| b.get(id) != Some(amount)).map(|(id, _)| *id)
            };
            if let Some(coin) = differs(&dumped, model).or_else(|| differs(model, &dumped)) {
                return Err(Violation::Coin { node, height, coin });
            }
        }
        if heights.iter().any(|(node, height)| *height != self.height(*node)) {
            return Err(Violation::LeftBehind { heights });
        }
        self.check_exchange(&ledgers)
    }

    /// The cross-shard transactions that are still open in the shards or at these members, as text.
    pub(super) fn still_open<'a>(&self, cores: impl Iterator<Item = (NodeId, &'a Core)>) -> Option<String> {
        if let Some(model) = self.world.models().iter().find(|model| !model.is_at_rest()) {
            return Some(model.waiting());
        }
        let open = |(node, core): (NodeId, &Core)| {
            let status = core.status();
            let (list, parts) = (status.mempool, status.parts_open);
            (list + parts > 0).then(|| format!("n{node}: {list} in the list, {parts} parts"))
        };
        cores.filter_map(open).next()
    }

    /// The identities that `wire::client::Exchange` promises between any two shards, and one and itself.
    fn check_exchange(&self, ledgers: &BTreeMap<ShardId, &Ledger>) -> Checked {
        for (from, there) in ledgers {
            for (to, here) in ledgers {
                let (out, back) = (there.exchanged(), here.exchanged());
                let (out, back) = (&out[usize::from(to.0)], &back[usize::from(from.0)]);
                let holds = out.spent == back.ticked
                    && out.spent == out.closed.plus(out.refunded)
                    && out.closed == back.finished
                    && out.refunded == back.cancelled
                    && out.value_out == back.value_in
                    && out.part_out == back.part_in;
                if !holds {
                    let what = format!("sent {out:?}, received {back:?}");
                    return Err(Violation::Exchange { from: *from, to: *to, what });
                }
            }
        }
        Ok(())
    }
}

/// Whether a ledger has the expected totals after its last block.
fn check_ledger(node: NodeId, ledger: &Ledger, expected: &Expected) -> Checked {
    let height = ledger.height();
    let value = if height.0.is_multiple_of(RECOUNT_EVERY) { ledger.recount() } else { ledger.value() };
    if value != expected.value {
        return Err(Violation::Value { node, height, expected: expected.value, found: value });
    }
    if (ledger.held(), ledger.open_records(), ledger.pool_len())
        != (expected.held, expected.open_records, expected.pool)
    {
        let found = format!(
            "held {}, open records {}, pool {}",
            ledger.held(),
            ledger.open_records(),
            ledger.pool_len()
        );
        return Err(Violation::Between { node, height, expected: format!("{expected:?}"), found });
    }
    Ok(())
}
