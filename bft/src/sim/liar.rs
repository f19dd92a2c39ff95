//! One Byzantine member of a real testbed: a core, and one of the simulator's behaviours between it and the network.
//!
//! It knows less than the adversary of a simulation does: its own keys, and what is sent to it. It does not collude.
//! Its core sees everything that comes, so it keeps up with the others, and answers its clients.
//!
//! A lane without transactions carries no attack, and a load knows better than to hand any to a liar. So it copies some
//! of those that it reads in the entries of others, which is an attack as well: each is ordered twice.

use std::sync::Arc;

use wire::bytes::Bytes;
use wire::client::{Request, list};
use wire::codec;
use wire::committee::Committee;
use wire::dest::Dest;
use wire::envelope::Class;
use wire::ids::{ClientId, Digest, NodeId};

use crate::core::{Core, CoreConfig};
use crate::crypto::suite::Suite;
use crate::event::{Effect, Event};
use crate::image::Given;
use crate::lane::entry::Entry;
use crate::prng::Prng;
use crate::sim::adversary::{Behaviour, Conduct, Hands};
use crate::sim::parcel::{Frame, Parcel, Seen};
use crate::time::{Span, Time};

/// How often it acts of itself.
const TURN_EVERY: Span = Span::from_ms(10);
/// How often it copies transactions, and how many.
const COPY_EVERY: Span = Span::from_ms(50);
const COPIED_MAX: usize = 20;
/// The client in whose name it hands them to its core. `net_server` numbers real ones from below 2^63 on.
const ITSELF: ClientId = ClientId(u64::MAX);

/// See the module.
#[derive(Debug)]
pub struct Liar {
    core: Core,
    node: NodeId,
    committee: Arc<Committee>,
    hands: Hands,
    behaviour: Box<dyn Behaviour>,
    next_turn: Time,
    next_copy: Time,
    proofs: Vec<String>,
}

impl Liar {
    /// The member of a core, with these keys, that behaves like this. Its random choices come from `seed`.
    pub fn new(core: Core, config: &CoreConfig, suite: Arc<dyn Suite>, conduct: Conduct, seed: u64) -> Liar {
        let Given { rules, .. } = Given::of(config, suite.clone());
        let own = [(config.node, suite)].into_iter().collect();
        let mut hands = Hands::new(rules, Prng::new(seed), own, Vec::new());
        Liar {
            core,
            node: config.node,
            committee: config.committee.clone(),
            behaviour: conduct.behaviour(&mut hands),
            hands,
            next_turn: Time(0),
            next_copy: Time(0),
            proofs: Vec::new(),
        }
    }

    /// Its core.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Takes the proofs found since the last call that the protocol is not safe.
    pub fn take_proofs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.proofs)
    }

    /// Handles an event as a core does.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Effect> {
        let mut copied = None;
        if let Event::Peer { from, digest, body } = &event {
            let parcel = Parcel::with_digest(*digest, body.clone());
            if let Seen::Entry(entry) = parcel.seen()
                && now >= self.next_copy
            {
                copied = self.copy(entry);
                self.next_copy = now + COPY_EVERY;
            }
            self.hear(&Frame { from: *from, to: self.node, class: Class::Keep, parcel });
        }
        let mut own = self.core.handle(now, event);
        if let Some(body) = copied {
            own.extend(self.core.handle(now, Event::Client { client: ITSELF, body }));
        }
        let mut effects = Vec::new();
        if now >= self.next_turn {
            self.next_turn = now + TURN_EVERY;
            self.behaviour.turn(&mut self.hands);
        }
        self.send(&mut effects);
        for effect in own {
            match effect {
                Effect::Send { dest, class, digest, body } => {
                    self.speak(dest, class, digest, body, &mut effects);
                }
                Effect::Reply { client: ITSELF, .. } => {}
                effect => effects.push(effect),
            }
        }
        effects
    }

    /// When [`Event::Tick`] is due.
    pub fn next_wakeup(&self) -> Option<Time> {
        [self.core.next_wakeup(), Some(self.next_turn)].into_iter().flatten().min()
    }

    /// Reads what was sent to it, or what its core wants to send.
    fn hear(&mut self, frame: &Frame) {
        if !self.committee.contains(frame.from) {
            return;
        }
        if self.committee.shard_of(frame.from) == self.hands.shard {
            self.hands.see(frame);
            self.behaviour.see(&mut self.hands, frame);
        } else {
            self.behaviour.overhear(&mut self.hands, frame);
        }
    }

    /// Sends in place of a message of its core what its behaviour makes of it.
    fn speak(
        &mut self,
        dest: Dest,
        class: Class,
        digest: Option<Digest>,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let parcel = match digest {
            Some(digest) => Parcel::with_digest(digest, body.clone()),
            None => Parcel::new(body.clone()),
        };
        self.hear(&Frame { from: self.node, to: self.node, class, parcel: parcel.clone() });
        self.send(effects);
        let recipients = dest.expand(&self.committee, self.node);
        for to in &recipients {
            let frame = Frame { from: self.node, to: *to, class, parcel: parcel.clone() };
            self.behaviour.forward(&mut self.hands, frame);
        }
        let is_as_meant = self.hands.frames().iter().map(|frame| frame.to).eq(recipients)
            && self.hands.frames().iter().all(|frame| frame.parcel.is(&parcel));
        if is_as_meant {
            // One message to all of them crosses to `net_client` once.
            self.hands.take_frames();
            effects.push(Effect::Send { dest, class, digest, body });
        }
        self.send(effects);
    }

    /// Sends what its behaviour wants to be sent.
    fn send(&mut self, effects: &mut Vec<Effect>) {
        let (frames, proofs) = self.hands.take();
        self.proofs.extend(proofs);
        effects.extend(frames.into_iter().map(|Frame { to, class, parcel, .. }| Effect::Send {
            dest: Dest::Node(to),
            class,
            digest: Some(parcel.digest()),
            body: parcel.body().clone(),
        }));
    }

    /// A submission of some transactions of an entry.
    fn copy(&self, entry: &Entry) -> Option<Bytes> {
        let view = self.hands.validated(entry)?;
        let mut body = codec::encode(&Request::Submit);
        let (at, mut count) = (list::begin(&mut body), 0);
        for transaction in view.transactions().take(COPIED_MAX) {
            list::push(&mut body, transaction.bytes());
            count += 1;
        }
        list::finish(&mut body, at, count);
        (count > 0).then(|| Bytes::from(body))
    }
}

#[cfg(test)]
mod tests;
