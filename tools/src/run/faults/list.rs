//! The value of `--faults`.
//!
//! `LIST = ITEM ["," ITEM]…`; an item is a fault, `every:S` or `random:COUNT`. `FAULT = NAME ":" WHAT "@" T ["+" D]`;
//! `WHAT` names nodes, as in `0-2+5`, or links by the sides between which they are: `0+1/2+3`, or `0+1>2` for one
//! direction. `byzantine:IDS=BEHAVIOUR` has no time, since it holds from beginning to end. `every:S` repeats the faults
//! before it, as far back as the list or the last `every` goes.

use std::time::Duration;

use bft::sim::Conduct;
use wire::ids::NodeId;
use wire::link_rule::LinkRule;
use wire::nearest;
use wire::text::ParseError;
use wire::wan;

use super::{Fault, Kind, Part, Sides, Spell, check, random};
use crate::flags::{parse_seconds, seconds_text};
use crate::ids;

/// A kind of fault in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Kill(Part),
    Restart,
    Pause(Part),
    SlowNode,
    Byzantine,
    DiskFull,
    Partition,
    SlowLink,
}

const FORMS: [(&str, Form); 14] = [
    ("crash", Form::Kill(Part::Whole)),
    ("restart", Form::Restart),
    ("kill-core", Form::Kill(Part::Core)),
    ("kill-client", Form::Kill(Part::Client)),
    ("kill-server", Form::Kill(Part::Server)),
    ("pause", Form::Pause(Part::Whole)),
    ("pause-core", Form::Pause(Part::Core)),
    ("pause-client", Form::Pause(Part::Client)),
    ("pause-server", Form::Pause(Part::Server)),
    ("slow-node", Form::SlowNode),
    ("byzantine", Form::Byzantine),
    ("disk-full", Form::DiskFull),
    ("partition", Form::Partition),
    ("slow", Form::SlowLink),
];

impl Form {
    /// What follows on the name.
    fn text(self) -> &'static str {
        match self {
            Form::Kill(Part::Whole | Part::Core) => {
                "IDS@SECONDS, or IDS@SECONDS+SECONDS with a restart at the end"
            }
            Form::Kill(Part::Client | Part::Server) | Form::Restart => "IDS@SECONDS",
            Form::Pause(_) | Form::DiskFull => "IDS@SECONDS+SECONDS",
            Form::SlowNode => "IDS=PERCENT%@SECONDS+SECONDS",
            Form::Byzantine => "IDS=BEHAVIOUR",
            Form::Partition => "SIDES@SECONDS+SECONDS",
            Form::SlowLink => "SIDES=HOW@SECONDS+SECONDS",
        }
    }
}

/// Repetitions beyond this are a mistake: each is a fault to carry out.
const FAULTS_MAX: usize = 10_000;
/// The testbed that a list is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// Nodes of a shard.
    pub(crate) n: u16,
    pub(crate) shards: u16,
}

impl Shape {
    pub(crate) fn nodes(self) -> u16 {
        self.n * self.shards
    }
}

/// A list as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct List {
    pub(super) shape: Shape,
    faults: Vec<Fault>,
    /// Groups of faults, as places in `faults`, each with the time after which it is repeated.
    repeated: Vec<(std::ops::Range<usize>, Duration)>,
    /// How many random faults to add.
    pub(super) random: usize,
    /// Whether Byzantine nodes may be among them.
    pub(super) random_byzantine: bool,
}

impl List {
    /// Reads the value of `--faults` for a testbed of `shards` shards of `n` nodes.
    pub(crate) fn parse(text: &str, n: u16, shards: u16) -> Result<List, ParseError> {
        let shape = Shape { n, shards };
        let mut list =
            List { shape, faults: Vec::new(), repeated: Vec::new(), random: 0, random_byzantine: true };
        if text == "none" {
            return Ok(list);
        }
        let mut group = 0;
        for item in text.split(',') {
            let (name, rest) = item.split_once(':').ok_or_else(|| error(item, "NAME:WHAT@SECONDS"))?;
            match name {
                "every" => {
                    let period = parse_seconds(rest).filter(|period| !period.is_zero());
                    let period = period.ok_or_else(|| error(item, "every:SECONDS, more than 0"))?;
                    if group == list.faults.len() {
                        return Err(error(item, "a fault before it, which it repeats"));
                    }
                    list.repeated.push((group..list.faults.len(), period));
                    group = list.faults.len();
                }
                "random" => {
                    let count = rest.parse().ok().filter(|count| (1..=FAULTS_MAX).contains(count));
                    list.random +=
                        count.ok_or_else(|| error(item, &format!("random:COUNT, from 1 to {FAULTS_MAX}")))?;
                }
                _ => list.faults.extend(parse_fault(item, name, rest, shape)?),
            }
        }
        Ok(list)
    }

    /// Refuses what cannot be had from nodes without journals: to come back with all rights after any fault.
    pub(crate) fn refuse_what_needs_journals(&self) -> Result<(), ParseError> {
        let random = (self.random > 0).then(|| format!("random:{}", self.random));
        let full = self.faults.iter().find(|fault| fault.name() == "disk-full").map(Fault::to_string);
        match random.or(full) {
            Some(item) => {
                let expected =
                    "no such fault with --durability off, since nodes that are restarted need a journal";
                Err(error(&item, expected))
            }
            None => Ok(()),
        }
    }

    /// Refuses Byzantine nodes, which are possible only where `expected` says, and draws none.
    pub(crate) fn without_byzantine(mut self, expected: &str) -> Result<List, ParseError> {
        self.random_byzantine = false;
        match self.faults.iter().find(|fault| fault.is_byzantine()) {
            Some(fault) => Err(error(&fault.to_string(), expected)),
            None => Ok(self),
        }
    }

    /// When the last fault of the list ends, repetitions left out; `None` if it has none.
    pub(crate) fn end(&self) -> Option<Duration> {
        self.faults.iter().map(|fault| fault.until().unwrap_or(fault.at)).max()
    }

    /// The plan for a load of this duration, if it is known; random faults are drawn from `seed`.
    pub(crate) fn plan(&self, duration: Option<Duration>, seed: u64) -> Result<Vec<Fault>, ParseError> {
        let mut plan = self.faults.clone();
        for (group, period) in &self.repeated {
            let group = &self.faults[group.clone()];
            let whole =
                duration.ok_or_else(|| needs_duration(&format!("every:{}", seconds_text(*period))))?;
            let end = group.iter().map(|fault| fault.until().unwrap_or(fault.at)).max().unwrap_or_default();
            for after in (1..).map(|time| *period * time).take_while(|after| end + *after < whole) {
                let again = group.iter().filter(|fault| !fault.is_byzantine());
                plan.extend(again.map(|fault| Fault { at: fault.at + after, ..fault.clone() }));
                if plan.len() > FAULTS_MAX {
                    let text = format!("every:{}", seconds_text(*period));
                    return Err(error(&text, &format!("at most {FAULTS_MAX} faults in all")));
                }
            }
        }
        if self.random > 0 {
            let whole = duration.ok_or_else(|| needs_duration(&format!("random:{}", self.random)))?;
            // What clashes without them is not theirs to be blamed for.
            sort(&mut plan);
            check::refuse_clashes(&plan)?;
            random::add(&mut plan, self, whole, seed)?;
        }
        sort(&mut plan);
        check::refuse_clashes(&plan)?;
        let end = |fault: &Fault| fault.until().unwrap_or(fault.at);
        if let (Some(late), Some(duration)) = (plan.iter().max_by_key(|fault| end(fault)), duration)
            && end(late) >= duration
        {
            let expected = format!("times before the end of the load after {} s", duration.as_secs_f64());
            return Err(error(&late.to_string(), &expected));
        }
        Ok(plan)
    }
}

/// Sorts by time. Where times are equal, Byzantine nodes come first, and the rest as it was given.
pub(super) fn sort(plan: &mut [Fault]) {
    plan.sort_by_key(|fault| (fault.at, !fault.is_byzantine()));
}

fn error(value: &str, expected: &str) -> ParseError {
    ParseError::of("--faults", value, expected)
}

fn needs_duration(item: &str) -> ParseError {
    error(item, "--duration with it, since it fills the load's time")
}

/// A fault; of a crash that lasts also the restart that ends it.
fn parse_fault(item: &str, name: &str, rest: &str, shape: Shape) -> Result<Vec<Fault>, ParseError> {
    let form = FORMS.iter().find(|(known, _)| *known == name).map(|(_, form)| *form);
    let form = form.ok_or_else(|| {
        let known: Vec<&str> = FORMS.iter().map(|(name, _)| *name).chain(["every", "random"]).collect();
        error(name, &format!("one of {}{}", known.join(", "), nearest::hint(name, &known)))
    })?;
    if form == Form::Byzantine {
        return Ok(vec![parse_byzantine(item, rest, shape)?]);
    }
    let whole = || format!("{name}:{}", form.text());
    let (what, time) = rest.split_once('@').ok_or_else(|| error(item, &whole()))?;
    let (at, lasts) = parse_time(item, time)?;
    let nodes = || parse_nodes(item, what, shape);
    let spell = match form {
        Form::Kill(part) => {
            let kill = Fault { at, kind: Kind::Kill { part, nodes: nodes()? } };
            return match lasts {
                None => Ok(vec![kill]),
                Some(lasts) if kill.takes_down() => {
                    let restart = Fault { at: at + lasts, kind: Kind::Restart { nodes: nodes()? } };
                    Ok(vec![kill, restart])
                }
                Some(_) => Err(error(item, &format!("{}, since it does not last", whole()))),
            };
        }
        Form::Restart => {
            return match lasts {
                None => Ok(vec![Fault { at, kind: Kind::Restart { nodes: nodes()? } }]),
                Some(_) => Err(error(item, &format!("{}, since it does not last", whole()))),
            };
        }
        Form::Byzantine => unreachable!("it has no time, so it was read before"),
        Form::Pause(part) => Spell::Pause { part, nodes: nodes()? },
        Form::SlowNode => parse_slow_node(item, what, shape)?,
        Form::DiskFull => Spell::DiskFull { nodes: nodes()? },
        Form::Partition => Spell::Links { sides: parse_sides(item, what, shape)?, rule: LinkRule::Cut },
        Form::SlowLink => parse_slow_links(item, what, shape)?,
    };
    let lasts = lasts.ok_or_else(|| error(item, &format!("{}, since it lasts", whole())))?;
    Ok(vec![Fault { at, kind: Kind::Spell { spell, lasts } }])
}

/// `T`, or `T+D`.
fn parse_time(item: &str, text: &str) -> Result<(Duration, Option<Duration>), ParseError> {
    let (at, lasts) = text.split_once('+').map_or((text, None), |(at, lasts)| (at, Some(lasts)));
    let at = parse_seconds(at).ok_or_else(|| error(item, "a time after '@', in seconds"))?;
    let Some(lasts) = lasts else { return Ok((at, None)) };
    let lasts = parse_seconds(lasts).filter(|lasts| !lasts.is_zero());
    let lasts = lasts.ok_or_else(|| error(item, "a length of time after '+', in seconds, more than 0"))?;
    Ok((at, Some(lasts)))
}

fn parse_nodes(item: &str, text: &str, shape: Shape) -> Result<Vec<NodeId>, ParseError> {
    let known = |ids: &Vec<NodeId>| ids.iter().all(|id| id.0 < shape.nodes());
    ids::parse(text)
        .filter(known)
        .ok_or_else(|| error(item, &format!("node ids from 0 to {}, joined by '+'", shape.nodes() - 1)))
}

fn parse_slow_node(item: &str, what: &str, shape: Shape) -> Result<Spell, ParseError> {
    let expected = "a share of processor time after '=', from 1% to 99%";
    let (ids, share) = what.split_once('=').ok_or_else(|| error(item, expected))?;
    let percent = share.strip_suffix('%').and_then(|text| text.parse().ok());
    let percent =
        percent.filter(|percent| (1..=99).contains(percent)).ok_or_else(|| error(item, expected))?;
    Ok(Spell::SlowNode { percent, nodes: parse_nodes(item, ids, shape)? })
}

/// Byzantine nodes, which have no time.
fn parse_byzantine(item: &str, rest: &str, shape: Shape) -> Result<Fault, ParseError> {
    if rest.contains('@') {
        return Err(error(
            item,
            "byzantine:IDS=BEHAVIOUR, without a time, since it lasts from beginning to end",
        ));
    }
    let names = Conduct::ALL.map(Conduct::name);
    let expected = || format!("byzantine:IDS=BEHAVIOUR, where BEHAVIOUR is one of {}", names.join(", "));
    let (ids, name) = rest.split_once('=').ok_or_else(|| error(item, &expected()))?;
    let conduct = Conduct::parse(name);
    let conduct =
        conduct.ok_or_else(|| error(item, &format!("{}{}", expected(), nearest::hint(name, &names))))?;
    if conduct.needs_shards() && shape.shards == 1 {
        return Err(error(item, "several shards for it, since it attacks what they exchange (see --shards)"));
    }
    let nodes = parse_nodes(item, ids, shape)?;
    Ok(Fault { at: Duration::ZERO, kind: Kind::Byzantine { conduct, nodes } })
}

fn parse_sides(item: &str, text: &str, shape: Shape) -> Result<Sides, ParseError> {
    let nodes = |text: &str| parse_nodes(item, text, shape);
    let sides = if let Some((from, to)) = text.split_once('>') {
        Sides::OneWay(nodes(from)?, nodes(to)?)
    } else if text.contains('/') {
        Sides::Between(text.split('/').map(nodes).collect::<Result<_, _>>()?)
    } else {
        return Err(error(item, "sides, as in 0+1/2+3, or 0+1>2 for one direction"));
    };
    let mut all = sides.nodes();
    all.sort();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(error(item, &format!("node {} on one side only", pair[0]))),
        None => Ok(sides),
    }
}

fn parse_slow_links(item: &str, what: &str, shape: Shape) -> Result<Spell, ParseError> {
    let expected =
        "a delay or a rate after '=', as in 200ms, 10mbit or 200ms/10mbit: at most 5 s, at least 1 Mbit/s";
    let wrong = || error(item, expected);
    let (sides, how) = what.split_once('=').ok_or_else(wrong)?;
    let sides = parse_sides(item, sides, shape)?;
    let delay = |text: &str| wan::delay(text).filter(|delay| !delay.is_zero());
    let rule = match how.split_once('/') {
        Some((first, second)) => {
            let (delay, rate) = delay(first).zip(wan::bandwidth(second)).ok_or_else(wrong)?;
            LinkRule::Slow { delay, bits_per_s: Some(rate) }
        }
        None => match (delay(how), wan::bandwidth(how)) {
            (Some(delay), _) => LinkRule::Slow { delay, bits_per_s: None },
            (None, Some(rate)) => LinkRule::Slow { delay: Duration::ZERO, bits_per_s: Some(rate) },
            (None, None) => return Err(wrong()),
        },
    };
    Ok(Spell::Links { sides, rule })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The plan of a list for one shard of `n` nodes and a load of 1,000 s.
    pub(in crate::run::faults) fn plan(text: &str, n: u16) -> Result<Vec<Fault>, ParseError> {
        List::parse(text, n, 1)?.plan(Some(Duration::from_secs(1_000)), 1)
    }

    fn texts(plan: &[Fault]) -> Vec<String> {
        plan.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn lists_are_read_and_sorted_by_time() {
        let faults = plan("kill-client:1-2@5.5,crash:3+0@3,kill-server:2@5", 4).unwrap();
        assert_eq!(texts(&faults), ["crash:3+0@3", "kill-server:2@5", "kill-client:1-2@5.5"]);
        assert_eq!(faults[0].nodes(), [NodeId(3), NodeId(0)]);
        assert_eq!(plan("none", 4), Ok(Vec::new()));
        let faults = plan("crash:3@3,restart:0-2@4,restart:3@6,crash:3@7,restart:3@7", 4).unwrap();
        assert_eq!(faults.last().map(Fault::name), Some("restart"), "as given where times are equal");
    }

    #[test]
    fn every_kind_of_fault_is_written_as_it_was_read() {
        for text in [
            "crash:3@3",
            "kill-core:3@3",
            "kill-client:0-2@3",
            "kill-server:1@3",
            "restart:0@3",
            "pause:2@13+3",
            "pause-core:2@4+0.5",
            "pause-client:2@4+3",
            "pause-server:0+2@4+3",
            "slow-node:2=25%@5+3",
            "disk-full:1@5+3",
            "partition:0-1/2-3@8+3",
            "partition:0-1>3@8+3",
            "partition:0/1/2/3@8+3",
            "slow:0/3=200ms@5+3",
            "slow:0>3=10mbit@5+3",
            "byzantine:2=mute",
            "byzantine:0+2=bad-share",
            "slow:0/1-3=200ms/10mbit@5+3",
        ] {
            assert_eq!(texts(&plan(text, 4).unwrap()), [text]);
        }
        assert_eq!(texts(&plan("crash:3@3+2", 4).unwrap()), ["crash:3@3", "restart:3@5"]);
    }

    #[test]
    fn groups_are_repeated_until_the_load_ends() {
        let list = List::parse("kill-client:1@1,every:4,crash:3@2+1,every:5,pause:2@9+1", 4, 1).unwrap();
        let plan = list.plan(Some(Duration::from_secs(13)), 1).unwrap();
        assert_eq!(
            texts(&plan),
            [
                "kill-client:1@1",
                "crash:3@2",
                "restart:3@3",
                "kill-client:1@5",
                "crash:3@7",
                "restart:3@8",
                "pause:2@9+1",
                "kill-client:1@9",
            ],
            "the last crash would be restarted when the load is over"
        );
        assert_eq!(list.end(), Some(Duration::from_secs(10)));
        assert!(
            list.plan(None, 1)
                .unwrap_err()
                .to_string()
                .contains("found 'every:4', expected --duration with it")
        );
    }

    #[test]
    fn mistakes_are_named() {
        let names = "crash, restart, kill-core, kill-client, kill-server, pause, pause-core, pause-client, pause-server, \
                     slow-node, byzantine, disk-full, partition, slow, every, random";
        for (list, expected) in [
            ("", "--faults: found '', expected NAME:WHAT@SECONDS".to_string()),
            ("crash", "--faults: found 'crash', expected NAME:WHAT@SECONDS".into()),
            (
                "crash:3",
                "--faults: found 'crash:3', expected crash:IDS@SECONDS, or IDS@SECONDS+SECONDS with a restart at the end".into(),
            ),
            ("crush:3@1", format!("--faults: found 'crush', expected one of {names}; the nearest is 'crash'")),
            ("pause-clint:3@1+2", format!("--faults: found 'pause-clint', expected one of {names}; the nearest is 'pause-client'")),
            ("stop:3@1+2", format!("--faults: found 'stop', expected one of {names}")),
            ("crash:4@1", "--faults: found 'crash:4@1', expected node ids from 0 to 3, joined by '+'".into()),
            ("crash:@1", "--faults: found 'crash:@1', expected node ids from 0 to 3, joined by '+'".into()),
            ("crash:1@x", "--faults: found 'crash:1@x', expected a time after '@', in seconds".into()),
            ("crash:1@-1", "--faults: found 'crash:1@-1', expected a time after '@', in seconds".into()),
            ("crash:1@NaN", "--faults: found 'crash:1@NaN', expected a time after '@', in seconds".into()),
            ("pause:1@1", "--faults: found 'pause:1@1', expected pause:IDS@SECONDS+SECONDS, since it lasts".into()),
            ("kill-client:1@1+2", "--faults: found 'kill-client:1@1+2', expected kill-client:IDS@SECONDS, since it does not last".into()),
            ("pause:1@1+0", "--faults: found 'pause:1@1+0', expected a length of time after '+', in seconds, more than 0".into()),
            ("slow-node:1=0%@1+1", "--faults: found 'slow-node:1=0%@1+1', expected a share of processor time after '=', from 1% to 99%".into()),
            ("partition:0+1@1+1", "--faults: found 'partition:0+1@1+1', expected sides, as in 0+1/2+3, or 0+1>2 for one direction".into()),
            ("partition:0+1/1@1+1", "--faults: found 'partition:0+1/1@1+1', expected node 1 on one side only".into()),
            ("every:5", "--faults: found 'every:5', expected a fault before it, which it repeats".into()),
            ("random:0", "--faults: found 'random:0', expected random:COUNT, from 1 to 10000".into()),
            ("crash:1@1000", "--faults: found 'crash:1@1000', expected times before the end of the load after 1000 s".into()),
            ("pause:1@999+2", "--faults: found 'pause:1@999+2', expected times before the end of the load after 1000 s".into()),
        ] {
            assert_eq!(plan(list, 4).unwrap_err().to_string(), expected);
        }
        for (list, expected) in [
            ("byzantine:2", "expected byzantine:IDS=BEHAVIOUR, where BEHAVIOUR is one of mute, equivocate, "),
            ("byzantine:2=equivocat", "garbage, false-reject; the nearest is 'equivocate'"),
            ("byzantine:4=mute", "found 'byzantine:4=mute', expected node ids from 0 to 3"),
            ("byzantine:2=mute@3", "expected byzantine:IDS=BEHAVIOUR, without a time"),
            ("byzantine:2=false-reject", "expected several shards for it"),
        ] {
            let error = plan(list, 4).unwrap_err().to_string();
            assert!(error.contains(expected), "{list}: {error}");
        }
        let error = plan("slow:0/3=2m@1+1", 4).unwrap_err().to_string();
        assert!(error.contains("found 'slow:0/3=2m@1+1', expected a delay or a rate after '='"), "{error}");
    }
}
