//! Where the nodes of a run stand, as `tools status` shows it to anybody who asks.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use crate::place::{eventually, text};

/// A node that is fewer rounds behind is level: nodes answer at different moments, and rounds take milliseconds.
const LEVEL_ROUNDS: u64 = 50;

/// The nodes of a run, looked at by a command that a closure makes: `tools status --json`.
pub(crate) struct Nodes<F> {
    count: usize,
    status: F,
}

/// The answer of one node.
struct Standing {
    /// The last round that it has executed.
    height: u64,
    /// Transactions that it has finished.
    finished: u64,
    /// Rounds behind its shard.
    behind: u64,
}

impl<F: Fn() -> Command> Nodes<F> {
    pub(crate) fn new(count: usize, status: F) -> Nodes<F> {
        Nodes { count, status }
    }

    /// The highest round that a node has executed.
    pub(crate) fn height(&self) -> u64 {
        self.highest(|node| node.height)
    }

    /// The most transactions that a node has finished.
    pub(crate) fn finished(&self) -> u64 {
        self.highest(|node| node.finished)
    }

    /// Waits until a node has executed this round.
    pub(crate) fn wait_for_height(&self, height: u64) {
        eventually(&format!("round {height}"), || (self.height() >= height).then_some(()));
    }

    /// Waits until the shard has executed so many rounds more.
    pub(crate) fn wait_for_rounds(&self, rounds: u64) {
        self.wait_for_height(self.height() + rounds);
    }

    /// Waits until the shard has executed no round for so long.
    pub(crate) fn wait_for_standstill(&self, time: Duration) {
        let mut last = self.height();
        eventually("the shard stands still", || {
            thread::sleep(time);
            let before = std::mem::replace(&mut last, self.height());
            (last == before).then_some(())
        });
    }

    /// Waits until no node is behind. Each look must be answered by all nodes within the 2 s that `tools status` gives
    /// them: a node that catches up answers meanwhile.
    pub(crate) fn wait_until_level(&self) {
        eventually("all nodes are level", || {
            let output = self.look(&[]);
            let told = text(&output);
            assert_eq!(output.status.code(), Some(0), "a node is silent, or nodes disagree: {told}");
            let standings = standings(&told);
            assert_eq!(standings.len(), self.count, "{told}");
            standings.values().all(|node| node.behind <= LEVEL_ROUNDS).then_some(())
        });
    }

    /// The highest figure of those that answer at once: nodes that are stopped or cut off cannot.
    fn highest(&self, figure: impl Fn(&Standing) -> u64) -> u64 {
        eventually("a node answers", || {
            let output = self.look(&["--timeout", "0.5"]);
            standings(&text(&output)).values().map(&figure).max()
        })
    }

    /// Asks all nodes, not so often that the looks slow them down: each is a handshake with every node.
    fn look(&self, arguments: &[&str]) -> Output {
        thread::sleep(Duration::from_millis(100));
        (self.status)().args(arguments).output().unwrap()
    }
}

/// The nodes that answered, by id.
fn standings(json: &str) -> BTreeMap<u16, Standing> {
    json.split("\"node\": ").skip(1).filter_map(standing).collect()
}

/// The part of the document from a node's id on.
fn standing(part: &str) -> Option<(u16, Standing)> {
    let number = |field: &str| -> Option<u64> {
        let (_, rest) = part.split_once(&format!("\"{field}\": "))?;
        rest.split([',', '\n']).next()?.parse().ok()
    };
    let id = part.split(',').next()?.parse().ok()?;
    let (height, finished) = (number("executed")?, number("finished")?);
    Some((id, Standing { height, finished, behind: number("behind")? }))
}
