//! Reports to the core about links: collected a peer, written by a thread of its own.
//!
//! A busy core lets its side of the queue fill up. The acks loop must not wait for it, because unread acks would fill
//! the outboxes. So the loop only updates a bounded table here: one entry a peer, in which later news replaces earlier,
//! except that a new process and the present state of the link are never lost.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard};

use wire::envelope::{LinkCounters, ToCore};
use wire::ids::{NodeId, Round};
use wire::ipc::IpcWriter;

use crate::outbox::Listener;

/// The unwritten reports, shared by the acks loop and the writer.
#[derive(Default)]
pub(crate) struct Reports {
    unwritten: Mutex<Unwritten>,
    added: Condvar,
    /// What listeners did that they must not, by reason, since the process started.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Default)]
struct Unwritten {
    peers: BTreeMap<NodeId, News>,
    counters: Option<Counters>,
}

/// The counters of all links, and refusals by reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Counters {
    pub(crate) links: Vec<(NodeId, LinkCounters)>,
    pub(crate) refused: Vec<(String, u64)>,
}

/// The news of one peer since the last write.
#[derive(Clone, Copy, Default)]
struct News {
    session_with: Option<Listener>,
    state: Option<State>,
    decided: Option<Round>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Down,
}

impl Reports {
    /// A session was established.
    pub(crate) fn up(&self, peer: NodeId, listener: Listener) {
        self.add(|unwritten| {
            let news = unwritten.peers.entry(peer).or_default();
            news.state = Some(State::Up);
            if news.session_with != Some(Listener::New) {
                news.session_with = Some(listener);
            }
        });
    }

    /// The session was lost.
    pub(crate) fn down(&self, peer: NodeId) {
        self.add(|unwritten| unwritten.peers.entry(peer).or_default().state = Some(State::Down));
    }

    /// A peer has decided up to this round.
    pub(crate) fn decided(&self, peer: NodeId, decided: Round) {
        self.add(|unwritten| unwritten.peers.entry(peer).or_default().decided = Some(decided));
    }

    /// The counters of all links and refusals.
    pub(crate) fn counters(&self, counters: Counters) {
        self.add(|unwritten| unwritten.counters = Some(counters));
    }

    /// Counts a refusal, for the next report of counters.
    pub(crate) fn refuse(&self, reason: &'static str) {
        *self.refused.lock().expect(NO_PANIC).entry(reason).or_default() += 1;
    }

    /// Refusals by reason.
    pub(crate) fn refused(&self) -> Vec<(String, u64)> {
        let refused = self.refused.lock().expect(NO_PANIC);
        refused.iter().map(|(reason, count)| (reason.to_string(), *count)).collect()
    }

    /// Writes reports for ever.
    ///
    /// # Errors
    /// When the queue to the core fails: the core is gone.
    pub(crate) fn write_to(&self, sink: &mut impl Write) -> io::Result<()> {
        let mut writer = IpcWriter::new();
        loop {
            let mut unwritten = self.lock();
            while unwritten.peers.is_empty() && unwritten.counters.is_none() {
                unwritten = self.added.wait(unwritten).expect(NO_PANIC);
            }
            let unwritten = std::mem::take(&mut *unwritten);
            for message in unwritten.messages() {
                writer.push_small(&message, &[]);
            }
            writer.write_all(sink)?;
        }
    }

    fn add(&self, change: impl FnOnce(&mut Unwritten)) {
        change(&mut self.lock());
        self.added.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Unwritten> {
        self.unwritten.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "no thread panics while it holds this lock: a panic ends the process";

impl Unwritten {
    fn messages(self) -> Vec<ToCore> {
        let mut messages = Vec::new();
        for (peer, news) in self.peers {
            match news.session_with {
                Some(Listener::New) => messages.push(ToCore::PeerUp { peer }),
                Some(Listener::Same) => messages.push(ToCore::PeerBack { peer }),
                None => {}
            }
            messages.extend(news.decided.map(|decided| ToCore::PeerDecided { peer, decided }));
            if news.state == Some(State::Down) {
                messages.push(ToCore::PeerDown { peer });
            }
        }
        let counters = self.counters.map(|Counters { links, refused }| ToCore::Counters { links, refused });
        messages.extend(counters);
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(3);

    fn messages(report: impl FnOnce(&Reports)) -> Vec<ToCore> {
        let reports = Reports::default();
        report(&reports);
        std::mem::take(&mut *reports.lock()).messages()
    }

    #[test]
    fn a_new_process_is_always_reported_and_the_present_state_last() {
        let written = messages(|reports| {
            reports.up(PEER, Listener::New);
            reports.decided(PEER, Round(4));
            reports.down(PEER);
            reports.up(PEER, Listener::Same);
            reports.decided(PEER, Round(5));
        });
        let decided = ToCore::PeerDecided { peer: PEER, decided: Round(5) };
        assert_eq!(written, [ToCore::PeerUp { peer: PEER }, decided]);
        let written = messages(|reports| {
            reports.up(PEER, Listener::Same);
            reports.down(PEER);
        });
        assert_eq!(written, [ToCore::PeerBack { peer: PEER }, ToCore::PeerDown { peer: PEER }]);
        assert_eq!(messages(|reports| reports.down(PEER)), [ToCore::PeerDown { peer: PEER }]);
    }

    #[test]
    fn only_the_last_counters_are_reported() {
        let links = |sent| vec![(PEER, LinkCounters { data_sent: sent, ..LinkCounters::default() })];
        let written = messages(|reports| {
            reports.counters(Counters { links: links(1), refused: reports.refused() });
            reports.refuse("a reason");
            reports.counters(Counters { links: links(2), refused: reports.refused() });
        });
        assert_eq!(written, [ToCore::Counters { links: links(2), refused: vec![("a reason".into(), 1)] }]);
    }
}
