//! A queue of readable connections, each at most once.
//!
//! Readiness is edge-triggered, so it is remembered here until a read finds the socket empty. A connection that is not
//! read for a while (backpressure) costs nothing and is not forgotten.

use std::collections::{BTreeSet, VecDeque};

use mio::Token;

/// The connections, in the order of service.
#[derive(Default)]
pub(crate) struct Ready {
    order: VecDeque<Token>,
    members: BTreeSet<Token>,
}

impl Ready {
    /// Adds a connection at the end, unless it is in the queue.
    pub(crate) fn add(&mut self, token: Token) {
        if self.members.insert(token) {
            self.order.push_back(token);
        }
    }

    /// Removes the connection at the front.
    pub(crate) fn pop(&mut self) -> Option<Token> {
        let token = self.order.pop_front()?;
        self.members.remove(&token);
        Some(token)
    }

    pub(crate) fn contains(&self, token: Token) -> bool {
        self.members.contains(&token)
    }

    pub(crate) fn count(&self) -> usize {
        self.order.len()
    }
}
