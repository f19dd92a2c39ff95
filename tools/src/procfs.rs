//! The machine and all processes on it, from `/proc`; one process: [`wire::procfs`].

use std::collections::BTreeMap;
use std::fs;

use crate::json::Json;

pub(crate) use wire::procfs::{Memory, Process, TICKS_PER_S, memory, parse_stat, process};

/// All processes there are, by id.
pub(crate) fn processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .map(|process| (process.pid, process))
        .collect()
}

/// The living children of `parent` among `all`.
pub(crate) fn children_of(all: &BTreeMap<u32, Process>, parent: u32) -> impl Iterator<Item = &Process> {
    all.values().filter(move |process| process.parent == parent && !process.is_zombie)
}

/// The id of this boot: start times are only comparable within one.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string()
}

/// How many processes wanted to run, averaged over the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

/// A machine, for summaries.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Machine {
    /// Processors this process may use.
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    /// Memory, GiB.
    pub(crate) mem_gb: f64,
}

impl Machine {
    /// For a summary.
    pub(crate) fn to_json(&self) -> Json {
        Json::object([
            ("cores", Json::from(self.cores)),
            ("cpu", Json::text(&self.cpu)),
            ("mem_gb", Json::from(self.mem_gb)),
        ])
    }
}

/// This machine.
pub(crate) fn machine() -> Machine {
    let field = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let memory_kb = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or_default();
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
        mem_gb: memory_kb / f64::from(1 << 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_is_the_child_of_its_parent() {
        let own = process(std::process::id()).unwrap();
        assert_eq!(own.pid, std::process::id());
        let all = processes();
        assert!(children_of(&all, own.parent).any(|process| process.pid == own.pid));
        assert_eq!(process(u32::MAX), None);
    }

    #[test]
    fn the_machine_has_cores_and_memory() {
        let machine = machine();
        assert!(machine.cores >= 1 && machine.mem_gb > 0.0);
        assert!(!boot_id().is_empty());
    }
}
