//! A search over small scopes: every way in which sMVBA at N = 4 with one Byzantine member can go, view by view.
//!
//! Random schedules hardly find a fork that needs three unlikely leaders and a handful of late messages in a row. Here
//! such rows are tried systematically, on the real [`crate::mvba::Mvba`]: in each view every leader, every choice of
//! who sees LOCK, FINISH, PRE-VOTEs, VOTEs and HALT in time, and every value that the Byzantine member can justify to
//! an honest one with the signatures that were ever sent.
//!
//! **What a state is.** The start of a view: of each honest member the value it holds and the chain behind it, or that it
//! has decided or is stuck; and which locks and UNLOCKs exist. States that differ only by the names of honest members
//! and of values are one, and of leaders that such a renaming exchanges one is tried.
//!
//! **What is left out, and why nothing is lost.** Honest members go through the views together: what a slow member would do
//! later depends only on ballots that exist already, so it may as well do it at once and not be heard. The coin falls
//! whenever the adversary likes, which is more than it can do; no rule of safety depends on when. A member that decides
//! late by a straggling VOTE is covered by checking which decisions the existing signatures *prove*, whoever knows it.
//!
//! **What is checked.** At most one value has a certificate 2 of an elected leader, LOCKs that come too late included, and
//! is proven by HALTs; what an honest member proposes the others echo; nobody honest is blamed; nobody leaves a view
//! without its VOTE and lets others wait for it.
//!
//! Cost: some thousand deliveries a state. Every view multiplies the states until all kinds are there.

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

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    what: String,
    /// How it came about, a line a view.
    how: Vec<String>,
}

impl Violation {
    fn new(what: impl Into<String>) -> Violation {
        Violation { what: what.into(), how: Vec::new() }
    }

    /// The same with how it came about, if it does not say so yet.
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
    /// States whose view was tried in every way; those at the start of the view after the last one are not.
    pub expanded: u64,
    /// Ends of views, before like ones became one state.
    pub outcomes: u64,
    /// Messages that members were fed.
    pub deliveries: u64,
}

/// Searches `views` views; `watch` is shown the progress after each state. `Err` is a violation.
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
        // With fewer no view ends.
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

/// The leaders worth a try: of honest members that can be exchanged, the first.
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

/// What tells states apart, whatever honest members are called.
fn key(table: &Table, world: &World) -> Vec<u8> {
    const NAMES: [[u8; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    NAMES.iter().map(|names| named(table, world, *names)).min().expect("there are names")
}

/// What tells states apart if the honest members are called so, and their inputs like them.
fn named(table: &Table, world: &World, names: [u8; 3]) -> Vec<u8> {
    let place = |cut: &Cut| table.inputs.iter().position(|input| input == cut).expect("values are inputs");
    let name = |cut: &Cut| names.get(place(cut)).copied().unwrap_or(BYZANTINE.0 as u8);
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
