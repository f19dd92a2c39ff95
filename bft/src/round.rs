//! The round loop of a shard: consecutive sMVBAs, each of which decides the cut up to which the next block executes.
//!
//! Guarantees: rounds are decided in order, at most one runs at a time, and no member is left behind: a member that
//! misses a decision obtains its HALT from any member that has it, and messages that come too early wait in a bounded
//! window instead of being dropped (the prototype deadlocked at start-up because it discarded them).
//!
//! Steps: some lane is ahead of the last decided cut → input, after at most [`GATHER`] in which more lanes may advance
//! → sMVBA → HALT to all, next round. A member gives its input to a round as soon as any message of it arrives.
//!
//! No member takes part in round r, by input, answer or HALT, before it has executed r−16, so at most
//! [`ROUNDS_UNEXECUTED_MAX`] rounds are decided and not executed. Messages of r wait in the window until then, and a
//! HALT that found no room there is requested later. This rule stops no shard for good: if at most f members lag that
//! far or are faulty, no member waits for them; if more do, a round waits, but only until the honest ones have
//! executed, since N−2f honest members hold the bodies that they lack.
//!
//! A member keeps each own message of the undecided round, in all its views, and sends it again when a peer has a new
//! process, and after 1 s without progress, doubling to 10 s. It answers a message of a decided round with that round's
//! HALT, at most once a second a peer.
//!
//! Source: the round loop of Dumbo-NG (CCS 2022, §V), with sMVBA instead of its MVBA.

mod behind;
mod catch_up;
mod early;
mod halts;
mod proofs;
mod times;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::client::Waiting;
use wire::ids::{Digest, Index, NodeId, Round, View};
use wire::limits::{ROUNDS_AHEAD_MAX, ROUNDS_UNEXECUTED_MAX};

use crate::bucket::Bucket;
use crate::checkpoint::Lag;
use crate::crypto::cert::CertificateCache;
use crate::cut::{Cut, Tip};
use crate::effects::{Effects, To};
use crate::image::image;
use crate::member::Member;
use crate::mvba::{Halt, LaneCertificates, Mvba, MvbaMessage, MvbaOutput};
use crate::resend::Resend;
use crate::serving::Limiter;
use crate::time::{Span, Time};

pub use catch_up::{Answer, CATCH_UP_ROUNDS_MAX, CatchUpMessage};
pub use halts::HaltSource;
pub use times::RoundTimes;

use behind::{Behind, NO_ROUND};
use early::{Early, NotKept};
use proofs::Proofs;
use times::Stopwatch;

/// How long a node waits for N−f lanes to advance before it gives its input, so that one agreement covers more entries.
/// Affects efficiency only.
pub const GATHER: Span = Span::from_ms(5);

/// Messages of the round loop.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RoundMessage {
    /// A message of a round's agreement.
    Mvba {
        /// The round.
        round: Round,
        /// The message.
        message: MvbaMessage,
    },
    /// The proven decision of a round.
    Halt(Box<Halt>),
    /// Catch-up.
    CatchUp(CatchUpMessage),
}

/// A decided round.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// The round.
    pub round: Round,
    /// The cut of the round before.
    pub previous: Cut,
    /// The cut decided.
    pub cut: Cut,
    /// The member that had proposed it, as the coin of the deciding view elected it; for the figures.
    pub leader: Index,
    /// The source of the proof.
    pub source: HaltSource,
    /// When it was decided here.
    pub decided_at: Time,
    /// The times of its steps; for the figures.
    pub times: RoundTimes,
}

/// Outputs for the parent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoundOutput {
    /// Certificates of these entries would complete the proposal of this member.
    Wanted(Index, Vec<(Index, Tip)>),
    /// A round is decided.
    Decided(Box<Decision>),
}

type RoundEffects = Effects<RoundMessage, RoundOutput>;

/// The round loop at one member. Bounds: see `Early`, [`Mvba`]; HALTs of as many rounds as [`Rounds::new`] is given.
#[derive(Clone, Debug)]
pub struct Rounds {
    member: Member,
    decided: Round,
    executed: Round,
    lags_since: Option<Time>,
    cut: Cut,
    mvba: Mvba,
    stopwatch: Stopwatch,
    /// Set while lanes are ahead and the input waits for more of them.
    gather_until: Option<Time>,
    /// Whether a message of the running round has come from another member: then the round has begun without us.
    joined: BTreeSet<Index>,
    sent: Vec<(To, RoundMessage)>,
    resend: Resend,
    early: Early,
    /// Members that sent a false HALT: none of theirs is verified any more, and their claims of decided rounds are
    /// ignored. No honest member is among them, since a HALT that one honest member accepts is valid at every member
    /// that has decided the round before.
    barred: BTreeSet<Index>,
    proofs: Proofs,
    /// The first executed round whose entries the lanes still have.
    entries_from: Round,
    cache: CertificateCache,
    answers: Limiter,
    /// HALTs that each member may still request. At most N.
    halt_answers: BTreeMap<Index, Bucket>,
    behind: Behind,
}

image! {
    Rounds:
    given member = |given| given.member.clone();
    parts mvba;
    plain decided, executed, lags_since, cut, stopwatch, gather_until, joined, sent, resend, early, barred, proofs,
        entries_from, cache, answers, halt_answers, behind;
}

/// The context of a message.
#[derive(Clone, Copy, Debug)]
struct Envelope {
    now: Time,
    author: Index,
    /// Digest of the message's bytes.
    digest: Digest,
    /// Their number.
    size: usize,
}

impl Rounds {
    /// Before the first round.
    pub fn new(member: Member, history_rounds_max: u64) -> Rounds {
        let cut = Cut::genesis(&member.committee);
        let mvba = Mvba::new(member.clone(), Round(1), cut.clone());
        Rounds {
            member,
            decided: Round(0),
            executed: Round(0),
            lags_since: None,
            cut,
            mvba,
            stopwatch: Stopwatch::default(),
            gather_until: None,
            joined: BTreeSet::new(),
            sent: Vec::new(),
            resend: Resend::default(),
            early: Early::default(),
            barred: BTreeSet::new(),
            proofs: Proofs::new(history_rounds_max),
            entries_from: Round(1),
            cache: CertificateCache::default(),
            answers: Limiter::default(),
            halt_answers: BTreeMap::new(),
            behind: Behind::default(),
        }
    }

    /// The last decided round.
    pub fn decided(&self) -> Round {
        self.decided
    }

    /// The cut of the last decided round.
    pub fn cut(&self) -> &Cut {
        &self.cut
    }

    /// The view of the running round, and the message it waits for; `None` while no round runs here.
    pub fn waiting(&self) -> Option<(View, Waiting)> {
        self.is_running().then(|| (self.mvba.current_view(), self.mvba.waiting()))
    }

    /// The running round and its view, if we have given our input to it.
    pub fn leading(&self) -> Option<(Round, View)> {
        self.mvba.has_input().then(|| (self.decided.next(), self.mvba.current_view()))
    }

    /// The proof of a decided round, if it is still kept.
    pub fn halt(&self, round: Round) -> Option<&Halt> {
        self.proofs.get(round)
    }

    fn is_running(&self) -> bool {
        self.mvba.has_input() || !self.joined.is_empty()
    }

    /// Handles a message of a member; `digest` is that of its bytes and `size` their number.
    pub fn handle(
        &mut self,
        now: Time,
        author: Index,
        digest: Digest,
        size: usize,
        message: RoundMessage,
        lanes: &dyn LaneCertificates,
    ) -> RoundEffects {
        let envelope = Envelope { now, author, digest, size };
        let mut effects = Effects::none();
        match message {
            RoundMessage::Mvba { round, message } => {
                self.on_mvba(envelope, round, message, lanes, &mut effects);
            }
            RoundMessage::Halt(halt) => self.on_halt(envelope, *halt, lanes, &mut effects),
            RoundMessage::CatchUp(CatchUpMessage::Ask { from }) => {
                self.on_ask(now, author, from, &mut effects);
            }
            RoundMessage::CatchUp(CatchUpMessage::Halts(answer)) => {
                self.on_halts(now, author, answer, lanes, &mut effects);
            }
        }
        effects
    }

    fn on_mvba(
        &mut self,
        envelope: Envelope,
        round: Round,
        message: MvbaMessage,
        lanes: &dyn LaneCertificates,
        effects: &mut RoundEffects,
    ) {
        let Envelope { now, author, .. } = envelope;
        if round <= self.decided {
            self.answer_with_halt(now, author, round, effects);
        } else if round == self.decided.next() && self.may_run_ahead() {
            self.feed(now, author, envelope.digest, message, lanes, effects);
        } else {
            self.peer_decided(now, author, Round(round.0 - 1));
            let kept = match self.is_in_window(round) {
                true => self.early.keep_mvba(&self.member, envelope, round, message),
                false => Err(NotKept::TooEarly),
            };
            self.note_not_kept(author, kept, effects);
        }
    }

    fn note_not_kept(&self, author: Index, kept: Result<(), NotKept>, effects: &mut RoundEffects) {
        match kept {
            Ok(()) => {}
            Err(NotKept::TooEarly) => effects.too_early += 1,
            Err(NotKept::Fault(kind)) => effects.push_fault(self.member.node_at(author), kind),
        }
    }

    /// Whether messages of a future round are kept.
    fn is_in_window(&self, round: Round) -> bool {
        round.0 <= self.decided.0 + ROUNDS_AHEAD_MAX
    }

    /// Whether the running round may have our input: some lane is ahead, and N−f are, or the wait has ended, or the round
    /// has begun. `lanes_ahead` returns how many lanes may be ahead of a cut.
    pub fn is_input_due(&mut self, now: Time, lanes_ahead: impl Fn(&Cut) -> usize) -> bool {
        if self.mvba.has_input() || !self.may_run_ahead() {
            return false;
        }
        let ahead = lanes_ahead(&self.cut);
        if ahead == 0 {
            // What was ahead may have been a false claim.
            self.gather_until = None;
            return false;
        }
        let until = *self.gather_until.get_or_insert(now + GATHER);
        ahead >= self.member.committee.quorum() || !self.joined.is_empty() || now >= until
    }

    /// Gives the running round its input, if this cut may be one.
    pub fn input(&mut self, now: Time, cut: Cut, lanes: &dyn LaneCertificates) -> RoundEffects {
        self.gather_until = None;
        if !cut.may_follow(&self.cut) {
            return Effects::none();
        }
        self.stopwatch.input(now);
        let child = self.mvba.input(cut, lanes);
        let mut effects = Effects::none();
        self.absorb(now, child, lanes, &mut effects);
        effects
    }

    /// Certificates of lanes have arrived.
    pub fn reconsider(&mut self, now: Time, lanes: &dyn LaneCertificates) -> RoundEffects {
        let child = self.mvba.reconsider(lanes);
        let mut effects = Effects::none();
        self.absorb(now, child, lanes, &mut effects);
        effects
    }

    /// All blocks up to this round are executed; the lanes have the entries of those from `entries_from` on. If the
    /// running round had to wait for this, it begins now, with the messages that came early for it.
    pub fn executed(
        &mut self,
        now: Time,
        round: Round,
        entries_from: Round,
        lanes: &dyn LaneCertificates,
    ) -> RoundEffects {
        let has_waited = !self.may_run_ahead();
        self.executed = round;
        self.lags_since = (self.behind() > 0).then_some(now);
        self.entries_from = entries_from;
        let mut effects = Effects::none();
        if has_waited {
            self.begin(now, lanes, &mut effects);
        }
        self.use_ranges(now, lanes, &mut effects);
        // A request that became due meanwhile goes out now.
        self.ask_if_due(now, &mut effects);
        effects
    }

    /// A peer claims to have decided this round. The claim may be false: its only effect is that we request proofs.
    pub fn peer_decided(&mut self, now: Time, author: Index, decided: Round) {
        if !self.barred.contains(&author) {
            self.behind.learn(now, author, decided, self.decided);
            if self.lags_since.is_none() && self.behind() > 0 {
                self.lags_since = Some(now);
            }
        }
    }

    /// How many rounds we are behind, as far as f+1 members prove it; 0 if we are current.
    pub fn behind(&self) -> u64 {
        self.behind.proven(&self.member.committee).0.saturating_sub(self.executed.0)
    }

    /// The first round that some member still serves, if none serves the one that we have to execute next: then we
    /// cannot catch up.
    pub fn history_lost(&self) -> Option<Round> {
        self.behind.served_from(self.executed.next(), self.decided, &self.member.committee)
    }

    /// Everything open that concerns a peer whose process is new.
    pub fn on_peer_up(&self, peer: NodeId) -> RoundEffects {
        Effects { sends: self.sent_to(peer), ..Effects::none() }
    }

    /// Everything open, since our own sending process may have lost it.
    pub fn on_child_restarted(&mut self, now: Time) -> RoundEffects {
        self.behind.retry_now(now, self.decided());
        Effects { sends: self.sent.iter().map(others_only).collect(), ..Effects::none() }
    }

    /// Time has passed: sends messages without progress again, sends requests to peers if we lag, requests missing
    /// certificates.
    pub fn tick(&mut self, now: Time, lanes: &dyn LaneCertificates) -> RoundEffects {
        let mut effects = Effects::none();
        if self.resend.is_due(now) {
            effects.sends.extend(self.sent.iter().map(others_only));
            let wanted = self.mvba.wanted(lanes).into_iter();
            effects.outputs.extend(wanted.map(|(proposer, tips)| RoundOutput::Wanted(proposer, tips)));
        }
        self.ask_if_due(now, &mut effects);
        effects
    }

    /// When [`Rounds::tick`] is due, or an input by [`Rounds::is_input_due`]; `None` while nothing is open.
    pub fn next_wakeup(&self) -> Option<Time> {
        let gather = self.gather_until.filter(|_| self.may_run_ahead());
        [gather, self.behind.due(), self.resend.due()].into_iter().flatten().min()
    }

    /// Since when we have been behind the round that f+1 members claim to have decided, and have executed nothing.
    pub(crate) fn lags_since(&self) -> Option<Time> {
        self.lags_since
    }

    /// How we stand beside the others.
    pub(crate) fn lag(&mut self) -> Lag {
        let proven = self.behind.proven(&self.member.committee);
        let needed = self.executed.next();
        match proven >= needed {
            false => {
                // Those who claimed to be ahead were caught lying.
                self.lags_since = None;
                Lag::None
            }
            true if self.behind.is_lost(needed, &self.member.committee) => Lag::Stranded { proven },
            true => Lag::Behind,
        }
    }

    /// Asks all members which rounds they serve.
    pub(crate) fn inquire(&mut self, now: Time) -> RoundEffects {
        let mut effects = Effects::none();
        self.ask_all(now, NO_ROUND, &mut effects);
        effects
    }

    /// We have taken over the state after `round`, up to this cut, and go on from there.
    pub(crate) fn jump(
        &mut self,
        now: Time,
        round: Round,
        cut: Cut,
        lanes: &dyn LaneCertificates,
    ) -> RoundEffects {
        assert!(round > self.executed, "a state is taken over only beyond what is executed");
        if round <= self.decided {
            return self.executed(now, round, round.next(), lanes);
        }
        self.decided = round;
        self.executed = round;
        self.lags_since = (self.behind() > 0).then_some(now);
        self.entries_from = round.next();
        self.cut = cut;
        self.stopwatch = Stopwatch::default();
        // We cannot prove what we have not decided, and proofs are served without gaps.
        self.proofs.clear();
        self.behind.jumped();
        let mut effects = Effects::none();
        self.open_next(now, lanes, &mut effects);
        self.ask_if_due(now, &mut effects);
        effects
    }

    fn may_run_ahead(&self) -> bool {
        self.decided.0 < self.executed.0 + ROUNDS_UNEXECUTED_MAX
    }

    /// Passes a message to the running agreement.
    fn feed(
        &mut self,
        now: Time,
        author: Index,
        digest: Digest,
        message: MvbaMessage,
        lanes: &dyn LaneCertificates,
        effects: &mut RoundEffects,
    ) {
        if author != self.member.index {
            self.joined.insert(author);
        }
        let child = self.mvba.handle(author, digest, message, lanes);
        self.absorb(now, child, lanes, effects);
    }

    fn absorb(
        &mut self,
        now: Time,
        child: Effects<MvbaMessage, MvbaOutput>,
        lanes: &dyn LaneCertificates,
        effects: &mut RoundEffects,
    ) {
        let round = self.decided.next();
        let first_new = effects.sends.len();
        let outputs = effects.absorb(child, |message| RoundMessage::Mvba { round, message });
        if effects.sends.len() > first_new {
            self.sent.extend(effects.sends[first_new..].iter().cloned());
            self.resend.progressed(now);
        }
        for output in outputs {
            match output {
                MvbaOutput::Wanted(proposer, tips) => {
                    // The answer may get lost while we have no other message to send again.
                    self.resend.arm(now);
                    effects.outputs.push(RoundOutput::Wanted(proposer, tips));
                }
                MvbaOutput::Milestone(view, milestone) => self.stopwatch.milestone(now, view, milestone),
                // The last message of an agreement.
                MvbaOutput::Decided(halt) => {
                    let election = self.mvba.election(halt.view);
                    let (leader, _) =
                        election.expect("an agreement decides by the leader that its coin elected");
                    return self.decide(now, *halt, leader, HaltSource::Agreement, lanes, effects);
                }
            }
        }
    }

    /// Closes the running round and opens the next one with its early messages.
    fn decide(
        &mut self,
        now: Time,
        halt: Halt,
        leader: Index,
        source: HaltSource,
        lanes: &dyn LaneCertificates,
        effects: &mut RoundEffects,
    ) {
        assert_eq!(halt.round, self.decided.next(), "rounds are decided in order");
        let views = if self.is_running() { self.mvba.current_view().0 + 1 } else { 0 };
        let times = std::mem::take(&mut self.stopwatch).times(views, halt.view);
        let previous = std::mem::replace(&mut self.cut, halt.cut.clone());
        self.decided = halt.round;
        let decision = Decision {
            round: halt.round,
            previous,
            cut: self.cut.clone(),
            leader,
            source,
            decided_at: now,
            times,
        };
        effects.outputs.push(RoundOutput::Decided(Box::new(decision)));
        if source == HaltSource::Agreement {
            effects.push_send(To::Others, RoundMessage::Halt(Box::new(halt.clone())));
        }
        self.proofs.push(halt);
        self.open_next(now, lanes, effects);
        self.ask_if_due(now, effects);
    }

    fn open_next(&mut self, now: Time, lanes: &dyn LaneCertificates, effects: &mut RoundEffects) {
        let round = self.decided.next();
        self.mvba = Mvba::new(self.member.clone(), round, self.cut.clone());
        self.gather_until = None;
        self.joined.clear();
        self.sent.clear();
        self.resend.stop();
        self.behind.progressed(now, self.decided);
        self.begin(now, lanes, effects);
    }

    /// Passes the early messages of the running round to it, if we may take part.
    fn begin(&mut self, now: Time, lanes: &dyn LaneCertificates, effects: &mut RoundEffects) {
        if !self.may_run_ahead() {
            return;
        }
        let round = self.decided.next();
        let early = self.early.take(round);
        for (author, halt) in early.halts {
            // One of them may decide the round and open a further one, to which the rest does not belong.
            if !self.barred.contains(&author)
                && self.judge_halt(now, author, halt, HaltSource::Agreement, lanes, effects)
            {
                return;
            }
        }
        for (author, digest, message) in early.messages {
            if self.decided.next() == round {
                self.feed(now, author, digest, message, lanes, effects);
            }
        }
    }
}

/// A message as it is sent again: its author is this member.
fn others_only((to, message): &(To, RoundMessage)) -> (To, RoundMessage) {
    let to = match to {
        To::All | To::Others => To::Others,
        To::Member(node) => To::Member(*node),
    };
    (to, message.clone())
}
