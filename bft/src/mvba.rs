//! sMVBA: the members of a shard agree on one valid cut, whatever the network does.
//!
//! Guarantees, with at most f of N members Byzantine and every message between honest members delivered eventually:
//! - *Agreement*: no two honest members decide differently.
//! - *External validity*: an honest member found the decided cut valid (a cut that may follow the previous one, with a
//!   certificate for each lane that is ahead).
//! - *Termination*: expected constant number of views; a view decides with probability at least 2/3 when its messages
//!   arrive, since the coin elects one of the N−f members whose SPB had finished before the coin could be known.
//!
//! Steps of view v (docs/design.md §5 numbers them the same way):
//! 1. every member leads an SPB ([`crate::spb`]) with its value and the justification of it;
//! 2. with N−f FINISHes a member releases its coin share; so does one that saw f+1 valid shares;
//! 3. the coin names leader L; SPBs of v get no answers any more;
//! 4. a member with FINISH of L decides; the others PRE-VOTE yes with L's certificate 1, or no;
//! 5. on N−f PRE-VOTEs: VOTE yes if certificate 1 of L is known by now, else no with the N−f no-signatures;
//! 6. on N−f VOTEs, once the own VOTE is sent: all yes → decide; some yes → next view with that value, locked; all no →
//!    next view with the value held, its chain longer by these N−f UNLOCK signatures ([`crate::justification`]);
//! 7. a member that decides sends HALT, which proves the decision on its own.
//!
//! Why the thresholds suffice: a decided x_L has certificate 2, so f+1 honest members hold certificate 1 and pre-vote
//! yes; every N−f PRE-VOTEs contain one of theirs, so every honest VOTE is yes and N−f UNLOCKs cannot exist; hence
//! every later view can only justify x_L, since a chain leaves no view out. One coin of N−f shares needs f+1 honest
//! ones, so L is unknown until N−f SPBs have finished at some honest member.
//!
//! Views are judged each on its own: a message of view v counts as soon as the coin of v−1 is known here. Cost of a
//! view: six messages from each member to each other (five of the SPBs, a coin share), and two ballots if FINISH of L
//! is late; those with a value have the size of a cut (40 N bytes) and a certificate (66 (N−f)).
//!
//! Source: Guo et al., Speeding Dumbo, NDSS 2022, Alg. 2. Deviations: FINISH is broadcast and counted instead of a
//! Done phase; the closing rules 3 and 6 and the proof of the leader inside HALT are explicit here.

mod ballot;
mod halt;
mod message;
mod rules;
mod view;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use wire::client::Waiting;
use wire::ids::{Digest, Index, Round, View};
use wire::limits::VIEWS_AHEAD_MAX;

use crate::crypto::cert::CertificateCache;
use crate::crypto::suite::CoinShare;
use crate::cut::{Cut, Tip};
use crate::effects::{Effects, To};
use crate::fault::FaultKind;
use crate::image::image;
use crate::justification::Justification;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::spb::{Certified, SpbOutput};

pub use ballot::{Ballot, PreVote, Vote};
pub use halt::{Halt, HaltError};
pub use message::{FirstOnly, Kind, MvbaMessage, Novelty};

use rules::{Context, Rules, missing};
use view::{Ending, ViewState};

/// The certificates that the lanes know: the external validity of a cut depends on them.
pub trait LaneCertificates {
    /// Whether a certificate for this entry is known here, or a decided cut covers it.
    fn is_certified(&self, lane: Index, tip: Tip) -> bool;
}

/// Outputs for the parent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MvbaOutput {
    /// The SEND of this leader waits for the certificates of these entries.
    Wanted(Index, Vec<(Index, Tip)>),
    /// A step of a view is done here; for statistics.
    Milestone(View, Milestone),
    /// Decided; the proof goes to all members.
    Decided(Box<Halt>),
}

/// Steps of a view that statistics name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Milestone {
    /// N−f FINISHes are here.
    Finished,
    /// The coin is known.
    Elected,
}

type MvbaEffects = Effects<MvbaMessage, MvbaOutput>;

/// The agreement of one round at one member. Bound: views up to [`VIEWS_AHEAD_MAX`] beyond the last one whose coin is
/// known, in each at most eight messages a member, each of checked size.
#[derive(Clone, Debug)]
pub struct Mvba {
    member: Member,
    round: Round,
    previous: Cut,
    cache: CertificateCache,
    first_only: FirstOnly,
    views: BTreeMap<View, ViewState>,
    /// The view we take part in as a leader; others are judged as far as coins are known.
    current: View,
    value: Option<Cut>,
    /// Why a value may be proposed in the current view.
    justification: Justification,
    early: BTreeMap<View, Vec<(Index, MvbaMessage)>>,
    decided: Decided,
}

image! {
    Mvba:
    given member = |given| given.member.clone();
    parts;
    plain round, previous, cache, first_only, views, current, value, justification, early, decided;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Decided {
    NotYet,
    Reported,
}

impl Mvba {
    /// The agreement on the cut after `previous`.
    pub fn new(member: Member, round: Round, previous: Cut) -> Mvba {
        let mut mvba = Mvba {
            member,
            round,
            previous,
            cache: CertificateCache::default(),
            first_only: FirstOnly::default(),
            views: BTreeMap::new(),
            current: View(0),
            value: None,
            justification: Justification::default(),
            early: BTreeMap::new(),
            decided: Decided::NotYet,
        };
        mvba.open_view(View(0));
        mvba
    }

    /// The view we are in.
    pub fn current_view(&self) -> View {
        self.current
    }

    /// Whether we have a value to propose: our input, or one adopted from an earlier view.
    pub fn has_input(&self) -> bool {
        self.value.is_some()
    }

    /// The leader of a view, once its coin is known here.
    pub fn leader(&self, view: View) -> Option<Index> {
        self.views.get(&view)?.leader()
    }

    /// The leader of a view with the N−f shares that elected it, once its coin is known here.
    pub fn election(&self, view: View) -> Option<(Index, Vec<(Index, CoinShare)>)> {
        let state = self.views.get(&view)?;
        Some((state.leader()?, state.election_shares()))
    }

    /// The messages that the current view waits for, and the members that have sent them.
    pub fn waiting(&self) -> Waiting {
        self.views[&self.current].waiting(&self.member.committee)
    }

    /// The leaders of pending SENDs, each with the entries whose certificates its SEND waits for.
    pub fn wanted(&self, lanes: &dyn LaneCertificates) -> Vec<(Index, Vec<(Index, Tip)>)> {
        self.pending().map(|(_, leader, cut)| (leader, missing(cut, &self.previous, lanes))).collect()
    }

    /// The SENDs that wait for certificates of lanes.
    fn pending(&self) -> impl Iterator<Item = (View, Index, &Cut)> {
        let views = self.views.iter();
        views.flat_map(|(view, state)| state.pending_cuts().map(|(leader, cut)| (*view, leader, cut)))
    }

    /// Our input: a cut that may follow the previous one and whose certificates are known here. Call only while
    /// [`Mvba::has_input`] is false.
    pub fn input(&mut self, cut: Cut, lanes: &dyn LaneCertificates) -> MvbaEffects {
        assert!(self.value.is_none(), "one input a round");
        assert!(cut.may_follow(&self.previous), "the own input is valid");
        self.value = Some(cut);
        let mut effects = Effects::none();
        self.lead_current_view(&mut effects);
        self.progress(lanes, &mut effects);
        effects
    }

    /// A message of a member; `digest` is that of its bytes.
    pub fn handle(
        &mut self,
        author: Index,
        digest: Digest,
        message: MvbaMessage,
        lanes: &dyn LaneCertificates,
    ) -> MvbaEffects {
        let peer = self.member.node_at(author);
        if !message.has_shape(&self.member.committee) {
            return Effects::fault(peer, FaultKind::OutOfRange);
        }
        let Some(kind) = message.kind(author, self.member.index) else {
            return Effects::fault(peer, FaultKind::NotAMember);
        };
        let view = message.view();
        let judged = self.judged_until();
        if view.0 > judged.0 + VIEWS_AHEAD_MAX {
            return Effects::too_early();
        }
        match self.first_only.admit(view, author, kind, digest) {
            Novelty::First => {}
            Novelty::Repeated => return Effects::none(),
            Novelty::Different if !in_force(Mutant::SpbEchoOnce) && kind == Kind::Send => {}
            Novelty::Different => return Effects::fault(peer, FaultKind::Equivocation),
        }
        if view > judged {
            self.early.entry(view).or_default().push((author, message));
            return Effects::none();
        }
        let mut effects = Effects::none();
        self.judge(author, message, lanes, &mut effects);
        self.progress(lanes, &mut effects);
        effects
    }

    /// Certificates of lanes have arrived: SENDs that waited for them are judged again.
    pub fn reconsider(&mut self, lanes: &dyn LaneCertificates) -> MvbaEffects {
        let mut effects = Effects::none();
        let pending: Vec<(View, Index)> = self.pending().map(|(view, leader, _)| (view, leader)).collect();
        for (view, leader) in pending {
            let (context, state) = self.split(view, lanes);
            let child = state.spbs[usize::from(leader.0)].reconsider(
                context.member,
                context.cache,
                |cache, cut, justification| context.rules.verdict(cache, cut, justification),
            );
            self.absorb_spb(view, leader, child, &mut effects);
        }
        self.progress(lanes, &mut effects);
        effects
    }

    /// The last view whose messages are judged: the one after the last known coin.
    fn judged_until(&self) -> View {
        *self.views.keys().next_back().expect("view 0 is opened at the start")
    }

    fn open_view(&mut self, view: View) {
        let state = ViewState::new(&self.member, self.round, view);
        self.views.insert(view, state);
    }

    /// Judges one message of a view that is open.
    fn judge(
        &mut self,
        author: Index,
        message: MvbaMessage,
        lanes: &dyn LaneCertificates,
        effects: &mut MvbaEffects,
    ) {
        let view = message.view();
        match message {
            // The coin elected another leader: messages of this SPB no longer matter.
            MvbaMessage::Spb { leader, .. } if self.leader(view).is_some_and(|elected| elected != leader) => {
            }
            MvbaMessage::Spb { leader, message, .. } => {
                let (context, state) = self.split(view, lanes);
                let spb = &mut state.spbs[usize::from(leader.0)];
                let child = spb.handle(
                    context.member,
                    context.cache,
                    author,
                    message,
                    |cache, cut, justification| context.rules.verdict(cache, cut, justification),
                );
                let waiting = spb.pending().map(|(cut, _)| missing(cut, context.rules.previous, lanes));
                self.absorb_spb(view, leader, child, effects);
                if let Some(missing) = waiting.filter(|missing| !missing.is_empty()) {
                    effects.outputs.push(MvbaOutput::Wanted(leader, missing));
                }
            }
            MvbaMessage::CoinShare { share, .. } => {
                let state = self.views.get_mut(&view).expect("only open views are judged");
                if !state.add_share(&self.member, author, share) {
                    effects.push_fault(self.member.node_at(author), FaultKind::BadCoinShare);
                }
            }
            MvbaMessage::Ballot { ballot, .. } => {
                let state = self.views.get_mut(&view).expect("only open views are judged");
                if let Err(kind) = state.add_ballot(&self.member, &mut self.cache, author, ballot) {
                    effects.push_fault(self.member.node_at(author), kind);
                }
            }
        }
    }

    /// Takes every step that has become possible, in all open views, until none is left.
    fn progress(&mut self, lanes: &dyn LaneCertificates, effects: &mut MvbaEffects) {
        loop {
            let open: Vec<View> = self.views.keys().copied().collect();
            for view in open {
                self.progress_view(view, effects);
                if self.decided == Decided::Reported {
                    return;
                }
            }
            let early = self.open_next_view();
            if early.is_empty() && !self.leave_view(effects) {
                return;
            }
            for (author, message) in early {
                self.judge(author, message, lanes, effects);
            }
        }
    }

    /// Steps 2 to 5 of one view, and every way to decide in it. A view that we have left gets no more messages from us;
    /// it has all it needs.
    fn progress_view(&mut self, view: View, effects: &mut MvbaEffects) {
        let state = self.views.get_mut(&view).expect("only open views progress");
        let left = view < self.current;
        if !left && let Some(share) = state.release_share(&self.member) {
            effects.push_send(To::All, MvbaMessage::CoinShare { view, share });
        }
        if let Some(early) = state.elect(&self.member) {
            effects.outputs.push(MvbaOutput::Milestone(view, Milestone::Elected));
            for (author, ballot) in early {
                if let Err(kind) = state.add_ballot(&self.member, &mut self.cache, author, ballot) {
                    effects.push_fault(self.member.node_at(author), kind);
                }
            }
        }
        while !left && let Some(ballot) = state.next_ballot(&self.member) {
            effects.push_send(To::All, MvbaMessage::Ballot { view, ballot });
        }
        if let Some(proof) = state.decision(&self.member) {
            self.decide(view, proof, effects);
        }
    }

    /// Opens the view after the last one if the coin of that is known, and passes it its early messages.
    fn open_next_view(&mut self) -> VecDeque<(Index, MvbaMessage)> {
        let last = self.judged_until();
        if self.leader(last).is_none() {
            return VecDeque::new();
        }
        self.open_view(last.next());
        self.early.remove(&last.next()).unwrap_or_default().into()
    }

    /// Step 6: leaves the current view if it has ended here. Returns whether it did.
    fn leave_view(&mut self, effects: &mut MvbaEffects) -> bool {
        let state = self.views.get_mut(&self.current).expect("the current view is open");
        match state.ending(&self.member) {
            None => return false,
            Some(Ending::Adopt(Certified { cut, certificate })) => {
                self.value = Some(cut);
                self.justification = Justification::locked(self.current, certificate);
            }
            Some(Ending::Keep(unlocks)) => {
                self.justification = std::mem::take(&mut self.justification).unlocked(unlocks);
            }
        }
        self.current = self.current.next();
        self.lead_current_view(effects);
        true
    }

    /// Step 1: our own SPB in the current view, unless its coin is known already, so that no member would answer.
    fn lead_current_view(&mut self, effects: &mut MvbaEffects) {
        let Some(cut) = self.value.clone() else { return };
        let justification = self.justification.clone();
        let view = self.current;
        let state = self.views.get_mut(&view).expect("the current view is open");
        if state.leader().is_some() {
            return;
        }
        let leader = self.member.index;
        let child = state.spbs[usize::from(leader.0)].propose(&self.member, cut, justification);
        self.absorb_spb(view, leader, child, effects);
    }

    fn absorb_spb(
        &mut self,
        view: View,
        leader: Index,
        child: Effects<crate::spb::SpbMessage, SpbOutput>,
        effects: &mut MvbaEffects,
    ) {
        let outputs = effects.absorb(child, |message| MvbaMessage::Spb { view, leader, message });
        let state = self.views.get_mut(&view).expect("its child has just spoken");
        for output in outputs {
            if output == SpbOutput::Finished && state.count_finished(&self.member, leader) {
                effects.outputs.push(MvbaOutput::Milestone(view, Milestone::Finished));
            }
        }
    }

    /// Step 7; this agreement does nothing more after it.
    fn decide(&mut self, view: View, proof: Certified, effects: &mut MvbaEffects) {
        self.decided = Decided::Reported;
        let shares = self.views[&view].election_shares();
        let Certified { cut, certificate } = proof;
        let halt = Halt { round: self.round, view, cut, certificate, shares };
        effects.outputs.push(MvbaOutput::Decided(Box::new(halt)));
    }

    /// The parts of ourselves that judging an SPB of `view` needs, borrowed side by side.
    fn split<'a>(
        &'a mut self,
        view: View,
        lanes: &'a dyn LaneCertificates,
    ) -> (Context<'a>, &'a mut ViewState) {
        let earlier = self.views.range(..view).map(|(_, state)| state.leader());
        let leaders = earlier.map(|leader| leader.expect("a view opens once the coins before it are known"));
        let rules = Rules {
            member: &self.member,
            round: self.round,
            view,
            leaders: leaders.collect(),
            previous: &self.previous,
            lanes,
        };
        let context = Context { member: &self.member, cache: &mut self.cache, rules };
        (context, self.views.get_mut(&view).expect("only open views are judged"))
    }
}

#[cfg(test)]
mod tests;
