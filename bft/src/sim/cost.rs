//! Bounds on what an adversary can make honest members spend. Some hold under every adversary, some are checked under
//! the adversary that attacks them.
//!
//! - *Questions*: one event makes a member ask each other member at most twice for certificates, and f+1 of them once
//!   more ([`Cost::on_questions`]).
//! - *Work*: one event costs a member at most [`STEPS_MAX`] steps in loops over what waits ([`Cost::on_work`]). How
//!   they grow with a backlog is tested where backlogs are long: `core::tests::behind`, `pending::tests::work`.
//! - *Repeats*: however often the processes of peers reincarnate, a member sends the same bytes to a peer at most
//!   [`REPEATS_MAX`] times in a second ([`Cost::on_frame`]).
//! - *Bodies*: on a calm network a member gets a body within a few waits although f of its signers are silent
//!   ([`Cost::on_delivery`]).
//! - *Verification*: each liar makes a member verify a few messages in vain a view, round and height
//!   ([`Cost::at_end`]).

use std::collections::BTreeMap;

use wire::committee::Committee;
use wire::ids::{Digest, Index, NodeId, Seq};

use crate::lane::LaneMessage;
use crate::message::Message;
use crate::sim::adversary::Adversary;
use crate::sim::checker::Violation;
use crate::sim::links::HEALED_DELAY_MAX;
use crate::sim::parcel::{Frame, Parcel, Seen};
use crate::time::{Span, Time};

/// Times that the same bytes may go to one peer in a second: at first, to its new process, by timers, after the death
/// of a child, and as answers. Far below the thirty times a second at which processes reincarnate.
const REPEATS_MAX: u32 = 10;
/// Steps of one event: sixteen rounds that are decided and executed at once, of ten lanes with a window of entries
/// each, and the transactions in them.
const STEPS_MAX: u64 = 20_000;
/// Certificates that one liar makes each member verify in vain, a view or height: one of each kind, and those of
/// other members whose signatures share a batch with a bad one.
const IN_VAIN_A_STEP: u64 = 8;
const SECOND_US: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Cost {
    adversary: Adversary,
    /// Byzantine members.
    liars: u64,
    /// The longest that effects of a member wait for its disk.
    held_max: Span,
    steps_most: u64,
    second: u64,
    sent: BTreeMap<(NodeId, NodeId, Digest), u32>,
    /// When a member first asked anyone but the owner for a body.
    asked: BTreeMap<(NodeId, Index, Seq), Time>,
}

type Checked = Result<(), Violation>;

impl Cost {
    pub(super) fn new(adversary: Adversary, liars: usize, held_max: Span) -> Cost {
        Cost {
            adversary,
            liars: liars as u64,
            held_max,
            steps_most: 0,
            second: 0,
            sent: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// One event made an honest member send this many questions for certificates.
    pub(super) fn on_questions(&self, node: NodeId, frames: usize, committee: &Committee) -> Checked {
        let max = 2 * committee.n() + committee.one_honest();
        if frames > max { Err(Violation::Questions { node, frames }) } else { Ok(()) }
    }

    /// One event made an honest member take this many steps in loops over what waits.
    pub(super) fn on_work(&mut self, node: NodeId, steps: u64) -> Checked {
        self.steps_most = self.steps_most.max(steps);
        if steps > STEPS_MAX { Err(Violation::Work { node, steps }) } else { Ok(()) }
    }

    /// The most steps of one event so far.
    pub(super) fn steps_most(&self) -> u64 {
        self.steps_most
    }

    /// An honest member sends a frame.
    pub(super) fn on_frame(&mut self, now: Time, frame: &Frame, committee: &Committee) -> Checked {
        match (self.adversary, frame.parcel.message()) {
            (Adversary::Reconnecting, _) => self.count(now, frame),
            (
                Adversary::SilentSigners,
                Some(Message::Lane(LaneMessage::WantEntries { owner, seq, count, .. })),
            ) => {
                if committee.index_of(frame.to) != *owner {
                    for seq in seq.0 + 1 - u64::from(*count)..=seq.0 {
                        self.asked.entry((frame.from, *owner, Seq(seq))).or_insert(now);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, now: Time, frame: &Frame) -> Checked {
        if now.0 / SECOND_US != self.second {
            self.second = now.0 / SECOND_US;
            self.sent.clear();
        }
        let times = self.sent.entry((frame.from, frame.to, frame.parcel.digest())).or_default();
        *times += 1;
        if *times > REPEATS_MAX {
            return Err(Violation::Repeats { node: frame.from, to: frame.to, times: *times });
        }
        Ok(())
    }

    /// A frame reaches an honest member.
    pub(super) fn on_delivery(
        &mut self,
        now: Time,
        to: NodeId,
        parcel: &Parcel,
        committee: &Committee,
    ) -> Checked {
        let Seen::Entry(entry) = parcel.seen() else { return Ok(()) };
        let Some(asked) = self.asked.remove(&(to, entry.owner, entry.seq)) else { return Ok(()) };
        let took = now.since(asked);
        // The last question and its answer wait.
        if took.0 > within(committee.n()).0 + 2 * self.held_max.0 {
            return Err(Violation::SlowBody { node: to, took_ms: took.0 / 1_000 });
        }
        Ok(())
    }

    /// An honest member has gone through this many views and heights, and verified this many signatures in vain.
    pub(super) fn at_end(&self, node: NodeId, steps: u64, signatures: u64, committee: &Committee) -> Checked {
        let allowed = self.liars * IN_VAIN_A_STEP * (committee.quorum() as u64 + 1) * (steps + 8);
        if signatures > allowed {
            return Err(Violation::InVain { node, signatures, allowed });
        }
        Ok(())
    }
}

/// The wait after which more than f members have been asked (`lane::fetch`), and a round trip.
fn within(n: usize) -> Span {
    let waits = if (n - 1) / 3 < 3 { Span::from_ms(200) } else { Span::from_ms(600) };
    Span(waits.0 + 3 * HEALED_DELAY_MAX.0)
}
