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
        while let Some(letter) = self.net.take_first(|letter| pick.matches(letter)) {
            self.hand_over(letter);
        }
    }

    /// Delivers everything but letters like any of these, until nothing else is left.
    pub fn deliver_except(&mut self, held: &[Pick]) {
        let free = |letter: &Letter| !held.iter().any(|pick| pick.matches(letter));
        while let Some(letter) = self.net.take_first(free) {
            self.hand_over(letter);
        }
    }

    /// Delivers letters like these that are under way now, the newest first.
    pub fn deliver_backwards(&mut self, pick: &Pick) {
        let picked = self.net.take_all(|_, letter| pick.matches(letter));
        picked.into_iter().rev().for_each(|letter| self.hand_over(letter));
    }

    /// Loses letters like these that are under way: a process died with them.
    pub fn lose(&mut self, pick: &Pick) {
        self.net.take_all(|_, letter| pick.matches(letter));
    }

    /// Loses letters like these from now on, those under way included.
    pub fn lose_always(&mut self, pick: Pick) {
        self.net.lose_always(move |letter| pick.matches(letter));
    }

    /// Loses nothing any more.
    pub fn lose_no_more(&mut self) {
        self.net.lose_no_more();
    }

    /// Letters under way like these.
    pub fn under_way(&self, pick: &Pick) -> Vec<Letter> {
        self.net.under_way().filter(|letter| pick.matches(letter)).cloned().collect()
    }

    /// A new process of `peer` says hello to `member`.
    pub fn peer_up(&mut self, member: Index, peer: Index) {
        self.step(member, |seat, now| seat.peer_up(now, peer));
    }

    /// A child of the member died, with what it carried.
    pub fn child_restarted(&mut self, member: Index) {
        self.step(member, Seat::child_restarted);
    }

    /// Whether a member executes what it decides.
    pub fn execution(&mut self, member: Index, execution: Execution) {
        self.step(member, |seat, now| {
            seat.execution = execution;
            seat.settle(now);
        });
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
        self.members().into_iter().for_each(|member| self.step(member, Seat::tick));
    }

    /// Heals the network: all that is under way arrives, time passes, links ping. Checks that within a bound all
    /// honest members have decided up to `round` and know its header to be certified, and that nothing went wrong.
    pub fn settle(&mut self, round: u64) -> Result<(), Violation> {
        for _ in 0..SETTLE_WAKEUPS_MAX {
            // A broken protocol may never fall silent.
            while self.check().is_ok()
                && let Some((_, letter)) = self.net.pop()
            {
                self.hand_over(letter);
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

    pub(super) fn hand_over(&mut self, letter: Letter) {
        match letter.parcel() {
            Parcel::LaneCertificate(lane, tip) => {
                if self.certified.get(&(*lane, tip.seq)) == Some(&tip.digest) {
                    self.step(letter.to, |seat, now| seat.learn(now, *lane, *tip));
                }
            }
            Parcel::Round(_) | Parcel::Block(_) => {
                self.step(letter.to, |seat, now| seat.receive(now, &letter))
            }
        }
    }

    /// A member does a step: posts what it sends, answers what it wants, and checks what it did.
    pub(super) fn step(&mut self, member: Index, step: impl FnOnce(&mut Seat, Time)) {
        step(&mut self.seats[place(member)], self.now);
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
        let under_way = self.net.under_way().any(|letter| letter.to == member && *letter.parcel() == parcel);
        if !under_way {
            self.post(from, To::Member(self.node(member)), parcel);
        }
    }

    /// Posts a message of a member, except to itself.
    pub(super) fn post(&mut self, from: Index, to: To, parcel: Parcel) {
        let mut letters = self.seal(from, to, parcel);
        letters.retain(|letter| !self.net.loses(letter));
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
        for letter in letters {
            if self.traitors.contains(&letter.from) || self.traitors.contains(&letter.to) {
                self.overheard.push(letter.clone());
            }
            self.net.send_surely(self.now, letter);
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
