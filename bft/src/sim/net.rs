//! Messages under way, in virtual time: what the simulator, the bench of agreement and the unit tests share.
//!
//! Messages are ordered by time of arrival and, where times are equal, by the order in which they were sent. A script
//! may take any of them out of that order, and lose those that it picks, once or from then on.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use crate::time::Time;

type Picks<M> = Rc<dyn Fn(&M) -> bool>;

/// The network. `M` holds sender and recipient, as far as its user needs them.
#[derive(Clone)]
pub(crate) struct Net<M> {
    queue: BTreeMap<(Time, u64), M>,
    sent: u64,
    lost: Vec<Picks<M>>,
}

impl<M> Default for Net<M> {
    fn default() -> Net<M> {
        Net { queue: BTreeMap::new(), sent: 0, lost: Vec::new() }
    }
}

impl<M: fmt::Debug> fmt::Debug for Net<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.queue).finish()
    }
}

impl<M> Net<M> {
    /// Sends a message that arrives at a time, unless [`Net::lose_always`] picks it.
    pub(crate) fn send(&mut self, at: Time, message: M) {
        if !self.loses(&message) {
            self.send_surely(at, message);
        }
    }

    /// Sends a message that arrives in any case.
    pub(crate) fn send_surely(&mut self, at: Time, message: M) {
        self.queue.insert((at, self.sent), message);
        self.sent += 1;
    }

    /// Whether [`Net::lose_always`] picks a message.
    pub(crate) fn loses(&self, message: &M) -> bool {
        self.lost.iter().any(|picks| picks(message))
    }

    /// The messages under way, in order of arrival.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = &M> {
        self.queue.values()
    }

    /// Number of messages under way.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// When the next message arrives.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next message, and its time.
    pub(crate) fn pop(&mut self) -> Option<(Time, M)> {
        self.queue.pop_first().map(|((at, _), message)| (at, message))
    }

    /// Takes the message that `before` others precede.
    pub(crate) fn take_nth(&mut self, before: usize) -> Option<M> {
        let key = *self.queue.keys().nth(before)?;
        self.queue.remove(&key)
    }

    /// Takes the first message that is picked.
    pub(crate) fn take_first(&mut self, picks: impl Fn(&M) -> bool) -> Option<M> {
        let key = self.queue.iter().find(|(_, message)| picks(message)).map(|(key, _)| *key)?;
        self.queue.remove(&key)
    }

    /// Takes all messages that are picked by time of arrival and content.
    pub(crate) fn take_all(&mut self, mut picks: impl FnMut(Time, &M) -> bool) -> Vec<M> {
        let picked = self.queue.iter().filter(|((at, _), message)| picks(*at, message)).map(|(key, _)| *key);
        let picked: Vec<_> = picked.collect();
        picked.iter().filter_map(|key| self.queue.remove(key)).collect()
    }

    /// Loses the messages under way that are picked, and those that are from now on.
    pub(crate) fn lose_always(&mut self, picks: impl Fn(&M) -> bool + 'static) {
        self.queue.retain(|_, message| !picks(message));
        self.lost.push(Rc::new(picks));
    }

    /// Loses nothing any more.
    pub(crate) fn lose_no_more(&mut self) {
        self.lost.clear();
    }
}
