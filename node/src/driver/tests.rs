//! Tests of the round loop with a machine that counts.

use std::os::unix::net::UnixStream;

use wire::ids::{Round, ShardId};
use wire::ipc::{IpcRead, IpcReader};
use wire::link_rule::LinkRule;

use super::*;
use crate::inbound;
use crate::outlet::Bounds;

const CLIENT: ClientId = ClientId(7);
const UNBOUNDED: Bounds = Bounds { bytes: u64::MAX, of_one_peer_bytes: u64::MAX };

/// A machine that counts events.
#[derive(Default)]
struct Counter(u64);

impl Machine for Counter {
    fn handle(&mut self, _: Time, _: Event) -> Vec<Effect> {
        self.0 += 1;
        Vec::new()
    }

    fn next_wakeup(&self) -> Option<Time> {
        None
    }

    fn status(&self) -> NodeStatus {
        NodeStatus { finished: self.0, ..NodeStatus::default() }
    }
}

/// The messages to `net_server` for batches that waited for these times and a status request after them, each with
/// the number of events that its status counts.
fn sent(waited: &[Duration]) -> Vec<(FromCore, u64)> {
    let (sender, receiver) = inbound::queue();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let outlet = Outlet::start(Child::NetServer, ours, UNBOUNDED).unwrap();
    sender.send(Inbound::Started { child: Child::NetServer, pid: 1, outlet }).unwrap();
    for waited in waited {
        let peer_up = (ToCore::PeerUp { peer: NodeId(1) }, Bytes::from(Vec::new()));
        sender.messages_since(Instant::now() - *waited, Child::NetServer, vec![peer_up]).unwrap();
    }
    let request = (ToCore::Client { client: CLIENT }, Bytes::from(codec::encode(&Request::Status)));
    sender.messages(Child::NetServer, vec![request]).unwrap();
    let rounds = RoundsFile::create("/dev/null".as_ref(), NodeId(0), ShardId(0)).unwrap();
    let driver = std::thread::spawn(|| {
        let first = Beginning::First;
        Driver::new(Counter::default(), receiver, rounds, Silences::default(), None, first).run()
    });
    let (mut reader, mut sent) = (IpcReader::<FromCore>::new(), Vec::new());
    while !matches!(sent.last(), Some((FromCore::Reply { .. }, _))) {
        let (message, body) = reader.receive(&mut theirs).unwrap().unwrap();
        let Ok(Reply::Status(status)) = codec::decode(&body) else { panic!("a status: {message:?}") };
        sent.push((message, status.finished));
    }
    sender.send(Inbound::Stop).unwrap();
    driver.join().unwrap();
    sent
}

#[test]
fn a_peer_that_dials_us_is_dialled_and_one_that_we_dialled_is_not() {
    let (sender, receiver) = inbound::queue();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let outlet = Outlet::start(Child::NetClient, ours, UNBOUNDED).unwrap();
    sender.send(Inbound::Started { child: Child::NetClient, pid: 1, outlet }).unwrap();
    let up = |child, peer: ToCore| {
        sender.messages(child, vec![(peer, Bytes::from(Vec::new()))]).unwrap();
    };
    up(Child::NetClient, ToCore::PeerUp { peer: NodeId(1) });
    up(Child::NetServer, ToCore::PeerUp { peer: NodeId(2) });
    up(Child::NetServer, ToCore::PeerBack { peer: NodeId(3) });
    let rounds = RoundsFile::create("/dev/null".as_ref(), NodeId(0), ShardId(0)).unwrap();
    let driver = std::thread::spawn(|| {
        let first = Beginning::First;
        Driver::new(Counter::default(), receiver, rounds, Silences::default(), None, first).run()
    });
    let mut reader = IpcReader::<FromCore>::new();
    for peer in [2, 3].map(NodeId) {
        let (message, _) = reader.receive(&mut theirs).unwrap().unwrap();
        assert_eq!(message, FromCore::Dial { peer });
    }
    sender.send(Inbound::Stop).unwrap();
    driver.join().unwrap();
}

#[test]
fn rules_of_links_are_the_first_that_a_new_net_client_gets() {
    let (sender, receiver) = inbound::queue();
    let rounds = RoundsFile::create("/dev/null".as_ref(), NodeId(0), ShardId(0)).unwrap();
    let driver = std::thread::spawn(|| {
        let first = Beginning::First;
        Driver::new(Counter::default(), receiver, rounds, Silences::default(), None, first).run()
    });
    let rule = |peer, rule| sender.send(Inbound::Rule { peer: NodeId(peer), rule }).unwrap();
    rule(1, LinkRule::Cut);
    rule(2, LinkRule::Cut);
    rule(1, LinkRule::None);
    let first_message = |pid| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outlet = Outlet::start(Child::NetClient, ours, UNBOUNDED).unwrap();
        sender.send(Inbound::Started { child: Child::NetClient, pid, outlet }).unwrap();
        IpcReader::<FromCore>::new().receive(&mut theirs).unwrap().unwrap().0
    };
    // Rules that hold precede even what was queued before the first start.
    assert_eq!(first_message(1), FromCore::Rule { peer: NodeId(2), rule: LinkRule::Cut });
    assert_eq!(first_message(2), FromCore::Rule { peer: NodeId(2), rule: LinkRule::Cut });
    sender.send(Inbound::Stop).unwrap();
    driver.join().unwrap();
}

/// A machine that decides what it hears is decided.
struct Follower;

impl Machine for Follower {
    fn handle(&mut self, _: Time, event: Event) -> Vec<Effect> {
        match event {
            Event::PeerDecided { decided, .. } => {
                vec![Effect::Progress(Progress { decided, ..Progress::default() })]
            }
            _ => Vec::new(),
        }
    }

    fn next_wakeup(&self) -> Option<Time> {
        None
    }

    fn status(&self) -> NodeStatus {
        NodeStatus::default()
    }
}

#[test]
fn a_child_that_starts_again_gets_the_last_progress_first() {
    let (sender, receiver) = inbound::queue();
    let rounds = RoundsFile::create("/dev/null".as_ref(), NodeId(0), ShardId(0)).unwrap();
    let driver = std::thread::spawn(|| {
        let first = Beginning::First;
        drop(Driver::new(Follower, receiver, rounds, Silences::default(), None, first).run())
    });
    let start = |child, pid| {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outlet = Outlet::start(child, ours, UNBOUNDED).unwrap();
        sender.send(Inbound::Started { child, pid, outlet }).unwrap();
        theirs
    };
    let first_message = |mut theirs: UnixStream| {
        theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut reader = IpcReader::<FromCore>::new();
        assert_eq!(reader.read_from(&mut theirs).unwrap(), IpcRead::Some, "a message comes within the time");
        reader.pop().unwrap().unwrap().0
    };
    let of_round = |round| FromCore::Progress(Progress { decided: Round(round), ..Progress::default() });
    let server = start(Child::NetServer, 1);
    let decided = |round| {
        let message = ToCore::PeerDecided { peer: NodeId(1), decided: Round(round) };
        sender.messages(Child::NetServer, vec![(message, Bytes::from(Vec::new()))]).unwrap();
    };
    decided(4);
    assert_eq!(first_message(server), of_round(4));
    for (child, pid) in [(Child::NetServer, 2), (Child::NetClient, 3), (Child::NetClient, 4)] {
        assert_eq!(first_message(start(child, pid)), of_round(4), "{}", child.name());
    }
    sender.send(Inbound::Stop).unwrap();
    driver.join().unwrap();
}

#[test]
fn a_lagging_loop_hands_over_its_status_before_waiting_batches() {
    let (short, long) = (LAG_MIN / 4, 10 * LAG_MIN);
    // The first event is a tick.
    assert_eq!(sent(&[short, short]), [(FromCore::Reply { client: CLIENT }, 3)]);
    let sent = sent(&[short, long, long]);
    assert_eq!(sent[0], (FromCore::Status, 2));
    assert_eq!(sent.len(), 2, "two lagging batches in a row make one status: {sent:?}");
}
