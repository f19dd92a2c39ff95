use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};
use wire::client::{Fate, Receipt, Rejection, Reply};
use wire::committee::Protocol;
use wire::ids::{Round, ShardId, TxId};

use super::*;
use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::real::RealSuite;
use crate::fault::FaultKind;
use crate::lane::LaneSettings;
use crate::pending::MempoolLimits;
use crate::sim::net::Net;
use crate::trace::Tracing;
use crate::transaction::{Expiry, Input, Output, Owner, Transaction, genesis_coin, tx_id};

/// Cores with the real suite, the first f of each shard liars. A message takes 1 ms.
struct Bench {
    committee: Arc<Committee>,
    members: Vec<Member>,
    liars: BTreeSet<NodeId>,
    now: Time,
    net: Net<(NodeId, Event)>,
    receipts: BTreeMap<TxId, Fate>,
    /// Headers by shard and height, as honest members have them.
    headers: BTreeMap<(ShardId, Round), Digest>,
    /// What honest members found at liars, by kind.
    faults: BTreeMap<FaultKind, u64>,
    /// Messages of liars, by recipient.
    sent: BTreeMap<NodeId, u64>,
    proofs: Vec<String>,
}

enum Member {
    Honest(Box<Core>),
    Liar(Box<Liar>),
}

impl Member {
    fn handle(&mut self, now: Time, event: Event) -> Vec<Effect> {
        match self {
            Member::Honest(core) => core.handle(now, event),
            Member::Liar(liar) => liar.handle(now, event),
        }
    }

    fn next_wakeup(&self) -> Option<Time> {
        match self {
            Member::Honest(core) => core.next_wakeup(),
            Member::Liar(liar) => liar.next_wakeup(),
        }
    }
}

impl Bench {
    fn new(n: u16, shards: u16, conduct: Conduct) -> Bench {
        let protocol = Protocol { genesis_coins: 3_000, ..Protocol::default() };
        let (committee, keys) = deal_committee(n, shards, protocol, seeded_entropy(7));
        let committee = Arc::new(committee);
        let mut liars = BTreeSet::new();
        let members = committee.nodes().zip(&keys).map(|(node, keys)| {
            let suite = RealSuite::new(&committee, node, &keys.signing, keys.coin_secret).unwrap();
            let suite: Arc<dyn Suite> = Arc::new(suite);
            let config = CoreConfig {
                committee: committee.clone(),
                node,
                lanes: LaneSettings::default(),
                mempool: MempoolLimits::default(),
                batch: 1_000,
                hash_seed: 1,
                tracing: Tracing::Off,
            };
            let core = Core::new(config.clone(), suite.clone());
            // f of each shard.
            if committee.index_of(node).0 < committee.f() as u16 {
                liars.insert(node);
                Member::Liar(Box::new(Liar::new(core, &config, suite, conduct, u64::from(node.0))))
            } else {
                Member::Honest(Box::new(core))
            }
        });
        let members = members.collect();
        Bench {
            committee,
            members,
            liars,
            now: Time(0),
            net: Net::default(),
            receipts: BTreeMap::new(),
            headers: BTreeMap::new(),
            faults: BTreeMap::new(),
            sent: BTreeMap::new(),
            proofs: Vec::new(),
        }
    }

    fn give(&mut self, node: NodeId, event: Event) {
        let is_liar = self.liars.contains(&node);
        for effect in self.members[usize::from(node.0)].handle(self.now, event) {
            match effect {
                Effect::Send { dest, body, digest, .. } => {
                    let hash = Digest(Sha256::digest(&body[..]).into());
                    assert!(digest.is_none_or(|digest| digest == hash), "a digest is that of its body");
                    for to in dest.expand(&self.committee, node) {
                        *self.sent.entry(to).or_default() += u64::from(is_liar);
                        let event = Event::Peer { from: node, digest: hash, body: body.clone() };
                        self.net.send(self.now + Span::from_ms(1), (to, event));
                    }
                }
                Effect::Fault(fault) if !is_liar => {
                    assert!(self.liars.contains(&fault.peer), "{node} blames {fault:?}");
                    *self.faults.entry(fault.kind).or_default() += 1;
                }
                Effect::Executed(report) if !is_liar => {
                    let place = (self.committee.shard_of(node), report.round);
                    let header = *self.headers.entry(place).or_insert(report.header);
                    assert_eq!(header, report.header, "{node} disagrees at {place:?}");
                }
                Effect::Reply { body, .. } if !is_liar => {
                    let Ok(Reply::Receipts(all)) = codec::decode(&body) else { panic!("receipts") };
                    for Receipt { id, fate } in all {
                        assert!(self.receipts.insert(id, fate).is_none(), "one receipt each");
                    }
                }
                Effect::Reply { client, .. } => panic!("client {client} has not asked a liar"),
                _ => {}
            }
        }
        if let Member::Liar(liar) = &mut self.members[usize::from(node.0)] {
            self.proofs.extend(liar.take_proofs());
        }
    }

    fn run_until(&mut self, end: Time) {
        loop {
            let timers = self.members.iter().zip(0u16..);
            let timer = timers.filter_map(|(member, id)| Some((member.next_wakeup()?, NodeId(id)))).min();
            let (due, node) = timer.expect("a liar acts of itself");
            match self.net.next_at().filter(|at| *at <= due) {
                Some(at) if at > end => return,
                Some(at) => {
                    let (_, (to, event)) = self.net.pop().expect("it is due");
                    self.now = self.now.max(at);
                    self.give(to, event);
                }
                None if due > end => return,
                None => {
                    self.now = self.now.max(due);
                    self.give(node, Event::Tick);
                }
            }
        }
    }

    /// Submits a transaction with a coin of each of these shards to a member of the first.
    fn submit(&mut self, node: NodeId, shards: &[ShardId], coin: u64) -> TxId {
        let amount = self.committee.protocol().genesis_amount;
        let input =
            |shard| Input { shard, coin: genesis_coin(&self.committee.testbed(), shard, coin), amount };
        let mut sorted = shards.to_vec();
        sorted.sort_unstable();
        let inputs: Vec<Input> = sorted.iter().copied().map(input).collect();
        let expiries: Vec<Expiry> =
            sorted.iter().map(|shard| Expiry { shard: *shard, round: Round(2_000) }).collect();
        let transaction = Transaction {
            inputs: &inputs,
            output_shard: shards[0],
            outputs: &[Output { owner: Owner([1; 32]), amount: amount * shards.len() as u64 }],
            expiries: &expiries,
            payload: &[],
        };
        let transaction = transaction.encode();
        let mut body = codec::encode(&Request::Submit);
        let at = list::begin(&mut body);
        list::push(&mut body, &transaction);
        list::finish(&mut body, at, 1);
        self.give(node, Event::Client { client: ClientId(1), body: Bytes::from(body) });
        tx_id(&transaction)
    }

    /// Transactions to all honest members for half a second, and what they came to some seconds later.
    fn play(n: u16, shards: u16, conduct: Conduct) -> Bench {
        let mut bench = Bench::new(n, shards, conduct);
        let mut ids = Vec::new();
        for coin in 0..25 {
            bench.run_until(Time(coin * 20_000));
            for node in bench.committee.nodes().filter(|node| !bench.liars.contains(node)).collect::<Vec<_>>()
            {
                let own = bench.committee.shard_of(node);
                let coin = coin * 100 + u64::from(node.0);
                let all: Vec<ShardId> = match shards {
                    1 => vec![own],
                    _ => vec![own, ShardId((own.0 + 1) % shards)],
                };
                ids.push(bench.submit(node, &all, coin));
            }
        }
        bench.run_until(Time(6_000_000));
        let mut finished = 0;
        for id in &ids {
            let fate = bench.receipts.get(id);
            // Nothing is signed here, so an order altered in one bit is another transaction that may spend the coin.
            let is_robbed =
                conduct == Conduct::FalseReject && fate == Some(&Fate::Rejected(Rejection::Spent));
            let is_finished = matches!(fate, Some(Fate::Finished(_)));
            assert!(is_finished || is_robbed, "{}, N = {n}: {id} is {fate:?}", conduct.name());
            finished += usize::from(is_finished);
        }
        assert!(finished * 10 >= ids.len() * 9, "{}, N = {n}: only {finished} finished", conduct.name());
        assert!(bench.proofs.is_empty(), "{:?}", bench.proofs);
        bench
    }

    fn found(&self, kind: FaultKind) -> bool {
        self.faults.get(&kind).is_some_and(|count| *count > 0)
    }
}

/// What honest members must have found at a liar that behaves like this.
fn traces(conduct: Conduct) -> &'static [FaultKind] {
    match conduct {
        // Silence, old news and reports that may be true are no proof of anything.
        Conduct::Mute | Conduct::Withhold | Conduct::Stale | Conduct::FalseReject => &[],
        Conduct::Equivocate => &[FaultKind::Equivocation],
        Conduct::Forge => &[FaultKind::BadCertificate],
        Conduct::BadShare => &[FaultKind::BadCoinShare],
        Conduct::WrongVote => &[FaultKind::WrongBlock],
        Conduct::Invalid => &[FaultKind::InvalidEntry],
        Conduct::Flood => &[FaultKind::OutOfRange],
        Conduct::Garbage => &[FaultKind::Malformed],
    }
}

#[test]
fn f_liars_of_each_conduct_bite_and_do_no_harm() {
    for conduct in Conduct::ALL {
        let sizes: &[(u16, u16)] = match conduct {
            Conduct::Withhold | Conduct::Equivocate => &[(4, 1), (7, 1)],
            // What liars of one shard forge must not deceive each other, either.
            Conduct::Forge => &[(4, 1), (7, 2)],
            _ if conduct.needs_shards() => &[(4, 2)],
            _ => &[(4, 1)],
        };
        for (n, shards) in sizes.iter().copied() {
            let bench = Bench::play(n, shards, conduct);
            for kind in traces(conduct) {
                assert!(bench.found(*kind), "{}, N = {n}: only {:?}", conduct.name(), bench.faults);
            }
            let sent: u64 = bench.sent.values().sum();
            assert_eq!(sent == 0, conduct == Conduct::Mute, "{}: {sent} messages", conduct.name());
        }
    }
}
