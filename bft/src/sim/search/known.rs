//! Proofs that the Byzantine member can make of all signatures sent so far and its own.

use std::collections::BTreeMap;

use wire::ids::{Digest, Index, Signature, View};

use crate::crypto::cert::Certificate;
use crate::crypto::suite::{CoinName, Stage, Statement};
use crate::cut::Cut;
use crate::justification::Justification;
use crate::mvba::Halt;
use crate::sim::search::member::{BYZANTINE, HONEST, Node, ROUND, Table, statement};

/// Signatures of honest members by statement: channels are authenticated, not secret.
#[derive(Clone, Default)]
pub(super) struct Known(BTreeMap<Statement, BTreeMap<Index, Signature>>);

impl Known {
    /// Adds everything that a member has signed in the current view.
    pub(super) fn learn(&mut self, node: &Node) {
        for (statement, signature) in &node.signed {
            self.0.entry(*statement).or_default().insert(node.index, *signature);
        }
    }

    /// Whether the honest signatures and the Byzantine member's own make a certificate for a statement.
    pub(super) fn has(&self, table: &Table, statement: &Statement) -> bool {
        self.0.get(statement).is_some_and(|signed| signed.len() + 1 >= table.committee.quorum())
    }

    /// A certificate for a statement, if enough honest members have signed it.
    pub(super) fn certificate(&self, table: &Table, statement: &Statement) -> Option<Certificate> {
        if !self.has(table, statement) {
            return None;
        }
        let signed = self.0[statement].iter().map(|(signer, signature)| (*signer, *signature));
        let own = (BYZANTINE, table.suite(BYZANTINE).sign(statement));
        Some(Certificate(signed.chain([own]).take(table.committee.quorum()).collect()))
    }

    /// Certificate 1 of a leader for a value.
    pub(super) fn lock(&self, table: &Table, view: View, leader: Index, cut: &Cut) -> Option<Certificate> {
        self.certificate(table, &statement(view, leader, Stage::Lock, cut.digest()))
    }

    /// N−f UNLOCKs of a view.
    pub(super) fn unlocks(&self, table: &Table, view: View, leader: Index) -> Option<Certificate> {
        self.certificate(table, &statement(view, leader, Stage::Unlock, Digest::default()))
    }

    /// Certificate 2 of a leader for a value.
    pub(super) fn finish(&self, table: &Table, view: View, leader: Index, cut: &Cut) -> Option<Certificate> {
        self.certificate(table, &statement(view, leader, Stage::Finish, cut.digest()))
    }

    /// Every chain in `view` that is worth a try, valid or not.
    pub(super) fn chains(&self, table: &Table, leaders: &[Index], view: View) -> Vec<Justification> {
        let Some(last) = view.0.checked_sub(1).map(View) else { return vec![Justification::default()] };
        let views = || (0..view.0).map(View).zip(leaders);
        let unlocks: Vec<Option<Certificate>> =
            views().map(|(view, leader)| self.unlocks(table, view, *leader)).collect();
        let since = |from: usize| unlocks[from..].iter().cloned().collect::<Option<Vec<_>>>();
        let unlocked = since(0).map(|unlocks| Justification { lock: None, unlocks });
        let mut chains: Vec<Justification> = unlocked.into_iter().collect();
        // Locks of elected leaders, and of the others in the last view; for this value or another.
        for (view, elected) in views() {
            let Some(unlocks) = since(view.0 as usize + 1) else { continue };
            let leaders = table.committee.indices().filter(|leader| view == last || leader == elected);
            for (leader, value) in
                leaders.flat_map(|leader| table.inputs.iter().map(move |value| (leader, value)))
            {
                let Some(lock) = self.lock(table, view, leader, value) else { continue };
                chains.push(Justification { unlocks: unlocks.clone(), ..Justification::locked(view, lock) });
            }
        }
        // The last UNLOCKs alone, and in place of all missing ones.
        if let Some(unlock) = unlocks.last().cloned().flatten() {
            chains.push(Justification::default().unlocked(unlock.clone()));
            let filled = unlocks.iter().map(|each| each.clone().unwrap_or_else(|| unlock.clone()));
            chains.push(Justification { lock: None, unlocks: filled.collect() });
        }
        chains
    }

    /// HALTs of a view: one with each certificate 2 that exists, and for each value one without.
    pub(super) fn halts(&self, table: &Table, view: View, elected: Index) -> Vec<Halt> {
        let name = CoinName { round: ROUND, view };
        let shares: Vec<_> =
            HONEST.iter().map(|member| (*member, table.suite(*member).coin_share(&name))).collect();
        let halt = |cut: &Cut, certificate| Halt {
            round: ROUND,
            view,
            cut: cut.clone(),
            certificate,
            shares: shares.clone(),
        };
        let mut halts = Vec::new();
        for cut in &table.inputs {
            for leader in table.committee.indices() {
                halts.extend(self.finish(table, view, leader, cut).map(|certificate| halt(cut, certificate)));
            }
            let finish = statement(view, elected, Stage::Finish, cut.digest());
            let own = (BYZANTINE, table.suite(BYZANTINE).sign(&finish));
            halts.push(halt(cut, Certificate(vec![own])));
        }
        halts
    }
}
