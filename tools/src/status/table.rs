//! A look at the nodes as a table for people.

use std::collections::BTreeMap;
use std::time::Duration;

use wire::client::NodeStatus;
use wire::ids::ShardId;

use super::{Fork, Look, Rates, Seen};
use crate::grid::{Side, aligned_within};
use crate::lag::lacks_history;

/// Which columns there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Testbed {
    /// Without those of transactions between shards; with rates, once they are known.
    OneShard,
    /// Without rates: the members of a shard have the same.
    Shards,
}

/// The table, and below it the nodes that do not answer and what shards do. It fits 80 columns, unless numbers are
/// large.
pub(super) fn of(look: &Look, width: usize) -> String {
    let has_shards = look.nodes.iter().any(|seen| seen.shard != ShardId(0));
    let testbed = if has_shards { Testbed::Shards } else { Testbed::OneShard };
    let has_rates = look.nodes.iter().any(|seen| seen.rates.is_some());
    let head = head(testbed, has_rates);
    let mut sides = vec![Side::Right; head.len()];
    sides[0] = Side::Left;
    let mut rows = vec![head.into_iter().map(String::from).collect()];
    rows.extend(look.nodes.iter().map(|seen| row(testbed, seen)));
    let mut text = aligned_within(width, &sides, &rows, 0);
    let answering = look.nodes.iter().filter(|seen| seen.answer.is_ok()).count();
    text += &format!("\n{answering} of {} nodes answer\n", look.nodes.len());
    for seen in &look.nodes {
        if let Err(reason) = &seen.answer {
            text += &format!("  node {} at {} does not: {reason}\n", seen.node, seen.place);
        }
    }
    for seen in &look.nodes {
        if let Some(why) = seen.answer.as_ref().ok().and_then(lacks_history) {
            text += &format!("  node {} {why}\n", seen.node);
        }
    }
    text += &shards(look);
    if let Some(Fork { shard, height, nodes: (one, other) }) = look.fork() {
        text += &format!(
            "FORK in shard {shard}: nodes {one} and {other} have different blocks of height {height}\n"
        );
    }
    text
}

fn head(testbed: Testbed, has_rates: bool) -> Vec<&'static str> {
    match testbed {
        Testbed::Shards => vec![
            "node", "shard", "round", "behind", "view", "lanes", "mempool", "pool", "records", "parts",
            "peers", "faults", "up",
        ],
        Testbed::OneShard => {
            let mut head =
                vec!["node", "round", "behind", "view", "lanes", "mempool", "peers", "faults", "up"];
            head.extend(has_rates.then_some(["tx/s", "rounds/s"]).into_iter().flatten());
            head
        }
    }
}

fn row(testbed: Testbed, seen: &Seen) -> Vec<String> {
    let mut row = vec![seen.node.to_string()];
    if testbed == Testbed::Shards {
        row.push(seen.shard.to_string());
    }
    let Ok(status) = &seen.answer else {
        row.push("-".into());
        return row;
    };
    row.push(status.decided.to_string());
    row.push(seen.behind.map_or("-".into(), |rounds| rounds.to_string()));
    row.push(match status.view {
        _ if status.follows => "follows".into(),
        Some(view) => view.to_string(),
        None => "-".into(),
    });
    row.extend([status.lane_open, status.mempool].map(|count| count.to_string()));
    if testbed == Testbed::Shards {
        let counts = [status.pool, status.open_records, status.parts_open];
        row.extend(counts.map(|count| count.to_string()));
    }
    row.push(format!("{}/{}", status.peers_out.len(), status.peers_in.len()));
    row.extend([faults(status).to_string(), span(Duration::from_millis(status.up_ms))]);
    if let (Testbed::OneShard, Some(Rates { tps, rounds_per_s })) = (testbed, seen.rates) {
        row.extend([format!("{tps:.0}"), format!("{rounds_per_s:.1}")]);
    }
    row
}

/// A line a shard, where rates are known: what its fastest member did.
fn shards(look: &Look) -> String {
    let mut best: BTreeMap<ShardId, Rates> = BTreeMap::new();
    for seen in &look.nodes {
        let Some(rates) = seen.rates else { continue };
        let shard = best.entry(seen.shard).or_insert(rates);
        if rates.tps > shard.tps {
            *shard = rates;
        }
    }
    if best.is_empty() {
        return String::new();
    }
    let total: f64 = best.values().map(|rates| rates.tps).sum();
    let each = best.iter().map(|(shard, rates)| format!("shard {shard} {:.0}", rates.tps));
    let each =
        if best.len() > 1 { format!(" ({})", each.collect::<Vec<_>>().join(", ")) } else { String::new() };
    format!("{total:.0} tx/s finished{each}\n")
}

fn faults(status: &NodeStatus) -> u64 {
    status.faults.iter().map(|(_, count)| count).sum()
}

/// A span in its two largest units.
fn span(span: Duration) -> String {
    let s = span.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_node_that_answers_has_a_row_and_a_silent_one_a_reason() {
        let expected = "\
node shard round behind view lanes mempool pool records parts peers faults    up
0        0     8   3978    0     0   12345    0       0     0   1/1      3 1m01s
1        0     -
2        1    10      1    -     0       0    0       0     0   1/1      3 1m01s
3        1    10      1    -     0       0    0       0     0   1/1      3 1m01s

3 of 4 nodes answer
  node 1 at 127.0.0.1:4001 does not: Connection refused
";
        assert_eq!(of(&sample(), 80), expected);
    }

    #[test]
    fn rates_of_one_shard_stand_in_columns_and_those_of_several_are_summed() {
        let mut look = sample();
        for (seen, tps) in look.nodes.iter_mut().zip([100.0, 0.0, 40.0, 50.0]) {
            seen.rates = seen.answer.is_ok().then_some(Rates { tps, rounds_per_s: 12.34 });
        }
        let text = of(&look, 80);
        assert!(text.ends_with("150 tx/s finished (shard 0 100, shard 1 50)\n"), "{text}");
        look.nodes.truncate(2);
        let text = of(&look, 80);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(
            text.starts_with(
                "node  round  behind  view  lanes  mempool  peers  faults     up  tx/s  rounds/s\n"
            ),
            "{text}"
        );
        assert!(text.contains("1m01s   100      12.3\n"), "{text}");
    }

    #[test]
    fn spans_are_short() {
        for (s, text) in [(0, "0s"), (59, "59s"), (60, "1m00s"), (3_661, "1h01m"), (90_000, "1d01h")] {
            assert_eq!(span(Duration::from_secs(s)), text);
        }
    }
}
