//! The proof that a value may be proposed in a view of sMVBA: the last lock, and the UNLOCKs of every view since.
//!
//! Guarantee: once some honest member can decide x in view d, every justification that can exist for a later view
//! justifies x and nothing else.
//!
//! A *chain* for view v consists of certificate 1 of the elected leader of some view w < v over exactly the proposed
//! value, and N−f UNLOCKs for the elected leader of each of the views w+1 … v−1. A chain without a lock begins at
//! view 0 and justifies any valid value.
//!
//! Why it suffices: a decision in view d needs N−f signatures at stage FINISH for the elected leader of d. N−f UNLOCKs
//! for the same leader would share an honest signer with them, but no honest member signs both: a member that has
//! signed FINISH has certificate 1 and votes yes, and no honest member signs READY for a LOCK that arrives after the
//! coin. So N−f UNLOCKs of d cannot exist, and the lock of a later chain is of a view w ≥ d. If w = d, it is
//! certificate 1 of that SPB, of which there is only one, so the value is x. If w > d, f+1 honest members judged the
//! chain of the locked value in w before they echoed it; by induction over the views it is x.
//!
//! Looking back one view would prove too little: UNLOCKs of view v−1 do not show that nothing was decided in view v−2.
//! (Speeding Dumbo's prototype looks back one view; see docs/deviations.md.)
//!
//! Cost: 66 (N−f) bytes and one batch of N−f signatures for each view that a chain spans. In a fair run a view ends
//! without a lock with probability at most 1/3, so a chain seldom holds more than one certificate.

use serde::{Deserialize, Serialize};
use wire::committee::Committee;
use wire::ids::View;

use crate::crypto::cert::Certificate;

/// The chain; the default justifies any valid value in view 0. [`Justification::has_shape`] checks its bounds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Justification {
    /// The last lock; `None` if no view before has ended with one.
    pub lock: Option<Lock>,
    /// N−f signatures at stage UNLOCK for the elected leader of each view since, oldest first; the last are of the view
    /// before the one in which the value is proposed.
    pub unlocks: Vec<Certificate>,
}

/// Certificate 1 of an elected leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lock {
    /// The view in which it was elected.
    pub view: View,
    /// N−f signatures at stage LOCK over the value.
    pub certificate: Certificate,
}

impl Justification {
    /// The chain after a view that ended with a lock.
    pub fn locked(view: View, certificate: Certificate) -> Justification {
        Justification { lock: Some(Lock { view, certificate }), unlocks: Vec::new() }
    }

    /// This chain, longer by a view that ended with N−f UNLOCKs.
    pub fn unlocked(mut self, unlocks: Certificate) -> Justification {
        self.unlocks.push(unlocks);
        self
    }

    /// The view of the first UNLOCKs in the chain of a value proposed in `view`; `None` if there are more UNLOCKs than
    /// views before it.
    pub fn first_unlocked(&self, view: View) -> Option<View> {
        view.0.checked_sub(u32::try_from(self.unlocks.len()).ok()?).map(View)
    }

    /// Whether the chain of a value proposed in `view` begins at its lock, or at view 0 if there is none.
    pub fn reaches_back(&self, view: View) -> bool {
        let begins = self.lock.as_ref().map_or(Some(View(0)), |lock| lock.view.0.checked_add(1).map(View));
        begins.is_some() && self.first_unlocked(view) == begins
    }

    /// Whether its lists are no longer than an honest chain's can be.
    pub fn has_shape(&self, committee: &Committee, view: View) -> bool {
        let lock = self.lock.iter().map(|lock| &lock.certificate);
        self.first_unlocked(view).is_some()
            && lock.chain(&self.unlocks).all(|certificate| certificate.0.len() <= committee.n())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(lock: Option<u32>, unlocks: usize) -> Justification {
        let certificate = Certificate(Vec::new());
        let lock = lock.map(|view| Lock { view: View(view), certificate: certificate.clone() });
        Justification { lock, unlocks: vec![certificate; unlocks] }
    }

    #[test]
    fn a_chain_covers_every_view_since_its_lock() {
        for (lock, unlocks, view, covers) in [
            (None, 0, 0, true),
            (None, 0, 1, false),
            (None, 1, 1, true),
            (None, 1, 2, false),
            (None, 2, 2, true),
            (None, 3, 2, false),
            (Some(0), 0, 1, true),
            (Some(0), 0, 2, false),
            (Some(0), 1, 2, true),
            (Some(1), 1, 2, false),
            (Some(1), 1, 3, true),
            (Some(3), 0, 3, false),
            (Some(u32::MAX), 0, 0, false),
        ] {
            let justification = chain(lock, unlocks);
            assert_eq!(justification.reaches_back(View(view)), covers, "{lock:?}, {unlocks} for view {view}");
        }
    }
}
