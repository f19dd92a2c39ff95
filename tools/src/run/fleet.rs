//! The nodes of a run, as far as a run has to know: the same run, bookkeeping and judgement serve processes
//! of this machine and of others.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use wire::ids::NodeId;

use super::faults::Part;
use super::links::DirectedRule;
use crate::json::Json;
use crate::pids::Entry;

/// The nodes of a run, started. Dropping it stops them.
pub(crate) trait Fleet {
    /// Looks at all processes and returns the nodes that ended unasked since the last look. Called about once a
    /// second; it does not block.
    fn observe(&mut self) -> Vec<UnaskedEnd>;

    /// The nodes whose first process runs, as far as is known.
    fn up(&self) -> Vec<NodeId>;

    /// Does something to these nodes, or returns why it could not.
    fn apply(&mut self, deed: Deed, nodes: &[NodeId]) -> Result<(), String>;

    /// Sets rules of links at their sending nodes, or returns why it could not at some. A node that does not run has
    /// no rules and begins without any.
    fn set_links(&mut self, rules: &[DirectedRule]) -> Result<(), String>;

    /// Processor seconds by program so far, looked at now.
    fn cpu_s(&mut self) -> BTreeMap<String, f64>;

    /// The most memory that one process of each program had, MB.
    fn peak_mb(&self) -> BTreeMap<String, f64>;

    /// The processes of nodes as last observed.
    fn readings(&self) -> Vec<Reading> {
        Vec::new()
    }

    /// Stops all nodes, waits until no process of the run is left, and brings their files to the log directory
    /// if they are elsewhere. Returns all that did not go as it should, in words.
    fn stop(&mut self) -> Vec<String>;

    /// Whether the nodes are somebody else's and go on, so that their files are not here to be judged.
    fn outlives_the_run(&self) -> bool {
        false
    }

    /// The processes of the run on this machine, this one included, as last observed.
    fn processes(&self) -> &[Entry] {
        &[]
    }

    /// The machines that the nodes are on, for a summary; none if that is this one alone.
    fn hosts(&self) -> Vec<Json> {
        Vec::new()
    }
}

/// What a run does to the processes of nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    /// Kills them; without its core a node is down, and its other processes end.
    Kill(Part),
    /// Kills all processes that run, and starts the node from its journal.
    Restart,
    /// Stops them until they are continued.
    Pause(Part),
    Continue(Part),
    /// Lets all processes run only so much of the time, for so long or until [`Deed::Unthrottle`].
    Throttle {
        percent: u8,
        lasts: Duration,
    },
    Unthrottle,
    /// Lets no process write to a file, until the node is started again.
    FillDisk,
}

/// What a process of a node uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reading {
    pub(crate) node: NodeId,
    pub(crate) program: String,
    /// Processor time since it started, in clock ticks.
    pub(crate) cpu_ticks: u64,
    /// `None` where it is not looked at.
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) threads: u64,
}

/// A node whose first process ended, or went out of reach, though nobody stopped it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UnaskedEnd {
    pub(crate) node: NodeId,
    /// How, in words that follow "node 3".
    pub(crate) how: String,
    /// What it wrote last, with a lead-in; may be empty.
    pub(crate) last_words: String,
}

impl fmt::Display for UnaskedEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} {}{}", self.node, self.how, self.last_words)
    }
}

/// The complaint about a node that did not stop.
pub(crate) fn killed(node: NodeId) -> String {
    format!("node {node} did not stop when asked to and was killed")
}
