//! The picture: lines for a terminal of so many columns and rows, and nothing else.

use std::time::Duration;

use wire::ids::NodeId;

use crate::flags::seconds_text;
use crate::grid::{Side, aligned};
use crate::lag::grouped;
use crate::terminal::{Line, Style};

/// What there is to see.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct View {
    /// What runs: nodes, shards, offered load.
    pub(super) title: String,
    /// Since the load began, and how long it is to last if that is known.
    pub(super) elapsed: Duration,
    pub(super) duration: Option<Duration>,
    /// Transactions committed in each second so far.
    pub(super) rates: Vec<u64>,
    /// Of the last second, milliseconds: the median, 99 %, the longest.
    pub(super) latency_ms: Option<[f64; 3]>,
    pub(super) committed: u64,
    pub(super) open: u64,
    pub(super) rejected: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) chosen: NodeId,
    /// Faults of the plan that have not come, with the time at which each does, the next one first.
    pub(super) to_come: Vec<(Duration, String)>,
    /// The last messages, the oldest first.
    pub(super) messages: Vec<String>,
}

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) state: String,
    /// Whether the state is not what one hopes for.
    pub(super) ails: bool,
    pub(super) round: Option<u64>,
    pub(super) behind: u64,
    /// Transactions in its mempool.
    pub(super) mempool: u64,
    pub(super) peers: usize,
    pub(super) sent_mb: f64,
    /// Share of one processor, per cent, and memory in MB, of its three processes.
    pub(super) cpu_percent: Option<f64>,
    pub(super) memory_mb: Option<f64>,
}

const COLUMNS: [(&str, Side); 9] = [
    ("node", Side::Right),
    ("state", Side::Left),
    ("round", Side::Right),
    ("behind", Side::Right),
    ("mempool", Side::Right),
    ("peers", Side::Right),
    ("sent MB", Side::Right),
    ("CPU %", Side::Right),
    ("MB", Side::Right),
];
/// What the keys do.
const HELP: &str = "up, down, 0-9: node   p pause or go on   k kill   r restart   c cut or heal";
/// A state is cut off here.
const STATE_COLUMNS: usize = 24;
/// Faults to come that are shown.
const TO_COME: usize = 3;
/// Rows above the nodes: title, two of the load, the heading, an empty one.
const ROWS_ABOVE: usize = 5;
/// Rows below them: an empty one, the faults to come, the keys.
const ROWS_BELOW: usize = 3;
/// Messages have so many rows at least.
const MESSAGES_MIN: usize = 4;

/// The picture of a view: at most so many rows, none longer than the columns.
pub(super) fn lines(view: &View, columns: usize, rows: usize) -> Vec<Line> {
    let mut all = vec![Line::new(Style::Strong, head(view, columns))];
    all.push(Line::new(Style::Plain, load(view)));
    let spark = format!("tx/s {} ", grouped(view.rates.last().copied().unwrap_or(0)));
    let room = columns.saturating_sub(spark.chars().count());
    all.push(Line::new(Style::Plain, format!("{spark}{}", sparkline(&view.rates, room))));
    all.push(Line::new(Style::Plain, String::new()));

    let room = rows.saturating_sub(ROWS_ABOVE + ROWS_BELOW + MESSAGES_MIN).max(1);
    all.extend(table(view, room));
    all.push(Line::new(Style::Plain, String::new()));
    all.push(Line::new(Style::Plain, to_come(view)));
    let room = rows.saturating_sub(all.len() + 1);
    let messages = &view.messages[view.messages.len().saturating_sub(room)..];
    all.extend(messages.iter().map(|message| Line::new(Style::Plain, message.clone())));
    all.resize_with(rows.saturating_sub(1).max(all.len()), || Line::new(Style::Plain, String::new()));
    all.push(Line::new(Style::Strong, HELP.into()));
    all.truncate(rows);
    for line in &mut all {
        line.text = cut_off(&line.text, columns);
    }
    all
}

/// What runs on the left, how long on the right.
fn head(view: &View, columns: usize) -> String {
    let elapsed = seconds_text(Duration::from_secs(view.elapsed.as_secs()));
    let time = match view.duration {
        Some(duration) if view.elapsed >= duration => format!("{elapsed} s, load ended"),
        Some(duration) => format!("{elapsed} of {} s", seconds_text(duration)),
        None => format!("{elapsed} s"),
    };
    let room = columns.saturating_sub(time.len() + 2);
    let title = cut_off(&view.title, room);
    format!("{title:room$}  {time}")
}

fn load(view: &View) -> String {
    let latency = view
        .latency_ms
        .map_or("-".into(), |[median, high, max]| format!("p50 {median:.1}, p99 {high:.1}, max {max:.1} ms"));
    let rejected =
        if view.rejected > 0 { format!(", {} rejected", grouped(view.rejected)) } else { String::new() };
    format!("{} committed{rejected}, {} open; {latency}", grouped(view.committed), grouped(view.open))
}

/// The last counts as bars of one row, a column each, the highest full.
fn sparkline(counts: &[u64], columns: usize) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &counts[counts.len().saturating_sub(columns)..];
    let max = shown.iter().copied().max().unwrap_or(0).max(1);
    // A little of something is more than nothing.
    shown.iter().map(|count| BARS[(count * 8).div_ceil(max) as usize]).collect()
}

/// The heading and at most so many nodes, the chosen one among them.
fn table(view: &View, room: usize) -> Vec<Line> {
    let chosen = view.nodes.iter().position(|node| node.id == view.chosen).unwrap_or(0);
    let first = (chosen + 1).saturating_sub(room).min(view.nodes.len().saturating_sub(room));
    let shown = &view.nodes[first..view.nodes.len().min(first + room)];
    let mut rows = vec![COLUMNS.map(|(name, _)| name.to_string()).to_vec()];
    rows.extend(shown.iter().map(cells));
    let text = aligned(&COLUMNS.map(|(_, side)| side), &rows, 0);
    let style = |node: &Node| match (node.id == view.chosen, node.ails) {
        (true, _) => Style::Chosen,
        (false, true) => Style::Strong,
        (false, false) => Style::Plain,
    };
    let styles = [Style::Plain].into_iter().chain(shown.iter().map(style));
    styles.zip(text.lines()).map(|(style, text)| Line::new(style, text.into())).collect()
}

fn cells(node: &Node) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    vec![
        node.id.to_string(),
        cut_off(&node.state, STATE_COLUMNS),
        or_dash(node.round.map(grouped)),
        if node.behind > 0 { grouped(node.behind) } else { String::new() },
        grouped(node.mempool),
        node.peers.to_string(),
        format!("{:.1}", node.sent_mb),
        or_dash(node.cpu_percent.map(|percent| format!("{percent:.0}"))),
        or_dash(node.memory_mb.map(|mb| format!("{mb:.0}"))),
    ]
}

fn to_come(view: &View) -> String {
    let shown: Vec<String> = view
        .to_come
        .iter()
        .take(TO_COME)
        .map(|(at, what)| {
            let left = at.saturating_sub(view.elapsed);
            format!("{what} in {} s", left.as_secs())
        })
        .collect();
    match (shown.is_empty(), view.to_come.len().saturating_sub(TO_COME)) {
        (true, _) => "to come: no planned fault".into(),
        (false, 0) => format!("to come: {}", shown.join(", ")),
        (false, more) => format!("to come: {}, {more} more", shown.join(", ")),
    }
}

/// The beginning of a text, if it is longer.
fn cut_off(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(nodes: u16) -> View {
        let node = |id| Node {
            id: NodeId(id),
            state: "up".into(),
            ails: id == 1,
            round: Some(1_234),
            behind: 0,
            mempool: 12,
            peers: 3,
            sent_mb: 4.25,
            cpu_percent: Some(43.2),
            memory_mb: None,
        };
        View {
            title: format!("{nodes} nodes, 10000 tx/s offered"),
            elapsed: Duration::from_millis(7_400),
            duration: Some(Duration::from_secs(20)),
            rates: vec![0, 5_000, 10_000, 1],
            latency_ms: Some([12.0, 20.5, 31.0]),
            committed: 70_123,
            nodes: (0..nodes).map(node).collect(),
            to_come: vec![(Duration::from_secs(9), "pause:2@9+3".into())],
            messages: (0..50).map(|number| format!("message {number}")).collect(),
            ..View::default()
        }
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_small_terminal_shows_everything_once() {
        let lines = lines(&view(4), 80, 24);
        let texts = texts(&lines);
        assert_eq!(texts.len(), 24);
        assert!(texts[0].starts_with("4 nodes, 10000 tx/s offered ") && texts[0].ends_with("  7 of 20 s"));
        assert_eq!(texts[1], "70,123 committed, 0 open; p50 12.0, p99 20.5, max 31.0 ms");
        assert_eq!(texts[2], "tx/s 1  ▄█▁");
        assert_eq!(texts[4], "node  state  round  behind  mempool  peers  sent MB  CPU %  MB");
        assert_eq!(texts[5], "   0  up     1,234               12      3      4.2     43   -");
        assert_eq!(texts[10], "to come: pause:2@9+3 in 1 s");
        assert_eq!((texts[11], texts[22]), ("message 38", "message 49"), "the last ones");
        assert_eq!(texts[23], HELP);
        assert_eq!((lines[5].style, lines[6].style), (Style::Chosen, Style::Strong));
    }

    #[test]
    fn no_line_is_longer_and_no_more_come_than_there_is_room() {
        for (columns, rows) in [(80, 24), (160, 50), (40, 10), (10, 3), (1, 1), (0, 0)] {
            for nodes in [1, 4, 31] {
                let lines = lines(&view(nodes), columns, rows);
                assert_eq!(lines.len(), rows, "{columns} × {rows}, {nodes} nodes");
                assert!(lines.iter().all(|line| line.text.chars().count() <= columns));
            }
        }
    }

    #[test]
    fn the_chosen_node_is_always_shown() {
        for chosen in 0..31 {
            let view = View { chosen: NodeId(chosen), ..view(31) };
            let lines = lines(&view, 80, 24);
            let shown: Vec<&Line> = lines.iter().filter(|line| line.style == Style::Chosen).collect();
            assert_eq!(shown.len(), 1);
            assert!(shown[0].text.trim_start().starts_with(&format!("{chosen} ")), "{shown:?}");
        }
    }
}
