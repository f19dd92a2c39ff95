//! Behaviours that send too much.

use wire::bytes::Bytes;
use wire::ids::{Digest, Index, NodeId, Round, Seq, View};
use wire::limits::RUN_ENTRIES_MAX;

use crate::block::{BlockMessage, BlockVote};
use crate::crypto::suite::{CoinName, Statement};
use crate::cut::Tip;
use crate::lane::LaneMessage;
use crate::lane::entry::{self, Entry};
use crate::message::Message;
use crate::mvba::{Halt, MvbaMessage};
use crate::round::{CatchUpMessage, RoundMessage};
use crate::sim::adversary::{Behaviour, Hands, instead};
use crate::sim::parcel::{Frame, Parcel};
use crate::spb::SpbMessage;

/// Frames of one burst.
const BURST: u64 = 12;
/// Distance of rounds that are far ahead.
const FAR: u64 = 1_000_000;

/// Repeats messages of all nodes as its own.
#[derive(Debug, Default)]
pub(super) struct StaleFlood {
    heard: Vec<Parcel>,
}

impl StaleFlood {
    const HEARD_MAX: usize = 400;
    /// Longer messages are not repeated: the flood is one of messages, not of bytes.
    const BYTES_MAX: usize = 64 << 10;
}

impl Behaviour for StaleFlood {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        hands.pass(frame);
    }

    fn see(&mut self, hands: &mut Hands, frame: &Frame) {
        if hands.prng.chance(1, 8) && frame.parcel.body().len() <= StaleFlood::BYTES_MAX {
            if self.heard.len() == StaleFlood::HEARD_MAX {
                let at = hands.prng.below(StaleFlood::HEARD_MAX as u64) as usize;
                self.heard.swap_remove(at);
            }
            self.heard.push(frame.parcel.clone());
        }
    }

    fn turn(&mut self, hands: &mut Hands) {
        let (nodes, honest) = (hands.nodes(), hands.honest());
        for _ in 0..BURST {
            let parcel = hands.prng.pick(&self.heard).cloned();
            let (from, to) = (hands.prng.pick(&nodes).copied(), hands.prng.pick(&honest).copied());
            if let (Some(parcel), Some(from), Some(to)) = (parcel, from, to) {
                hands.send(from, to, parcel);
            }
        }
    }
}

/// Messages of rounds, views, heights and seqs ahead: a few, up to the window's edge, or far beyond.
#[derive(Debug)]
pub(super) struct FutureFlood;

impl Behaviour for FutureFlood {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        hands.pass(frame);
    }

    fn turn(&mut self, hands: &mut Hands) {
        for from in hands.nodes() {
            for _ in 0..BURST {
                let ahead = match hands.prng.below(3) {
                    0 => 1 + hands.prng.below(4),
                    1 => 1 + hands.prng.below(24),
                    _ => FAR + hands.prng.below(FAR),
                };
                let parcel = self.message(hands, from, ahead);
                let honest = hands.honest();
                if let Some(to) = hands.prng.pick(&honest).copied() {
                    hands.send(from, to, parcel);
                }
            }
        }
    }
}

impl FutureFlood {
    fn message(&self, hands: &mut Hands, from: NodeId, ahead: u64) -> Parcel {
        let me = hands.index(from);
        let round = Round(hands.known.decided().0 + ahead);
        let digest = Digest(hands.prng.bytes());
        let agreement = |round, message| Message::Round(RoundMessage::Mvba { round, message });
        let certificate = hands.known.old_certificates().last().cloned();
        let certificate = certificate.unwrap_or(crate::crypto::cert::Certificate(Vec::new()));
        let cut = hands.known.previous(Round(1)).cloned().expect("the genesis cut is known");
        let message = match hands.prng.below(9) {
            0 => {
                let view = View(hands.prng.below(12) as u32);
                let share = hands.suite(from).coin_share(&CoinName { round, view });
                agreement(round, MvbaMessage::CoinShare { view, share })
            }
            1 => {
                let message = SpbMessage::Lock { cut, certificate };
                agreement(round, MvbaMessage::Spb { view: View(0), leader: me, message })
            }
            2 => {
                let view = View(ahead.min(u64::from(u32::MAX)) as u32);
                let message = SpbMessage::Finish { cut, certificate };
                agreement(hands.known.decided().next(), MvbaMessage::Spb { view, leader: me, message })
            }
            3 => {
                let halt = Halt { round, view: View(0), cut, certificate, shares: Vec::new() };
                Message::Round(RoundMessage::Halt(Box::new(halt)))
            }
            4 => Message::Round(RoundMessage::CatchUp(CatchUpMessage::Ask { from: round })),
            5 => {
                let statement = Statement::Block { height: round, digest };
                let signature = hands.suite(from).sign(&statement);
                Message::Block(BlockMessage::Vote(BlockVote { height: round, header: digest, signature }))
            }
            6 => {
                let seq = Seq(hands.known.top(me).seq.0 + ahead);
                Message::Lane(LaneMessage::Final { owner: me, seq, digest, certificate })
            }
            7 => {
                let owner = Index(hands.prng.below(hands.committee.n() as u64) as u16);
                let seq = Seq(hands.known.top(owner).seq.0 + ahead);
                let count = hands.prng.below(2 * RUN_ENTRIES_MAX) as u16;
                Message::Lane(LaneMessage::WantEntries { owner, seq, digest, count })
            }
            _ => {
                let parent = Tip { seq: Seq(hands.known.top(me).seq.0 + ahead), digest };
                let mut buffer = entry::buffer(1);
                buffer.push(0);
                return Parcel::new(Entry::seal(me, parent, buffer).body);
            }
        };
        Parcel::of(&message)
    }
}

/// Bytes flipped, cut off, added or exchanged on the way out.
#[derive(Debug)]
pub(super) struct MutatedBytes;

impl Behaviour for MutatedBytes {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        if hands.prng.chance(1, 2) {
            hands.pass(frame.clone());
        }
        let mut bytes = frame.parcel.body().to_vec();
        let at = hands.prng.below(bytes.len().max(1) as u64) as usize;
        match hands.prng.below(6) {
            0 | 1 => {
                let bit = hands.prng.below(8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            2 => bytes.truncate(at),
            3 => bytes.extend([0xEE; 3]),
            4 => {
                // Numbers and lengths come first: make one huge.
                let at = at.min(40);
                bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = 0xFF);
            }
            _ => {
                let length = bytes.len() - at;
                hands.prng.fill(&mut bytes[at..at + length.min(16)]);
            }
        }
        hands.pass(instead(&frame, Parcel::new(Bytes::from(bytes))));
    }
}
