//! Connections that may have something to read, each once, served in turn.
//!
//! Readiness is edge-triggered: it is told once and remembered here until a read finds nothing. So a connection that
//! is not read for a while (backpressure) costs nothing, and is not forgotten.

use std::collections::{BTreeSet, VecDeque};

use mio::Token;

/// The connections, in the order in which they are to be served.
#[derive(Default)]
pub(crate) struct Ready {
    order: VecDeque<Token>,
    members: BTreeSet<Token>,
}

impl Ready {
    /// Adds a connection at the end, if it is not in already.
    pub(crate) fn add(&mut self, token: Token) {
        if self.members.insert(token) {
            self.order.push_back(token);
        }
    }

    /// Takes the connection whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<Token> {
        let token = self.order.pop_front()?;
        self.members.remove(&token);
        Some(token)
    }

    /// Whether this connection waits to be read.
    pub(crate) fn contains(&self, token: Token) -> bool {
        self.members.contains(&token)
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.order.len()
    }
}
