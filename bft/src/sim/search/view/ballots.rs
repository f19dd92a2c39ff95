//! The ballots of a view: which PRE-VOTEs and which VOTEs each member receives first, the Byzantine member's included.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use wire::ids::{Digest, Index, View};

use super::{Expansion, Nodes, Ran, Setting, World, class_of_end, class_of_vote, learned, product};
use crate::crypto::cert::Certificate;
use crate::crypto::suite::Stage;
use crate::cut::Cut;
use crate::mvba::{Ballot, PreVote, Vote};
use crate::sim::search::Violation;
use crate::sim::search::known::Known;
use crate::sim::search::member::{BYZANTINE, Heard, Message, Node, Note, statement};

/// Ballots of the Byzantine member, as far as it has the proofs for them.
struct Ballots {
    yes: Option<Message>,
    no: Option<Message>,
}

impl Expansion<'_> {
    /// From the PRE-VOTEs to the end of the view.
    pub(super) fn ballots(
        &self,
        setting: &Setting,
        before: &Nodes,
        seen: &mut BTreeSet<Vec<u8>>,
        found: &mut impl FnMut(World) -> Ran<()>,
    ) -> Ran<()> {
        let view = self.world.view;
        let known = learned(&setting.known, before);
        let pre_votes = before.each_ref().map(|node| node.pre_vote(view).cloned());
        let own = self.byzantine_pre_votes(&known);
        for nodes in product(&self.hear(before, &pre_votes, &own, Note::PreVotes, class_of_vote)?) {
            let known = learned(&known, &nodes);
            let votes = nodes.each_ref().map(|node| node.vote(view).cloned());
            let own = self.byzantine_votes(&known);
            if !seen.insert(self.key(&known, &nodes, &own)) {
                continue;
            }
            self.try_votes_first(before, &pre_votes, &votes, &own)?;
            for nodes in product(&self.hear(&nodes, &votes, &own, Note::Votes, class_of_end)?) {
                self.finish(setting, &known, nodes, found)?;
            }
        }
        Ok(())
    }

    /// Members with the same key after their VOTEs have the same futures.
    fn key(&self, known: &Known, nodes: &Nodes, own: &Ballots) -> Vec<u8> {
        let mut key = Vec::new();
        for node in nodes {
            key.extend(class_of_vote(node, self.world.view));
            key.push(u8::from(node.decided.is_some()));
        }
        key.extend(self.table.values().map(|(_, digest)| u8::from(self.is_finished(known, digest))));
        key.extend([u8::from(own.yes.is_some()), u8::from(own.no.is_some())]);
        key
    }

    fn byzantine_pre_votes(&self, known: &Known) -> Ballots {
        let no = statement(self.world.view, self.leader, Stage::No, Digest::default());
        let signature = self.table.suite(BYZANTINE).sign(&no);
        let yes = |cut: &Cut| {
            let certificate = known.lock(self.table, self.world.view, self.leader, cut)?;
            Some(self.ballot(Ballot::PreVote(PreVote::Yes { cut: cut.clone(), certificate })))
        };
        Ballots {
            yes: self.table.inputs.iter().find_map(yes),
            no: Some(self.ballot(Ballot::PreVote(PreVote::No { signature }))),
        }
    }

    fn byzantine_votes(&self, known: &Known) -> Ballots {
        let sign = |stage, digest| {
            let statement = statement(self.world.view, self.leader, stage, digest);
            self.table.suite(BYZANTINE).sign(&statement)
        };
        let yes = |cut: &Cut| {
            let certificate = known.lock(self.table, self.world.view, self.leader, cut)?;
            let signature = sign(Stage::Finish, cut.digest());
            Some(self.ballot(Ballot::Vote(Vote::Yes { cut: cut.clone(), certificate, signature })))
        };
        let no = |refusals: Certificate| {
            self.ballot(Ballot::Vote(Vote::No {
                refusals,
                signature: sign(Stage::Unlock, Digest::default()),
            }))
        };
        let refused = statement(self.world.view, self.leader, Stage::No, Digest::default());
        Ballots {
            yes: self.table.inputs.iter().find_map(yes),
            no: known.certificate(self.table, &refused).map(no),
        }
    }

    /// For each member: the first N−f ballots that it receives, its own included. One choice for each outcome.
    fn hear(
        &self,
        nodes: &Nodes,
        ballots: &[Option<Message>; 3],
        own: &Ballots,
        note: fn(Heard) -> Note,
        class: fn(&Node, View) -> Vec<u8>,
    ) -> Ran<[Vec<Rc<Node>>; 3]> {
        let view = self.world.view;
        self.for_each(nodes, |node| {
            let others: Vec<&Message> =
                ballots.iter().flatten().filter(|message| message.from != node.index).collect();
            let mut heard: Vec<(Heard, Vec<Message>)> = Vec::new();
            if let [one, other] = &others[..] {
                heard.push((Heard::Both, vec![(*one).clone(), (*other).clone()]));
            }
            for one in others {
                let with = |ballot: &Message| vec![one.clone(), ballot.clone()];
                heard.extend(own.yes.iter().map(|yes| (Heard::OneAndYes(one.from), with(yes))));
                heard.extend(own.no.iter().map(|no| (Heard::OneAndNo(one.from), with(no))));
            }
            let mut outcomes = BTreeMap::new();
            for (whose, messages) in heard {
                let after = self.feed(node, &messages, note(whose))?;
                outcomes.entry(class(&after, view)).or_insert(after);
            }
            Ok(if outcomes.is_empty() { vec![node.clone()] } else { outcomes.into_values().collect() })
        })
    }

    /// A member that receives VOTEs before PRE-VOTEs must not leave the others short of its own.
    fn try_votes_first(
        &self,
        before: &Nodes,
        pre_votes: &[Option<Message>; 3],
        votes: &[Option<Message>; 3],
        own: &Ballots,
    ) -> Ran<()> {
        let view = self.world.view;
        let from_others = |ballots: &[Option<Message>; 3], member: Index| -> Vec<Message> {
            ballots.iter().flatten().filter(|message| message.from != member).cloned().collect()
        };
        for node in before.iter().filter(|node| node.is_active(view)) {
            let mut messages = from_others(votes, node.index);
            messages.extend(own.no.iter().chain(&own.yes).next().cloned());
            let after = self.feed(node, &messages, Note::VotesFirst)?;
            if after.decided.is_some() || after.mvba.current_view() == view || after.vote(view).is_some() {
                continue;
            }
            let mut sent = votes.clone();
            sent[usize::from(node.index.0)] = None;
            for other in before.iter().filter(|other| other.index != node.index && other.is_active(view)) {
                let messages =
                    [from_others(pre_votes, other.index), from_others(&sent, other.index)].concat();
                let stuck = self.feed(other, &messages, Note::VotesFirst)?;
                if stuck.is_active(view) {
                    let (waits, left) = (other.index, node.index);
                    return Err(Violation::new(format!(
                        "member {waits} waits for ever in view {view}: member {left} has left it without its VOTE"
                    )));
                }
            }
        }
        Ok(())
    }
}
