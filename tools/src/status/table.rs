//! A look at the nodes as a table for people.

use std::collections::BTreeMap;
use std::time::Duration;

use wire::client::NodeStatus;
use wire::ids::ShardId;

use super::{Fork, Look, Rates, Seen};
use crate::grid::{Side, aligned};
use crate::lag::cannot_catch_up;

const COLUMNS: [&str; 16] = [
    "node", "shard", "round", "height", "behind", "view", "lanes", "mempool", "pool", "records", "parts",
    "out", "in", "faults", "up", "",
];
const RATE_COLUMNS: [&str; 2] = ["tx/s", "rounds/s"];

/// The table, and below it the nodes that do not answer and what shards do.
pub(super) fn of(look: &Look) -> String {
    let mut head: Vec<&str> = COLUMNS.to_vec();
    let has_rates = look.nodes.iter().any(|seen| seen.rates.is_some());
    if has_rates {
        head.truncate(COLUMNS.len() - 1);
        head.extend(RATE_COLUMNS);
    }
    let mut rows = vec![head.iter().map(ToString::to_string).collect()];
    rows.extend(look.nodes.iter().map(row));
    let mut sides = vec![Side::Right; head.len()];
    sides[0] = Side::Left;
    let mut text = aligned(&sides, &rows, 0);
    let answering = look.nodes.iter().filter(|seen| seen.answer.is_ok()).count();
    text += &format!("\n{answering} of {} nodes answer\n", look.nodes.len());
    for seen in &look.nodes {
        if let Err(reason) = &seen.answer {
            text += &format!("  node {} at {} does not: {reason}\n", seen.node, seen.place);
        }
    }
    for seen in &look.nodes {
        if let Some(why) = seen.answer.as_ref().ok().and_then(cannot_catch_up) {
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

fn row(seen: &Seen) -> Vec<String> {
    let mut row = vec![seen.node.to_string(), seen.shard.to_string()];
    let Ok(status) = &seen.answer else {
        row.push("-".into());
        return row;
    };
    let numbers = [
        status.lane_open,
        status.mempool,
        status.pool,
        status.open_records,
        status.parts_open,
        status.peers_out.len() as u64,
        status.peers_in.len() as u64,
        faults(status),
    ];
    row.extend([status.decided.to_string(), status.executed.to_string()]);
    row.push(seen.behind.map_or("-".into(), |rounds| rounds.to_string()));
    row.push(status.view.map_or("-".into(), |view| view.to_string()));
    row.extend(numbers.iter().map(ToString::to_string));
    row.push(span(Duration::from_millis(status.up_ms)));
    if let Some(Rates { tps, rounds_per_s }) = seen.rates {
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
node  shard  round  height  behind  view  lanes  mempool  pool  records  parts  out  in  faults     up
0         0      8       7    3978     0      0    12345     0        0      0    1   1       3  1m01s
1         0      -
2         1     10       9       1     -      0        0     0        0      0    1   1       3  1m01s
3         1     10       9       1     -      0        0     0        0      0    1   1       3  1m01s

3 of 4 nodes answer
  node 1 at 127.0.0.1:4001 does not: Connection refused
";
        assert_eq!(of(&sample()), expected);
    }

    #[test]
    fn rates_stand_in_columns_and_are_summed_over_shards() {
        let mut look = sample();
        for (seen, tps) in look.nodes.iter_mut().zip([100.0, 0.0, 40.0, 50.0]) {
            seen.rates = seen.answer.is_ok().then_some(Rates { tps, rounds_per_s: 12.34 });
        }
        let text = of(&look);
        assert!(text.lines().next().unwrap().ends_with("up  tx/s  rounds/s"), "{text}");
        assert!(text.contains("1m01s   100      12.3\n"), "{text}");
        assert!(text.ends_with("150 tx/s finished (shard 0 100, shard 1 50)\n"), "{text}");
    }

    #[test]
    fn spans_are_short() {
        for (s, text) in [(0, "0s"), (59, "59s"), (60, "1m00s"), (3_661, "1h01m"), (90_000, "1d01h")] {
            assert_eq!(span(Duration::from_secs(s)), text);
        }
    }
}
