//! One pass through a journal that takes down what can be verified and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bft::crypto::real::RealSuite;
use bft::event::{BlockReport, Effect};
use bft::journal::Replay;
use bft::ledger::{Item as LedgerItem, Ledger};
use bft::time::Time;
use wire::audit::{Section, Sums};
use wire::client::NodeStatus;
use wire::ids::{Digest, NodeId, Round};
use wire::record::Item;

use super::Holder;
use super::certificates::Votes;
use crate::lag::grouped;
use crate::replay::{Beginning, Cause, Onlooker, Walked};

/// What a node had executed, and what its journal proves of it.
#[derive(Default)]
pub(crate) struct Scan {
    /// The height at which the journal begins; 0 unless older segments are gone.
    pub(crate) from: Round,
    pub(crate) blocks: BTreeMap<Round, Block>,
    /// Heights at which the core stood between two events; it may execute several blocks in one.
    pub(crate) stood: BTreeSet<Round>,
    pub(crate) votes: Votes,
    /// Heights of which the sums are to be taken; that of the end is always one.
    pub(crate) wanted: BTreeSet<Round>,
    pub(crate) sums: BTreeMap<Round, Sums>,
    /// A bucket at a height that is to be listed, and its items.
    pub(crate) bucket: Option<(Round, Section, u8)>,
    pub(crate) items: Vec<LedgerItem>,
    /// The first height after which value was not conserved, and by how much.
    pub(crate) unbalanced: Option<(Round, String)>,
    pub(crate) last: NodeStatus,
    pub(crate) genesis_value: u128,
    /// The program that wrote the journal.
    pub(crate) version: String,
    /// Heights up to which to go.
    pub(crate) until: Option<Round>,
    watched: Option<NodeId>,
    suite: Option<Arc<RealSuite>>,
}

/// An executed block.
pub(crate) struct Block {
    pub(crate) report: BlockReport,
    /// The digest of its cut, if it was still known when its event had ended.
    pub(crate) cut: Option<Digest>,
}

impl Onlooker for Scan {
    fn begins(&mut self, _: &Beginning, replay: &mut Replay) -> Result<(), Cause> {
        self.from = replay.core().ledger().height();
        self.look(replay);
        Ok(())
    }

    fn item(&mut self, replay: &Replay, item: &Item) {
        if let Some(node) = self.watched {
            self.votes.hear(replay.core().ledger().committee(), node, item);
        }
    }

    fn step(&mut self, replay: &Replay, _: Time, effects: &[Effect]) -> ControlFlow<()> {
        let core = replay.core();
        if let Some(node) = self.watched {
            self.votes.say(core.ledger().committee(), node, effects);
        }
        let reports = effects.iter().filter_map(|effect| match effect {
            Effect::Executed(report) => Some(report),
            _ => None,
        });
        let mut has_block = false;
        for report in reports {
            has_block = true;
            let cut = core.decided_cut(report.round).map(|cut| cut.digest());
            self.blocks.insert(report.round, Block { report: BlockReport::clone(report), cut });
        }
        if has_block {
            self.look(replay);
            if self.votes.are_many()
                && let Some(suite) = &self.suite
            {
                self.votes.judge(core.ledger().committee(), suite, &self.blocks);
            }
        }
        let height = core.ledger().height();
        if self.until.is_some_and(|until| height >= until) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl Scan {
    /// Of this node.
    pub(super) fn new(holder: &Holder) -> Scan {
        Scan { watched: Some(holder.node), suite: Some(holder.source.suite.clone()), ..Scan::default() }
    }

    /// Looks at the ledger where the core stands now.
    fn look(&mut self, replay: &Replay) {
        let ledger = replay.core().ledger();
        let height = ledger.height();
        self.stood.insert(height);
        if self.wanted.contains(&height) {
            self.sums.insert(height, ledger.sums());
        }
        if let Some((_, section, bucket)) = self.bucket.filter(|(at, ..)| *at == height) {
            self.items = ledger.items_of(section, bucket);
        }
        if self.unbalanced.is_none() {
            self.unbalanced = balance(ledger, ledger.value()).map(|words| (height, words));
        }
    }

    /// The last height.
    pub(crate) fn height(&self) -> Round {
        self.last.executed
    }

    /// Takes down where the replay ended; what is wrong so far, in words.
    pub(super) fn findings(&mut self, holder: &Holder, walked: &Walked) -> Vec<String> {
        let core = walked.replay.core();
        let (ledger, committee) = (core.ledger(), core.ledger().committee());
        self.last = core.status();
        self.version = walked.version.clone();
        self.genesis_value = ledger.genesis_value();
        self.sums.insert(ledger.height(), ledger.sums());
        self.votes.judge(committee, &holder.source.suite, &self.blocks);
        let name = &holder.name;
        let mut findings = Vec::new();
        // Counted coin by coin, as opposed to what execution keeps.
        let recounted = balance(ledger, ledger.recount()).map(|words| (ledger.height(), words));
        if let Some((height, words)) = self.unbalanced.take().or(recounted) {
            findings.push(format!("{name}: value is not conserved after block {height}: {words}"));
        }
        if let Some((height, member, header)) = self.votes.other {
            let member = committee.node_at(holder.shard, member);
            findings
                .push(format!("{name}: node {member} signed another header of height {height}: {header}"));
        }
        findings
    }

    /// What is worth knowing of a journal, and is no fault.
    pub(super) fn remarks(&self, holder: &Holder, walked: &Walked) -> Vec<String> {
        let name = &holder.name;
        let mut remarks = Vec::new();
        if self.from > Round(0) {
            remarks.push(format!(
                "{name}: begun with a snapshot at height {}, older blocks are not kept",
                self.from
            ));
        }
        if walked.torn_bytes > 0 {
            let bytes = grouped(walked.torn_bytes);
            remarks.push(format!("{name}: {bytes} bytes of an unfinished record at the end"));
        }
        remarks
    }
}

/// The fault in the books of a ledger, if there is one; its unspent coins have this value.
fn balance(ledger: &Ledger, value: u128) -> Option<String> {
    let exchanged = ledger.exchanged();
    let gone: u128 = exchanged.iter().map(|exchange| exchange.value_out).sum();
    let come: u128 = exchanged.iter().map(|exchange| exchange.value_in).sum();
    let (held, genesis) = (ledger.held(), ledger.genesis_value());
    (value + held + gone != genesis + come).then(|| {
        format!(
            "coins worth {value}, {held} under open records and {gone} gone to other shards are not genesis, {genesis}, \
             and {come} come from them"
        )
    })
}
