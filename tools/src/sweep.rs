//! `tools sweep`: local runs of all combinations of rates, sizes, N and K, each several times, into one table and one
//! curve.
//!
//! [`plan`] lists the runs, [`results`] keeps a line of `runs.csv` for each that has ended, so a sweep that was
//! interrupted goes on where it stopped; from these lines follow `sweep.csv` and the page. Each run is a testbed of its
//! own, one after the other.

mod plan;
mod results;

#[cfg(test)]
pub(crate) use self::plan::Combination;
pub(crate) use self::results::{Combined, Spread};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wire::limits::NODES_PER_SHARD_MAX;
use wire::text::ParseError;

use self::plan::{Plan, Planned};
use self::results::{Measured, Results};
use crate::flags::{Command, Opt, Range, UsageError, Values};
use crate::load::{SEED, TX_BYTES_MIN};
use crate::local::{self, Options};
use crate::report::{self, Peer};
use crate::run::{Progress, RunError};
use crate::signals;
use crate::terminal::print;

pub(crate) const COMMAND: Command = Command {
    name: "sweep",
    summary: "runs all combinations of rates, sizes and numbers of nodes",
    about: "Runs tools local for each combination of nodes, shards, sizes and rates, each --repeat times, prints how \
            far it is, and writes medians and spreads into OUT/sweep.csv and the throughput-latency curve into OUT/sweep.html. \
            Runs that OUT/runs.csv has already, with the same lengths and durability, are not run again: a sweep that was \
            interrupted goes on where it stopped, and one with more rates adds these.\n\n\
            The repeats of a combination do not follow each other but come in turns, so that what changes on the machine \
            meanwhile does not fall on one combination alone.",
    operands: &[],
    options: &[
        Opt::with("nodes", "LIST", "4", "Nodes in each shard.")
            .within(Range::List { min: 1, max: NODES_PER_SHARD_MAX as u64 }),
        Opt::with("shards", "LIST", "1", "Shards.").within(Range::List { min: 1, max: 1024 }),
        Opt::with("tx-size", "LIST", "250", "Bytes of a transaction.")
            .within(Range::List { min: TX_BYTES_MIN, max: 65_536 }),
        Opt::with(
            "rate",
            "LIST",
            "1k,2k,5k,10k,max",
            "Transactions offered a second; 5k is 5000, 2M two million, max as many as the testbed takes.",
        ),
        Opt::with("repeat", "R", "3", "Runs of each combination.").within(Range::whole(1, 100)),
        Opt::with("duration", "S", "10", "Seconds of each run for which load is offered.")
            .within(Range::PositiveSeconds),
        Opt::with(
            "warmup",
            "S",
            "2",
            "Seconds at the start of each run that are not measured. Less than the duration.",
        )
        .within(Range::Seconds { min_ms: 0 }),
        Opt::with("durability", "off|process|power", "process", "As of tools local."),
        SEED,
        Opt::without_default(
            "against",
            "FILE",
            "Figures of peers for the curve: a CSV file with the columns name, tps, latency_ms; lines of one name are joined.",
        ),
        Opt::with(
            "out",
            "DIR",
            "sweep",
            "Where runs.csv, sweep.csv and sweep.html go, and log and data of the last run.",
        ),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0    all runs have ended, and all well\n\
             1    a run did not end well; its line says so\n\
             2    usage\n\
             4    a run could not be started, or a file cannot be written\n\
             130  interrupted; the same command goes on",
        ),
        (
            "FILES",
            "OUT/runs.csv  A line a run.\n\
             OUT/sweep.csv  A line a combination: medians, and the least and the most.\n\
             OUT/sweep.html  The curve and the table, in one file for a browser.",
        ),
        (
            "EXAMPLES",
            "tools sweep --nodes 4,7 --rate 1k,5k,10k,20k,max  Thirty runs, some ten minutes.\n\
             tools sweep --rate 1k,max --against peers.csv  With figures of peers beside ours.",
        ),
    ],
};

pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let plan = Plan::from_values(values)?;
    let out = PathBuf::from(values.required("out")?);
    let peers =
        values.text("against").map(|path| report::peers(Path::new(path))).transpose()?.unwrap_or_default();
    let path = out.join("runs.csv");
    let results = if path.exists() { Results::load(&path)? } else { Results::default() };
    // What cannot be run is refused before hours have gone by.
    for planned in plan.runs() {
        Options::parse(&planned.words(&plan, &out))?;
    }
    if let Err(error) = signals::block().and_then(|()| fs::create_dir_all(&out)) {
        eprintln!("tools sweep: cannot begin in {}: {error}", out.display());
        return Ok(4);
    }
    Ok(Sweep { plan, out, peers, results }.run())
}

/// A sweep in progress.
struct Sweep {
    plan: Plan,
    out: PathBuf,
    peers: Vec<Peer>,
    results: Results,
}

impl Sweep {
    /// Runs what is not done yet; the exit code.
    fn run(mut self) -> u8 {
        let all = self.plan.runs();
        let left: Vec<Planned> =
            all.iter().copied().filter(|one| !self.results.has(&self.plan, one)).collect();
        if left.len() < all.len() {
            print(format!("{} of {} runs are in runs.csv already", all.len() - left.len(), all.len()));
        }
        let began = Instant::now();
        for (done, planned) in left.iter().enumerate() {
            let number = all.len() - left.len() + done + 1;
            let measured = match self.measure(planned) {
                Ok(measured) => measured,
                Err(RunError::Interrupted) => {
                    print("interrupted; the same command goes on");
                    return 130;
                }
                Err(RunError::Start(error)) => {
                    eprintln!("tools sweep: {planned}: {error}");
                    return 4;
                }
            };
            let to_go = began.elapsed().mul_f64((left.len() - done - 1) as f64 / (done + 1) as f64);
            print(format!("run {number} of {}: {planned}: {measured}{}", all.len(), time_left(to_go)));
            self.results.add(&self.plan, planned, measured);
            if let Err(error) = self.write() {
                eprintln!("tools sweep: cannot write into {}: {error}", self.out.display());
                return 4;
            }
        }
        if let Err(error) = self.write() {
            eprintln!("tools sweep: cannot write into {}: {error}", self.out.display());
            return 4;
        }
        print(format!("written to {}", self.out.join("sweep.html").display()));
        u8::from(!self.results.is_well(&self.plan))
    }

    fn measure(&self, planned: &Planned) -> Result<Measured, RunError> {
        let options = Options::parse(&planned.words(&self.plan, &self.out));
        let summary = local::run(&options.expect("all of them were parsed before"), Progress::Silent)?;
        if summary.interrupted {
            return Err(RunError::Interrupted);
        }
        Ok(Measured::of(&summary))
    }

    /// Everything that is known by now: an interrupted sweep has a table and a curve as well.
    fn write(&self) -> io::Result<()> {
        let combinations = self.results.combinations(&self.plan);
        let draft = self.out.join("runs.csv.draft");
        fs::write(&draft, self.results.to_csv())?;
        fs::rename(&draft, self.out.join("runs.csv"))?;
        fs::write(self.out.join("sweep.csv"), results::sweep_csv(&combinations))?;
        let page = report::sweep_page(&combinations, &self.peers, &self.plan.basis());
        fs::write(self.out.join("sweep.html"), page)
    }
}

/// How long it takes until the end, in words that follow those of a run.
fn time_left(left: Duration) -> String {
    match left.as_secs() {
        0 => String::new(),
        seconds @ 1..=99 => format!("; about {seconds} s left"),
        seconds => format!("; about {} min left", seconds.div_ceil(60)),
    }
}

/// A rate: a number, thousands with k, millions with M; `None` stands for `max`.
fn rate(text: &str) -> Option<Option<u64>> {
    if text == "max" {
        return Some(None);
    }
    let (digits, unit) = match text.strip_suffix(['k', 'M']) {
        Some(digits) if text.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (text, 1),
    };
    let number = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=10_000_000).contains(&number).then_some(Some(number))
}

/// The values of `--rate`.
fn rates(values: &Values) -> Result<Vec<Option<u64>>, UsageError> {
    let text = values.required("rate")?;
    let all: Option<Vec<Option<u64>>> = text.split(',').map(rate).collect();
    let expected = "rates from 1 to 10M, comma-separated, such as 1k,5k,max";
    all.ok_or_else(|| ParseError::of("--rate", text, expected).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_may_be_thousands_and_millions() {
        assert_eq!(
            ["5", "1k", "10M", "max"].map(rate),
            [Some(Some(5)), Some(Some(1_000)), Some(Some(10_000_000)), Some(None)]
        );
        assert_eq!(["", "k", "0", "11M", "1.5k", "1K"].map(rate), [None; 6]);
        assert_eq!(time_left(Duration::from_secs(40)), "; about 40 s left");
        assert_eq!(time_left(Duration::from_secs(150)), "; about 3 min left");
    }
}
