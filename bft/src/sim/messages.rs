//! What the journals of all members have: the entries and parts that were ever sent, by digest.
//!
//! A member sends executed ones from its journal. It has had the message, so one table serves all members. A *worn*
//! disk fails to give some back: each message is lost to one member in sixteen.

use std::collections::BTreeMap;

use ::wire::bytes::Bytes;
use ::wire::dest::Dest;
use ::wire::ids::{Digest, NodeId};

use crate::event::Effect;
use crate::message::MessageKind;

/// One message in so many is lost to a member.
const MEMBERS_A_LOSS: u16 = 16;

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct Messages {
    by_digest: BTreeMap<Digest, Bytes>,
    disks: Disks,
}

/// What the disks of members give back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Disks {
    #[default]
    Sound,
    Worn,
}

impl Messages {
    /// None yet.
    pub(crate) fn on(disks: Disks) -> Messages {
        Messages { disks, ..Messages::default() }
    }

    /// A message is on its way.
    pub(crate) fn note(&mut self, digest: Digest, body: &Bytes) {
        if matches!(MessageKind::of(body), MessageKind::Entry | MessageKind::Transfer) {
            self.by_digest.entry(digest).or_insert_with(|| body.clone());
        }
    }

    /// A message with this digest.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.by_digest.get(digest).cloned()
    }

    /// The same effect; but a message that a member sends from its journal as the message itself, or `None` if its disk
    /// does not give it back.
    ///
    /// # Panics
    /// If nobody has ever sent that message.
    pub(crate) fn read(&self, node: NodeId, effect: Effect) -> Option<Effect> {
        let Effect::SendKept { to, class, digest } = effect else { return Some(effect) };
        let body = self.get(&digest).expect("a member sends what it has had");
        let may_be_lost = u16::from(digest.0[0]) % MEMBERS_A_LOSS == node.0 % MEMBERS_A_LOSS;
        (self.disks == Disks::Sound || !may_be_lost).then_some(Effect::Send {
            dest: Dest::Node(to),
            class,
            digest: Some(digest),
            body,
        })
    }
}
