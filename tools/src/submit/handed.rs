//! A transaction at the nodes that it was handed to: what their replies mean for it.
//!
//! Only the contact, the last of them, can refuse it. Once it was handed on, the node before may still have it and
//! execute it, so a contact without room is queried again instead. *Spent* may mean that this very transaction spent
//! the input: the contact refuses it only if it does not know its end either.

use std::time::{Duration, Instant};

use wire::client::{Fate, Refusal, Reply};
use wire::ids::NodeId;

use super::transfer::Written;

/// Pause before a contact without room is queried again, unless it names another one.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest pause, whatever the contact names.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What a reply calls for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Nothing,
    Query(NodeId),
    /// To the contact.
    Submit,
    End(Fate),
}

/// What the contact has refused so far.
enum Refused {
    Nothing,
    /// To be queried again then.
    ForNow(Instant),
    Spent,
}

/// See the module.
pub(super) struct Handed {
    pub(super) written: Written,
    /// The last one is its contact.
    nodes: Vec<NodeId>,
    refused: Refused,
}

impl Handed {
    pub(super) fn to(first: NodeId, written: Written) -> Handed {
        Handed { written, nodes: vec![first], refused: Refused::Nothing }
    }

    pub(super) fn contact(&self) -> NodeId {
        *self.nodes.last().expect("it is handed to one at first")
    }

    /// Nodes that had it before the contact.
    pub(super) fn handed_on(&self) -> usize {
        self.nodes.len() - 1
    }

    pub(super) fn was_at(&self, node: NodeId) -> bool {
        self.nodes.contains(&node)
    }

    /// Makes another node its contact, which must be queried first.
    pub(super) fn hand_on(&mut self, to: NodeId) {
        self.nodes.push(to);
        self.refused = Refused::Nothing;
    }

    /// Takes a reply of any node.
    pub(super) fn on_reply(&mut self, node: NodeId, reply: &Reply, now: Instant) -> Step {
        match reply {
            Reply::Receipts(receipts) => {
                let receipt = receipts.iter().find(|receipt| receipt.id == self.written.id);
                receipt.map_or(Step::Nothing, |receipt| self.on_fate(node, receipt.fate, now))
            }
            Reply::TryAgain { after_ms } if node == self.contact() => {
                if let Refused::ForNow(due) = &mut self.refused {
                    *due = now + Duration::from_millis(u64::from(*after_ms)).min(PAUSE_MAX);
                }
                Step::Nothing
            }
            _ => Step::Nothing,
        }
    }

    fn on_fate(&mut self, node: NodeId, fate: Fate, now: Instant) -> Step {
        match fate {
            Fate::Finished(_) | Fate::Rejected(_) | Fate::Expired => Step::End(fate),
            // It was handed on, and this node has it meanwhile.
            Fate::Refused(Refusal::Duplicate) => Step::Query(node),
            Fate::Refused(_) | Fate::Unknown if node != self.contact() => Step::Nothing,
            Fate::Refused(Refusal::Spent) => {
                self.refused = Refused::Spent;
                Step::Query(node)
            }
            Fate::Refused(Refusal::Full | Refusal::ClientShare | Refusal::ExpiryTooFar)
                if self.handed_on() > 0 =>
            {
                self.refused = Refused::ForNow(now + PAUSE);
                Step::Nothing
            }
            Fate::Refused(_) => Step::End(fate),
            Fate::Unknown if matches!(self.refused, Refused::Spent) => {
                Step::End(Fate::Refused(Refusal::Spent))
            }
            Fate::Unknown => Step::Submit,
        }
    }

    /// Whether the contact is to be queried again now; once for each refusal.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = matches!(self.refused, Refused::ForNow(due) if due <= now);
        if is_due {
            self.refused = Refused::Nothing;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use wire::client::Receipt;
    use wire::ids::{Round, TxId};

    use super::*;

    const FIRST: NodeId = NodeId(0);
    const SECOND: NodeId = NodeId(1);

    fn handed() -> Handed {
        Handed::to(FIRST, Written { id: TxId([7; 32]), bytes: Vec::new(), creates: Vec::new() })
    }

    fn receipt(fate: Fate) -> Reply {
        Reply::Receipts(vec![Receipt { id: TxId([7; 32]), fate }])
    }

    const NO_ROOM: [Refusal; 3] = [Refusal::Full, Refusal::ClientShare, Refusal::ExpiryTooFar];

    #[test]
    fn the_first_contact_refuses_for_good() {
        for reason in NO_ROOM {
            let step = handed().on_reply(FIRST, &receipt(Fate::Refused(reason)), Instant::now());
            assert_eq!(step, Step::End(Fate::Refused(reason)));
        }
    }

    #[test]
    fn a_second_contact_without_room_is_queried_again() {
        let now = Instant::now();
        for reason in NO_ROOM {
            let mut handed = handed();
            handed.hand_on(SECOND);
            assert_eq!(handed.on_reply(SECOND, &receipt(Fate::Refused(reason)), now), Step::Nothing);
            assert!(!handed.is_due(now));
            assert!(handed.is_due(now + PAUSE), "{reason:?}");
            assert!(!handed.is_due(now + PAUSE), "once");
            assert_eq!(handed.on_reply(SECOND, &receipt(Fate::Unknown), now), Step::Submit);
        }
    }

    #[test]
    fn a_contact_without_room_names_the_pause() {
        let now = Instant::now();
        let mut handed = handed();
        handed.hand_on(SECOND);
        handed.on_reply(SECOND, &receipt(Fate::Refused(Refusal::Full)), now);
        handed.on_reply(FIRST, &Reply::TryAgain { after_ms: 1 }, now);
        handed.on_reply(SECOND, &Reply::TryAgain { after_ms: 250 }, now);
        assert!(!handed.is_due(now + Duration::from_millis(249)));
        assert!(handed.is_due(now + Duration::from_millis(250)));
        handed.on_reply(SECOND, &receipt(Fate::Refused(Refusal::Full)), now);
        handed.on_reply(SECOND, &Reply::TryAgain { after_ms: u32::MAX }, now);
        assert!(handed.is_due(now + PAUSE_MAX));
    }

    #[test]
    fn spent_is_a_refusal_only_where_the_end_is_unknown() {
        let now = Instant::now();
        let spent = receipt(Fate::Refused(Refusal::Spent));
        let mut handed = handed();
        assert_eq!(handed.on_reply(FIRST, &spent, now), Step::Query(FIRST));
        let unknown = handed.on_reply(FIRST, &receipt(Fate::Unknown), now);
        assert_eq!(unknown, Step::End(Fate::Refused(Refusal::Spent)));
        let finished = Fate::Finished(Round(3));
        assert_eq!(handed.on_reply(FIRST, &receipt(finished), now), Step::End(finished));
    }

    #[test]
    fn a_node_before_the_contact_can_report_ends_alone() {
        let now = Instant::now();
        let mut handed = handed();
        handed.hand_on(SECOND);
        for fate in [Fate::Unknown, Fate::Refused(Refusal::Invalid), Fate::Refused(Refusal::Spent)] {
            assert_eq!(handed.on_reply(FIRST, &receipt(fate), now), Step::Nothing);
        }
        let duplicate = receipt(Fate::Refused(Refusal::Duplicate));
        assert_eq!(handed.on_reply(FIRST, &duplicate, now), Step::Query(FIRST));
        assert_eq!(handed.on_reply(FIRST, &receipt(Fate::Expired), now), Step::End(Fate::Expired));
    }
}
