//! A second core of one honest member: it is fed what a journal of the first one would hold, and must do the same.
//!
//! Whatever a core learned besides its events and their times would make the two differ: a clock, ambient randomness,
//! an order of iteration that is not fixed, a level of tracing that has effects. Every event and check passes through
//! its encoding, so the journal loses nothing either. One seed in [`SHADOWED`] has a shadow, of its first honest
//! member.
//!
//! From time to time the shadow is made anew from its own snapshot, which must change nothing; and its state must then
//! be that of the member, byte for byte.

use std::sync::Arc;

use ::wire::ids::NodeId;
use ::wire::record::Item;

use ::wire::committee::Committee;

use crate::core::{Core, CoreConfig};
use crate::crypto::suite::Suite;
use crate::event::{Effect, Event};
use crate::journal::{self, Check, Durability, Opening, Replay, SnapshotHead, Start};
use crate::sim::checker::Violation;
use crate::sim::run::Ran;
use crate::time::Time;
use crate::trace::Tracing;

/// One seed in so many: a shadow costs as much as a member.
const SHADOWED: u64 = 4;

/// Events between two snapshots: a prime, so that they meet all moments of a round.
const EVENTS_A_SNAPSHOT: u64 = 97;

/// See the module.
pub(super) struct Shadow {
    replay: Replay,
    node: NodeId,
    done: Check,
    committee: Arc<Committee>,
    suite: Arc<dyn Suite>,
}

impl Shadow {
    /// A shadow for a core of this configuration, if the scenario of this seed has one.
    pub(super) fn of(seed: u64, config: &CoreConfig, suite: Arc<dyn Suite>) -> Option<Shadow> {
        let start = Start {
            number: 1,
            boot: String::new(),
            durability: Durability::Process,
            unix_ms: 0,
            now: Time::default(),
        };
        let opening = Opening::of("simulation".into(), config, start);
        let committee = config.committee.clone();
        let begin = || Replay::begin(opening, committee.clone(), config.node, suite.clone(), Tracing::All);
        let replay = seed.is_multiple_of(SHADOWED).then(begin)?;
        let replay = replay.expect("the opening is of this committee and begins its journal");
        Some(Shadow { replay, node: config.node, done: Check::default(), committee, suite })
    }

    /// The member whose shadow it is.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// The member has handled an event, with these effects.
    pub(super) fn follow(&mut self, now: Time, event: &Event, effects: &[Effect], core: &Core) -> Ran {
        self.done.events += 1;
        effects.iter().for_each(|effect| self.done.add(effect));
        for record in [journal::record(now, event), self.done.record()] {
            let stepped = self.replay.step(Item::Record(record));
            stepped.map_err(|error| self.differs(error.to_string()))?;
        }
        if self.done.events.is_multiple_of(EVENTS_A_SNAPSHOT) { self.renew(core) } else { Ok(()) }
    }

    fn renew(&mut self, core: &Core) -> Ran {
        let head = self.replay.snapshot_head();
        let snapshot = snapshot(&head, self.replay.core());
        if snapshot != self::snapshot(&head, core) {
            return Err(self.differs(format!("its state after {} events is another one", self.done.events)));
        }
        let (committee, suite) = (self.committee.clone(), self.suite.clone());
        let again = SnapshotHead::parse(&snapshot).and_then(|(head, image)| {
            Replay::from_snapshot(head, image, committee, self.node, suite, Tracing::All)
        });
        self.replay = again.map_err(|error| self.differs(error.to_string()))?;
        if self::snapshot(&head, self.replay.core()) != snapshot || self.replay.snapshot_head() != head {
            return Err(
                self.differs(format!("the snapshot after {} events is read as another", self.done.events))
            );
        }
        Ok(())
    }

    fn differs(&self, error: String) -> Violation {
        Violation::Replay { node: self.node, error }
    }
}

fn snapshot(head: &SnapshotHead, core: &Core) -> Vec<u8> {
    let mut bytes = Vec::new();
    head.write(core, &mut bytes).expect("a vector takes all bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use ::wire::committee::Protocol;

    use super::*;
    use crate::crypto::deal::{deal_committee, seeded_entropy};
    use crate::crypto::hash_suite::HashSuite;
    use crate::lane::LaneSettings;
    use crate::pending::MempoolLimits;

    #[test]
    fn a_member_that_does_anything_else_is_told() {
        let committee = Arc::new(deal_committee(4, 1, Protocol::default(), seeded_entropy(7)).0);
        let (lanes, mempool) = (LaneSettings::default(), MempoolLimits::default());
        let (node, tracing) = (NodeId(0), Tracing::Off);
        let config = CoreConfig {
            committee: committee.clone(),
            node,
            lanes,
            mempool,
            batch: 10,
            hash_seed: 1,
            tracing,
        };
        let suite = || Arc::new(HashSuite::new(&committee, node, 7));
        assert!(Shadow::of(1, &config, suite()).is_none());
        let mut shadow = Shadow::of(0, &config, suite()).expect("this seed has one");
        let mut core = Core::new(config, suite());
        // Bytes that are no request are answered with an error.
        let event = Event::Client {
            client: ::wire::ids::ClientId(1),
            body: ::wire::bytes::Bytes::from(vec![0xFF; 9]),
        };
        let effects = core.handle(Time(1), event.clone());
        assert_eq!(effects.len(), 1);
        assert_eq!(shadow.follow(Time(1), &event, &effects, &core), Ok(()));
        let again = core.handle(Time(2), event.clone());
        let told = shadow.follow(Time(2), &event, &[again[0].clone(), again[0].clone()], &core);
        assert!(matches!(told, Err(Violation::Replay { node: NodeId(0), .. })), "{told:?}");
    }
}
