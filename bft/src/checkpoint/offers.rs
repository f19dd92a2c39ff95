//! Checkpoints that we make for others and offer to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::ids::{Index, Round};
use wire::limits::CHECKPOINT_PIECES_MAX;

use super::{
    BEGUN_EVERY, CheckpointEffects, CheckpointMessage, CheckpointSend, KEPT_FOR, Offer, PIECE_BYTES,
    PIECE_EVERY, Piece, piece_digest,
};
use crate::block::Header;
use crate::cut::Cut;
use crate::effects::Effects;
use crate::image::image;
use crate::ledger::{Cursor, Ledger};
use crate::member::Member;
use crate::serving::{Limiter, Serving};
use crate::time::Time;

/// See the module. Bounds: one request and one checkpoint a member, f+1 checkpoints in all.
#[derive(Clone, Debug)]
pub(crate) struct Offers {
    member: Member,
    /// Heights that members have asked for and that are not executed here.
    wanted: BTreeMap<Index, Round>,
    making: Option<Making>,
    made: BTreeMap<Index, Made>,
    begun: Limiter,
}

image! {
    Offers:
    given member = |given| given.member.clone();
    parts making;
    plain wanted, made, begun;
}

/// A checkpoint that is being written out.
#[derive(Clone, Debug)]
struct Making {
    asker: Index,
    ledger: Ledger,
    cursor: Cursor,
    /// Written bytes that do not fill a piece.
    rest: Vec<u8>,
    checkpoint: Made,
    due: Time,
}

image! {
    Making:
    given;
    parts ledger;
    plain asker, cursor, rest, checkpoint, due;
}

/// A checkpoint, or as much of it as is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Made {
    offer: Offer,
    pieces: Vec<Bytes>,
    serving: Serving,
    until: Time,
}

impl Offers {
    pub(crate) fn new(member: Member) -> Offers {
        Offers {
            member,
            wanted: BTreeMap::new(),
            making: None,
            made: BTreeMap::new(),
            begun: Limiter::default(),
        }
    }

    /// A member asks for the checkpoint of a height; we have executed up to `executed`. What was made for it is offered
    /// again, whatever its height.
    pub(crate) fn asked(&mut self, author: Index, height: Round, executed: Round) -> CheckpointEffects {
        if self.making.as_ref().is_some_and(|making| making.asker == author) {
            return Effects::none();
        }
        let message = match self.made.get(&author) {
            Some(made) => CheckpointMessage::Offer(Box::new(made.offer.clone())),
            None if height < executed => CheckpointMessage::Passed { executed },
            // There is none before the first block.
            None if height == Round(0) => return Effects::none(),
            None => {
                self.wanted.insert(author, height);
                return Effects::none();
            }
        };
        self.send(author, CheckpointSend::Message(message))
    }

    /// The member for which to make the checkpoint of this height, which we have just executed, if one wants it.
    pub(crate) fn next_asker(&mut self, now: Time, height: Round) -> Option<Index> {
        while let Some((asker, _)) = self.wanted.iter().find(|(_, wanted)| **wanted <= height) {
            let asker = *asker;
            let wanted = self.wanted.remove(&asker).expect("it was found above");
            let has_room = self.making.is_none() && self.made.len() < self.member.committee.one_honest();
            if wanted == height && has_room && self.begun.may_every(now, asker, BEGUN_EVERY) {
                return Some(asker);
            }
        }
        None
    }

    /// Begins a checkpoint of our present state.
    pub(crate) fn begin(&mut self, now: Time, asker: Index, header: Header, cut: Cut, ledger: Ledger) {
        let offer = Offer { header, cut, pieces: Vec::new() };
        let checkpoint = Made { offer, pieces: Vec::new(), serving: Serving::default(), until: now };
        let (cursor, rest) = (Cursor::default(), Vec::new());
        self.making = Some(Making { asker, ledger, cursor, rest, checkpoint, due: now + PIECE_EVERY });
    }

    /// A member wants a piece of the checkpoint that was made for it.
    pub(crate) fn piece_wanted(
        &mut self,
        now: Time,
        author: Index,
        height: Round,
        number: u32,
    ) -> CheckpointEffects {
        let made = self.made.get_mut(&author).filter(|made| made.offer.height() == height);
        let Some(made) = made else { return Effects::none() };
        let Some(bytes) = made.pieces.get(number as usize).cloned() else { return Effects::none() };
        if !made.serving.admit(now, bytes.len() as u64) {
            return Effects::none();
        }
        made.until = now + KEPT_FOR;
        self.send(author, CheckpointSend::Piece(Piece { height, number, bytes }))
    }

    /// Writes the next piece, if it is time, and forgets checkpoints that nobody uses.
    pub(crate) fn tick(&mut self, now: Time) -> CheckpointEffects {
        self.made.retain(|_, made| made.until > now);
        let Some(mut making) = self.making.take_if(|making| making.due <= now) else {
            return Effects::none();
        };
        if making.write_piece() {
            making.due = now + PIECE_EVERY;
            self.making = Some(making);
            return Effects::none();
        }
        let Making { asker, checkpoint, .. } = making;
        if checkpoint.pieces.len() > CHECKPOINT_PIECES_MAX {
            return Effects::none();
        }
        let offer = Box::new(checkpoint.offer.clone());
        self.made.insert(asker, Made { until: now + KEPT_FOR, ..checkpoint });
        self.send(asker, CheckpointSend::Message(CheckpointMessage::Offer(offer)))
    }

    /// When [`Offers::tick`] is due.
    pub(crate) fn next_wakeup(&self) -> Option<Time> {
        let ends = self.made.values().map(|made| made.until);
        ends.chain(self.making.as_ref().map(|making| making.due)).min()
    }

    fn send(&self, to: Index, send: CheckpointSend) -> CheckpointEffects {
        Effects::send(Dest::Node(self.member.node_at(to)), send)
    }
}

impl Making {
    /// Writes one more piece; whether there may be another one.
    fn write_piece(&mut self) -> bool {
        let mut has_more = true;
        while has_more && self.rest.len() < PIECE_BYTES {
            has_more = self.ledger.write_next(&mut self.cursor, &mut self.rest);
        }
        let length = self.rest.len().min(PIECE_BYTES);
        if length > 0 {
            let after = self.rest.split_off(length);
            let piece = std::mem::replace(&mut self.rest, after);
            self.checkpoint.offer.pieces.push(piece_digest(&piece));
            self.checkpoint.pieces.push(Bytes::from(piece));
        }
        has_more || !self.rest.is_empty()
    }
}
