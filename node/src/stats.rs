//! Statistics that the core does not have: sessions, counters of links, restarts, faults. They complete its status.
//!
//! The counters of a child start at 0 with each process. Those of its earlier processes are added, so that totals never
//! decrease.

use std::collections::{BTreeMap, BTreeSet};

use bft::event::JumpReport;
use bft::fault::{Fault, FaultKind};
use bft::time::Span;
use wire::client::NodeStatus;
use wire::envelope::LinkCounters;
use wire::ids::{ClientId, NodeId};
use wire::name::Name;

use crate::child::Child;
use crate::metrics::{ChildFigures, Snapshot};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    net_client: ChildStats,
    net_server: ChildStats,
    clients: BTreeSet<ClientId>,
    takeovers: u64,
    takeover_bytes: u64,
    /// Bounded by kinds × nodes, since peers are authenticated.
    faults: BTreeMap<(FaultKind, NodeId), u64>,
}

/// The statistics of one child.
#[derive(Debug, Default)]
struct ChildStats {
    starts: u64,
    pid: Option<u32>,
    peers: BTreeSet<NodeId>,
    this_process: Totals,
    earlier_processes: Totals,
}

#[derive(Clone, Debug, Default)]
struct Totals {
    links: BTreeMap<NodeId, LinkCounters>,
    refused: BTreeMap<String, u64>,
}

/// The sessions that a restart of a child ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) clients: Vec<ClientId>,
    /// Peers without any session now.
    pub(crate) peers: Vec<NodeId>,
}

/// Whether a child has run before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    First,
    /// It has; the sessions of the previous process have ended.
    Again(Ended),
}

impl Stats {
    /// A process of a child has started.
    pub(crate) fn child_started(&mut self, child: Child, pid: u32) -> Start {
        let stats = self.of(child);
        stats.starts += 1;
        stats.pid = Some(pid);
        if stats.starts == 1 {
            return Start::First;
        }
        let this_process = std::mem::take(&mut stats.this_process);
        stats.earlier_processes = std::mem::take(&mut stats.earlier_processes).and(&this_process);
        let lost = std::mem::take(&mut stats.peers);
        let clients = match child {
            Child::NetClient => BTreeSet::new(),
            Child::NetServer => std::mem::take(&mut self.clients),
        };
        let left = self.peers_up();
        let peers = lost.difference(&left).copied().collect();
        Start::Again(Ended { clients: clients.into_iter().collect(), peers })
    }

    /// A child has a session with a peer.
    pub(crate) fn peer_up(&mut self, child: Child, peer: NodeId) {
        self.of(child).peers.insert(peer);
    }

    /// A child has lost its session with a peer. Returns whether the other child has none either.
    pub(crate) fn is_last_session_down(&mut self, child: Child, peer: NodeId) -> bool {
        self.of(child).peers.remove(&peer);
        !self.net_client.peers.contains(&peer) && !self.net_server.peers.contains(&peer)
    }

    /// A client has sent a request other than status.
    pub(crate) fn client_seen(&mut self, client: ClientId) {
        self.clients.insert(client);
    }

    pub(crate) fn client_gone(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// A child reported its counters, which are cumulative.
    pub(crate) fn counted(
        &mut self,
        child: Child,
        links: &[(NodeId, LinkCounters)],
        refused: Vec<(String, u64)>,
    ) {
        self.of(child).this_process =
            Totals { links: links.iter().copied().collect(), refused: refused.into_iter().collect() };
    }

    /// Messages for peers were dropped on their way to `net_client`.
    pub(crate) fn dropped(&mut self, dropped: BTreeMap<NodeId, u64>) {
        for (peer, count) in dropped {
            self.net_client.earlier_processes.links.entry(peer).or_default().dropped += count;
        }
    }

    /// The core has taken over a checkpoint.
    pub(crate) fn took_over(&mut self, report: &JumpReport) {
        self.takeovers += 1;
        self.takeover_bytes += report.bytes;
    }

    /// Counts a fault; logs the first of its kind and peer.
    pub(crate) fn fault(&mut self, fault: Fault) {
        let count = self.faults.entry((fault.kind, fault.peer)).or_default();
        *count += 1;
        if *count == 1 {
            let (peer, kind) = (Name::Node(fault.peer), fault.kind.name());
            log::warn!("{peer} is at fault: {kind}; later faults of this kind are only counted");
        }
    }

    /// Adds our fields to a status of the core, this long after the start of the node.
    pub(crate) fn complete(&self, up: Span, status: NodeStatus) -> NodeStatus {
        let ids = |peers: &BTreeSet<NodeId>| peers.iter().map(|peer| peer.0).collect();
        let Totals { links, refused: by_net_client } = self.net_client.totals();
        let Totals { mut refused, .. } = self.net_server.totals();
        add_counts(&mut refused, &by_net_client);
        add_counts(&mut refused, &status.refused.into_iter().collect());
        let mut faults: BTreeMap<FaultKind, u64> = BTreeMap::new();
        for ((kind, _), count) in &self.faults {
            *faults.entry(*kind).or_default() += count;
        }
        NodeStatus {
            peers_up: ids(&self.peers_up()),
            peers_out: ids(&self.net_client.peers),
            peers_in: ids(&self.net_server.peers),
            up_ms: up.0 / 1_000,
            bytes_sent: links.values().map(|link| link.bytes).sum(),
            bytes_sent_to: links.iter().map(|(peer, link)| (peer.0, link.bytes)).collect(),
            frames_dropped: links.values().map(|link| link.dropped).sum(),
            restarts: self.net_client.restarts() + self.net_server.restarts(),
            takeovers: self.takeovers,
            takeover_bytes: self.takeover_bytes,
            faults: faults.into_iter().map(|(kind, count)| (kind.name().to_string(), count)).collect(),
            refused: refused.into_iter().collect(),
            ..status
        }
    }

    /// Our figures that are not in a status, for a metrics scrape.
    pub(crate) fn figures(&self) -> Snapshot {
        let children = [(Child::NetClient, &self.net_client), (Child::NetServer, &self.net_server)];
        let figures = |stats: &ChildStats| ChildFigures {
            pid: stats.pid,
            restarts: stats.restarts(),
            ..ChildFigures::default()
        };
        Snapshot {
            links: children.iter().map(|(child, stats)| (*child, stats.totals().links)).collect(),
            faults: self.faults.clone(),
            clients: self.clients.len() as u64,
            children: children.iter().map(|(child, stats)| (*child, figures(stats))).collect(),
            ..Snapshot::default()
        }
    }

    /// Peers with a session with either child.
    fn peers_up(&self) -> BTreeSet<NodeId> {
        self.net_client.peers.union(&self.net_server.peers).copied().collect()
    }

    fn of(&mut self, child: Child) -> &mut ChildStats {
        match child {
            Child::NetClient => &mut self.net_client,
            Child::NetServer => &mut self.net_server,
        }
    }
}

impl ChildStats {
    fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }

    /// The counters of all its processes.
    fn totals(&self) -> Totals {
        self.earlier_processes.clone().and(&self.this_process)
    }
}

impl Totals {
    /// The sums; gauges are those of the later process.
    fn and(mut self, later: &Totals) -> Totals {
        for link in self.links.values_mut() {
            (link.unconfirmed, link.queued_bytes) = (0, 0);
        }
        for (peer, more) in &later.links {
            let link = self.links.entry(*peer).or_default();
            *link = LinkCounters {
                data_sent: link.data_sent + more.data_sent,
                data_received: link.data_received + more.data_received,
                ack_sent: link.ack_sent + more.ack_sent,
                ack_received: link.ack_received + more.ack_received,
                bytes: link.bytes + more.bytes,
                dropped: link.dropped + more.dropped,
                unconfirmed: more.unconfirmed,
                queued_bytes: more.queued_bytes,
            };
        }
        add_counts(&mut self.refused, &later.refused);
        self
    }
}

fn add_counts(counts: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (reason, count) in more {
        *counts.entry(reason.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    fn link(bytes: u64, dropped: u64) -> Vec<(NodeId, LinkCounters)> {
        vec![(PEER, LinkCounters { bytes, dropped, ..LinkCounters::default() })]
    }

    #[test]
    fn totals_survive_a_restart() {
        let mut stats = Stats::default();
        assert_eq!(stats.child_started(Child::NetClient, 1), Start::First);
        assert_eq!(stats.child_started(Child::NetServer, 2), Start::First);
        stats.counted(Child::NetClient, &link(100, 1), vec![]);
        stats.counted(Child::NetClient, &link(150, 2), vec![]);
        stats.counted(Child::NetServer, &link(9, 9), vec![("full".into(), 3)]);
        stats.child_started(Child::NetClient, 1);
        stats.child_started(Child::NetServer, 2);
        stats.counted(Child::NetClient, &link(10, 0), vec![("late".into(), 3)]);
        stats.counted(Child::NetServer, &[], vec![("full".into(), 1), ("late".into(), 2)]);
        stats.dropped(BTreeMap::from([(PEER, 5)]));
        let status = stats.complete(Span(0), NodeStatus::default());
        assert_eq!((status.bytes_sent, status.frames_dropped, status.restarts), (160, 7, 2));
        assert_eq!(status.bytes_sent_to, [(PEER.0, 160)]);
        assert_eq!(status.refused, [("full".to_string(), 4), ("late".to_string(), 5)]);
        let figures = stats.figures();
        assert_eq!(figures.links[&Child::NetClient][&PEER].bytes, 160);
        assert_eq!(figures.children[&Child::NetServer].restarts, 1);
    }

    #[test]
    fn gauges_of_a_dead_process_are_dropped() {
        let mut stats = Stats::default();
        let waiting = LinkCounters { data_sent: 5, unconfirmed: 3, queued_bytes: 900, ..Default::default() };
        stats.child_started(Child::NetClient, 1);
        stats.counted(Child::NetClient, &[(PEER, waiting)], vec![]);
        assert_eq!(stats.figures().links[&Child::NetClient][&PEER], waiting);
        stats.child_started(Child::NetClient, 2);
        let left = LinkCounters { data_sent: 5, ..Default::default() };
        assert_eq!(stats.figures().links[&Child::NetClient][&PEER], left);
    }

    #[test]
    fn a_peer_without_any_session_is_down() {
        let mut stats = Stats::default();
        for child in [Child::NetClient, Child::NetServer] {
            stats.child_started(child, 1);
            stats.peer_up(child, PEER);
        }
        assert!(!stats.is_last_session_down(Child::NetClient, PEER));
        let status = stats.complete(Span(7_000), NodeStatus::default());
        assert_eq!((status.peers_up, status.peers_out, status.peers_in), (vec![2], vec![], vec![2]));
        assert_eq!(status.up_ms, 7);
        stats.client_seen(ClientId(5));
        let ended = Ended { clients: vec![ClientId(5)], peers: vec![PEER] };
        assert_eq!(stats.child_started(Child::NetServer, 2), Start::Again(ended));
        assert_eq!(stats.complete(Span(0), NodeStatus::default()).peers_up, [] as [u16; 0]);
        assert!(stats.is_last_session_down(Child::NetServer, PEER));
    }

    #[test]
    fn faults_are_counted_by_kind() {
        let mut stats = Stats::default();
        for peer in [1, 2, 1] {
            stats.fault(Fault { peer: NodeId(peer), kind: FaultKind::Malformed });
        }
        stats.fault(Fault { peer: PEER, kind: FaultKind::NotAMember });
        let status = stats.complete(Span(0), NodeStatus::default());
        assert_eq!(status.faults, [("malformed".to_string(), 3), ("not_a_member".to_string(), 1)]);
        assert_eq!(stats.figures().faults[&(FaultKind::Malformed, NodeId(1))], 2);
    }
}
