//! The network of the bench, and its time.

use wire::ids::{Index, NodeId, Round, ShardId};

use crate::crypto::suite::{CoinName, CoinShare};
use crate::cut::Tip;
use crate::effects::To;
use crate::mvba::MvbaMessage;
use crate::sim::bench::letter::{Letter, Parcel, Pick};
use crate::sim::bench::seat::{Out, Seat};
use crate::sim::bench::{Bench, Execution, Violation, place};
use crate::time::{Span, Time};

/// Wake-ups that [`Bench::settle`] waits for before it gives up: with waits of up to 10 s, some minutes.
const SETTLE_WAKEUPS_MAX: usize = 300;

impl Bench {
    /// Delivers letters like these in the order of posting, with those that are posted meanwhile, until none is left.
    pub fn deliver(&mut self, pick: Pick) {
        while let Some(at) = self.letters.iter().position(|letter| pick.matches(letter)) {
            self.deliver_at(at);
        }
    }

    /// Delivers everything but letters like any of these, until nothing else is left.
    pub fn deliver_except(&mut self, held: &[Pick]) {
        let free = |letter: &Letter| !held.iter().any(|pick| pick.matches(letter));
        while let Some(at) = self.letters.iter().position(free) {
            self.deliver_at(at);
        }
    }

    /// Delivers letters like these that are under way now, the newest first.
    pub fn deliver_backwards(&mut self, pick: &Pick) {
        for letter in self.under_way(pick).into_iter().rev() {
            self.letters.retain(|other| other.number != letter.number);
            self.hand_over(letter);
        }
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

    /// Letters under way like these.
    pub fn under_way(&self, pick: &Pick) -> Vec<Letter> {
        self.letters.iter().filter(|letter| pick.matches(letter)).cloned().collect()
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

    /// Whether a member executes what it decides.
    pub fn execution(&mut self, member: Index, execution: Execution) {
        let seat = &mut self.seats[place(member)];
        seat.execution = execution;
        seat.settle(self.now);
        self.collect(member);
    }

    /// Everybody honest pings everybody, as links do once a second.
    pub fn ping(&mut self) {
        for peer in self.honest() {
            self.ping_of(peer, self.decided(peer));
        }
    }

    /// A ping of a member, which claims to have decided so much.
    pub fn ping_of(&mut self, peer: Index, decided: Round) {
        for member in self.members().into_iter().filter(|member| *member != peer) {
            self.seats[place(member)].peer_decided(self.now, peer, decided);
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

    /// Heals the network: all that is under way arrives, time passes, links ping. Checks that within a bound all
    /// honest members have decided up to `round` and know its header to be certified, and that nothing went wrong.
    pub fn settle(&mut self, round: u64) -> Result<(), Violation> {
        for _ in 0..SETTLE_WAKEUPS_MAX {
            // A broken protocol may never fall silent.
            while !self.letters.is_empty() && self.check().is_ok() {
                self.deliver_at(0);
            }
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

    /// Lets time pass until somebody has something to do.
    pub(super) fn wake_next(&mut self) {
        let due = self.seats.iter().filter_map(Seat::next_wakeup).min();
        let due = due.unwrap_or(self.now + Span::from_ms(1_000)).max(self.now);
        let second = |time: Time| time.0 / 1_000_000;
        if second(due) > second(self.now) {
            self.ping();
        }
        self.sleep(due - self.now);
    }

    fn deliver_at(&mut self, at: usize) {
        let letter = self.letters.remove(at);
        self.hand_over(letter);
    }

    pub(super) fn hand_over(&mut self, letter: Letter) {
        let seat = &mut self.seats[place(letter.to)];
        match letter.parcel() {
            Parcel::LaneCertificate(lane, tip) => {
                if self.certified.get(&(*lane, tip.seq)) == Some(&tip.digest) {
                    seat.learn(self.now, *lane, *tip);
                }
            }
            Parcel::Round(_) | Parcel::Block(_) => seat.receive(self.now, &letter),
        }
        self.collect(letter.to);
    }

    /// Posts what a member sends, answers what it wants, and checks what it did.
    pub(super) fn collect(&mut self, member: Index) {
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
        let mut others = self.honest().into_iter().chain(self.traitors.iter().copied());
        let Some(from) = others.find(knows) else { return };
        let parcel = Parcel::LaneCertificate(lane, tip);
        let under_way = self.letters.iter().any(|letter| letter.to == member && *letter.parcel() == parcel);
        if !under_way {
            self.post(from, To::Member(self.node(member)), parcel);
        }
    }

    /// Posts a message of a member, except to itself.
    pub(super) fn post(&mut self, from: Index, to: To, parcel: Parcel) {
        let mut letters = self.seal(from, to, parcel);
        letters.retain(|letter| !self.lost.iter().any(|pick| pick.matches(letter)));
        self.post_sealed(letters);
    }

    pub(super) fn seal(&self, from: Index, to: To, parcel: Parcel) -> Vec<Letter> {
        let recipients: Vec<Index> = match to {
            To::All | To::Others => self.committee.indices().filter(|member| *member != from).collect(),
            To::Member(node) => vec![self.committee.index_of(node)],
        };
        Letter::to_each(from, &recipients, parcel)
    }

    pub(super) fn post_sealed(&mut self, letters: Vec<Letter>) {
        if let Some((letter, (round, _, message))) =
            letters.first().and_then(|letter| Some((letter, letter.agreement()?)))
        {
            if !self.traitors.contains(&letter.from) {
                self.checker.view_reached(round, message.view());
            }
            if let MvbaMessage::CoinShare { view, share } = message {
                self.give_away(letter.from, CoinName { round, view: *view }, *share);
            }
        }
        for mut letter in letters {
            letter.number = self.posted;
            self.posted += 1;
            if self.traitors.contains(&letter.from) || self.traitors.contains(&letter.to) {
                self.overheard.push(letter.clone());
            }
            self.letters.push(letter);
        }
    }

    /// The adversary learns a coin share as soon as it is sent.
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

    pub(super) fn node(&self, member: Index) -> NodeId {
        self.committee.node_at(ShardId(0), member)
    }

    pub(super) fn stalled(&self) -> Violation {
        let at =
            |member: &Index| (*member, self.decided(*member), self.seats[place(*member)].rounds.waiting());
        Violation::Stalled(format!("{:?}", self.honest().iter().map(at).collect::<Vec<_>>()))
    }
}
