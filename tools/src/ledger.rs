//! `tools ledger`: what nodes of a run had agreed on and executed, out of their data directories.
//!
//! A directory holds events and snapshots, not ledgers: those are made again by a replay ([`crate::replay`]), block by
//! block, and each block is there to be looked at as it was when it was executed. On the way everything is verified
//! that one node can know: that the core does what the node did; that N−f members have signed the header that comes
//! out ([`certificates`]); that value is conserved after every block.
//!
//! Several nodes, of one directory or of several, are compared with each other ([`compare`]): headers block by block,
//! and the whole ledgers where two of a shard stood at the same height.

mod block;
mod certificates;
mod compare;
mod differ;
pub(crate) mod live;
mod scan;
mod summary;
mod trail;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bft::trace::Tracing;
use wire::audit::Section;
use wire::committee::Committee;
use wire::ids::{NodeId, Round, ShardId};
use wire::text::ParseError;
use wire::version;

use self::live::LastLedger;
use self::scan::Scan;
use self::trail::{Sought, Thing};
use crate::flags::{Command, Operand, Opt, Range, UsageError, Values};
use crate::grid::wrapped;
use crate::ids;
use crate::keygen::load_committee;
use crate::replay::Source;
use crate::run::Directories;
use crate::terminal::{columns, print};

pub(crate) const COMMAND: Command = Command {
    name: "ledger",
    summary: "shows and verifies the ledgers in data directories, and compares them",
    about: "Makes the ledgers of a run's nodes again out of their journals, which they have unless --durability is off (tools \
            deploy logs --journals fetches those of other machines), and verifies them: each node does what it did, \
            N-f members signed its headers, no coin is made or lost, and all members of a shard have the same blocks and the \
            same ledger. If they do not, the first height and the first thing that differ are named. \
            Nothing is sent, and no file is changed.\n\n\
            Ids are given in full or by their first digits, at least 8.",
    operands: &[Operand {
        name: "DATADIRS",
        words: &[],
        default: Some("data"),
        help: "Data directories of one testbed, joined by commas.",
    }],
    options: &[
        Opt::without_default(
            "nodes",
            "IDS",
            "Only these nodes, e.g. 0-3+8; all that have a journal if not given, or the first of each shard with one of \
             the options below.",
        ),
        Opt::without_default(
            "height",
            "H",
            "Shows the block of this height, its transactions and its certificate; with --list, the ledger after it.",
        )
        .within(Range::whole(1, u64::MAX)),
        Opt::without_default("tx", "ID", "Shows what became of a transaction, block by block."),
        Opt::without_default("coin", "ID", "Shows where a coin came from and where it went."),
        Opt::without_default(
            "list",
            "WHAT",
            "Lists, a line each: blocks, coins (unspent), spent (coins, with their spenders), settled (transactions), open \
             (records), pool, early (parts), exchanges, ends (finished across shards).",
        ),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0  all well\n\
             1  something is wrong or differs, a journal is damaged, or nothing has this id\n\
             2  usage, or no journal or key can be read, or a node still runs",
        ),
        (
            "EXAMPLES",
            "tools ledger  All nodes of the last run in this directory, verified and compared.\n\
             tools ledger data,copy  The same with the directories of two machines.\n\
             tools ledger --height 57 --nodes 3  Block 57 as node 3 executed it.\n\
             tools ledger --tx 5f0c2a9b  Where a transaction was ordered, and its fate.\n\
             tools ledger data --list open --height 57  Open records after block 57.",
        ),
    ],
};

/// The digits that may name a coin or a transaction.
const ID_DIGITS: std::ops::RangeInclusive<usize> = 8..=64;

/// A node in a data directory.
pub(crate) struct Holder {
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
    /// As it is called: with its directory, if there are several.
    pub(crate) name: String,
    pub(crate) source: Source,
}

/// What is to be listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    Blocks,
    Items(Section),
}

/// What is to be shown instead of the whole.
enum Query {
    Block(Round),
    List(List, Option<Round>),
    Trail(Sought),
}

pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let query = query(values)?;
    let paths: Vec<PathBuf> = values.operand("DATADIRS").split(',').map(PathBuf::from).collect();
    let directories = directories(&paths)?;
    let mut holders = holders(asked(values, &directories)?, &directories)?;
    let Some(query) = query else { return Ok(verify(&holders)) };
    if values.text("nodes").is_none() {
        let mut shards = BTreeSet::new();
        holders.retain(|holder| shards.insert(holder.shard));
    }
    let mut is_well = true;
    let mut is_found = false;
    for holder in &holders {
        let shown = match &query {
            Query::Block(height) => block::show(holder, *height).map(|()| true),
            Query::List(List::Blocks, until) => block::list(holder, *until).map(|()| true),
            Query::List(List::Items(section), until) => {
                summary::list(holder, *section, *until).map(|()| true)
            }
            Query::Trail(sought) => trail::show(holder, sought),
        };
        match shown {
            Ok(found) => is_found |= found,
            Err(error) => {
                is_well = false;
                print(format!("{}: {error}", holder.name));
            }
        }
    }
    if let Query::Trail(sought) = &query
        && !is_found
        && is_well
    {
        print(format!("nothing that these nodes executed or hold is {sought}"));
    }
    Ok(u8::from(!is_well || !is_found))
}

/// What is asked for, if it is not everything.
fn query(values: &Values) -> Result<Option<Query>, UsageError> {
    let height = values.optional_whole("height")?.map(Round);
    let expected = "8 to 64 hexadecimal digits";
    let id = |option| {
        values.optional(option, expected, |text| {
            let is_id = ID_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_id.then(|| text.to_ascii_lowercase())
        })
    };
    let expected = "blocks, coins, spent, settled, open, pool, early, exchanges or ends";
    let list = values.optional("list", expected, |text| {
        Some(match text {
            "blocks" => List::Blocks,
            "coins" => List::Items(Section::Coins),
            "spent" => List::Items(Section::Spent),
            "settled" => List::Items(Section::Settled),
            "open" => List::Items(Section::Open),
            "pool" => List::Items(Section::Pool),
            "early" => List::Items(Section::Early),
            "exchanges" => List::Items(Section::Exchanged),
            "ends" => List::Items(Section::Ends),
            _ => return None,
        })
    })?;
    let (tx, coin) = (id("tx")?, id("coin")?);
    let given = [height.is_some() && list.is_none(), list.is_some(), tx.is_some(), coin.is_some()];
    if given.iter().filter(|given| **given).count() > 1 {
        let expected = "one of --height, --list, --tx and --coin, or --list with --height";
        return Err(ParseError::of("tools ledger", "several of them", expected).into());
    }
    Ok(match (height, list, tx, coin) {
        (until, Some(list), ..) => Some(Query::List(list, until)),
        (Some(height), ..) => Some(Query::Block(height)),
        (_, _, Some(digits), _) => Some(Query::Trail(Sought { thing: Thing::Transaction, digits })),
        (.., Some(digits)) => Some(Query::Trail(Sought { thing: Thing::Coin, digits })),
        (None, None, None, None) => None,
    })
}

/// A data directory and its committee.
struct DataDir {
    path: PathBuf,
    committee: Arc<Committee>,
}

/// The data directories of the command line, all of one testbed.
fn directories(paths: &[PathBuf]) -> Result<Vec<DataDir>, UsageError> {
    let mut found: Vec<DataDir> = Vec::new();
    for path in paths.iter().cloned() {
        let committee = path.join("keys/committee.txt");
        if !committee.exists() {
            let what = if path.is_dir() { "no keys/committee.txt" } else { "no directory" };
            let expected = "the data directory of a run, with keys/ and journal-<id>/";
            return Err(ParseError::of(&path.display().to_string(), what, expected).into());
        }
        let committee = Arc::new(load_committee(&committee)?);
        if let Some(first) = found.first().filter(|first| first.committee.testbed() != committee.testbed()) {
            let expected = format!("testbed {}, as in {}", first.committee.testbed(), first.path.display());
            let theirs = format!("testbed {}", committee.testbed());
            return Err(ParseError::of(&path.display().to_string(), &theirs, expected).into());
        }
        if found.iter().any(|other| is_same(&other.path, &path)) {
            let place = path.display().to_string();
            return Err(ParseError::of("DATADIRS", &place, "each directory once").into());
        }
        found.push(DataDir { path, committee });
    }
    Ok(found)
}

fn is_same(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// The nodes that are asked for, if any are.
fn asked(values: &Values, directories: &[DataDir]) -> Result<Option<BTreeSet<NodeId>>, UsageError> {
    let Some(DataDir { committee, .. }) = directories.first() else { return Ok(None) };
    let expected = format!("node ids from 0 to {}, each once", committee.nodes().count() - 1);
    values.optional("nodes", &expected, |text| {
        let nodes = ids::parse(text)?;
        let once: BTreeSet<NodeId> = nodes.iter().copied().filter(|node| committee.contains(*node)).collect();
        (once.len() == nodes.len()).then_some(once)
    })
}

/// The nodes with a journal, of all directories or those asked for.
fn holders(asked: Option<BTreeSet<NodeId>>, directories: &[DataDir]) -> Result<Vec<Holder>, UsageError> {
    let mut holders = Vec::new();
    for DataDir { path, committee } in directories {
        let files = Directories { log: path.clone(), data: path.clone() };
        for node in committee.nodes().filter(|node| asked.as_ref().is_none_or(|asked| asked.contains(node))) {
            let place = files.journal(node);
            if !place.is_dir() {
                continue;
            }
            refuse_running(&place, node)?;
            let source = Source::open(&files.keys(), place, committee, node)?;
            let name = if directories.len() == 1 {
                format!("node {node}")
            } else {
                format!("node {node} in {}", path.display())
            };
            holders.push(Holder { node, shard: committee.shard_of(node), name, source });
        }
    }
    if holders.is_empty() {
        let what =
            asked.map_or("no journal".into(), |asked| format!("no journal of {}", ids::nodes_text(&asked)));
        let expected = "journal-<id>/, which tools local makes unless --durability is off and tools deploy logs --journals fetches";
        let places: Vec<String> = directories.iter().map(|one| one.path.display().to_string()).collect();
        return Err(ParseError::of(&places.join(","), &what, expected).into());
    }
    Ok(holders)
}

/// A node that runs holds the lock of its journal, and removes old files from it.
fn refuse_running(place: &Path, node: NodeId) -> Result<(), ParseError> {
    let lock = place.join("lock");
    let is_locked = File::open(&lock)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)));
    if !is_locked {
        return Ok(());
    }
    let expected = "the journal of a node that has stopped; tools status shows one that runs";
    Err(ParseError::of(&lock.display().to_string(), &format!("a lock of node {node}, which runs"), expected))
}

/// What came out of all journals.
struct Examined<'a> {
    scans: Vec<(&'a Holder, Scan)>,
    /// What is wrong with single nodes.
    findings: Vec<String>,
    /// In what nodes of a shard differ.
    disagreements: Vec<String>,
    remarks: Vec<String>,
}

/// Replays all journals, and compares what they lead to.
fn examine(holders: &[Holder]) -> Examined<'_> {
    let mut scans = Vec::new();
    let (mut findings, mut remarks) = (Vec::new(), Vec::new());
    for holder in holders {
        let mut scan = Scan::new(holder);
        match holder.source.walk(Tracing::Off, &mut scan) {
            Ok(walked) => {
                findings.extend(scan.findings(holder, &walked));
                remarks.extend(scan.remarks(holder, &walked));
                scans.push((holder, scan));
            }
            Err(failure) => findings.push(format!("{}: {failure}", holder.name)),
        }
    }
    remarks.extend(other_versions(&scans));
    let compared = compare::compare(&mut scans);
    remarks.extend(compared.remarks);
    Examined { scans, findings, disagreements: compared.findings, remarks }
}

/// Everything: what each node has, whether it holds, and whether all have the same.
fn verify(holders: &[Holder]) -> u8 {
    let Examined { scans, findings, disagreements, remarks } = examine(holders);
    let mut text = summary::of(&scans, columns());
    for line in remarks.iter().chain(&disagreements).chain(&findings) {
        text += &wrapped(line, 2, columns());
    }
    let is_well = findings.is_empty() && disagreements.is_empty();
    if is_well {
        text += "  all well\n";
    }
    print(text.trim_end());
    u8::from(!is_well)
}

/// What journals say of a run, for `tools verify`.
pub(crate) struct Offline {
    pub(crate) findings: Vec<String>,
    pub(crate) disagreements: Vec<String>,
    pub(crate) remarks: Vec<String>,
}

/// Makes the ledgers of all nodes of a data directory again, and compares them with each other and with those that the
/// nodes had when they were asked.
///
/// # Errors
/// If there is no journal, or one cannot be read at all.
pub(crate) fn check_journals(
    data: &Path,
    asked: &BTreeMap<NodeId, Option<LastLedger>>,
) -> Result<Offline, UsageError> {
    let directories = directories(&[data.into()])?;
    let holders = holders(None, &directories)?;
    let Examined { scans, mut findings, disagreements, remarks } = examine(&holders);
    for (holder, scan) in &scans {
        let Some(Some(ledger)) = asked.get(&holder.node) else { continue };
        let Some(sums) = scan.sums.get(&ledger.height) else { continue };
        if LastLedger::of(sums).sections != ledger.sections {
            findings.push(format!(
                "{} had another ledger at height {} when it was asked than its journal leads to",
                holder.name, ledger.height
            ));
        }
    }
    Ok(Offline { findings, disagreements, remarks })
}

/// The other versions that wrote journals, each with its nodes.
fn other_versions(scans: &[(&Holder, Scan)]) -> Vec<String> {
    let ours = version::line("node", wire::commit!());
    let mut others: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (holder, scan) in scans.iter().filter(|(_, scan)| scan.version != ours) {
        others.entry(&scan.version).or_default().push(&holder.name);
    }
    others.iter().map(|(version, names)| format!("{}: written by {version}", names.join(", "))).collect()
}
