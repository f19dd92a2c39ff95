//! What nodes used and sent, for plots: `processes.csv` and `traffic.csv`. `docs/files.md` defines the columns.
//!
//! A run looks at its processes once a second anyway, and the statuses of nodes come as often: nothing is asked that
//! would not be asked without these files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wire::client::NodeStatus;
use wire::ids::NodeId;

use super::fleet::Reading;
use crate::load::Shared;
use crate::procfs::TICKS_PER_S;

/// The processes of a run, once a second.
#[derive(Default)]
pub(crate) struct Observed {
    looks: Vec<(u64, Vec<Reading>)>,
}

/// More readings than this, 46 hours of four nodes, would fill the memory of `tools`; later ones are not kept.
const READINGS_MAX: usize = 2_000_000;

impl Observed {
    /// The processes as they were so many microseconds after the load began.
    pub(super) fn note(&mut self, at_us: u64, readings: Vec<Reading>) {
        if self.looks.len() * readings.len() < READINGS_MAX && !readings.is_empty() {
            self.looks.push((at_us, readings));
        }
    }

    /// `processes.csv`.
    pub(super) fn processes_csv(&self) -> String {
        let mut text = String::from("at_s,node,program,cpu_s,resident_mb,threads\n");
        for (at_us, readings) in &self.looks {
            for Reading { node, program, cpu_ticks, resident_bytes, threads } in readings {
                let (at_s, cpu_s) = (*at_us as f64 / 1e6, *cpu_ticks as f64 / TICKS_PER_S as f64);
                let resident_mb = resident_bytes.map(|bytes| format!("{:.1}", bytes as f64 / 1e6));
                let resident_mb = resident_mb.unwrap_or_default();
                let _ = writeln!(text, "{at_s:.3},{node},{program},{cpu_s:.2},{resident_mb},{threads}");
            }
        }
        text
    }
}

/// `traffic.csv`: what nodes received by kind and sent by link, by their last statuses.
pub(super) fn traffic_csv(shared: &Shared) -> String {
    let statuses = shared.statuses.iter().map(|(node, heard)| (*node, &heard.status));
    traffic_of(&statuses.collect())
}

fn traffic_of(statuses: &BTreeMap<NodeId, &NodeStatus>) -> String {
    let mut text = String::from("node,direction,kind,peer,messages,bytes\n");
    for (node, status) in statuses {
        for (kind, messages, bytes) in &status.received {
            let _ = writeln!(text, "{node},received,{kind},,{messages},{bytes}");
        }
        for (peer, bytes) in &status.bytes_sent_to {
            let _ = writeln!(text, "{node},sent,,{peer},,{bytes}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::documented;

    #[test]
    fn the_files_have_the_columns_that_are_documented() {
        let mut observed = Observed::default();
        observed.note(500_000, Vec::new());
        let reading = |resident_bytes| Reading {
            node: NodeId(3),
            program: "net_client".into(),
            cpu_ticks: 123,
            resident_bytes,
            threads: 7,
        };
        observed.note(1_000_000, vec![reading(Some(12_340_000)), reading(None)]);
        let text = observed.processes_csv();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], documented("`processes.csv`").join(","));
        assert_eq!(lines[1..], ["1.000,3,net_client,1.23,12.3,7", "1.000,3,net_client,1.23,,7"]);

        let status = NodeStatus {
            received: vec![("spb_send".into(), 2, 90)],
            bytes_sent_to: vec![(0, 70)],
            ..NodeStatus::default()
        };
        let text = traffic_of(&BTreeMap::from([(NodeId(1), &status)]));
        let lines: Vec<&str> = text.lines().collect();
        let columns: Vec<&str> = lines[0].split(',').collect();
        assert!(columns.iter().all(|column| documented("`traffic.csv`").contains(&column.to_string())));
        assert_eq!(lines[1..], ["1,received,spb_send,,2,90", "1,sent,,0,,70"]);
    }
}
