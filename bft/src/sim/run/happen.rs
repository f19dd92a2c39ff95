//! Scheduled events besides frames and timers: clients, pings, faults and their end.

use ::wire::ids::NodeId;

use crate::event::Event;
use crate::mutant::{Mutant, in_force};
use crate::prng::Prng;
use crate::sim::adversary::Adversary;
use crate::sim::plan::{Child, Trouble};
use crate::sim::run::journal::Standing;
use crate::sim::run::{Happening, Node, PING_EVERY, Ran, Simulation, Stage, TURN_EVERY};
use crate::sim::trace;
use crate::sim::workload::{Action, ClientRequest};
use crate::time::Span;

/// When a member starts that has lost what its keys signed, and does so though it must not.
const STARTED_AFTER: Span = Span::from_ms(200);

impl Simulation<'_> {
    pub(super) fn happen(&mut self, happening: Happening) -> Ran {
        match happening {
            Happening::Event { to, event } => {
                let text = match &event {
                    Event::PeerDecided { .. } => "ping".to_string(),
                    other => format!("{other:?}"),
                };
                self.feed_all(to, event, || text.clone())
            }
            Happening::Pings => {
                self.ping();
                self.net.schedule(self.now + PING_EVERY, Happening::Pings);
                Ok(())
            }
            Happening::Submit => self.submit(),
            Happening::Trouble(trouble) => self.trouble(trouble),
            Happening::Disk { node, life, step } => self.on_disk(node, life, step),
            Happening::Turn => {
                self.draw_twins();
                self.reincarnate();
                for (behaviour, hands) in self.behaviours.iter_mut().zip(&mut self.hands) {
                    behaviour.turn(hands);
                }
                self.net.schedule(self.now + TURN_EVERY, Happening::Turn);
                self.send_for_adversary()
            }
            Happening::Heal => self.heal(),
        }
    }

    fn ping(&mut self) {
        for (from, decided) in self.decided.clone() {
            for to in self.committee.members(self.committee.shard_of(from)).filter(|to| *to != from) {
                if matches!(self.node(from), Node::Honest(_)) {
                    let event = Event::PeerDecided { peer: from, decided };
                    self.net.schedule_on_link(self.now, from, to, Happening::Event { to, event });
                }
            }
        }
    }

    fn submit(&mut self) -> Ran {
        if self.stage != Stage::Troubled {
            return Ok(());
        }
        for request in self.workload.next(&self.checker.heights()) {
            self.submit_request(request)?;
        }
        let pause = Span(self.prng.within(1_000..2 * self.plan.submit_every.0));
        self.net.schedule(self.now + pause, Happening::Submit);
        Ok(())
    }

    fn submit_request(&mut self, request: ClientRequest) -> Ran {
        let ClientRequest { client, to, body, action } = request;
        if matches!(self.node(to), Node::Honest(_)) {
            match &action {
                Action::Submit(transactions) => self.checker.on_submission(to, client, transactions),
                Action::Query(ids) => self.checker.on_query(to, client, ids),
                Action::Leave => {}
            }
        }
        let event = match action {
            Action::Leave => Event::ClientGone { client },
            Action::Submit(_) | Action::Query(_) => Event::Client { client, body },
        };
        self.feed_all(to, event, || match &action {
            Action::Submit(transactions) => {
                format!("<- client {client}: {} transactions", transactions.len())
            }
            Action::Query(ids) => format!("<- client {client}: query for {}", ids.len()),
            Action::Leave => format!("client {client} has gone"),
        })
    }

    fn trouble(&mut self, trouble: Trouble) -> Ran {
        let head = trace::head(self.now, "----");
        self.trace.write(|| format!("{head} {trouble:?}"));
        match trouble {
            Trouble::Starve { links, until } => {
                links.into_iter().for_each(|(from, to)| self.net.starve(from, to, until));
            }
            Trouble::Partition { side, until } => self.net.partition(side, until),
            Trouble::Crash(node) => {
                if let Some(journal) = self.journals.get_mut(&node) {
                    journal.stop();
                    journal.standing = Standing::Gone;
                }
                self.take_down(node);
                if !in_force(Mutant::UsedKeysNeedJournal) {
                    self.net.schedule(self.now + STARTED_AFTER, Happening::Trouble(Trouble::Restart(node)));
                }
            }
            Trouble::Fall(falls) => self.fall(falls)?,
            Trouble::Restart(node) => self.restart(node)?,
            Trouble::ChildDies { node, child, down } => {
                let until = self.now + down;
                if !matches!(self.node(node), Node::Honest(_)) || self.down.contains_key(&(node, child)) {
                    return Ok(());
                }
                self.down.insert((node, child), until);
                let prng = &mut self.prng;
                self.net.lose(|frame| {
                    let carried = match child {
                        Child::Sender => frame.from == node,
                        Child::Receiver => frame.to == node,
                    };
                    carried && prng.chance(3, 4)
                });
                self.net.schedule(until, Happening::Trouble(Trouble::ChildBack { node, child }));
            }
            Trouble::ChildBack { node, child } => {
                self.down.remove(&(node, child));
                self.feed_all(node, Event::ChildRestarted, || "child restarted".into())?;
                self.notify_peers(node, |peer| Event::PeerUp { peer });
            }
        }
        Ok(())
    }

    pub(super) fn notify_peers(&mut self, node: NodeId, event: impl Fn(NodeId) -> Event) {
        for to in self.everybody().filter(|to| *to != node) {
            let happening = Happening::Event { to, event: event(node) };
            self.net.schedule_on_link(self.now, node, to, happening);
        }
    }

    /// Now and then twins send to other members.
    fn draw_twins(&mut self) {
        if self.scenario.adversary == Adversary::Twins {
            let everybody = self.everybody();
            let audience = |prng: &mut Prng| everybody.clone().filter(|_| prng.chance(2, 3)).collect();
            self.twins = (0..2).map(|_| audience(&mut self.prng)).collect();
        }
    }

    /// Byzantine processes restart, a few times a turn.
    fn reincarnate(&mut self) {
        /// Thirty times a second.
        const TIMES: usize = 3;
        if self.scenario.adversary == Adversary::Reconnecting {
            for node in self.plan.byzantine.clone() {
                (0..TIMES).for_each(|_| self.notify_peers(node, |peer| Event::PeerUp { peer }));
            }
        }
    }

    fn heal(&mut self) -> Ran {
        let head = trace::head(self.now, "----");
        self.trace.write(|| format!("{head} the network heals"));
        self.stage = Stage::Healed { at: self.now, heights: self.checker.heights() };
        self.net.heal(self.now);
        self.restart_all()?;
        let live: Vec<NodeId> = self.honest_cores().map(|(node, _)| node).collect();
        for request in self.workload.last(&self.checker.heights(), &live) {
            if let Action::Submit(transactions) = &request.action {
                self.checker.expect_to_finish(transactions);
            }
            self.submit_request(request)?;
        }
        Ok(())
    }
}
