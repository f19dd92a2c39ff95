//! `tools query`: the fates of transactions, as the nodes know them.
//!
//! A node answers for what has its end there and for what it does not know; about what is open it says nothing until
//! it has an end. So each node is asked something else right after, which it answers at once: replies come in the
//! order of requests, and what has no receipt by then is open there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use wire::client::{Fate, Reply, Request};
use wire::committee::Committee;
use wire::hex;
use wire::hosts::Hosts;
use wire::ids::{NodeId, TxId};
use wire::limits::QUERY_IDS_MAX;
use wire::text::ParseError;

use crate::client::Happened;
use crate::flags::{Command, Operand, Opt, Range, UsageError, Values};
use crate::ids;
use crate::sessions::Sessions;
use crate::terminal::print;
use crate::testbed;

pub(crate) const COMMAND: Command = Command {
    name: "query",
    summary: "asks nodes what became of transactions",
    about: "Asks the nodes for the fates of transactions and prints one line for each: in which round of which shard it \
            finished, why it was rejected, where it is open, or that no node knows it. All nodes are asked until one knows \
            the end. Without options it finds the testbed that ./run_local.sh runs in the same directory.\n\n\
            A node that had not taken a transaction from a client knows its end once it has executed it. Nodes forget ends \
            8 rounds after the expiry.",
    operands: &[Operand {
        name: "ID…",
        words: &[],
        default: None,
        help: "The ids of transactions, of 64 hex digits each, as tools submit and transactions.csv have them.",
    }],
    options: &[
        testbed::DATA_DIR,
        testbed::HOSTS,
        testbed::KEYS,
        Opt::without_default("at", "NODES", "The nodes to ask, such as 3 or 0-2+5; as a rule all."),
        Opt::with("timeout", "S", "2", "Seconds that nodes may take to answer.")
            .within(Range::PositiveSeconds),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0  all have an end\n\
             1  one is open, or no node that was asked knows it\n\
             2  usage, or hosts.txt or committee.txt cannot be read\n\
             4  no node answered",
        ),
        (
            "EXAMPLES",
            "tools query $(cut -d, -f1 log/transactions.csv | tail -1) --at 0  What node 0 knows of the last one of a run.",
        ),
    ],
};

/// What the nodes know of transactions.
#[derive(Default)]
struct Known {
    /// Of each transaction that was asked for, by node; `None` where it is open.
    fates: BTreeMap<TxId, BTreeMap<NodeId, Option<Fate>>>,
    /// Nodes that have answered.
    answered: BTreeSet<NodeId>,
    /// Why others have not.
    down: BTreeMap<NodeId, String>,
}

pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let (hosts, committee) = testbed::load(values)?;
    let ids = transactions(values.repeated())?;
    let expected = format!("nodes of 0 to {}, such as 3 or 0-2", committee.nodes().count() - 1);
    let at = values.optional("at", &expected, |text| {
        ids::parse(text).filter(|nodes| nodes.iter().all(|node| committee.contains(*node)))
    })?;
    let nodes: BTreeSet<NodeId> = at.unwrap_or_else(|| committee.nodes().collect()).into_iter().collect();
    let known = match ask(&committee, &hosts, &nodes, &ids, values.seconds("timeout")?) {
        Ok(known) => known,
        Err(error) => {
            eprintln!("tools query: cannot wait for nodes: {error}");
            return Ok(4);
        }
    };
    if known.fates.values().all(BTreeMap::is_empty) {
        let why = |node: &NodeId| format!("node {node}: {}", known.reason(*node));
        let all: Vec<String> = nodes.iter().map(why).collect();
        eprintln!("tools query: no node answers: {}", all.join("; "));
        return Ok(4);
    }
    ids.iter().for_each(|id| print(known.line(id, &committee)));
    for node in nodes.difference(&known.answered).filter(|_| !known.all_have_ended(&ids)) {
        eprintln!("tools query: node {node} has not answered: {}", known.reason(*node));
    }
    Ok(u8::from(!known.all_have_ended(&ids)))
}

fn transactions(words: &[String]) -> Result<Vec<TxId>, UsageError> {
    let id = |word: &String| {
        let id = hex::decode_32(word).map(TxId);
        id.ok_or_else(|| ParseError::of("ID", word, "64 hex digits, the id of a transaction").into())
    };
    let ids = words.iter().map(id).collect::<Result<Vec<TxId>, UsageError>>()?;
    if ids.len() > QUERY_IDS_MAX {
        let found = format!("{} of them", ids.len());
        return Err(ParseError::of("ID", &found, format!("at most {QUERY_IDS_MAX}")).into());
    }
    Ok(ids)
}

/// Asks these nodes until all ends are known, all have answered, or the time is over.
fn ask(
    committee: &Committee,
    hosts: &Hosts,
    nodes: &BTreeSet<NodeId>,
    ids: &[TxId],
    patience: Duration,
) -> io::Result<Known> {
    let mut sessions = Sessions::begin(committee, hosts, nodes.iter().copied())?;
    let mut known = Known::of(ids);
    let until = Instant::now() + patience;
    while !known.all_have_ended(ids) && known.answered.len() < nodes.len() {
        let Some((node, happened)) = sessions.next(until)? else { break };
        match happened {
            Happened::Up => {
                sessions.send(node, &Request::Query(ids.to_vec()), &[]);
                sessions.send(node, &Request::Coins(Vec::new()), &[]);
            }
            Happened::Down(reason) => {
                known.down.insert(node, reason.to_string());
            }
            Happened::Reply(reply) => known.take(node, reply),
        }
    }
    Ok(known)
}

impl Known {
    /// Nothing yet of these transactions.
    fn of(ids: &[TxId]) -> Known {
        Known { fates: ids.iter().map(|id| (*id, BTreeMap::new())).collect(), ..Known::default() }
    }

    fn take(&mut self, node: NodeId, reply: Reply) {
        match reply {
            Reply::Receipts(receipts) => {
                // A node may send receipts for anything.
                for receipt in receipts {
                    if let Some(fates) = self.fates.get_mut(&receipt.id) {
                        fates.insert(node, Some(receipt.fate));
                    }
                }
            }
            // The answer to what was asked after the query.
            Reply::Coins(_) => {
                self.answered.insert(node);
                for fates in self.fates.values_mut() {
                    fates.entry(node).or_insert(None);
                }
            }
            Reply::Error(reason) => {
                self.down.insert(node, reason);
            }
            _ => {}
        }
    }

    /// A node that knows the end of a transaction, and the end.
    fn end(&self, id: &TxId) -> Option<(NodeId, Fate)> {
        let mut fates = self.fates.get(id)?.iter().filter_map(|(node, fate)| Some((*node, (*fate)?)));
        fates.find(|(_, fate)| fate.is_final())
    }

    fn all_have_ended(&self, ids: &[TxId]) -> bool {
        ids.iter().all(|id| self.end(id).is_some())
    }

    fn reason(&self, node: NodeId) -> &str {
        self.down.get(&node).map_or("no answer in time", String::as_str)
    }

    fn line(&self, id: &TxId, committee: &Committee) -> String {
        let text = hex::encode(&id.0);
        if let Some((node, fate)) = self.end(id) {
            let shard = committee.shard_of(node);
            return match fate {
                Fate::Finished(_) => format!("{text}  {fate} of shard {shard}, reported by node {node}"),
                _ => format!("{text}  {fate}, reported by node {node}"),
            };
        }
        let fates = self.fates.get(id);
        let open = fates.into_iter().flatten().filter(|(_, fate)| fate.is_none());
        let open: Vec<NodeId> = open.map(|(node, _)| *node).collect();
        if open.is_empty() {
            format!("{text}  unknown to {}", ids::nodes_text(&self.answered))
        } else {
            format!("{text}  open at {}", ids::nodes_text(&open))
        }
    }
}

#[cfg(test)]
mod tests {
    use bft::crypto::deal::{deal_committee, seeded_entropy};
    use wire::client::{Receipt, Rejection};
    use wire::committee::Protocol;
    use wire::ids::Round;

    use super::*;

    const ID: TxId = TxId([0xAB; 32]);

    fn receipt(fate: Fate) -> Reply {
        Reply::Receipts(vec![Receipt { id: ID, fate }])
    }

    #[test]
    fn no_receipt_before_the_next_reply_means_open() {
        let (committee, _) = deal_committee(4, 2, Protocol::default(), seeded_entropy(7));
        let line = |known: &Known| known.line(&ID, &committee).split_off(66);
        let mut known = Known::of(&[ID]);
        known.take(NodeId(1), receipt(Fate::Unknown));
        known.take(NodeId(1), Reply::Coins(Vec::new()));
        assert_eq!(line(&known), "unknown to node 1");
        known.take(NodeId(2), Reply::Coins(Vec::new()));
        assert_eq!(line(&known), "open at node 2");
        assert!(!known.all_have_ended(&[ID]));
        known.take(NodeId(5), receipt(Fate::Finished(Round(12))));
        assert_eq!(line(&known), "finished in round 12 of shard 1, reported by node 5");
        assert!(known.all_have_ended(&[ID]));
    }

    #[test]
    fn ends_are_those_that_hold_everywhere() {
        let mut known = Known::of(&[ID]);
        known.take(NodeId(1), receipt(Fate::Refused(wire::client::Refusal::Full)));
        assert_eq!(known.end(&ID), None);
        known.take(NodeId(2), receipt(Fate::Rejected(Rejection::Spent)));
        assert_eq!(known.end(&ID), Some((NodeId(2), Fate::Rejected(Rejection::Spent))));
    }

    #[test]
    fn receipts_that_nobody_asked_for_are_dropped() {
        let mut known = Known::of(&[ID]);
        let other = Receipt { id: TxId([1; 32]), fate: Fate::Expired };
        known.take(NodeId(1), Reply::Receipts(vec![other]));
        assert!(known.fates.keys().eq([&ID]));
    }

    #[test]
    fn ids_are_hex() {
        assert_eq!(transactions(&[hex::encode(&ID.0)]), Ok(vec![ID]));
        let error = transactions(&["abc".into()]).unwrap_err().to_string();
        assert_eq!(error, "ID: found 'abc', expected 64 hex digits, the id of a transaction");
    }
}
