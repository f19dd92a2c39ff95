//! The receiver's side of sequence numbers.

/// How a data frame fits the sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It is the expected one.
    Next,
    /// It has arrived before, or was skipped.
    Duplicate,
    /// One or more before it are missing. Closes the connection.
    Gap,
}

/// The receiver's side of the sequence of one (dialer, incarnation).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InOrder {
    next: u64,
}

impl InOrder {
    /// The number expected next, for acks and the listener's reply.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Classifies a data frame with this number, and counts it if it is the expected one.
    pub fn accept(&mut self, sequence: u64) -> Arrival {
        if sequence < self.next {
            return Arrival::Duplicate;
        }
        match self.next.checked_add(1) {
            Some(after) if sequence == self.next => {
                self.next = after;
                Arrival::Next
            }
            _ => Arrival::Gap,
        }
    }

    /// Handles a [`Skip`](super::Kind::Skip): the missing frames below `next` will not come.
    pub fn skip_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_accepted_once_and_in_order() {
        let mut order = InOrder::default();
        for (sequence, arrival) in [
            (0, Arrival::Next),
            (0, Arrival::Duplicate),
            (2, Arrival::Gap),
            (1, Arrival::Next),
            (u64::MAX, Arrival::Gap),
            (2, Arrival::Next),
        ] {
            assert_eq!(order.accept(sequence), arrival, "{sequence}");
        }
        order.skip_to(10);
        order.skip_to(7);
        assert_eq!(
            (order.next(), order.accept(9), order.accept(10)),
            (10, Arrival::Duplicate, Arrival::Next)
        );
    }

    #[test]
    fn a_skip_to_the_last_number_leaves_none() {
        let mut order = InOrder::default();
        order.skip_to(u64::MAX);
        assert_eq!(order.accept(u64::MAX), Arrival::Gap);
        assert_eq!(order.next(), u64::MAX);
    }
}
