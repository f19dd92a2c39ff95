//! A bench for scripts that attack agreement: the members of one shard, a network under the script's control, and
//! checks that hold in every script.
//!
//! Model: every member runs [`crate::round::Rounds`] and [`crate::block::BlockVotes`] as the core does; lanes are an
//! oracle ([`Bench::certify`], [`Bench::learn`]), and blocks execute to the digest of their cut. Messages wait until
//! the script delivers or loses them; one that is not delivered may arrive at any later time, as in any asynchronous
//! network. *Byzantine* members are those whose messages the script may suppress and to which it may add others, signed
//! through their own suites only. Time stands still but for [`Bench::sleep`] and [`Bench::settle`].
//!
//! Checked after every step, for honest members: agreement on cuts and headers; that a decided cut follows the one
//! before it and has certified tips only; that no honest member blames another; that a round takes at most
//! [`VIEWS_MAX`] views. [`Bench::settle`] heals the network and checks that all honest members decide.
//!
//! A script is a list of steps that reads like the argument it stages:
//!
//! ```
//! use bft::sim::bench::{Bench, Kind, only};
//!
//! let mut bench = Bench::new(4, 1);
//! let [a, b, ..] = bench.cast(&[]);
//! bench.advance_each();
//! bench.deliver_except(&[only(Kind::Lock).from(&[a]), only(Kind::Finish).to(&[b])]);
//! bench.settle(1).unwrap();
//! ```

mod byzantine;
mod check;
mod message;
mod network;
mod node;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use wire::committee::{Committee, Protocol};
use wire::ids::{Digest, Index, NodeId, Round, Seq, View};

use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::real::RealSuite;
use crate::crypto::suite::{CoinName, CoinShare, Suite};
use crate::cut::{Cut, Tip};
use crate::effects::To;
use crate::fault::Fault;
use crate::member::Member;
use crate::mvba::Halt;
use crate::round::GATHER;
use crate::sim::net::Net;
use crate::time::Time;

pub use byzantine::stage;
pub use check::{VIEWS_MAX, Violation};
pub use message::{Content, Kind, Message, Pick, SPB, all, only};
pub use node::Execution;
pub use schedule::{Order, Schedule};

use check::Checker;
use node::Node;

/// The bench.
#[derive(Clone, Debug)]
pub struct Bench {
    committee: Arc<Committee>,
    suites: Vec<Arc<dyn Suite>>,
    nodes: Vec<Node>,
    byzantine: BTreeSet<Index>,
    net: Net<Message>,
    /// Messages from and to Byzantine members, for the script to use.
    seen: Vec<Message>,
    certified: BTreeMap<(Index, Seq), Digest>,
    /// Coin shares that have been sent, and the leaders that the adversary can compute from them.
    shares: BTreeMap<(Round, View), BTreeMap<Index, CoinShare>>,
    leaders: BTreeMap<(Round, View), Index>,
    checker: Checker,
    now: Time,
}

impl Bench {
    /// `n` members with the stand-in suite; the seed decides the coins.
    pub fn new(n: u16, seed: u64) -> Bench {
        let (committee, _) = deal_committee(n, 1, Protocol::default(), seeded_entropy(0));
        let suite = |node| Arc::new(HashSuite::new(&committee, node, seed)) as Arc<dyn Suite>;
        let suites = committee.nodes().map(suite).collect();
        Bench::of(committee, suites)
    }

    /// `n` members with real signatures and the real coin.
    pub fn real(n: u16, seed: u64) -> Bench {
        let (committee, secrets) = deal_committee(n, 1, Protocol::default(), seeded_entropy(seed));
        let suites =
            secrets.iter().map(|secrets| Arc::new(RealSuite::of(&committee, secrets)) as Arc<dyn Suite>);
        let suites = suites.collect();
        Bench::of(committee, suites)
    }

    /// `n` members whose coins fall as a script needs them: `wanted` checks the leaders of the first four views of
    /// round 1. The adversary cannot look ahead so; a script may, to stage the case that it needs.
    ///
    /// # Panics
    /// If no seed below 10,000 will do.
    pub fn where_leaders(n: u16, wanted: impl Fn(&[Index]) -> bool) -> Bench {
        let fits = |seed: &u64| {
            let bench = Bench::new(n, *seed);
            let leaders: Vec<Index> = (0..4).map(|view| bench.coin(1, view)).collect();
            wanted(&leaders)
        };
        let seed = (0..10_000).find(fits).expect("some seed has such coins");
        Bench::new(n, seed)
    }

    fn of(committee: Committee, suites: Vec<Arc<dyn Suite>>) -> Bench {
        let committee = Arc::new(committee);
        let member = |(suite, node): (&Arc<dyn Suite>, NodeId)| {
            Node::new(Member::new(committee.clone(), suite.clone(), node))
        };
        Bench {
            nodes: suites.iter().zip(committee.nodes()).map(member).collect(),
            suites,
            byzantine: BTreeSet::new(),
            net: Net::default(),
            seen: Vec::new(),
            certified: BTreeMap::new(),
            shares: BTreeMap::new(),
            leaders: BTreeMap::new(),
            checker: Checker::new(Cut::genesis(&committee)),
            now: Time(0),
            committee,
        }
    }

    /// The committee, for its thresholds.
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Everybody.
    pub fn members(&self) -> Vec<Index> {
        self.committee.indices().collect()
    }

    /// All members that are not Byzantine.
    pub fn honest(&self) -> Vec<Index> {
        self.committee.indices().filter(|member| !self.byzantine.contains(member)).collect()
    }

    /// The leader that a coin elects, even if no member can know it yet.
    pub fn coin(&self, round: u64, view: u32) -> Index {
        let name = CoinName { round: Round(round), view: View(view) };
        let shares: Vec<_> = self
            .committee
            .indices()
            .zip(&self.suites)
            .map(|(i, suite)| (i, suite.coin_share(&name)))
            .collect();
        let shares = &shares[..self.committee.quorum()];
        self.suites[0].elect(&name, shares).expect("N−f shares elect")
    }

    /// Roles for a script of four members: first those given, then the others.
    pub fn cast(&self, first: &[Index]) -> [Index; 4] {
        let mut roles = first.to_vec();
        roles.extend(self.committee.indices().filter(|member| !first.contains(member)));
        roles[..4].try_into().expect("four members at least")
    }

    // Lanes.

    /// Certifies the next entry of a lane; no member knows it yet. Lane and seq determine the digest.
    pub fn certify(&mut self, lane: Index) -> Tip {
        let known = self.certified.keys().filter(|(of, _)| *of == lane).count() as u64;
        let tip = entry(lane, Seq(known + 1));
        self.certified.insert((lane, tip.seq), tip.digest);
        self.checker.certified(lane, tip);
        tip
    }

    /// Lets members know of a certified entry.
    pub fn learn(&mut self, members: &[Index], lane: Index, tip: Tip) {
        assert_eq!(self.certified.get(&(lane, tip.seq)), Some(&tip.digest), "the entry is certified");
        for member in members {
            self.step(*member, |node, now| node.learn(now, lane, tip));
        }
    }

    /// Certifies the next entry of a lane and sends the certificate to all.
    pub fn advance(&mut self, lane: Index) -> Tip {
        let tip = self.certify(lane);
        self.learn(&[lane], lane, tip);
        self.send(lane, To::Others, Content::LaneCertificate(lane, tip));
        tip
    }

    /// The next entry of every lane, known to all members at once.
    pub fn advance_all(&mut self) {
        for lane in self.members() {
            let tip = self.certify(lane);
            self.learn(&self.members(), lane, tip);
        }
    }

    /// The next entry of every lane, known to its owner only; so all give different inputs. Then all know all of them.
    pub fn advance_each(&mut self) {
        let tips: Vec<Tip> = self.members().into_iter().map(|lane| self.certify(lane)).collect();
        for (lane, tip) in self.members().into_iter().zip(&tips) {
            self.learn(&[lane], lane, *tip);
        }
        self.sleep(GATHER);
        for (lane, tip) in self.members().into_iter().zip(&tips) {
            self.learn(&self.members(), lane, *tip);
        }
    }

    /// The cut of round 1 that is ahead by these entries, certified or not.
    pub fn cut_of(&self, tips: &[(Index, Tip)]) -> Cut {
        let mut cut = Cut::genesis(&self.committee);
        for (lane, tip) in tips {
            cut.0[position(*lane)] = *tip;
        }
        cut
    }

    /// The cut that a member proposes in round 1 after [`Bench::advance_each`].
    pub fn own_cut(&self, member: Index) -> Cut {
        self.cut_of(&[(member, entry(member, Seq(1)))])
    }

    /// The cut that a member would give as input now.
    pub fn cut(&self, member: Index) -> Cut {
        self.nodes[position(member)].cut()
    }

    // Results.

    /// The last round a member has decided.
    pub fn decided(&self, member: Index) -> Round {
        self.nodes[position(member)].rounds.decided()
    }

    /// The cut of the last round a member has decided.
    pub fn decided_cut(&self, member: Index) -> &Cut {
        self.nodes[position(member)].rounds.cut()
    }

    /// The proof of a decision.
    pub fn halt(&self, member: Index, round: u64) -> Option<&Halt> {
        self.nodes[position(member)].rounds.halt(Round(round))
    }

    /// Up to which height a member knows headers to be certified.
    pub fn certified(&self, member: Index) -> Round {
        self.nodes[position(member)].votes.certified()
    }

    /// The view a member is in, if a round runs there.
    pub fn view(&self, member: Index) -> Option<View> {
        self.nodes[position(member)].rounds.waiting().map(|(view, _)| view)
    }

    /// The most views that a round took at an honest member.
    pub fn views_most(&self) -> u32 {
        self.checker.views_most
    }

    /// Messages that a member has dropped since they came too early.
    pub fn too_early(&self, member: Index) -> u64 {
        self.nodes[position(member)].too_early
    }

    /// The faults that honest members noticed.
    pub fn faults(&self) -> &[(Index, Fault)] {
        &self.checker.faults
    }

    /// The first violation so far, if any.
    pub fn check(&self) -> Result<(), Violation> {
        self.checker.violation.clone().map_or(Ok(()), Err)
    }

    /// The leader of a view, as soon as the coin shares sent so far determine it.
    pub fn leader_known(&self, round: Round, view: View) -> Option<Index> {
        self.leaders.get(&(round, view)).copied()
    }
}

/// The tip of a lane at a seq.
fn entry(lane: Index, seq: Seq) -> Tip {
    let hash = Sha256::new().chain_update(lane.0.to_le_bytes()).chain_update(seq.0.to_le_bytes());
    Tip { seq, digest: Digest(hash.finalize().into()) }
}

fn position(member: Index) -> usize {
    usize::from(member.0)
}
