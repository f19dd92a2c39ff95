//! The log's lines about a node that is behind its shard: when it falls behind, when it is current again, and when it
//! is behind every history.

use bft::time::{Span, Time};
use wire::ids::Round;

/// A node fewer rounds behind is current: peers report what they have decided once a second.
const CURRENT_ROUNDS: u64 = 200;
/// How often the loop looks.
const EVERY: Span = Span::from_ms(1_000);

/// The state that was last logged.
#[derive(Debug, Default)]
pub(crate) struct LagLog {
    looked_at: Option<Time>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Current,
    Behind {
        since: Time,
        most: u64,
    },
    /// No member has the rounds any more that this node lacks.
    Lost,
}

impl LagLog {
    /// Whether it is time to look; at most once a second.
    pub(crate) fn is_due(&mut self, now: Time) -> bool {
        let is_due = self.looked_at.is_none_or(|last| now.since(last) >= EVERY);
        if is_due {
            self.looked_at = Some(now);
        }
        is_due
    }

    /// Logs what has changed: the node has executed up to `executed` and is `behind` rounds behind; `history_lost` is
    /// the first round that some member has, if none has the next one.
    pub(crate) fn look(&mut self, now: Time, executed: Round, behind: u64, history_lost: Option<Round>) {
        if let Some(line) = self.line(now, executed, behind, history_lost) {
            match self.state {
                State::Current => log::info!("{line}"),
                State::Behind { .. } | State::Lost => log::warn!("{line}"),
            }
        }
    }

    fn line(
        &mut self,
        now: Time,
        executed: Round,
        behind: u64,
        history_lost: Option<Round>,
    ) -> Option<String> {
        match (self.state, history_lost) {
            (State::Lost, Some(_)) => None,
            (_, Some(first)) => {
                self.state = State::Lost;
                Some(format!(
                    "{behind} rounds behind every history: round {} is needed next, and the oldest that any member \
                     still has is {first}; takes over the state of other members instead (a longer history, \
                     --history-mib, would reach further back)",
                    executed.next()
                ))
            }
            (State::Current | State::Lost, None) if behind > CURRENT_ROUNDS => {
                self.state = State::Behind { since: now, most: behind };
                Some(format!("{behind} rounds behind the shard, at round {executed}: catching up"))
            }
            (State::Behind { since, most }, None) if behind > CURRENT_ROUNDS => {
                self.state = State::Behind { since, most: most.max(behind) };
                None
            }
            (State::Behind { since, most }, None) => {
                self.state = State::Current;
                let seconds = now.since(since).0 as f64 / 1e6;
                Some(format!(
                    "current again, at round {executed}: was {most} rounds behind, took {seconds:.1} s"
                ))
            }
            (State::Lost, None) => {
                self.state = State::Current;
                Some(format!("current again, at round {executed}"))
            }
            (State::Current, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(0) + Span::from_ms(ms)
    }

    #[test]
    fn each_change_is_logged_once() {
        let mut log = LagLog::default();
        let mut look = |ms, executed, behind| log.line(at(ms), Round(executed), behind, None);
        assert_eq!(look(0, 900, 3), None);
        let behind = look(1_000, 900, 3_000).unwrap();
        assert_eq!(behind, "3000 rounds behind the shard, at round 900: catching up");
        assert_eq!(look(2_000, 2_000, 3_100), None);
        let current = look(4_500, 5_500, 10).unwrap();
        assert_eq!(current, "current again, at round 5500: was 3100 rounds behind, took 3.5 s");
        assert_eq!(look(5_500, 5_600, 10), None);
    }

    #[test]
    fn a_node_behind_every_history_names_the_round_that_is_gone() {
        let mut log = LagLog::default();
        let mut look = |history_lost| log.line(at(0), Round(866), 30_000, history_lost);
        assert!(look(None).unwrap().starts_with("30000 rounds behind"));
        let line = look(Some(Round(20_000))).unwrap();
        assert!(line.contains("round 867 is needed next") && line.contains("still has is 20000"), "{line}");
        assert_eq!(look(Some(Round(20_001))), None);
        assert!(look(None).is_some(), "a member has turned up that has it");
    }

    #[test]
    fn it_looks_once_a_second() {
        let mut log = LagLog::default();
        let due: Vec<u64> = (0..3_000).step_by(100).filter(|ms| log.is_due(at(*ms))).collect();
        assert_eq!(due, [0, 1_000, 2_000]);
    }
}
