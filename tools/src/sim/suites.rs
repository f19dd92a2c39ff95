//! `tools sim --suite`: which signatures and threshold coin the runs use, and what that leaves out.

use bft::sim::{Adversary, Scenario, SuiteKind};
use wire::nearest::nearest;

use crate::flags::UsageError;

/// The suites of a list of scenarios.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Suites {
    /// One for all of them.
    Only(SuiteKind),
    /// [`SuiteKind::mixed`].
    Mixed,
}

impl Suites {
    pub(super) fn parse(name: &str) -> Result<Suites, UsageError> {
        let all = [Suites::Only(SuiteKind::Real), Suites::Only(SuiteKind::StandIn), Suites::Mixed];
        all.into_iter().find(|suites| suites.name() == name).ok_or_else(|| UsageError::Unknown {
            what: "suite",
            given: name.to_string(),
            nearest: nearest(name, all.into_iter().map(Suites::name)).map(String::from),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Suites::Only(kind) => kind.name(),
            Suites::Mixed => "mixed",
        }
    }

    pub(super) fn of(self, seed: u64, adversary: Adversary) -> SuiteKind {
        match self {
            Suites::Only(kind) => kind,
            Suites::Mixed => SuiteKind::mixed(seed, adversary),
        }
    }
}

/// The line on the suites of these runs. It stands at the end, where it is read: a change of the real suite leaves runs
/// on the stand-in as they were, to the frame.
pub(super) fn sentence(scenarios: &[Scenario]) -> String {
    let all = scenarios.len();
    let stand_ins = scenarios.iter().filter(|scenario| scenario.suite == SuiteKind::StandIn).count();
    match stand_ins {
        0 => format!("suite: real in all {all}"),
        _ => format!(
            "suite: real in {} of {all}; warning: the stand-in runs nothing of \
             bft::crypto::{{real, ed25519, coin}} but coin::leader (--suite real does)",
            all - stand_ins
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_on_the_stand_in_are_warned_of() {
        let sentence = |suites: Suites| {
            let scenario = |seed| Scenario {
                suite: suites.of(seed, Adversary::Mute),
                ..Scenario::mixed(seed, 4, 1, Adversary::Mute)
            };
            sentence(&(0..24).map(scenario).collect::<Vec<_>>())
        };
        assert_eq!(sentence(Suites::parse("real").unwrap()), "suite: real in all 24");
        let of_stand_ins = sentence(Suites::parse("stand-in").unwrap());
        assert!(of_stand_ins.starts_with("suite: real in 0 of 24; warning: the stand-in"), "{of_stand_ins}");
        let mixed = sentence(Suites::parse("mixed").unwrap());
        assert!(mixed.starts_with("suite: real in 3 of 24; warning: the stand-in"), "{mixed}");
        assert!(mixed.ends_with("(--suite real does)"), "{mixed}");
    }
}
