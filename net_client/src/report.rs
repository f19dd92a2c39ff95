//! What the core is told of links: gathered by peer, written by a thread of its own.
//!
//! A core that is busy lets its side of the queue fill up. The loop that reads acks must not wait for that, or unread
//! acks would fill the outboxes; so it only notes things here, and what is noted is bounded: one slot a peer, in which
//! later news replaces earlier ones without losing what matters (that a process was new, how it stands now).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard};

use wire::envelope::{LinkCounters, ToCore};
use wire::ids::{NodeId, Round};
use wire::ipc::IpcWriter;

use crate::outbox::Listener;

/// The notes, shared by who takes them and who writes them out.
#[derive(Default)]
pub(crate) struct Reports {
    notes: Mutex<Notes>,
    noted: Condvar,
}

#[derive(Default)]
struct Notes {
    peers: BTreeMap<NodeId, Slot>,
    counters: Option<Vec<(NodeId, LinkCounters)>>,
}

/// The news of one peer since they were last written out.
#[derive(Clone, Copy, Default)]
struct Slot {
    came: Option<Listener>,
    stands: Option<Stands>,
    decided: Option<Round>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Up,
    Down,
}

impl Reports {
    /// A session was established.
    pub(crate) fn up(&self, peer: NodeId, listener: Listener) {
        self.note(|notes| {
            let slot = notes.peers.entry(peer).or_default();
            slot.stands = Some(Stands::Up);
            if slot.came != Some(Listener::New) {
                slot.came = Some(listener);
            }
        });
    }

    /// The session was lost.
    pub(crate) fn down(&self, peer: NodeId) {
        self.note(|notes| notes.peers.entry(peer).or_default().stands = Some(Stands::Down));
    }

    /// A peer told how far it has decided.
    pub(crate) fn decided(&self, peer: NodeId, decided: Round) {
        self.note(|notes| notes.peers.entry(peer).or_default().decided = Some(decided));
    }

    /// The counters of all links.
    pub(crate) fn counters(&self, links: Vec<(NodeId, LinkCounters)>) {
        self.note(|notes| notes.counters = Some(links));
    }

    /// Writes out what is noted, for ever.
    ///
    /// # Errors
    /// When the queue to the core fails: the core is gone.
    pub(crate) fn write_to(&self, sink: &mut impl Write) -> io::Result<()> {
        let mut writer = IpcWriter::new();
        loop {
            let mut notes = self.lock();
            while notes.peers.is_empty() && notes.counters.is_none() {
                notes = self.noted.wait(notes).expect(NO_PANIC);
            }
            let notes = std::mem::take(&mut *notes);
            for message in notes.messages() {
                writer.push_small(&message, &[]);
            }
            writer.write_all(sink)?;
        }
    }

    fn note(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.lock());
        self.noted.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "no thread panics while it holds this lock: a panic ends the process";

impl Notes {
    fn messages(self) -> Vec<ToCore> {
        let mut messages = Vec::new();
        for (peer, slot) in self.peers {
            match slot.came {
                Some(Listener::New) => messages.push(ToCore::PeerUp { peer }),
                Some(Listener::Same) => messages.push(ToCore::PeerBack { peer }),
                None => {}
            }
            messages.extend(slot.decided.map(|decided| ToCore::PeerDecided { peer, decided }));
            if slot.stands == Some(Stands::Down) {
                messages.push(ToCore::PeerDown { peer });
            }
        }
        messages.extend(self.counters.map(|links| ToCore::Counters { links, refused: Vec::new() }));
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(3);

    fn messages(note: impl FnOnce(&Reports)) -> Vec<ToCore> {
        let reports = Reports::default();
        note(&reports);
        std::mem::take(&mut *reports.lock()).messages()
    }

    #[test]
    fn a_new_process_is_never_forgotten_and_the_last_state_stands_last() {
        let told = messages(|reports| {
            reports.up(PEER, Listener::New);
            reports.decided(PEER, Round(4));
            reports.down(PEER);
            reports.up(PEER, Listener::Same);
            reports.decided(PEER, Round(5));
        });
        let decided = ToCore::PeerDecided { peer: PEER, decided: Round(5) };
        assert_eq!(told, [ToCore::PeerUp { peer: PEER }, decided]);
        let told = messages(|reports| {
            reports.up(PEER, Listener::Same);
            reports.down(PEER);
        });
        assert_eq!(told, [ToCore::PeerBack { peer: PEER }, ToCore::PeerDown { peer: PEER }]);
        assert_eq!(messages(|reports| reports.down(PEER)), [ToCore::PeerDown { peer: PEER }]);
    }

    #[test]
    fn only_the_last_counters_are_told() {
        let links = |sent| vec![(PEER, LinkCounters { data_sent: sent, ..LinkCounters::default() })];
        let told = messages(|reports| {
            reports.counters(links(1));
            reports.counters(links(2));
        });
        assert_eq!(told, [ToCore::Counters { links: links(2), refused: Vec::new() }]);
    }
}
