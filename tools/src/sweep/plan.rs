//! The runs of a sweep.

use std::fmt;
use std::path::Path;

use wire::text::ParseError;

use super::rates;
use crate::flags::{UsageError, Values};
use crate::lag::grouped;

/// What is to be run.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Plan {
    nodes: Vec<u64>,
    shards: Vec<u64>,
    tx_sizes: Vec<u64>,
    /// `None` stands for as much as the testbed takes.
    rates: Vec<Option<u64>>,
    repeat: u64,
    pub(super) duration_s: f64,
    pub(super) warmup_s: f64,
    pub(super) durability: String,
    seed: u64,
}

/// What is the same in the repeats of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Combination {
    pub(crate) nodes: u64,
    pub(crate) shards: u64,
    pub(crate) tx_size: u64,
    /// `None` stands for as much as the testbed takes.
    pub(crate) rate: Option<u64>,
}

/// One run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Planned {
    pub(super) combination: Combination,
    /// Counted from 1.
    pub(super) repeat: u64,
}

impl Plan {
    pub(super) fn from_values(values: &Values) -> Result<Plan, UsageError> {
        let (duration, warmup) = (values.seconds("duration")?, values.seconds("warmup")?);
        if warmup >= duration {
            let found = values.required("warmup")?;
            let expected = format!("less than the {} s for which load is offered", duration.as_secs_f64());
            return Err(ParseError::of("--warmup", found, expected).into());
        }
        let durability = values.value("durability", "off, process or power", |text| {
            ["off", "process", "power"].contains(&text).then(|| text.to_string())
        })?;
        Ok(Plan {
            nodes: values.list("nodes")?,
            shards: values.list("shards")?,
            tx_sizes: values.list("tx-size")?,
            rates: rates(values)?,
            repeat: values.whole("repeat")?,
            duration_s: duration.as_secs_f64(),
            warmup_s: warmup.as_secs_f64(),
            durability,
            seed: values.whole("seed")?,
        })
    }

    /// All combinations, in the order in which they are given.
    pub(super) fn combinations(&self) -> Vec<Combination> {
        let mut all = Vec::new();
        for nodes in &self.nodes {
            for shards in &self.shards {
                for tx_size in &self.tx_sizes {
                    for rate in &self.rates {
                        all.push(Combination {
                            nodes: *nodes,
                            shards: *shards,
                            tx_size: *tx_size,
                            rate: *rate,
                        });
                    }
                }
            }
        }
        all
    }

    /// All runs: each combination once, then each of them again.
    pub(super) fn runs(&self) -> Vec<Planned> {
        let combinations = self.combinations();
        let turn = |repeat| {
            combinations.iter().map(move |combination| Planned { combination: *combination, repeat })
        };
        (1..=self.repeat).flat_map(turn).collect()
    }

    /// What every point of the curve rests on, in words.
    pub(super) fn basis(&self) -> String {
        let Plan { repeat, duration_s, warmup_s, durability, .. } = self;
        format!(
            "N = at most {repeat} runs a point, each of {duration_s} s of which {warmup_s} s are not measured, durability {durability}"
        )
    }
}

impl Planned {
    /// The command line of the run; each repeat has a seed of its own.
    pub(super) fn words(&self, plan: &Plan, out: &Path) -> Vec<String> {
        let Combination { nodes, shards, tx_size, rate } = self.combination;
        let place = |name: &str| out.join(name).display().to_string();
        let options = [
            ("--nodes", nodes.to_string()),
            ("--shards", shards.to_string()),
            ("--tx-size", tx_size.to_string()),
            ("--rate", rate.map_or("max".into(), |rate| rate.to_string())),
            ("--duration", plan.duration_s.to_string()),
            ("--warmup", plan.warmup_s.to_string()),
            ("--durability", plan.durability.clone()),
            ("--seed", plan.seed.wrapping_add(self.repeat - 1).to_string()),
            ("--log-dir", place("log")),
            ("--data-dir", place("data")),
        ];
        options.into_iter().flat_map(|(name, value)| [name.to_string(), value]).collect()
    }
}

impl Combination {
    /// Which curve it is a point of, in words: all of it but the rate.
    pub(crate) fn curve(&self) -> String {
        let Combination { nodes, shards, tx_size, .. } = self;
        let shards = if *shards == 1 { String::new() } else { format!("{shards} shards of ") };
        format!("{shards}{nodes} nodes, {tx_size} B")
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.curve())?;
        match self.rate {
            Some(rate) => write!(f, "{} tx/s offered", grouped(rate)),
            None => f.write_str("as much as it takes"),
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, repeat {}", self.combination, self.repeat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Invocation;
    use crate::local::Options;

    fn plan(line: &str) -> Result<Plan, String> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        let Ok(Invocation::Run(values)) = super::super::COMMAND.parse(&words) else { panic!("{line}") };
        Plan::from_values(&values).map_err(|error| error.to_string())
    }

    #[test]
    fn repeats_come_in_turns_and_every_run_is_one_of_tools_local() {
        let plan = plan("--nodes 4,7 --rate 1k,max --repeat 2 --duration 3 --warmup 1").unwrap();
        let runs: Vec<String> = plan.runs().iter().map(ToString::to_string).collect();
        assert_eq!(runs.len(), 8);
        assert_eq!(runs[1], "4 nodes, 250 B, as much as it takes, repeat 1");
        assert_eq!(runs[4], "4 nodes, 250 B, 1,000 tx/s offered, repeat 2");
        for planned in plan.runs() {
            Options::parse(&planned.words(&plan, Path::new("x"))).unwrap();
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, expected) in [
            ("--warmup 10", "--warmup: found '10', expected less than the 10 s"),
            ("--rate 1k,fast", "--rate: found '1k,fast', expected rates from 1 to 10M"),
            ("--nodes 4,0", "--nodes: found '4,0', expected whole numbers from 1 to"),
            ("--durability disk", "--durability: found 'disk', expected off, process or power"),
        ] {
            let error = plan(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
