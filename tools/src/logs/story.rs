//! A story: what happened to one thing, each event once, with all nodes that logged it.
//!
//! Members of a shard log what all of them see in the same words, so lines of one process kind with the same text are
//! one event, which lies where it was first logged. Bound: [`EVENTS_MAX`] different texts.

use std::collections::{BTreeMap, BTreeSet};

use log::Level;
use wire::ids::NodeId;
use wire::name::Name;

use super::line::Process;
use super::merge::Record;
use super::moment::Stamp;
use super::query::Followed;
use crate::grid::wrapped;
use crate::ids;

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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

    /// The story as a person reads it: what it is about, when and where; then a line an event.
    pub(super) fn lines(&self, followed: &[Followed], columns: Columns) -> Vec<String> {
        let own = OwnName::new(followed, self.events.iter().map(|event| event.text.as_str()));
        let nodes: BTreeSet<NodeId> = self.events.iter().flat_map(|event| &event.by).copied().collect();
        let begins = self.events.iter().find_map(|event| event.first);
        let ends = self.events.iter().filter_map(|event| event.last).max();
        let (events, lines) = (self.events.len(), self.lines);
        let mut told = vec![format!(
            "{}: {events} events in {lines} lines of {}",
            own.heading(),
            ids::nodes_text(&nodes)
        )];
        if let (Some(begins), Some(ends)) = (begins, ends) {
            told.push(format!("from {begins} to {ends}, {:.3} ms", ends.ms_since(begins)));
        }
        let row = |event: &Event| {
            let at = match (event.first, begins) {
                (Some(first), Some(begins)) => format!("{:+.3}", first.ms_since(begins)),
                _ => "before".into(),
            };
            [at, event.within(), event.who()]
        };
        let titles = ["ms", "within", "nodes"].map(String::from);
        let rows: Vec<[String; 3]> = std::iter::once(titles).chain(self.events.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (at_width, within_width, who_width) = (width(0), width(1), width(2).min(WHO_COLUMNS_MAX));
        let texts = self.events.iter().map(|event| own.removed_from(&event.text) + &event.tail());
        let texts = std::iter::once("event".to_string()).chain(texts);
        told.extend(rows.iter().zip(texts).map(|([at, within, who], text)| {
            let start = format!("{at:>at_width$}  {within:>within_width$}  {who:<who_width$}  ");
            columns.fit(start, &text)
        }));
        told
    }
}

/// Beyond this a list of nodes is not padded any more.
const WHO_COLUMNS_MAX: usize = 24;

impl Event {
    /// The nodes that logged it, with the process where it is not the core.
    fn who(&self) -> String {
        let nodes = ids::nodes(&self.by);
        match self.process {
            Process::Node => nodes,
            process => format!("{nodes} {process}"),
        }
    }

    /// The milliseconds in which all of them logged it.
    fn within(&self) -> String {
        match (self.first, self.last) {
            (Some(first), Some(last)) if first != last => format!("{:.3}", last.ms_since(first)),
            _ => String::new(),
        }
    }

    /// How often it was logged, if that is more than once a node.
    fn tail(&self) -> String {
        if self.lines > self.by.len() as u64 { format!("  [{} times]", self.lines) } else { String::new() }
    }
}

/// How wide lines may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Columns {
    /// For programs: an event a line.
    Any,
    /// For people at a terminal: what is longer goes on below.
    AtMost(usize),
}

/// Less room than this beside the columns is no room for a text.
const TEXT_COLUMNS_MIN: usize = 30;

impl Columns {
    /// A line that begins with `start`, and goes on with `text` below it where it is too long.
    pub(super) fn fit(self, start: String, text: &str) -> String {
        let indent = start.chars().count();
        match self {
            Columns::AtMost(columns) if indent + text.chars().count() > columns => {
                let columns = columns.max(indent + TEXT_COLUMNS_MIN);
                let lines = wrapped(text, indent, columns);
                start + lines.trim()
            }
            Columns::Any | Columns::AtMost(_) => start + text,
        }
    }
}

/// The name of what a story is about. It stands in the heading, so its lines leave it out.
struct OwnName {
    heading: String,
    /// Texts that are replaced, each where no letter or digit follows, with their replacements.
    replaced: Vec<(String, String)>,
    /// Such at the beginning of a line.
    at_start: Vec<(String, String)>,
}

impl OwnName {
    fn new<'a>(followed: &[Followed], texts: impl Iterator<Item = &'a str>) -> OwnName {
        let heading = followed.iter().map(Followed::to_string).collect::<Vec<_>>().join(", ");
        let to_nothing = |text: String| (text, String::new());
        match followed {
            [Followed::Round(round)] => {
                let name = Name::Round(*round);
                let shards = texts.flat_map(Name::all_in).filter(|name| matches!(name, Name::Shard(_)));
                let shards: BTreeSet<Name> = shards.collect();
                let Some(shard) = shards.first().filter(|_| shards.len() == 1) else {
                    // Rounds count in each shard, so which one it is must stay.
                    let replaced =
                        [(format!("{name} of shard"), "shard".into()), to_nothing(format!(" in {name}"))];
                    return OwnName { heading, replaced: replaced.into(), at_start: Vec::new() };
                };
                let whole = format!("{name} of {shard}");
                let inside = [
                    format!(" in {whole}"),
                    format!(" of {whole}"),
                    format!(" on {whole}"),
                    format!(" in {shard} in {name}"),
                    format!(" in {name}"),
                ];
                let replaced = inside.map(to_nothing).into();
                OwnName { replaced, at_start: vec![to_nothing(format!("{whole} "))], heading: whole }
            }
            [single] => {
                let replaced = vec![to_nothing(format!(" of {single}"))];
                OwnName { replaced, at_start: vec![to_nothing(format!("{single} "))], heading }
            }
            _ => OwnName { heading, replaced: Vec::new(), at_start: Vec::new() },
        }
    }

    fn heading(&self) -> &str {
        &self.heading
    }

    fn removed_from(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (own, instead) in &self.at_start {
            if let Some(rest) = text.strip_prefix(own.as_str()) {
                text = format!("{instead}{rest}");
            }
        }
        for (own, instead) in &self.replaced {
            let mut from = 0;
            while let Some(at) = text[from..].find(own.as_str()).map(|at| from + at) {
                let end = at + own.len();
                // `round 1` is not the beginning of `round 12`, nor `lane 0:7` that of `lane 0:7-9`.
                let is_longer = text[end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
                if is_longer {
                    from = end;
                } else {
                    text.replace_range(at..end, instead);
                    from = at + instead.len();
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use wire::ids::{Round, Seq};

    use super::*;
    use crate::logs::merge::Source;
    use crate::logs::query::TxPrefix;

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
            story.lines(&[Followed::Round(Round(7))], Columns::Any),
            [
                "round 7: 3 events in 7 lines of nodes 4-6+8",
                "from 00:00:01.000000 to 00:00:01.005000, 5.000 ms",
                "    ms  within  nodes         event",
                "+0.000   5.000  4             a  [2 times]",
                "+1.000   3.000  4-6+8         b",
                "+3.000          6 net_client  b",
            ]
        );
    }

    #[test]
    fn records_without_a_time_come_first() {
        let mut story = Story::default();
        assert!(story.is_empty());
        let source = Source { node: NodeId(0), process: Process::Node };
        assert_eq!(story.add(Record { source, head: None, text: "a".into(), event: None }), Added::Taken);
        let lines = story.lines(&[Followed::Round(Round(7))], Columns::Any);
        assert_eq!(lines[0], "round 7: 1 events in 1 lines of node 0");
        assert_eq!(lines[2], "before          0      a");
    }

    #[test]
    fn lines_leave_out_what_the_heading_names() {
        let tx = Followed::Tx(TxPrefix::parse("1f2e3d4c5b6a7988").unwrap());
        let lane = Followed::Named(Name::entry(NodeId(3), Seq(7)));
        let round = || Followed::Round(Round(1));
        let two = "round 1 of shard 0 has our input";
        for (followed, texts, expected) in [
            (&tx, &["tx 1f2e3d4c5b6a7988 goes into lane 3:7"][..], "goes into lane 3:7"),
            (&lane, &["lane 3:7 is echoed"], "is echoed"),
            (&lane, &["to node 0: ECHO of lane 3:7, digest ab"], "to node 0: ECHO, digest ab"),
            (&lane, &["from node 0: question of lane 3:70"], "from node 0: question of lane 3:70"),
            (&round(), &["round 1 of shard 2 is certified"], "is certified"),
            (&round(), &["HALT of round 1 of shard 2 in view 0"], "HALT in view 0"),
            (&round(), &["SEND, in round 1 of shard 2 in view 0"], "SEND, in view 0"),
            (&round(), &["x has spent in shard 2 in round 1 by it"], "x has spent by it"),
            (&round(), &["round 1 of shard 2 is certified", two], "shard 2 is certified"),
            (&round(), &["made in shard 2 in round 1: y", two], "made in shard 2: y"),
            (&round(), &["a receipt in round 12"], "a receipt in round 12"),
        ] {
            let own = OwnName::new(std::slice::from_ref(followed), texts.iter().copied());
            assert_eq!(own.removed_from(texts[0]), expected, "{}", texts[0]);
        }
    }

    #[test]
    fn long_texts_go_on_below_where_a_person_reads_them() {
        let fit = |columns: Columns| columns.fit("+0.000  0  ".into(), &["word"; 10].join(" "));
        assert_eq!(fit(Columns::Any).lines().count(), 1);
        assert_eq!(fit(Columns::AtMost(60)).lines().count(), 1);
        let narrow = fit(Columns::AtMost(50));
        assert_eq!(narrow.lines().nth(1), Some("           word word"), "{narrow}");
        assert!(narrow.lines().all(|line| line.len() <= 50), "{narrow}");
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
