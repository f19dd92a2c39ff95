//! One view of the search: every state in which the view can end.
//!
//! The members answer each other's proposals. Then the search tries, leader by leader, each choice of the adversary:
//! what a Byzantine leader proposes, which members its LOCK reaches before and after the coin, which members its FINISH
//! reaches, which PRE-VOTEs and VOTEs each member receives first, which members a HALT reaches. A choice for one member
//! does not affect another, so each member is fed once for each of its own choices; choices that lead to the same
//! ballot or the same end of the view count once.

mod ballots;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use wire::ids::{Digest, Index, View};

use crate::crypto::cert::CertificateCache;
use crate::crypto::suite::Stage;
use crate::cut::Cut;
use crate::justification::Justification;
use crate::mvba::{Ballot, MvbaMessage, Vote};
use crate::sim::search::Violation;
use crate::sim::search::known::Known;
use crate::sim::search::member::{BYZANTINE, HONEST, Message, Node, Note, Table, statement};
use crate::spb::SpbMessage;

/// All honest members.
pub(super) type Nodes = [Rc<Node>; 3];

/// A state at the start of a view.
#[derive(Clone)]
pub(super) struct World {
    pub(super) view: View,
    pub(super) nodes: Nodes,
    pub(super) known: Rc<Known>,
    /// Of the earlier views.
    pub(super) leaders: Vec<Index>,
    /// The value with a certificate 2 of an elected leader, even if no member has seen it.
    pub(super) decided: Option<Cut>,
    pub(super) how: Option<Rc<How>>,
}

/// How a state came about.
pub(super) struct How {
    pub(super) leader: Index,
    pub(super) proposal: Option<Cut>,
    pub(super) notes: [Vec<Note>; 3],
    pub(super) before: Option<Rc<How>>,
}

impl World {
    /// The start of view 0.
    pub(super) fn new(table: &Table) -> Result<World, Violation> {
        let [a, b, c] = HONEST.map(|index| table.start(index).map(Rc::new));
        let known = Rc::new(Known::default());
        Ok(World { view: View(0), nodes: [a?, b?, c?], known, leaders: Vec::new(), decided: None, how: None })
    }

    /// The members that take part.
    pub(super) fn active(&self) -> impl Iterator<Item = &Rc<Node>> {
        self.nodes.iter().filter(|node| node.is_active(self.view))
    }
}

/// The elected leader's SPB before the coin, as far as the adversary has chosen.
struct Setting {
    nodes: Nodes,
    known: Known,
    /// The value of a Byzantine leader.
    proposal: Option<Cut>,
    locks: Vec<Message>,
    /// ECHOs from which an honest leader makes its LOCK.
    echoes: Vec<Message>,
}

/// Members by their id before and the messages they were fed.
type Fed = BTreeMap<(u64, Vec<Digest>), Rc<Node>>;

/// A view and the leader that its coin elects.
pub(super) struct Expansion<'a> {
    table: &'a Table,
    world: &'a World,
    leader: Index,
    leaders: Vec<Index>,
    fed: RefCell<Fed>,
}

type Ran<T> = Result<T, Violation>;

impl<'a> Expansion<'a> {
    /// For a state whose members have answered each other's proposals ([`introduce`]).
    pub(super) fn new(table: &'a Table, world: &'a World, leader: Index) -> Expansion<'a> {
        let leaders = [&world.leaders[..], &[leader]].concat();
        table.elect(&leaders);
        Expansion { table, world, leader, leaders, fed: RefCell::default() }
    }

    /// Calls `found` with every state in which the view can end.
    pub(super) fn run(&self, mut found: impl FnMut(World) -> Ran<()>) -> Ran<()> {
        for setting in self.settings()? {
            let mut seen = BTreeSet::new();
            for nodes in product(&self.after_coin(&setting)?) {
                for nodes in product(&self.after_finish(&setting, &nodes)?) {
                    self.ballots(&setting, &nodes, &mut seen, &mut found)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the leader has a certificate 2 for a value.
    fn is_finished(&self, known: &Known, digest: Digest) -> bool {
        known.has(self.table, &statement(self.world.view, self.leader, Stage::Finish, digest))
    }

    // Before the coin.

    fn settings(&self) -> Ran<Vec<Setting>> {
        let view = self.world.view;
        let mut nodes = self.world.nodes.clone();
        let mut known = (*self.world.known).clone();
        // The SPBs of the others finish, so that the adversary has their certificates.
        let mut locks = Vec::new();
        for index in HONEST.into_iter().filter(|index| *index != self.leader) {
            let node = &self.world.nodes[usize::from(index.0)];
            if node.is_active(view) {
                let formed = self.feed(node, &self.echoes(index), Note::Trial)?;
                locks.extend(formed.lock(view).cloned());
                nodes[usize::from(index.0)] = formed;
            }
        }
        for node in &mut nodes {
            let others: Vec<Message> = locks.iter().filter(|lock| lock.from != node.index).cloned().collect();
            *node = self.feed(node, &others, Note::Trial)?;
            known.learn(node);
        }
        if self.leader == BYZANTINE {
            return self.byzantine_settings(&nodes, &known);
        }
        let leader = &nodes[usize::from(self.leader.0)];
        let echoes = if leader.is_active(view) { self.echoes(self.leader) } else { Vec::new() };
        let formed = self.feed(leader, &echoes, Note::Trial)?;
        let locks = formed.lock(view).cloned().into_iter().collect();
        Ok(vec![Setting { nodes, known, proposal: None, locks, echoes }])
    }

    /// ECHOs for the SPB of an honest leader.
    fn echoes(&self, leader: Index) -> Vec<Message> {
        let view = self.world.view;
        let value = self.world.nodes[usize::from(leader.0)].send(view).map(value_of);
        let signed = value.map(|cut| {
            let statement = statement(view, leader, Stage::Lock, cut.digest());
            let echo = SpbMessage::Echo(self.table.suite(BYZANTINE).sign(&statement));
            Message::new(BYZANTINE, MvbaMessage::Spb { view, leader, message: echo })
        });
        let others = self.world.nodes.iter().filter(|node| node.index != leader);
        others.filter_map(|node| node.echo(view, leader).cloned()).chain(signed).collect()
    }

    /// The Byzantine leader proposes nothing, or a value that some member echoes and then another value.
    fn byzantine_settings(&self, nodes: &Nodes, known: &Known) -> Ran<Vec<Setting>> {
        let silent = Setting {
            nodes: nodes.clone(),
            known: known.clone(),
            proposal: None,
            locks: vec![],
            echoes: vec![],
        };
        let mut settings = vec![silent];
        let mut sends = Vec::new();
        let chains = known.chains(self.table, &self.world.leaders, self.world.view);
        for cut in &self.table.inputs {
            sends.extend(self.accepted(nodes, cut, &chains)?.map(|send| (cut, send)));
        }
        for (at, (cut, send)) in sends.iter().enumerate() {
            let second = &sends[(at + 1) % sends.len()].1;
            let (mut nodes, mut known) = (nodes.clone(), known.clone());
            for node in &mut nodes {
                *node = self.feed(node, &[send.clone(), second.clone()], Note::Proposals)?;
                known.learn(node);
            }
            let lock = |cut: &Cut| {
                let certificate = known.lock(self.table, self.world.view, self.leader, cut)?;
                Some(self.spb(SpbMessage::Lock { cut: cut.clone(), certificate }))
            };
            let locks = self.table.inputs.iter().filter_map(lock).collect();
            settings.push(Setting { nodes, known, proposal: Some((*cut).clone()), locks, echoes: vec![] });
        }
        Ok(settings)
    }

    /// A SEND of the Byzantine leader that an honest member echoes.
    fn accepted(&self, nodes: &Nodes, cut: &Cut, chains: &[Justification]) -> Ran<Option<Message>> {
        let view = self.world.view;
        let Some(node) = nodes.iter().find(|node| node.is_active(view)) else { return Ok(None) };
        for justification in chains {
            let send = SpbMessage::Send { cut: cut.clone(), justification: justification.clone() };
            let send = self.spb(send);
            if self.feed(node, std::slice::from_ref(&send), Note::Trial)?.echo(view, BYZANTINE).is_some() {
                return Ok(Some(send));
            }
        }
        Ok(None)
    }

    // From the coin to the PRE-VOTEs.

    /// For each member: LOCK of the leader before the coin, after the PRE-VOTE, or not in time.
    fn after_coin(&self, setting: &Setting) -> Ran<[Vec<Rc<Node>>; 3]> {
        self.for_each(&setting.nodes, |node| {
            let coin = self.table.coin(node.index, self.world.view);
            let mut choices = vec![self.feed(node, &coin, Note::Coin)?];
            for lock in &setting.locks {
                let lock = match node.index == self.leader {
                    true => setting.echoes.clone(),
                    false => vec![lock.clone()],
                };
                let locked = self.feed(node, &lock, Note::LockBeforeCoin)?;
                choices.push(self.feed(&locked, &coin, Note::Coin)?);
                choices.push(self.feed(&choices[0], &lock, Note::LockAfterCoin)?);
            }
            Ok(choices)
        })
    }

    /// For each member: FINISH of the leader, or not, if there is one.
    fn after_finish(&self, setting: &Setting, nodes: &Nodes) -> Ran<[Vec<Rc<Node>>; 3]> {
        let known = learned(&setting.known, nodes);
        let finish = |cut: &Cut| {
            let certificate = known.finish(self.table, self.world.view, self.leader, cut)?;
            Some(self.spb(SpbMessage::Finish { cut: cut.clone(), certificate }))
        };
        let finishes: Vec<Message> = self.table.inputs.iter().filter_map(finish).collect();
        self.for_each(nodes, |node| {
            let mut choices = vec![node.clone()];
            for finish in &finishes {
                choices.push(self.feed(node, std::slice::from_ref(finish), Note::Finish)?);
            }
            Ok(choices)
        })
    }

    // The end of the view.

    fn finish(
        &self,
        setting: &Setting,
        known: &Known,
        nodes: Nodes,
        found: &mut impl FnMut(World) -> Ran<()>,
    ) -> Ran<()> {
        let view = self.world.view;
        let mut known = known.clone();
        // LOCK may reach any member after the view.
        for (node, lock) in nodes.iter().flat_map(|node| setting.locks.iter().map(move |lock| (node, lock))) {
            if node.decided.is_none() && node.index != self.leader {
                let late = self.feed(node, std::slice::from_ref(lock), Note::LockTooLate)?;
                known.learn(&late);
            }
        }
        let provable = self.table.values().filter(|(_, digest)| self.is_finished(&known, *digest));
        let by_members = nodes.iter().filter_map(|node| node.decided.as_ref());
        let mut decided: Vec<&Cut> =
            self.world.decided.iter().chain(provable.map(|(cut, _)| cut)).chain(by_members).collect();
        decided.sort_by_key(|cut| cut.digest());
        decided.dedup();
        let decided = decided.into_iter().cloned().collect::<Vec<Cut>>();
        let known = Rc::new(known);
        let halted = self.for_each(&nodes, |node| {
            let mut choices = vec![node.clone()];
            if let (None, Some(cut)) = (&node.decided, decided.first()) {
                let notes = [&node.notes[..], &[Note::Halt]].concat();
                choices.push(Rc::new(Node { decided: Some(cut.clone()), notes, ..(**node).clone() }));
            }
            Ok(choices)
        })?;
        for nodes in product(&halted) {
            let how = How {
                leader: self.leader,
                proposal: setting.proposal.clone(),
                notes: nodes.each_ref().map(|node| node.notes.clone()),
                before: self.world.how.clone(),
            };
            let world = World {
                view: view.next(),
                nodes: nodes.map(|node| Rc::new(node.entering(view.next()))),
                known: known.clone(),
                leaders: self.leaders.clone(),
                decided: decided.first().cloned(),
                how: Some(Rc::new(how)),
            };
            if decided.len() > 1 {
                return Err(Violation::new("two values are decided").after(&world));
            }
            found(world)?;
        }
        Ok(())
    }

    // Helpers.

    fn for_each(
        &self,
        nodes: &Nodes,
        choices: impl Fn(&Rc<Node>) -> Ran<Vec<Rc<Node>>>,
    ) -> Ran<[Vec<Rc<Node>>; 3]> {
        let of = |node: &Rc<Node>| match node.is_active(self.world.view) {
            true => choices(node),
            false => Ok(vec![node.clone()]),
        };
        let [a, b, c] = nodes;
        Ok([of(a)?, of(b)?, of(c)?])
    }

    /// Feeds a member once for each list of messages.
    fn feed(&self, node: &Rc<Node>, messages: &[Message], note: Note) -> Ran<Rc<Node>> {
        let key = (node.id, messages.iter().map(|message| message.digest).collect::<Vec<_>>());
        if let Some(fed) = self.fed.borrow().get(&key) {
            return Ok(fed.clone());
        }
        let messages: Vec<&Message> = messages.iter().collect();
        let fed = Rc::new(self.table.feed(node, &messages, note)?);
        self.fed.borrow_mut().insert(key, fed.clone());
        Ok(fed)
    }

    fn spb(&self, message: SpbMessage) -> Message {
        let message = MvbaMessage::Spb { view: self.world.view, leader: self.leader, message };
        Message::new(self.leader, message)
    }

    fn ballot(&self, ballot: Ballot) -> Message {
        Message::new(BYZANTINE, MvbaMessage::Ballot { view: self.world.view, ballot })
    }
}

/// The known proofs, and all signatures of the members.
fn learned(known: &Known, nodes: &Nodes) -> Known {
    let mut known = known.clone();
    nodes.iter().for_each(|node| known.learn(node));
    known
}

/// The members answer each other's proposals, and accept every proposal of an honest member.
pub(super) fn introduce(table: &Table, world: &World) -> Ran<World> {
    table.elect(&world.leaders);
    let view = world.view;
    let sends: Vec<Message> = world.active().filter_map(|node| node.send(view).cloned()).collect();
    let mut known = (*world.known).clone();
    let mut nodes = world.nodes.clone();
    for node in nodes.iter_mut().filter(|node| node.is_active(view)) {
        let others: Vec<&Message> = sends.iter().filter(|send| send.from != node.index).collect();
        let answered = table.feed(node, &others, Note::Proposals)?;
        if let Some(send) = others.iter().find(|send| answered.echo(view, send.from).is_none()) {
            let text = format!("member {} does not echo the value of member {}", node.index, send.from);
            return Err(Violation::new(text).after(world));
        }
        known.learn(&answered);
        *node = Rc::new(answered);
    }
    Ok(World { nodes, known: Rc::new(known), ..world.clone() })
}

/// No HALT that can be made of existing signatures proves another decision.
pub(super) fn try_halts(table: &Table, world: &World) -> Ran<()> {
    let Some(elected) = world.leaders.last() else { return Ok(()) };
    table.elect(&world.leaders);
    let mut believed: BTreeSet<Digest> = world.decided.iter().map(Cut::digest).collect();
    for halt in world.known.halts(table, View(world.view.0 - 1), *elected) {
        let member = table.member(HONEST[0]);
        if halt.verify(&member, &mut CertificateCache::default(), &table.genesis, None).is_ok() {
            believed.insert(halt.cut.digest());
        }
    }
    match believed.len() {
        0 | 1 => Ok(()),
        _ => Err(Violation::new("HALTs prove two decisions").after(world)),
    }
}

/// The VOTE of a member.
fn class_of_vote(node: &Node, view: View) -> Vec<u8> {
    match node.vote(view).map(|message| &message.content) {
        Some(MvbaMessage::Ballot { ballot: Ballot::Vote(Vote::Yes { cut, .. }), .. }) => {
            cut.digest().0.to_vec()
        }
        Some(_) => vec![0],
        None => vec![1],
    }
}

/// How a view has ended for a member.
fn class_of_end(node: &Node, view: View) -> Vec<u8> {
    if let Some(cut) = &node.decided {
        return [&[0], &cut.digest().0[..]].concat();
    }
    match node.send(view.next()) {
        Some(send) => {
            let lock = justification_of(send).lock.as_ref().map_or(0, |lock| 1 + lock.view.0 as u8);
            [&[1, lock], &value_of(send).digest().0[..]].concat()
        }
        None => vec![2],
    }
}

/// The value that a SEND proposes.
pub(super) fn value_of(send: &Message) -> &Cut {
    sent(send).0
}

/// The justification that a SEND carries.
pub(super) fn justification_of(send: &Message) -> &Justification {
    sent(send).1
}

fn sent(send: &Message) -> (&Cut, &Justification) {
    match &send.content {
        MvbaMessage::Spb { message: SpbMessage::Send { cut, justification }, .. } => (cut, justification),
        other => unreachable!("{other:?} is no SEND"),
    }
}

fn product(choices: &[Vec<Rc<Node>>; 3]) -> Vec<Nodes> {
    let [a, b, c] = choices;
    let mut all = Vec::with_capacity(a.len() * b.len() * c.len());
    for a in a {
        for b in b {
            all.extend(c.iter().map(|c| [a.clone(), b.clone(), c.clone()]));
        }
    }
    all
}
