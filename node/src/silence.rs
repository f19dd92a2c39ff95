//! The log's lines about members of the own shard that are silent: which, since when, and when they are heard again.
//!
//! A member is silent if for as long as a ping may stay unanswered we sent to it in every second and it sent nothing:
//! its processes are gone or stopped, or the network is cut. Pings would not show that: the `net_server` of a core that
//! stands still answers them. A member that is sent the messages of a round has messages to send, so an honest one is
//! silent only in an idle shard, where nobody sends anything to it either.
//!
//! # Correctness
//! Silence is counted in looks, one a second, and not by the clock alone: after a pause of this process itself the time
//! is up for every peer, while their messages still wait to be read.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bft::time::Time;
use wire::dest::Dest;
use wire::ids::NodeId;
use wire::name::Name;

/// What was heard of the other members.
#[derive(Debug, Default)]
pub(crate) struct Silences {
    peers: BTreeMap<NodeId, Peer>,
    /// Looks in a row without a message after which a peer is silent.
    looks_max: u64,
    /// Whether something was sent to all of them since the last look.
    is_sent_to_all: bool,
}

#[derive(Debug, Default)]
struct Peer {
    /// When its last message came; the start of the loop if none did.
    heard_at: Time,
    /// Since the last look.
    is_heard: bool,
    is_sent_to: bool,
    /// Looks in a row before which it was sent to and not heard.
    looks: u64,
    is_silent: bool,
}

impl Silences {
    /// Of these peers, which are silent after so long; the loop starts at `now`.
    pub(crate) fn new(peers: impl Iterator<Item = NodeId>, timeout: Duration, now: Time) -> Silences {
        Silences {
            peers: peers.map(|peer| (peer, Peer { heard_at: now, ..Peer::default() })).collect(),
            looks_max: timeout.as_secs_f64().ceil() as u64,
            is_sent_to_all: false,
        }
    }

    /// A message is sent.
    pub(crate) fn sent(&mut self, dest: &Dest) {
        let nodes = match dest {
            Dest::ShardOthers => {
                self.is_sent_to_all = true;
                return;
            }
            // Another shard: the own one is `ShardOthers`.
            Dest::Shard(_) => return,
            Dest::Node(node) => std::slice::from_ref(node),
            Dest::Set(nodes) => nodes,
        };
        for node in nodes {
            if let Some(peer) = self.peers.get_mut(node) {
                peer.is_sent_to = true;
            }
        }
    }

    /// A message of a node has come.
    pub(crate) fn heard(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if std::mem::take(&mut peer.is_silent) {
            let silence = seconds(now, peer.heard_at);
            log::info!("{} is heard again, after {silence:.1} s of silence", Name::Node(node));
        }
        (peer.heard_at, peer.is_heard) = (now, true);
    }

    /// To be called once a second, at most. Logs who has become silent.
    pub(crate) fn look(&mut self, now: Time) {
        self.newly_silent(now).iter().for_each(|line| log::warn!("{line}"));
    }

    fn newly_silent(&mut self, now: Time) -> Vec<String> {
        let is_sent_to_all = std::mem::take(&mut self.is_sent_to_all);
        let mut lines = Vec::new();
        for (node, peer) in &mut self.peers {
            let is_sent_to = std::mem::take(&mut peer.is_sent_to) || is_sent_to_all;
            let is_heard = std::mem::take(&mut peer.is_heard);
            peer.looks = if is_sent_to && !is_heard { peer.looks + 1 } else { 0 };
            if peer.looks >= self.looks_max && !peer.is_silent {
                peer.is_silent = true;
                let silence = seconds(now, peer.heard_at);
                let since = SystemTime::now() - Duration::from_secs_f64(silence);
                let (node, since) = (Name::Node(*node), time_of_day(since));
                lines.push(format!("{node} has been silent for {silence:.1} s, since {since}"));
            }
        }
        if !lines.is_empty() && self.peers.len() > 1 && self.peers.values().all(|peer| peer.is_silent) {
            lines.push(
                "no other member is heard: this node is cut off, or its net_server stands still".into(),
            );
        }
        lines
    }
}

fn seconds(now: Time, since: Time) -> f64 {
    now.since(since).0 as f64 / 1e6
}

/// UTC, as at the beginning of a line of the log: `17:51:47.105`.
fn time_of_day(time: SystemTime) -> String {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let second = since_epoch.as_secs() % 86_400;
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{hour:02}:{minute:02}:{:02}.{:03}", second % 60, since_epoch.subsec_millis())
}

#[cfg(test)]
mod tests {
    use bft::time::Span;

    use super::*;

    fn at(second: u64) -> Time {
        Time(0) + Span::from_ms(1_000 * second)
    }

    fn silences(peers: u16) -> Silences {
        Silences::new((1..=peers).map(NodeId), Duration::from_secs(10), Time::default())
    }

    /// The seconds at which lines come, each with the line up to its time of day.
    fn lines(
        silences: &mut Silences,
        until: u64,
        mut step: impl FnMut(&mut Silences, u64),
    ) -> Vec<(u64, String)> {
        let mut told = Vec::new();
        for second in 1..=until {
            step(silences, second);
            let lines = silences.newly_silent(at(second));
            told.extend(lines.iter().map(|line| (second, line.split(", since").next().unwrap().into())));
        }
        told
    }

    #[test]
    fn a_silence_is_told_once_and_again_after_the_peer_was_heard() {
        let told = lines(&mut silences(2), 60, |silences, second| {
            silences.sent(&Dest::ShardOthers);
            silences.heard(at(second), NodeId(1));
            if second <= 5 || second == 30 {
                silences.heard(at(second), NodeId(2));
            }
        });
        let line = "node 2 has been silent for 10.0 s".to_string();
        assert_eq!(told, [(15, line.clone()), (40, line)]);
    }

    #[test]
    fn nobody_is_silent_in_an_idle_shard_nor_after_an_own_pause() {
        assert_eq!(lines(&mut silences(2), 60, |_, _| ()), []);
        let told = lines(&mut silences(2), 60, |silences, second| {
            // Addressed to the other one, or to another shard.
            silences.sent(&Dest::Node(NodeId(2)));
            silences.sent(&Dest::Set(vec![NodeId(2), NodeId(7)]));
            silences.sent(&Dest::Shard(wire::ids::ShardId(1)));
            silences.heard(at(second), NodeId(2));
        });
        assert_eq!(told, []);
        let mut silences = silences(1);
        silences.sent(&Dest::ShardOthers);
        assert_eq!(silences.newly_silent(at(100)), [] as [&str; 0], "one look");
    }

    #[test]
    fn a_node_that_hears_nobody_suspects_itself() {
        let told = lines(&mut silences(2), 30, |silences, _| silences.sent(&Dest::ShardOthers));
        let seconds: Vec<u64> = told.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [10, 10, 10], "{told:?}");
        assert!(told[2].1.starts_with("no other member is heard"), "{told:?}");
    }

    #[test]
    fn a_time_of_day_reads_as_in_the_log() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_283_507_105);
        assert_eq!(time_of_day(time), "17:51:47.105");
    }
}
