//! A story: what happened to one thing, each event once, with all nodes that logged it.
//!
//! Members of a shard log what all of them see in the same words, so lines of one process kind with the same text are
//! one event, which lies where it was first logged. Bound: [`EVENTS_MAX`] different texts.

use std::collections::{BTreeMap, BTreeSet};

use log::Level;
use wire::ids::NodeId;

use super::line::Process;
use super::merge::Record;
use super::moment::Stamp;

/// Longer stories are read line by line.
pub(super) const EVENTS_MAX: usize = 20_000;

/// The events, in the order in which they were first logged.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    events: Vec<Event>,
    places: BTreeMap<(Process, Option<Level>, String), usize>,
    lines: u64,
}

/// One of them.
#[derive(Clone, Debug)]
struct Event {
    first: Option<Stamp>,
    last: Option<Stamp>,
    by: BTreeSet<NodeId>,
    process: Process,
    lines: u64,
    text: String,
}

/// Whether a story goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Added {
    /// The record is in it.
    Taken,
    /// It has too many events already.
    TooLong,
}

impl Story {
    /// Adds a record that comes after those before it.
    pub(super) fn add(&mut self, record: Record) -> Added {
        let at = record.at();
        let Record { source, head, text, .. } = record;
        self.lines += 1;
        let key = (source.process, head.map(|(_, level)| level), text);
        match self.places.get(&key) {
            Some(place) => {
                let event = &mut self.events[*place];
                event.last = at;
                event.by.insert(source.node);
                event.lines += 1;
            }
            None if self.events.len() == EVENTS_MAX => return Added::TooLong,
            None => {
                let (by, text) = (BTreeSet::from([source.node]), key.2.clone());
                self.places.insert(key, self.events.len());
                let process = source.process;
                self.events.push(Event { first: at, last: at, by, process, lines: 1, text });
            }
        }
        Added::Taken
    }

    /// Whether it has no event.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The story as a person reads it: a heading, then a line an event.
    pub(super) fn lines(&self, about: &str) -> Vec<String> {
        let nodes: BTreeSet<NodeId> = self.events.iter().flat_map(|event| &event.by).copied().collect();
        let begins = self.events.iter().find_map(|event| event.first);
        let ends = self.events.iter().filter_map(|event| event.last).max();
        let span = match (begins, ends) {
            (Some(begins), Some(ends)) => {
                format!(", from {begins} to {ends}, {:.3} ms", ends.ms_since(begins))
            }
            _ => String::new(),
        };
        let heading = format!(
            "{about}: {} events in {} lines of {}{span}",
            self.events.len(),
            self.lines,
            nodes_text(&nodes)
        );
        let who: Vec<String> = self.events.iter().map(Event::who).collect();
        let width = who.iter().map(|who| who.chars().count()).max().unwrap_or(0).min(WHO_COLUMNS_MAX);
        let lines = self.events.iter().zip(&who).map(|(event, who)| {
            let at = match (event.first, begins) {
                (Some(first), Some(begins)) => format!("{:+12.3} ms", first.ms_since(begins)),
                _ => format!("{:>15}", "before"),
            };
            format!("{at}  {who:<width$}  {}{}", event.text, event.tail())
        });
        std::iter::once(heading).chain(lines).collect()
    }
}

/// Beyond this a list of nodes is not padded any more.
const WHO_COLUMNS_MAX: usize = 40;

impl Event {
    /// The nodes that logged it, with the process where it is not the core.
    fn who(&self) -> String {
        match self.process {
            Process::Node => nodes_text(&self.by),
            process => format!("{} {process}", nodes_text(&self.by)),
        }
    }

    /// How long it took until all had logged it, and how often they did if more than once.
    fn tail(&self) -> String {
        let mut notes = Vec::new();
        if let (Some(first), Some(last)) = (self.first, self.last)
            && first != last
        {
            notes.push(format!("until {:+.3} ms", last.ms_since(first)));
        }
        if self.lines > self.by.len() as u64 {
            notes.push(format!("{} times", self.lines));
        }
        if notes.is_empty() { String::new() } else { format!("  [{}]", notes.join(", ")) }
    }
}

/// `node 3`, or `nodes 0-3, 7`.
fn nodes_text(nodes: &BTreeSet<NodeId>) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for node in nodes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == node.0 => *last = node.0,
            _ => runs.push((node.0, node.0)),
        }
    }
    let run = |(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let runs: Vec<String> = runs.iter().map(run).collect();
    format!("{} {}", if nodes.len() == 1 { "node" } else { "nodes" }, runs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::merge::Source;

    fn record(ms: i64, node: u16, process: Process, text: &str) -> Record {
        let source = Source { node: NodeId(node), process };
        Record { source, head: Some((Stamp(ms * 1_000), Level::Debug)), text: text.into(), event: None }
    }

    #[test]
    fn an_event_appears_once_with_all_nodes_that_logged_it() {
        let mut story = Story::default();
        for (ms, node, process, text) in [
            (1_000, 4, Process::Node, "a"),
            (1_001, 5, Process::Node, "b"),
            (1_002, 4, Process::Node, "b"),
            (1_003, 6, Process::Node, "b"),
            (1_003, 6, Process::NetClient, "b"),
            (1_004, 8, Process::Node, "b"),
            (1_005, 4, Process::Node, "a"),
        ] {
            assert_eq!(story.add(record(ms, node, process, text)), Added::Taken);
        }
        assert_eq!(
            story.lines("x"),
            [
                "x: 3 events in 7 lines of nodes 4-6, 8, from 00:00:01.000000 to 00:00:01.005000, 5.000 ms",
                "      +0.000 ms  node 4             a  [until +5.000 ms, 2 times]",
                "      +1.000 ms  nodes 4-6, 8       b  [until +3.000 ms]",
                "      +3.000 ms  node 6 net_client  b",
            ]
        );
    }

    #[test]
    fn records_without_a_time_come_first() {
        let mut story = Story::default();
        assert!(story.is_empty());
        let source = Source { node: NodeId(0), process: Process::Node };
        assert_eq!(story.add(Record { source, head: None, text: "a".into(), event: None }), Added::Taken);
        assert_eq!(story.lines("x"), ["x: 1 events in 1 lines of node 0", "         before  node 0  a"]);
    }

    #[test]
    fn a_story_without_end_is_not_kept() {
        let mut story = Story::default();
        for line in 0..EVENTS_MAX {
            assert_eq!(story.add(record(0, 0, Process::Node, &line.to_string())), Added::Taken);
        }
        assert_eq!(story.add(record(0, 0, Process::Node, "one more")), Added::TooLong);
        assert_eq!(story.add(record(0, 1, Process::Node, "7")), Added::Taken, "that is no new event");
    }
}
