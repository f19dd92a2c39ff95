//! All attackers at once, a thread each.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::scene::{Scene, Tally};
use super::{clients, crowd, handshakes, members, noise};

/// Of ten frames that make no sense so many come without a handshake ...
const WITHOUT_SESSION: u64 = 2;
/// ... so many from clients, and the rest from members.
const FROM_CLIENTS: u64 = 4;

/// An attack under way.
pub(super) struct Attack {
    scene: Arc<Scene>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Attack {
    /// Begins it.
    pub(super) fn begin(scene: Scene) -> Attack {
        let mut attack = Attack { scene: Arc::new(scene), threads: Vec::new() };
        let scene = attack.scene.clone();
        let without_session = scene.amounts.frames * WITHOUT_SESSION / 10;
        let from_clients = scene.amounts.frames * FROM_CLIENTS / 10;
        let from_members = scene.amounts.frames - without_session - from_clients;
        let victims = scene.victims.len() as u64;
        let each_client = from_clients.div_ceil(victims);
        let each_member = from_members.div_ceil(victims * scene.members.len().max(1) as u64);
        attack.start(crowd::idle);
        attack.start(crowd::slow);
        attack.start(handshakes::attempt);
        attack.start(move |scene| noise::send(scene, without_session, 1));
        for (seed, victim) in (2..).zip(scene.victims.iter().copied()) {
            attack.start(move |scene| clients::send(scene, victim, each_client, seed));
            for (index, member) in scene.members.iter().enumerate() {
                let (member, seed) = (member.clone(), seed + ((index as u64 + 1) << 32));
                attack.start(move |scene| members::send(scene, &member, victim, each_member, seed));
            }
        }
        attack
    }

    /// Whether all attackers have done what they were to do, or had to give up.
    pub(super) fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Ends it and returns what was done.
    pub(super) fn end(self) -> Tally {
        self.scene.end();
        let mut tally = Tally::default();
        for thread in self.threads {
            tally.merge(thread.join().expect("attackers do not panic: whatever nodes do is an answer"));
        }
        tally
    }

    fn start(&mut self, attacker: impl FnOnce(&Scene) -> Tally + Send + 'static) {
        let scene = self.scene.clone();
        self.threads.push(thread::spawn(move || attacker(&scene)));
    }
}
