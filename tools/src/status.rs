//! `tools status`: requests the statuses of the nodes of a testbed that runs, over the port that clients use.
//!
//! All nodes are asked at once over connections of their own; a node that does not answer in time is named with the
//! reason. A [`Look`] is the result, which [`table`] prints for people and [`document`] for programs.

mod document;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wire::client::NodeStatus;
use wire::committee::Committee;
use wire::hosts::{Host, Hosts};
use wire::ids::{NodeId, Round, ShardId};

use crate::flags::{Command, Opt, Range, UsageError, Values};
use crate::json::Json;
use crate::lag::rounds_behind;
use crate::load::Offering;
use crate::signals;
use crate::terminal::{columns, is_terminal, print};
use crate::testbed;

pub(crate) const COMMAND: Command = Command {
    name: "status",
    summary: "shows the state of the nodes of a testbed that runs",
    about: "Requests the status of every node over the port that clients use, and prints a table of them, with the reasons \
            of nodes that do not answer. Without options it finds the testbed that ./run_local.sh runs in the same directory.\n\n\
            Every node reports itself alone, at a time of its own: heights of nodes that run differ a little. \
            Rates (with --watch) are counted between two answers of a node, by its own clock.",
    operands: &[],
    options: &[
        testbed::DATA_DIR,
        testbed::HOSTS,
        testbed::KEYS,
        Opt::with("timeout", "S", "2", "Seconds that a node may take to answer.")
            .within(Range::PositiveSeconds),
        Opt::switch_with(
            "watch",
            "S",
            "1",
            "Repeats every S seconds, every second if S is not given, and shows rates, until Ctrl-C.",
        )
        .within(Range::PositiveSeconds),
        Opt::switch("json", "Prints JSON."),
    ],
    sections: &[
        (
            "COLUMNS",
            "round    the last decided round\n\
             behind   rounds between the highest that a member of its shard has decided and the last that it has \
             executed\n\
             view     the view of the agreement that runs, from 0; - if none runs\n\
             lanes    own lane entries beyond the decided cut\n\
             mempool  transactions that wait to be proposed\n\
             pool     transactions between shards that wait here for input shards\n\
             records  transactions between shards that have spent here and whose fate is open\n\
             parts    group parts that other shards have not yet executed, as far as is known\n\
             peers    those it has a session with: those it dialled / those that dialled it\n\
             faults   misbehaviour of peers that it has seen, of all kinds\n\
             up       how long it has been running\n\
             tx/s     transactions finished a second since the last look, with --watch; of several shards one line for \
             each\n\
             rounds/s  the same of rounds",
        ),
        (
            "EXIT STATUS",
            "0  all nodes answered\n\
             1  some did not, or two nodes of a shard have different blocks of one height\n\
             2  usage, or hosts.txt or committee.txt cannot be read\n\
             4  it could not begin",
        ),
        (
            "EXAMPLES",
            "tools status --watch  The run that goes on in this directory, every second.\n\
             tools status --hosts hosts.txt --keys keys --json  A testbed elsewhere, once, for a program.",
        ),
    ],
};

/// How long a node whose connection was refused gets to be there after all: it may be about to start.
const REFUSED_PATIENCE: Duration = Duration::from_millis(500);
/// How long a request may stay unanswered before it is repeated over what has connected meanwhile.
const STEP: Duration = Duration::from_millis(100);

/// The statuses of all nodes at one time.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Look {
    nodes: Vec<Seen>,
}

/// The status of one node.
#[derive(Clone, PartialEq, Debug)]
struct Seen {
    node: NodeId,
    shard: ShardId,
    /// Its address.
    place: String,
    /// Its answer, or why there is none.
    answer: Result<NodeStatus, String>,
    /// Rounds behind the highest that a member of its shard has decided; `None` if it did not answer.
    behind: Option<u64>,
    rates: Option<Rates>,
}

/// The pace of a node between two looks.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Rates {
    tps: f64,
    rounds_per_s: f64,
}

/// Two blocks of one height.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fork {
    shard: ShardId,
    height: Round,
    nodes: (NodeId, NodeId),
}

pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let (hosts, committee) = testbed::load(values)?;
    let patience = values.seconds("timeout")?;
    let every = values.optional_seconds("watch")?;
    let is_json = values.is_given("json");
    let committee = Arc::new(committee);
    let begun = match every {
        Some(_) => signals::block(),
        None => Ok(()),
    };
    let offering = match begun.and_then(|()| Offering::connect(committee.clone(), &hosts)) {
        Ok(offering) => offering,
        Err(error) => {
            eprintln!("tools status: {error}");
            return Ok(4);
        }
    };
    let mut last: Option<Look> = None;
    loop {
        let began = Instant::now();
        let mut look = look(&offering, &committee, &hosts, patience);
        look.rates_since(last.as_ref());
        // On a terminal each table takes the place of the last one.
        let clear = if every.is_some() && is_terminal() && !is_json { "\x1b[H\x1b[2J" } else { "" };
        let text =
            if is_json { document::of(&committee, &look).to_string() } else { table::of(&look, columns()) };
        print(format!("{clear}{}", text.trim_end()));
        let Some(every) = every else { return Ok(look.exit_code()) };
        while began.elapsed() < every && !signals::is_interrupted() {
            thread::sleep(STEP.min(every.saturating_sub(began.elapsed())));
        }
        if signals::is_interrupted() {
            return Ok(look.exit_code());
        }
        last = Some(look);
    }
}

/// A status as `--json` prints it, without the fields that only a client knows.
pub(crate) fn document_of(status: &NodeStatus) -> Json {
    Json::object(document::fields_of(status))
}

/// Requests all statuses, until all have come or there is no hope for the others.
fn look(offering: &Offering, committee: &Committee, hosts: &Hosts, patience: Duration) -> Look {
    let all: Vec<NodeId> = hosts.iter().map(|host| host.id).collect();
    let began = Instant::now();
    let mut answers: BTreeMap<NodeId, NodeStatus> = BTreeMap::new();
    let down = loop {
        let missing: Vec<NodeId> = all.iter().copied().filter(|node| !answers.contains_key(node)).collect();
        answers.extend(offering.statuses(&missing, STEP.min(patience)));
        let down = offering.look_at(|shared| shared.down.clone());
        let is_hopeless = missing.iter().all(|node| answers.contains_key(node) || down.contains_key(node));
        let waited = began.elapsed();
        if answers.len() == all.len() || waited >= patience || is_hopeless && waited >= REFUSED_PATIENCE {
            break down;
        }
        // Ctrl-C is to be noticed while nodes are silent.
        if signals::is_interrupted() {
            break down;
        }
    };
    let behind = rounds_behind(committee, answers.iter().map(|(node, status)| (*node, status)));
    let silent = || format!("no answer within {} s", patience.as_secs_f64());
    let place = |Host { public, port, .. }: &Host| {
        if public.contains(':') { format!("[{public}]:{port}") } else { format!("{public}:{port}") }
    };
    let seen = hosts.iter().map(|host| Seen {
        node: host.id,
        shard: committee.shard_of(host.id),
        place: place(host),
        behind: behind.get(&host.id).copied(),
        answer: answers
            .remove(&host.id)
            .ok_or_else(|| down.get(&host.id).map_or_else(silent, ToString::to_string)),
        rates: None,
    });
    Look { nodes: seen.collect() }
}

impl Look {
    /// Works out what nodes did since an earlier look, by their own clocks.
    fn rates_since(&mut self, earlier: Option<&Look>) {
        let Some(earlier) = earlier else { return };
        for (seen, before) in self.nodes.iter_mut().zip(&earlier.nodes) {
            if let (Ok(now), Ok(before)) = (&seen.answer, &before.answer) {
                seen.rates = Rates::between(before, now);
            }
        }
    }

    fn exit_code(&self) -> u8 {
        u8::from(self.nodes.iter().any(|seen| seen.answer.is_err()) || self.fork().is_some())
    }

    /// Two members of a shard that have different blocks of one height, if there are any.
    fn fork(&self) -> Option<Fork> {
        let mut headers = BTreeMap::new();
        for seen in &self.nodes {
            let Ok(status) = &seen.answer else { continue };
            let (node, header) =
                *headers.entry((seen.shard, status.executed)).or_insert((seen.node, status.header));
            if header != status.header {
                return Some(Fork { shard: seen.shard, height: status.executed, nodes: (node, seen.node) });
            }
        }
        None
    }
}

impl Rates {
    /// `None` if the node has not gone on from the earlier status: it is another process since, or gave the same answer
    /// again.
    fn between(before: &NodeStatus, now: &NodeStatus) -> Option<Rates> {
        let ms = now.up_ms.checked_sub(before.up_ms).filter(|ms| *ms > 0)?;
        let finished = |status: &NodeStatus| status.finished + status.finished_cross;
        let transactions = finished(now).checked_sub(finished(before))?;
        let rounds = now.executed.0.checked_sub(before.executed.0)?;
        let per_second = |count: u64| count as f64 * 1e3 / ms as f64;
        Some(Rates { tps: per_second(transactions), rounds_per_s: per_second(rounds) })
    }
}

/// A sample for tests.
#[cfg(test)]
fn sample() -> Look {
    let status = |executed: u64| NodeStatus {
        decided: Round(executed + 1),
        executed: Round(executed),
        finished: 100,
        peers_out: vec![1],
        peers_in: vec![1],
        bytes_sent_to: vec![(1, 900)],
        received: vec![("lane_echo".into(), 3, 120)],
        faults: vec![("malformed".into(), 2), ("equivocation".into(), 1)],
        up_ms: 61_000,
        ..NodeStatus::default()
    };
    let seen = |node: u16, answer| Seen {
        node: NodeId(node),
        shard: ShardId(node / 2),
        place: format!("127.0.0.1:{}", 4_000 + node),
        behind: None,
        answer,
        rates: None,
    };
    let behind = |seen: Seen, rounds: u64| Seen { behind: Some(rounds), ..seen };
    Look {
        nodes: vec![
            behind(seen(0, Ok(NodeStatus { view: Some(0), mempool: 12_345, ..status(7) })), 3_978),
            seen(1, Err("Connection refused".into())),
            behind(seen(2, Ok(status(9))), 1),
            behind(seen(3, Ok(status(9))), 1),
        ],
    }
}

#[cfg(test)]
mod tests {
    use wire::ids::Digest;

    use super::*;

    #[test]
    fn rates_are_counted_by_the_node_s_own_clock() {
        let before = NodeStatus { up_ms: 1_000, finished: 10, executed: Round(5), ..NodeStatus::default() };
        let now = NodeStatus {
            up_ms: 3_000,
            finished: 20,
            finished_cross: 4,
            executed: Round(9),
            ..before.clone()
        };
        assert_eq!(Rates::between(&before, &now), Some(Rates { tps: 7.0, rounds_per_s: 2.0 }));
        assert_eq!(Rates::between(&now, &now), None, "the same answer");
        assert_eq!(Rates::between(&now, &before), None, "another process");
    }

    #[test]
    fn silence_and_forks_show_in_the_exit_code() {
        let mut look = sample();
        assert_eq!(look.exit_code(), 1);
        look.nodes.remove(1);
        assert_eq!(look.exit_code(), 0);
        let Ok(status) = &mut look.nodes[2].answer else { panic!("it answers") };
        status.header = Digest([1; 32]);
        let fork = Fork { shard: ShardId(1), height: Round(9), nodes: (NodeId(2), NodeId(3)) };
        assert_eq!((look.fork(), look.exit_code()), (Some(fork), 1));
    }
}
