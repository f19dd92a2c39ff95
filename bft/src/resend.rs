//! Timers and pace of repeated messages.
//!
//! Re-sending has two bounds. A peer with a new process gets open messages at most once a second ([`Returns`]); a
//! return before that waits and is not lost. The bytes of long messages are bounded at once and per second
//! ([`resend_pace`]). So neither a peer that returns again and again nor a restart of our own child can overflow the
//! outlet to `net_client`, after which that child would be cut off and started anew.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::ids::NodeId;
use wire::limits::{RESEND_BURST_BYTES, RESEND_BYTES_PER_S};

use crate::bucket::Bucket;
use crate::mutant::{Mutant, in_force};
use crate::time::{Span, Time};

/// First wait before something without progress is sent again.
const FIRST: Span = Span::from_ms(1_000);
/// Longest wait.
const LONGEST: Span = Span::from_ms(10_000);

/// When to send again: 1 s after the last progress, then doubling to 10 s; never while nothing is open.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Resend {
    armed: Option<(Time, Span)>,
}

impl Resend {
    /// An item is newly open, or an open one has progressed: the wait starts afresh.
    pub fn progressed(&mut self, now: Time) {
        self.armed = Some((now + FIRST, FIRST));
    }

    /// Something is open. Unlike progress, this does not restart a wait that is under way.
    pub fn arm(&mut self, now: Time) {
        if self.armed.is_none() {
            self.progressed(now);
        }
    }

    /// Something is open again: the wait begins anew, as long as it was.
    pub fn wait_again(&mut self, now: Time) {
        let wait = self.armed.map_or(FIRST, |(_, wait)| wait);
        self.armed = Some((now + wait, wait));
    }

    /// Nothing is open.
    pub fn stop(&mut self) {
        self.armed = None;
    }

    /// Whether it is time; if so the next wait is twice as long.
    pub fn is_due(&mut self, now: Time) -> bool {
        match self.armed {
            Some((due, wait)) if due <= now => {
                let wait = wait.doubled(LONGEST);
                self.armed = Some((now + wait, wait));
                true
            }
            _ => false,
        }
    }

    /// The time when the wait ends.
    pub fn due(&self) -> Option<Time> {
        self.armed.map(|(due, _)| due)
    }
}

/// The pace at which long messages are sent again: while less than [`RESEND_BURST_BYTES`] are under way, which drain at
/// [`RESEND_BYTES_PER_S`].
///
/// The last message may exceed the burst, so at once at most the burst and one message of the greatest length go out:
/// 16 MiB of the own lane, and as much of parts, whatever N is, however full the windows are and however many peers
/// return; after that [`RESEND_BYTES_PER_S`] of each. Without a pace, ten new processes of one peer cost 319 MiB with a
/// full window, and a restart of a child 959 MiB at N = 31.
pub fn resend_pace() -> Bucket {
    Bucket::new(
        RESEND_BYTES_PER_S,
        if in_force(Mutant::ResendsArePaced) { RESEND_BURST_BYTES } else { u64::MAX },
    )
}

/// Peers with a new process, each of which gets open messages at most once a second. At most one turn of each waits,
/// since one turn repairs all that was lost before it. Bound: the nodes of the committee, which the caller checks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Returns {
    /// The earliest next turn of each.
    allowed: BTreeMap<NodeId, Time>,
    waiting: BTreeSet<(Time, NodeId)>,
}

impl Returns {
    /// Shortest time between two turns of one peer.
    const INTERVAL: Span = Span::from_ms(1_000);

    /// A new process of this peer is connected.
    pub fn is_up(&mut self, now: Time, peer: NodeId) {
        let known = self.allowed.get(&peer).filter(|_| in_force(Mutant::ResendsArePaced)).copied();
        if known.is_some_and(|due| self.waiting.contains(&(due, peer))) {
            return;
        }
        let due = known.map_or(now, |allowed| now.max(allowed));
        self.allowed.insert(peer, due);
        self.waiting.insert((due, peer));
    }

    /// A peer whose turn is due; call until there is none.
    pub fn next(&mut self, now: Time) -> Option<NodeId> {
        let (_, peer) = self.waiting.first().copied().filter(|(due, _)| *due <= now)?;
        self.waiting.pop_first();
        self.allowed.insert(peer, now + Returns::INTERVAL);
        Some(peer)
    }

    /// When the next turn is.
    pub fn due(&self) -> Option<Time> {
        self.waiting.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returning_peer_has_a_turn_each_second_and_one_after_its_last_return() {
        let (mut returns, peer) = (Returns::default(), NodeId(7));
        let mut turns = Vec::new();
        for ms in 0..=3_500 {
            let now = Time(0) + Span::from_ms(ms);
            if ms <= 2_500 && ms % 100 == 0 {
                returns.is_up(now, peer);
            }
            while let Some(turn) = returns.next(now) {
                assert_eq!(turn, peer);
                turns.push(ms);
            }
        }
        assert_eq!(turns, [0, 1_000, 2_000, 3_000], "the last turn comes after its last return");
        assert_eq!(returns.due(), None);
        let now = Time(0) + Span::from_ms(3_600);
        returns.is_up(now, NodeId(8));
        assert_eq!(returns.next(now), Some(NodeId(8)), "other peers do not wait for it");
    }

    #[test]
    fn waits_double_to_the_longest_and_progress_resets_them() {
        let mut resend = Resend::default();
        assert_eq!(resend.due(), None);
        resend.progressed(Time(0));
        let mut waits = Vec::new();
        let mut now = Time(0);
        for _ in 0..6 {
            let due = resend.due().unwrap();
            waits.push((due - now).0 / 1_000);
            assert!(!resend.is_due(Time(due.0 - 1)));
            assert!(resend.is_due(due));
            now = due;
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        resend.progressed(now);
        assert_eq!(resend.due(), Some(now + FIRST));
        assert!(resend.is_due(now + FIRST));
        let later = now + Span::from_ms(5_000);
        resend.wait_again(later);
        assert_eq!(resend.due(), Some(later + Span::from_ms(2_000)), "as long as it was");
        resend.stop();
        assert_eq!(resend.due(), None);
        resend.wait_again(later);
        assert_eq!(resend.due(), Some(later + FIRST));
    }
}
