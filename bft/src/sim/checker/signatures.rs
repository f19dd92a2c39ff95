//! Every statement that an honest member has signed, over all its lives: no two contradict each other.
//!
//! A member signs while it handles an event. The statements count once the effects of that event may leave it: what
//! a crash took with it before that is known to nobody.

use std::collections::BTreeMap;

use wire::ids::NodeId;

use crate::crypto::suite::Statement;
use crate::sim::checker::{Checked, Checker, Violation};

/// The statements by signer and subject.
#[derive(Debug, Default)]
pub(super) struct Signatures(BTreeMap<(NodeId, Statement), Statement>);

impl Checker {
    /// An honest member has signed these.
    pub(in crate::sim) fn on_signed(&mut self, node: NodeId, statements: &[Statement]) -> Checked {
        for statement in statements {
            let first = self.signatures.0.entry((node, statement.subject())).or_insert(*statement);
            if first != statement {
                let (first, second) = (*first, *statement);
                return Err(Violation::Contradiction { node, first, second });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wire::ids::{Digest, Index, Round, View};

    use super::*;
    use crate::crypto::suite::Stage;

    #[test]
    fn a_second_value_contradicts_the_first_and_unlock_contradicts_finish() {
        let agreement = |stage, digest| {
            let (round, view, leader, digest) = (Round(1), View(0), Index(2), Digest([digest; 32]));
            Statement::Agreement { round, view, leader, stage, digest }
        };
        let contradict = |one: Statement, other: Statement| one.subject() == other.subject() && one != other;
        assert!(contradict(agreement(Stage::Lock, 1), agreement(Stage::Lock, 2)));
        assert!(contradict(agreement(Stage::Finish, 1), agreement(Stage::Unlock, 0)));
        for (one, other) in
            [(Stage::Lock, Stage::Finish), (Stage::No, Stage::Finish), (Stage::No, Stage::Unlock)]
        {
            assert!(!contradict(agreement(one, 0), agreement(other, 0)), "{one:?} and {other:?}");
        }
        let [first, second] =
            [1, 2].map(|digest| Statement::Block { height: Round(1), digest: Digest([digest; 32]) });
        assert!(contradict(first, second) && !contradict(first, agreement(Stage::Lock, 2)));
    }
}
