//! The text of a WAN.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::NodeId;
use crate::limits::NODES_MAX;
use crate::nearest;
use crate::text::ParseError;

use super::conditions::{Words, delay};
use super::{Conditions, Phase, Time, Wan};

/// Far more regions than any cloud has.
const REGIONS_MAX: usize = 256;
/// Links of all phases together: a thousand phases of 32 regions, which take some 100 MB.
const LINKS_MAX: usize = 1 << 20;
/// Of a phase, in seconds.
const PHASE_S: std::ops::RangeInclusive<u64> = 1..=86_400;
const LINES: [&str; 8] = ["regions", "nodes", "clients", "link", "round-trip", "phase", "seed", "begins"];

/// The state of reading, after some lines.
#[derive(Default)]
struct Reading {
    regions: Vec<String>,
    placed: BTreeMap<NodeId, usize>,
    clients: Option<usize>,
    seed: u64,
    begins_ms: u64,
    /// What holds in all phases, by pair of regions.
    common: Vec<Link>,
    phases: Vec<(Duration, Vec<Link>)>,
}

/// What lines set of one link so far, and the last of these lines.
#[derive(Clone, Copy, Default)]
struct Link {
    words: Words,
    line: usize,
}

/// A line that is read.
struct Line<'a> {
    place: &'a str,
    number: usize,
    text: &'a str,
}

impl Line<'_> {
    fn wrong(&self, found: &str, expected: &str) -> ParseError {
        ParseError::at_line(self.place, self.number, found, expected)
    }
}

pub(super) fn parse(place: &str, text: &str) -> Result<Wan, ParseError> {
    let mut reading = Reading::default();
    for (index, text) in text.lines().enumerate() {
        let words: Vec<&str> = text.split('#').next().unwrap_or_default().split_whitespace().collect();
        if let Some((name, rest)) = words.split_first() {
            reading.take(name, rest, &Line { place, number: index + 1, text })?;
        }
    }
    reading.finish(place)
}

impl Reading {
    fn take(&mut self, name: &str, rest: &[&str], line: &Line<'_>) -> Result<(), ParseError> {
        if self.regions.is_empty() && name != "regions" {
            return Err(line.wrong(line.text, "'regions NAME...' before every other line"));
        }
        match (name, rest) {
            ("regions", names) if !names.is_empty() => self.take_regions(names, line),
            ("nodes", [region, ids @ ..]) if !ids.is_empty() => self.take_nodes(region, ids, line),
            ("clients", [region]) => {
                self.clients = Some(self.region(region, line)?);
                Ok(())
            }
            ("link", [from, to, words @ ..]) if !words.is_empty() => {
                let words = Words::parse(words, |found, expected| line.wrong(found, expected))?;
                let (from, to) = (self.those(from, line)?, self.those(to, line)?);
                for from in from {
                    to.iter().for_each(|to| self.set(from, *to, words, line));
                }
                Ok(())
            }
            ("round-trip", [from, times @ ..]) => self.take_round_trips(from, times, line),
            ("phase", [seconds]) => {
                let expected = "whole seconds from 1 to 86400";
                let seconds = seconds.parse().ok().filter(|seconds| PHASE_S.contains(seconds));
                let seconds = seconds.ok_or_else(|| line.wrong(rest[0], expected))?;
                if (self.phases.len() + 1) * self.common.len() > LINKS_MAX {
                    let most = LINKS_MAX / self.common.len();
                    let expected = format!("at most {most} phases of {} regions", self.regions.len());
                    return Err(line.wrong(line.text, &expected));
                }
                self.phases.push((Duration::from_secs(seconds), vec![Link::default(); self.common.len()]));
                Ok(())
            }
            ("seed", [seed]) => {
                self.seed = seed.parse().map_err(|_| line.wrong(seed, "a whole number"))?;
                Ok(())
            }
            ("begins", [ms]) => {
                self.begins_ms = ms.parse().map_err(|_| line.wrong(ms, "milliseconds since 1970"))?;
                Ok(())
            }
            _ => Err(line.wrong(line.text, &expected(name))),
        }
    }

    fn take_regions(&mut self, names: &[&str], line: &Line<'_>) -> Result<(), ParseError> {
        if !self.regions.is_empty() {
            return Err(line.wrong(line.text, "one line 'regions'"));
        }
        if names.len() > REGIONS_MAX {
            return Err(line.wrong(&format!("{} regions", names.len()), "at most 256"));
        }
        for (index, name) in names.iter().enumerate() {
            if *name == "*" || names[..index].contains(name) {
                return Err(line.wrong(name, "a name that no other region has, and not '*'"));
            }
        }
        self.regions = names.iter().map(ToString::to_string).collect();
        self.common = vec![Link::default(); names.len() * names.len()];
        Ok(())
    }

    fn take_nodes(&mut self, region: &str, ids: &[&str], line: &Line<'_>) -> Result<(), ParseError> {
        let region = self.region(region, line)?;
        for word in ids {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let id = |text: &str| text.parse().ok().filter(|id: &u16| *id < NODES_MAX);
            let range = id(first).zip(id(last)).filter(|(first, last)| first <= last);
            let (first, last) =
                range.ok_or_else(|| line.wrong(word, "a node id, or two with '-' between them"))?;
            for id in first..=last {
                if self.placed.insert(NodeId(id), region).is_some() {
                    return Err(line.wrong(&format!("node {id}"), "a node that has no region yet"));
                }
            }
        }
        Ok(())
    }

    fn take_round_trips(&mut self, from: &str, times: &[&str], line: &Line<'_>) -> Result<(), ParseError> {
        let from = self.region(from, line)?;
        if times.len() != self.regions.len() {
            let expected = format!("{}, as there are regions", self.regions.len());
            return Err(line.wrong(&format!("{} round trips", times.len()), &expected));
        }
        for (to, time) in times.iter().enumerate().filter(|(_, time)| **time != "-") {
            let round_trip = delay(&format!("{time}ms"));
            let round_trip =
                round_trip.ok_or_else(|| line.wrong(time, "milliseconds from 0 to 5000, or '-'"))?;
            self.set(from, to, Words { delay: Some(round_trip / 2), ..Words::default() }, line);
        }
        Ok(())
    }

    fn set(&mut self, from: usize, to: usize, words: Words, line: &Line<'_>) {
        let place = from * self.regions.len() + to;
        let links = self.phases.last_mut().map_or(&mut self.common, |(_, links)| links);
        links[place] = Link { words: words.or(links[place].words), line: line.number };
    }

    fn region(&self, name: &str, line: &Line<'_>) -> Result<usize, ParseError> {
        self.regions.iter().position(|known| known == name).ok_or_else(|| {
            let known: Vec<&str> = self.regions.iter().map(String::as_str).collect();
            line.wrong(name, &format!("a region of line 'regions'{}", nearest::hint(name, &known)))
        })
    }

    /// The regions that a word of a link stands for.
    fn those(&self, word: &str, line: &Line<'_>) -> Result<Vec<usize>, ParseError> {
        match word {
            "*" => Ok((0..self.regions.len()).collect()),
            name => Ok(vec![self.region(name, line)?]),
        }
    }

    fn finish(self, place: &str) -> Result<Wan, ParseError> {
        if self.regions.is_empty() {
            return Err(ParseError::of(place, "no regions", "a line 'regions NAME...'"));
        }
        let forever = || vec![(Duration::MAX, vec![Link::default(); self.common.len()])];
        let phases = if self.phases.is_empty() { forever() } else { self.phases.clone() };
        let phases = phases.iter().map(|(length, links)| {
            let places = 0..links.len();
            let links =
                places.map(|index| self.conditions(place, index, links[index])).collect::<Result<_, _>>()?;
            Ok(Phase { length: *length, links })
        });
        let phases = phases.collect::<Result<_, ParseError>>()?;
        let Reading { regions, placed, clients, seed, begins_ms, .. } = self;
        Ok(Wan { regions, placed, clients, seed, begins_ms, phases })
    }

    /// The conditions of one pair of regions in a phase.
    fn conditions(&self, place: &str, index: usize, of_phase: Link) -> Result<Conditions, ParseError> {
        let words = of_phase.words.or(self.common[index].words);
        let (from, to) =
            (&self.regions[index / self.regions.len()], &self.regions[index % self.regions.len()]);
        if from != to && words.delay.is_none() {
            let found = format!("no delay from {from} to {to}");
            return Err(ParseError::of(place, &found, "one for each pair of regions, in each phase"));
        }
        let conditions = words.conditions();
        if conditions.jitter > conditions.delay {
            let line = of_phase.line.max(self.common[index].line);
            let found = format!("jitter={} from {from} to {to}", Time(conditions.jitter));
            let expected = format!("at most the delay of {}", Time(conditions.delay));
            return Err(ParseError::at_line(place, line, &found, expected));
        }
        Ok(conditions)
    }
}

/// The description of a line with this name in errors.
fn expected(name: &str) -> String {
    match name {
        "regions" => "'regions NAME...'".into(),
        "nodes" => "'nodes REGION ID...'".into(),
        "clients" => "'clients REGION'".into(),
        "link" => "'link FROM TO delay=TIME...'".into(),
        "round-trip" => "'round-trip REGION MS...'".into(),
        "phase" => "'phase SECONDS'".into(),
        "seed" => "'seed NUMBER'".into(),
        "begins" => "'begins MS'".into(),
        _ => format!("one of {}{}", LINES.join(", "), nearest::hint(name, &LINES)),
    }
}
