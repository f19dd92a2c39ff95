//! Committed transactions, by how long their clients waited at their contacts: the slowest, the median, a random one.
//!
//! Admission and receipt are logged by the same node, so no two clocks are compared. Cores log both at level debug for
//! transactions between shards, at level trace for all. Bound: [`COMMITTED_MAX`] transactions, the first of the logs.

use std::collections::BTreeMap;

use bft::trace::{TraceEvent, TxStep};
use wire::client::Fate;
use wire::ids::NodeId;
use wire::name::{Name, TxHead};

use super::merge::Record;
use super::moment::Stamp;

/// Some fifty megabytes.
const COMMITTED_MAX: usize = 500_000;

/// Which of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pick {
    Slowest,
    Median,
    /// Another one each time.
    Random,
}

impl Pick {
    pub(super) const ALL: [Pick; 3] = [Pick::Slowest, Pick::Median, Pick::Random];

    /// Its name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Pick::Slowest => "slowest",
            Pick::Median => "median",
            Pick::Random => "random",
        }
    }
}

/// All that were admitted, and their waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Committed {
    /// Admitted, and not answered yet.
    open: BTreeMap<(NodeId, TxHead), Stamp>,
    done: Vec<Wait>,
    left_out: u64,
}

/// From admission to receipt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Wait {
    us: i64,
    pub(super) tx: TxHead,
    admitted: Stamp,
}

impl Committed {
    /// Takes note of an admission or a receipt.
    pub(super) fn add(&mut self, record: &Record) {
        let (Some(TraceEvent::Tx { tx, step }), Some(at)) = (&record.event, record.at()) else { return };
        let key = (record.source.node, *tx);
        match step {
            TxStep::Admitted { .. } if self.open.len() + self.done.len() < COMMITTED_MAX => {
                self.open.entry(key).or_insert(at);
            }
            TxStep::Admitted { .. } => self.left_out += 1,
            TxStep::Answered { fate, .. } => {
                let admitted = self.open.remove(&key);
                if let (Some(admitted), Fate::Finished(_)) = (admitted, fate) {
                    self.done.push(Wait { us: at.0 - admitted.0, tx: *tx, admitted });
                }
            }
            _ => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// One of them.
    pub(super) fn pick(&mut self, pick: Pick) -> Option<Wait> {
        let last = self.done.len().checked_sub(1)?;
        let at = match pick {
            Pick::Slowest => last,
            Pick::Median => last / 2,
            Pick::Random => wire::rand::below(last + 1),
        };
        Some(*self.done.select_nth_unstable(at).1)
    }

    /// A line each for the three.
    pub(super) fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for pick in Pick::ALL {
            let Some(Wait { us, tx, admitted }) = self.pick(pick) else { return lines };
            let (name, count) = (Name::Tx(tx), self.done.len());
            let ms = us as f64 / 1e3;
            lines.push(format!("{admitted}  {name}  committed in {ms:.3} ms, {} of {count}", pick.name()));
        }
        if self.left_out > 0 {
            lines.push(format!("admitted after those, and not kept: {}", self.left_out));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use log::Level;
    use wire::client::Rejection;
    use wire::ids::{ClientId, Round};

    use super::*;
    use crate::logs::line::Process;
    use crate::logs::merge::Source;

    fn add(committed: &mut Committed, at_us: i64, node: u16, id: u64, step: TxStep) {
        let event = Some(TraceEvent::Tx { tx: TxHead(id.to_be_bytes()), step });
        let source = Source { node: NodeId(node), process: Process::Node };
        let head = Some((Stamp(at_us), Level::Trace));
        committed.add(&Record { source, head, text: String::new(), event });
    }

    #[test]
    fn waits_are_measured_at_the_contact() {
        let mut committed = Committed::default();
        let client = ClientId(1);
        let answered = |fate| TxStep::Answered { client, fate };
        let finished = answered(Fate::Finished(Round(1)));
        for (id, us) in [(1, 1_500), (2, 9_000), (3, 2_000)] {
            add(&mut committed, 0, 0, id, TxStep::Admitted { client });
            add(&mut committed, us - 1, 1, id, finished.clone());
            add(&mut committed, us, 0, id, finished.clone());
            // The client asks for it once more.
            add(&mut committed, us + 1, 0, id, finished.clone());
        }
        add(&mut committed, 0, 0, 4, TxStep::Admitted { client });
        add(&mut committed, 99_000, 0, 4, answered(Fate::Rejected(Rejection::Spent)));
        add(&mut committed, 99_000, 0, 5, finished);
        let lines = committed.lines();
        assert_eq!(lines[0], "00:00:00.000000  tx 0000000000000002  committed in 9.000 ms, slowest of 3");
        assert_eq!(lines[1], "00:00:00.000000  tx 0000000000000003  committed in 2.000 ms, median of 3");
        assert!(lines[2].ends_with(" ms, random of 3"), "{}", lines[2]);
        assert_eq!(lines.len(), 3);
        assert!(Committed::default().lines().is_empty());
    }
}
