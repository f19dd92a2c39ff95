//! A bench for scripts against agreement: the members of one shard, a network that delivers what the script says, and
//! checks that hold whatever it says.
//!
//! Model: every member runs [`crate::round::Rounds`] and [`crate::block::BlockVotes`] as the core does; lanes are an
//! oracle ([`Bench::certify`], [`Bench::tell`]), and blocks execute to the digest of their cut. Letters wait until the
//! script delivers, holds or loses them; held and undelivered ones may arrive at any later time, which is all that an
//! asynchronous network may do. *Traitors* are members whose messages the script may suppress and to which it may add
//! others, signed through their own suites only. Time stands still but for [`Bench::sleep`] and [`Bench::settle`].
//!
//! Checked after every step, for members that are no traitors: agreement on cuts and headers; that a decided cut
//! follows the one before it and has certified tips only; that nobody honest is blamed by anybody honest; that a round
//! takes at most [`VIEWS_MAX`] views. [`Bench::settle`] heals the network and checks that everybody decides.
//!
//! A script is a list of steps that reads like the argument it stages:
//!
//! ```
//! use bft::sim::bench::{Bench, Kind, all, only};
//!
//! let mut bench = Bench::new(4, 1);
//! let [a, b, c, _] = bench.cast(&[]);
//! bench.advance_all();
//! bench.hold(only(Kind::Lock).from(&[a]));
//! bench.deliver(all().to(&[b, c]));
//! bench.settle(1).unwrap();
//! ```

mod check;
mod letter;
mod schedule;
mod seat;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use wire::committee::{Committee, Protocol};
use wire::ids::{Digest, Index, NodeId, Round, Seq, View};

use crate::crypto::deal::{deal_committee, seeded_entropy};
use crate::crypto::hash_suite::HashSuite;
use crate::crypto::real::RealSuite;
use crate::crypto::suite::{CoinName, CoinShare, Statement, Suite};
use crate::cut::{Cut, Tip};
use crate::effects::To;
use crate::fault::Fault;
use crate::member::Member;
use crate::mvba::{Halt, MvbaMessage};
use crate::round::RoundMessage;
use crate::time::{Span, Time};

pub use check::{VIEWS_MAX, Violation};
pub use letter::{Kind, Letter, Parcel, Pick, SPB, all, only};
pub use schedule::{Order, Schedule};
pub use seat::Execution;

use check::Checker;
use seat::{Out, Seat};

/// Steps of virtual time that [`Bench::settle`] takes before it gives up: with waits of up to 10 s, some minutes.
const SETTLE_WAKEUPS_MAX: usize = 300;

/// The bench.
#[derive(Debug)]
pub struct Bench {
    committee: Arc<Committee>,
    suites: Vec<Arc<dyn Suite>>,
    seats: Vec<Seat>,
    traitors: BTreeSet<Index>,
    /// In the order of posting.
    letters: Vec<Letter>,
    posted: u64,
    held: Vec<Pick>,
    lost: Vec<Pick>,
    /// What traitors have received, for the script to use.
    intercepted: Vec<Letter>,
    certified: BTreeMap<(Index, Seq), Digest>,
    /// Coin shares that have been sent, and the leaders that these give away to the adversary.
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

    /// `n` members whose coins fall as a script needs them: `wanted` is asked about the leaders of the first four
    /// views of round 1. The protocol cannot look ahead so; a script may, to choose the day of its attack.
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
            Seat::new(Member::new(committee.clone(), suite.clone(), node))
        };
        Bench {
            seats: suites.iter().zip(committee.nodes()).map(member).collect(),
            suites,
            traitors: BTreeSet::new(),
            letters: Vec::new(),
            posted: 0,
            held: Vec::new(),
            lost: Vec::new(),
            intercepted: Vec::new(),
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

    /// Everybody but the traitors.
    pub fn honest(&self) -> Vec<Index> {
        self.committee.indices().filter(|member| !self.traitors.contains(member)).collect()
    }

    /// The leader that a coin elects, whether or not anybody can know it yet.
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

    /// Makes members traitors: at most f of them.
    pub fn betray(&mut self, traitors: &[Index]) {
        self.traitors.extend(traitors);
        assert!(self.traitors.len() <= self.committee.f(), "more traitors than f");
    }

    /// Makes members traitors that say nothing at all.
    pub fn mute(&mut self, traitors: &[Index]) {
        self.betray(traitors);
        if !traitors.is_empty() {
            self.lose_always(all().from(traitors));
        }
    }

    // Lanes.

    /// Certifies the next entry of a lane; nobody knows it yet. The digest is a matter of the place.
    pub fn certify(&mut self, lane: Index) -> Tip {
        let known = self.certified.keys().filter(|(of, _)| *of == lane).count() as u64;
        let tip = entry(lane, Seq(known + 1));
        self.certified.insert((lane, tip.seq), tip.digest);
        self.checker.certified(lane, tip);
        tip
    }

    /// Lets members know of a certified entry.
    pub fn tell(&mut self, members: &[Index], lane: Index, tip: Tip) {
        assert_eq!(self.certified.get(&(lane, tip.seq)), Some(&tip.digest), "an entry that is certified");
        for member in members {
            self.seats[place(*member)].learn(self.now, lane, tip);
            self.collect(*member);
        }
    }

    /// Certifies the next entry of a lane and posts the certificate to everybody.
    pub fn advance(&mut self, lane: Index) -> Tip {
        let tip = self.certify(lane);
        self.tell(&[lane], lane, tip);
        self.post(lane, To::Others, Parcel::LaneCertificate(lane, tip));
        tip
    }

    /// The next entry of every lane, known to everybody at once.
    pub fn advance_all(&mut self) {
        for lane in self.members() {
            let tip = self.certify(lane);
            self.tell(&self.members(), lane, tip);
        }
    }

    /// The next entry of every lane, known to its owner only; then all give input, each another cut.
    pub fn advance_each(&mut self) {
        for lane in self.members() {
            let tip = self.certify(lane);
            self.tell(&[lane], lane, tip);
        }
        self.sleep(Span::from_ms(5));
    }

    /// The cut of a member: what it would give as input now.
    pub fn cut(&self, member: Index) -> Cut {
        self.seats[place(member)].cut()
    }

    // The network.

    /// Keeps letters like these back from now on, those under way included.
    pub fn hold(&mut self, pick: Pick) {
        self.held.push(pick);
    }

    /// Keeps nothing back any more.
    pub fn release(&mut self) {
        self.held.clear();
    }

    /// Loses letters like these that are under way: a process died with them.
    pub fn lose(&mut self, pick: &Pick) {
        self.letters.retain(|letter| !pick.matches(letter));
    }

    /// Loses letters like these from now on, those under way included.
    pub fn lose_always(&mut self, pick: Pick) {
        self.lose(&pick);
        self.lost.push(pick);
    }

    /// Loses nothing any more.
    pub fn lose_no_more(&mut self) {
        self.lost.clear();
    }

    /// Delivers letters like these in the order of posting, with those that are posted meanwhile, until none is left
    /// that is not held.
    pub fn deliver(&mut self, pick: Pick) {
        let due = |bench: &Bench, letter: &Letter| pick.matches(letter) && !bench.is_held(letter);
        while let Some(at) = self.letters.iter().position(|letter| due(self, letter)) {
            self.deliver_at(at);
        }
    }

    /// Letters under way like these.
    pub fn under_way(&self, pick: &Pick) -> Vec<Letter> {
        self.letters.iter().filter(|letter| pick.matches(letter)).cloned().collect()
    }

    /// Letters like these that traitors have received.
    pub fn intercepted(&self, pick: &Pick) -> Vec<Letter> {
        self.intercepted.iter().filter(|letter| pick.matches(letter)).cloned().collect()
    }

    fn is_held(&self, letter: &Letter) -> bool {
        self.held.iter().any(|pick| pick.matches(letter))
    }

    fn deliver_at(&mut self, at: usize) {
        let letter = self.letters.remove(at);
        self.hand_over(letter);
    }

    fn hand_over(&mut self, letter: Letter) {
        let to = letter.to;
        let seat = &mut self.seats[place(to)];
        match letter.parcel() {
            Parcel::LaneCertificate(lane, tip) => {
                if self.certified.get(&(*lane, tip.seq)) == Some(&tip.digest) {
                    seat.learn(self.now, *lane, *tip);
                }
            }
            Parcel::Round(_) | Parcel::Block(_) => seat.receive(self.now, &letter),
        }
        if self.traitors.contains(&to) {
            self.intercepted.push(letter);
        }
        self.collect(to);
    }

    /// Posts what a member sends, answers what it wants, and checks what it did.
    fn collect(&mut self, member: Index) {
        let Out { sends, wanted, decisions, faults } = std::mem::take(&mut self.seats[place(member)].out);
        for (to, parcel) in sends {
            self.post(member, to, parcel);
        }
        for (lane, tip) in wanted {
            self.answer_want(member, lane, tip);
        }
        if !self.traitors.contains(&member) {
            let seat = &self.seats[place(member)];
            self.checker.decided(member, &decisions);
            self.checker.executed(member, &seat.headers);
            self.checker.blamed(member, &faults, &self.traitors);
        }
    }

    /// Whoever knows the certificate sends it: lanes ask all members.
    fn answer_want(&mut self, member: Index, lane: Index, tip: Tip) {
        let knows =
            |other: &Index| *other != member && self.seats[place(*other)].lanes.0.contains(&(lane, tip));
        let Some(from) = self.honest().into_iter().chain(self.traitors.iter().copied()).find(knows) else {
            return;
        };
        let parcel = Parcel::LaneCertificate(lane, tip);
        let under_way = self.letters.iter().any(|letter| letter.to == member && *letter.parcel() == parcel);
        if !under_way {
            self.post(from, To::Member(self.committee.node_at(wire::ids::ShardId(0), member)), parcel);
        }
    }

    fn post(&mut self, from: Index, to: To, parcel: Parcel) {
        let recipients: Vec<Index> = match to {
            To::All | To::Others => self.committee.indices().filter(|member| *member != from).collect(),
            To::Member(node) => vec![self.committee.index_of(node)],
        };
        if let Parcel::Round(RoundMessage::Mvba { round, message }) = &parcel {
            self.checker.view_reached(*round, message.view());
            if let MvbaMessage::CoinShare { view, share } = message {
                self.give_away(from, CoinName { round: *round, view: *view }, *share);
            }
        }
        for mut letter in Letter::to_each(from, &recipients, parcel) {
            if self.lost.iter().any(|pick| pick.matches(&letter)) {
                continue;
            }
            letter.number = self.posted;
            self.posted += 1;
            self.letters.push(letter);
        }
    }

    fn give_away(&mut self, signer: Index, name: CoinName, share: CoinShare) {
        let key = (name.round, name.view);
        let shares = self.shares.entry(key).or_default();
        if self.suites[0].verify_coin_share(signer, &name, &share) {
            shares.insert(signer, share);
        }
        let shares: Vec<_> = shares.iter().map(|(signer, share)| (*signer, *share)).collect();
        if shares.len() == self.committee.quorum() && !self.leaders.contains_key(&key) {
            let leader = self.suites[0].elect(&name, &shares).expect("N−f shares elect");
            self.leaders.insert(key, leader);
        }
    }

    // Traitors.

    /// Posts whatever a traitor likes to say.
    pub fn forge(&mut self, traitor: Index, to: &[Index], parcel: &Parcel) {
        assert!(self.traitors.contains(&traitor), "only traitors forge");
        for member in to {
            self.post(traitor, To::Member(NodeId(member.0)), parcel.clone());
        }
    }

    /// The same for messages of the agreement of round 1.
    pub fn forge_mvba(&mut self, traitor: Index, to: &[Index], message: MvbaMessage) {
        self.forge(traitor, to, &Parcel::Round(RoundMessage::Mvba { round: Round(1), message }));
    }

    /// The signatures and coin shares of a traitor: the only ones a script can make.
    pub fn suite(&self, traitor: Index) -> &dyn Suite {
        assert!(self.traitors.contains(&traitor), "only traitors lend their keys");
        &*self.suites[place(traitor)]
    }

    /// A traitor's signature.
    pub fn sign(&self, traitor: Index, statement: &Statement) -> wire::ids::Signature {
        self.suite(traitor).sign(statement)
    }

    // What members do of their own accord.

    /// Whether a member executes what it decides.
    pub fn execution(&mut self, member: Index, execution: Execution) {
        let seat = &mut self.seats[place(member)];
        seat.execution = execution;
        seat.settle(self.now);
        self.collect(member);
    }

    /// A new process of `peer` says hello to `member`.
    pub fn peer_up(&mut self, member: Index, peer: Index) {
        self.seats[place(member)].peer_up(self.now, peer);
        self.collect(member);
    }

    /// A child of the member died, with what it carried.
    pub fn child_restarted(&mut self, member: Index) {
        self.seats[place(member)].child_restarted(self.now);
        self.collect(member);
    }

    /// Everybody honest pings everybody, as links do once a second.
    pub fn ping(&mut self) {
        for peer in self.honest() {
            let decided = self.decided(peer);
            for member in self.members().into_iter().filter(|member| *member != peer) {
                self.seats[place(member)].peer_decided(self.now, peer, decided);
            }
        }
    }

    /// Time passes, and everybody looks at the clock.
    pub fn sleep(&mut self, span: Span) {
        self.now = self.now + span;
        for member in self.members() {
            self.seats[place(member)].tick(self.now);
            self.collect(member);
        }
    }

    // Judgement.

    /// The last round a member has decided.
    pub fn decided(&self, member: Index) -> Round {
        self.seats[place(member)].rounds.decided()
    }

    /// The cut of the last round a member has decided.
    pub fn decided_cut(&self, member: Index) -> &Cut {
        self.seats[place(member)].rounds.cut()
    }

    /// The proof of a decision.
    pub fn halt(&self, member: Index, round: u64) -> Option<&Halt> {
        self.seats[place(member)].rounds.halt(Round(round))
    }

    /// Up to which height a member knows headers to be certified.
    pub fn certified(&self, member: Index) -> Round {
        self.seats[place(member)].votes.certified()
    }

    /// The view a member is in, if a round runs there.
    pub fn view(&self, member: Index) -> Option<View> {
        self.seats[place(member)].rounds.waiting().map(|(view, _)| view)
    }

    /// The most views that a round took anybody honest.
    pub fn views_most(&self) -> u32 {
        self.checker.views_most
    }

    /// What honest members have against others.
    pub fn faults(&self) -> &[(Index, Fault)] {
        &self.checker.faults
    }

    /// What has gone wrong so far.
    pub fn check(&self) -> Result<(), Violation> {
        self.checker.violation.clone().map_or(Ok(()), Err)
    }

    /// The leader of a view, as soon as the coin shares sent so far give it away.
    pub fn leader_known(&self, round: Round, view: View) -> Option<Index> {
        self.leaders.get(&(round, view)).copied()
    }

    /// Heals the network: all that is held arrives, time passes, links ping. Checks that within a bound all honest
    /// members have decided up to `round` and know its header to be certified, and that nothing else went wrong.
    pub fn settle(&mut self, round: u64) -> Result<(), Violation> {
        self.release();
        for _ in 0..SETTLE_WAKEUPS_MAX {
            self.deliver_while_well();
            self.check()?;
            let done = |member: &Index| {
                self.decided(*member).0 >= round && self.certified(*member) == self.decided(*member)
            };
            if self.honest().iter().all(done) {
                return Ok(());
            }
            self.wake_next();
        }
        Err(self.stalled())
    }

    /// Delivers everything, as long as no check fails: a broken protocol may never fall silent.
    fn deliver_while_well(&mut self) {
        while !self.letters.is_empty() && self.check().is_ok() {
            self.deliver_at(0);
        }
    }

    /// Lets time pass until somebody has something to do.
    fn wake_next(&mut self) {
        let due = self.seats.iter().filter_map(Seat::next_wakeup).min();
        let due = due.unwrap_or(self.now + Span::from_ms(1_000)).max(self.now);
        if due.since(Time(0)).0 / 1_000_000 > self.now.0 / 1_000_000 {
            self.ping();
        }
        self.sleep(due - self.now);
    }

    fn stalled(&self) -> Violation {
        let at =
            |member: &Index| (*member, self.decided(*member), self.seats[place(*member)].rounds.waiting());
        Violation::Stalled(format!("{:?}", self.honest().iter().map(at).collect::<Vec<_>>()))
    }
}

/// The tip of a lane at a place.
fn entry(lane: Index, seq: Seq) -> Tip {
    let hash = Sha256::new().chain_update(lane.0.to_le_bytes()).chain_update(seq.0.to_le_bytes());
    Tip { seq, digest: Digest(hash.finalize().into()) }
}

fn place(member: Index) -> usize {
    usize::from(member.0)
}
