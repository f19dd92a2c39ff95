//! Taking over a checkpoint: asking for one, and fetching its pieces.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::client::TakeoverStatus;
use wire::dest::Dest;
use wire::ids::{Index, NodeId, Round};

use super::{
    CheckpointEffects, CheckpointMessage, CheckpointSend, Offer, Piece, STRANDED_AFTER, piece_digest,
};
use crate::effects::Effects;
use crate::fault::FaultKind;
use crate::image::image;
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::time::{Span, Time};

/// Pause between two inquiries of what others serve, and until their answers are here.
const INQUIRE_EVERY: Span = Span::from_ms(5_000);
const ANSWERS_WITHIN: Span = Span::from_ms(500);
/// How long offers are awaited before all members are asked again.
const OFFERS_WITHIN: Span = Span::from_ms(5_000);
/// How long the answer to a request for a piece is awaited before another member gets it.
const PIECE_WITHIN: Span = Span::from_ms(2_000);
/// A checkpoint is given up if no piece of it has arrived for so long: those who offered it have forgotten it.
const GIVEN_UP_AFTER: Span = Span::from_ms(10_000);
/// Requests for pieces that one member may leave unanswered.
const IN_FLIGHT: usize = 2;
/// Rounds ahead of the others that a checkpoint is asked for when they have executed more than we knew; doubles with
/// each try to [`AHEAD_MAX`].
const AHEAD_MIN: u64 = 32;
const AHEAD_MAX: u64 = 1_024;

/// See the module. Bounds: one offer a member, the pieces of one checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Takeover {
    member: Member,
    phase: Phase,
    /// While idle: no look at how far we are behind before this time.
    look_at: Time,
    /// When all members may be asked again what they serve.
    inquire_at: Time,
    /// Members that sent a false piece. Nothing is requested of them.
    barred: BTreeSet<Index>,
}

image! {
    Takeover:
    given member = |given| given.member.clone();
    parts;
    plain phase, look_at, inquire_at, barred;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Phase {
    /// We can execute what we need, as far as we know.
    Idle,
    /// All members were asked for the checkpoint of a height.
    Asking {
        until: Time,
        ahead: u64,
        /// Members that have executed more, and how much.
        passed: BTreeMap<Index, Round>,
        /// The last offer of each member.
        offers: BTreeMap<Index, Offer>,
    },
    /// f+1 members vouch for a checkpoint.
    Fetching(Box<Fetching>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fetching {
    offer: Offer,
    vouchers: BTreeSet<Index>,
    pieces: Vec<Option<Bytes>>,
    /// Pieces that are here.
    here: usize,
    /// Numbers of the pieces that are not here and not requested.
    unasked: BTreeSet<u32>,
    /// Requests by the end of their time. At most [`IN_FLIGHT`] a member.
    asked: BTreeSet<(Time, u32, Index)>,
    /// The member of the last request; the next one goes to the next member.
    turn: Index,
    arrived_at: Time,
}

/// How we stand beside the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lag {
    /// We have executed what f+1 members claim to have decided.
    None,
    /// We have not, and somebody may serve what we miss.
    Behind,
    /// f+1 members, one of them honest, serve the round that we execute next no more.
    Stranded {
        /// The round that f+1 members claim to have decided.
        proven: Round,
    },
}

/// A checkpoint that has arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    pub(crate) offer: Offer,
    /// The rows of the ledger.
    pub(crate) bytes: Vec<u8>,
    /// The members that vouched for it.
    pub(crate) vouchers: Vec<NodeId>,
}

impl Takeover {
    pub(crate) fn new(member: Member) -> Takeover {
        let barred = BTreeSet::new();
        Takeover { member, phase: Phase::Idle, look_at: Time(0), inquire_at: Time(0), barred }
    }

    /// We have executed this height.
    pub(crate) fn executed(&mut self, height: Round) {
        let goes_on = matches!(&self.phase, Phase::Fetching(fetching) if height < fetching.offer.height());
        if !goes_on {
            self.phase = Phase::Idle;
        }
    }

    /// How far it is, for people.
    pub(crate) fn status(&self) -> Option<TakeoverStatus> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Asking { .. } => Some(TakeoverStatus::default()),
            Phase::Fetching(fetching) => {
                let pieces = fetching.pieces.len() as u32;
                Some(TakeoverStatus { height: fetching.offer.height(), here: fetching.here as u32, pieces })
            }
        }
    }

    /// A member has executed more than the height that we asked for.
    pub(crate) fn on_passed(&mut self, now: Time, author: Index, executed: Round) -> CheckpointEffects {
        let Phase::Asking { ahead, passed, .. } = &mut self.phase else { return Effects::none() };
        passed.insert(author, executed);
        if passed.len() < self.member.committee.one_honest() {
            return Effects::none();
        }
        // The highest height that, as f+1 members claim, some honest one has reached.
        let mut heights: Vec<Round> = passed.values().copied().collect();
        heights.sort_unstable_by(|one, other| other.cmp(one));
        let height = Round(heights[self.member.committee.one_honest() - 1].0.saturating_add(*ahead));
        let ahead = (*ahead * 2).min(AHEAD_MAX);
        self.ask(now, height, ahead)
    }

    /// A member offers a checkpoint; we have executed up to `executed`.
    pub(crate) fn on_offer(
        &mut self,
        now: Time,
        author: Index,
        offer: Offer,
        executed: Round,
    ) -> CheckpointEffects {
        if !offer.has_shape(&self.member) {
            return Effects::fault(self.member.node_at(author), FaultKind::OutOfRange);
        }
        if self.barred.contains(&author) {
            return Effects::none();
        }
        match &mut self.phase {
            Phase::Asking { offers, .. } if offer.height() > executed => {
                offers.insert(author, offer.clone());
                let equal = offers.iter().filter(|(_, other)| **other == offer);
                let vouchers: BTreeSet<Index> = equal.map(|(author, _)| *author).collect();
                // # Security: among f+1 one is honest. \[safety]
                let enough = if in_force(Mutant::VouchersForCheckpoint) {
                    self.member.committee.one_honest()
                } else {
                    1
                };
                if vouchers.len() < enough {
                    return Effects::none();
                }
                self.phase = Phase::Fetching(Box::new(Fetching::new(now, offer, vouchers)));
                self.fetch(now)
            }
            Phase::Fetching(fetching) if fetching.offer == offer => {
                fetching.vouchers.insert(author);
                self.fetch(now)
            }
            _ => Effects::none(),
        }
    }

    /// A piece arrives.
    pub(crate) fn on_piece(&mut self, now: Time, author: Index, piece: Piece) -> CheckpointEffects {
        let Phase::Fetching(fetching) = &mut self.phase else { return Effects::none() };
        if piece.height != fetching.offer.height() || !fetching.lacks(author, piece.number) {
            return Effects::none();
        }
        let digest = piece_digest(&piece.bytes);
        // # Security: those who vouch for the digests need not send these bytes. \[safety]
        if digest != fetching.offer.pieces[piece.number as usize] && in_force(Mutant::PiecesHaveDigests) {
            self.barred.insert(author);
            fetching.leave(author);
            let mut effects = Effects::fault(self.member.node_at(author), FaultKind::BadPiece);
            effects.extend(self.fetch(now));
            return effects;
        }
        fetching.arrived(now, piece);
        if fetching.here < fetching.pieces.len() {
            return self.fetch(now);
        }
        let Phase::Fetching(fetching) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            unreachable!("the piece was of a checkpoint that is being fetched")
        };
        let Fetching { offer, vouchers, pieces, .. } = *fetching;
        let bytes = pieces.into_iter().flatten().fold(Vec::new(), |mut all, piece| {
            all.extend_from_slice(&piece);
            all
        });
        let vouchers = vouchers.into_iter().map(|author| self.member.node_at(author)).collect();
        Effects::output(Taken { offer, bytes, vouchers })
    }

    /// Whether all members are to be asked now what they serve: we are behind, and nothing has helped for long. To be
    /// called when [`Takeover::tick`] is due, before it.
    pub(crate) fn inquires(&mut self, now: Time, lag: Lag) -> bool {
        if lag != Lag::Behind || !matches!(self.phase, Phase::Idle) {
            return false;
        }
        let is_due = self.inquire_at <= now;
        if is_due {
            self.inquire_at = now + INQUIRE_EVERY;
        }
        self.look_at = if is_due { now + ANSWERS_WITHIN } else { self.inquire_at };
        is_due
    }

    /// It is due: asks for a checkpoint if we are stranded, or again; requests pieces again that have not come.
    pub(crate) fn tick(&mut self, now: Time, lag: Lag) -> CheckpointEffects {
        match (&self.phase, lag) {
            (Phase::Fetching(fetching), _) if fetching.gives_up_at() > now => self.fetch(now),
            (Phase::Idle | Phase::Asking { .. }, Lag::Stranded { proven }) => {
                self.ask(now, proven, AHEAD_MIN)
            }
            (Phase::Idle, Lag::Behind | Lag::None) => Effects::none(),
            (Phase::Fetching(_), _) | (Phase::Asking { .. }, Lag::Behind | Lag::None) => {
                self.phase = Phase::Idle;
                self.look_at = now + STRANDED_AFTER;
                Effects::none()
            }
        }
    }

    /// When [`Takeover::tick`] is due, if we have been behind since then.
    pub(crate) fn next_wakeup(&self, lags_since: Option<Time>) -> Option<Time> {
        match &self.phase {
            Phase::Idle => lags_since.map(|since| self.look_at.max(since + STRANDED_AFTER)),
            Phase::Asking { until, .. } => Some(*until),
            Phase::Fetching(fetching) => {
                let request = fetching.asked.first().map(|(until, ..)| *until);
                Some(request.map_or(fetching.gives_up_at(), |until| until.min(fetching.gives_up_at())))
            }
        }
    }

    fn ask(&mut self, now: Time, height: Round, ahead: u64) -> CheckpointEffects {
        let offers = match &mut self.phase {
            Phase::Asking { offers, .. } => std::mem::take(offers),
            Phase::Idle | Phase::Fetching(_) => BTreeMap::new(),
        };
        self.phase = Phase::Asking { until: now + OFFERS_WITHIN, ahead, passed: BTreeMap::new(), offers };
        Effects::send(Dest::ShardOthers, CheckpointSend::Message(CheckpointMessage::Ask { height }))
    }

    /// Requests further pieces of those who vouch, in turn, as far as they have answered.
    fn fetch(&mut self, now: Time) -> CheckpointEffects {
        let mut effects = Effects::none();
        let Phase::Fetching(fetching) = &mut self.phase else { return effects };
        fetching.take_back(now);
        while let Some(number) = fetching.unasked.first().copied()
            && let Some(author) = fetching.next_idle(&self.barred)
        {
            fetching.turn = author;
            fetching.unasked.remove(&number);
            fetching.asked.insert((now + PIECE_WITHIN, number, author));
            let message = CheckpointMessage::WantPiece { height: fetching.offer.height(), number };
            effects.push_send(Dest::Node(self.member.node_at(author)), CheckpointSend::Message(message));
        }
        effects
    }
}

impl Fetching {
    fn new(now: Time, offer: Offer, vouchers: BTreeSet<Index>) -> Fetching {
        Fetching {
            pieces: vec![None; offer.pieces.len()],
            here: 0,
            unasked: (0u32..).take(offer.pieces.len()).collect(),
            asked: BTreeSet::new(),
            turn: Index(0),
            arrived_at: now,
            offer,
            vouchers,
        }
    }

    fn gives_up_at(&self) -> Time {
        self.arrived_at + GIVEN_UP_AFTER
    }

    /// Whether a piece of this member is missing. It may come after the time of its request: a slow link must not have
    /// it carried again and again.
    fn lacks(&self, author: Index, number: u32) -> bool {
        self.vouchers.contains(&author) && self.pieces.get(number as usize).is_some_and(Option::is_none)
    }

    fn arrived(&mut self, now: Time, piece: Piece) {
        self.arrived_at = now;
        self.unasked.remove(&piece.number);
        self.asked.retain(|(_, number, _)| *number != piece.number);
        self.here += 1;
        self.pieces[piece.number as usize] = Some(piece.bytes);
    }

    /// Requests whose time is over are made anew.
    fn take_back(&mut self, now: Time) {
        while let Some((_, number, _)) = self.asked.first().filter(|(until, ..)| *until <= now) {
            self.unasked.insert(*number);
            self.asked.pop_first();
        }
    }

    /// A member is no longer asked; its requests are made anew.
    fn leave(&mut self, author: Index) {
        self.vouchers.remove(&author);
        let left = self.asked.iter().filter(|(_, _, of)| *of == author);
        self.unasked.extend(left.map(|(_, number, _)| *number));
        self.asked.retain(|(_, _, of)| *of != author);
    }

    /// The next member that has answered enough to get a request.
    fn next_idle(&self, barred: &BTreeSet<Index>) -> Option<Index> {
        let in_flight = |author: &Index| self.asked.iter().filter(|(_, _, of)| of == author).count();
        let is_idle = |author: &&Index| !barred.contains(author) && in_flight(author) < IN_FLIGHT;
        let after = self.vouchers.iter().filter(|author| **author > self.turn).find(is_idle);
        after.or_else(|| self.vouchers.iter().find(is_idle)).copied()
    }
}
