//! Transactions from their admission to their receipt: the hops of all that were seen whole, and one that crossed
//! shards as a space-time diagram.

use std::collections::BTreeMap;

use bft::ledger::{Outcome, Settled};
use bft::trace::{LaneStep, PartStep, RoundStep, TraceEvent, TxStep};
use wire::client::Fate;
use wire::ids::{NodeId, Round, ShardId};
use wire::name::{Name, TxHead};

use super::super::diagram::{Arrow, Band, Diagram, Dot, Phase};
use super::super::figure::{Drawing, Figure, basis, n_of, offered, quantiles, testbed};
use super::super::recorded::{Message, Recorded};
use super::super::run::RunFiles;
use super::super::scale::number;
use super::latency::{RANGE, ranges};

/// More members of a shard than these have no line of their own in a diagram, unless they have a part in it.
const LINES_MAX: usize = 4;

/// Transactions that are looked at until one is found whose steps came in their order.
const TRIES: usize = 200;

/// When something was first done, and by whom.
type First = Option<(i64, NodeId)>;

/// What became of one transaction, as far as it was seen.
#[derive(Clone, Debug, Default)]
struct Story {
    admitted: First,
    forwarded: First,
    requested: First,
    /// By whom else, and when.
    requests: Vec<(i64, NodeId)>,
    proposed: First,
    entry: Option<Name>,
    /// By the first member of the last input shard.
    spent: First,
    spent_in: Option<(ShardId, Round)>,
    part: Option<Name>,
    /// Within a shard, by its contact.
    settled: First,
    finished: First,
    finished_in: Option<(ShardId, Round)>,
    answered: First,
}

impl Story {
    /// The moments of one that went across shards, if all were seen, microseconds.
    fn across(&self) -> Option<[i64; 6]> {
        let Story { admitted, requested, proposed, spent, finished, answered, .. } = *self;
        between([admitted, requested, proposed, spent, finished, answered])
    }
}

/// Both figures, as far as there is anything for them.
pub(in super::super) fn figures(run: &RunFiles, recorded: &Recorded) -> (Option<Figure>, Option<Figure>) {
    let stories = stories(recorded);
    (hops(run, recorded, &stories), diagram(run, recorded, &stories))
}

fn stories(recorded: &Recorded) -> BTreeMap<TxHead, Story> {
    let mut stories: BTreeMap<TxHead, Story> = BTreeMap::new();
    for step in &recorded.steps {
        let TraceEvent::Tx { tx, step: did } = &step.event else { continue };
        let (story, here) = (stories.entry(*tx).or_default(), Some((step.at_us, step.node)));
        match did {
            TxStep::Admitted { .. } => story.admitted = story.admitted.or(here),
            TxStep::Forwarded { .. } => story.forwarded = story.forwarded.or(here),
            TxStep::Requested { .. } => {
                story.requested = story.requested.or(here);
                story.requests.push((step.at_us, step.node));
            }
            TxStep::Proposed { entry } if story.proposed.is_none() => {
                (story.proposed, story.entry) = (here, Some(*entry));
            }
            TxStep::Spent { place, part, .. }
                if story.spent_in.is_none_or(|(shard, _)| shard != place.shard) =>
            {
                story.spent = here;
                story.spent_in = Some((place.shard, place.round));
                story.part = part.or(story.part);
            }
            TxStep::Settled { end: Outcome::Settled(Settled::Finished), .. }
                if is_contact(story, step.node) =>
            {
                story.settled = story.settled.or(here);
            }
            TxStep::Finished { place, .. } if story.finished.is_none() => {
                (story.finished, story.finished_in) = (here, Some((place.shard, place.round)));
            }
            TxStep::Answered { fate: Fate::Finished(_), .. } => story.answered = story.answered.or(here),
            _ => {}
        }
    }
    stories
}

fn is_contact(story: &Story, node: NodeId) -> bool {
    story.admitted.is_some_and(|(_, contact)| contact == node)
}

/// The times between moments that all came, one after the other.
fn between<const N: usize>(moments: [First; N]) -> Option<[i64; N]> {
    let times = moments.map(|moment| moment.map(|(at, _)| at));
    let is_whole = times.iter().all(Option::is_some);
    is_whole.then(|| times.map(Option::unwrap_or_default))
}

/// The hops of all transactions that were seen from their admission to their receipt.
fn hops(run: &RunFiles, recorded: &Recorded, stories: &BTreeMap<TxHead, Story>) -> Option<Figure> {
    // Each entry by when its owner knew its certificate.
    let certified: BTreeMap<(NodeId, Name), i64> = recorded
        .steps
        .iter()
        .filter_map(|step| match &step.event {
            TraceEvent::Lane { entry, step: LaneStep::Certified } => Some(((step.node, *entry), step.at_us)),
            _ => None,
        })
        .collect();
    let within = stories.values().filter_map(|story| {
        let (_, contact) = story.admitted?;
        let certified = certified.get(&(contact, story.entry?)).map(|at| (*at, contact));
        between([story.admitted, story.proposed, certified, story.settled, story.answered])
    });
    let across = stories.values().filter_map(Story::across);
    let within: Vec<[i64; 5]> = within.collect();
    let across: Vec<[i64; 6]> = across.collect();
    let rows = |names: &[&'static str], times: &dyn Fn(usize) -> Vec<f64>, colour: usize| {
        let range = |(hop, name): (usize, &&'static str)| Some((*name, quantiles(&mut times(hop))?, colour));
        names.iter().enumerate().filter_map(range).collect::<Vec<_>>()
    };
    let hop = |from: i64, to: i64| (to - from).max(0) as f64 / 1e3;
    let names =
        ["admitted → in an entry", "→ entry certified", "→ block executed at the contact", "→ receipt sent"];
    let inside = rows(&names, &|at| within.iter().map(|times| hop(times[at], times[at + 1])).collect(), 0);
    let names = [
        "admitted → order at an input shard",
        "→ in an entry there",
        "→ spent by a block there",
        "→ finished by a block of the output shard",
        "→ receipt sent",
    ];
    let crossing = rows(&names, &|at| across.iter().map(|times| hop(times[at], times[at + 1])).collect(), 1);
    let both = [inside, crossing].into_iter().filter(|rows| !rows.is_empty());
    let drawings: Vec<Drawing> = both.map(|rows| Drawing::Rows(ranges(&rows))).collect();
    let count = (within.len() + across.len()) as f64;
    let crossed =
        if across.is_empty() { String::new() } else { format!(", of which {} crossed shards", across.len()) };
    (!drawings.is_empty()).then(|| Figure {
        id: "hops",
        title: "Where the time of a transaction goes".into(),
        finding: match across.is_empty() {
            true => "Each row is one hop; their sum is the latency inside of the testbed.".into(),
            false => {
                "Each row is one hop: within a shard (blue) and across shards (orange), each in its order."
                    .into()
            }
        },
        drawings,
        list: Vec::new(),
        basis: basis(
            run,
            &format!(
                "{RANGE} {}{crossed}, from the journals of nodes",
                n_of(count, "transactions in a short stretch of the run")
            ),
        ),
    })
}

/// The transaction of median duration among those that crossed from one other shard and were seen whole.
fn diagram(run: &RunFiles, recorded: &Recorded, stories: &BTreeMap<TxHead, Story>) -> Option<Figure> {
    let mut whole: Vec<(i64, TxHead, &Story)> = stories
        .iter()
        .filter_map(|(tx, story)| {
            let times = story.across()?;
            let (input, output) = (story.spent_in?.0, story.finished_in?.0);
            let is_in_order = times.windows(2).all(|two| two[0] <= two[1]);
            (input != output && story.part.is_some() && is_in_order).then_some((
                times[5] - times[0],
                *tx,
                story,
            ))
        })
        .collect();
    whole.sort_by_key(|(took, tx, _)| (*took, *tx));
    let middle = whole.len() / 2;
    let mut by_distance: Vec<usize> = (0..whole.len()).collect();
    by_distance.sort_by_key(|index| index.abs_diff(middle));
    let scene = |index: usize| {
        let (_, tx, story) = whole[index];
        Some((tx, Scene::of(run, recorded, story).filter(Scene::is_in_order)?))
    };
    let (tx, scene) = by_distance.into_iter().take(TRIES).find_map(scene)?;
    scene.figure(run, tx)
}

/// All that is drawn of one transaction.
struct Scene<'a> {
    recorded: &'a Recorded,
    story: &'a Story,
    n: u16,
    began: i64,
    nodes: Vec<NodeId>,
    /// Entries of lanes that carry it or its part.
    entries: Vec<Name>,
    part: Name,
    /// When the part was received, could be imported, and was listed.
    parts: [First; 3],
}

impl<'a> Scene<'a> {
    fn of(run: &RunFiles, recorded: &'a Recorded, story: &'a Story) -> Option<Scene<'a>> {
        let (n, part) = (run.whole("n")? as u16, story.part?);
        let (input, output) = (story.spent_in?.0, story.finished_in?.0);
        let mut parts: [First; 3] = [None; 3];
        let mut listed_in = None;
        for step in &recorded.steps {
            let TraceEvent::Part { part: of, step: did } = &step.event else { continue };
            if *of != part || step.node.0 / n != output.0 {
                continue;
            }
            let here = Some((step.at_us, step.node));
            match did {
                PartStep::Received { .. } => parts[0] = parts[0].or(here),
                PartStep::Eligible { .. } => parts[1] = parts[1].or(here),
                PartStep::Listed { entry } if parts[2].is_none() => {
                    (parts[2], listed_in) = (here, Some(*entry))
                }
                _ => {}
            }
        }
        let moments =
            [story.admitted, story.requested, story.proposed, story.finished, parts[0], parts[1], parts[2]];
        let taking_part: Vec<NodeId> = moments.iter().flatten().map(|(_, node)| *node).collect();
        let mut nodes = Vec::new();
        for shard in [output, input] {
            let members = || (0..n).map(|place| NodeId(shard.0 * n + place));
            let others = members().filter(|node| !taking_part.contains(node));
            let room = LINES_MAX.saturating_sub(members().filter(|node| taking_part.contains(node)).count());
            let shown: Vec<NodeId> = others.take(room).collect();
            nodes.extend(members().filter(|node| taking_part.contains(node) || shown.contains(node)));
        }
        let entries = [story.entry, listed_in].into_iter().flatten().collect();
        Some(Scene { recorded, story, n, began: story.admitted?.0, nodes, entries, part, parts })
    }

    /// Whether every step was seen, one after the other: another member may have done one of them first.
    fn is_in_order(&self) -> bool {
        let Story { admitted, requested, proposed, spent, finished, answered, .. } = self.story;
        let [received, eligible, listed] = self.parts;
        let moments =
            [*admitted, *requested, *proposed, *spent, received, eligible, listed, *finished, *answered];
        between(moments).is_some_and(|times| times.windows(2).all(|two| two[0] <= two[1]))
    }

    fn ms(&self, at_us: i64) -> f64 {
        (at_us - self.began) as f64 / 1e3
    }

    fn line(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|one| *one == node)
    }

    /// The kind of a message that has to do with the transaction. Orders do not name what they order; for them see
    /// [`Scene::orders`].
    fn kind(&self, message: &Message) -> Option<usize> {
        let said = &message.said;
        let of = |name: &Name| {
            let name = name.to_string();
            said.split_once(&name).is_some_and(|(_, rest)| !rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let of_entry = self.entries.iter().any(of);
        match said.split(' ').next() {
            Some("SEND") if of_entry => Some(1),
            Some("ECHO") if of_entry => Some(2),
            Some("FINAL") if of_entry => Some(3),
            Some("LD") if of(&self.part) => Some(4),
            Some("SIGN") if of(&self.part) => Some(5),
            _ => None,
        }
    }

    /// The orders of the contact, by when it sent them and when members of input shards took them.
    fn orders(&self) -> Vec<Arrow> {
        let Some((sent, contact)) = self.story.forwarded else { return Vec::new() };
        let order = |(received, node): &(i64, NodeId)| {
            let (from, to) = (self.line(contact)?, self.line(*node)?);
            let (sent, received) = (self.ms(sent), self.ms(*received));
            (sent <= received).then_some(Arrow { from, to, sent, received, kind: 0, is_aside: false })
        };
        self.story.requests.iter().filter_map(order).collect()
    }

    /// The agreement of a round over the lines of its shard.
    fn band(&self, (shard, round): (ShardId, Round)) -> Option<Band> {
        let of_round = |is: fn(&RoundStep) -> bool| {
            self.recorded.steps.iter().filter(move |step| match &step.event {
                TraceEvent::Round { shard: of, round: number, step } => {
                    *of == shard && *number == round && is(step)
                }
                _ => false,
            })
        };
        let from = of_round(|step| matches!(step, RoundStep::Begun)).map(|step| step.at_us).min()?;
        let to = of_round(|step| matches!(step, RoundStep::Executed { .. })).map(|step| step.at_us).max()?;
        let mut lines = (0..self.nodes.len()).filter(|line| self.nodes[*line].0 / self.n == shard.0);
        let first = lines.next()?;
        let name = format!("round {round} of shard {shard}");
        Some(Band {
            lines: (first, lines.next_back().unwrap_or(first)),
            from: self.ms(from).max(0.0),
            to: self.ms(to),
            name,
        })
    }

    fn arrows(&self, until: f64) -> Vec<Arrow> {
        let is_within = |one: &&Message| one.sent_us >= self.began && self.ms(one.sent_us) <= until;
        let arrow = |message: &Message| {
            Some(Arrow {
                from: self.line(message.from)?,
                to: self.line(message.to)?,
                sent: self.ms(message.sent_us),
                received: self.ms(message.received_us).min(until),
                kind: self.kind(message)?,
                is_aside: false,
            })
        };
        let messages = self.recorded.messages.iter().filter(is_within).filter_map(arrow);
        self.orders().into_iter().chain(messages).collect()
    }

    fn figure(&self, run: &RunFiles, tx: TxHead) -> Option<Figure> {
        let Story { admitted, requested, proposed, spent, finished, answered, .. } = self.story;
        let (input, output) = (self.story.spent_in?, self.story.finished_in?);
        let [received, eligible, listed] = self.parts;
        let steps = [
            (*admitted, format!("its contact in shard {} admits it", output.0)),
            (*requested, format!("its order reaches shard {}, where its input is", input.0)),
            (*proposed, "it goes into an entry there".into()),
            (*spent, format!("round {} of shard {} spends the input", input.1, input.0)),
            (received, format!("{} reaches shard {} (LD)", self.part, output.0)),
            (eligible, "N−f members have signed the part (SIGN)".into()),
            (listed, "an entry lists the part".into()),
            (*finished, format!("round {} of shard {} finishes it", output.1, output.0)),
            (*answered, "the contact sends the receipt".into()),
        ];
        let until = self.ms(answered.as_ref()?.0) * 1.03;
        let seen = || steps.iter().filter_map(|(moment, text)| moment.map(|(at, node)| (at, node, text)));
        let dots = seen().enumerate().filter_map(|(index, (at, node, _))| {
            Some(Dot { line: self.line(node)?, at: self.ms(at), number: Some(index + 1) })
        });
        let list = seen()
            .map(|(at, node, text)| format!("{} ms, node {node}: {text}", number(self.ms(at))))
            .collect();
        let arrows = self.arrows(until);
        let phase = |from: First, to: First, name: &str| {
            Some(Phase { from: self.ms(from?.0), to: self.ms(to?.0), name: name.into() })
        };
        let phases = [
            phase(*admitted, *spent, "input shard"),
            phase(*spent, eligible, "part"),
            phase(eligible, *finished, "output shard"),
        ];
        let kinds = ["order", "SEND of an entry", "ECHO", "FINAL: certified", "LD: the part", "SIGN"];
        let colours = [7, 0, 5, 3, 1, 4];
        let count = arrows.len();
        let named = |node: &NodeId| format!("node {node}, shard {}", node.0 / self.n);
        let diagram = Diagram {
            description: format!("Messages of transaction {tx} over time"),
            nodes: self.nodes.iter().map(named).collect(),
            kinds: kinds.iter().zip(colours).map(|(kind, colour)| (kind.to_string(), colour)).collect(),
            arrows,
            dots: dots.collect(),
            phases: phases.into_iter().flatten().collect(),
            bands: [input, output].into_iter().filter_map(|place| self.band(place)).collect(),
            until,
        };
        Some(Figure {
            id: "transaction",
            title: format!("One transaction across shards, message by message: {tx}"),
            finding: "Green: the rounds that ordered it; the figure of a round shows what goes on in one."
                .into(),
            drawings: vec![Drawing::Drawn(Box::new(diagram.drawn()))],
            list,
            basis: format!(
                "An arrow goes from when a message was sent to when it was handled. N = {count} messages of one transaction, that of \
                 median duration in a stretch of the run, from the journals of {} nodes; {}; {}.",
                self.nodes.len(),
                testbed(run),
                offered(run)
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use bft::trace::Place;
    use wire::dest::Dest;
    use wire::ids::{ClientId, PartNumber, Seq};

    use super::super::super::markup::check;
    use super::super::super::recorded::Step;
    use super::*;
    use crate::json::Json;

    const TX: TxHead = TxHead([7; 8]);

    /// Two shards of two nodes: a transaction with its input in shard 0 and its output in shard 1.
    fn recorded() -> Recorded {
        let part = Name::Part { source: ShardId(0), destination: ShardId(1), number: PartNumber(1) };
        let (first, second) = (Name::entry(NodeId(0), Seq(3)), Name::entry(NodeId(3), Seq(2)));
        let place = |shard: u16, round: u64| Place { shard: ShardId(shard), round: Round(round) };
        let tx = |step| TraceEvent::Tx { tx: TX, step };
        let did = |step| TraceEvent::Part { part, step };
        let of_round = |shard: u16, round: u64, step| TraceEvent::Round {
            shard: ShardId(shard),
            round: Round(round),
            step,
        };
        let steps = [
            (2, 0, tx(TxStep::Admitted { client: ClientId(1) })),
            (2, 100, tx(TxStep::Forwarded { to: Dest::Node(NodeId(0)) })),
            (0, 400, tx(TxStep::Requested { by: NodeId(2), home: NodeId(0) })),
            (0, 900, tx(TxStep::Proposed { entry: first })),
            (0, 1_000, of_round(0, 4, RoundStep::Begun)),
            (1, 5_000, tx(TxStep::Spent { place: place(0, 4), entry: first, part: Some(part) })),
            (3, 6_000, did(PartStep::Received { from: NodeId(1) })),
            (3, 7_000, did(PartStep::Eligible { shard: ShardId(1) })),
            (3, 7_500, did(PartStep::Listed { entry: second })),
            (2, 9_000, tx(TxStep::Finished { place: place(1, 6), parts: vec![part] })),
            (2, 9_100, tx(TxStep::Answered { client: ClientId(1), fate: Fate::Finished(Round(6)) })),
        ];
        let step = |(node, at_us, event)| Step { node: NodeId(node), at_us, event };
        let message = |from: u16, to: u16, sent_us, said: &str| Message {
            from: NodeId(from),
            to: NodeId(to),
            sent_us,
            received_us: sent_us + 200,
            said: said.into(),
        };
        let messages = vec![
            message(0, 1, 900, "SEND of lane 0:3, 90 bytes, digest 00"),
            message(0, 1, 950, "SEND of lane 0:31, 90 bytes, digest 00"),
            message(1, 3, 5_500, "LD of part 0>1:1"),
            message(3, 2, 6_100, "SIGN of part 0>1:1, digest 00"),
            message(1, 3, 5_600, "LD of part 0>1:12"),
        ];
        Recorded { steps: steps.into_iter().map(step).collect(), messages }
    }

    fn run() -> RunFiles {
        let summary = "{\"n\": 2, \"shards\": 2, \"offered_tps\": 5}";
        RunFiles { summary: Some(Json::parse(summary).unwrap()), ..RunFiles::default() }
    }

    #[test]
    fn a_transaction_is_drawn_with_its_own_messages_and_steps_alone() {
        let (hops, diagram) = figures(&run(), &recorded());
        let diagram = diagram.unwrap();
        assert!(diagram.basis.contains("N = 4 messages"), "{}", diagram.basis);
        assert_eq!(diagram.list.len(), 9);
        assert_eq!(diagram.list[1], "0.4 ms, node 0: its order reaches shard 0, where its input is");
        assert_eq!(diagram.list[7], "9 ms, node 2: round 6 of shard 1 finishes it");
        check(&diagram.to_element().to_string()).unwrap();
        let Drawing::Rows(rows) = &hops.unwrap().drawings[0] else { panic!("no rows") };
        let texts: Vec<&str> = rows.rows.iter().map(|row| row.text.split(',').next().unwrap()).collect();
        assert_eq!(texts, ["0.4 ms", "0.5 ms", "4.1 ms", "4 ms", "0.1 ms"]);
    }

    #[test]
    fn one_whose_steps_are_not_in_order_is_not_drawn() {
        let mut recorded = recorded();
        recorded.steps.iter_mut().for_each(|step| {
            if let TraceEvent::Part { step: PartStep::Received { .. }, .. } = step.event {
                step.at_us = 4_000;
            }
        });
        assert!(figures(&run(), &recorded).1.is_none(), "the part came before it was made");
        assert!(figures(&run(), &Recorded::default()).0.is_none());
    }
}
