//! `tools logs`: the logs of all processes as one, filtered; one transaction or one round through all nodes.
//!
//! 1. [`merge`] reads the files of a directory side by side, by time, as [`clocks`] says. Events of cores become
//!    sentences there ([`sentence`]).
//! 2. [`query`] holds the filters. Without anything to follow, what passes them is shown line by line.
//! 3. What is followed is read twice: once for the entries, rounds and parts that carry a transaction ([`carriers`]),
//!    once for all records about it and them, each event once ([`story`]).
//! 4. [`incidents`] and [`committed`] list transactions that are worth following.
//! 5. Where nothing is shown, the logs are read once more for the filter that leaves nothing ([`nothing`]).
//!
//! Logs are for people, so nothing else reads them; what is counted comes from typed records.

mod carriers;
mod clocks;
mod committed;
mod incidents;
mod line;
mod merge;
mod moment;
mod nothing;
mod query;
mod sentence;
mod story;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use wire::name::{Name, TxHead};
use wire::text::{ParseError, complain};

use self::carriers::Carriers;
pub(crate) use self::clocks::Clocks;
use self::committed::Committed;
use self::incidents::Incidents;
use self::line::Process;
use self::merge::{Files, Merge, Record};
use self::moment::Stamp;
pub(crate) use self::moment::written;
use self::nothing::Funnel;
use self::query::{Followed, Query, TxPrefix};
use self::story::{Added, Columns, Story};
use crate::flags::{Command, Operand, Opt, Range, UsageError, Values};
use crate::terminal::{columns, is_terminal, print};

pub(crate) const COMMAND: Command = Command {
    name: "logs",
    summary: "merges the logs of all nodes, and follows a transaction or a round through them",
    about: "Shows what the processes of all nodes have written into their logs as one log, by time. Filters \
            may be combined; a line has to pass all of them.\n\n\
            With --tx, --round, --lane or --part one thing is followed: everything about it is shown as a story, each \
            event once: when it was first logged, in milliseconds since the beginning; within which time all of its \
            nodes logged it; by which nodes. The story of a transaction has the lane entry and the round that order \
            it in it, and the group parts that carry it between shards. Steps of rounds, parts and cross-shard \
            transactions are in the log if nodes ran with RUST_LOG=debug, messages and all other transactions with \
            RUST_LOG=trace.\n\n\
            How lines name things: node 3, nodes 0-3+8, shard 1, round 12, view 1, client 7; lane 3:17 is entry 17 of the lane of \
            node 3; part 1>0:5 is the fifth group part from shard 1 to shard 0; tx and 16 hex digits, the \
            first of its id.\n\n\
            Where logs come from several machines, clocks.csv in the directory holds how far their clocks are off; \
            times are moved by it, and a line on standard error says so.",
    operands: &[Operand {
        name: "DIR",
        words: &[],
        default: Some("log"),
        help: "The directory with the logs of a run.",
    }],
    options: &[
        Opt::without_default(
            "tx",
            "ID|slowest|median|random",
            "Follows a transaction; as much of its id as makes it unique, or a committed one by how long it took.",
        ),
        Opt::without_default("round", "R", "Follows a round, of every shard unless --shard names one.")
            .within(Range::whole(0, u64::MAX)),
        Opt::without_default("lane", "NODE:SEQ", "Follows a lane entry."),
        Opt::without_default("part", "FROM>TO:NUMBER", "Follows a group part; the > has to be quoted."),
        Opt::switch("all", "Shows every line about what is followed instead of each event once."),
        Opt::without_default(
            "stories",
            "N",
            "Lists N transactions that were rejected, cancelled or refunded, those with most ends first; and of those \
             that were committed the slowest, the median and a random one.",
        )
        .within(Range::whole(1, 1_000_000)),
        Opt::without_default("node", "IDS", "Only what these nodes wrote: 3, or 0-3+8."),
        Opt::without_default(
            "process",
            "node|net_client|net_server|tools",
            "Only what this process of nodes wrote; tools notes what it does to nodes by --faults.",
        ),
        Opt::without_default("level", "error|warn|info|debug|trace", "Only this level and those above it."),
        Opt::without_default("shard", "S", "Only lines that name this shard.")
            .within(Range::whole(0, u16::MAX as u64)),
        Opt::without_default(
            "since",
            "T",
            "Only from this time on: 17:29:24.5 or 2026-11-21T17:29:24Z, both \
                                            UTC, or seconds since the logs begin.",
        ),
        Opt::without_default("until", "T", "Only up to this time."),
        Opt::without_default("grep", "TEXT", "Only lines that hold this text as they are shown: round 5, not round=5."),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0  something was shown\n1  nothing passes the filters\n2  usage or unreadable files",
        ),
        (
            "EXAMPLES",
            "tools logs --level warn  what a person should look at\n\
             tools logs --stories 10  transactions to follow\n\
             tools logs --tx f8cb  one of them\n\
             tools logs --tx slowest  what the slowest of the committed waited for\n\
             tools logs --round 12 --shard 1  a round of shard 1\n\
             tools logs --node 3 --process net_client --since 2.5 --until 4  the log of one sender",
        ),
    ],
};

/// Shown of transactions that an id may mean.
const CANDIDATES_SHOWN: usize = 20;

pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    let directory = Path::new(values.operand("DIR"));
    let query = Query::parse(values)?;
    let stories = values.optional_whole("stories")?;
    let files = Files::find(directory)?;
    let clocks = Clocks::load(directory)?;
    let mut logs = Logs { files, clocks, query };
    let shown = match (stories, logs.query.followed.is_empty() || values.is_given("all")) {
        (Some(count), _) => logs.list_transactions(count as usize),
        (None, true) => logs.show_all(),
        (None, false) => logs.print_story(),
    };
    if shown? == Shown::Nothing {
        let mut funnel = Funnel::new(&logs.query, stories.map(|_| "--stories"));
        logs.read_all(|record, first| funnel.add(record, first))?;
        complain(&format!("tools logs: {}", funnel.words(&directory.display().to_string())));
        return Ok(1);
    }
    Ok(0)
}

/// Whether anything was shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    Something,
    Nothing,
}

/// The logs and the query.
struct Logs {
    files: Files,
    clocks: Clocks,
    query: Query,
}

/// Whether reading goes on after a record.
enum Then {
    GoOn,
    Stop,
}

impl Logs {
    /// Reads all records that pass the filters, in order.
    fn read(&self, take: impl FnMut(Record) -> Then) -> Result<(), ParseError> {
        self.read_if(Query::wants, take)
    }

    /// Reads all records that are wanted so, in order.
    fn read_if(
        &self,
        wants: impl Fn(&Query, &Record, Stamp) -> bool,
        mut take: impl FnMut(Record) -> Then,
    ) -> Result<(), ParseError> {
        let files = self.files.clone().only(|source| self.query.wants_file(source));
        let mut merge: Merge = files.merge(&self.clocks)?;
        let first = merge.first().unwrap_or(Stamp(0));
        while let Some(record) = merge.next()? {
            if wants(&self.query, &record, first)
                && let Then::Stop = take(record)
            {
                break;
            }
        }
        Ok(())
    }

    /// Reads all records there are, with the time at which the logs begin.
    fn read_all(&self, mut take: impl FnMut(&Record, Stamp)) -> Result<(), ParseError> {
        let mut merge: Merge = self.files.merge(&self.clocks)?;
        let first = merge.first().unwrap_or(Stamp(0));
        while let Some(record) = merge.next()? {
            take(&record, first);
        }
        Ok(())
    }

    /// Every line, as it comes.
    fn show_all(&mut self) -> Result<Shown, ParseError> {
        self.resolve()?;
        let carriers = self.carriers_of_followed()?;
        let mut shown = Shown::Nothing;
        self.print_notes();
        let mut out = BufWriter::new(io::stdout().lock());
        self.read(|record| {
            if !self.query.follows(&record) && carriers.words(&record).is_none() {
                return Then::GoOn;
            }
            shown = Shown::Something;
            // A reader that went away has seen enough.
            if writeln!(out, "{}", line_of(&record)).is_err() { Then::Stop } else { Then::GoOn }
        })?;
        let _ = out.flush();
        Ok(shown)
    }

    /// Each event about what is followed, once.
    fn print_story(&mut self) -> Result<Shown, ParseError> {
        self.resolve()?;
        let carriers = self.carriers_of_followed()?;
        let mut story = Story::default();
        let mut added = Added::Taken;
        // Faults belong to a story that goes on after them.
        let mut faults: Vec<Record> = Vec::new();
        self.read(|record| {
            let record = if record.source.process == Process::Tools {
                if !story.is_empty() {
                    faults.push(record);
                }
                return Then::GoOn;
            } else if self.query.follows(&record) {
                record
            } else if let Some(text) = carriers.words(&record) {
                Record { text, ..record }
            } else {
                return Then::GoOn;
            };
            let all = faults.drain(..).chain([record]);
            added = all.fold(Added::Taken, |added, record| added.max(story.add(record)));
            if added == Added::TooLong { Then::Stop } else { Then::GoOn }
        })?;
        if story.is_empty() {
            return Ok(Shown::Nothing);
        }
        self.print_notes();
        print(story.lines(&self.query.followed, width()).join("\n"));
        if added == Added::TooLong {
            complain(&format!(
                "tools logs: the story has more than {} events and ends here; --all shows every line",
                story::EVENTS_MAX
            ));
        }
        Ok(Shown::Something)
    }

    /// Transactions that failed, and three that were committed.
    fn list_transactions(&self, count: usize) -> Result<Shown, ParseError> {
        let (mut incidents, mut committed) = (Incidents::default(), Committed::default());
        self.read(|record| {
            incidents.add(&record);
            committed.add(&record);
            Then::GoOn
        })?;
        if incidents.is_empty() && committed.is_empty() {
            return Ok(Shown::Nothing);
        }
        let width = width();
        let fitted = |line: String| match line.rsplit_once("  ") {
            Some((start, text)) => width.fit(format!("{start}  "), text),
            None => line,
        };
        let lines = incidents.lines(count).into_iter().chain(committed.lines());
        print(lines.map(fitted).collect::<Vec<_>>().join("\n"));
        Ok(Shown::Something)
    }

    /// Finds out which transaction is followed: one of the committed, or the one whose id begins so.
    fn resolve(&mut self) -> Result<(), ParseError> {
        let picked = self.query.followed.iter().find_map(|followed| match followed {
            Followed::Picked(pick) => Some(*pick),
            _ => None,
        });
        if let Some(pick) = picked {
            let mut committed = Committed::default();
            self.read_if(Query::wants_where_and_when, |record| {
                committed.add(&record);
                Then::GoOn
            })?;
            if let Some(wait) = committed.pick(pick) {
                self.follow(TxPrefix::of(&wait.tx));
            }
            return Ok(());
        }
        let prefix = self.query.followed.iter().find_map(|followed| match followed {
            Followed::Tx(prefix) => Some(prefix.clone()),
            _ => None,
        });
        // A prefix as long as the ids in logs is unambiguous.
        let Some(prefix) = prefix.filter(|prefix| !prefix.is_whole()) else { return Ok(()) };
        let mut found: BTreeSet<TxHead> = BTreeSet::new();
        self.read_if(Query::wants_where_and_when, |record| {
            for name in Name::all_in(&record.text) {
                if let Name::Tx(head) = name
                    && prefix.fits(&name)
                {
                    found.insert(head);
                }
            }
            if found.len() > CANDIDATES_SHOWN { Then::Stop } else { Then::GoOn }
        })?;
        if found.len() > 1 {
            let shown: Vec<String> = found.iter().take(CANDIDATES_SHOWN).map(TxHead::to_string).collect();
            let more = if found.len() > CANDIDATES_SHOWN { " and others" } else { "" };
            let expected = format!("the beginning of one id; this may be {}{more}", shown.join(", "));
            return Err(ParseError::of("--tx", &prefix.to_string(), expected));
        }
        if let Some(head) = found.first() {
            self.follow(TxPrefix::of(head));
        }
        Ok(())
    }

    /// Follows this transaction instead of what its option left open.
    fn follow(&mut self, whole: TxPrefix) {
        for followed in &mut self.query.followed {
            if let Followed::Tx(_) | Followed::Picked(_) = followed {
                *followed = Followed::Tx(whole.clone());
            }
        }
    }

    /// The carriers of the transaction that is followed; none if another thing is.
    fn carriers_of_followed(&self) -> Result<Carriers, ParseError> {
        let mut carriers = Carriers::default();
        if !matches!(self.query.followed[..], [Followed::Tx(_)]) {
            return Ok(carriers);
        }
        self.read(|record| {
            if self.query.follows(&record) {
                carriers.add(&record);
            }
            if carriers.is_full() { Then::Stop } else { Then::GoOn }
        })?;
        Ok(carriers)
    }

    /// Prints how times are compared, and which files are left out since they have none.
    fn print_notes(&self) {
        let files = self.files.clone().only(|source| self.query.wants_file(source));
        let unread = files.unread().map(|path| {
            format!("{} is not empty: it holds what a process wrote without a time", path.display())
        });
        for line in self.clocks.notes().into_iter().chain(unread) {
            complain(&format!("tools logs: {line}"));
        }
    }
}

/// How wide a story may be: what a program reads is not wrapped.
fn width() -> Columns {
    if is_terminal() { Columns::AtMost(columns()) } else { Columns::Any }
}

/// A record as it is shown among others.
fn line_of(record: &Record) -> String {
    let source = format!("{:<8} {:<10}", Name::Node(record.source.node).to_string(), record.source.process);
    match record.head {
        Some((at, level)) => format!("{at} {source} {level:<5} {}", record.text),
        None => format!("{:15} {source} {:5} {}", "", "", record.text),
    }
}
