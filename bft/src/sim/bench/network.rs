//! The network of the bench, and its time.

use wire::ids::{Index, NodeId, Round, ShardId};

use crate::crypto::suite::{CoinName, CoinShare};
use crate::cut::Tip;
use crate::effects::To;
use crate::mvba::MvbaMessage;
use crate::sim::bench::message::{Content, Message, Pick};
use crate::sim::bench::node::{Node, Out};
use crate::sim::bench::{Bench, Execution, Violation, position};
use crate::time::{Span, Time};

/// Wake-ups that [`Bench::settle`] waits for before it gives up: with waits of up to 10 s, some minutes.
const SETTLE_WAKEUPS_MAX: usize = 300;

impl Bench {
    /// Delivers the picked messages in the order of sending, with those that are sent meanwhile, until none is left.
    pub fn deliver(&mut self, pick: Pick) {
        while let Some(message) = self.net.take_first(|message| pick.matches(message)) {
            self.deliver_now(message);
        }
    }

    /// Delivers all messages that none of these picks, until only picked ones are left.
    pub fn deliver_except(&mut self, held: &[Pick]) {
        let free = |message: &Message| !held.iter().any(|pick| pick.matches(message));
        while let Some(message) = self.net.take_first(free) {
            self.deliver_now(message);
        }
    }

    /// Delivers the picked messages that are under way now, the newest first.
    pub fn deliver_backwards(&mut self, pick: &Pick) {
        let picked = self.net.take_all(|_, message| pick.matches(message));
        picked.into_iter().rev().for_each(|message| self.deliver_now(message));
    }

    /// Loses the picked messages under way, as when a process dies.
    pub fn lose(&mut self, pick: &Pick) {
        self.net.take_all(|_, message| pick.matches(message));
    }

    /// Loses the picked messages from now on, those under way included.
    pub fn lose_always(&mut self, pick: Pick) {
        self.net.lose_always(move |message| pick.matches(message));
    }

    /// Loses no more messages.
    pub fn lose_no_more(&mut self) {
        self.net.lose_no_more();
    }

    /// The picked messages under way.
    pub fn under_way(&self, pick: &Pick) -> Vec<Message> {
        self.net.under_way().filter(|message| pick.matches(message)).cloned().collect()
    }

    /// A new process of `peer` connects to `member`.
    pub fn peer_up(&mut self, member: Index, peer: Index) {
        self.step(member, |node, now| node.peer_up(now, peer));
    }

    /// A child of the member died, with the messages that it carried.
    pub fn child_restarted(&mut self, member: Index) {
        self.step(member, Node::child_restarted);
    }

    /// Sets whether a member executes its decided blocks.
    pub fn execution(&mut self, member: Index, execution: Execution) {
        self.step(member, |node, now| {
            node.execution = execution;
            node.settle(now);
        });
    }

    /// All honest members ping all others, as links do once a second.
    pub fn ping(&mut self) {
        for peer in self.honest() {
            self.ping_of(peer, self.decided(peer));
        }
    }

    /// A ping of a member, which claims to have decided this round.
    pub fn ping_of(&mut self, peer: Index, decided: Round) {
        for member in self.members().into_iter().filter(|member| *member != peer) {
            self.nodes[position(member)].peer_decided(self.now, peer, decided);
        }
    }

    /// Time passes, and all members get a tick.
    pub fn sleep(&mut self, span: Span) {
        self.now = self.now + span;
        self.members().into_iter().for_each(|member| self.step(member, Node::tick));
    }

    /// Heals the network: all messages under way arrive, time passes, links ping. Checks that within a bound all honest
    /// members have decided up to `round` and know its header to be certified, and that no check failed.
    pub fn settle(&mut self, round: u64) -> Result<(), Violation> {
        for _ in 0..SETTLE_WAKEUPS_MAX {
            // A broken protocol may never fall silent.
            while self.check().is_ok()
                && let Some((_, message)) = self.net.pop()
            {
                self.deliver_now(message);
            }
            self.check()?;
            let done = |member: &Index| {
                self.decided(*member).0 >= round && self.certified(*member) == self.decided(*member)
            };
            if self.honest().iter().all(done) {
                return Ok(());
            }
            self.wake_next();
        }
        Err(self.stalled())
    }

    /// Lets time pass until the next wake-up.
    pub(super) fn wake_next(&mut self) {
        let due = self.nodes.iter().filter_map(Node::next_wakeup).min();
        let due = due.unwrap_or(self.now + Span::from_ms(1_000)).max(self.now);
        let second = |time: Time| time.0 / 1_000_000;
        if second(due) > second(self.now) {
            self.ping();
        }
        self.sleep(due - self.now);
    }

    pub(super) fn deliver_now(&mut self, message: Message) {
        match message.content() {
            Content::LaneCertificate(lane, tip) => {
                if self.certified.get(&(*lane, tip.seq)) == Some(&tip.digest) {
                    self.step(message.to, |node, now| node.learn(now, *lane, *tip));
                }
            }
            Content::Round(_) | Content::Block(_) => {
                self.step(message.to, |node, now| node.receive(now, &message))
            }
        }
    }

    /// A member does a step: sends its messages, answers its requests for certificates, and checks its decisions.
    pub(super) fn step(&mut self, member: Index, step: impl FnOnce(&mut Node, Time)) {
        step(&mut self.nodes[position(member)], self.now);
        let Out { sends, wanted, decisions, faults } = std::mem::take(&mut self.nodes[position(member)].out);
        for (to, content) in sends {
            self.send(member, to, content);
        }
        for (lane, tip) in wanted {
            self.answer_want(member, lane, tip);
        }
        if !self.byzantine.contains(&member) {
            let node = &self.nodes[position(member)];
            self.checker.decided(member, &decisions);
            self.checker.executed(member, &node.headers);
            self.checker.blamed(member, &faults, &self.byzantine);
        }
    }

    /// A member that knows the certificate sends it: lanes request it from all members.
    fn answer_want(&mut self, member: Index, lane: Index, tip: Tip) {
        let knows =
            |other: &Index| *other != member && self.nodes[position(*other)].lanes.0.contains(&(lane, tip));
        let mut others = self.honest().into_iter().chain(self.byzantine.iter().copied());
        let Some(from) = others.find(knows) else { return };
        let content = Content::LaneCertificate(lane, tip);
        let under_way =
            self.net.under_way().any(|message| message.to == member && *message.content() == content);
        if !under_way {
            self.send(from, To::Member(self.node(member)), content);
        }
    }

    /// Sends a message of a member, except to itself.
    pub(super) fn send(&mut self, from: Index, to: To, content: Content) {
        let mut messages = self.encode(from, to, content);
        messages.retain(|message| !self.net.loses(message));
        self.send_encoded(messages);
    }

    pub(super) fn encode(&self, from: Index, to: To, content: Content) -> Vec<Message> {
        let recipients: Vec<Index> = match to {
            To::All | To::Others => self.committee.indices().filter(|member| *member != from).collect(),
            To::Member(node) => vec![self.committee.index_of(node)],
        };
        Message::to_each(from, &recipients, content)
    }

    pub(super) fn send_encoded(&mut self, messages: Vec<Message>) {
        if let Some(first) = messages.first()
            && let Some((round, view, message)) = first.agreement()
        {
            if !self.byzantine.contains(&first.from) {
                self.checker.view_reached(round, view);
            }
            if let MvbaMessage::CoinShare { share, .. } = message {
                self.watch_share(first.from, CoinName { round, view }, *share);
            }
        }
        for message in messages {
            if self.byzantine.contains(&message.from) || self.byzantine.contains(&message.to) {
                self.seen.push(message.clone());
            }
            self.net.send_surely(self.now, message);
        }
    }

    /// The adversary learns a coin share as soon as it is sent.
    fn watch_share(&mut self, signer: Index, name: CoinName, share: CoinShare) {
        let key = (name.round, name.view);
        let shares = self.shares.entry(key).or_default();
        if self.suites[0].verify_coin_share(signer, &name, &share) {
            shares.insert(signer, share);
        }
        let shares: Vec<_> = shares.iter().map(|(signer, share)| (*signer, *share)).collect();
        if shares.len() == self.committee.quorum() && !self.leaders.contains_key(&key) {
            let leader = self.suites[0].elect(&name, &shares).expect("N−f shares elect");
            self.leaders.insert(key, leader);
        }
    }

    pub(super) fn node(&self, member: Index) -> NodeId {
        self.committee.node_at(ShardId(0), member)
    }

    pub(super) fn stalled(&self) -> Violation {
        let at =
            |member: &Index| (*member, self.decided(*member), self.nodes[position(*member)].rounds.waiting());
        Violation::Stalled(format!("{:?}", self.honest().iter().map(at).collect::<Vec<_>>()))
    }
}
