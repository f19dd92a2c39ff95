//! What only the processes know of a node: sessions, counters, restarts, faults; merged into its status.
//!
//! Counters of a child begin anew when it does; what its earlier processes counted is carried over, so that totals
//! never fall.

use std::collections::{BTreeMap, BTreeSet};

use bft::fault::{Fault, FaultKind};
use bft::time::Time;
use wire::client::NodeStatus;
use wire::envelope::LinkCounters;
use wire::ids::{ClientId, NodeId};
use wire::name::Name;

use crate::child::Child;
use crate::metrics::{ChildFigures, Snapshot};

/// The facts. See the module.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    net_client: ChildVitals,
    net_server: ChildVitals,
    clients: BTreeSet<ClientId>,
    /// Bound: kinds × nodes, since peers are who their keys say.
    faults: BTreeMap<(FaultKind, NodeId), u64>,
}

/// What is known of one child.
#[derive(Debug, Default)]
struct ChildVitals {
    starts: u64,
    pid: Option<u32>,
    peers: BTreeSet<NodeId>,
    of_this_process: Totals,
    of_earlier_ones: Totals,
}

#[derive(Clone, Debug, Default)]
struct Totals {
    links: BTreeMap<NodeId, LinkCounters>,
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
    pub(crate) fn child_started(&mut self, child: Child, pid: u32) -> Start {
        let vitals = self.of(child);
        vitals.starts += 1;
        vitals.pid = Some(pid);
        if vitals.starts == 1 {
            return Start::First;
        }
        let of_this_process = std::mem::take(&mut vitals.of_this_process);
        vitals.of_earlier_ones = std::mem::take(&mut vitals.of_earlier_ones).and(&of_this_process);
        let lost = std::mem::take(&mut vitals.peers);
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
        !self.net_client.peers.contains(&peer) && !self.net_server.peers.contains(&peer)
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
        self.of(child).of_this_process =
            Totals { links: links.iter().copied().collect(), refused: refused.into_iter().collect() };
    }

    /// A peer misbehaved; logged when it is the first time in this way.
    pub(crate) fn fault(&mut self, fault: Fault) {
        let count = self.faults.entry((fault.kind, fault.peer)).or_default();
        *count += 1;
        if *count == 1 {
            let (peer, kind) = (Name::Node(fault.peer), fault.kind.name());
            log::warn!("{peer} is at fault: {kind}; from now on this is counted, not logged");
        }
    }

    /// A core's status at this time of the node's, with what only we know.
    pub(crate) fn complete(&self, now: Time, status: NodeStatus) -> NodeStatus {
        let ids = |peers: &BTreeSet<NodeId>| peers.iter().map(|peer| peer.0).collect();
        let Totals { links, .. } = self.net_client.totals();
        let Totals { mut refused, .. } = self.net_server.totals();
        add_counts(&mut refused, &status.refused.into_iter().collect());
        let mut faults: BTreeMap<FaultKind, u64> = BTreeMap::new();
        for ((kind, _), count) in &self.faults {
            *faults.entry(*kind).or_default() += count;
        }
        NodeStatus {
            peers_up: ids(&self.peers_up()),
            peers_out: ids(&self.net_client.peers),
            peers_in: ids(&self.net_server.peers),
            up_ms: now.0 / 1_000,
            bytes_sent: links.values().map(|link| link.bytes).sum(),
            frames_dropped: links.values().map(|link| link.dropped).sum(),
            restarts: self.net_client.restarts() + self.net_server.restarts(),
            faults: faults.into_iter().map(|(kind, count)| (kind.name().to_string(), count)).collect(),
            refused: refused.into_iter().collect(),
            ..status
        }
    }

    /// What we know that is in no status, for those who scrape.
    pub(crate) fn figures(&self) -> Snapshot {
        let children = [(Child::NetClient, &self.net_client), (Child::NetServer, &self.net_server)];
        let figures = |vitals: &ChildVitals| ChildFigures {
            pid: vitals.pid,
            restarts: vitals.restarts(),
            ..ChildFigures::default()
        };
        Snapshot {
            links: children.iter().map(|(child, vitals)| (*child, vitals.totals().links)).collect(),
            faults: self.faults.clone(),
            clients: self.clients.len() as u64,
            children: children.iter().map(|(child, vitals)| (*child, figures(vitals))).collect(),
            ..Snapshot::default()
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

impl ChildVitals {
    fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }

    /// What all its processes have counted.
    fn totals(&self) -> Totals {
        self.of_earlier_ones.clone().and(&self.of_this_process)
    }
}

impl Totals {
    /// Both together; what waits is what waits in the later process.
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
    fn totals_outlive_a_restart() {
        let mut vitals = Vitals::default();
        assert_eq!(vitals.child_started(Child::NetClient, 1), Start::First);
        assert_eq!(vitals.child_started(Child::NetServer, 2), Start::First);
        vitals.counted(Child::NetClient, &link(100, 1), vec![]);
        vitals.counted(Child::NetClient, &link(150, 2), vec![]);
        vitals.counted(Child::NetServer, &link(9, 9), vec![("full".into(), 3)]);
        vitals.child_started(Child::NetClient, 1);
        vitals.child_started(Child::NetServer, 2);
        vitals.counted(Child::NetClient, &link(10, 0), vec![]);
        vitals.counted(Child::NetServer, &[], vec![("full".into(), 1), ("late".into(), 2)]);
        let status = vitals.complete(Time(0), NodeStatus::default());
        assert_eq!((status.bytes_sent, status.frames_dropped, status.restarts), (160, 2, 2));
        assert_eq!(status.refused, [("full".to_string(), 4), ("late".to_string(), 2)]);
        let figures = vitals.figures();
        assert_eq!(figures.links[&Child::NetClient][&PEER].bytes, 160);
        assert_eq!(figures.children[&Child::NetServer].restarts, 1);
    }

    #[test]
    fn what_waited_in_a_dead_process_waits_no_more() {
        let mut vitals = Vitals::default();
        let waiting = LinkCounters { data_sent: 5, unconfirmed: 3, queued_bytes: 900, ..Default::default() };
        vitals.child_started(Child::NetClient, 1);
        vitals.counted(Child::NetClient, &[(PEER, waiting)], vec![]);
        assert_eq!(vitals.figures().links[&Child::NetClient][&PEER], waiting);
        vitals.child_started(Child::NetClient, 2);
        let left = LinkCounters { data_sent: 5, ..Default::default() };
        assert_eq!(vitals.figures().links[&Child::NetClient][&PEER], left);
    }

    #[test]
    fn a_peer_is_down_when_neither_child_has_a_session() {
        let mut vitals = Vitals::default();
        for child in [Child::NetClient, Child::NetServer] {
            vitals.child_started(child, 1);
            vitals.peer_up(child, PEER);
        }
        assert!(!vitals.is_last_session_down(Child::NetClient, PEER));
        let status = vitals.complete(Time(7_000), NodeStatus::default());
        assert_eq!((status.peers_up, status.peers_out, status.peers_in), (vec![2], vec![], vec![2]));
        assert_eq!(status.up_ms, 7);
        vitals.client_spoke(ClientId(5));
        let ended = Ended { clients: vec![ClientId(5)], peers: vec![PEER] };
        assert_eq!(vitals.child_started(Child::NetServer, 2), Start::Again(ended));
        assert_eq!(vitals.complete(Time(0), NodeStatus::default()).peers_up, [] as [u16; 0]);
        assert!(vitals.is_last_session_down(Child::NetServer, PEER));
    }

    #[test]
    fn faults_are_counted_by_kind() {
        let mut vitals = Vitals::default();
        for peer in [1, 2, 1] {
            vitals.fault(Fault { peer: NodeId(peer), kind: FaultKind::Malformed });
        }
        vitals.fault(Fault { peer: PEER, kind: FaultKind::NotAMember });
        let status = vitals.complete(Time(0), NodeStatus::default());
        assert_eq!(status.faults, [("malformed".to_string(), 3), ("not_a_member".to_string(), 1)]);
        assert_eq!(vitals.figures().faults[&(FaultKind::Malformed, NodeId(1))], 2);
    }
}
