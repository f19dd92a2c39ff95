//! Random schedules with Byzantine owners, an oracle instead of agreement, and checks of the lanes' promises.

use std::collections::{BTreeMap, BTreeSet};

use wire::ids::{Digest, Index, Round, Seq, Signature};

use super::net::{INVALID, Net, final_of, forge, send};
use crate::crypto::cert::Certificate;
use crate::cut::{Cut, Tip};
use crate::lane::entry::Entry;
use crate::lane::{LaneMessage, LaneSend, LaneSettings};
use crate::prng::Prng;
use crate::time::Span;

type Position = (usize, u64);

/// Honest members `0..honest`, Byzantine ones from there on.
struct Bench {
    net: Net,
    prng: Prng,
    honest: usize,
    /// Decided cuts by round, from the genesis.
    cuts: Vec<Cut>,
    /// By member, the rounds decided and executed there.
    progress: Vec<(usize, usize)>,
    /// Blocks by round, as the first to assemble them saw them.
    blocks: BTreeMap<usize, Vec<(u16, u64, Vec<u8>)>>,
    /// The digests that honest members signed, by signer and position.
    signed: BTreeMap<(usize, Position), Digest>,
    /// Certified digests, by position.
    certified: BTreeMap<Position, Digest>,
    /// Entries of Byzantine owners.
    forged: Vec<Entry>,
    /// Votes for them.
    votes: BTreeMap<(Position, Digest), BTreeMap<Index, Signature>>,
}

impl Bench {
    fn new(n: u16, seed: u64) -> Bench {
        let settings = LaneSettings { pipeline: 3, kept_bytes_max: 4_000, ..LaneSettings::default() };
        let net = Net::with(n, settings);
        Bench {
            prng: Prng::new(seed),
            honest: usize::from(n) - net.committee.f(),
            cuts: vec![net.genesis()],
            progress: vec![(0, 0); usize::from(n)],
            blocks: BTreeMap::new(),
            signed: BTreeMap::new(),
            certified: BTreeMap::new(),
            forged: Vec::new(),
            votes: BTreeMap::new(),
            net,
        }
    }

    fn pick(&mut self, bound: usize) -> usize {
        self.prng.below(bound as u64) as usize
    }

    fn step(&mut self) {
        match self.pick(100) {
            0..70 => self.deliver(),
            70..80 => {
                let at = self.pick(self.honest);
                let payload = vec![at as u8; self.pick(400)];
                if self.net.parties[at].room().is_some_and(|room| payload.len() <= room) {
                    self.net.append(at, &payload);
                }
            }
            80..87 => self.forge(),
            87..91 => self.certify_forged(),
            91..93 => self.decide_next(),
            93..98 => {
                let at = self.pick(self.honest);
                self.follow(at);
            }
            _ => {
                self.net.now = self.net.now + Span::from_ms(self.pick(300) as u64);
                for at in 0..self.honest {
                    self.net.act(at, |it, now| it.tick(now));
                }
            }
        }
        self.check_certificates();
    }

    /// Delivers some message, or loses it.
    fn deliver(&mut self) {
        let prng = &mut self.prng;
        let Some((from, to, sent)) = self.net.take(|length| prng.below(length as u64) as usize) else {
            return;
        };
        let (from, to) = (usize::from(from.0), usize::from(to.0));
        if from < self.honest {
            self.check_echo(from, &sent);
        }
        if to >= self.honest {
            self.note_vote(&sent);
        } else if self.pick(50) > 0 {
            self.net.give(from, to, &sent);
        }
    }

    fn check_echo(&mut self, from: usize, sent: &LaneSend) {
        if let LaneSend::Message(LaneMessage::Echo { owner, seq, digest, .. }) = sent {
            let position = (usize::from(owner.0), seq.0);
            let first = *self.signed.entry((from, position)).or_insert(*digest);
            assert_eq!(first, *digest, "member {from} signs once for {position:?}");
        }
    }

    fn note_vote(&mut self, sent: &LaneSend) {
        if let LaneSend::Message(LaneMessage::Echo { owner, seq, digest, signature }) = sent {
            let votes = self.votes.entry(((usize::from(owner.0), seq.0), *digest)).or_default();
            // The signature determines the signer: each honest signature is recomputed.
            let tip = Tip { seq: *seq, digest: *digest };
            let signers = 0..self.honest;
            let signer =
                signers.into_iter().find(|at| self.net.sign(*at, tip, usize::from(owner.0)) == *signature);
            votes.insert(Index(signer.expect("honest members sign for themselves") as u16), *signature);
        }
    }

    /// A Byzantine owner extends some branch and sends it to some members.
    fn forge(&mut self) {
        let owner = self.honest + self.pick(self.net.parties.len() - self.honest);
        let own: Vec<Tip> =
            self.forged.iter().filter(|it| usize::from(it.owner.0) == owner).map(Entry::tip).collect();
        let recent = own.len().saturating_sub(4);
        let parent = match self.pick(6) {
            0 => Tip::default(),
            _ if own.is_empty() => Tip::default(),
            _ => own[recent + self.pick(own.len() - recent)],
        };
        let first = if self.pick(20) == 0 { INVALID } else { self.pick(200) as u8 };
        let mut payload = vec![first];
        payload.resize(1 + self.pick(600), 0);
        let entry = forge(owner, parent, &payload);
        for to in 0..self.honest {
            if self.pick(4) > 0 {
                self.net.give(owner, to, &send(&entry));
            }
        }
        self.forged.push(entry);
    }

    /// Byzantine members complete all certificates they can and send them to some members.
    fn certify_forged(&mut self) {
        let quorum = self.net.committee.quorum();
        let positions: Vec<_> = self.votes.keys().copied().collect();
        for ((owner, seq), digest) in positions {
            let tip = Tip { seq: Seq(seq), digest };
            let mut votes = self.votes[&((owner, seq), digest)].clone();
            for at in self.honest..self.net.parties.len() {
                votes.insert(Index(at as u16), self.net.sign(at, tip, owner));
            }
            if votes.len() < quorum {
                continue;
            }
            let certificate = Certificate(votes.into_iter().take(quorum).collect());
            for to in 0..self.honest {
                if self.pick(3) == 0 {
                    self.net.give(self.honest, to, &final_of(owner, tip, certificate.clone()));
                }
            }
        }
    }

    /// Agreement, as an oracle: decides the proposal of some honest member that is up to date.
    fn decide_next(&mut self) {
        let last = self.cuts.len() - 1;
        let current: Vec<usize> = (0..self.honest).filter(|at| self.progress[*at].0 == last).collect();
        if current.is_empty() {
            return;
        }
        let proposer = current[self.pick(current.len())];
        let mut cut = self.net.cut(proposer);
        self.lower_a_tip(proposer, &mut cut);
        if cut.may_follow(&self.cuts[last]) {
            self.cuts.push(cut);
        }
    }

    /// A Byzantine proposer may name any entry that a certificate covers.
    fn lower_a_tip(&mut self, at: usize, cut: &mut Cut) {
        let lane = self.pick(cut.0.len());
        let certified: Vec<_> = self.net.parties[at].chains[lane].all_certified().collect();
        if self.pick(3) == 0 && !certified.is_empty() {
            let (seq, digest) = certified[self.pick(certified.len())];
            if seq > self.cuts[self.cuts.len() - 1].0[lane].seq {
                cut.0[lane] = Tip { seq, digest };
            }
        }
    }

    /// One member decides and executes as far as it can.
    fn follow(&mut self, at: usize) {
        let (decided, _) = self.progress[at];
        if decided + 1 < self.cuts.len() {
            let cut = self.cuts[decided + 1].clone();
            self.net.decide([at], decided as u64 + 1, &cut);
            self.progress[at].0 += 1;
        }
        while self.progress[at].1 < self.progress[at].0 {
            let round = self.progress[at].1 + 1;
            let Some(block) = self.net.block(at, &self.cuts[round - 1], &self.cuts[round]) else { return };
            assert!(
                block.iter().all(|(.., payload)| payload.first() != Some(&INVALID)),
                "only valid entries"
            );
            assert_eq!(
                self.blocks.entry(round).or_insert_with(|| block.clone()),
                &block,
                "one block a round"
            );
            self.net.parties[at].executed(Round(round as u64), &self.cuts[round]);
            self.progress[at].1 = round;
        }
    }

    fn check_certificates(&mut self) {
        for lanes in &self.net.parties[..self.honest] {
            for (owner, chain) in lanes.chains.iter().enumerate() {
                for (seq, digest) in chain.all_certified() {
                    let first = *self.certified.entry((owner, seq.0)).or_insert(digest);
                    assert_eq!(first, digest, "one certified entry at position {seq} of lane {owner}");
                }
            }
        }
    }

    /// From now on all messages of honest members arrive: all catch up, all honest entries are decided, no timer is
    /// left.
    fn heal(&mut self) {
        let honest = self.honest;
        self.net.filter(move |from, to, _| from < honest && to < honest);
        for _ in 0..12 {
            self.net.pass_ms(10_000);
            self.decide_next();
            for at in 0..honest {
                for _ in 0..=self.cuts.len() {
                    self.follow(at);
                }
            }
            self.check_certificates();
        }
        let rounds = self.cuts.len() - 1;
        assert!(
            (0..honest).all(|at| self.progress[at] == (rounds, rounds)),
            "{:?} of {rounds}",
            self.progress
        );
        assert!((0..honest).all(|at| self.net.parties[at].own_open() == 0), "no honest entry is left behind");
        let honest_peers: BTreeSet<u16> = (0..honest as u16).collect();
        let mut blamed = self.net.faults.iter().map(|(_, fault)| fault.peer.0);
        assert!(blamed.all(|peer| !honest_peers.contains(&peer)), "nobody honest is blamed");
    }
}

fn run(n: u16, seed: u64, steps: usize) {
    println!("N = {n}, seed {seed}");
    let mut bench = Bench::new(n, seed);
    for _ in 0..steps {
        bench.step();
    }
    bench.heal();
    assert!(bench.cuts.len() > 3, "something was decided");
}

#[test]
fn promises_hold_under_random_schedules_of_four() {
    (0..40).for_each(|seed| run(4, seed, 2_500));
}

#[test]
fn promises_hold_under_random_schedules_of_seven() {
    (0..15).for_each(|seed| run(7, seed, 4_000));
}

/// Without any single rule of the lanes some seed finds two signatures, two certificates or an invalid entry in a
/// block.
#[cfg(feature = "mutants")]
#[test]
fn without_any_single_rule_some_seed_fails() {
    use crate::mutant::{Mutant, set};

    let rules = [
        Mutant::EchoOncePerEntry,
        Mutant::EchoOnlyAboveCut,
        Mutant::EntryStaticValidity,
        Mutant::CoverFollowsParents,
    ];
    for rule in rules {
        set(Some(rule));
        let caught = (0..40).any(|seed| std::panic::catch_unwind(|| run(4, seed, 2_500)).is_err());
        set(None);
        assert!(caught, "no seed noticed that {rule:?} is off");
    }
}
