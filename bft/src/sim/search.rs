//! A search over small scopes: every execution of sMVBA at N = 4 with one Byzantine member, view by view.
//!
//! Random schedules hardly ever find a fork that needs three unlikely leaders and several late messages in a row. The
//! search tries such sequences systematically, on the real [`crate::mvba::Mvba`]: in each view every leader, every
//! choice of the members that see LOCK, FINISH, PRE-VOTEs, VOTEs and HALT in time, and every value that the Byzantine
//! member can justify to an honest one with the signatures sent so far.
//!
//! **State.** The start of a view. For each honest member: the value it holds and the chain behind it, or that it has
//! decided or is stuck. For all: which locks and UNLOCKs exist. States that differ only in the names of honest members
//! and of values are the same state; of the leaders that such a renaming exchanges, one is tried.
//!
//! **Reductions, and why they lose nothing.** Honest members go through the views together: the later steps of a slow
//! member depend only on ballots that exist already, so it may as well take them at once and send no more. The coin
//! falls whenever the adversary likes, which gives it more power than it has; no safety rule depends on the moment. A
//! member may decide late by a straggling VOTE, so the search checks which decisions the existing signatures *prove*,
//! whether or not any member knows.
//!
//! **Checks.** At most one value has a certificate 2 of an elected leader, LOCKs that come too late included, and at
//! most one is proven by HALTs; honest members echo each other's proposals; no honest member is blamed; no member
//! leaves a view without its VOTE while others wait for it.
//!
//! **Cost.** Some thousand deliveries a state. Each view multiplies the states until all kinds of states exist.

mod known;
mod member;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;

use wire::ids::{Digest, Index, View};

use crate::crypto::suite::Stage;
use crate::cut::Cut;
use member::{BYZANTINE, HONEST, Heard, Node, Note, Table, statement};
use view::{Expansion, How, World, introduce, justification_of, try_halts, value_of};

/// A broken rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    what: String,
    /// The steps that led to it, a line a view.
    how: Vec<String>,
}

impl Violation {
    fn new(what: impl Into<String>) -> Violation {
        Violation { what: what.into(), how: Vec::new() }
    }

    /// The same with the steps that led to it, unless it has them already.
    fn after(mut self, world: &World) -> Violation {
        let mut how = world.how.as_ref().filter(|_| self.how.is_empty());
        while let Some(view) = how {
            self.how.insert(0, view.to_string());
            how = view.before.as_ref();
        }
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        (0..).zip(&self.how).try_for_each(|(view, line): (u32, _)| write!(f, "\n  view {view}: {line}"))
    }
}

/// How far a search has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Different states at the start of each view.
    pub states: Vec<u64>,
    /// States whose view was searched: all but those after the last view.
    pub expanded: u64,
    /// Ends of views, before equal ones were merged into states.
    pub outcomes: u64,
    /// Messages fed to members.
    pub deliveries: u64,
}

/// Searches `views` views and calls `watch` with the progress after each state.
pub fn search(views: u32, mut watch: impl FnMut(&Progress)) -> Result<Progress, Violation> {
    let table = Table::new();
    let mut progress = Progress::default();
    let mut seen: BTreeMap<View, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let start = World::new(&table)?;
    seen.entry(View(0)).or_default().insert(key(&table, &start));
    let mut open = VecDeque::from([start]);
    while let Some(world) = open.pop_front() {
        try_halts(&table, &world)?;
        let last = world.view.0 >= views;
        // A view ends only with two active honest members.
        if !last && world.active().count() >= 2 {
            let introduced = introduce(&table, &world)?;
            for leader in leaders(&table, &world) {
                let expansion = Expansion::new(&table, &introduced, leader);
                let mut outcomes = 0;
                expansion
                    .run(|next| {
                        outcomes += 1;
                        if seen.entry(next.view).or_default().insert(key(&table, &next)) {
                            open.push_back(next);
                        }
                        Ok(())
                    })
                    .map_err(|violation| violation.after(&world))?;
                progress.outcomes += outcomes;
            }
        }
        progress.expanded += u64::from(!last);
        progress.states = seen.values().map(|keys| keys.len() as u64).collect();
        progress.deliveries = table.deliveries();
        watch(&progress);
    }
    Ok(progress)
}

/// The leaders to try: of honest members that can be exchanged, the first.
fn leaders(table: &Table, world: &World) -> Vec<Index> {
    let same = named(table, world, [0, 1, 2]);
    let exchanged = |one: usize, other: usize| {
        let mut names = [0, 1, 2];
        names.swap(one, other);
        named(table, world, names) == same
    };
    let first = |index: &usize| (0..*index).all(|earlier| !exchanged(earlier, *index));
    let honest = (0..HONEST.len()).filter(first).map(|index| HONEST[index]);
    honest.chain([BYZANTINE]).collect()
}

/// Identifies a state, whatever the honest members are called.
fn key(table: &Table, world: &World) -> Vec<u8> {
    const NAMES: [[u8; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    NAMES.iter().map(|names| named(table, world, *names)).min().expect("there are names")
}

/// Identifies a state under these names of the honest members and of their inputs.
fn named(table: &Table, world: &World, names: [u8; 3]) -> Vec<u8> {
    let position = |cut: &Cut| table.inputs.iter().position(|input| input == cut).expect("values are inputs");
    let name = |cut: &Cut| names.get(position(cut)).copied().unwrap_or(BYZANTINE.0 as u8);
    let of_node = |node: &Rc<Node>| match node.send(world.view) {
        _ if node.decided.is_some() => [0, 0, 0],
        Some(send) => {
            let lock = justification_of(send).lock.as_ref().map_or(0, |lock| 1 + lock.view.0 as u8);
            [1, name(value_of(send)), lock]
        }
        None => [2, 0, 0],
    };
    let mut members = [[0; 3]; 3];
    for (node, name) in world.nodes.iter().zip(names) {
        members[usize::from(name)] = of_node(node);
    }
    let mut key = members.concat();
    key.push(world.decided.as_ref().map_or(u8::MAX, name));
    for (view, leader) in (0..).map(View).zip(&world.leaders) {
        let exists = |stage, digest| world.known.has(table, &statement(view, *leader, stage, digest));
        let locked = table.values().filter(|(_, digest)| exists(Stage::Lock, *digest));
        let mut locked: Vec<u8> = locked.map(|(cut, _)| name(cut)).collect();
        locked.sort_unstable();
        key.push(locked.len() as u8);
        key.extend(locked);
        key.push(u8::from(exists(Stage::Unlock, Digest::default())));
    }
    key
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leader {}", self.leader)?;
        if let Some(cut) = &self.proposal {
            write!(f, " proposes {:?}", cut.tips().filter(|(_, tip)| tip.seq.0 > 0).collect::<Vec<_>>())?;
        }
        for (member, notes) in self.notes.iter().enumerate() {
            write!(f, "; member {member}:")?;
            for note in notes.iter().filter(|note| !matches!(note, Note::Trial | Note::Proposals)) {
                write!(f, " {note}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Proposals => f.write_str("SENDs"),
            Note::LockBeforeCoin => f.write_str("LOCK,"),
            Note::Coin => f.write_str("coin,"),
            Note::LockAfterCoin => f.write_str("LOCK after the coin,"),
            Note::LockTooLate => f.write_str("LOCK at last"),
            Note::Finish => f.write_str("FINISH,"),
            Note::PreVotes(heard) => write!(f, "PRE-VOTEs of {heard},"),
            Note::Votes(heard) => write!(f, "VOTEs of {heard}"),
            Note::VotesFirst => f.write_str("VOTEs before PRE-VOTEs"),
            Note::Halt => f.write_str(", HALT"),
            Note::Trial => f.write_str("a trial"),
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard::Both => f.write_str("both others"),
            Heard::OneAndYes(one) => write!(f, "{one} and of {BYZANTINE} for yes"),
            Heard::OneAndNo(one) => write!(f, "{one} and of {BYZANTINE} for no"),
        }
    }
}
