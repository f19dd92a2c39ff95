//! The tails of lanes: entries that we hold and nobody has certified. If their owner falls silent they never will be,
//! and the transactions in them would be lost with it though all members may hold them. So those that are to hold its
//! copies (`pending::sharing`) adopt them, as backups that are promoted at once.
//!
//! **Cost.** A look at the lanes with a tail for each event; a tail is read once for each entry that its owner sends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::ids::{Index, NodeId};

use crate::core::Core;
use crate::mutant::{Mutant, in_force};
use crate::shard::home::Since;
use crate::time::Time;

/// When the last entry of each lane with a tail came. Bound: members.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tails(BTreeMap<Index, Since>);

impl Core {
    /// An entry has come from this member.
    pub(super) fn watch_tail(&mut self, now: Time, from: NodeId) {
        let Some(owner) = self.member.index_of(from) else { return };
        let is_ours = !self.follows() && in_force(Mutant::TailsAreAdopted);
        if is_ours && self.lanes.has_tail(owner) && self.pending.is_holder_of(owner) {
            self.tails.0.insert(owner, Since { time: now, round: self.ledger.height() });
        }
    }

    /// When a tail may be adopted though no further round passes.
    pub(super) fn tails_due(&self) -> Option<Time> {
        let due =
            |(owner, since): (&Index, &Since)| since.due(self.ledger.height(), self.pending.turn(*owner));
        self.tails.0.iter().map(due).min()
    }

    /// Adopts the tails of members that have fallen silent.
    pub(super) fn adopt_tails(&mut self, now: Time) {
        let (decided, height) = (self.rounds.decided(), self.ledger.height());
        let (lanes, pending) = (&self.lanes, &self.pending);
        self.tails.0.retain(|owner, _| lanes.has_tail(*owner));
        let is_silent = |(owner, since): &(&Index, &Since)| {
            since.is_promotable(now, height, self.idle.cuts(**owner, decided), pending.turn(**owner))
        };
        let silent: Vec<(Index, Since)> =
            self.tails.0.iter().filter(is_silent).map(|(owner, since)| (*owner, *since)).collect();
        for (owner, since) in silent {
            self.tails.0.remove(&owner);
            let rules = self.ledger.rules().clone();
            for entry in self.lanes.tail(owner) {
                let proposal = rules.validate(entry.payload()).expect("only a valid entry is echoed");
                self.pending.adopt(owner, &proposal, since, &self.ledger);
            }
        }
    }
}
