//! What `/proc` tells of processes and of the machine.

use std::collections::BTreeMap;
use std::fs;

/// A process as its `stat` file tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: u32,
    /// The name of its executable, at most 15 characters.
    pub(crate) name: String,
    /// The id of its parent.
    pub(crate) parent: u32,
    /// Whether it has ended and only waits for its parent to notice.
    pub(crate) is_zombie: bool,
    /// When it started, in clock ticks since boot. With the id it names a process for good, since ids are reused.
    pub(crate) started_ticks: u64,
    /// Processor time it has used, user and system, in ticks.
    pub(crate) cpu_ticks: u64,
}

/// Clock ticks a second in `/proc`: fixed at 100 on Linux, whatever the kernel's own rate.
pub(crate) const TICKS_PER_S: u64 = 100;

/// The process with this id, if there is one.
pub(crate) fn process(pid: u32) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// What a process occupies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident_bytes: u64,
    /// The most that was ever resident.
    pub(crate) peak_bytes: u64,
}

/// What the process with this id occupies, if there is one.
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    parse_memory(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

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

/// What the benchmark ran on.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Machine {
    /// Processors this process may use.
    pub(crate) cores: usize,
    /// The processor's model.
    pub(crate) cpu: String,
    /// Memory, GiB.
    pub(crate) mem_gb: f64,
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

fn parse_memory(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    };
    Some(Memory { resident_bytes: field("VmRSS")?, peak_bytes: field("VmHWM")? })
}

/// The fields of a `stat` line. The name stands in parentheses and may itself hold spaces and parentheses, so the
/// last closing one ends it.
fn parse_stat(text: &str) -> Option<Process> {
    let (head, tail) = text.rsplit_once(')')?;
    let (pid, name) = head.split_once(" (")?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        name: name.into(),
        is_zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: number(1)? as u32,
        cpu_ticks: number(11)? + number(12)?,
        started_ticks: number(19)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_an_awkward_name() {
        let text = "42 (a) b (c)) S 7 42 42 0 -1 4194304 100 0 0 0 30 12 0 0 20 0 5 0 9876 1000000 321 18446744073709551615 1";
        let expected = Process {
            pid: 42,
            name: "a) b (c)".into(),
            parent: 7,
            is_zombie: false,
            started_ticks: 9876,
            cpu_ticks: 42,
        };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("42 (x) S 7"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status =
            "Name:\tnode\nVmPeak:\t  900 kB\nVmHWM:\t    300 kB\nVmRSS:\t      200 kB\nThreads:\t3\n";
        assert_eq!(parse_memory(status), Some(Memory { resident_bytes: 200 << 10, peak_bytes: 300 << 10 }));
        assert_eq!(parse_memory("Name:\tkthreadd\n"), None, "threads of the kernel have none");
        let own = memory(std::process::id()).unwrap();
        assert!(own.resident_bytes > 0 && own.resident_bytes <= own.peak_bytes + (1 << 20));
    }

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
