//! A testbed that is merely up: for benchmarks that offer no load.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use wire::client::NodeStatus;
use wire::ids::NodeId;

use super::options::Options;
use super::start::start;
use crate::run::{Progress, Run, RunError};
use crate::signals;

/// A testbed without load. Stopped when dropped.
pub(crate) struct Testbed<'a> {
    run: Run<'a>,
}

impl<'a> Testbed<'a> {
    /// Starts one and waits until all nodes take clients; nodes get `further` arguments.
    pub(crate) fn start(options: &'a Options, further: &[&str]) -> Result<Testbed<'a>, RunError> {
        let mut run = start(options, further, Progress::Silent)?;
        run.wait_until_ready()?;
        Ok(Testbed { run })
    }

    /// Sleeps, unless a signal comes.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<(), RunError> {
        let began = Instant::now();
        while began.elapsed() < duration {
            if signals::is_interrupted() {
                return Err(RunError::Interrupted);
            }
            thread::sleep(Duration::from_millis(100).min(duration.saturating_sub(began.elapsed())));
        }
        Ok(())
    }

    /// The nodes whose first process runs.
    pub(crate) fn up(&self) -> Vec<NodeId> {
        self.run.fleet.up()
    }

    /// The statuses of these nodes.
    pub(crate) fn statuses(&self, nodes: &[NodeId]) -> BTreeMap<NodeId, NodeStatus> {
        self.run.offering.statuses(nodes, Duration::from_secs(2))
    }

    /// Processor seconds by program so far.
    pub(crate) fn cpu_s(&mut self) -> BTreeMap<String, f64> {
        self.run.fleet.cpu_s()
    }

    /// Stops it.
    pub(crate) fn stop(mut self) {
        self.run.fleet.stop();
    }
}
