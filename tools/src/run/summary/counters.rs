//! What nodes count of themselves, added up.

use std::collections::BTreeMap;

use wire::client::NodeStatus;

use crate::load::Shared;

/// Counters of nodes over the whole run; of a node that crashed as it last reported them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes_sent: u64,
    /// Frames dropped by the outbox rule.
    pub(crate) frames_dropped: u64,
    pub(crate) restarts: u64,
    /// Checkpoints that nodes took over, and their bytes.
    pub(crate) takeovers: u64,
    pub(crate) takeover_bytes: u64,
    /// Misbehaviour of peers that nodes counted, by kind.
    pub(crate) peer_faults: BTreeMap<String, u64>,
    /// Messages that nodes dropped since they came too early: a peer that is far ahead sends them, correct or not.
    pub(crate) came_early: u64,
    /// Connections refused and frames thrown away by `net_server`s, by reason.
    pub(crate) turned_away: BTreeMap<String, u64>,
}

impl Counters {
    /// By the last statuses of all nodes.
    pub(crate) fn of(shared: &Shared) -> Counters {
        let statuses = || shared.statuses.values().map(|heard| &heard.status);
        let sum = |count: fn(&NodeStatus) -> u64| statuses().map(count).sum();
        Counters {
            bytes_sent: sum(|status| status.bytes_sent),
            frames_dropped: sum(|status| status.frames_dropped),
            restarts: sum(|status| status.restarts),
            takeovers: sum(|status| status.takeovers),
            takeover_bytes: sum(|status| status.takeover_bytes),
            peer_faults: by_name(statuses().flat_map(|status| &status.faults)),
            came_early: sum(|status| status.too_early),
            turned_away: by_name(statuses().flat_map(|status| &status.refused)),
        }
    }

    /// What was counted since an earlier look.
    #[must_use]
    pub(crate) fn since(self, before: &Counters) -> Counters {
        let Counters { bytes_sent, frames_dropped, restarts, takeovers, takeover_bytes, .. } = self;
        let Counters { peer_faults, came_early, turned_away, .. } = self;
        Counters {
            bytes_sent: bytes_sent.saturating_sub(before.bytes_sent),
            frames_dropped: frames_dropped.saturating_sub(before.frames_dropped),
            restarts: restarts.saturating_sub(before.restarts),
            takeovers: takeovers.saturating_sub(before.takeovers),
            takeover_bytes: takeover_bytes.saturating_sub(before.takeover_bytes),
            peer_faults: difference(peer_faults, &before.peer_faults),
            came_early: came_early.saturating_sub(before.came_early),
            turned_away: difference(turned_away, &before.turned_away),
        }
    }
}

fn by_name<'a>(counts: impl Iterator<Item = &'a (String, u64)>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (name, count) in counts {
        *sums.entry(name.clone()).or_default() += count;
    }
    sums
}

/// Counts that have not grown are left out. One is below what it was only if its node is another process since.
fn difference(after: BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let since = after.into_iter().map(|(name, count)| {
        let earlier = before.get(&name).copied().unwrap_or_default();
        (name, count.saturating_sub(earlier))
    });
    since.filter(|(_, count)| *count > 0).collect()
}
