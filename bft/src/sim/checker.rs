//! What must hold after every step of a simulation, whatever the adversary does: DESIGN §6's invariants and more.
//!
//! - *Agreement*: in each shard one header digest a height among honest members, heights executed one after another.
//! - *The ledger* does what the reference model does with the same blocks: nothing is spent twice, finished twice or
//!   both finished and rejected, value is conserved, no invalid entry is ever part of a block.
//! - *Receipts are true*: what a client is told has happened, or will never happen.
//! - *Blame*: no honest member blames another for what proves misbehaviour.
//! - *Conduct*: honest members keep the promises that the proofs rest on ([`Place`]).
//!
//! Each check is incremental: it costs a few map operations for each message sent and block executed. Coins are
//! compared one by one now and then and at the end.

mod conduct;
mod model;
mod violation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire::client::{Fate, Receipt, Refusal, Reply};
use wire::codec;
use wire::committee::Committee;
use wire::ids::{ClientId, CoinId, Digest, NodeId, Round, ShardId, TxId};
use wire::limits::EXPIRY_ROUNDS_AHEAD_MAX;

use crate::core::Core;
use crate::cut::Tip;
use crate::event::BlockReport;
use crate::fault::Fault;
use crate::proposal::Rules;
use crate::sim::parcel::Parcel;
use crate::transaction::{TransactionView, tx_id, validate};

pub use conduct::Place;
pub use violation::Violation;

use conduct::Conduct;
use model::{Expected, Model};

/// Coins are compared one by one after so many blocks.
const RECOUNT_EVERY: u64 = 8;

/// A transaction some client handed in, or asked for.
#[derive(Clone, Debug)]
struct Offered {
    /// Inputs, if its bytes are valid.
    inputs: Option<Vec<CoinId>>,
    /// The last round in which it may execute, by input shard.
    expiries: BTreeMap<ShardId, Round>,
    /// A member has said that it will never finish.
    written_off: Option<(NodeId, Fate)>,
}

impl Offered {
    /// Of which only the id is known here.
    fn elsewhere() -> Offered {
        Offered { inputs: None, expiries: BTreeMap::new(), written_off: None }
    }
}

/// What the honest members of one shard have executed.
#[derive(Debug)]
struct History {
    rules: Arc<Rules>,
    model: Model,
    headers: Vec<(NodeId, Digest)>,
    expected: Vec<Expected>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Checker {
    committee: Arc<Committee>,
    honest: BTreeSet<NodeId>,
    /// By shard.
    shards: Vec<History>,
    heights: BTreeMap<NodeId, Round>,
    conduct: BTreeMap<NodeId, Conduct>,
    offered: BTreeMap<TxId, Offered>,
    /// What clients still wait for.
    open: BTreeSet<(NodeId, ClientId, TxId)>,
    /// Who asked last for a transaction.
    askers: BTreeMap<(NodeId, TxId), ClientId>,
    /// Of those, what has to finish.
    must_finish: BTreeSet<TxId>,
}

type Checked = Result<(), Violation>;

impl Checker {
    /// For shards with these rules.
    pub(super) fn new(rules: Vec<Arc<Rules>>, honest: BTreeSet<NodeId>) -> Checker {
        let committee = rules[0].committee().clone();
        let history = |rules: Arc<Rules>| History {
            model: Model::genesis(&committee, rules.shard()),
            rules,
            headers: Vec::new(),
            expected: Vec::new(),
        };
        Checker {
            shards: rules.into_iter().map(history).collect(),
            heights: honest.iter().map(|node| (*node, Round(0))).collect(),
            conduct: honest.iter().map(|node| (*node, Conduct::default())).collect(),
            offered: BTreeMap::new(),
            open: BTreeSet::new(),
            askers: BTreeMap::new(),
            must_finish: BTreeSet::new(),
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

    fn history(&self, node: NodeId) -> &History {
        &self.shards[usize::from(self.committee.shard_of(node).0)]
    }

    fn history_mut(&mut self, node: NodeId) -> &mut History {
        &mut self.shards[usize::from(self.committee.shard_of(node).0)]
    }

    /// A frame reaches an honest member.
    pub(super) fn on_delivery(&mut self, from: NodeId, to: NodeId, parcel: &Parcel) {
        self.conduct_of(to).received(from, parcel);
    }

    /// An honest member sends; `digest` is what it says of the bytes, if it says it.
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
        if self.honest.contains(&fault.peer) && !fault.kind.may_be_honest() {
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
        let ledger = core.ledger();
        let value = if height.0.is_multiple_of(RECOUNT_EVERY) { ledger.recount() } else { ledger.value() };
        if value != history.model.value() {
            return Err(Violation::Value { node, height, expected: history.model.value(), found: value });
        }
        Ok(())
    }

    /// The first to execute a height shows the block to the model.
    fn execute_in_model(&mut self, node: NodeId, core: &Core, report: &BlockReport) -> Checked {
        let height = report.round;
        let cut_of = |round| core.decided_cut(round).expect("cuts are kept much longer than a run");
        let (previous, cut) = (cut_of(Round(height.0 - 1)), cut_of(height));
        let is_sound = |(before, tip): (&Tip, &Tip)| tip.seq > before.seq || tip == before;
        if previous == cut || !previous.0.iter().zip(&cut.0).all(is_sound) {
            return Err(Violation::CutMovedBack { height, previous, cut });
        }
        let mut entries = core.block(&previous, &cut).expect("who has executed a block has its entries");
        // DESIGN §6: lanes in an order rotated by the round, entries by their place.
        let n = self.committee.n() as u64;
        entries.sort_by_key(|entry| ((u64::from(entry.owner.0) + height.0) % n, entry.seq));
        let payloads = entries.iter().map(|entry| entry.payload());
        let history = self.history_mut(node);
        let expected = history.model.execute(&history.rules, height, payloads);
        history.headers.push((node, report.header));
        history.expected.push(expected);
        if expected.invalid_entries > 0 {
            return Err(Violation::InvalidEntry { height, count: expected.invalid_entries });
        }
        self.check_written_off(node)
    }

    /// Nothing that clients were told would never finish has finished.
    fn check_written_off(&self, executed_by: NodeId) -> Checked {
        let model = &self.history(executed_by).model;
        for (id, offered) in &self.offered {
            if let (Some((node, told)), Some(Fate::Finished(round))) = (offered.written_off, model.fate(id)) {
                let truth = Some(Fate::Finished(round));
                return Err(Violation::FalseReceipt { node, id: *id, told, truth });
            }
        }
        Ok(())
    }

    /// A client hands transactions to an honest member.
    pub(super) fn on_submission(
        &mut self,
        node: NodeId,
        client: ClientId,
        transactions: &[impl AsRef<[u8]>],
    ) {
        for bytes in transactions {
            let id = tx_id(bytes.as_ref());
            let offered = self.offered.entry(id).or_insert_with(Offered::elsewhere);
            let valid = validate(bytes.as_ref(), &self.committee).ok();
            let expiries = |view: TransactionView<'_>| {
                view.expiries().map(|expiry| (expiry.shard, expiry.round)).collect()
            };
            offered.inputs = valid.map(|view| view.inputs().map(|input| input.coin).collect());
            offered.expiries = valid.map(expiries).unwrap_or_default();
            self.open.insert((node, client, id));
        }
    }

    /// A client asks an honest member for transactions.
    pub(super) fn on_query(&mut self, node: NodeId, client: ClientId, ids: &[TxId]) {
        for id in ids {
            // A transaction that a crashed or Byzantine member was given may be unknown here.
            self.offered.entry(*id).or_insert_with(Offered::elsewhere);
            self.open.insert((node, client, *id));
            // Of those who ask for an open transaction the last one is told.
            if let Some(before) = self.askers.insert((node, *id), client) {
                self.open.remove(&(node, before, *id));
            }
        }
    }

    /// A client has left; nobody waits for its receipts, which may be under way or never be sent.
    pub(super) fn on_client_gone(&mut self, node: NodeId, client: ClientId) {
        self.open.retain(|(taker, waits, _)| (*taker, *waits) != (node, client));
    }

    /// Nothing speaks against these.
    pub(super) fn expect_to_finish(&mut self, transactions: &[impl AsRef<[u8]>]) {
        self.must_finish.extend(transactions.iter().map(|bytes| tx_id(bytes.as_ref())));
    }

    /// A node has crashed: what it took has no fate there.
    pub(super) fn on_crash(&mut self, node: NodeId) {
        self.open.retain(|(taker, _, _)| *taker != node);
    }

    /// What clients of honest members still wait for.
    pub(super) fn open(&self) -> impl Iterator<Item = (NodeId, TxId)> + '_ {
        self.open.iter().map(|(node, _, id)| (*node, *id))
    }

    /// An honest member answers a client.
    pub(super) fn on_reply(&mut self, node: NodeId, client: ClientId, body: &[u8]) -> Checked {
        let Ok(Reply::Receipts(receipts)) = codec::decode::<Reply>(body) else {
            return Err(Violation::StrayReply { node, client });
        };
        receipts.into_iter().try_for_each(|receipt| self.on_receipt(node, client, receipt))
    }

    fn on_receipt(&mut self, node: NodeId, client: ClientId, receipt: Receipt) -> Checked {
        let Receipt { id, fate } = receipt;
        if !self.open.remove(&(node, client, id)) {
            return Err(Violation::StrayReply { node, client });
        }
        if self.must_finish.contains(&id) && !matches!(fate, Fate::Finished(_)) {
            return Err(Violation::NotFinished { node, id, told: fate });
        }
        let model = &self.history(node).model;
        let truth = model.fate(&id);
        // Who has not executed the block that settled it may say in advance, and for another reason, that it cannot
        // finish.
        let is_ahead = model.settled_at(&id).is_none_or(|settled| settled > self.heights[&node]);
        let is_true = match fate {
            Fate::Finished(_) => truth == Some(fate),
            Fate::Rejected(_) | Fate::Expired if is_ahead => !matches!(truth, Some(Fate::Finished(_))),
            Fate::Rejected(_) | Fate::Expired => truth == Some(fate),
            Fate::Refused(refusal) => self.is_refusal_true(node, &id, refusal),
            // Not if it is open here, or settled here and not forgotten.
            Fate::Unknown => {
                let is_open = self.open.iter().any(|(taker, _, waits)| (*taker, *waits) == (node, id));
                !is_open && (is_ahead || model.is_forgotten(&id, self.heights[&node]))
            }
        };
        if !is_true {
            return Err(Violation::FalseReceipt { node, id, told: fate, truth });
        }
        if matches!(fate, Fate::Rejected(_) | Fate::Expired)
            && let Some(offered) = self.offered.get_mut(&id)
        {
            offered.written_off.get_or_insert((node, fate));
        }
        Ok(())
    }

    fn is_refusal_true(&self, node: NodeId, id: &TxId, refusal: Refusal) -> bool {
        let (offered, model) = (&self.offered[id], &self.history(node).model);
        let expiry = offered.expiries.get(&self.committee.shard_of(node)).copied().unwrap_or_default();
        match refusal {
            Refusal::Invalid | Refusal::TooLarge => offered.inputs.is_none(),
            Refusal::Spent => offered
                .inputs
                .iter()
                .flatten()
                .any(|coin| model.spender(coin).is_some_and(|spender| spender != id)),
            Refusal::Expired => offered.inputs.is_some() && expiry <= self.heights[&node],
            Refusal::ExpiryTooFar => expiry.0 > self.heights[&node].next().0 + EXPIRY_ROUNDS_AHEAD_MAX,
            Refusal::Duplicate => offered.inputs.is_some(),
            Refusal::WrongShard | Refusal::Full | Refusal::ClientShare | Refusal::Following => false,
        }
    }

    /// Live honest members when nothing is open any more: in each shard same height, same coins.
    pub(super) fn at_rest<'a>(&self, cores: impl Iterator<Item = (NodeId, &'a Core)>) -> Checked {
        let mut heights = Vec::new();
        for (node, core) in cores {
            let height = core.ledger().height();
            heights.push((node, height));
            if height != self.height(node) {
                continue;
            }
            let mut dumped = BTreeMap::new();
            dumped.extend(core.ledger().dump_coins().map(|coin| (coin.id, coin.amount)));
            let model = self.history(node).model.unspent();
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
        Ok(())
    }
}
