//! False checkpoints for a member that is behind every history, and requests that keep others from theirs.

use wire::bytes::Bytes;
use wire::ids::{Digest, Round};

use crate::checkpoint::{CheckpointMessage, Offer, Piece};
use crate::message::Message;
use crate::sim::adversary::{Behaviour, Hands, instead};
use crate::sim::parcel::{Frame, Parcel, Seen};

/// Turns between two rounds of false requests.
const ASK_EVERY: u64 = 10;

/// Offers other states than it has, or true ones with false pieces, and asks every member for checkpoints of many
/// heights. In agreement it does as its core does.
#[derive(Debug, Default)]
pub(super) struct FalseCheckpoints {
    turns: u64,
}

impl Behaviour for FalseCheckpoints {
    fn forward(&mut self, hands: &mut Hands, frame: Frame) {
        let parcel = match frame.parcel.seen() {
            Seen::Message(Message::Checkpoint(message)) => Some(altered(hands, message)),
            Seen::Piece(piece) if hands.prng.chance(1, 2) => Some(Parcel::new(spoilt(hands, piece).encode())),
            _ => None,
        };
        hands.pass(parcel.map_or(frame.clone(), |parcel| instead(&frame, parcel)));
    }

    fn turn(&mut self, hands: &mut Hands) {
        self.turns += 1;
        if !self.turns.is_multiple_of(ASK_EVERY) {
            return;
        }
        let decided = hands.known.decided();
        for liar in hands.nodes() {
            let height = Round(decided.0 + hands.prng.below(4));
            let ask = CheckpointMessage::Ask { height };
            hands.send_to_honest(liar, &Message::Checkpoint(ask));
        }
    }
}

/// Another answer; requests of our core stay as they are.
fn altered(hands: &mut Hands, message: &CheckpointMessage) -> Parcel {
    let message = match message {
        CheckpointMessage::Offer(offer) => {
            let mut offer: Offer = (**offer).clone();
            match hands.prng.below(4) {
                0 => offer.header.outcome = Digest(hands.prng.bytes()),
                1 => offer.pieces[0] = Digest(hands.prng.bytes()),
                2 => offer.pieces.push(Digest(hands.prng.bytes())),
                // True, so that it is asked for pieces.
                _ => {}
            }
            CheckpointMessage::Offer(Box::new(offer))
        }
        CheckpointMessage::Passed { executed } => {
            CheckpointMessage::Passed { executed: Round(executed.0 + hands.prng.below(1 << 40)) }
        }
        other => other.clone(),
    };
    Parcel::of(&Message::Checkpoint(message))
}

/// The piece with one byte changed.
fn spoilt(hands: &mut Hands, piece: &Piece) -> Piece {
    let mut bytes = piece.bytes.to_vec();
    let at = hands.prng.below(bytes.len() as u64) as usize;
    bytes[at] ^= 1 << hands.prng.below(8);
    Piece { bytes: Bytes::from(bytes), ..piece.clone() }
}
