//! The times at which a round reached its steps, for the figures; nothing depends on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::ids::View;

use crate::mvba::Milestone;
use crate::time::Time;

/// The times at which a round reached its steps here, in the deciding view; `None` where a step was skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RoundTimes {
    /// Views begun.
    pub views: u32,
    /// Our input.
    pub input: Option<Time>,
    /// N−f FINISHes.
    pub finished: Option<Time>,
    /// The coin.
    pub elected: Option<Time>,
}

/// Collects the times of the running round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Stopwatch {
    input: Option<Time>,
    milestones: BTreeMap<(View, Milestone), Time>,
}

impl Stopwatch {
    /// We have given our input.
    pub(super) fn input(&mut self, now: Time) {
        self.input = Some(now);
    }

    /// Records how far a view has come.
    pub(super) fn milestone(&mut self, now: Time, view: View, milestone: Milestone) {
        self.milestones.insert((view, milestone), now);
    }

    /// The times of a round that `deciding` decided, after so many views.
    pub(super) fn times(self, views: u32, deciding: View) -> RoundTimes {
        let at = |milestone| self.milestones.get(&(deciding, milestone)).copied();
        RoundTimes {
            views,
            input: self.input,
            finished: at(Milestone::Finished),
            elected: at(Milestone::Elected),
        }
    }
}
