//! Processes, from `/proc`, and free space.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A process, from its `stat` file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// The name of its executable, at most 15 characters.
    pub name: String,
    /// The id of its parent.
    pub parent: u32,
    /// Whether it has ended and its parent has not waited for it.
    pub is_zombie: bool,
    /// When it started, in clock ticks since boot. Ids are reused; id and start time identify a process.
    pub started_ticks: u64,
    /// Processor time it has used, user and system, in ticks.
    pub cpu_ticks: u64,
    /// How many threads it has.
    pub threads: u64,
}

/// Clock ticks a second in `/proc`: always 100 on Linux, whatever the kernel's own rate.
pub const TICKS_PER_S: u64 = 100;

/// The process with this id, if there is one.
pub fn process(pid: u32) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The memory of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Resident at present.
    pub resident_bytes: u64,
    /// The most that was ever resident.
    pub peak_bytes: u64,
}

/// The memory of the process with this id, if there is one.
pub fn memory(pid: u32) -> Option<Memory> {
    parse_memory(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_memory(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
    };
    Some(Memory { resident_bytes: field("VmRSS")?, peak_bytes: field("VmHWM")? })
}

/// The free space where `directory` is, as `df` prints it; `None` if its output cannot be parsed.
pub fn free_bytes(directory: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(directory).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    // Device, size, used, free, percentage, place; the device may hold spaces, so count from the percentage.
    let words: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let percentage = words.iter().rposition(|word| word.ends_with('%'))?;
    words.get(percentage.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// Parses a `stat` line. The name is in parentheses and may contain spaces and parentheses itself, so the last closing
/// one ends it.
pub fn parse_stat(text: &str) -> Option<Process> {
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
        threads: number(17)?,
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
            threads: 5,
        };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("42 (x) S 7"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn free_space_is_that_of_a_directory() {
        assert!(free_bytes(&std::env::temp_dir()).is_some());
        assert_eq!(free_bytes(Path::new("/no/such/directory")), None);
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
}
