//! Processor time and memory of all processes of a run, those that have ended included as last seen.

use std::collections::BTreeMap;

use crate::procfs::{self, Process};

/// The usage of all processes of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Usage {
    /// By host, and on each by id and start time.
    by_process: BTreeMap<(usize, u32, u64), Seen>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    program: String,
    cpu_ticks: u64,
    peak_bytes: u64,
}

impl Usage {
    /// Takes note of what a process of a host has used by now.
    pub(crate) fn note(&mut self, host: usize, process: &Process, peak_bytes: u64) {
        let seen = Seen { program: process.name.clone(), cpu_ticks: process.cpu_ticks, peak_bytes };
        self.by_process.insert((host, process.pid, process.started_ticks), seen);
    }

    /// Processor seconds by program, all its processes together.
    pub(crate) fn cpu_s(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for seen in self.by_process.values() {
            *sums.entry(seen.program.clone()).or_insert(0.0) +=
                seen.cpu_ticks as f64 / procfs::TICKS_PER_S as f64;
        }
        sums
    }

    /// The most memory that one process of each program had, MB.
    pub(crate) fn peak_mb(&self) -> BTreeMap<String, f64> {
        let mut peaks = BTreeMap::new();
        for seen in self.by_process.values() {
            let peak: &mut f64 = peaks.entry(seen.program.clone()).or_default();
            *peak = peak.max(seen.peak_bytes as f64 / 1e6);
        }
        peaks
    }
}
