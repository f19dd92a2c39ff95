//! The files of a run as figures need them. A file that is missing or damaged is noted, and the rest is shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use wire::ids::{NodeId, ShardId};
use wire::text::ParseError;

use super::csv::{optional, read};
use crate::json::Json;
use crate::logs::Clocks;
use crate::verify::{Line, RoundsFile, Row};

/// A section of `series.csv`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Second {
    pub(super) from_s: f64,
    pub(super) until_s: f64,
    pub(super) phase: String,
    pub(super) meant: f64,
    pub(super) committed: f64,
    pub(super) committed_cross: f64,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    /// Those that began in it.
    pub(super) faults: Vec<String>,
}

/// A bucket of `latency.csv`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Bucket {
    pub(super) kind: String,
    pub(super) from_ms: f64,
    pub(super) until_ms: f64,
    pub(super) count: f64,
}

/// A line of `processes.csv`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Look {
    pub(super) at_s: f64,
    pub(super) node: u16,
    pub(super) program: String,
    pub(super) cpu_s: f64,
    pub(super) resident_mb: Option<f64>,
    pub(super) threads: f64,
}

/// A line of `traffic.csv`.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Traffic {
    Received { kind: String, messages: f64, bytes: f64 },
    Sent { node: u16, peer: u16, bytes: f64 },
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct RunFiles {
    pub(super) directory: PathBuf,
    pub(super) summary: Option<Json>,
    pub(super) series: Vec<Second>,
    pub(super) latency: Vec<Bucket>,
    pub(super) looks: Vec<Look>,
    pub(super) traffic: Vec<Traffic>,
    /// Milliseconds from when transactions were meant to be sent until they were, and from there to their receipts,
    /// each with how many it stands for.
    pub(super) transactions: Vec<(f64, f64, f64)>,
    /// The blocks that each node executed.
    pub(super) rounds: BTreeMap<NodeId, Vec<Line>>,
    /// How far the clocks of nodes are apart.
    pub(super) clocks: Clocks,
    /// Files that are not here or not whole, each with what that means.
    pub(super) missing: Vec<String>,
}

/// Figures show no more with more blocks of a node than these, and reading them takes memory.
const BLOCKS_MAX: usize = 200_000;
/// Longer files are no summaries.
const SUMMARY_BYTES_MAX: u64 = 16 << 20;

impl RunFiles {
    /// The files in a log directory.
    pub(super) fn load(directory: &Path) -> RunFiles {
        let mut run = RunFiles { directory: directory.into(), ..RunFiles::default() };
        let summary = load_summary(&directory.join("summary.json"));
        run.summary = run.noted(summary, "the run has not ended, or was killed");
        let series = read(
            &directory.join("series.csv"),
            [
                "from_s",
                "until_s",
                "phase",
                "meant",
                "committed",
                "committed_cross",
                "p50_ms",
                "p99_ms",
                "faults",
            ],
            second,
        );
        run.series = run.noted(series, "no figures over time").unwrap_or_default();
        let latency = read(&directory.join("latency.csv"), ["kind", "from_us", "until_us", "count"], bucket);
        run.latency = run.noted(latency, "no distribution of latencies").unwrap_or_default();
        let columns = ["at_s", "node", "program", "cpu_s", "resident_mb", "threads"];
        let looks = read(&directory.join("processes.csv"), columns, look);
        run.looks = run.noted(looks, "no memory, processor time and threads").unwrap_or_default();
        let columns = ["node", "direction", "kind", "peer", "messages", "bytes"];
        let lines = read(&directory.join("traffic.csv"), columns, traffic);
        run.traffic = run.noted(lines, "no traffic by kind and link").unwrap_or_default();
        let path = directory.join("transactions.csv");
        if path.exists() {
            let columns = ["stands_for", "intended_us", "sent_us", "receipt_us", "fate"];
            let lines = read(&path, columns, transaction);
            let lines = run.noted(lines, "no hops of single transactions").unwrap_or_default();
            run.transactions = lines.into_iter().flatten().collect();
        }
        run.load_rounds();
        let clocks = Clocks::load(directory);
        run.clocks = run.noted(clocks, "times of nodes are compared as they stand").unwrap_or_default();
        run
    }

    /// Whether the directory holds nothing of a run.
    pub(super) fn is_nothing(&self) -> bool {
        self.summary.is_none() && self.series.is_empty() && self.rounds.is_empty()
    }

    fn noted<T>(&mut self, result: Result<T, ParseError>, means: &str) -> Option<T> {
        result.map_err(|error| self.missing.push(format!("{error}: {means}"))).ok()
    }

    fn load_rounds(&mut self) {
        let (Some(n), Some(shards)) = (self.whole("n"), self.whole("shards")) else { return };
        let mut troubles = Vec::new();
        for id in 0..n.saturating_mul(shards).min(u64::from(u16::MAX)) {
            let (node, shard) = (NodeId(id as u16), ShardId((id / n.max(1)) as u16));
            let path = self.directory.join(format!("rounds-{node}.csv"));
            let mut blocks = Vec::new();
            let mut go = || -> Result<(), ParseError> {
                let mut file = RoundsFile::open(&path, node, shard)?;
                while let Some(row) = file.next_row()? {
                    if blocks.len() == BLOCKS_MAX {
                        let expected = format!("at most {BLOCKS_MAX} blocks");
                        return Err(ParseError::of(&path.display().to_string(), "more", expected));
                    }
                    if let Row::Executed(line) = row {
                        blocks.push(*line);
                    }
                }
                Ok(())
            };
            troubles.extend(go().err().map(|error| (node, error)));
            if !blocks.is_empty() {
                self.rounds.insert(node, blocks);
            }
        }
        // Those of a load are with its nodes, and of many nodes one line says so.
        if let (true, [(_, first), _, ..]) = (self.rounds.is_empty(), troubles.as_slice()) {
            self.missing.push(format!("{first}, and so of all nodes: no phases, views and heights"));
            return;
        }
        for (node, error) in troubles {
            let means = "are not in the figures, or only a part of them";
            self.missing.push(format!("{error}: the rounds of node {node} {means}"));
        }
    }

    /// A number of the summary, by the path of its names.
    pub(super) fn number(&self, path: &[&str]) -> Option<f64> {
        match self.at(path)? {
            Json::Int(number) => Some(*number as f64),
            Json::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// A whole number of the summary.
    pub(super) fn whole(&self, name: &str) -> Option<u64> {
        match self.at(&[name])? {
            Json::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A value of the summary, by the path of its names.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Json> {
        path.iter().try_fold(self.summary.as_ref()?, |value, name| value.field(name))
    }

    /// The texts of a list of the summary.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let Some(Json::List(items)) = self.at(&[name]) else { return Vec::new() };
        items
            .iter()
            .filter_map(|item| if let Json::Text(text) = item { Some(text.clone()) } else { None })
            .collect()
    }

    /// The faults that were carried out, as the list of `--faults` names them.
    pub(super) fn faults(&self) -> Vec<String> {
        let Some(Json::List(faults)) = self.at(&["faults"]) else { return Vec::new() };
        let name = |fault: &Json| match fault.field("fault") {
            Some(Json::Text(text)) => Some(text.clone()),
            _ => None,
        };
        faults.iter().filter_map(name).collect()
    }

    /// The name that a person gave the run: that of its directory.
    pub(super) fn name(&self) -> String {
        self.directory.display().to_string()
    }

    /// Shards, as far as is known.
    pub(super) fn shards(&self) -> u64 {
        self.whole("shards").unwrap_or(1)
    }

    /// The shard of a node.
    pub(super) fn shard_of(&self, node: NodeId) -> u64 {
        u64::from(node.0) / self.whole("n").unwrap_or(u64::MAX).max(1)
    }

    /// When the load began, Unix time in milliseconds; without a summary that has it, the time of the first block.
    pub(super) fn began_ms(&self) -> Option<f64> {
        let first =
            || self.rounds.values().filter_map(|blocks| blocks.first()).map(|line| line.executed_ms).min();
        self.number(&["began_unix_ms"]).or_else(|| first().map(|ms| ms as f64))
    }
}

fn load_summary(path: &Path) -> Result<Json, ParseError> {
    let text = summary_text(path)?;
    let place = path.display().to_string();
    Json::parse(&text).map_err(|error| ParseError::at_line(&place, error.line, &error.found, error.expected))
}

/// The text of a summary.
///
/// # Errors
/// If it cannot be read, or is far too long for one.
pub(crate) fn summary_text(path: &Path) -> Result<String, ParseError> {
    let place = path.display().to_string();
    let unreadable =
        |error: std::io::Error| ParseError::of(&place, &error.to_string(), "a readable summary.json");
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > SUMMARY_BYTES_MAX {
        return Err(ParseError::of(
            &place,
            &format!("{bytes} bytes"),
            "a summary.json, which is far shorter",
        ));
    }
    fs::read_to_string(path).map_err(unreadable)
}

fn second(cells: [&str; 9]) -> Option<Second> {
    let [from_s, until_s, phase, meant, committed, committed_cross, p50_ms, p99_ms, faults] = cells;
    Some(Second {
        from_s: from_s.parse().ok()?,
        until_s: until_s.parse().ok()?,
        phase: phase.into(),
        meant: meant.parse().ok()?,
        committed: committed.parse().ok()?,
        committed_cross: committed_cross.parse().ok()?,
        p50_ms: optional(p50_ms)?,
        p99_ms: optional(p99_ms)?,
        faults: faults
            .split("; ")
            .filter(|fault| !fault.is_empty() && !fault.starts_with("end of "))
            .map(String::from)
            .collect(),
    })
}

fn bucket([kind, from_us, until_us, count]: [&str; 4]) -> Option<Bucket> {
    let ms = |us: &str| us.parse::<f64>().ok().map(|us| us / 1e3);
    Some(Bucket {
        kind: kind.into(),
        from_ms: ms(from_us)?,
        until_ms: ms(until_us)?,
        count: count.parse().ok()?,
    })
}

fn look([at_s, node, program, cpu_s, resident_mb, threads]: [&str; 6]) -> Option<Look> {
    Some(Look {
        at_s: at_s.parse().ok()?,
        node: node.parse().ok()?,
        program: program.into(),
        cpu_s: cpu_s.parse().ok()?,
        resident_mb: optional(resident_mb)?,
        threads: threads.parse().ok()?,
    })
}

fn traffic([node, direction, kind, peer, messages, bytes]: [&str; 6]) -> Option<Traffic> {
    let bytes = bytes.parse().ok()?;
    match direction {
        "received" => Some(Traffic::Received { kind: kind.into(), messages: messages.parse().ok()?, bytes }),
        "sent" => Some(Traffic::Sent { node: node.parse().ok()?, peer: peer.parse().ok()?, bytes }),
        _ => None,
    }
}

/// Milliseconds until a transaction was sent, and from there to its receipt, and how many it stands for; nothing if it
/// was not finished.
fn transaction(cells: [&str; 5]) -> Option<Option<(f64, f64, f64)>> {
    let [stands_for, intended_us, sent_us, receipt_us, fate] = cells;
    if fate != "finished" {
        return Some(None);
    }
    let us = |cell: &str| cell.parse::<f64>().ok();
    let (intended, sent, receipt) = (us(intended_us)?, us(sent_us)?, us(receipt_us)?);
    let ms = |from: f64, to: f64| (to - from).max(0.0) / 1e3;
    Some(Some((ms(intended, sent), ms(sent, receipt), stands_for.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDir;

    #[test]
    fn missing_and_damaged_files_are_named_and_the_rest_is_read() {
        let dir = TestDir::new();
        fs::write(
            dir.path().join("summary.json"),
            "{\"n\": 4, \"shards\": 1, \"faults\": [{\"fault\": \"crash:3@3\"}]}",
        )
        .unwrap();
        fs::write(dir.path().join("latency.csv"), "kind,from_us,until_us,count\nintra,1000,1100,x\n")
            .unwrap();
        let traffic = "node,direction,kind,peer,messages,bytes\n1,received,spb_send,,2,90\n1,sent,,0,,70\n";
        fs::write(dir.path().join("traffic.csv"), traffic).unwrap();
        let run = RunFiles::load(dir.path());
        assert_eq!((run.whole("n"), run.faults()), (Some(4), vec!["crash:3@3".to_string()]));
        assert_eq!(run.traffic[1], Traffic::Sent { node: 1, peer: 0, bytes: 70.0 });
        for part in ["series.csv", "latency.csv, line 2", "processes.csv", "rounds-0.csv", "of all nodes"] {
            assert!(run.missing.iter().any(|missing| missing.contains(part)), "{part}: {:?}", run.missing);
        }
        assert!(
            RunFiles::load(&dir.path().join("nowhere"))
                .missing
                .iter()
                .any(|missing| missing.contains("killed"))
        );
    }
}
