//! One round as a space-time diagram.

use bft::trace::{RoundStep, TraceEvent};
use wire::ids::{NodeId, Round, ShardId};

use super::super::diagram::{Arrow, Diagram, Dot, Phase};
use super::super::figure::{Drawing, Figure, offered, testbed};
use super::super::recorded::{Message, Recorded, Step};
use super::super::run::RunFiles;
use super::super::scale::number;
use crate::verify::Line as Block;

/// Kinds of messages of a round in their order: how they are called in a trace, in words, and their colours.
const KINDS: [(&str, &str, usize); 12] = [
    ("SPB SEND", "SEND: a leader proposes", 0),
    ("SPB ECHO", "ECHO: signed", 5),
    ("SPB LOCK", "LOCK: N−f signed", 1),
    ("SPB READY", "READY: signed again", 4),
    ("SPB FINISH", "FINISH: N−f signed again", 3),
    ("coin share", "coin share", 2),
    ("PRE-VOTE", "PRE-VOTE", 4),
    ("VOTE yes", "ballot yes", 4),
    ("VOTE no", "ballot no", 4),
    ("HALT", "HALT: decided", 7),
    ("VOTE on", "VOTE on the block", 6),
    ("", "other", 6),
];
/// Steps that are less apart have one mark.
const TOGETHER_US: i64 = 300;
/// Rounds that are looked at until an ordinary one is found.
const CANDIDATES: usize = 200;
/// With more members only what the elected leader began is drawn.
const ALL_MAX: usize = 7;

/// The round that a diagram shows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in super::super) struct Chosen {
    pub(in super::super) shard: ShardId,
    pub(in super::super) round: Round,
    pub(in super::super) leader: NodeId,
    /// When its block was executed first and last, Unix time.
    pub(in super::super) executed_ms: (u64, u64),
    /// From the first input to its decision, ms.
    pub(in super::super) took_ms: f64,
}

/// An ordinary round of the first shard: it has transactions, one view, an input of every member, and comes after the
/// load has begun to flow. If there is none, one that is less so. `None` if no round is in the files of all members.
pub(in super::super) fn choose(run: &RunFiles) -> Option<Chosen> {
    let members: Vec<NodeId> = (0..run.whole("n")?).map(|node| NodeId(node as u16)).collect();
    let began_ms = run.number(&["began_unix_ms"])?;
    let flows_ms = began_ms + run.number(&["duration_s"])?.min(4.0) * 250.0;
    let first = run.rounds.get(members.first()?)?;
    let flowing = || first.iter().filter(|block| block.executed_ms as f64 >= flows_ms).take(CANDIDATES);
    let plain = |block: &Block| block.views == 1 && block.spb_us > 0 && block.coin_us > 0;
    let with_input = |block: &Block| block.agreement_us > 0;
    let chosen = |is: &dyn Fn(&Block) -> bool| flowing().find_map(|block| chosen(run, &members, block, is));
    chosen(&plain).or_else(|| chosen(&with_input)).or_else(|| chosen(&|_| true))
}

/// The round of a block, if all members have it and it is such at each.
fn chosen(run: &RunFiles, members: &[NodeId], block: &Block, is: &dyn Fn(&Block) -> bool) -> Option<Chosen> {
    let round = block.block.round;
    let of = |node: &NodeId| {
        let blocks = run.rounds.get(node)?;
        blocks.get(blocks.binary_search_by_key(&round, |one| one.block.round).ok()?)
    };
    let same = members.iter().map(of).collect::<Option<Vec<&Block>>>()?;
    if block.block.entries == 0 || !same.iter().all(|block| is(block)) {
        return None;
    }
    let executed = || same.iter().map(|block| block.executed_ms);
    Some(Chosen {
        shard: ShardId(0),
        round,
        leader: NodeId(block.leader as u16),
        executed_ms: (executed().min()?, executed().max()?),
        took_ms: same.iter().map(|block| block.agreement_us + block.fetch_us).max()? as f64 / 1e3,
    })
}

/// The diagram of a round.
pub(in super::super) fn figure(run: &RunFiles, chosen: &Chosen, recorded: &Recorded) -> Option<Figure> {
    let scene = Scene::of(run, *chosen, recorded)?;
    let diagram = scene.diagram();
    let Chosen { shard, round, leader, .. } = *chosen;
    let (count, members) = (diagram.arrows.len(), scene.members.len());
    let aside = match scene.has_all() {
        true => "the broadcasts of the others are faint",
        false => "the broadcasts of the others are left out",
    };
    Some(Figure {
        id: "round",
        title: format!("One round, message by message: round {round} of shard {shard}"),
        list: Vec::new(),
        finding: format!(
            "Each member broadcasts a cut; the coin elects one of them, node {leader}, whose broadcast is bold ({aside}). \
             ① a node gives its input, ② it knows the decision, if it cannot execute it at once, ③ it has executed the \
             block: {} ms from the first to the last.",
            number(scene.ms(scene.executed))
        ),
        drawings: vec![Drawing::Drawn(Box::new(diagram.drawn()))],
        basis: format!(
            "An arrow goes from when a message was sent to when it was handled. N = {count} messages of one round, an ordinary one \
             of this run, from the journals of {members} nodes; {}; {}.",
            testbed(run),
            offered(run)
        ),
    })
}

/// All that is drawn of a round.
struct Scene<'a> {
    chosen: Chosen,
    members: Vec<NodeId>,
    steps: Vec<(NodeId, i64, &'a RoundStep)>,
    messages: Vec<&'a Message>,
    /// The first input, the first decision, and the last execution.
    began: i64,
    decided: i64,
    executed: i64,
}

impl<'a> Scene<'a> {
    fn of(run: &RunFiles, chosen: Chosen, recorded: &'a Recorded) -> Option<Scene<'a>> {
        let Chosen { shard, round, .. } = chosen;
        let n = run.whole("n")? as u16;
        let members: Vec<NodeId> = (0..n).map(|place| NodeId(shard.0 * n + place)).collect();
        let of_round = |step: &'a Step| match &step.event {
            TraceEvent::Round { shard: there, round: of, step: did } if (*there, *of) == (shard, round) => {
                Some((step.node, step.at_us, did))
            }
            _ => None,
        };
        let steps: Vec<(NodeId, i64, &RoundStep)> = recorded.steps.iter().filter_map(of_round).collect();
        let times = |is: fn(&RoundStep) -> bool| {
            steps.iter().filter(move |(_, _, step)| is(step)).map(|(_, at, _)| *at)
        };
        let began = times(|step| matches!(step, RoundStep::Begun)).min()?;
        let decided = times(|step| matches!(step, RoundStep::Decided { .. })).min()?;
        let executed = times(|step| matches!(step, RoundStep::Executed { .. })).max()?;
        let named = format!("round {round} of shard {shard}");
        let messages = recorded.messages.iter();
        let messages = messages.filter(|one| is_of(&one.said, &named) && members.contains(&one.from));
        let messages = messages.collect();
        Some(Scene { chosen, members, steps, messages, began, decided, executed })
    }

    /// Whether the broadcasts of all members are drawn.
    fn has_all(&self) -> bool {
        self.members.len() <= ALL_MAX
    }

    fn ms(&self, at_us: i64) -> f64 {
        (at_us - self.began) as f64 / 1e3
    }

    fn line(&self, node: NodeId) -> Option<usize> {
        self.members.iter().position(|member| *member == node)
    }

    fn diagram(&self) -> Diagram {
        let said =
            |begins: &'static str| self.messages.iter().filter(move |one| one.said.starts_with(begins));
        let coin = said("coin share").map(|one| one.sent_us).min().unwrap_or(self.decided).min(self.decided);
        let voted = said("VOTE on").map(|one| one.received_us).max().unwrap_or(self.executed);
        let end = voted.max(self.executed);
        let until = self.ms(end) * 1.02;
        let (kinds, arrows) = used(self.arrows(until));
        let phase = |from: i64, to: i64, name: &str| Phase {
            from: self.ms(from),
            to: self.ms(to),
            name: name.into(),
        };
        let Chosen { shard, round, leader, .. } = self.chosen;
        Diagram {
            description: format!("Messages of round {round} of shard {shard} over time"),
            nodes: self.members.iter().map(|node| named(*node, *node == leader)).collect(),
            kinds,
            arrows,
            dots: self.dots(),
            phases: vec![
                phase(self.began, coin, "broadcasts"),
                phase(coin, self.decided, "coin elects"),
                phase(self.decided, end, "HALT, execution, votes"),
            ],
            bands: Vec::new(),
            until,
        }
    }

    fn arrows(&self, until: f64) -> Vec<Arrow> {
        let of_leader = format!("leader node {} ", self.chosen.leader);
        let arrow = |message: &&Message| {
            let said = message.said.replace(',', " ");
            let is_aside = said.starts_with("SPB") && !said.contains(&of_leader);
            let is_shown = (!is_aside || self.has_all()) && self.ms(message.sent_us) < until;
            is_shown.then_some(Arrow {
                from: self.line(message.from)?,
                to: self.line(message.to)?,
                sent: self.ms(message.sent_us),
                received: self.ms(message.received_us).min(until),
                kind: kind_of(&message.said),
                is_aside,
            })
        };
        self.messages.iter().filter_map(arrow).collect()
    }

    fn dots(&self) -> Vec<Dot> {
        // At most nodes the execution comes with the decision, and one number would cover the other.
        let is_executed_then = |node: NodeId, at: i64| {
            self.steps.iter().any(|(one, then, step)| {
                let is_then = *one == node && (*then - at).abs() < TOGETHER_US;
                is_then && matches!(step, RoundStep::Executed { .. })
            })
        };
        let dot = |(node, at, step): &(NodeId, i64, &RoundStep)| {
            let number = match step {
                RoundStep::Begun => 1,
                RoundStep::Decided { .. } if !is_executed_then(*node, *at) => 2,
                RoundStep::Executed { .. } => 3,
                _ => return None,
            };
            Some(Dot { line: self.line(*node)?, at: self.ms(*at), number: Some(number) })
        };
        self.steps.iter().filter_map(dot).collect()
    }
}

/// The name of a node's line.
fn named(node: NodeId, is_leader: bool) -> String {
    if is_leader { format!("node {node} (elected)") } else { format!("node {node}") }
}

/// Whether a message is of a round, and not of one whose number only begins alike.
fn is_of(said: &str, of_round: &str) -> bool {
    said.match_indices(of_round)
        .any(|(at, _)| !said[at + of_round.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

fn kind_of(said: &str) -> usize {
    KINDS.iter().position(|(begins, _, _)| said.starts_with(begins)).expect("the last begins everything")
}

/// Only the kinds that there are, and the arrows with those.
fn used(arrows: Vec<Arrow>) -> (Vec<(String, usize)>, Vec<Arrow>) {
    let there: Vec<usize> =
        (0..KINDS.len()).filter(|kind| arrows.iter().any(|arrow| arrow.kind == *kind)).collect();
    let kinds = there.iter().map(|kind| (KINDS[*kind].1.to_string(), KINDS[*kind].2)).collect();
    let again = |arrow: Arrow| Arrow {
        kind: there.iter().position(|kind| *kind == arrow.kind).unwrap_or_default(),
        ..arrow
    };
    (kinds, arrows.into_iter().map(again).collect())
}

#[cfg(test)]
mod tests {
    use wire::ids::{Digest, View};

    use super::*;

    #[test]
    fn messages_are_known_by_what_they_say() {
        let of = "round 4 of shard 0";
        assert!(is_of("SPB ECHO, leader node 3 in round 4 of shard 0 in view 0", of));
        assert!(is_of("VOTE on round 4 of shard 0, header 12", of) && is_of("x round 4 of shard 0", of));
        assert!(
            !is_of("coin share in round 4 of shard 01 in view 0", of) && !is_of("an order of 4 bytes", of)
        );
        let kinds =
            ["SPB FINISH, leader node 1", "VOTE on round 1", "VOTE no in view 0", "PRE-VOTE no", "odd"];
        let names = ["FINISH: N−f signed again", "VOTE on the block", "ballot no", "PRE-VOTE", "other"];
        assert_eq!(kinds.map(|said| KINDS[kind_of(said)].1), names);
    }

    #[test]
    fn the_broadcast_of_the_elected_is_bold_and_other_rounds_are_left_out() {
        let of_round = |round: u64, step| TraceEvent::Round { shard: ShardId(0), round: Round(round), step };
        let executed = RoundStep::Executed {
            header: Digest([0; 32]),
            finished: 1,
            rejected: 0,
            spent: 0,
            cancelled: 0,
            refunded: 0,
        };
        let decided = RoundStep::Decided { view: View(0), entries: Vec::new() };
        let step = |node: u16, at_us, event| Step { node: NodeId(node), at_us, event };
        let steps = vec![
            step(1, 900, of_round(3, RoundStep::Begun)),
            step(0, 1_000, of_round(4, RoundStep::Begun)),
            step(0, 5_000, of_round(4, decided.clone())),
            step(0, 5_000, of_round(4, executed.clone())),
            step(1, 6_000, of_round(4, decided)),
            step(1, 7_000, of_round(4, executed)),
        ];
        let message = |sent_us, said: &str| Message {
            from: NodeId(0),
            to: NodeId(1),
            sent_us,
            received_us: sent_us + 500,
            said: said.into(),
        };
        let messages = vec![
            message(1_000, "SPB SEND, leader node 1, cut 00, in round 4 of shard 0 in view 0"),
            message(1_100, "SPB ECHO, leader node 10 in round 4 of shard 0 in view 0"),
            message(1_200, "SPB ECHO, leader node 1 in round 41 of shard 0 in view 0"),
            message(4_000, "coin share in round 4 of shard 0 in view 0"),
        ];
        let summary = crate::json::Json::parse("{\"n\": 2, \"shards\": 1}").unwrap();
        let run = RunFiles { summary: Some(summary), ..RunFiles::default() };
        let chosen = Chosen {
            shard: ShardId(0),
            round: Round(4),
            leader: NodeId(1),
            executed_ms: (0, 0),
            took_ms: 6.0,
        };
        let recorded = Recorded { steps, messages };
        let diagram = Scene::of(&run, chosen, &recorded).unwrap().diagram();
        let asides: Vec<bool> = diagram.arrows.iter().map(|arrow| arrow.is_aside).collect();
        assert_eq!(asides, [false, true, false]);
        let dots: Vec<(usize, Option<usize>)> =
            diagram.dots.iter().map(|dot| (dot.line, dot.number)).collect();
        assert_eq!(
            dots,
            [(0, Some(1)), (0, Some(3)), (1, Some(2)), (1, Some(3))],
            "2 where 3 does not cover it"
        );
        let phases: Vec<(f64, f64)> = diagram.phases.iter().map(|phase| (phase.from, phase.to)).collect();
        assert_eq!(phases, [(0.0, 3.0), (3.0, 4.0), (4.0, 6.0)]);
        assert!(figure(&run, &chosen, &recorded).unwrap().basis.contains("N = 3 messages"));
    }

    #[test]
    fn a_legend_has_the_kinds_that_there_are() {
        let arrow = |kind| Arrow { from: 0, to: 1, sent: 0.0, received: 1.0, kind, is_aside: false };
        let (kinds, arrows) = used(vec![arrow(5), arrow(0)]);
        assert_eq!(kinds, [(KINDS[0].1.to_string(), 0), (KINDS[5].1.to_string(), 2)]);
        assert_eq!(arrows.iter().map(|arrow| arrow.kind).collect::<Vec<_>>(), [1, 0]);
    }
}
