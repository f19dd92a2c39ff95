//! What only the processes know of a node: sessions, counters, restarts, faults; merged into its status.
//!
//! Counters of a child begin anew when it does; what its earlier processes counted is carried over, so that totals
//! never fall.

use std::collections::{BTreeMap, BTreeSet};

use bft::fault::{Fault, FaultKind};
use wire::client::NodeStatus;
use wire::envelope::LinkCounters;
use wire::ids::{ClientId, NodeId};

use crate::child::Child;

/// The facts. See the module.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    net_client: ChildVitals,
    net_server: ChildVitals,
    restarts: u64,
    clients: BTreeSet<ClientId>,
    faults: BTreeMap<FaultKind, u64>,
    faults_logged: BTreeSet<(FaultKind, NodeId)>,
}

/// What is known of one child.
#[derive(Debug, Default)]
struct ChildVitals {
    starts: u64,
    peers: BTreeSet<NodeId>,
    of_this_process: Totals,
    of_earlier_ones: Totals,
}

#[derive(Debug, Default)]
struct Totals {
    bytes: u64,
    dropped: u64,
    refused: BTreeMap<String, u64>,
}

/// What a restart of a child ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Clients whose connections it had.
    pub(crate) clients: Vec<ClientId>,
    /// Peers with whom no session is left.
    pub(crate) peers: Vec<NodeId>,
}

/// Whether a child runs for the first time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It does.
    First,
    /// It does not, and this was lost with the process before.
    Again(Ended),
}

impl Vitals {
    /// A child's process has begun.
    pub(crate) fn child_started(&mut self, child: Child) -> Start {
        let vitals = self.of(child);
        vitals.starts += 1;
        if vitals.starts == 1 {
            return Start::First;
        }
        let of_this_process = std::mem::take(&mut vitals.of_this_process);
        vitals.of_earlier_ones.add(of_this_process);
        let lost = std::mem::take(&mut vitals.peers);
        self.restarts += 1;
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

    /// A child has no session with a peer any more. Returns whether the other one has none either.
    pub(crate) fn is_last_session_down(&mut self, child: Child, peer: NodeId) -> bool {
        self.of(child).peers.remove(&peer);
        !self.peers_up().contains(&peer)
    }

    /// A client spoke.
    pub(crate) fn client_spoke(&mut self, client: ClientId) {
        self.clients.insert(client);
    }

    /// A client is gone.
    pub(crate) fn client_gone(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// The counters of a child's process, cumulative.
    pub(crate) fn counted(
        &mut self,
        child: Child,
        links: &[(NodeId, LinkCounters)],
        refused: Vec<(String, u64)>,
    ) {
        self.of(child).of_this_process = Totals {
            bytes: links.iter().map(|(_, link)| link.bytes).sum(),
            dropped: links.iter().map(|(_, link)| link.dropped).sum(),
            refused: refused.into_iter().collect(),
        };
    }

    /// A peer misbehaved; logged when it is the first time in this way.
    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault.kind).or_default() += 1;
        if self.faults_logged.insert((fault.kind, fault.peer)) {
            log::warn!("fault of node {}: {}; counted, not logged again", fault.peer, fault.kind.name());
        }
    }

    /// A core's status with what only we know.
    pub(crate) fn complete(&self, status: NodeStatus) -> NodeStatus {
        let (client, server) = (&self.net_client, &self.net_server);
        let mut refused = server.of_earlier_ones.refused.clone();
        add_counts(&mut refused, &status.refused.into_iter().collect());
        add_counts(&mut refused, &server.of_this_process.refused);
        NodeStatus {
            peers_up: self.peers_up().into_iter().map(|peer| peer.0).collect(),
            bytes_sent: client.of_earlier_ones.bytes + client.of_this_process.bytes,
            frames_dropped: client.of_earlier_ones.dropped + client.of_this_process.dropped,
            restarts: self.restarts,
            faults: self.faults.iter().map(|(kind, count)| (kind.name().to_string(), *count)).collect(),
            refused: refused.into_iter().collect(),
            ..status
        }
    }

    /// Peers with whom either child has a session.
    fn peers_up(&self) -> BTreeSet<NodeId> {
        self.net_client.peers.union(&self.net_server.peers).copied().collect()
    }

    fn of(&mut self, child: Child) -> &mut ChildVitals {
        match child {
            Child::NetClient => &mut self.net_client,
            Child::NetServer => &mut self.net_server,
        }
    }
}

impl Totals {
    fn add(&mut self, other: Totals) {
        self.bytes += other.bytes;
        self.dropped += other.dropped;
        add_counts(&mut self.refused, &other.refused);
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
    fn totals_outlive_a_restart() {
        let mut vitals = Vitals::default();
        assert_eq!(vitals.child_started(Child::NetClient), Start::First);
        assert_eq!(vitals.child_started(Child::NetServer), Start::First);
        vitals.counted(Child::NetClient, &link(100, 1), vec![]);
        vitals.counted(Child::NetClient, &link(150, 2), vec![]);
        vitals.counted(Child::NetServer, &link(9, 9), vec![("full".into(), 3)]);
        vitals.child_started(Child::NetClient);
        vitals.child_started(Child::NetServer);
        vitals.counted(Child::NetClient, &link(10, 0), vec![]);
        vitals.counted(Child::NetServer, &[], vec![("full".into(), 1), ("late".into(), 2)]);
        let status = vitals.complete(NodeStatus::default());
        assert_eq!((status.bytes_sent, status.frames_dropped, status.restarts), (160, 2, 2));
        assert_eq!(status.refused, [("full".to_string(), 4), ("late".to_string(), 2)]);
    }

    #[test]
    fn a_peer_is_down_when_neither_child_has_a_session() {
        let mut vitals = Vitals::default();
        for child in [Child::NetClient, Child::NetServer] {
            vitals.child_started(child);
            vitals.peer_up(child, PEER);
        }
        assert!(!vitals.is_last_session_down(Child::NetClient, PEER));
        assert_eq!(vitals.complete(NodeStatus::default()).peers_up, [2]);
        vitals.client_spoke(ClientId(5));
        let ended = Ended { clients: vec![ClientId(5)], peers: vec![PEER] };
        assert_eq!(vitals.child_started(Child::NetServer), Start::Again(ended));
        assert_eq!(vitals.complete(NodeStatus::default()).peers_up, [] as [u16; 0]);
        assert!(vitals.is_last_session_down(Child::NetServer, PEER));
    }

    #[test]
    fn faults_are_counted_by_kind() {
        let mut vitals = Vitals::default();
        for peer in [1, 2, 1] {
            vitals.fault(Fault { peer: NodeId(peer), kind: FaultKind::Malformed });
        }
        vitals.fault(Fault { peer: PEER, kind: FaultKind::Flood });
        let status = vitals.complete(NodeStatus::default());
        assert_eq!(status.faults, [("malformed".to_string(), 3), ("flood".to_string(), 1)]);
        assert_eq!(vitals.faults_logged.len(), 3);
    }
}
